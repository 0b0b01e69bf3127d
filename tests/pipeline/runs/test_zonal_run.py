"""Test whole runs of the zonal layout: skill, clusters, reports, and settings that are refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn_core import UnstableRollout
from gfrnn_testing.weather import contents, finish, refused
from gfrnn_testing.zonal_weather import LATITUDES, write_zonal_weather, zonal_experiment

GEOMETRIES = ("channel", "sphere")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    return {each: write_zonal_weather(folder / f"{each}.zarr", each) for each in GEOMETRIES}


@pytest.fixture(scope="module")
def archive(archives) -> Path:
    return archives["channel"]


def relative_rmse(run: Run) -> xr.DataArray:
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        rmse = scores["rmse"].load()
    return rmse / rmse.sel(system="climatology")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_advected_waves_are_forecast_to_the_rounding_of_the_store(archives, tmp_path, geometry):
    # The channel's waves are larger in the test than in the training period.
    keys: dict[str, Any] = {"state": {"geometry": geometry}, "model": {"bound": None}}
    experiment = zonal_experiment(archives[geometry], **keys)
    relative = relative_rmse(finish(Run(experiment, tmp_path / "run")))
    assert relative.sel(system="forecast").max() < 1e-5
    assert relative.sel(system="linear").min() > 1e-3
    assert relative.sel(system="persistence").min() > 0.05


@pytest.mark.cluster
def test_on_a_cluster_every_byte_is_the_same(archive, tmp_path):
    keys: dict[str, Any] = {
        "model": {"stages": 2, "noise": "residual", "features": ["advection", "tanh"], "width": 3},
        "fit": {"rows": 60},
    }
    here = finish(Run(zonal_experiment(archive, **keys), tmp_path / "here"))
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0", memory="600MiB")):
        there = finish(Run(zonal_experiment(archive, **keys), tmp_path / "there"))
    for store in ("model", "forecast_store", "score_store"):
        assert contents(getattr(here, store)) == contents(getattr(there, store)), store


def test_a_rollout_that_would_run_away_is_held(archive, tmp_path):
    # A map fitted on few rows without noise, far beyond the times that it was fitted for.
    keys: dict[str, Any] = {
        "state": {"delays": 3},
        "fit": {"ridge": [1e-12]},
        "periods": {"train": ["2001-01-01", "2001-05-01"]},
        "forecast": {"horizon": "120d", "every": "60d"},
    }
    worst = {}
    for bound in (2.4, None):
        model = {"features": ["products"], "width": 5, "bound": bound}
        run = Run(zonal_experiment(archive, model=model, **keys), tmp_path / str(bound))
        run.fit()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)
            run.forecast()
        with xr.open_zarr(run.forecast_store, decode_timedelta=True) as ds:
            last = ds["geopotential"].isel(prediction_timedelta=-1).values
        worst[bound] = np.abs(last - 5.4e4).max() if np.isfinite(last).all() else np.inf
    assert worst[2.4] < 600 * 60
    assert worst[None] == np.inf


def changed(archive: Path, folder: Path, change: Any) -> Path:
    """Write the archive with a change of its Dataset."""
    with xr.open_zarr(archive, consolidated=False) as ds:
        change(ds.load()).to_zarr(folder / "changed.zarr", zarr_format=3, consolidated=False)
    return folder / "changed.zarr"


def test_a_grid_that_does_not_close_is_refused(archive, tmp_path):
    part = changed(archive, tmp_path, lambda ds: ds.isel(longitude=slice(0, 12)))
    message = refused(ConfigError, Run(zonal_experiment(part), tmp_path / "run"))
    for words in ("state.layout: zonal", "evenly spaced", "0 to 247.5", "eof or local"):
        assert words in message


def test_a_mask_is_refused(archive, tmp_path):
    def with_land(ds: xr.Dataset) -> xr.Dataset:
        land = (ds["latitude"] == LATITUDES["channel"][2]) & (ds["longitude"] < 40)
        return ds.where(~land)

    part = changed(archive, tmp_path, with_land)
    with pytest.raises(ConfigError) as caught:
        Run(zonal_experiment(part), tmp_path / "run").fit()
    assert "geopotential_500 has none in some" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"model": {"wind": "components"}}, ("u_component_of_wind", "data.variables")),
        ({"state": {"wavenumbers": 8}}, ("state.wavenumbers: 8", "at most 7")),
        ({"state": {"functions": 20}}, ("state.functions: 20", "at most 8")),
        ({"fit": {"without": [1999]}}, ("fit.without: 1999", "2001, 2002")),
        (
            {"state": {"delays": 3}, "periods": {"train": ["2001-01-01", "2001-02-01"]}},
            ("state.functions", "columns", "29 rows"),
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(archive, tmp_path, keys, parts):
    message = refused(ConfigError, Run(zonal_experiment(archive, **keys), tmp_path / "run"))
    for words in parts:
        assert words in message


def test_a_refit_and_an_update_say_what_to_do(archive, tmp_path):
    run = Run(zonal_experiment(archive), tmp_path / "run")
    run.fit()
    for attempt in (
        lambda: refit(run.folder, tmp_path / "refit"),
        lambda: update(run.folder, [str(archive)], tmp_path / "update"),
    ):
        with pytest.raises(RunError, match="zonal cannot be refitted or updated.*--output FOLDER"):
            attempt()


def test_a_fit_is_refused_where_a_worker_lacks_the_memory(archive, tmp_path, monkeypatch):
    from gfrnn.pipeline.errors import ResourceError
    from gfrnn.pipeline.training import fit as fitting

    monkeypatch.setattr(fitting, "thread_memory", lambda: 2**21)
    run = Run(zonal_experiment(archive, fit={"rows": 700}), tmp_path / "run")
    with pytest.raises(ResourceError):
        run.fit()
    assert Fields(run.ds).grid.size == 128
