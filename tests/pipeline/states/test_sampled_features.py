"""Features of a local layout: their background, and grids and channels without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.states.sampled_features import (
    mean_state,
    patch_features,
    unfitted_patch_features,
)
from gfrnn.pipeline.states.sphere_patches import cut_patches

STATE = StateConfig.model_validate({"layout": "local", "patch": [2, 2], "halo": [1, 1]})
WINDS = (Channel("u_component_of_wind", 500.0), Channel("v_component_of_wind", 500.0))
HEIGHT, WARMTH = Channel("geopotential", 500.0), Channel("temperature", 500.0)


def grid_of(*channels: Channel, mask=None, columns: int = 6) -> Grid:
    """Return a grid of a region across Greenwich, stored from 0 to 360 degrees."""
    longitude = np.sort(np.mod(np.arange(columns) * 5.0 - 10.0, 360))
    return Grid(channels, np.linspace(30.0, 50.0, 4), longitude, mask)


def layout_of(grid: Grid, coefficients: np.ndarray, annual=1) -> LocalLayout:
    std = np.arange(2.0, 2.0 + len(grid.channels))
    return LocalLayout(Scaling(grid, Climatology(annual, 0, coefficients, std), False))


@pytest.mark.parametrize("annual", [1, "month"])
def test_the_background_is_the_mean_of_the_year_as_a_state(annual):
    grid = grid_of(HEIGHT, *WINDS)
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal((3 if annual == 1 else 12, grid.size))
    layout = layout_of(grid, coefficients, annual)
    patches = cut_patches(STATE, grid)
    mean = coefficients[0] if annual == 1 else coefficients.mean(axis=0)
    found = layout.anomalies(mean_state(layout, patches)[None])[0].reshape(3, -1)
    expected = mean.reshape(3, -1).copy()
    expected[0] -= expected[0].mean()  # winds keep their mean, as they advect
    np.testing.assert_allclose(found, expected)


def test_the_background_is_zero_in_the_mask():
    mask = np.zeros(48, dtype=bool)
    mask[[3, 40]] = True
    grid = grid_of(HEIGHT, WARMTH, mask=mask)
    layout = layout_of(grid, np.random.default_rng(0).standard_normal((3, 48)) + 100)
    patches = cut_patches(STATE, grid)
    features = patch_features(ModelConfig(features=["advection"]), layout, patches)
    found = layout.anomalies(features.background[None])[0]
    assert not found[mask].any()
    assert np.abs(found).max() < 50
    np.testing.assert_array_equal(features.lattice.mask, layout.mask)


def test_features_see_longitudes_in_the_order_of_a_state():
    grid = grid_of(HEIGHT, WARMTH)
    found = unfitted_patch_features(
        ModelConfig(features=["advection", "products"], products=3), grid, cut_patches(STATE, grid)
    )
    np.testing.assert_allclose(found.lattice.longitude, np.arange(6) * 5.0 - 10.0)
    assert found.features.count == 3 + 3  # two of the temperature, one of the height
    assert found.columns == 4 * 6
    assert unfitted_patch_features(ModelConfig(), grid, cut_patches(STATE, grid)) is None


def test_channels_without_a_wind_and_small_grids_are_refused():
    model = ModelConfig(features=["advection"])
    grid = grid_of(WARMTH)
    with pytest.raises(ConfigError, match="advection with the wind 'geostrophic' needs geopot"):
        unfitted_patch_features(model, grid, cut_patches(STATE, grid))
    grid = grid_of(HEIGHT)
    with pytest.raises(ConfigError, match="wind 'components' needs u_component_of_wind and v_"):
        unfitted_patch_features(
            model.model_copy(update={"wind": "components"}), grid, cut_patches(STATE, grid)
        )
    small = replace(grid_of(HEIGHT), latitude=np.array([30.0, 40.0]))
    with pytest.raises(ConfigError, match="at least 3 latitudes and 3 longitudes, but the grid"):
        unfitted_patch_features(model, small, cut_patches(STATE, small))
