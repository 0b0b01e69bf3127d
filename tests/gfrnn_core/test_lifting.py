"""Rows against a loop that writes them down one value at a time."""

import math

import numpy as np
import pytest

from gfrnn_core import HiddenWeights, RFactor
from gfrnn_core.lifting import Columns, activate, delayed, lift, lift_into, row_blocks


def series(times=60, size=2, inputs=3, width=4, delays=1, seed=0, activation="tanh"):
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((times, size))
    forcing = rng.standard_normal((times, inputs)) if inputs else None
    weights, biases = rng.standard_normal((delays * size, width)), rng.standard_normal(width)
    return states, forcing, HiddenWeights(weights, biases, activation)


def plain_row(states, inputs, hidden, t, delays, leads, increment):
    """[ h_t, h_t-1, ... | 1 | inputs of t + 1 | sigma(w h + b) | targets of each lead ]."""
    seen = [float(value) for j in range(delays) for value in states[t - j]]
    row = [*seen, 1.0]
    if inputs is not None:
        row += [float(value) for value in inputs[t + 1]]
    for k in range(hidden.width):
        total = sum(hidden.weights[i, k] * seen[i] for i in range(len(seen))) + hidden.biases[k]
        row.append(math.tanh(total) if hidden.activation == "tanh" else max(total, 0.0))
    for lead in leads:
        for i in range(states.shape[1]):
            row.append(states[t + lead, i] - (states[t, i] if increment else 0.0))
    return row


def plain_rows(states, inputs, hidden, delays=1, leads=(1,), increment=False):
    times = range(delays - 1, len(states) - max(leads))
    return np.array([plain_row(states, inputs, hidden, t, delays, leads, increment) for t in times])


def all_rows(states, inputs, hidden, delays=1, leads=(1,), increment=False, **more):
    """The blocks as they come, copied because their memory is used again."""
    blocks = row_blocks(
        states, inputs, hidden, delays=delays, leads=leads, increment=increment, **more
    )
    return [block.copy() for block in blocks]


# --- rows ---------------------------------------------------------------------------------------


def test_a_row_written_down_by_hand():
    states = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    inputs = np.array([[10.0], [20.0], [30.0], [40.0], [50.0]])
    hidden = HiddenWeights(np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([0.5, 0.0]), "relu")
    blocks = all_rows(states, inputs, hidden, delays=2, leads=(1, 3), increment=True)
    # h_t, h_t-1 | 1 | inputs of t + 1 | max(h_t + 1/2, 0), max(-h_t-1, 0) | increments
    np.testing.assert_array_equal(blocks, [[[2, 1, 1, 30, 2.5, 0, 2, 14]]])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("increment", [False, True])
@pytest.mark.parametrize("leads", [(1,), (1, 3), (2, 5)])
@pytest.mark.parametrize("delays", [1, 2, 4])
@pytest.mark.parametrize("inputs", [0, 3])
def test_rows_are_those_of_the_plain_loop(inputs, delays, leads, increment, activation):
    case = series(times=40, inputs=inputs, delays=delays, activation=activation)
    expected = plain_rows(*case, delays, leads, increment)
    found = np.vstack(all_rows(*case, delays, leads, increment))
    assert found.shape == (40 - (delays - 1) - max(leads), expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_the_linear_model_has_no_hidden_features():
    case = series(width=0, delays=2)
    np.testing.assert_array_equal(np.vstack(all_rows(*case, delays=2)), plain_rows(*case, delays=2))


def test_borders_of_blocks_change_nothing():
    """Blocks are twice as many rows as columns; a long series has many, the last one short."""
    case = series(times=200, inputs=0, width=3)
    blocks = all_rows(*case, leads=(1, 2), increment=True)
    assert [block.shape for block in blocks] == [(20, 10)] * 9 + [(18, 10)]
    expected = plain_rows(*case, leads=(1, 2), increment=True)
    np.testing.assert_allclose(np.vstack(blocks), expected, rtol=1e-13, atol=1e-13)


def test_blocks_are_fortran_ordered_and_share_one_buffer():
    case = series(times=200)
    addresses = set()
    for block in row_blocks(*case, delays=1, leads=(1,), increment=False):
        assert block.flags.f_contiguous
        addresses.add(block.__array_interface__["data"][0])
    assert len(addresses) == 1


def test_folding_the_blocks_as_they_come_is_the_r_factor_of_all_rows():
    case = series(times=300, delays=2)
    rows = plain_rows(*case, delays=2, increment=True)
    folded = RFactor.from_blocks(
        row_blocks(*case, delays=2, leads=(1,), increment=True), rows.shape[1]
    )
    assert folded.rows == len(rows)
    np.testing.assert_allclose(folded.triangle, RFactor.from_rows(rows).triangle, atol=1e-11)


def test_states_and_inputs_are_left_alone():
    states, inputs, hidden = series()
    before = states.copy(), inputs.copy(), hidden.weights.copy(), hidden.biases.copy()
    list(row_blocks(states, inputs, hidden, delays=1, leads=(1,), increment=True))
    after = states, inputs, hidden.weights, hidden.biases
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_float32_rows():
    case = series(delays=2)
    blocks = all_rows(*case, delays=2, dtype=np.float32)
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.vstack(blocks), plain_rows(*case, delays=2), atol=2e-6)


@pytest.mark.parametrize(("times", "rows"), [(0, 0), (3, 0), (4, 0), (5, 1), (6, 2)])
def test_a_series_as_short_as_delays_and_leads_has_no_row(times, rows):
    """A row of two delays and a lead of three takes five times."""
    case = series(times=times, delays=2)
    blocks = all_rows(*case, delays=2, leads=(1, 3))
    assert sum(len(block) for block in blocks) == rows


# --- parts --------------------------------------------------------------------------------------


def test_delays_put_the_present_state_first():
    states = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]])
    np.testing.assert_array_equal(
        delayed(states, 3, 2, 4), [[3, -3, 2, -2, 1, -1], [4, -4, 3, -3, 2, -2]]
    )
    np.testing.assert_array_equal(delayed(states, 1, 1, 3), states[1:3])


@pytest.mark.parametrize("inputs", [0, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_lift_gives_the_feature_columns_of_a_row(inputs, activation):
    states, forcing, hidden = series(inputs=inputs, activation=activation)
    expected = plain_rows(states, forcing, hidden)[:, :-2]
    present = None if forcing is None else forcing[1:]
    np.testing.assert_allclose(lift(states[:-1], present, hidden), expected, atol=1e-13)


def test_lift_into_leaves_the_columns_behind_the_features_alone():
    states, inputs, hidden = series()
    block = np.full((60, 15), 7.0, order="F")
    lift_into(block, states, inputs, hidden)
    np.testing.assert_array_equal(block[:, :10], lift(states, inputs, hidden))
    assert (block[:, 10:] == 7).all()


def test_activations_work_in_place():
    values = np.array([-2.0, 0.0, 0.5])
    activate(values, "relu")
    np.testing.assert_array_equal(values, [0, 0, 0.5])
    activate(values, "tanh")
    np.testing.assert_allclose(values, [0, 0, math.tanh(0.5)])


def test_columns_add_up():
    columns = Columns(linear=6, inputs=2, hidden=100, targets=9)
    assert (columns.always, columns.features, columns.total) == (9, 109, 118)
