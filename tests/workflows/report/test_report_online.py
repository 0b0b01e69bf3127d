"""The report of a run of which no fields of forecasts are kept."""

from __future__ import annotations

import shutil

import pytest

from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.comparison.stored_scores import compare_folders
from gfrnn.workflows.report.example_forecast import example_forecast
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.run_contents import RunContents
from gfrnn_testing.weather import experiment, finish, make_weather


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("online")
    weather = make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=640)
    return finish(Run(experiment(weather.path, forecast={"store": False}), folder / "run"))


def test_the_page_has_scores_and_no_maps(run):
    page = write_report(run).read_text()
    assert "no fields of forecasts are kept" in page
    assert "No map: the fields of the forecasts are not kept" in page
    assert "No map: the data contain no truth" not in page
    assert "Anomaly correlation" in page or "anomaly correlation" in page
    contents = RunContents.open(run)
    assert example_forecast(contents, {}) is None
    with pytest.raises(ConfigError, match=r"--place: .* this run keeps no fields; leave it out"):
        example_forecast(contents, {"here": (50.0, 10.0)})


def test_there_is_nothing_to_export(run, tmp_path):
    with pytest.raises(RunError, match=r"no forecasts there; .*forecast.store: false keeps"):
        NetcdfExport.prepare(run.folder, tmp_path / "nc", ())
    assert not (tmp_path / "nc").exists()


def test_it_is_compared_with_others(run, tmp_path):
    other = shutil.copytree(run.folder, tmp_path / "other")
    compare_folders([run.folder, other], (), tmp_path / "page.html", console)
    assert "0.0" in (tmp_path / "page.html").read_text()
