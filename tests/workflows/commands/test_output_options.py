"""Test what every command has: JSON, amounts of messages, and one line for what went wrong."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from rich.table import Table
from typer.main import get_command

from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.console import console, with_output_options
from gfrnn.workflows.commands.main import app, main
from gfrnn.workflows.comparison.score_records import score_records
from gfrnn.workflows.session.command_output import add_results, command_output, show_table
from gfrnn.workflows.session.graceful_stop import StopRequested
from gfrnn.workflows.session.progress_display import show_progress
from gfrnn_testing.weather import Weather, experiment, finish, make_weather

SMALL = {
    "periods": {"test": ["2002-07-01", "2002-07-10"]},
    "forecast": {"horizon": "4d"},
    "cluster": {"workers": 1, "dashboard": ":0"},
}


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture(scope="module")
def finished(weather, tmp_path_factory) -> Run:
    return finish(Run(experiment(weather.path, **SMALL), tmp_path_factory.mktemp("runs") / "a"))


@pytest.fixture
def gfrnn(monkeypatch, capsys, tmp_path):
    """Call the command in this process and in an empty folder: its code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gfrnn", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


def test_every_command_has_the_options():
    def leaves(command, path):
        inner = getattr(command, "commands", {})
        for name, each in inner.items():
            yield from leaves(each, f"{path} {name}")
        if not inner:
            yield path, {word for each in command.params for word in each.opts}

    found = dict(leaves(get_command(app), "gfrnn"))
    assert len(found) > 20
    wanted = {"--json", "--quiet", "-q", "--verbose", "-v"}
    assert {path: wanted - options for path, options in found.items() if wanted - options} == {}


def test_the_page_on_commands_can_be_made():
    words = ["typer", "gfrnn.workflows.commands.main", "utils", "docs", "--name", "gfrnn"]
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("* `--json`") > 20


# JSON


def test_results_are_the_only_output_with_json(finished, gfrnn):
    code, out, err = gfrnn("verify", finished.folder, "--json")
    assert code == 0
    found = json.loads(out)
    assert "RMSE, cos-latitude weighted" in err
    assert found["folder"] == str(finished.folder)
    assert found["stages"]["verify"]["product"] == str(finished.score_store)
    assert found["stages"]["verify"]["skipped"] is True
    records = {
        (each["channel"], each["system"], each["lead"]): each["rmse"] for each in found["scores"]
    }
    assert {lead for _, _, lead in records} == {"24h", "48h", "72h", "96h"}
    assert all(value > 0 for value in records.values())


def test_what_json_has_not_is_null(gfrnn, capsys):
    with command_output(console, as_json=True, verbosity=0):
        times = np.array(["2001-01-01T06"], "datetime64[h]")
        add_results(a=np.float32("nan"), b=np.array([1.5, np.inf]), times=times, path=Path("x/y"))
        add_results(stages={"fit": 1})
        add_results(stages={"forecast": 2}, a=np.int64(3))
    assert json.loads(capsys.readouterr().out) == {
        "a": 3, "b": [1.5, None], "times": ["2001-01-01T06"], "path": str(Path("x/y").absolute()),
        "stages": {"fit": 1, "forecast": 2},
    }  # fmt: skip


def test_passwords_are_not_in_json(capsys):
    with command_output(console, as_json=True, verbosity=0):
        add_results(source="s3://me:secret@bucket/a.zarr")
    assert "secret" not in capsys.readouterr().out


def test_tables_are_in_json(capsys):
    table = Table("case", "[bold]time[/bold]", title="of [bold]this[/bold] machine")
    table.add_row("a", "1.5 s")
    with command_output(console, as_json=True, verbosity=0):
        show_table(console, table)
    assert json.loads(capsys.readouterr().out)["tables"] == [
        {"title": "of this machine", "columns": ["case", "time"], "rows": [["a", "1.5 s"]]}
    ]


def test_a_command_with_an_exit_code_prints_json_and_one_with_an_error_none(capsys):
    def differs() -> None:
        add_results(same=False)
        raise typer.Exit(1)

    options = {"as_json": True, "quiet": False, "verbose": 0}
    with pytest.raises(typer.Exit):
        with_output_options(differs)(**options)
    assert json.loads(capsys.readouterr().out) == {"same": False}

    def fails() -> None:
        add_results(same=False)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        with_output_options(fails)(**options)
    assert capsys.readouterr().out == ""


def test_data_and_their_problems_are_described_in_json(weather, gfrnn):
    code, out, _ = gfrnn("inspect", weather.path, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["variables"]["geopotential"] == {
        "units": "m2 s-2", "levels": [500.0, 850.0], "anomalies": False,
    }  # fmt: skip
    assert found["time"]["step"] == "1d"
    assert found["latitude"] == {"first": 30.0, "last": 70.0, "count": 5}
    assert "periods:" in found["experiment"]


def test_records_have_every_score_of_the_dimensions(finished):
    from gfrnn.pipeline.verification.scores import open_scores

    scores = open_scores(finished.score_store)
    records = score_records(scores, "channel", "system")
    sizes = scores.sizes
    assert len(records) == sizes["channel"] * sizes["system"] * sizes["prediction_timedelta"]
    for record in (records[0], records[-1]):
        lead = np.timedelta64(int(record["lead"].removesuffix("h")), "h")
        place = {"channel": record["channel"], "prediction_timedelta": lead}
        for score in ("rmse", "mae", "bias"):
            own = scores[score].sel(place | {"system": record["system"]})
            assert record[score] == pytest.approx(float(own))
        assert record["units"] == str(scores["units"].sel(channel=record["channel"]).item())
        assert record["pairs"] == int(scores["pairs"].sel(prediction_timedelta=lead))


# Messages


def test_quiet_prints_nothing_but_errors(finished, gfrnn, monkeypatch):
    assert gfrnn("verify", finished.folder, "-q") == (0, "", "")
    code, out, err = gfrnn("verify", "nowhere.yaml", "--quiet")
    assert (code, out) == (2, "")
    assert err.startswith("error: nowhere.yaml: cannot be read")
    assert not console.quiet


def test_quiet_and_json_go_together(finished, gfrnn):
    code, out, err = gfrnn("verify", finished.folder, "-q", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["scores"]


def test_verbose_says_what_is_done(weather, gfrnn):
    _, out, err = gfrnn("inspect", weather.path, "-v")
    assert "info pipeline.data.dataset: data: " in err
    assert "600 times, 5 x 8 points" in err
    _, quiet_out, quiet_err = gfrnn("inspect", weather.path)
    assert (quiet_out, quiet_err) == (out, "")


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(-1, []), (0, ["warning: third"]), (1, ["info a: second", "warning a: third"])],
)
def test_levels_of_messages(verbosity, shown, capsys):
    logger = logging.getLogger("gfrnn.a")
    before = logging.getLogger("gfrnn").level, list(logging.getLogger().handlers)
    with command_output(console, as_json=False, verbosity=verbosity):
        logger.debug("first")
        logger.info("second")
        logger.warning("third, of https://me:secret@host")
    err = capsys.readouterr().err
    assert all(part in err for part in shown)
    assert len(err.splitlines()) == len(shown)
    assert "secret" not in err
    assert (logging.getLogger("gfrnn").level, list(logging.getLogger().handlers)) == before


# Progress


def shown_lines(updates: list[ProgressUpdate], monkeypatch) -> list[str]:
    """Return the lines that a log gets, where a second passes between two updates."""
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(
        "gfrnn.workflows.session.progress_display.time.monotonic", lambda: next(clock)
    )
    text = io.StringIO()
    with show_progress(Console(width=200, file=text)) as progress:
        for update in updates:
            progress(update)
    return text.getvalue().splitlines()


def test_progress_names_the_candidate(monkeypatch):
    part = {"part": "candidate 2 of 3"}
    lines = shown_lines(
        [
            ProgressUpdate("rows", 0, 4, announced=True),
            ProgressUpdate("rows", 0, 4, **part),
            ProgressUpdate("rows", 1, 4, rows=5_000.0, **part),
            ProgressUpdate("rows", 4, 4, rows=20_000.0, **part),
        ],
        monkeypatch,
    )
    assert [line.partition(":")[0] for line in lines] == ["rows, candidate 2 of 3"] * 2
    assert lines[0].endswith("50 rows/s")


@pytest.mark.parametrize(("rows", "rate"), [(0.0, ""), (3.0, "0.03 rows/s"), (150.0, "1.5 rows/s")])
def test_slow_progress_is_never_0_rows_a_second(rows, rate, monkeypatch):
    updates = [ProgressUpdate("rows", 0, 2), ProgressUpdate("rows", 1, 2, rows=rows)]
    (line,) = shown_lines(updates, monkeypatch)
    assert " 0 rows" not in line
    assert ("rows/s" in line) == bool(rate)
    assert line.endswith(rate)


def test_the_passes_of_candidates_are_numbered(weather, tmp_path):
    seen: list[tuple[str, str]] = []

    def note(update: ProgressUpdate) -> None:
        if not update.announced and (update.name, update.part) not in seen:
            seen.append((update.name, update.part))

    tried = experiment(weather.path, **SMALL, search={"state.delays": [1, 2]})
    Run(tried, tmp_path / "a", note).fit()
    rows = [part for name, part in seen if name == "rows"]
    assert rows == ["candidate 1 of 2", "candidate 2 of 2"]
    assert ("climatology", "") in seen


# Faults


def test_a_fault_is_one_line_and_its_traceback_a_file(gfrnn, monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise KeyError("https://me:secret@host")

    monkeypatch.setattr("gfrnn.workflows.session.given_paths.load_experiment", fail)
    code, out, err = gfrnn("run", "my.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("error: unexpected KeyError: ")
    assert len(err.splitlines()) == 1
    (file,) = tmp_path.glob("gfrnn-traceback-*.txt")
    assert file.name in err
    text = file.read_text()
    assert text.startswith("Traceback (most recent call last)")
    assert "secret" not in text + err
    assert file.stat().st_mode & 0o077 == 0


def test_a_traceback_that_cannot_be_kept_is_printed(gfrnn, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unlike others")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("gfrnn.workflows.session.given_paths.load_experiment", fail)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    code, _, err = gfrnn("run", "my.yaml")
    assert code == 1
    assert "unexpected RuntimeError: unlike others" in err
    assert "Traceback (most recent call last)" in err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StopRequested("on SIGTERM", 143), 143, "stopped on SIGTERM; run the same command again"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to resume"),
    ],
)
def test_json_stands_alone_where_a_command_is_stopped(
    finished, gfrnn, monkeypatch, error, code, line
):
    def stops(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Run, "verify", stops)
    ended, out, err = gfrnn("verify", finished.folder, "--force", "--json")
    assert ended == code
    assert line in err
    assert "stopped" not in out
