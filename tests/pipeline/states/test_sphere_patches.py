"""Test patches on regional and global grids: Greenwich, poles, groups of weights, areas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.sphere_patches import (
    cut_patches,
    is_periodic,
    owned_cells,
    patch_area_weights,
    weight_groups,
)
from gfrnn_testing.spheres import grid_of, latitudes, longitudes


def state(**keys) -> StateConfig:
    return StateConfig(layout="local", **keys)


GLOBE = grid_of(latitudes(6, "between"), longitudes(12))
# Across Greenwich: longitudes ascend from 0, but the box begins at 345.
BOX = grid_of([40, 45, 50, 55], [0, 5, 10, 345, 350, 355])


# Whether a row of cells is_periodic


@pytest.mark.parametrize(
    ("longitude", "expected"),
    [
        (longitudes(12), True),
        (longitudes(7) + 3.3, True),
        (np.arange(0, 360, 0.25), True),
        (np.arange(0, 180, 5.0), False),
        (np.arange(0, 351, 5.0), False),  # one cell is missing
        (np.array([0, 5, 10, 345, 350, 355.0]), False),  # a box across Greenwich
        (np.array([0.0, 5.0, 355.0]), False),
        (np.array([7.0]), False),
    ],
)
def test_longitudes_are_periodic_if_all_spacings_are_equal(longitude, expected):
    assert is_periodic(longitude) is expected


# Windows


def test_a_box_across_greenwich_is_cut_in_one_piece():
    patches = cut_patches(state(patch=[4, 2], halo=[0, 1]), BOX)
    assert patches.periodic == (False, False)
    own = BOX.longitude[owned_cells(BOX, patches) % 6].reshape(3, 4, 2)
    np.testing.assert_array_equal(own[:, 0], [[345, 350], [355, 0], [5, 10]])


def test_own_cells_of_a_globe_are_those_of_the_patches():
    patches = cut_patches(state(patch=[2, 3], halo=[1, 1]), GLOBE)
    np.testing.assert_array_equal(owned_cells(GLOBE, patches), patches.own_cells)


@pytest.mark.parametrize(
    ("latitude", "expected"),
    [
        (latitudes(6, "between"), ("between", "between")),
        (latitudes(7, "row"), ("row", "row")),
        # Gaussian: the ends are 0.6 of a cell short of the poles.
        (np.array([-85.76, -80.27, 80.27, 85.76]), ("between", "between")),
        (np.arange(0, 91, 5.0), ("none", "row")),
        (np.arange(-60, 61, 5.0), ("none", "none")),
        (np.array([45.0]), ("none", "none")),
    ],
)
def test_poles_are_recognised_by_the_latitudes(latitude, expected):
    patches = cut_patches(state(patch=[1, 1], halo=[0, 1]), grid_of(latitude, longitudes(12)))
    assert patches.poles == expected
    assert patches.periodic == (False, True)


def test_a_box_up_to_the_pole_sees_nothing_across_it():
    """A region at a pole does not contain the opposite meridian."""
    grid = grid_of(np.arange(50, 91, 5.0), np.arange(0, 60, 5.0))
    assert cut_patches(state(), grid).poles == ("none", "none")


def test_components_of_vectors_change_sign_across_a_pole():
    names = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind")
    grid = grid_of(GLOBE.latitude, GLOBE.longitude, names)
    assert cut_patches(state(patch=[2, 2], halo=[1, 1]), grid).turned == (1, 2)


def test_hidden_features_use_the_inner_halo():
    patches = cut_patches(state(patch=[2, 2], halo=[2, 3], inner=[1, 0]), GLOBE)
    assert patches.halo == ((2, 2), (3, 3))
    assert patches.inner == ((1, 1), (0, 0))
    assert patches.window == 6 * 8
    assert patches.seen_by_hidden.sum() == 4 * 2


# Faults


@pytest.mark.parametrize(
    ("grid", "keys", "words"),
    [
        (GLOBE, {"patch": [7, 2]}, r"state.patch: \[7, 2\].* 6 latitudes.*at most 6 along lat"),
        (BOX, {"patch": [2, 9]}, r"state.patch: \[2, 9\].* 6 longitudes.*at most 6 along long"),
        (GLOBE, {"patch": [2, 4], "halo": [1, 5]}, r"state.halo: .* 14 longitudes.* 12.*twice"),
        (GLOBE, {"patch": [2, 2], "halo": [6, 1]}, r"state.halo: 6 latitudes.* grid of 6.*most 5"),
    ],
)
def test_windows_that_do_not_fit_are_refused(grid, keys, words):
    with pytest.raises(ConfigError, match=words):
        cut_patches(state(**keys), grid)


def test_a_window_may_be_all_of_the_globe_and_more_than_a_box():
    assert cut_patches(state(patch=[2, 4], halo=[5, 4]), GLOBE).window == 12 * 12
    assert cut_patches(state(patch=[2, 2], halo=[9, 9]), BOX).window == 20 * 20


def test_more_bands_than_rows_of_patches_are_refused():
    keys = state(patch=[2, 3], halo=[1, 1], weights="bands", bands=4)
    with pytest.raises(ConfigError, match=r"state.bands: 4 bands.* 3 rows of patches.*at most 3"):
        weight_groups(keys, GLOBE, cut_patches(keys, GLOBE))


# Groups


def groups(grid: Grid, **keys):
    config = state(**({"patch": [2, 3], "halo": [1, 1]} | keys))
    return weight_groups(config, grid, cut_patches(config, grid))


def test_groups_are_bands_of_latitude_or_each_patch():
    assert groups(GLOBE) is None
    np.testing.assert_array_equal(groups(GLOBE, weights="own"), np.arange(3 * 4))
    np.testing.assert_array_equal(groups(GLOBE, weights="bands", bands=3).reshape(3, 4).T[0],
                                  [0, 1, 2])  # fmt: skip
    two = groups(GLOBE, weights="bands", bands=2).reshape(3, 4)
    np.testing.assert_array_equal(two, np.repeat([[0], [0], [1]], 4, axis=1))


@given(
    rows=st.integers(1, 9),
    columns=st.integers(2, 9),
    patch=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    bands=st.integers(1, 9),
    data=st.data(),
)
def test_groups_are_numbered_without_gaps_and_each_has_rows(rows, columns, patch, bands, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=rows * columns,
                                       max_size=rows * columns)))  # fmt: skip
    mask[data.draw(st.integers(0, rows * columns - 1))] = False
    grid = grid_of(np.arange(rows) * 5.0, np.arange(columns) * 5.0, mask=mask)
    own = (min(patch[0], rows), min(patch[1], columns))
    for weights in ("own", "bands"):
        config = state(patch=own, halo=(0, 0), weights=weights, bands=bands)
        patches = cut_patches(config, grid)
        if weights == "bands" and bands > patches.counts[0]:
            continue
        found = weight_groups(config, grid, patches)
        assert found.shape == (patches.places,)
        with_rows = found[patch_area_weights(grid, patches) > 0]
        np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))
        np.testing.assert_array_equal(np.unique(with_rows), np.unique(found))


# What rows count


def test_rows_are_weighted_by_the_area_of_their_patch():
    patches = cut_patches(state(patch=[3, 4], halo=[0, 0]), GLOBE)
    np.testing.assert_allclose(patch_area_weights(GLOBE, patches), 1.0)
    rows = cut_patches(state(patch=[1, 4], halo=[0, 0]), GLOBE)
    found = patch_area_weights(GLOBE, rows).reshape(6, 3)
    # Area between latitudes: differences of the sine.
    expected = np.diff(np.sin(np.deg2rad(np.linspace(-90, 90, 7))))
    np.testing.assert_allclose(found, np.repeat(expected[:, None] / expected.mean(), 3, axis=1))


def test_masked_patches_have_weight_zero_and_half_masked_ones_half_the_weight():
    """The mean weight of patches with valid cells is 1."""
    mask = np.zeros((4, 6), dtype=bool)
    mask[:, :2] = True  # of the patches of 345..355 and 0..10, all of 0 and 5
    flat = replace(BOX, latitude=np.array([-1.5, -0.5, 0.5, 1.5]), mask=mask.reshape(-1))
    patches = cut_patches(state(patch=[4, 1], halo=[0, 0]), flat)
    np.testing.assert_allclose(patch_area_weights(flat, patches), [1, 1, 1, 0, 0, 1], rtol=1e-3)
    patches = cut_patches(state(patch=[4, 2], halo=[0, 0]), flat)
    # 345 350 | 355 0 | 5 10
    np.testing.assert_allclose(
        patch_area_weights(flat, patches), np.array([4, 2, 2]) / (8 / 3), rtol=1e-3
    )


def test_a_cell_counts_if_one_of_its_channels_has_a_value():
    mask = np.zeros((2, 4, 6), dtype=bool)
    mask[0, :, :2] = True
    grid = replace(grid_of(BOX.latitude, BOX.longitude, ("a", "b")), mask=mask.reshape(-1))
    patches = cut_patches(state(patch=[4, 1], halo=[0, 0]), grid)
    assert (patch_area_weights(grid, patches) > 0).all()
