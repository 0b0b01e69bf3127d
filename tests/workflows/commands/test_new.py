"""Test ``gfrnn new``: its questions, its options, and that a fit accepts what it writes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment, load_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.training.checks import check_fit
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.session.new_experiment import sources_of
from gfrnn_testing.weather import Weather, make_weather


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    return make_weather(tmp_path_factory.mktemp("weather") / "weather.zarr", times=1500)


@pytest.fixture
def new(monkeypatch, capsys, tmp_path):
    """Call `gfrnn new` in an empty folder, with answers if it may ask: code and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object, answers: str | None = None) -> tuple[int, str]:
        stdin = io.StringIO(answers or "")
        stdin.isatty = lambda: answers is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "argv", ["gfrnn", "new", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return call


def written(path: str | Path) -> Experiment:
    """Load an experiment file, and check all that a fit checks before it computes."""
    experiment = load_experiment(path)
    check_fit(experiment, open_source(experiment.data))
    return experiment


def test_without_questions_all_follows_from_the_data(weather, new):
    assert new(weather.path) == (0, "")
    found = written("weather.yaml")
    assert found.name == "weather"
    assert [str(source.path) for source in found.data.sources] == [str(weather.path)]
    # Four whole years: the settings are chosen on one, and another is scored.
    assert found.periods.validation.as_pair() == ["2003-01-01 00:00:00", "2003-12-31"]
    assert str(found.periods.test.start) == "2004-01-01 00:00:00"
    # The linear model is among the candidates.
    assert found.fit.widths[0] == 0
    assert len(found.fit.widths) == 3
    assert found.fit.widths[-1] == found.model.width
    text = Path("weather.yaml").read_text()
    for section in ("data", "periods", "state", "model", "fit", "forecast"):
        before = text[: text.index(f"\n{section}:")]
        assert before.splitlines()[-1].startswith("# "), section


def test_options_are_taken_as_they_are(weather, new):
    periods = {
        "--train": ("2001-01-01", "2002-06-30"),
        "--validation": ("2002-07-01", "2003-06-30"),
        "--test": ("2003-07-01", "2004-06-30"),
    }
    words = [word for option, dates in periods.items() for word in (option, *dates)]
    words += ["--name", "mine", "--variable", "mean_sea_level_pressure", "--members", "8"]
    words += ["--horizon", "5d", "--region", "30", "60", "-20", "30", "--save", "new/my.yaml"]
    assert new(weather.path, *words) == (0, "")
    found = written("new/my.yaml")
    assert (found.name, found.forecast.members, str(found.forecast.horizon)) == ("mine", 8, "5d")
    assert list(found.data.variables or ()) == ["mean_sea_level_pressure"]
    assert found.data.region is not None
    assert tuple(found.data.region.latitude) == (30, 60)
    assert tuple(found.data.region.longitude) == (-20, 30)
    assert [period.as_pair()[1] for _, period in found.periods] == [
        "2002-06-30", "2003-06-30", "2004-06-30",
    ]  # fmt: skip


def test_what_is_not_given_is_asked_until_the_answer_is_right(weather, new):
    answers = [
        "nowhere.nc", str(weather.path),  # data
        "rain", "geopotential, temperature",  # variables
        "", "soon", "2003-01-01 2003-12-31", "",  # three periods
        "long", "1mo", "25h", "6d",  # length of a forecast
        "1", "12",  # members
        "a/b", "asked",  # name
    ]  # fmt: skip
    code, err = new(answers="\n".join(answers) + "\n")
    assert code == 0
    for complaint in (
        "nowhere.nc not found",
        "'rain' is not in the data; allowed: ",
        "'soon' is not a first and a last date",
        "'long' is not a duration",
        "1mo is in calendar months, but the step of the data, ",
        "25h is not a multiple of the data's step, ",
        "'1' is not 0 (one forecast) or the number of members",
        "'a/b' is not a name",
    ):
        assert complaint in err
    assert "Period for choosing settings (validation) [2003-01-01 2003-12-31]" in err
    found = written("asked.yaml")
    assert set(found.data.variables or ()) == {"geopotential", "temperature"}
    assert (str(found.forecast.horizon), found.forecast.members) == ("6d", 12)


def test_an_answer_of_return_takes_what_is_proposed(weather, new):
    assert new(weather.path, "--save", "a/mine.yaml", answers="\n" * 8)[0] == 0
    assert new(weather.path, "--save", "b/mine.yaml", "--yes", answers="")[0] == 0
    assert written("a/mine.yaml") == written("b/mine.yaml")
    assert written("a/mine.yaml").name == "mine"


def test_a_year_is_proposed_for_monthly_data(new, tmp_path):
    months = pd.date_range("1961-01-01", periods=480, freq="MS")
    places = {"latitude": [-2.5, 2.5], "longitude": [200.0, 205.0]}
    values = np.random.default_rng(0).normal(300.0, 1.0, (len(months), 2, 2))
    sea = xr.DataArray(values, {"time": months, **places}, name="sst", attrs={"units": "K"})
    sea.to_netcdf(tmp_path / "sea.nc")
    code, err = new("sea.nc", "--save", "asked.yaml", answers="\n" * 8)
    assert code == 0
    assert "Length of the forecasts [12mo]" in err
    assert str(written("asked.yaml").forecast.horizon) == "12mo"


def test_levels_may_differ_by_file(weather, new, tmp_path):
    """The names of the files alone contain the levels."""
    with xr.open_zarr(weather.path, consolidated=False) as store:
        for level in (500, 850):
            field = store["z"].sel(level=level, drop=True).load().drop_encoding()
            field.to_dataset().to_netcdf(tmp_path / f"z{level}.nc")
    files = "z500.nc", "z850.nc"
    levels = "--level", "z500.nc=500", "--level", "z850.nc=850"
    assert new(*files, *levels, "--save", "both.yaml") == (0, "")
    assert [source.level for source in written("both.yaml").data.sources] == [500, 850]
    assert written("both.yaml").data.variables == {"geopotential": [500, 850]}
    for words, message in (
        ([], "--level 500 sets the level (hPa) of all files, --level z500.nc=500 that of one"),
        (["--level", "z5.nc=500"], "'z5.nc' is not one of DATA; write one of z500.nc, z850.nc"),
        (["--level", "high"], "--level: 'high' is no level in hPa"),
        (
            ["--level", "500", "--level", "850"],
            "500 is for all of DATA; where levels differ, write",
        ),
    ):
        code, err = new(*files, *words, "--save", "none.yaml")
        assert code == 2
        assert message in err


def test_levels_of_files_of_a_glob_are_given_by_name_or_path(weather, new, tmp_path):
    for name in ("a/z500.nc", "a/z850_1.nc", "a/z850_2.nc", "b/z850_1.nc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with xr.open_zarr(weather.path, consolidated=False) as store:
            field = store["z"].sel(level=500 if "500" in name else 850, drop=True)
            half = len(field["time"]) // 2
            part = {"z500": slice(None), "z850_1": slice(half), "z850_2": slice(half, None)}
            field = field.isel(time=part[Path(name).stem]).load().drop_encoding()
            field.to_dataset().to_netcdf(tmp_path / name)
    levels = ["z500.nc=500", "a/z850_1.nc=850", f"{tmp_path / 'a' / 'z850_2.nc'}=850"]
    words = [word for level in levels for word in ("--level", level)]
    assert new("a/*.nc", *words, "--save", "glob.yaml") == (0, "")
    found = written("glob.yaml")
    assert [(each.path, each.level) for each in found.data.sources] == [
        ("a/z500.nc", 500),
        (["a/z850_1.nc", "a/z850_2.nc"], 850),
    ]
    assert found.data.variables == {"geopotential": [500, 850]}
    # The path of one of DATA need not be repeated.
    assert new("a/z500.nc", "--level", "z500.nc=500") == (0, "")
    assert [source.level for source in written("z500.yaml").data.sources] == [500]
    for level, message in (
        ("z850_1.nc=850", "'z850_1.nc' is several of DATA; write one of a/z850_1.nc, b/z850_1.nc"),
        ("z1.nc=1", "'z1.nc' is not one of DATA; write one of a/z500.nc, a/z850_1.nc, a/z850_2.nc"),
    ):
        code, err = new("a/*.nc", "b/z850_1.nc", "--level", level)
        assert code == 2
        assert message in err


def test_the_level_of_a_glob_is_that_of_its_other_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("z500.nc", "z8.nc", "z9.nc"):
        xr.Dataset().to_netcdf(name)
    assert sources_of(["*.nc"], ["*.nc=850", "z500.nc=500"]) == [
        {"path": "z500.nc", "level": 500},
        {"path": ["z8.nc", "z9.nc"], "level": 850},
    ]
    assert sources_of(["*.nc"], ["z500.nc=500"]) == [
        {"path": "z500.nc", "level": 500},
        {"path": ["z8.nc", "z9.nc"]},
    ]
    assert sources_of(["*.nc"], ["850"]) == [{"path": "*.nc", "level": 850}]


def test_files_of_a_glob_keep_the_paths_that_are_typed(tmp_path, monkeypatch):
    """A link leads to the file that it leads to when the experiment is run."""
    (tmp_path / "store").mkdir()
    (tmp_path / "links").mkdir()
    for number, name in enumerate(("z500.nc", "z850.nc")):
        xr.Dataset().to_netcdf(tmp_path / "store" / f"{number}.nc")
        (tmp_path / "links" / name).symlink_to(tmp_path / "store" / f"{number}.nc")
    monkeypatch.chdir(tmp_path / "store")
    assert sources_of(["../links/*.nc"], ["z500.nc=500", "../links/z850.nc=850"]) == [
        {"path": "../links/z500.nc", "level": 500},
        {"path": "../links/z850.nc", "level": 850},
    ]


def test_too_few_times_for_three_periods_are_said(weather, new, tmp_path):
    with xr.open_zarr(weather.path, consolidated=False) as store:
        store.isel(time=slice(0, 12)).load().drop_encoding().to_netcdf(tmp_path / "few.nc")
    code, err = new("few.nc")
    assert code == 2
    assert "12 times are too few: at least 60 are needed" in err
    assert not Path("few.yaml").exists()


def test_an_experiment_that_is_refused_has_no_lines_of_a_file(weather, new):
    dates = ("2001-01-01", "2002-12-31")
    words = [weather.path, "--save", "my.yaml"]
    words += [word for name in ("train", "validation", "test") for word in (f"--{name}", *dates)]
    code, err = new(*words)
    assert code == 2
    assert "my.yaml (not written): periods: train" in err
    assert "column" not in err
    assert not Path("my.yaml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "DATA: missing; give files, zarr stores"),
        (["{data}", "--train", "2001-01-01", "2002-12-31"], "--validation: missing; give all of"),
        (["{data}", "--variable", "rain"], "variable 'rain' is not in the data; allowed: "),
        (["{data}", "--horizon", "soon"], "forecast.horizon: 'soon'"),
        (["{data}", "--horizon", "1mo"], "forecast.horizon: 1mo is in calendar months, but "),
        (["{data}", "--horizon", "25h"], "forecast.horizon: 25h is not a multiple of the data's"),
        (["{data}", "--name", "a/b"], "'a/b' is not a name"),
        (["{data}", "--name", "-x"], "'-x' is not a name"),
        (["{data}", "--name", "\u00fc"], "'\u00fc' is not a name"),
        (["{data}", "--name", "x" * 101], "is not a name; use at most 100 letters, digits"),
        (["nowhere.nc"], "nowhere.nc not found"),
        (["there.yaml"], "there.yaml: is an experiment file or another YAML file, and not data"),
        (["{data}", "--save", "there.yaml"], "--save: there.yaml exists already"),
        (
            ["{data}", *("--train", "1990-01-01", "1990-12-31"), *("--validation", "2003-01-01",
             "2003-12-31"), *("--test", "2004-01-01", "2004-06-30")],
            "has no times of the data",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(words, message, weather, new, tmp_path):
    (tmp_path / "there.yaml").write_text("name: there\n")
    code, err = new(*(word.format(data=weather.path) for word in words))
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "name: there\n"
