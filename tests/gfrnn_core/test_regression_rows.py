"""Compare rows with a loop that computes them one value at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import HiddenWeights, Patches, RFactor, regression_rows
from gfrnn_core.regression_rows import delayed, pooled, row_blocks
from gfrnn_core.triangles.folding import block_rows


def series(times=60, size=2, inputs=3, width=4, delays=1, seed=0, activation="tanh"):
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((times, size))
    forcing = rng.standard_normal((times, inputs)) if inputs else None
    weights, biases = rng.standard_normal((delays * size, width)), rng.standard_normal(width)
    return states, forcing, HiddenWeights(weights, biases, activation)


def plain_row(states, inputs, hidden, t, delays, leads, increment):
    """Return [ h_t, h_t-1, ... | 1 | inputs of t + 1 | sigma(w h + b) | targets of each lead ]."""
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
    """Return copies of all blocks, as their memory is used again."""
    blocks = row_blocks(
        states,
        inputs,
        hidden,
        delays=delays,
        leads=leads,
        target="increment" if increment else "state",
        **more,
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
    """A long series has many blocks of a length that suits its columns; the last one is short."""
    case = series(times=2500, inputs=0, width=3)
    blocks = all_rows(*case, leads=(1, 2), increment=True)
    rows = block_rows(10)
    assert [block.shape for block in blocks] == [(rows, 10)] * 2 + [(2498 - 2 * rows, 10)]
    expected = plain_rows(*case, leads=(1, 2), increment=True)
    np.testing.assert_allclose(np.vstack(blocks), expected, rtol=1e-13, atol=1e-13)


def test_blocks_of_many_columns_have_as_many_rows_as_columns():
    assert block_rows(5000) == 5000
    assert block_rows(10) == block_rows(20)


def test_blocks_are_fortran_ordered_and_share_one_buffer():
    case = series(times=3000)
    addresses = []
    for block in row_blocks(*case, delays=1, leads=(1,)):
        assert block.flags.f_contiguous
        addresses.append(block.__array_interface__["data"][0])
    assert len(addresses) > 1
    assert len(set(addresses)) == 1


def test_folding_the_blocks_as_they_come_is_the_r_factor_of_all_rows():
    case = series(times=300, delays=2)
    rows = plain_rows(*case, delays=2, increment=True)
    folded = RFactor.from_blocks(
        row_blocks(*case, delays=2, leads=(1,), target="increment"), rows.shape[1]
    )
    assert folded.rows == len(rows)
    np.testing.assert_allclose(folded.triangle, RFactor.from_rows(rows).triangle, atol=1e-11)


def test_states_and_inputs_are_left_alone():
    states, inputs, hidden = series()
    before = states.copy(), inputs.copy(), hidden.weights.copy(), hidden.biases.copy()
    list(row_blocks(states, inputs, hidden, delays=1, leads=(1,), target="increment"))
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
    """A row of two delays and a lead of three needs five times."""
    case = series(times=times, delays=2)
    blocks = all_rows(*case, delays=2, leads=(1, 3))
    assert sum(len(block) for block in blocks) == rows


def test_delays_put_the_present_state_first():
    states = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]])
    np.testing.assert_array_equal(
        delayed(states, 3, 2, 4), [[3, -3, 2, -2, 1, -1], [4, -4, 3, -3, 2, -2]]
    )
    np.testing.assert_array_equal(delayed(states, 1, 1, 3), states[1:3])


# --- lifted targets, patches --------------------------------------------------------------------


def stacked(**options):
    """Return all rows of a series; blocks are copied, as their memory is used again."""
    return np.vstack([block.copy() for block in row_blocks(**options)])


@pytest.mark.parametrize("inputs", [0, 3])
@pytest.mark.parametrize("delays", [1, 3])
def test_lifted_targets_are_the_next_row_without_its_inputs(delays, inputs):
    states, forcing, hidden = series(times=40, inputs=inputs, delays=delays)
    found = stacked(states=states, inputs=forcing, hidden=hidden, delays=delays, target="lifted")
    plain = plain_rows(states, forcing, hidden, delays)
    linear = 2 * delays + 1
    features = np.delete(plain[:, :-2], np.s_[linear : linear + inputs], axis=1)
    np.testing.assert_allclose(found[:, : -features.shape[1]], plain[:, :-2], atol=1e-13)
    np.testing.assert_allclose(found[:-1, -features.shape[1] :], features[1:], atol=1e-13)
    np.testing.assert_array_equal(found[-1, -features.shape[1] :][:2], states[-1])


@pytest.mark.parametrize("forcing", [None, "shared", "local"])
@pytest.mark.parametrize("increment", [False, True])
def test_patches_give_the_rows_of_each_place(increment, forcing):
    """Every time and place has rows like those of a small series: its window and its own cells."""
    patches = Patches((6,), ((2, 1),), size=2, channels=2)
    rng = np.random.default_rng(3)
    states = rng.standard_normal((30, 12))
    inputs = {"shared": rng.standard_normal((30, 2)), "local": rng.standard_normal((30, 3, 2))}
    hidden = HiddenWeights(rng.standard_normal((20, 4)), rng.standard_normal(4), "tanh")
    found = stacked(
        states=states,
        inputs=inputs.get(forcing),
        hidden=hidden,
        delays=2,
        leads=(1, 3),
        target="increment" if increment else "state",
        patches=patches,
    )
    expected = []
    for t in range(1, 27):
        for place in range(3):
            seen = patches.seen[place]
            row = [*states[t, seen], *states[t - 1, seen], 1.0]
            if forcing is not None:
                given = inputs[forcing][t + 1]
                row += list(given if forcing == "shared" else given[place])
            row += list(np.tanh(np.array(row[:20]) @ hidden.weights + hidden.biases))
            for lead in (1, 3):
                own = patches.own[place]
                row += list(states[t + lead, own] - (states[t, own] if increment else 0))
            expected.append(row)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_one_patch_that_is_all_of_the_grid_is_no_patch():
    """The rows equal those of the network without patches, bit for bit."""
    states, inputs, hidden = series(times=50, size=6)
    case = {"states": states, "inputs": inputs, "hidden": hidden, "target": "increment"}
    for patches in (Patches((6,), ((0, 0),), size=6), Patches((3,), ((0, 0),), size=3, channels=2)):
        np.testing.assert_array_equal(stacked(**case, patches=patches), stacked(**case))


# --- input noise --------------------------------------------------------------------------------


def noisy_case(times=700, **options):
    states, inputs, hidden = series(times=times, size=2, delays=2, seed=4)
    case = {"states": states, "inputs": inputs, "hidden": hidden, "delays": 2, "leads": (1, 3)}
    return case | {"target": "increment", "noise": 0.1, "seed": 7} | options


@pytest.mark.parametrize("target", ["state", "increment"])
def test_features_see_noisy_states_and_targets_are_clean(target):
    case = noisy_case(target=target)
    states, hidden = case["states"], case["hidden"]
    found = stacked(**case)
    seen = found[:, :4]
    # One noisy series: what is present in a row is the delayed state of the next one.
    np.testing.assert_array_equal(seen[1:, 2:], seen[:-1, :2])
    noise = seen[:, :2] - states[1:-3]
    assert abs(noise.mean()) < 5 * 0.1 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.1, rel=0.1)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.2
    np.testing.assert_array_equal(found[:, 5:8], case["inputs"][2:-2])
    features = np.tanh(seen @ hidden.weights + hidden.biases)
    np.testing.assert_allclose(found[:, 8:12], features, atol=1e-13)
    base = seen[:, :2] if target == "increment" else 0
    np.testing.assert_array_equal(found[:, 12:14], states[2:-2] - base)
    np.testing.assert_array_equal(found[:, 14:16], states[4:] - base)


def test_lifted_targets_are_clean():
    case = noisy_case(target="lifted", leads=(1,))
    clean = stacked(**case | {"noise": 0.0})
    noisy = stacked(**case)
    assert (noisy[:, :4] != clean[:, :4]).all()
    np.testing.assert_array_equal(noisy[:, 12:], clean[:, 12:])


def test_noise_scales_and_goes_to_nothing():
    """With noise of zero, the rows are bit for bit those without noise, with every seed."""
    case = noisy_case()
    clean = stacked(**case | {"noise": 0.0})
    np.testing.assert_array_equal(clean, stacked(**case | {"noise": 0.0, "seed": 8}))
    shifts = [stacked(**case | {"noise": size})[:, :4] - clean[:, :4] for size in (0.1, 0.2)]
    np.testing.assert_allclose(2 * shifts[0], shifts[1], atol=1e-14)


def test_each_coordinate_may_have_noise_of_its_own():
    case = noisy_case(times=40)
    rows = stacked(**case | {"noise": np.array([0.1, 0.0])})
    clean = stacked(**case | {"noise": 0.0})
    # Two delays of two coordinates: the second coordinate has no noise.
    np.testing.assert_array_equal(rows[:, [1, 3]], clean[:, [1, 3]])
    np.testing.assert_array_equal(rows[:, [0, 2]], stacked(**case)[:, [0, 2]])
    np.testing.assert_array_equal(stacked(**case | {"noise": np.full(2, 0.1)}), stacked(**case))
    np.testing.assert_array_equal(stacked(**case | {"noise": np.zeros(2)}), clean)


def test_the_seed_and_the_place_in_the_record_decide_the_noise():
    case = noisy_case(times=40)
    rows = stacked(**case)
    np.testing.assert_array_equal(rows, stacked(**case))
    for other in ({"seed": 8}, {"first": 1}, {"first": 256}):
        assert (rows[:, :2] != stacked(**case | other)[:, :2]).all()


def cut_rows(case, cuts):
    """Return the rows of a series that is cut into stretches which overlap by a row's extent."""
    begins, ends = [0, *cuts], [*cuts, len(case["states"]) - 4]
    parts = []
    for begin, end in zip(begins, ends, strict=True):
        # Rows of the times begin + 1 to end: one state before the first, three after the last.
        stretch = slice(begin, end + 4)
        inputs = None if case["inputs"] is None else case["inputs"][stretch]
        part = case | {"states": case["states"][stretch], "inputs": inputs}
        first = case.get("first", 0) + begin
        parts += [block.copy() for block in row_blocks(**part | {"first": first})]
    return np.vstack(parts)


@given(
    cuts=st.lists(st.integers(1, 690), max_size=4, unique=True).map(sorted),
    share=st.sampled_from([1.0, 0.4]),
    first=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_no_cut_changes_noise_or_the_choice_of_rows(cuts, share, first):
    case = noisy_case(share=share, first=first)
    whole, cut = stacked(**case), cut_rows(case, cuts)
    np.testing.assert_array_equal(cut[:, :8], whole[:, :8])
    np.testing.assert_allclose(cut, whole, atol=1e-13)
    triangles = [RFactor.from_rows(matrix).triangle for matrix in (cut, whole)]
    np.testing.assert_allclose(*triangles, atol=1e-11)


# --- share --------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("places", [1, 4])
def test_a_share_of_the_rows_is_drawn_from_all_of_them(places, noise):
    rng = np.random.default_rng(5)
    patches = None if places == 1 else Patches((4,), ((1, 0),))
    size = 2 if places == 1 else 4
    hidden = HiddenWeights(rng.standard_normal((2, 3)), rng.standard_normal(3), "relu")
    states = rng.standard_normal((4001, size))
    case = {"states": states, "inputs": None, "hidden": hidden, "patches": patches, "noise": noise}
    everything = stacked(**case)
    found = stacked(**case, share=0.3)
    place_of = {tuple(row[:3]): index for index, row in enumerate(everything)}
    chosen = np.array([place_of[tuple(row[:3])] for row in found])
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_allclose(found, everything[chosen], atol=1e-13)
    count = len(everything)
    assert count == 4000 * places
    assert abs(len(found) - 0.3 * count) < 5 * np.sqrt(count * 0.3 * 0.7)
    # Neither every third row, nor some stretches, nor some places only.
    assert len(set(np.diff(chosen))) > 5
    assert (chosen < count / 2).mean() == pytest.approx(0.5, abs=0.08)
    for place in range(places):
        assert (chosen % places == place).mean() == pytest.approx(1 / places, abs=0.05)
    other = stacked(**case, share=0.3, seed=1)
    assert len(other) != len(found) or (other[:, :2] != found[:, :2]).any()


def test_a_smaller_share_is_part_of_a_larger_one():
    case = noisy_case()
    larger = {tuple(row[:4]) for row in stacked(**case, share=0.6)}
    smaller = {tuple(row[:4]) for row in stacked(**case, share=0.2)}
    assert smaller < larger


def test_a_share_that_leaves_no_row():
    states, inputs, hidden = series(times=5)
    assert all_rows(states, inputs, hidden, share=1e-9) == []


# --- the pool of hidden weights -----------------------------------------------------------------


RING = Patches((3,), ((1, 1),), channels=2)


@pytest.mark.parametrize(
    ("patches", "forcing"),
    [(None, None), (None, (2,)), (RING, None), (RING, (2,)), (RING, (3, 2))],
)
def test_the_pool_holds_what_features_see_and_what_follows(patches, forcing):
    """Joint inputs of time t + 1 stand beside the states of time t, as in rows."""
    rng = np.random.default_rng(6)
    many = [rng.standard_normal((times, 6)) for times in (9, 2, 0, 5)]
    inputs = forcing and [rng.standard_normal((len(states), *forcing)) for states in many]
    pool, following = pooled(many, 2, patches, seed=0, inputs=inputs)
    expected, later = [], []
    for number, states in enumerate(many):
        for t in range(1, len(states) - 1):
            for place in range(1 if patches is None else 3):
                seen = slice(None) if patches is None else patches.seen[place]
                own = slice(None) if patches is None else patches.own[place]
                given = inputs[number][t + 1] if inputs else np.empty(0)
                given = given[place] if given.ndim == 2 else given
                expected.append(np.concatenate([states[t, seen], states[t - 1, seen], given]))
                later.append(states[t + 1, own])
    np.testing.assert_array_equal(pool, expected)
    np.testing.assert_array_equal(following, later)


def test_a_large_pool_is_thinned_over_all_series(monkeypatch):
    monkeypatch.setattr(regression_rows, "_POOL", 50)
    many = [np.arange(200.0)[:, None], np.arange(1000.0, 1200.0)[:, None]]
    pool, following = pooled(many, 1, None, seed=0)
    assert pool.shape == following.shape == (50, 1)
    assert len(np.unique(pool)) == 50
    np.testing.assert_array_equal(following, pool + 1)
    assert 10 < (pool >= 1000).sum() < 40
    np.testing.assert_array_equal(pool, pooled(many, 1, None, seed=0)[0])
    assert (pool != pooled(many, 1, None, seed=1)[0]).any()
