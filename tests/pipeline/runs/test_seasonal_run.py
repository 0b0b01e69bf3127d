"""Run experiments whose dynamics depend on the season, with joint inputs and season terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.states.harmonics import year_phase
from gfrnn.pipeline.training.fit import training_of
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.passes import cost_of_passes
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_testing.weather import contents, experiment, finish, write_store

MODULATION = 0.03
"""Amplitude of the annual cycle of the factor by which the wave grows in a day."""

TERMS: dict[str, Any] = {"inputs": ["day_of_year"], "leads": [], "season_terms": True}
STATES: dict[str, dict[str, Any]] = {
    "eof": {"modes": 2, "delays": 1},
    "local": {
        "layout": "local", "modes": 80, "delays": 1, "patch": [1, 6], "halo": [0, 1],
        "weights": "own",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def wave(tmp_path_factory) -> Path:
    """Write a wave along the globe that turns, and grows and decays with the seasons."""
    time = pd.date_range("2001-01-01", periods=730)
    season = np.cos(2 * np.pi * year_phase(time.to_numpy()))
    turned = np.exp(0.4j * np.arange(len(time)))
    # The season of a step is that of its later time; the factor decays a little on average.
    grown = np.cumprod(1 + MODULATION * season)
    longitude, latitude = np.arange(0.0, 360, 10), np.arange(-10.0, 11, 5)
    values = (turned * grown)[:, None, None] * np.exp(2j * np.deg2rad(longitude))
    sst = 300 + values.real + 0 * latitude[:, None]
    ds = xr.Dataset(
        {"sst": (("time", "latitude", "longitude"), sst, {"units": "K"})},
        {"time": time, "latitude": latitude, "longitude": longitude},
    )
    path = tmp_path_factory.mktemp("wave") / "wave.zarr"
    write_store(ds, path)
    return path


def seasonal(wave: Path, layout: str = "eof", **sections: Any) -> Any:
    """Return a linear experiment with season terms and an index."""
    parts: dict[str, Any] = {
        "data": {"variables": {"sea_surface_temperature": None}},
        "state": STATES[layout],
        "model": {"width": 0, **TERMS},
        "forecast": {"horizon": "5d"},
        "verification": {"indices": ["nino34"]},
    }
    return experiment(wave, **{**parts, **sections})


def scores_of(run: Run) -> xr.Dataset:
    return xr.open_zarr(
        run.score_store, chunks=None, decode_timedelta=True, consolidated=False
    ).load()


@pytest.mark.slow
@pytest.mark.parametrize("layout", STATES)
def test_dynamics_that_depend_on_the_season_are_learnt(wave, tmp_path, layout):
    runs = [
        finish(Run(seasonal(wave, layout, model={"width": 0, **TERMS, **changed}), tmp_path / name))
        for name, changed in (("with", {}), ("without", {"season_terms": False}))
    ]
    (ours, plain) = (scores_of(run).sel(system="forecast") for run in runs)
    size = float(scores_of(runs[0])["rmse"].sel(system="climatology").mean())
    assert float(ours["rmse"].max()) < 1e-3 * size
    assert float(plain["rmse"].min()) > 1e-2 * size
    assert float(ours["index_correlation"].min()) > 0.99999
    # Without hidden features, the linear reference is the model, season terms included.
    linear = scores_of(runs[0])["rmse"].sel(system="linear")
    assert float(linear.max()) < 1e-3 * size


def network_of(run: Run) -> Any:
    return ForecastModel.load(run.model).networks[0]


@pytest.mark.parametrize("sampling", ["normal", "pairs"])
def test_joint_inputs_are_seen_by_hidden_features_of_eofs(wave, tmp_path, sampling):
    model = {"width": 8, "sampling": sampling, **TERMS, "joint_inputs": True}
    run = Run(seasonal(wave, model=model), tmp_path / "run")
    run.fit()
    network = network_of(run)
    assert network.hidden.weights.shape == (2 + 2, 8)
    assert network.hidden.weights.all()
    assert (network.joint, network.inputs, network.modulators) == (True, 2, (0, 1))
    assert network.outer.shape == (1, 2 + 2 + 1 + 2 * 2 + 8, 2)


@pytest.mark.parametrize(("joint", "seen"), [(None, True), (True, True), (False, False)])
def test_hidden_features_of_patches_see_inputs_unless_told_otherwise(wave, tmp_path, joint, seen):
    state = {**STATES["local"], "weights": "shared", "static": ["latitude"]}
    model = {"width": 8, **TERMS, "joint_inputs": joint}
    run = Run(seasonal(wave, "local", state=state, model=model), tmp_path / "run")
    run.fit()
    weights = network_of(run).hidden.weights
    calendar, static = weights[-3:-1], weights[-1]
    assert calendar.all() if seen else not calendar.any()
    assert static.all()


def test_keys_of_the_season_are_searched(wave, tmp_path):
    search = {"model.season_terms": [False, True], "model.joint_inputs": [False, True]}
    model = {"width": 4, **TERMS, "season_terms": False}
    run = Run(seasonal(wave, model=model, search=search), tmp_path / "run")
    run.fit()
    notes = ForecastModel.load(run.model).notes
    assert len(notes.candidates) == 4
    assert notes.chosen["model.season_terms"]
    assert run.experiment.candidates()[notes.linear_solve.candidate][0]["model.season_terms"]


def test_a_refit_and_an_update_keep_the_columns_of_the_season(wave, tmp_path):
    model = {"width": 4, **TERMS, "joint_inputs": True}
    source = Run(seasonal(wave, model=model), tmp_path / "run")
    source.fit()
    again = refit(source.folder, tmp_path / "again")
    assert contents(again.model) == contents(source.model)
    with xr.open_zarr(wave, consolidated=False) as ds:
        write_store(ds.sel(time=slice("2002-04-01", "2002-05-31")).load(), tmp_path / "new.zarr")
    updated = update(source.folder, [str(tmp_path / "new.zarr")], tmp_path / "updated")
    trained = ForecastModel.load(updated.model)
    store, kept = updated.load_candidates(trained)
    time = source.ds["time"].values
    count = int((time <= np.datetime64("2002-05-31")).sum())
    states = trained.layout.encode(Fields(source.ds).read(0, count), time[:count])
    inputs = trained.forcing(time[:count])
    rows = Factors.of_series(kept.candidates[0].network, states, inputs).parts[0]
    found = kept.candidates[0].factor(Checkpoints(store), ["train/merged"]).parts[0]
    assert found.rows == rows.rows == count - 1
    assert found.columns == 2 + 2 + 1 + 4 + 4 + 2
    np.testing.assert_allclose(
        found.triangle.T @ found.triangle, rows.triangle.T @ rows.triangle, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("layout", STATES)
def test_a_plan_knows_the_columns_of_the_season(wave, tmp_path, layout):
    made = seasonal(wave, layout, model={"width": 4, **TERMS})
    run = Run(made, tmp_path / "run")
    run.fit()
    window, targets = (2, 2) if layout == "eof" else (8, 6)
    features = window + 1 + 2 + 2 * window + 4
    assert network_of(run).outer.shape[-2] == features
    training = training_of(made, Fields(run.ds), Checkpoints(tmp_path / "none"))
    (rows,) = [stage for stage in cost_of_passes(training.passes()) if stage.name == "rows"]
    groups, folds = (1 if layout == "eof" else 30), 3  # 2001, 2002 and the validation period
    columns = features + targets
    assert rows.kept_bytes == groups * folds * 8 * columns * (columns + 1) // 2
