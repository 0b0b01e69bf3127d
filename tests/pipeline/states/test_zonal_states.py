"""Zonal states: round trips of fields, exact autocorrelations, and grids that are refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.layouts import restore_layout
from gfrnn.pipeline.states.state_summary import ENCODING_COPIES
from gfrnn.pipeline.states.zonal_states import zonal_layout

CHANNELS = (Channel("geopotential", 500.0), Channel("mean_sea_level_pressure"))
GLOBE = Grid(CHANNELS, -90 + (np.arange(12) + 0.5) * 15, np.arange(24) * 15.0)
CHANNEL = Grid(CHANNELS, 30 + (np.arange(12) + 0.5) * 3, np.arange(24) * 15.0)
TIME = pd.date_range("2001-01-01", periods=400).to_numpy()


def layout_on(grid, geometry="sphere", annual=1, **keys):
    rng = np.random.default_rng(0)
    coefficients = 100 * rng.standard_normal((1 + 2 * annual, grid.size))
    climatology = Climatology(annual, 0, coefficients, np.array([500.0, 80.0]))
    scaling = Scaling(grid, climatology, area_weighted=False)
    return zonal_layout(StateConfig(layout="zonal", geometry=geometry, **keys), scaling)


@pytest.fixture(params=["sphere", "channel"])
def layout(request):
    return layout_on(GLOBE if request.param == "sphere" else CHANNEL, request.param)


def test_states_come_back_from_their_fields(layout):
    states = np.random.default_rng(1).standard_normal((5, layout.size))
    fields = layout.decode(states, TIME[:5])
    np.testing.assert_allclose(layout.encode(fields, TIME[:5]), states, atol=1e-10)


def test_encoding_needs_no_more_memory_than_is_estimated(layout):
    fields = np.zeros((400, layout.scaling.grid.size))
    layout.encode(fields[:1].copy(), TIME[:1])  # arrays that are computed once
    tracemalloc.start()
    try:
        layout.encode(fields, TIME)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fields.nbytes + peak < 8 * ENCODING_COPIES * fields.size


def test_the_norm_of_a_state_on_the_globe_is_the_mean_square_of_the_scaled_anomalies():
    fine = Grid(CHANNELS, -90 + (np.arange(90) + 0.5) * 2, np.arange(24) * 15.0)
    layout = layout_on(fine)
    states = np.random.default_rng(1).standard_normal((3, layout.size))
    scaled = (layout.anomalies(states) * layout.scaling.weights).reshape(3, *fine.shape)
    area = fine.area[:, None] * np.ones(24)
    mean = np.average(np.square(scaled), axis=(2, 3), weights=area).sum(axis=1)
    np.testing.assert_allclose(mean, np.square(states).sum(axis=1), rtol=2e-3)


def test_the_background_is_the_climatology_without_its_area_means(layout):
    grid, climatology = layout.scaling.grid, layout.scaling.climatology
    # A climatology of few waves, so that nothing is truncated.
    few = layout.anomalies(np.random.default_rng(2).standard_normal((3, layout.size)))
    few[0] += np.repeat([5e4, 1e5], grid.size // 2)
    smooth = Climatology(1, 0, few, climatology.std)
    layout = zonal_layout(
        StateConfig(layout="zonal", geometry=layout.geometry),
        Scaling(grid, smooth, area_weighted=False),
    )
    terms = smooth.design_matrix(TIME[[0, 100]])
    background = np.tensordot(terms, layout.background, axes=1).swapaxes(0, 1)
    fields = layout.basis.decode(background) * smooth.std[:, None, None]
    expected = smooth(TIME[[0, 100]]).reshape(2, *grid.shape)
    means = np.average(expected.mean(axis=3), axis=2, weights=grid.area)
    np.testing.assert_allclose(fields, expected - means[..., None, None], atol=1e-6)


def test_the_autocorrelation_of_turning_waves_is_a_cosine(layout):
    basis = layout.basis
    angle = 2 * np.pi / 20
    start = basis.unpack(np.random.default_rng(3).standard_normal((1, layout.size)))
    start[0] = 0  # the zonal mean does not turn
    path = start * np.exp(1j * angle * np.arange(4000))[:, None]
    lagged = layout.lagged_covariance([basis.pack(path[:, :2000]), basis.pack(path[:, 2000:])], 8)
    for lead in (0, 1, 5, 8):
        found = layout.autocorrelation(lagged, lead)
        assert found.shape == (layout.scaling.grid.size,)
        np.testing.assert_allclose(found, np.cos(angle * lead), atol=1e-10)


def test_lags_do_not_cross_from_one_run_to_the_next(layout):
    rng = np.random.default_rng(4)
    runs = [rng.standard_normal((count, layout.size)) for count in (3, 50, 1)]
    lagged = layout.lagged_covariance(runs, 4)
    grid = layout.scaling.grid
    fields = [(layout.anomalies(run) * layout.scaling.weights) for run in runs]
    for lag in range(5):
        pairs = [(one[: len(one) - lag], one[lag:]) for one in fields if len(one) > lag]
        products = np.concatenate([first * later for first, later in pairs])
        expected = products.reshape(-1, *grid.shape).mean(axis=(0, 3))
        np.testing.assert_allclose(lagged[lag], expected, atol=1e-10)


def test_a_layout_is_restored_from_what_is_stored(layout):
    again = restore_layout(
        layout.attributes(), layout.scaling.grid, layout.scaling.climatology, layout.arrays()
    )
    states = np.random.default_rng(5).standard_normal((2, layout.size))
    np.testing.assert_array_equal(again.decode(states, TIME[:2]), layout.decode(states, TIME[:2]))


def test_defaults_resolve_what_products_allow():
    layout = layout_on(GLOBE)
    assert (layout.wavenumbers, layout.functions) == (8, 8)  # 24 longitudes: wavenumbers to 7
    assert layout.basis.functions.counts == tuple(range(8, 0, -1))  # triangular truncation
    assert layout_on(CHANNEL, "channel").functions == 6


@pytest.mark.parametrize(
    ("grid", "keys", "parts"),
    [
        (Grid(CHANNELS, GLOBE.latitude, np.arange(24) * 10.0), {}, ("0 to 230", "10 to 130")),
        (
            Grid(CHANNELS, GLOBE.latitude, np.r_[0, 16, np.arange(2, 24) * 15.0]),
            {},
            ("evenly spaced", "eof or local"),
        ),
        (Grid(CHANNELS, GLOBE.latitude[:1], GLOBE.longitude), {}, ("two latitudes",)),
        (
            Grid(CHANNELS, GLOBE.latitude, GLOBE.longitude, np.arange(GLOBE.size) == 300),
            {},
            ("mean_sea_level_pressure", "data.variables"),
        ),
        (GLOBE, {"wavenumbers": 12}, ("state.wavenumbers: 12", "at most 11")),
        (GLOBE, {"functions": 13}, ("state.functions: 13", "at most 12")),
    ],
)
def test_what_zonal_waves_cannot_have_is_named(grid, keys, parts):
    with pytest.raises(ConfigError) as caught:
        layout_on(grid, **keys)
    for part in parts:
        assert part in str(caught.value)
