"""Test ``gfrnn plot``: the values of its figures, its files, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.mode_spectrum import mode_spectrum
from gfrnn.pipeline.runs.spectrum.spectrum_store import spectrum_dataset
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.plots.map_plot import plot_maps
from gfrnn.workflows.plots.plot_run import PlotRequest, file_of, make_figure, write_figure
from gfrnn.workflows.plots.plotted_run import PlottedRun
from gfrnn_testing.weather import experiment, finish, make_weather

MSL, T2M = "mean_sea_level_pressure", "2m_temperature"
MIDDLE = {"Somewhere": (45.0, 0.0)}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Run:
    """Return a verified run of ten members with an index."""
    folder = tmp_path_factory.mktemp("ensemble")
    weather = make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=620)
    box = {"latitude": [40, 60], "longitude": [0, 40]}
    keys = experiment(
        weather.path,
        periods={"test": ["2002-07-01", "2002-07-20"]},
        model={"width": 10},
        forecast={"horizon": "4d", "members": 10},
        verification={"indices": {"east": {"variable": MSL, **box}}},
    )
    return finish(Run(keys, folder / "run"))


def texts(figure: Figure) -> list[str]:
    """Return the titles and labels of all axes."""
    return [
        text
        for axes in figure.axes
        for text in (axes.get_title("left"), axes.get_title(), axes.get_ylabel())
        if text
    ]


def line(figure: Figure, label: str) -> np.ndarray:
    """Return the values of a line of the first axes."""
    return np.asarray(
        next(each for each in figure.axes[0].lines if each.get_label() == label).get_ydata()
    )


def test_maps_show_forecast_truth_and_difference(finished):
    figure, name = make_figure(finished, PlotRequest("2001-12-10", "2d", [MSL]))
    assert name == "maps_20011210T00_2d"
    found = texts(figure)
    assert {"Forecast", "Truth", "Difference", "Mean sea level pressure", "hPa"} <= set(found)
    assert "valid 2001-12-12 00:00 UTC" in figure._suptitle.get_text()
    assert figure.axes[0].get_xlim() == (-8, 6)  # the region crosses Greenwich


def test_fields_of_maps_are_those_of_the_run(finished):
    plotted = PlottedRun(finished)
    lead = plotted.lead_of("2d")
    start = plotted.start_of("2001-12-10", lead)
    forecast = plotted.member_fields(Channel(MSL), start, lead)
    ours = finished.forecasts()[MSL].isel(time=start, prediction_timedelta=lead)
    degrees = (forecast["longitude"].values + 180) % 360 - 180  # the region crosses Greenwich
    np.testing.assert_allclose(
        forecast.isel(number=0), ours.sel(longitude=degrees) / 100, rtol=1e-6
    )
    channel = plotted.grid.channels.index(Channel(MSL))
    truth = plotted.truth_at(plotted.valid[start, [lead]])[0, channel]
    theirs = finished.truth()[MSL].isel(time=start, prediction_timedelta=lead)
    np.testing.assert_allclose(truth, theirs.sel(longitude=degrees), rtol=1e-6)


@pytest.mark.parametrize("transform", ["sqrt", "log1p"])
def test_fields_of_transformed_variables_are_physical(tmp_path, transform):
    source = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3, times=620).path
    keys = experiment(
        source,
        periods={"test": ["2002-07-01", "2002-07-20"]},
        model={"width": 10},
        data={"transform": {MSL: transform}},
    )
    run = finish(Run(keys, tmp_path / "run"))
    plotted = PlottedRun(run)
    channel, valid = plotted.grid.channels.index(Channel(MSL)), plotted.valid[0, [0]]
    truth = plotted.truth_at(valid)[0, channel]
    theirs = run.truth()[MSL].isel(time=0, prediction_timedelta=0)
    np.testing.assert_allclose(np.sort(truth.ravel()), np.sort(theirs.values.ravel()), rtol=1e-6)
    assert np.abs(plotted.climatology_at(valid)[0, channel] / truth - 1).max() < 0.1
    make_figure(run, PlotRequest())
    attrs = spectrum_dataset(run, mode_spectrum(run), 1)[f"{MSL}_real"].attrs
    assert attrs["units"] == "1"
    assert attrs["long_name"].endswith(f"anomaly of {transform} of mean sea level pressure")


def test_a_diverged_forecast_without_truth_has_no_map(finished, tmp_path):
    copy = Run.reopen(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    copy.ds = finished.ds.isel(time=slice(0, 300))
    plotted = PlottedRun(copy)
    object.__setattr__(plotted, "forecasts", finished.stored_forecasts() * np.nan)
    with pytest.raises(ConfigError, match=r"from 2002-01-31 00:00 UTC .3.d has diverged, and its"):
        plot_maps(plotted, plotted.start_of("latest", 2), 2, [Channel(MSL)])


def test_errors_against_lead_are_those_of_the_scores(finished):
    figure, name = make_figure(finished, PlotRequest(skill=True, variables=[MSL, T2M]))
    assert name == "skill"
    scores = finished.scores()
    assert [axes.get_title("left") for axes in figure.axes] == [
        "mean sea level pressure",
        "2m temperature",
    ]
    for axes, channel in zip(figure.axes, (MSL, T2M), strict=True):
        own = scores["rmse"].sel(channel=channel)
        assert [each.get_label() for each in axes.lines] == list(own["system"].values)
        for each in axes.lines:
            np.testing.assert_allclose(each.get_ydata(), own.sel(system=each.get_label()).values)
            np.testing.assert_allclose(each.get_xdata(), np.arange(1, len(each.get_xdata()) + 1))
    assert [text.get_text() for text in figure.legends[0].texts] == list(scores["system"].values)


@pytest.mark.parametrize(
    ("other", "option"),
    [
        ({"time": "latest"}, "--time"),
        ({"lead": "1d"}, "--lead"),
        ({"places": MIDDLE}, "--place"),
        ({"index": "nino34"}, "--index"),
    ],
)
def test_errors_against_lead_are_of_all_forecasts(other, option):
    with pytest.raises(ConfigError, match=f"--skill: .*; leave {option} out"):
        PlotRequest(skill=True, **other).check()


def test_a_forecast_without_truth_is_one_map(finished, tmp_path, caplog):
    copy = Run.reopen(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    copy.ds = finished.ds.isel(time=slice(0, 300))
    figure, _ = make_figure(copy, PlotRequest("latest"))
    assert "Truth" not in texts(figure)
    assert "Forecast" in texts(figure)
    assert "to 2001-10-27 00:00 UTC, do not have the valid time 2002-02-03 00:00" in caplog.text
    # By default the last initial time whose truth is known: here there is none.
    assert make_figure(copy, PlotRequest())[1] == "maps_20020131T00_3d"
    caplog.clear()
    assert make_figure(finished, PlotRequest())[1] == "maps_20020131T00_3d"
    assert not caplog.records


def test_data_that_are_gone_leave_the_forecast(finished, tmp_path, monkeypatch, caplog):
    copy = Run.reopen(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    gone = copy.experiment.data.sources[0].model_copy(update={"path": str(tmp_path / "gone.nc")})
    data = copy.experiment.data.model_copy(update={"sources": [gone]})
    copy.experiment = copy.experiment.model_copy(update={"data": data})
    monkeypatch.setattr(copy, "load_model", finished.load_model)
    for request in (PlotRequest(), PlotRequest(places=MIDDLE)):
        caplog.clear()
        assert "Truth" not in texts(make_figure(copy, request)[0])
        assert re.search(r"truth is not drawn, as the data cannot be used: .*gone\.nc", caplog.text)


def test_series_at_a_place_are_those_of_its_cell(ensemble):
    request = PlotRequest("2002-07-05", variables=[MSL], places={"Here": (50.0, 10.0)})
    figure, name = make_figure(ensemble, request)
    assert name == "places_20020705T00"
    assert texts(figure) == ["Here, 50°N, 10°E: Mean sea level pressure", "hPa"]
    cell = {"time": "2002-07-05", "latitude": 50, "longitude": 10}
    forecast = ensemble.forecasts()[MSL].sel(cell) / 100
    np.testing.assert_allclose(line(figure, "mean"), forecast.mean("number"), rtol=1e-6)
    np.testing.assert_allclose(
        line(figure, "truth"), ensemble.truth()[MSL].sel(cell) / 100, rtol=1e-6
    )
    assert [band.get_label() for band in figure.axes[0].collections] == [
        "90 % of the members",
        "50 % of the members",
    ]


def test_all_levels_of_a_variable_and_short_names(ensemble):
    plotted = PlottedRun(ensemble)
    both = [Channel("geopotential", 500.0), Channel("geopotential", 850.0)]
    assert plotted.channels_of(["geopotential"], 1) == both
    assert plotted.channels_of(["z500", "geopotential_500"], 1) == both[:1]


def test_an_index_in_all_forecasts_has_the_scored_correlation(ensemble):
    figure, _ = make_figure(ensemble, PlotRequest(lead="2d", index="east"))
    assert texts(figure) == ["Index east at +2\N{NO-BREAK SPACE}d", "anomaly (hPa)"]
    forecast, truth = line(figure, "forecast"), line(figure, "truth")
    scores = ensemble.scores().sel(system="forecast", index="east").isel(prediction_timedelta=1)
    assert np.corrcoef(forecast, truth)[0, 1] == pytest.approx(float(scores["index_correlation"]))
    error = np.sqrt(((forecast - truth) ** 2).mean())
    assert error == pytest.approx(float(scores["index_rmse"]) / 100)


def test_an_index_of_one_forecast_is_that_of_all_at_its_leads(ensemble):
    figure, name = make_figure(ensemble, PlotRequest("2002-07-05", index="east"))
    assert name == "east_20020705T00"
    for lead in (1, 4):
        history, _ = make_figure(ensemble, PlotRequest(lead=f"{lead}d", index="east"))
        for label, other in (("forecast", "mean"), ("truth", "truth")):
            assert line(history, label)[4] == pytest.approx(line(figure, other)[lead - 1], rel=1e-4)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"time": "2002-07-25"},
            "20 go from 2002-07-01 00:00.* to 2002-07-20.*nearest: 2002-07-19",
        ),
        ({"time": "yesterday"}, "--time: 'yesterday' is not a date"),
        ({"lead": "30h"}, "--lead: 30h is no lead.* go from 1d to 4d; the nearest: 1d, 2d"),
        ({"lead": "1mo"}, "allowed: 1d, 2d, 3d, 4d"),
        ({"lead": "soon"}, "--lead: 'soon'"),
        ({"variables": ["temprature_850"]}, "did you mean temperature_850"),
        ({"index": "eats"}, "did you mean east"),
        ({"places": {"Pole": (89.0, 0.0)}}, "--place Pole: 89, 0 is outside of the grid"),
        ({"index": "east", "variables": [MSL]}, "leave --variable out"),
        ({"index": "east", "time": "latest", "lead": "1d"}, "leave the other out"),
        ({"places": MIDDLE, "lead": "1d"}, "series at a place have all leads"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(ensemble, keys, message):
    with pytest.raises(ConfigError, match=message):
        make_figure(ensemble, PlotRequest(**keys))


def test_runs_without_forecasts_or_indices_say_so(untouched, finished):
    with pytest.raises(RunError, match="run `gfrnn forecast` first"):
        make_figure(untouched, PlotRequest())
    with pytest.raises(ConfigError, match="the experiment has none"):
        make_figure(finished, PlotRequest(index="nino34"))


def test_scores_of_earlier_forecasts_are_refused(ensemble, tmp_path, monkeypatch, capsys):
    run = Run.reopen(Path(shutil.copytree(ensemble.folder, tmp_path / "run")))
    with run.changing_record() as record:
        record.reopen_stage("forecast")
    requests = PlotRequest(skill=True), PlotRequest(index="east")
    for request in requests:
        with pytest.raises(RunError, match="no scores of this run; run `gfrnn verify` first"):
            make_figure(run, request)
    monkeypatch.setattr("sys.argv", ["gfrnn", "compare", str(run.folder), str(ensemble.folder)])
    with pytest.raises(SystemExit):
        main()
    assert "no scores of this run" in capsys.readouterr().err


def test_an_index_that_was_added_after_the_scores_is_refused(ensemble, tmp_path):
    folder = Path(shutil.copytree(ensemble.folder, tmp_path / "run"))
    text = (folder / "experiment.yaml").read_text()
    (folder / "experiment.yaml").write_text(text.replace("    east:", "    later:"))
    with pytest.raises(RunError, match="has no index later, which was added"):
        make_figure(Run.reopen(folder), PlotRequest(index="later"))


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_files_of_each_format(finished, tmp_path, ending):
    figure, name = make_figure(finished, PlotRequest(places=MIDDLE, variables=["t2m"]))
    file = file_of(tmp_path / "deep" / f"{name}.{ending}", finished, name)
    write_figure(figure, file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert file.read_bytes().startswith(starts[ending])


def test_the_command_writes_into_the_run_and_says_where(finished, tmp_path, monkeypatch, capsys):
    copy = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    for words, code in (((), 0), (("-o", "maps.gif"), 2)):
        monkeypatch.setattr("sys.argv", ["gfrnn", "plot", str(copy), *words])
        with pytest.raises(SystemExit) as caught:
            main()
        assert (caught.value.code or 0) == code
    printed = capsys.readouterr()
    file = copy / "plots" / "maps_20020131T00_3d.png"
    assert f"plot: {file}" in printed.out.replace("\n", "")
    assert "allowed: .png, .svg, .pdf" in printed.err
    with Image.open(file) as image:
        assert min(image.size) > 300


def test_paths_are_printed_without_steps_upwards(finished, tmp_path, monkeypatch, capsys):
    copy = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setattr("sys.argv", ["gfrnn", "plot", "../copy"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    file = copy / "plots" / "maps_20020131T00_3d.png"
    assert f"plot: {file}" in capsys.readouterr().out.replace("\n", "")
    assert file.is_file()


def test_the_command_takes_an_experiment_file_and_names_the_figure_as_json(
    finished, tmp_path, monkeypatch, capsys
):
    copy = Path(shutil.copytree(finished.folder, tmp_path / "runs" / finished.experiment.name))
    monkeypatch.chdir(tmp_path)
    shutil.copy(copy / "experiment.yaml", "my.yaml")
    monkeypatch.setattr("sys.argv", ["gfrnn", "plot", "my.yaml", "--json", "-q"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    (file,) = json.loads(capsys.readouterr().out).values()
    assert (tmp_path / file).is_file()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("note/maps.png", "note is not a folder; choose another --output"),
        ("folder.png", "folder.png: is a folder; give --output the name of a file"),
        (
            "/proc/nowhere/maps.png",
            "is not writable (No such file or directory); choose another --output",
        ),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_work(
    finished, tmp_path, monkeypatch, capsys, place, message
):
    monkeypatch.setattr("gfrnn.workflows.plots.plot_run.make_figure", None)
    (tmp_path / "note").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    words = ["gfrnn", "plot", str(finished.folder), "-o", str(tmp_path / place)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
