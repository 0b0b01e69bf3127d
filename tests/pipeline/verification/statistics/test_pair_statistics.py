"""Compare the statistics of pairs with the library scores and with exact sums."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.verification.statistics.pair_statistics import (
    STATISTICS,
    climatology_statistics,
)
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.systems import blocks
from gfrnn_testing.pair_scores import sums_of, weighted_statistics

PAIRS, SHAPE = 6, (3, 7, 9)
LEVELS = [250.0, 500.0, 850.0]
DIMS = ("time", "level", "latitude", "longitude")


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "masked"])
def grid(request) -> Grid:
    """Return three levels, without a mask or with one of its own for each."""
    rng = np.random.default_rng(1)
    mask = rng.random(SHAPE) < 0.3 if request.param else None
    channels = tuple(Channel("temperature", level) for level in LEVELS)
    latitude = np.linspace(-90, 75, SHAPE[1])
    return Grid(channels, latitude, np.arange(9) * 40.0, None if mask is None else mask.reshape(-1))


def fields(grid: Grid, seed: int, size: float = 300.0) -> np.ndarray:
    """Return anomalies, NaN in the mask: (pairs, levels, latitudes, longitudes)."""
    values = size * np.random.default_rng(seed).standard_normal((PAIRS, *SHAPE))
    values[:, ~grid.valid] = np.nan
    return values


def statistics(grid: Grid, forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the statistics of the whole area: (statistics, pairs, levels)."""
    means = RegionMeans.on_grid(grid)
    ours, real = (weighted(grid, each, means) for each in (forecast, truth))
    return weighted_statistics(ours, real, means)[:, :, 0].swapaxes(0, 1)


def weighted(grid: Grid, values: np.ndarray, means: RegionMeans) -> np.ndarray:
    flat = np.where(grid.valid, values, 0.0).reshape(PAIRS, len(LEVELS), -1)
    return flat * means.roots


SYSTEMS = {
    "independent": lambda truth, noise: noise,
    "close": lambda truth, noise: truth + 1e-3 * noise,
    "damped": lambda truth, noise: 1e-3 * truth + 1e-4 * noise,
    "biased": lambda truth, noise: truth + 5.0,
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_errors_are_those_of_the_library(grid, system):
    truth, noise = fields(grid, 2), fields(grid, 3)
    forecast = SYSTEMS[system](truth, noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.continuous import additive_bias, mae, mse
        from scores.functions import create_latitude_weights
    coords = {"level": LEVELS, "latitude": grid.latitude}
    pair = [xr.DataArray(each, dims=DIMS, coords=coords) for each in (forecast, truth)]
    weights = create_latitude_weights(pair[0]["latitude"])
    # Earlier versions of scores do not divide by the sum of the weights of the valid cells.
    weights = weights.broadcast_like(pair[1][0]).where(pair[1][0].notnull())
    weights = (weights / weights.mean(("latitude", "longitude"))).fillna(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [
            metric(*pair, preserve_dims=("time", "level"), weights=weights)
            for metric in (mse, additive_bias, mae)
        ]
    found = statistics(grid, forecast, truth)
    for number, (ours, theirs) in enumerate(zip(found[:3], expected, strict=True)):
        scale = np.sqrt(found[0].max()) if number else 0.0
        np.testing.assert_allclose(ours, theirs.values, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize("system", SYSTEMS)
def test_statistics_are_exact_sums(grid, system):
    truth, noise = fields(grid, 4), fields(grid, 5)
    forecast = SYSTEMS[system](truth, noise)
    found = statistics(grid, forecast, truth)
    cosine = np.broadcast_to(np.cos(np.deg2rad(grid.latitude))[:, None], SHAPE[1:])
    for pair in range(PAIRS):
        for level in range(len(LEVELS)):
            own = grid.valid[level]
            ours, real, area = forecast[pair, level][own], truth[pair, level][own], cosine[own]

            def mean(values: np.ndarray, area: np.ndarray = area) -> float:
                return math.fsum(area * values) / math.fsum(area)

            error = ours - real
            pattern = mean(ours * real) / math.sqrt(mean(ours**2) * mean(real**2))
            expected = [
                mean(error**2), mean(error), mean(abs(error)), pattern, mean(ours**2)
            ]  # fmt: skip
            # The anomaly of the forecast is the sum of its error and the truth, so that rounding
            # errors of a small one are relative to those.
            lost = max(1.0, mean(real**2) / mean(ours**2))
            scale = [0.0, math.sqrt(expected[0]), 0.0, lost, mean(real**2)]
            np.testing.assert_array_less(
                np.abs(found[:, pair, level] - expected),
                1e-12 * np.maximum(np.abs(expected), scale),
            )


def test_a_forecast_of_zero_is_the_climatology(grid):
    means = RegionMeans.on_grid(grid)
    real = weighted(grid, fields(grid, 6), means)
    squares, first, absolute, _ = sums_of(real, real, means)
    found = weighted_statistics(np.zeros_like(real), real, means)
    np.testing.assert_allclose(climatology_statistics(squares, first, absolute), found, rtol=1e-12)
    assert (found[:, STATISTICS.index("anomaly_correlation")] == 0).all()


def test_a_truth_without_anomalies_has_no_pattern(grid):
    means, truth = RegionMeans.on_grid(grid), fields(grid, 6)
    truth[2] = np.where(grid.valid, 0.0, np.nan)
    forecast = fields(grid, 7)
    forecast[4:] = truth[4:]
    truth[5] = forecast[5] = 0.0 * truth[5]
    ours, real = (weighted(grid, each, means) for each in (forecast, truth))
    ours[3] = np.nan
    number = STATISTICS.index("anomaly_correlation")
    found = weighted_statistics(ours, real, means)[:, number, 0]
    assert (found[[2, 5]] == 0).all()
    np.testing.assert_allclose(found[4], 1.0, rtol=1e-12)
    assert np.isnan(found[3]).all()
    assert (np.abs(found[:2]) < 1).all()
    ours[2] = np.nan
    assert np.isnan(weighted_statistics(ours, real, means)[2]).all()


@pytest.mark.parametrize("size", [1e-2, 1.0])
def test_single_precision_keeps_six_digits(grid, size):
    """Sums of many cells are those of double precision, also of small anomalies."""
    truth, noise = fields(grid, 7), fields(grid, 8)
    means = RegionMeans.on_grid(grid)
    ours, real = (weighted(grid, each, means) for each in (size * noise, truth))
    exact = weighted_statistics(ours, real, means)
    found = weighted_statistics(ours.astype("f4"), real.astype("f4"), means)
    # The anomaly of the forecast is the sum of its error and the truth, so that rounding errors of
    # a small one are relative to those.
    squared, absolute = exact[:, 0], exact[:, 2]
    lost = np.full_like(squared, 1 / size**2)
    scale = np.stack([squared, np.sqrt(squared), absolute, lost, squared], axis=1)
    np.testing.assert_array_less(np.abs(found - exact), 1e-6 * scale)


def test_more_pairs_and_cells_than_a_block(monkeypatch):
    """Blocks cover every cell of every pair once."""
    latitude, longitude = np.linspace(-60, 60, 5), np.arange(7) * 50.0
    own = Grid((Channel("temperature", 500.0), Channel("temperature", 850.0)), latitude, longitude)
    means = RegionMeans.on_grid(own)
    error, truth = np.random.default_rng(9).standard_normal((2, 35, 2, 35))
    monkeypatch.setattr(blocks, "_CELLS", 8)
    found = sums_of(error, truth, means)[:, :, 0]
    roots = means.roots
    expected = [error**2, error * roots, np.abs(error) * roots, error * truth]
    np.testing.assert_allclose(found, [each.sum(axis=-1) for each in expected], rtol=1e-10)
