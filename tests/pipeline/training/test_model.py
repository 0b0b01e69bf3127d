"""Test models on disk and in use: round trips, averages of networks, damping."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.storage import write_whole
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.state_series import lagged_covariance
from gfrnn_testing.models import INITIAL, MODES, make_model


@pytest.fixture
def model() -> ForecastModel:
    return make_model()


def make_history(delays: int = 3) -> np.ndarray:
    return np.random.default_rng(9).standard_normal((len(INITIAL), delays, MODES))


# --- on disk ------------------------------------------------------------------------------------


def test_a_model_read_back_forecasts_the_same_bits(tmp_path, model):
    model.save(tmp_path / "model.zarr")
    again = ForecastModel.load(tmp_path / "model.zarr")
    history = make_history()
    for walk in ("walk", "linear_walk"):
        steps = (getattr(each, walk)(history, INITIAL, 7) for each in (model, again))
        for before, after in zip(*steps, strict=True):
            for one, other in zip(before, after, strict=True):
                assert other.tobytes() == one.tobytes()
    states = model.rollout(history, INITIAL, 2)[:, 1]
    assert again.layout.decode(states, INITIAL).tobytes() == (
        model.layout.decode(states, INITIAL).tobytes()
    )
    fields = model.layout.decode(states, INITIAL)
    assert again.layout.encode(fields.copy(), INITIAL).tobytes() == (
        model.layout.encode(fields.copy(), INITIAL).tobytes()
    )
    for lead in range(6):
        assert again.damping(lead).tobytes() == model.damping(lead).tobytes()


def test_all_other_attributes_are_read_back(tmp_path, model):
    model.save(tmp_path / "model.zarr")
    again = ForecastModel.load(tmp_path / "model.zarr")
    assert again.layout.scaling.grid.channels == model.layout.scaling.grid.channels
    assert again.layout.variance_kept == model.layout.variance_kept
    assert (again.step, again.forcing.inputs, again.notes) == (
        model.step,
        model.forcing.inputs,
        model.notes,
    )
    assert again.leads == model.leads == [Duration.parse("12h"), Duration.parse("36h")]
    assert again.delays == model.delays == 3
    assert list(again.selection) == list(model.selection)
    for name, values in model.selection.items():
        np.testing.assert_array_equal(again.selection[name], values)
    for network, expected in zip(again.networks, model.networks, strict=True):
        for key in ("width", "activation", "sampling", "scale", "delays", "leads", "target"):
            assert getattr(network, key) == getattr(expected, key)


def test_a_mask_is_read_back(tmp_path, model):
    model.save(tmp_path / "whole.zarr")
    assert ForecastModel.load(tmp_path / "whole.zarr").layout.scaling.grid.mask is None
    scaling = model.layout.scaling
    mask = np.arange(scaling.grid.size) % 3 == 0
    grid = replace(scaling.grid, mask=mask)
    layout = replace(model.layout, scaling=replace(scaling, grid=grid))
    replace(model, layout=layout).save(tmp_path / "masked.zarr")
    found = ForecastModel.load(tmp_path / "masked.zarr").layout.scaling.grid.mask
    assert found is not None
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)


def test_nothing_is_pickled(tmp_path, model):
    """A model consists of metadata in JSON and chunks of plain numbers."""
    place = tmp_path / "model.zarr"
    model.save(place)
    files = [file for file in place.rglob("*") if file.is_file()]
    assert len(files) > 20
    for file in files:
        parts = file.relative_to(place).parts
        if file.name == "zarr.json":
            metadata = json.loads(file.read_text())
            if metadata["node_type"] == "array":
                assert metadata["data_type"] in ("float64", "int64")
                assert {codec["name"] for codec in metadata["codecs"]} <= {"bytes", "zstd"}
        else:
            assert "c" in parts
            assert all(part.isdigit() for part in parts[parts.index("c") + 1 :])
            assert b"gfrnn_core" not in file.read_bytes()


def test_saving_again_replaces_the_whole_model(tmp_path, model):
    place = tmp_path / "model.zarr"
    model.save(place)
    notes = replace(model.notes, solves=model.notes.solves[:1])
    one = replace(model, networks=model.networks[:1], mixture=np.ones((1, 2)), notes=notes)
    one.save(place)
    assert len(ForecastModel.load(place).networks) == 1
    assert not (place / "networks" / "1").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["model.zarr"]


def test_a_missing_model_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(RunError, match=r"model\.zarr: no trained model there; run `gfrnn fit`"):
        ForecastModel.load(tmp_path / "model.zarr")


@pytest.mark.parametrize(
    ("key", "value"), [("format", "other"), ("version", 2), ("version", None), ("format", None)]
)
def test_another_format_is_refused(tmp_path, model, key, value):
    place = tmp_path / "model.zarr"
    model.save(place)
    metadata = json.loads((place / "zarr.json").read_text())
    if value is None:
        del metadata["attributes"][key]
    else:
        metadata["attributes"][key] = value
    (place / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(RunError, match=r"but this program reads 'gfrnn-model' version 3; fit"):
        ForecastModel.load(place)


def test_a_partly_written_model_is_not_loaded(tmp_path, model):
    def fail(path: Path) -> None:
        model._write(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "model.zarr", fail)
    with pytest.raises(RunError, match="no trained model"):
        ForecastModel.load(tmp_path / "model.zarr")


# --- mixtures -----------------------------------------------------------------------------------


def test_a_mixture_is_the_sum_of_its_networks(model):
    """Networks differ in modes and delays; leads between two use the shares of the shorter."""
    history, steps = make_history(), 6
    found = model.rollout(history, INITIAL, steps)
    later = INITIAL[:, None] + model.step.length * np.arange(1, steps + 1)
    inputs = model.forcing(later.reshape(-1)).reshape(5, steps, 4)
    first = model.networks[0].rollout(history[:, 1:], steps, inputs)
    second = model.networks[1].rollout(history[:, :, :2], steps, inputs)
    shares = np.array([[1, 1, 0.25, 0.25, 0.25, 0.25], [0, 0, 0.75, 0.75, 0.75, 0.75]])
    expected = shares[0][:, None] * first
    expected[:, :, :2] += shares[1][:, None] * second
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.shape == (5, 6, MODES)


def test_inputs_are_those_of_the_valid_times(model):
    history = make_history()
    shifted = model.rollout(history, INITIAL + np.timedelta64(90, "D"), 3)
    assert np.abs(shifted - model.rollout(history, INITIAL, 3)).max() > 0.01
    without = replace(
        model,
        forcing=Forcing.calendar(()),
        networks=tuple(
            replace(n, outer=n.outer[:, : n.columns(n.outer.shape[2]).features], inputs=0)
            for n in model.networks
        ),
    )
    np.testing.assert_array_equal(
        without.rollout(history, INITIAL, 3),
        without.rollout(history, INITIAL + np.timedelta64(90, "D"), 3),
    )


def test_starts_do_not_affect_each_other(model):
    history = make_history()
    together = model.rollout(history, INITIAL, 4)
    alone = [model.rollout(history[i : i + 1], INITIAL[i : i + 1], 4)[0] for i in range(5)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-12)


# --- damping ------------------------------------------------------------------------------------


def test_damping_is_the_autocorrelation_of_each_cell(model):
    """With all modes nothing is truncated, so the EOFs give it exactly."""
    rng = np.random.default_rng(5)
    grid = Grid((Channel("temperature", 850.0),), np.linspace(30, 60, 3), np.arange(4.0))
    noise = rng.standard_normal((400, grid.size)) @ rng.standard_normal((grid.size, grid.size))
    anomalies = noise.copy()
    for time in range(1, 400):
        anomalies[time] = np.linspace(0.2, 0.95, grid.size) * anomalies[time - 1] + noise[time]
    climatology = Climatology(0, 0, np.zeros((1, grid.size)), np.array([2.0]))
    scaling = Scaling(grid, climatology)
    scaled = anomalies * scaling.weights
    _, values, vectors = np.linalg.svd(scaled, full_matrices=False)
    layout = EofLayout(scaling, vectors, values, float((values**2).sum()), 400)
    time = np.full(400, np.datetime64("2001-01-01", "ns"))
    states = layout.encode(anomalies.copy(), time)
    lagged = lagged_covariance(states, [Stretch("a", 0, 400)], 3)
    full = replace(model, layout=layout, lagged=lagged)
    for lead in range(4):
        pairs = slice(0, 400 - lead), slice(lead, 400)
        later = (anomalies[pairs[0]] * anomalies[pairs[1]]).mean(axis=0)
        expected = later / np.square(anomalies).mean(axis=0)
        np.testing.assert_allclose(full.damping(lead), expected, rtol=1e-9)
    np.testing.assert_allclose(full.damping(0), 1.0)
    assert full.damping(1).std() > 0.05


def test_a_cell_that_never_varies_is_not_damped_to_nan(model):
    vectors = model.layout.vectors.copy()
    vectors[:, 3] = 0.0
    still = replace(model, layout=replace(model.layout, vectors=vectors))
    assert still.damping(2)[3] == 0.0
    assert np.isfinite(still.damping(2)).all()


@pytest.mark.parametrize("how", ["broken metadata", "an unknown note", "no networks"])
def test_damaged_metadata_are_refused_with_what_to_do(tmp_path, model, how):
    place = tmp_path / "model.zarr"
    model.save(place)
    file = place / "zarr.json"
    if how == "broken metadata":
        file.write_text("{")
    else:
        tree = json.loads(file.read_text())
        if how == "an unknown note":
            tree["attributes"]["notes"]["unheard_of"] = 1
        else:
            del tree["attributes"]["networks"]
        file.write_text(json.dumps(tree))
    with pytest.raises(RunError, match=r"model\.zarr: is damaged.* fit the model again"):
        ForecastModel.load(place)
