"""Test the sizes of chunks of the forecast store, and that every layout holds the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.forecasting import forecast_store, forecast_writer
from gfrnn.pipeline.forecasting.divergence import STAYED, DecodedLead
from gfrnn.pipeline.forecasting.forecast_chunks import ForecastChunks, forecast_chunks
from gfrnn.pipeline.forecasting.forecast_store import (
    create_forecast_store,
    finish_forecast_store,
    open_forecasts,
)
from gfrnn.pipeline.forecasting.forecast_writer import shard_buffer_bytes, write_forecasts

MIB = 2**20
FIELD = 721 * 1440 * 4
"""Bytes of a global field at 0.25 degrees."""


@pytest.mark.parametrize(
    ("leads", "levels", "field", "expected"),
    [
        (40, 2, 8192, ForecastChunks(40, 2, 40, 2)),  # all in one chunk
        (40, 13, 8192, ForecastChunks(20, 13, 40, 13)),  # two chunks in a shard
        (41, 13, 8192, ForecastChunks(21, 13, 42, 13)),  # the last chunk is not full
        (40, 13, 65536, ForecastChunks(4, 13, 4, 13)),  # a shard for a few leads
        (40, 13, MIB, ForecastChunks(1, 4, 1, 16)),  # a shard for a lead
        (40, 13, FIELD, ForecastChunks(1, 1, 1, 13)),
        (1, 1, 16 * MIB, ForecastChunks(1, 1, 1, 1)),
    ],
)
def test_chunks_of_typical_forecasts(leads, levels, field, expected):
    assert forecast_chunks(leads, levels, field) == expected


@settings(max_examples=300)
@given(st.integers(1, 400), st.integers(1, 40), st.integers(100, 40 * MIB))
def test_chunks_have_1_to_4_mib(leads, levels, field):
    chunks = forecast_chunks(leads, levels, field)
    size, all_bytes = chunks.leads * chunks.levels * field, leads * levels * field
    assert size <= 4 * MIB or (chunks.leads, chunks.levels) == (1, 1)
    assert size >= MIB or size == all_bytes
    assert chunks.shard_leads % chunks.leads == chunks.shard_levels % chunks.levels == 0
    assert chunks.shard_levels >= levels
    if all_bytes <= 8 * MIB:
        assert chunks.shard_leads >= leads
    else:
        assert chunks.shard_leads == chunks.leads


def grid_of(levels: list[float], shape: tuple[int, int]) -> Grid:
    channels = [Channel("geopotential", level) for level in levels]
    channels += [Channel("temperature", levels[-1]), Channel("mean_sea_level_pressure", None)]
    return Grid(tuple(channels), np.linspace(-80, 80, shape[0]), np.arange(shape[1]) * 2.0)


OLD = [ForecastChunks(1, 1, 41, 4), ForecastChunks(1, 1, 1, 4)]
"""Chunks of earlier versions: of one field, all leads or one lead in a shard."""

SHAPES = {"small": (10, 20), "padded": (64, 128), "large": (96, 192)}


@pytest.mark.parametrize(
    ("size", "chunks"),
    [*((size, None) for size in SHAPES), ("small", OLD[0]), ("small", OLD[1])],
    ids=["one chunk", "padded", "large", "old", "old, a shard a lead"],
)
def test_a_store_holds_what_was_written(tmp_path, monkeypatch, size, chunks):
    """Batches of different length, and more initial times than are written at once."""
    grid = grid_of([100.0, 250.0, 500.0, 850.0], SHAPES[size])
    path, leads, starts = tmp_path / "forecast.zarr", 41, 3
    if chunks:
        monkeypatch.setattr(forecast_store, "chunks_of", lambda *_: chunks)
    monkeypatch.setattr(forecast_writer, "_WRITE_BYTES", 2 * MIB)
    initial = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    described = {channel.variable: {"units": "1"} for channel in grid.channels}
    create_forecast_store(path, grid, initial, Duration.parse("6h"), leads, described, {}, 2)
    values = np.random.default_rng(0).standard_normal((starts, leads, grid.size))
    for first in (0, 2):
        own = values[first : first + 2]
        stayed = np.full(len(own), STAYED)
        decoded = (DecodedLead(own[:, n], np.zeros(len(own)), stayed) for n in range(leads))
        write_forecasts(path, grid, first, decoded)
    finish_forecast_store(path, grid)
    store = open_forecasts(path)
    assert store.attrs["lost_forecasts"] == 0
    fields = values.reshape(starts, leads, *grid.shape).astype(np.float32)
    deep = store["geopotential"].transpose("time", "prediction_timedelta", "level", ...)
    np.testing.assert_array_equal(deep.values, fields[:, :, :4])
    np.testing.assert_array_equal(store["temperature"].sel(level=850.0).values, fields[:, :, 4])
    assert np.isnan(store["temperature"].sel(level=100.0).values).all()
    np.testing.assert_array_equal(store["mean_sea_level_pressure"].values, fields[:, :, 5])
    stored = zarr.open_group(path, mode="r")["geopotential"]
    if chunks:
        assert stored.chunks == (1, 1, 1, *SHAPES[size])
    elif size == "large":
        assert stored.shards is None
        assert stored.chunks[1] < leads
    assert written_files(path / "geopotential") == starts * files_of_a_start(stored)


def written_files(path: Path) -> int:
    return sum(each.is_file() for each in (path / "c").rglob("*"))


def files_of_a_start(array: zarr.Array) -> int:
    return -(-array.shape[1] // (array.shards or array.chunks)[1])


def test_memory_of_kept_leads():
    small, large = grid_of([500.0], SHAPES["small"]), grid_of([500.0], (721, 1440))
    assert shard_buffer_bytes(small, 40) == 3 * 40 * 10 * 20 * 4
    assert shard_buffer_bytes(large, 40) == 3 * FIELD  # one lead of each variable
