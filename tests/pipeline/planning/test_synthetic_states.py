"""Fields and states of noise have the shapes of real ones, and hardly take memory."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.planning.synthetic_states import (
    NoiseStates,
    synthetic_fields,
    synthetic_states,
)
from gfrnn_testing.reduction_toys import row_summary
from gfrnn_testing.weather import experiment, make_weather


@pytest.fixture
def fields(tmp_path):
    return Fields(open_source(experiment(make_weather(tmp_path / "s.zarr").path).data))


def test_fields_have_the_times_the_grid_and_the_levels_of_others(fields):
    noise = synthetic_fields(fields)
    assert noise.grid.shape == fields.grid.shape
    assert noise.grid.channels == fields.grid.channels
    np.testing.assert_array_equal(noise.time, fields.time)
    assert noise.dtype == fields.dtype
    assert noise.read(3, 9).shape == (6, fields.grid.size)


def test_fields_of_different_times_are_independent(fields):
    values = synthetic_fields(fields).read(0, 40)
    assert np.isfinite(values).all()
    correlations = np.corrcoef(values) - np.eye(40)
    assert np.abs(correlations).max() < 6 / np.sqrt(fields.grid.size)
    assert np.linalg.matrix_rank(values) == 40


def test_fields_of_many_times_take_little_memory(fields):
    noise = synthetic_fields(fields)
    for name, array in noise.ds.items():
        base = array.values
        while base.base is not None:
            base = base.base
        assert array.shape == fields.ds[name].transpose("time", ...).shape
        assert np.asarray(base).nbytes < array.nbytes / 2


def test_states_are_noise_of_any_time(tmp_path):
    stored = row_summary(tmp_path, 100, modes=5).states
    states = synthetic_states(stored)
    assert states == NoiseStates(5)
    values = states.read(10**6, 10**6 + 1000)
    assert values.shape == (1000, 5)
    assert abs(values.std() - 1) < 0.05
    assert states.read_bytes(7) == stored.read_bytes(7)


@pytest.mark.parametrize("name", ["log1p", "sqrt"])
def test_fields_can_be_transformed(fields, name):
    ds = fields.ds.copy()
    first = next(iter(ds.data_vars))
    ds[first].attrs["transform"] = name
    transformed = synthetic_fields(Fields(ds))
    assert transformed.transforms
    assert np.isfinite(transformed.read(0, 40)).all()
    others = [channel.variable != first for channel in transformed.grid.channels]
    values = transformed.read(0, 40).reshape(40, *transformed.grid.shape)
    assert (values[:, others] < 0).any()
