"""Compare patches with plain loops over the cells of a grid."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gfrnn_core import Patches


def plain_cells(patches, place, margins, state):
    """Return the input cells of a patch, cell by cell, channel by channel."""
    axes = len(patches.shape)
    periodic = (
        patches.periodic if isinstance(patches.periodic, tuple) else [patches.periodic] * axes
    )
    size = patches.size if isinstance(patches.size, tuple) else [patches.size] * axes
    grid = state.reshape(*patches.shape, patches.channels)
    values = []
    ranges = []
    for axis in range(axes):
        begin = min(place[axis] * size[axis], patches.shape[axis] - size[axis])
        ranges.append(range(begin - margins[axis][0], begin + size[axis] + margins[axis][1]))
    for cell in product(*ranges):
        inside, turn, sign = [], 0, 1
        for axis, (index, cells, closed) in enumerate(
            zip(cell, patches.shape, periodic, strict=True)
        ):
            index += turn
            if closed:
                index %= cells
            elif index < 0:
                kind = patches.poles[0] if axis == 0 else "none"
                index = {"none": 0, "row": -index, "between": -1 - index}[kind]
                crossed = kind != "none"
            elif index >= cells:
                kind = patches.poles[1] if axis == 0 else "none"
                over = index - cells
                last = cells - 1
                index = {"none": last, "row": last - 1 - over, "between": last - over}[kind]
                crossed = kind != "none"
            else:
                crossed = False
            if axis == 0 and not closed and crossed:
                turn, sign = patches.shape[1] // 2, -1
            inside.append(index)
        found = grid[tuple(inside)]
        values += [
            sign * value if channel in patches.turned else value
            for channel, value in enumerate(found)
        ]
    return values


@st.composite
def grids(draw):
    axes = draw(st.integers(1, 2))
    globe = axes == 2 and draw(st.booleans())
    size, shape, halo, periodic = [], [], [], []
    for axis in range(axes):
        size.append(draw(st.integers(1, 3)))
        shape.append(size[-1] + draw(st.integers(0, 7)))
        periodic.append(bool(axis) if globe else draw(st.booleans()))
        room = shape[-1] - size[-1] if periodic[-1] else 5
        room = min(room, shape[-1] - 1) if globe else room
        before = draw(st.integers(0, room))
        halo.append((before, draw(st.integers(0, room - before if periodic[-1] else room))))
    channels = draw(st.integers(1, 3))
    ends = st.sampled_from(["none", "row", "between"])
    return Patches(
        tuple(shape),
        tuple(halo),
        tuple(periodic),
        tuple(size),
        channels,
        poles=(draw(ends), draw(ends)) if globe else ("none", "none"),
        turned=tuple(draw(st.sets(st.integers(0, channels - 1)))) if globe else (),
    )


@example(
    Patches((2, 1), ((0, 1), (0, 0)), (False, True), (1, 1), poles=("none", "row"), turned=(0,))
)
@given(grids())
def test_windows_and_owned_cells_are_those_of_plain_loops(patches):
    state = np.random.default_rng(0).standard_normal(patches.cells)
    counts = [-(-cells // own) for cells, own in zip(patches.shape, patches.size, strict=True)]
    places = list(product(*map(range, counts)))
    nothing = [(0, 0)] * len(counts)
    assert patches.places == len(places)
    windows = [plain_cells(patches, place, patches.halo, state) for place in places]
    np.testing.assert_array_equal(patches.windows(state), windows)
    assert patches.window == len(windows[0])
    own = [plain_cells(patches, place, nothing, state) for place in places]
    np.testing.assert_array_equal(state[patches.own], own)


def without_halo(patches):
    """Return the positions of a patch's own values in its window."""
    return replace(patches, inner=((0, 0),) * len(patches.shape)).seen_by_hidden


@given(grids())
def test_indices_made_for_some_rows_are_those_of_all_places(patches):
    rng = np.random.default_rng(0)
    states = rng.standard_normal((3, patches.cells))
    time, place = rng.integers(0, 3, 8), rng.integers(0, patches.places, 8)
    expected = np.stack([patches.windows(states[t])[p] for t, p in zip(time, place, strict=True)])
    np.testing.assert_array_equal(patches.windows_at(states, time, place), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gfrnn_core.patches._KEPT", 0)
        np.testing.assert_array_equal(patches.windows_at(states, time, place), expected)


@given(grids())
def test_every_cell_is_owned_and_stands_in_the_middle_of_its_window(patches):
    assert set(patches.own.reshape(-1)) == set(range(patches.cells))
    np.testing.assert_array_equal(patches.seen[:, without_halo(patches)], patches.own)
    if all(cells % own == 0 for cells, own in zip(patches.shape, patches.size, strict=True)):
        assert patches.own.size == patches.cells


def test_cells_owned_twice_come_from_the_last_patch():
    patches = Patches((5,), ((0, 0),), size=3, periodic=False)
    np.testing.assert_array_equal(patches.own, [[0, 1, 2], [2, 3, 4]])
    values = np.array([[1.0, 2, 3], [30, 4, 5]])
    np.testing.assert_array_equal(patches.assemble(values), [1, 2, 30, 4, 5])


def test_across_a_pole_lies_the_other_side_and_winds_turn():
    # Rows at -90 and 0, then half a cell short of the north pole; two channels, the second a wind.
    patches = Patches(
        (3, 4), ((1, 1), (0, 0)), (False, True), channels=2, poles=("row", "between"), turned=(1,)
    )
    state = np.arange(24.0)
    windows = patches.windows(state).reshape(3, 4, 3, 2)
    np.testing.assert_array_equal(windows[0, 0], [[12, -13], [0, 1], [8, 9]])
    np.testing.assert_array_equal(windows[2, 1], [[10, 11], [18, 19], [22, -23]])


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
    assert patches.window == patches.seen.shape[1]
    assert patches.owned == patches.own.shape[1]
    assert patches.windows(states).shape == (2, 3, patches.places, patches.window)
    found = patches.assemble(patches.windows(states)[..., without_halo(patches)])
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


GLOBE = {"shape": (6, 8), "halo": ((1, 1), (1, 1)), "periodic": (False, True)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": ()}, r"shape: \(\) is not one or two"),
        ({"shape": (2, 2, 2), "halo": ((0, 0),) * 3}, "shape"),
        ({"shape": (0,)}, "shape"),
        ({"channels": 0}, "channels: 0 is not"),
        ({"halo": ((1, 1), (1, 1))}, "for each of the 1 axes"),
        ({"halo": (1,)}, "halo"),
        ({"halo": ((1,),)}, "halo"),
        ({"halo": ((1, -1),)}, "halo"),
        ({"size": 7}, "size: 7 is not within 1..6, the cells of axis 0"),
        ({"size": 0}, "size: 0 is not within"),
        ({"poles": ("row", "none")}, "poles: .* need an open first axis and a periodic second"),
        ({"poles": ("south", "none")}, "poles: .* is not two of none, row, between"),
        ({"turned": (1,)}, r"turned: \(1,\) is not within channels 0..0"),
        (
            GLOBE | {"halo": ((6, 0), (0, 0)), "poles": ("row", "none")},
            "halo: 6 cells across a pole are not fewer than the 6 cells of axis 0",
        ),
        ({"size": (1, 1)}, r"size: \(1, 1\) is not one value for each of 1 axes"),
        ({"periodic": (True, False)}, "periodic"),
        ({"inner": ((2, 0),)}, r"inner: \(\(2, 0\),\) is not within the halo"),
        ({"inner": ((0, -1),)}, "inner"),
        ({"inner": ((0, 0), (0, 0))}, "inner: .* for each of the 1 axes"),
        ({"halo": ((3, 3),)}, "a window of 7 cells is longer than the periodic axis 0 of 6"),
    ],
)
def test_patches_that_cut_no_grid_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Patches(**{"shape": (6,), "halo": ((1, 1),)} | changed)


def test_lists_are_read_as_tuples():
    given = Patches([4, 6], [[1, 1], [1, 1]], [False, True], [2, 2], turned=[])
    same = Patches((4, 6), ((1, 1), (1, 1)), (False, True), (2, 2))
    assert given == same
    assert hash(given) == hash(same)
    np.testing.assert_array_equal(given.seen, same.seen)


def test_halos_of_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"halo: .* is not \(cells before, cells after\)"):
        Patches((6, 8), ((1, 1), (1,)))
