"""Test the index page of the runs in a folder."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.storage import string_array
from gfrnn.pipeline.verification.scores import open_scores, write_scores
from gfrnn.workflows.commands import main as commands
from gfrnn.workflows.comparison.run_index import run_folders, write_index
from gfrnn.workflows.report.display_units import displayed_scores
from gfrnn.workflows.report.labels import number


@pytest.fixture(scope="module")
def folder(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a verified run, one that is not begun, and a damaged one."""
    folder = tmp_path_factory.mktemp("many") / "my runs"
    for name in ("a & b", "deep/er", "begun", "broken", "changed", ".hidden"):
        (folder / name).mkdir(parents=True)
        shutil.copy(finished.folder / "experiment.yaml", folder / name)
    for name in ("a & b", "deep/er", "changed"):
        shutil.copytree(finished.score_store, folder / name / "scores.zarr")
        shutil.copy(finished.folder / "run.json", folder / name)
    (folder / "a & b" / "report.html").write_text("here")
    (folder / "broken" / "run.json").write_text("{")
    # The scores of a run that was fitted again are those of an earlier state.
    with Run.reopen(folder / "changed").changing_record() as record:
        record.reopen_stage("fit")
    (folder / "a & b" / "inner").mkdir()
    shutil.copy(finished.folder / "experiment.yaml", folder / "a & b" / "inner")
    return folder


def rows(text: str, name: str) -> list[list[str]]:
    """Return the texts of the cells of the rows of a run."""
    found = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", text, re.S)
    return [
        [html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall("<td.*?>(.*?)</td>", row)]
        for label, row in found
        if html.unescape(re.sub("<.*?>", "", label)) == name
    ]


def test_runs_are_found_at_any_depth_but_not_in_runs_stores_and_hidden_folders(folder: Path):
    names = [path.relative_to(folder).as_posix() for path in run_folders(folder)]
    assert names == ["a & b", "begun", "broken", "changed", "deep/er"]


def test_the_index_says_what_each_run_is(folder: Path):
    path, count = write_index(folder)
    text = path.read_text(encoding="utf-8")
    assert path == folder / "index.html"
    assert count == 5
    (facts, *_) = rows(text, "a & b")
    period, settings, state, description = facts
    assert period == "2001-12-01 to 2002-01-31"
    assert settings == "eof, 6 modes, width 40"
    assert state == "finished: fit, forecast, verify"
    assert description.startswith("Made-up waves <script>")
    assert "<script" not in text
    assert '<a href="a%20%26%20b/report.html">a &amp; b</a>' in text
    assert text.count("<a href=") == 1
    assert rows(text, "begun")[0][2] == "not begun"
    assert rows(text, "broken")[0][2].startswith("cannot be read: ")
    assert not re.search(r"https?://|url\(|@import", text)


def test_the_index_has_the_scores_of_verified_runs_alone(folder: Path):
    path, _ = write_index(folder)
    text = path.read_text(encoding="utf-8")
    scores = displayed_scores(open_scores(folder / "deep" / "er" / "scores.zarr"))
    (_, temperature, pressure) = rows(text, "deep/er")
    for cells, channel in ((temperature, "2m_temperature"), (pressure, "mean_sea_level_pressure")):
        own = scores.sel(channel=channel)
        assert len(cells) == 4  # of 1, 2, 3 and 5 days
        for cell, days in zip(cells, (1, 2, 3, 5), strict=True):
            lead = np.timedelta64(days, "D")
            values = own["rmse"].sel(prediction_timedelta=lead)
            value, _, change = cell.replace("\N{MINUS SIGN}", "-").partition(" ")
            assert value == number(float(values.sel(system="forecast")))
            expected = 100 * float(values.sel(system="forecast") / values.sel(system="linear") - 1)
            assert float(change.strip("()*")) == pytest.approx(expected, abs=0.51)
            low, high = (
                own[f"rmse_change_{end}"].sel(system="linear", prediction_timedelta=lead)
                for end in ("low", "high")
            )
            assert change.endswith("*)") == bool(low > 0 or high < 0)
    for name in ("begun", "broken", "changed"):
        assert len(rows(text, name)) == 1


def test_runs_of_other_leads_and_channels_leave_cells_empty(folder: Path, tmp_path: Path):
    shutil.copytree(folder / "deep", tmp_path / "runs" / "one")
    shutil.copytree(folder / "deep", tmp_path / "runs" / "two")
    store = tmp_path / "runs" / "two" / "er" / "scores.zarr"
    scores = open_scores(store).isel(prediction_timedelta=slice(3))
    shutil.rmtree(store)
    write_scores(store, scores.isel(channel=[0]).expand_dims(region=["all"], subset=["all"]))
    text = write_index(tmp_path / "runs")[0].read_text(encoding="utf-8")
    assert len(rows(text, "one/er")) == 3
    (_, cells) = rows(text, "two/er")
    assert cells[-1] == ""
    assert all(cells[:-1])


def test_the_first_channels_of_every_run_are_shown_in_a_fixed_order(folder: Path, tmp_path: Path):
    for name, variables in (("a", list("pqrstu")), ("b", ["zonal_wind"]), ("c", ["u", "t"])):
        shutil.copytree(folder / "deep" / "er", tmp_path / name)
        store = tmp_path / name / "scores.zarr"
        scores = open_scores(store).isel(channel=[0] * len(variables))
        names = string_array(variables)
        scores = scores.assign_coords(channel=names, variable=("channel", names))
        shutil.rmtree(store)
        write_scores(store, scores.expand_dims(region=["all"], subset=["all"]))
    text = write_index(tmp_path)[0].read_text(encoding="utf-8")
    headings = re.findall(r"<h2>(\w.*?), RMSE", text)
    assert headings == ["P", "Q", "R", "S", "Zonal wind", "U", "T"]
    assert [len(rows(text, name)) for name in "abc"] == [7, 2, 3]


def test_the_command_writes_a_page_or_an_index(folder: Path, monkeypatch, capsys):
    def call(path: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gfrnn", "report", str(path)])
        with pytest.raises(SystemExit) as caught:
            commands.main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out + printed.err

    code, text = call(folder)
    assert code == 0
    assert "index.html: 5 runs" in re.sub(r"\s+", " ", text)
    code, text = call(folder / "begun" / "absent")
    assert code != 0
    assert "not a run's folder (it has no experiment.yaml), and none is below it" in re.sub(
        r"\s+", " ", text
    )


def test_a_folder_without_runs_is_left_alone(tmp_path: Path):
    with pytest.raises(RunError, match="or a folder of runs, or make a run"):
        write_index(tmp_path)
    assert not os.listdir(tmp_path)
