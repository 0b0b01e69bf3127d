"""Commands on the run of somebody else: its model is used, or refused with our own error."""

from __future__ import annotations

import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.errors import GfrnnError, RunError
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.spectrum_store import write_spectrum
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.report.page import write_report
from gfrnn_testing.strange_models import (
    set_array,
    set_attributes,
    strange_model,
)
from gfrnn_testing.weather import Weather, experiment, finish, make_weather


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    return make_weather(tmp_path_factory.mktemp("weather") / "w.zarr", damping=0.9, noise=0.4)


@pytest.fixture(scope="module")
def made(weather, tmp_path_factory) -> Run:
    """Return a finished run of two candidates; tests change copies of it."""
    parts: dict[str, Any] = {
        "periods": {"test": ["2002-07-01", "2002-07-12"]},
        "model": {"width": 12, "leads": ["1d", "3d"], "inputs": ["day_of_year"]},
        "fit": {"ridge": [1e-3, 1e-2], "average": 2},
        "search": {"model.scale": [0.1, 0.3]},
        "forecast": {"horizon": "4d", "members": 3},
    }
    folder = tmp_path_factory.mktemp("made") / "run"
    return finish(Run(experiment(weather.path, **parts), folder))


@pytest.fixture
def stranger(made, tmp_path) -> Path:
    """Copy the run, to be changed."""
    return Path(shutil.copytree(made.folder, tmp_path / "run"))


def uses(folder: Path, source: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield all that uses the model of a run."""
    again, updated = folder.with_name("refit"), folder.with_name("updated")
    yield "load", lambda: ForecastModel.load(folder / "model.zarr")
    yield "refit", lambda: refit(folder, again, ridge=[1e-3], force=True)
    yield "update", lambda: update(folder, [str(source)], updated, period=None)
    yield "spectrum", lambda: write_spectrum(Run.reopen(folder), 3)
    yield "forecast", lambda: Run.reopen(folder).forecast(force=True)
    yield "verify", lambda: Run.reopen(folder).verify(force=True)


def refusals(folder: Path, source: Path) -> dict[str, str]:
    """Return what each use is refused with; errors of libraries are not caught."""
    found = {}
    for name, use in uses(folder, source):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                use()
        except GfrnnError as error:
            found[name] = str(error)
    return found


@pytest.fixture(scope="module")
def later(weather, tmp_path_factory) -> Path:
    """Return new data for an update."""
    path: Path = tmp_path_factory.mktemp("later") / "later.nc"
    with xr.open_zarr(weather.path, consolidated=False) as store:
        store.sel(time=slice("2002-04-01", "2002-06-30")).drop_encoding().to_netcdf(path)
    return path


def test_an_honest_run_is_used_by_all(stranger, later):
    assert refusals(stranger, later) == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("networks/0/outer", np.nan, "not finite"),
        ("networks/0/outer", 1e300, "beyond 1e+30"),
        ("networks/0/weights", -np.inf, "not finite"),
        ("linear/outer", np.nan, "not finite"),
        ("layout/eofs", 1e300, "beyond 1e+30"),
        ("climatology", 1e300, "beyond 1e+30"),
        ("spread", 0.0, "spread: is not positive"),
        ("calibration", np.nan, "not finite"),
        ("errors/unit", np.nan, "was changed"),
    ],
)
def test_values_that_no_fit_makes_are_refused(stranger, name, value, message):
    model = stranger / "model.zarr"
    values = np.asarray(zarr.open_group(model, mode="r")[name][...])
    set_array(model, name, np.full_like(values, value))
    with pytest.raises(RunError) as error:
        ForecastModel.load(model)
    assert message in str(error.value)


def test_weights_that_let_forecasts_run_away_are_used_and_counted(stranger, later):
    model = stranger / "model.zarr"
    values = np.asarray(zarr.open_group(model, mode="r")["networks/0/outer"][...])
    set_array(model, "networks/0/outer", values * 1e20)
    assert refusals(stranger, later) == {}
    counts = Run.reopen(stranger).record.stages["forecast"].rollouts
    assert counts is not None
    assert counts["diverged"] == counts["forecasts"] == 12
    text = write_report(Run.reopen(stranger)).read_text(encoding="utf-8")
    assert "12 of 12 forecasts diverged" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda attrs: attrs["networks"][0].update(delays=10**6),
        lambda attrs: attrs["networks"][0].update(leads=[1, 2.5]),
        lambda attrs: attrs.update(annual=10**9),
        lambda attrs: attrs["linear"].update(linear=10**12),
        lambda attrs: attrs["layout"].update(times=0),
        lambda attrs: attrs["notes"].update(width="x"),
        lambda attrs: attrs["notes"].update(other=1),
        lambda attrs: attrs["notes"]["solves"].pop(),
        lambda attrs: attrs["notes"]["precision"].update(chosen="float8"),
        lambda attrs: attrs["channels"].pop(),
        lambda attrs: attrs.update(networks=attrs["networks"][:1]),
    ],
)
def test_metadata_that_do_not_fit_are_refused(stranger, change):
    set_attributes(stranger / "model.zarr", change)
    with pytest.raises(RunError, match=r"model\.zarr: is damaged, or written by another version"):
        ForecastModel.load(stranger / "model.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    [*range(3), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(3, 12))],
)
def test_no_use_of_a_changed_model_ends_in_an_error_of_a_library(stranger, later, seed):
    strange_model(stranger / "model.zarr", random.Random(seed))
    for name, message in refusals(stranger, later).items():
        assert str(stranger.parent) in message, name
