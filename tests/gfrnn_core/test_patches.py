"""Patches against plain loops over the cells of a grid."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn_core import Patches


def plain_cells(patches, place, margins, state):
    """What the patch at this place of the grid sees, cell by cell, channel by channel."""
    axes = len(patches.shape)
    periodic = (
        patches.periodic if isinstance(patches.periodic, tuple) else [patches.periodic] * axes
    )
    size = patches.size if isinstance(patches.size, tuple) else [patches.size] * axes
    grid = state.reshape(*patches.shape, patches.channels)
    values = []
    ranges = [
        range(place[axis] * size[axis] - margins[axis][0],
              (place[axis] + 1) * size[axis] + margins[axis][1])
        for axis in range(axes)
    ]  # fmt: skip
    for cell in product(*ranges):
        inside = []
        for index, cells, closed in zip(cell, patches.shape, periodic, strict=True):
            if closed:
                index %= cells
            elif index < 0:
                index = 0
            elif index >= cells:
                index = cells - 1
            inside.append(index)
        values += list(grid[tuple(inside)])
    return values


@st.composite
def grids(draw):
    axes = draw(st.integers(1, 2))
    size, shape, halo, periodic = [], [], [], []
    for _ in range(axes):
        size.append(draw(st.integers(1, 3)))
        shape.append(size[-1] * draw(st.integers(1, 4)))
        periodic.append(draw(st.booleans()))
        room = shape[-1] - size[-1] if periodic[-1] else 5
        before = draw(st.integers(0, room))
        halo.append((before, draw(st.integers(0, room - before if periodic[-1] else 5))))
    channels = draw(st.integers(1, 3))
    return Patches(tuple(shape), tuple(halo), tuple(periodic), tuple(size), channels)


@given(grids())
def test_windows_and_owned_cells_are_those_of_plain_loops(patches):
    state = np.random.default_rng(0).standard_normal(patches.cells)
    counts = [cells // own for cells, own in zip(patches.shape, patches.size, strict=True)]
    places = list(product(*map(range, counts)))
    nothing = [(0, 0)] * len(counts)
    assert patches.places == len(places)
    windows = [plain_cells(patches, place, patches.halo, state) for place in places]
    np.testing.assert_array_equal(patches.windows(state), windows)
    assert patches.window == len(windows[0])
    own = [plain_cells(patches, place, nothing, state) for place in places]
    np.testing.assert_array_equal(state[patches.own], own)


def without_halo(patches):
    """Where in its window a patch's own values stand."""
    return replace(patches, inner=((0, 0),) * len(patches.shape)).seen_by_hidden


@given(grids())
def test_every_cell_is_owned_once_and_stands_in_the_middle_of_its_window(patches):
    assert sorted(patches.own.reshape(-1)) == list(range(patches.cells))
    np.testing.assert_array_equal(patches.seen[:, without_halo(patches)], patches.own)


@given(grids(), st.data())
def test_hidden_features_see_the_window_of_the_inner_halo(patches, data):
    inner = tuple(
        (data.draw(st.integers(0, before)), data.draw(st.integers(0, after)))
        for before, after in patches.halo
    )
    narrow = replace(patches, halo=inner)
    found = replace(patches, inner=inner)
    np.testing.assert_array_equal(found.seen[:, found.seen_by_hidden], narrow.seen)
    assert patches.seen_by_hidden.all()
    assert patches.seen_by_hidden.shape == (patches.window,)


@given(grids())
def test_states_are_assembled_from_what_patches_own(patches):
    states = np.random.default_rng(1).standard_normal((2, 3, patches.cells)).astype(np.float32)
    assert patches.windows(states).shape == (2, 3, patches.places, patches.window)
    found = patches.assembled(patches.windows(states)[..., without_halo(patches)])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, states)


def test_a_ring_written_down_by_hand():
    patches = Patches((5,), ((2, 1),))
    expected = [[3, 4, 0, 1], [4, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0]]
    np.testing.assert_array_equal(patches.seen, expected)
    np.testing.assert_array_equal(patches.own, [[0], [1], [2], [3], [4]])
    np.testing.assert_array_equal(replace(patches, inner=((1, 0),)).seen_by_hidden, [0, 1, 1, 0])


def test_an_open_end_repeats_its_last_cell():
    patches = Patches((3,), ((2, 1),), periodic=False)
    np.testing.assert_array_equal(patches.seen, [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 2]])


def test_a_band_closed_in_longitude_and_open_in_latitude():
    patches = Patches((2, 4), ((1, 0), (0, 1)), periodic=(False, True), size=(1, 2), channels=1)
    expected = [[0, 1, 2, 0, 1, 2], [2, 3, 0, 2, 3, 0], [0, 1, 2, 4, 5, 6], [2, 3, 0, 6, 7, 4]]
    np.testing.assert_array_equal(patches.seen, expected)
    np.testing.assert_array_equal(patches.own, [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_a_window_may_be_as_long_as_a_ring_and_longer_than_an_open_axis():
    ring = Patches((4,), ((2, 1),))
    np.testing.assert_array_equal(np.sort(ring.seen, axis=1), [[0, 1, 2, 3]] * 4)
    assert Patches((4,), ((7, 9),), periodic=False).window == 17


def test_numpy_integers_are_integers():
    patches = Patches((6,), ((1, 1),), np.bool_(False), np.int64(3))
    assert (patches.places, patches.window) == (2, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": ()}, r"shape: \(\) is not one or two"),
        ({"shape": (2, 2, 2), "halo": ((0, 0),) * 3}, "shape"),
        ({"shape": (0,)}, "shape"),
        ({"channels": 0}, "channels: 0 is not"),
        ({"halo": ((1, 1), (1, 1))}, "for each of the 1 axes"),
        ({"halo": (1,)}, "halo"),
        ({"halo": ((1,),)}, "halo"),
        ({"halo": ((1, -1),)}, "halo"),
        ({"size": 4}, "size: 4 does not divide the 6 cells of axis 0"),
        ({"size": 0}, "size: 0 does not"),
        ({"size": (1, 1)}, r"size: \(1, 1\) is not one value for each of 1 axes"),
        ({"periodic": (True, False)}, "periodic"),
        ({"inner": ((2, 0),)}, r"inner: \(\(2, 0\),\) is not within the halo"),
        ({"inner": ((0, -1),)}, "inner"),
        ({"inner": ((0, 0), (0, 0))}, "inner: .* for each of the 1 axes"),
        ({"halo": ((3, 3),)}, "a window of 7 cells is longer than the periodic axis 0 of 6"),
    ],
)
def test_patches_that_cut_no_grid_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Patches(**{"shape": (6,), "halo": ((1, 1),)} | settings)
