"""Test states of a local layout: scaled anomalies of the cells in the order of patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.layouts import restore_layout
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.states.sphere_patches import cut_patches
from gfrnn_core import SampledRNN
from gfrnn_testing.spheres import grid_of, latitudes, layout_of_anomalies, longitudes

NAMES = ("2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind")
TIME = pd.date_range("2001-01-01", periods=5, freq="6h").to_numpy()
BOX = grid_of([40, 45, 50], [0, 5, 10, 350, 355], NAMES)


def some_layout(grid, seed=0) -> LocalLayout:
    """Return a climatology with annual and diurnal harmonics and std far from 1."""
    rng = np.random.default_rng(seed)
    channels = len(grid.channels)
    climatology = Climatology(1, 1, 10 * rng.normal(size=(5, grid.size)), 10.0 ** rng.normal(
        size=channels))  # fmt: skip
    return LocalLayout(Scaling(grid, climatology, area_weighted=False))


def test_a_state_has_the_channels_of_a_cell_together_and_cells_from_the_western_border_on():
    layout = layout_of_anomalies(BOX)
    channel, row, longitude = np.meshgrid([1, 2, 3], BOX.latitude, BOX.longitude, indexing="ij")
    fields = (1e6 * channel + 1e3 * row + longitude).reshape(1, -1)
    state = layout.encode(fields.copy(), TIME[:1]).reshape(3, 5, 3)
    np.testing.assert_array_equal(state[1, 0], 1e6 * np.array([1, 2, 3]) + 45e3 + 350)
    np.testing.assert_array_equal(state[0, :, 0] - 1e6 - 40e3, [350, 355, 0, 5, 10])


def test_patches_cut_such_a_state_into_neighbours():
    layout = layout_of_anomalies(BOX)
    patches = cut_patches(StateConfig(layout="local", patch=[1, 1], halo=[0, 1]), BOX)
    east = np.broadcast_to(BOX.longitude, (1, *BOX.shape)).reshape(1, -1).copy()
    seen = patches.windows(layout.encode(east, TIME[:1]))[0].reshape(3, 5, 3, 3)[..., 0]
    np.testing.assert_array_equal(seen[1], [[350, 350, 355], [350, 355, 0], [355, 0, 5],
                                            [0, 5, 10], [5, 10, 10]])  # fmt: skip


def test_states_are_anomalies_in_units_of_the_standard_deviation():
    layout = some_layout(BOX)
    climatology = layout.scaling.climatology
    fields = climatology(TIME)
    fields[2].reshape(BOX.shape)[1, 2, 0] += 3 * climatology.std[1]
    state = layout.encode(fields, TIME).reshape(5, 3, 5, 3)
    assert state[2, 2, 2, 1] == pytest.approx(3)  # column 0 E comes after 350 and 355
    state[2, 2, 2, 1] = 0
    np.testing.assert_allclose(state, 0, atol=1e-9)


@given(rows=st.integers(1, 4), columns=st.integers(1, 5), channels=st.integers(1, 3),
       first=st.integers(0, 355), seed=st.integers(0, 99), masked=st.booleans())  # fmt: skip
def test_fields_come_back_from_their_states(rows, columns, channels, first, seed, masked):
    rng = np.random.default_rng(seed)
    east = np.sort((first + 5 * np.arange(columns)) % 360)
    grid = grid_of(10.0 * np.arange(rows), east, NAMES[:channels])
    if masked:
        grid = replace(grid, mask=rng.random(grid.size) < 0.5)
    layout = some_layout(grid, seed)
    fields = 50 * rng.normal(size=(len(TIME), grid.size))
    given_fields = fields.copy()
    if masked:
        given_fields[:, grid.mask] = 0.0
    states = layout.encode(given_fields, TIME)
    assert states.shape == (len(TIME), layout.size)
    found = layout.decode(states, TIME)
    expected = grid.fill_mask(fields)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    # Encoding what was decoded gives the state again.
    again = layout.encode(np.nan_to_num(found), TIME)
    np.testing.assert_allclose(again, states, rtol=1e-6, atol=1e-6)


def test_the_mask_of_a_state_is_where_its_cells_have_no_value():
    mask = np.zeros(BOX.shape, dtype=bool)
    mask[1, 2, 3] = True  # pressure at 50 N, 10 W: column 350 comes first in a state
    layout = layout_of_anomalies(replace(BOX, mask=mask.reshape(-1)))
    np.testing.assert_array_equal(np.argwhere(layout.mask.reshape(3, 5, 3)), [[2, 0, 1]])
    fields = layout.decode(np.ones((1, BOX.size)), TIME[:1]).reshape(BOX.shape)
    np.testing.assert_array_equal(np.isnan(fields), mask)
    assert layout_of_anomalies(BOX).mask is None


def test_masked_cells_stay_zero_in_rollouts():
    """Masked cells stay zero with outer weights that add 1 to every value."""
    grid = grid_of(latitudes(4, "between"), longitudes(6), NAMES[:2])
    rng = np.random.default_rng(0)
    layout = layout_of_anomalies(replace(grid, mask=rng.random(grid.size) < 0.3))
    patches = cut_patches(StateConfig(layout="local", patch=[2, 3], halo=[1, 1]), grid)
    for target in ("state", "increment"):
        network = SampledRNN(0, patches=patches, sampling="normal", standardise=False,
                             target=target, mask=layout.mask)  # fmt: skip
        network = network.sample(np.zeros((1, patches.window)))
        outer = np.zeros((1, patches.window + 1, patches.owned))
        outer[0, -1] = 1.0
        network = replace(network, outer=outer)
        start = np.where(layout.mask, 0.0, 5.0)
        path = network.rollout(start[None, None], 3)[0]
        assert (path[:, layout.mask] == 0).all()
        grown = [1, 1, 1] if target == "state" else [6, 7, 8]
        np.testing.assert_array_equal(path[:, ~layout.mask].min(axis=1), grown)
        np.testing.assert_array_equal(path[:, ~layout.mask].max(axis=1), grown)


def test_damping_is_that_of_the_channel():
    layout = layout_of_anomalies(BOX)
    lagged = np.array([[1, 1, 1], [0.9, 0.5, 0.2], [0.8, 0.1, 0.0]])
    for lead in range(3):
        expected = np.repeat(lagged[lead], 15)
        np.testing.assert_array_equal(layout.autocorrelation(lagged, lead), expected)


def test_a_stored_layout_is_the_same_again():
    layout = some_layout(BOX)
    again = restore_layout(layout.attributes(), BOX, layout.scaling.climatology, layout.arrays())
    assert isinstance(again, LocalLayout)
    fields = np.random.default_rng(1).normal(size=(5, BOX.size))
    np.testing.assert_array_equal(again.encode(fields.copy(), TIME), layout.encode(fields, TIME))
