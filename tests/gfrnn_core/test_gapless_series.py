"""Test the series that training accepts: pairs, refusals, and overlapping stretches."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn_core.gapless_series import gapless, paired


def numbered(times, size=2, start=0):
    """Return states whose values encode time and coordinate."""
    return 10.0 * np.arange(start, start + times)[:, None] + np.arange(size)


# --- pairs --------------------------------------------------------------------------------------


def test_one_array_is_one_series():
    states, inputs = numbered(4), numbered(4, 3)
    ((found, forcing),) = paired(states, inputs)
    np.testing.assert_array_equal(found, states)
    np.testing.assert_array_equal(forcing, inputs)
    ((_, nothing),) = paired(states, None)
    assert nothing is None


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_many_series_come_in_their_order(kind):
    states = [numbered(times) for times in (3, 1, 5)]
    inputs = [numbered(times, 1) for times in (3, 1, 5)]
    found = list(paired(kind(states), kind(inputs)))
    assert len(found) == 3
    for (one, forcing), expected, driving in zip(found, states, inputs, strict=True):
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(forcing, driving)


def test_integers_become_floats():
    ((found, _),) = paired(np.arange(6).reshape(3, 2), None)
    assert found.dtype == np.float64


def test_a_series_is_asked_for_when_its_turn_comes():
    def stream():
        yield numbered(2)
        raise RuntimeError("asked too early")

    pairs = paired(stream(), None)
    next(pairs)
    with pytest.raises(RuntimeError, match="asked too early"):
        next(pairs)


NAN, INFINITE = numbered(4), numbered(4, 3)
NAN[2, 1] = np.nan
INFINITE[3, 2] = -np.inf


@pytest.mark.parametrize(
    ("states", "inputs", "message"),
    [
        (np.zeros(4), None, r"states: shape \(4,\) is not \(times, coordinates\)"),
        (np.zeros((4, 2, 2)), None, r"states: shape \(4, 2, 2\) is not"),
        ([[1.0, 2.0], [3.0, 4.0]], None, r"states: series 0: shape \(2,\) is not"),
        (NAN, None, "states: time 2, coordinate 1 is not finite"),
        ([numbered(4), NAN], None, "states: series 1: time 2, coordinate 1 is not finite"),
        ([numbered(4), numbered(4, 3)], None, "series 1: 3 coordinates, but earlier series have 2"),
        (numbered(4), numbered(3), r"inputs: shape \(3, 2\) is not \(4, inputs\)"),
        (numbered(4), np.zeros(4), r"inputs: shape \(4,\) is not"),
        (numbered(4), np.zeros((4, 0)), r"inputs: shape \(4, 0\) is not"),
        (numbered(4), np.zeros((4, 1, 1, 1)), "inputs: shape"),
        (numbered(4), INFINITE, "inputs: time 3, input 2 is not finite"),
        (numbered(4), [numbered(4)], "inputs: give one array for one series of states"),
        ([numbered(4)], numbered(4), "inputs: give one array for one series of states"),
        ([numbered(4)] * 2, [numbered(4)], "inputs: 1 series, but there are more series of states"),
        ([numbered(4)], [numbered(4)] * 2, "inputs: more series of inputs than of states"),
        ([numbered(4)] * 2, [numbered(4), None], r"inputs: series 1: shape \(\) is not"),
        ([numbered(4)] * 2, [numbered(4), numbered(4, 3)], "but earlier series have"),
    ],
)
def test_series_that_do_not_fit_are_refused(states, inputs, message):
    with pytest.raises(ValueError, match=message):
        list(paired(states, inputs))


# --- stretches that overlap ---------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 6), st.booleans())
def test_stretches_begin_with_the_last_times_of_what_came_before(lengths, overlap, forced):
    """A stretch that is shorter than the overlap makes the next one extend further back."""
    borders = np.cumsum([0, *lengths])
    whole = numbered(borders[-1])
    pairs = [
        (whole[begin:end], -whole[begin:end] if forced else None)
        for begin, end in itertools.pairwise(borders)
    ]
    found = list(gapless(pairs, overlap))
    assert len(found) == len(lengths)
    for (states, inputs, repeated), begin, end in zip(
        found, borders[:-1], borders[1:], strict=True
    ):
        assert repeated == min(overlap, begin)
        np.testing.assert_array_equal(states, whole[begin - repeated : end])
        if forced:
            np.testing.assert_array_equal(inputs, -states)
        else:
            assert inputs is None


def test_a_stream_may_write_over_its_last_block():
    def stream():
        block = np.empty((3, 2))
        for start in (0, 3, 6):
            block[:] = numbered(3, start=start)
            yield block, block

    found = [(states.copy(), inputs.copy()) for states, inputs, _ in gapless(stream(), 2)]
    for (states, inputs), begin in zip(found, (0, 1, 4), strict=True):
        np.testing.assert_array_equal(states, numbered(len(states), start=begin))
        np.testing.assert_array_equal(inputs, states)


def test_masked_values_are_named_whatever_stands_in_their_place():
    states = np.ma.masked_greater(np.where(numbered(4) == 21, 1e20, numbered(4)), 1e10)
    with pytest.raises(ValueError, match="states: time 2, coordinate 1 is not finite"):
        list(paired(states, None))
    with pytest.raises(ValueError, match="inputs: time 2, input 1 is not finite"):
        list(paired(numbered(4), states))
    ((found, _),) = paired(np.ma.masked_greater(numbered(4), 1e10), None)
    np.testing.assert_array_equal(found, numbered(4))


def test_series_without_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"states: shape \(20, 0\) is not \(times, coordinates\)"):
        list(paired(np.zeros((20, 0)), None))
