"""Test fields and states of EOFs: grids, areas, scaling, encoding."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout, EofSummary
from gfrnn_testing.reduction_toys import fields_of, random_fields

cases = settings(max_examples=40)
CHANNELS = (Channel("mean_sea_level_pressure"), Channel("temperature", 500.0))
TIME = pd.date_range("2003-12-30", periods=30, freq="6h").to_numpy()


def make_layout(modes: int = 5, seed: int = 0) -> EofLayout:
    rng = np.random.default_rng(seed)
    grid = Grid(CHANNELS, np.linspace(20, 70, 6), np.arange(0, 80, 10.0))
    climatology = Climatology(1, 1, rng.standard_normal((5, grid.size)), np.array([250.0, 3.0]))
    vectors = np.linalg.qr(rng.standard_normal((grid.size, modes)))[0].T
    values = np.sort(rng.uniform(1, 9, modes))[::-1]
    return EofLayout(Scaling(grid, climatology), vectors, values, 2.0 * (values**2).sum(), 40)


# --- grids --------------------------------------------------------------------------------------


@cases
@given(st.integers(2, 40), st.floats(-90, 60), st.floats(1, 30), st.sampled_from([1, 2, 3]))
def test_areas_are_shares_of_the_sphere(count, south, height, channels):
    latitude = np.linspace(south, south + height, count)
    area = Grid(CHANNELS * channels, latitude, np.arange(4.0)).area
    assert area.shape == (count,)
    np.testing.assert_allclose(area.sum(), count)
    assert (area > 0).all()


def test_areas_of_the_whole_sphere():
    latitude = np.linspace(-90, 90, 73)
    area = Grid(CHANNELS, latitude, np.arange(144) * 2.5).area
    np.testing.assert_allclose(area, area[::-1])
    inner = slice(1, -1)
    cosine = np.cos(np.deg2rad(latitude))
    ratio = area[inner] / cosine[inner]
    np.testing.assert_allclose(ratio, ratio[35], rtol=1e-10)
    # A cap of half a step about the pole.
    cap = (1 - np.cos(np.deg2rad(1.25))) / 2
    np.testing.assert_allclose(area[0] / area.sum(), cap, rtol=1e-10)


def test_one_latitude_has_all_the_area():
    np.testing.assert_array_equal(Grid(CHANNELS, np.array([52.0]), np.arange(3.0)).area, [1.0])


# --- reading ------------------------------------------------------------------------------------


def test_columns_are_channel_latitude_longitude():
    fields = random_fields(7)
    assert fields.grid.shape == (3, 5, 6)
    assert [channel.name for channel in fields.grid.channels] == [
        "mean_sea_level_pressure",
        "temperature_500",
        "temperature_850",
    ]
    values = fields.read(2, 5)
    assert values.shape == (3, 90)
    ds = fields.ds.isel(time=slice(2, 5))
    np.testing.assert_array_equal(values[:, :30], ds.mean_sea_level_pressure.values.reshape(3, -1))
    level = ds.temperature.sel(level=850.0).values
    np.testing.assert_array_equal(values[:, 60:], level.reshape(3, -1))


def test_order_of_dimensions_does_not_matter():
    fields = random_fields(7)
    turned = Fields(fields.ds.transpose("longitude", "level", "latitude", "time"))
    np.testing.assert_array_equal(turned.read(1, 6), fields.read(1, 6))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(value):
    values = np.ones((9, 3, 5, 6))
    values[4:6, 2, 3, 1] = value
    fields = fields_of(values, TIME[:9])
    fields.read(0, 4)
    with pytest.raises(DataError) as caught:
        fields.read(2, 9)
    message = str(caught.value)
    assert message.startswith(f"temperature_850: {value} at 2003-12-31T00:00, latitude 65,")
    assert "longitude 10 (and 1 more such values in this time slice)" in message


# --- scaling and encoding -----------------------------------------------------------------------


def test_scaled_anomalies():
    layout = make_layout()
    scaling, rng = layout.scaling, np.random.default_rng(1)
    fields = rng.standard_normal((len(TIME), scaling.grid.size))
    by_hand = (fields - scaling.climatology(TIME)).reshape(len(TIME), 2, 6, 8)
    by_hand = by_hand / np.array([250.0, 3.0])[:, None, None]
    by_hand = by_hand * np.sqrt(scaling.grid.area)[:, None]
    np.testing.assert_allclose(
        scaling.scaled_anomalies(fields.copy(), TIME), by_hand.reshape(len(TIME), -1), rtol=1e-12
    )


def test_the_climatology_repeats_every_year():
    climatology = make_layout().scaling.climatology
    first = np.array(["2001-05-03T06", "2001-11-09T18"], dtype="datetime64[ns]")
    second = np.array(["2002-05-03T06", "2002-11-09T18"], dtype="datetime64[ns]")
    np.testing.assert_allclose(climatology(first), climatology(second))
    assert np.abs(climatology(first) - climatology(first + np.timedelta64(6, "h"))).max() > 0.1


@cases
@given(st.integers(1, 20), st.integers(0, 99))
def test_decoded_states_encode_to_themselves(modes, seed):
    layout = make_layout(modes, seed)
    states = np.random.default_rng(seed).standard_normal((len(TIME), modes))
    np.testing.assert_allclose(layout.encode(layout.decode(states, TIME), TIME), states, atol=1e-11)


def test_fields_in_the_span_of_the_eofs_survive():
    layout = make_layout()
    states = np.random.default_rng(2).standard_normal((len(TIME), 5))
    fields = layout.decode(states, TIME)
    again = layout.decode(layout.encode(fields.copy(), TIME), TIME)
    np.testing.assert_allclose(again, fields, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(layout.decode(0 * states, TIME), layout.scaling.climatology(TIME))


def test_squared_states_are_the_variance_of_the_fields():
    """Squared states are the area-weighted variance of fields divided by the std of the channel."""
    layout = make_layout()
    states = np.random.default_rng(3).standard_normal((4, 5))
    anomalies = layout.anomalies(states).reshape(4, 2, 6, 8) / np.array([[[250.0]], [[3.0]]])
    squares = (np.square(anomalies) * layout.scaling.grid.area[:, None]).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(np.square(states * layout.state_scale).sum(axis=1), squares)
    assert layout.state_scale == layout.singular_values[0] / np.sqrt(40)


def test_a_merge_of_a_long_series_needs_no_more_memory_than_planned():
    times, size, rank = 20000, 60, 20
    fields: Any = SimpleNamespace(grid=SimpleNamespace(size=size), time=np.zeros(times))
    scaling: Any = None
    rng, summary = np.random.default_rng(0), EofSummary(fields, scaling, rank)
    tracemalloc.start()
    try:
        left, right = (
            {
                "left": rng.normal(size=(times // 2, rank)),
                "values": np.linspace(2, 1, rank),
                "right": rng.normal(size=(rank, size)),
                "total": np.array(1.0),
            }
            for _ in range(2)
        )
        tracemalloc.reset_peak()
        merged = summary.merge(left, right)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert merged["left"].shape == (times, rank)
    assert 0.6 * summary.merge_bytes() < peak <= summary.merge_bytes() + 2**16


def test_fewer_modes_are_the_leading_ones():
    layout = make_layout()
    vectors, values = layout.vectors[:2], layout.singular_values[:2]
    fewer = replace(layout, vectors=vectors, singular_values=values)
    fields = np.random.default_rng(4).standard_normal((len(TIME), layout.scaling.grid.size))
    np.testing.assert_allclose(
        fewer.encode(fields.copy(), TIME), layout.encode(fields.copy(), TIME)[:, :2]
    )
    assert (fewer.modes, layout.modes) == (2, 5)
    assert fewer.variance_kept < layout.variance_kept == 0.5
