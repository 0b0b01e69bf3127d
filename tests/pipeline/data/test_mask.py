"""Test masks: results with masked cells equal those of data without these cells."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import ClimatologySummary, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout, EofSummary
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.state_series import lagged_covariance
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn_testing.archives import DATA, opened, real
from gfrnn_testing.models import make_model
from gfrnn_testing.pair_scores import weighted_statistics
from gfrnn_testing.reduction_toys import cut, fields_of

cases = settings(max_examples=25)
TIMES, SHAPE, MODES = 300, (3, 5, 6), 5
TIME = pd.date_range("2001-01-01", periods=TIMES, freq="D").to_numpy()


def make_values(seed: int = 0) -> np.ndarray:
    """Return slow anomalies of a few patterns, with noise: (times, channels, latitudes, ...)."""
    rng = np.random.default_rng(seed)
    states = np.cumsum(rng.standard_normal((TIMES, 8)), axis=0)
    states -= states.mean(axis=0)
    values = np.tensordot(states, rng.standard_normal((8, *SHAPE)), 1)
    values += 0.1 * rng.standard_normal((TIMES, *SHAPE))
    return values * np.array([300.0, 4.0, 6.0])[:, None, None] + 250.0


def columns(*chosen: int) -> np.ndarray:
    """Return a mask of whole columns of the grid, in all channels."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :, list(chosen)] = True
    return mask


def masked_fields(mask: np.ndarray, values: np.ndarray | None = None) -> Fields:
    """Return fields that are NaN in the mask, with the mask found from their ends."""
    values = make_values() if values is None else values
    return fields_of(np.where(mask, np.nan, values), TIME).with_mask(0, TIMES - 1)


def fitted(fields: Fields, modes: int = MODES) -> tuple[EofLayout, np.ndarray]:
    """Compute climatology, EOFs and the states of all times with the reducer."""
    moments = ClimatologySummary(fields, 1, 0)
    pieces = cut(TIMES, 70)
    climatology = moments.finish(reduce_stretches(moments, pieces, key="k")["a"])
    svd = EofSummary(fields, Scaling(fields.grid, climatology), rank=90)
    return svd.finish(reduce_stretches(svd, pieces, key="k")["a"], modes)


# --- as if they were not there ------------------------------------------------------------------


def test_a_masked_third_gives_the_results_without_these_cells():
    """The mask covers the last columns, so that the areas of the other cells stay the same."""
    mask = columns(4, 5)
    fields = masked_fields(mask)
    narrow = Fields(fields.ds.isel(longitude=slice(0, 4)))
    (ours, states), (theirs, expected) = fitted(fields), fitted(narrow)
    there = ~mask.reshape(-1)
    np.testing.assert_array_equal(fields.grid.valid, ~mask)
    first, second = ours.scaling.climatology, theirs.scaling.climatology
    np.testing.assert_allclose(first.coefficients[:, there], second.coefficients, rtol=1e-9)
    np.testing.assert_allclose(first.std, second.std, rtol=1e-12)
    np.testing.assert_allclose(ours.singular_values, theirs.singular_values, rtol=1e-10)
    np.testing.assert_allclose(ours.total, theirs.total, rtol=1e-12)
    signs = np.sign((ours.vectors[:, there] * theirs.vectors).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.vectors[:, there], signs * theirs.vectors, atol=1e-9)
    np.testing.assert_allclose(ours.vectors[:, ~there], 0.0, atol=1e-12)
    np.testing.assert_allclose(states, expected * signs.T, atol=1e-8)
    np.testing.assert_allclose(
        ours.decode(states, TIME)[:, there], theirs.decode(expected, TIME), rtol=1e-9
    )


def test_a_mask_of_one_channel_leaves_the_others_whole():
    """The EOFs equal those of numpy on the valid columns."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2:4, 1:3] = mask[1, 0] = True
    layout, _ = fitted(masked_fields(mask))
    there = ~mask.reshape(-1)
    values = make_values().reshape(TIMES, -1)
    anomalies = values - layout.scaling.climatology(TIME)
    area = np.broadcast_to(layout.scaling.grid.area[:, None], SHAPE).reshape(-1)
    spread = [
        np.sqrt(np.average(np.square(anomalies[:, own]).mean(axis=0), weights=area[own]))
        for own in (there & (np.arange(90) // 30 == channel) for channel in range(3))
    ]
    np.testing.assert_allclose(layout.scaling.climatology.std, spread, rtol=1e-9)
    scaled = anomalies * np.sqrt(area) / np.repeat(spread, 30)
    expected = np.linalg.svd(scaled[:, there], compute_uv=False)[:MODES]
    np.testing.assert_allclose(layout.singular_values, expected, rtol=1e-9)


def scored(grid: Grid, forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return statistics, (pairs, statistics, channels), of fields (pairs, *grid.shape)."""
    means = RegionMeans.on_grid(grid)
    ours, real = (
        field.reshape(-1, *means.roots.shape) * means.roots for field in (forecast, truth)
    )
    return weighted_statistics(ours, real, means)[:, :, 0]


def grid_of(mask: np.ndarray) -> Grid:
    latitude, longitude = np.linspace(20, 80, mask.shape[1]), np.arange(mask.shape[2]) * 10.0
    channels = tuple(Channel(f"variable {number}", None) for number in range(len(mask)))
    return Grid(channels, latitude, longitude, mask.reshape(-1))


def test_scores_are_those_of_the_valid_cells():
    forecast, truth = np.random.default_rng(3).standard_normal((2, 7, *SHAPE))
    mask = columns(0, 3)
    found = scored(grid_of(mask), *(np.where(mask, 0.0, field) for field in (forecast, truth)))
    kept = [field[..., [1, 2, 4, 5]] for field in (forecast, truth)]
    expected = scored(grid_of(np.zeros((3, 5, 4), dtype=bool)), *kept)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nan_outside_of_the_mask_stays_in_the_scores():
    forecast, truth = np.random.default_rng(4).standard_normal((2, 7, *SHAPE))
    forecast[2, 1, 0, 0] = np.nan
    lost = np.isnan(scored(grid_of(np.zeros(SHAPE, dtype=bool)), forecast, truth))
    assert lost[2, :, 1].all()
    assert lost.sum() == lost.shape[1]


# --- reading, encoding, decoding ----------------------------------------------------------------


@cases
@given(st.integers(0, 99), st.floats(0.01, 0.95))
def test_any_mask_is_found_and_comes_back(seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random(SHAPE) < share
    mask[:, 2, 2] = False  # no channel is empty
    fields = masked_fields(mask)
    flat, values = mask.reshape(-1), make_values().reshape(TIMES, -1)
    assert (fields.mask is None) == (not mask.any())
    if fields.mask is not None:
        np.testing.assert_array_equal(fields.mask, flat)
    found = fields.read(10, 40)
    np.testing.assert_array_equal(found, np.where(flat, 0.0, values[10:40]))
    layout, states = fitted(fields, modes=2)
    decoded = layout.decode(states[10:40], TIME[10:40])
    np.testing.assert_array_equal(np.isnan(decoded), np.broadcast_to(flat, decoded.shape))
    assert (layout.anomalies(states)[:, flat] == 0).all()
    np.testing.assert_allclose(layout.encode(found, TIME[10:40]), states[10:40], atol=1e-9)


def test_states_with_a_mask_do_not_depend_on_the_leaf():
    fields = masked_fields(columns(1))
    layout, states = fitted(fields)
    rest = StateSummary(fields, layout).leaf(Stretch("a", 200, 220))["states"]
    np.testing.assert_allclose(rest, states[200:220], atol=1e-9)


def test_data_without_missing_values_have_no_mask():
    fields = fields_of(make_values(), TIME)
    assert fields.with_mask(0, TIMES - 1) is fields
    assert fields.grid.valid.all()
    np.testing.assert_array_equal(fields.grid.area_weights[1, :, 3], fields.grid.area)
    values = fields.read(0, 2)
    assert fields.grid.fill_mask(values) is values
    assert np.isfinite(values).all()


# --- cells that do not vary ---------------------------------------------------------------------


def test_cells_that_never_vary_are_not_damped():
    """A constant cell, like the sea under ice, and a masked cell have no autocorrelation."""
    still = np.zeros(SHAPE, dtype=bool)
    still[0, 1:3, 4] = still[2, :, 0] = True
    values = np.where(still, 271.35, make_values())
    fields = masked_fields(columns(5), values)
    layout, states = fitted(fields)
    still, gone = still.reshape(-1), columns(5).reshape(-1)
    np.testing.assert_allclose(layout.vectors[:, still], 0.0, atol=1e-9)
    lagged = lagged_covariance(states, [Stretch("a", 0, TIMES)], 3)
    damping = replace(make_model(), layout=layout, lagged=lagged).damping(3)
    assert (damping[still | gone] == 0).all()
    moving = damping[~(still | gone)]
    assert ((moving > 0.3) & (moving < 1)).all()
    np.testing.assert_allclose(layout.decode(states, TIME)[:, still], 271.35, rtol=1e-9)


def test_a_channel_constant_outside_of_the_mask_is_refused():
    values = make_values()
    values[:, 1] = 271.35
    summary = ClimatologySummary(masked_fields(columns(0, 1), values), 1, 0)
    root = summary.leaf(Stretch("a", 0, TIMES))
    with pytest.raises(DataError, match="temperature_500: does not vary about its climatology"):
        summary.finish(root)


# --- faults -------------------------------------------------------------------------------------


def test_a_read_with_a_mask_needs_no_more_memory_than_planned(tmp_path):
    values = np.random.default_rng(0).normal(size=(TIMES, 60, 80)).astype("f4")
    mask = np.broadcast_to(np.arange(80) < 60, values.shape[1:])
    xr.Dataset(
        {"a": (("time", "latitude", "longitude"), np.where(mask, np.nan, values), {"units": "1"})},
        {"time": TIME, "latitude": np.arange(60.0), "longitude": np.arange(80.0)},
    ).to_zarr(tmp_path / "a.zarr", consolidated=False, encoding={"a": {"chunks": (10, 60, 80)}})
    fields = Fields(opened(tmp_path / "a.zarr")).with_mask(0, TIMES - 1)
    fields.read(0, 2)  # what is computed once
    tracemalloc.start()
    try:
        found = fields.read(0, TIMES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= fields.read_bytes(TIMES) + 2**17
    np.testing.assert_array_equal(found, np.where(mask, 0.0, values).reshape(TIMES, -1))


def test_a_value_in_the_mask_is_named():
    mask = columns(4, 5)
    values = np.where(mask, np.nan, make_values())
    values[100:102, 2, 3, 4] = 271.5
    fields = fields_of(values, TIME).with_mask(0, TIMES - 1)
    fields.read(50, 100)
    with pytest.raises(DataError) as caught:
        fields.read(90, 200)
    message = str(caught.value)
    assert message.startswith(
        "temperature_850: the mask changes in time: 271.5 at 2001-04-11T00:00, latitude 65, "
        "longitude 40 (and 1 more such values in this time slice)"
    )
    assert "missing (NaN) at the first and last time of the training period" in message
    assert "leave the variable out (data.variables)" in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_missing_beside_the_mask_is_named(value):
    values = np.where(columns(4, 5), np.nan, make_values())
    values[100, 0, 1, 2] = value
    fields = fields_of(values, TIME).with_mask(0, TIMES - 1)
    with pytest.raises(DataError) as caught:
        fields.read(90, 200)
    assert str(caught.value).startswith(
        f"mean_sea_level_pressure: {value} at 2001-04-11T00:00, latitude 35, longitude 20 "
        "(and 0 more such values in this time slice); fill such values"
    )


@pytest.mark.parametrize(("place", "other"), [(0, TIMES - 1), (TIMES - 1, 0)])
def test_ends_that_differ_are_refused(place, other):
    values = np.where(columns(4, 5), np.nan, make_values())
    values[place, 1, 1, 1:3] = np.nan
    here, there = (np.datetime_as_string(TIME[i], "m") for i in (place, other))
    with pytest.raises(DataError) as caught:
        fields_of(values, TIME).with_mask(0, TIMES - 1)
    message = str(caught.value)
    assert message.startswith(
        f"temperature_500: nan at {here}, latitude 35, longitude 10 (and 1 more such values"
    )
    for remedy in ("fill such values", "data.variables", "choose periods without them"):
        assert remedy in message
    assert f"a mask must be the same at all times, but {there} has a value there" in message


def test_a_channel_without_any_value_is_refused():
    values = make_values()
    values[:, 2] = np.nan
    with pytest.raises(DataError) as caught:
        fields_of(values, TIME).with_mask(3, 9)
    assert str(caught.value) == (
        "temperature_850: all values are missing (NaN) at 2001-01-04T00:00 and 2001-01-10T00:00, "
        "the first and last time of the training period; leave the variable out (data.variables)"
    )


# --- real data ----------------------------------------------------------------------------------


@pytest.mark.slow
@real
def test_the_sea_is_analysed_as_if_there_were_no_land():
    """The EOFs equal those of numpy on the sea cells, some of which are always under ice."""
    ds = opened(DATA / "traps/ersst_monthly_2010_2020_sst.mnmean.nc")
    fields = Fields(ds).with_mask(0, 127)
    raw = ds["sea_surface_temperature"].values.reshape(128, -1).astype(float)
    land = np.isnan(raw).all(axis=0)
    assert fields.mask is not None
    np.testing.assert_array_equal(fields.mask, land)
    moments = ClimatologySummary(fields, 1, 0)
    climatology = moments.finish(moments.leaf(Stretch("a", 0, 128)))
    svd = EofSummary(fields, Scaling(fields.grid, climatology), rank=20)
    layout, states = svd.finish(svd.leaf(Stretch("a", 0, 128)), 10)
    sea = raw[:, ~land] - climatology(fields.time)[:, ~land]
    area = np.repeat(fields.grid.area, 180)[~land]
    spread = np.sqrt(np.average(np.square(sea).mean(axis=0), weights=area))
    np.testing.assert_allclose(climatology.std, [spread], rtol=1e-9)
    expected = np.linalg.svd(sea * np.sqrt(area) / spread, compute_uv=False)[:10]
    np.testing.assert_allclose(layout.singular_values, expected, rtol=1e-9)
    decoded = layout.decode(states, fields.time)
    np.testing.assert_array_equal(np.isnan(decoded).all(axis=0), land)
    np.testing.assert_array_equal(np.isnan(decoded).any(axis=0), land)
    frozen = np.ptp(raw, axis=0) == 0
    assert frozen.sum() > 100
    lagged = lagged_covariance(states, [Stretch("a", 0, 128)], 1)
    damping = replace(make_model(), layout=layout, lagged=lagged).damping(1)
    assert np.isfinite(damping).all()
    assert (damping[frozen | land] == 0).all()
