"""Test what a run gives in Python: forecasts, truth and scores as xarray objects, and its text."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.errors import ConfigError, DataError, RunError
from gfrnn.pipeline.forecasting import forecast_chunks
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import contents, experiment, finish

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "model": {"width": 10},
    "forecast": {"horizon": "3d"},
}
MSL = "mean_sea_level_pressure"


@pytest.fixture(scope="module")
def run(fitted) -> Run:
    return finish(fitted)


@pytest.fixture
def copy(run, tmp_path) -> Run:
    return Run.reopen(Path(shutil.copytree(run.folder, tmp_path / "copy")))


def test_errors_by_hand_are_the_scores(run):
    error = run.forecasts() - run.truth()
    assert error[MSL].dims == ("time", "prediction_timedelta", "latitude", "longitude")
    assert error["geopotential"].sizes["level"] == 2
    # The area of a cell, from edges half-way between latitudes.
    latitude = error["latitude"].values
    half = np.diff(latitude).mean() / 2
    area = np.diff(np.sin(np.deg2rad([latitude - half, latitude + half])), axis=0)[0]
    weights = xr.DataArray(area, coords={"latitude": latitude})
    squares = (error[MSL] ** 2).weighted(weights).mean(["latitude", "longitude"])
    found = run.scores()["rmse"].sel(system="forecast", channel=MSL)
    np.testing.assert_allclose(np.sqrt(squares.mean("time")), found, rtol=1e-5)


def test_longitudes_across_greenwich_have_no_gap(run):
    """Maps that Matplotlib draws of them have no cell across the rest of the globe."""
    stored, ds = run.stored_forecasts(), run.forecasts()
    west = stored["longitude"].values[stored["longitude"].values > 180]
    np.testing.assert_allclose(ds["longitude"][: len(west)], west - 360)
    assert np.allclose(np.diff(ds["longitude"]), 10)
    for own in (run.forecasts(), run.truth()):
        np.testing.assert_array_equal(own["longitude"], ds["longitude"])
        assert own["longitude"].attrs["units"] == "degrees_east"
    for degrees in (-20, 20):
        mine, theirs = ds.sel(longitude=degrees), stored.sel(longitude=degrees % 360)
        np.testing.assert_array_equal(mine[MSL], theirs[MSL])
    weather = run.ds.sel(longitude=340)[MSL].sel(time=ds["valid_time"][0, 0])
    truth = run.truth().sel(longitude=-20)[MSL][0, 0]
    np.testing.assert_array_equal(truth, weather)


def test_a_folder_is_made_when_something_is_written(run, weather, tmp_path):
    folder = tmp_path / "deep" / "run"
    new = Run(run.experiment, folder)
    new.check()
    assert not new.is_done("fit")
    assert "not done" in repr(new)
    assert not folder.parent.exists()
    other = Run(experiment(weather.path, model={"width": 11}), folder)
    with new.changing_record():
        pass
    assert Run.reopen(folder).experiment == run.experiment
    with other.changing_record():  # nothing was computed yet, so the experiment may change
        pass
    assert Run.reopen(folder).experiment.model.width == 11


def test_a_folder_that_cannot_be_made_is_refused_at_once(run, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(RunError, match=r"note is not a folder; choose another --output"):
        Run(run.experiment, tmp_path / "note" / "run")


def test_products_are_lazy_and_described(run):
    for ds in (run.forecasts(), run.truth()):
        assert all(array.chunks is not None for array in ds.data_vars.values() if array.ndim > 3)
        assert ds["geopotential"].attrs["units"] == "m2 s-2"
        assert ds["valid_time"].dims == ("time", "prediction_timedelta")
    subsets = run.scores(subsets=True)
    assert {"region", "subset"} <= set(subsets["rmse"].dims)
    xr.testing.assert_equal(
        subsets["rmse"].sel(region="all", subset="all", drop=True), run.scores()["rmse"]
    )


def test_truth_is_nan_where_the_data_end(run, copy):
    """Forecasts of the last days of the data are there before their truth."""
    last = np.datetime64("2002-07-11")
    copy.ds = run.ds.sel(time=slice(None, last))
    lost = np.isnan(copy.truth()[MSL].values).all(axis=(2, 3))
    np.testing.assert_array_equal(lost, run.forecasts()["valid_time"].values > last)
    assert lost[:, 2].sum() == 4  # initial times from the 9th to the 12th


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_any_part_can_be_written(run, tmp_path, monkeypatch, zarr_format):
    """Stores with several chunks in a shard need no drop_encoding."""
    field = 4 * 5 * 8  # bytes
    monkeypatch.setattr(forecast_chunks, "_CHUNK_BYTES", 2 * field)
    copy = Run.reopen(Path(shutil.copytree(run.folder, tmp_path / "copy")))
    copy.forecast(force=True)
    assert xr.open_zarr(copy.forecast_store)["geopotential"].encoding["shards"] is not None
    ds = copy.forecasts()[["geopotential"]].isel(time=slice(0, 6))
    parts = [
        ds, ds.isel(time=[1, 4, 5]), ds.isel(prediction_timedelta=1), ds.sel(level=850),
        ds.isel(latitude=slice(1, 3)), ds.chunk(time=4, prediction_timedelta=-1),
    ]  # fmt: skip
    for number, part in enumerate(parts):
        path = tmp_path / f"{number}.zarr"
        part.to_zarr(path, zarr_format=zarr_format, consolidated=False)
        xr.testing.assert_identical(
            xr.open_zarr(path, consolidated=False, decode_timedelta=True).load(), part.load()
        )


def test_products_that_are_not_there_are_named(copy):
    shutil.rmtree(copy.score_store)
    with pytest.raises(RunError, match=r"no scores there; run `gfrnn verify`"):
        copy.scores()
    shutil.rmtree(copy.forecast_store)
    for product in (copy.forecasts, copy.truth):
        with pytest.raises(RunError, match=r"no forecasts there; run `gfrnn forecast`"):
            product()


def test_a_run_without_fields_says_so(weather, tmp_path):
    parts = PARTS | {"forecast": {"horizon": "3d", "store": False}}
    run = Run(experiment(weather.path, **parts), tmp_path / "run")
    for product in (run.forecasts, run.truth):
        with pytest.raises(RunError, match=r"forecast.store: false\); set the key to true"):
            product()


def test_truth_of_other_times_is_refused(run, weather, copy):
    copy.ds = run.ds.isel(time=slice(0, 100))
    with pytest.raises(DataError, match="none of the valid times"):
        copy.truth()


# Text


def test_a_run_describes_itself(run, copy, weather, tmp_path):
    text = repr(run)
    assert str(run.folder) in text
    assert "fit done 20" in text
    assert "verify done" in text
    html = run._repr_html_()
    assert "2002-07-01" in html
    assert "geopotential" in html
    assert "10 hidden features" in html
    new = Run(experiment(weather.path, **PARTS), tmp_path / "new")
    assert "fit not done; forecast not done; verify not done" in repr(new)
    copy.record_file.write_text("{")
    assert repr(copy).endswith("record damaged>")


def test_a_model_and_an_experiment_describe_themselves(run):
    model = repr(run.load_model())
    assert "geopotential_500" in model
    assert "5 x 8 points" in model
    assert len(model) < 300
    again = load_experiment(run.experiment_file)
    assert repr(again) == "<Experiment 'turning'>"
    assert "hidden_modes" in again._repr_html_()


def test_secrets_and_markup_are_not_shown(run):
    data = run.experiment.data.sources[0].model_copy(
        update={"storage_options": {"key": "s3cret"}, "path": "<b>"}
    )
    config = run.experiment.data.model_copy(update={"sources": [data]})
    html = run.experiment.model_copy(update={"data": config})._repr_html_()
    assert "s3cret" not in html
    assert "<b>" not in html


# A client of the user's own


@pytest.mark.cluster
def test_the_client_of_the_user_is_used(run, weather, tmp_path):
    """A run that is made under a client computes on it, with the same bits."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        other = finish(Run(experiment(weather.path, **PARTS), tmp_path / "run"))
        stages = list(cluster.scheduler.task_prefixes)
        mean = float(other.forecasts()[MSL].mean())
    assert stages
    assert mean == pytest.approx(float(run.forecasts()[MSL].mean()))
    assert contents(other.forecast_store) == contents(run.forecast_store)


# Arguments


def test_experiments_and_folders_are_given_by_path_too(run, tmp_path):
    file = tmp_path / "my.yaml"
    shutil.copyfile(run.experiment_file, file)
    for given in (file, str(file)):
        opened = Run(given, str(tmp_path / "first"))
        assert opened.experiment == run.experiment
        assert opened.folder == tmp_path / "first"
    assert Run.reopen(str(run.folder)).is_done("verify")


def test_other_arguments_are_refused_at_once(run, tmp_path):
    with pytest.raises(TypeError, match="experiment: found dict, expected an Experiment or the"):
        Run({"name": "my"}, tmp_path)
    with pytest.raises(TypeError, match="folder: found Experiment, expected a path"):
        Run(tmp_path / "my.yaml", run.experiment)
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        Run(tmp_path / "none.yaml", tmp_path / "first")
    assert list(tmp_path.iterdir()) == []
