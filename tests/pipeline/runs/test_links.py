"""A run's folder of somebody else: nothing outside of it is written or deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.storage import write_text, write_whole
from gfrnn_testing.weather import contents, experiment

PLACES = [
    "model.zarr",
    "model.zarr.partial",
    "model.zarr.old",
    "updates.zarr",
    "updates.zarr/merged",
    "summaries.zarr",
    "summaries.zarr/train",
    "forecast.zarr/geopotential",
    "run.json.partial",
    "experiment.yaml.partial",
    "performance-fit.html",
    ".lock",
]


@pytest.fixture
def home(tmp_path) -> Path:
    """Make a folder of the user with files two levels deep."""
    (tmp_path / "home" / "thesis" / "chapters").mkdir(parents=True)
    (tmp_path / "home" / "thesis" / "chapters" / "one.tex").write_text("years of work")
    return tmp_path / "home"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("force", [False, True])
def test_a_link_in_a_runs_folder_is_refused(tmp_path, home, place, force):
    folder = tmp_path / "run"
    link = folder / place
    folder.mkdir()
    Run(experiment("nowhere.zarr"), folder)
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(home)
    before = contents(home)
    with pytest.raises(RunError, match="is a link to .*remove the link"):
        Run(experiment("nowhere.zarr"), folder, force=force)
    assert contents(home) == before


def test_the_runs_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    Run(experiment("nowhere.zarr"), tmp_path / "run")
    assert (tmp_path / "scratch" / "experiment.yaml").exists()


@pytest.mark.parametrize("suffix", ["", ".partial", ".old"])
def test_nothing_is_written_through_a_link(tmp_path, home, suffix):
    (tmp_path / f"model.zarr{suffix}").symlink_to(home)
    before = contents(home)
    with pytest.raises(RunError, match="is a link"):
        write_whole(tmp_path / "model.zarr", lambda path: path.mkdir())
    assert contents(home) == before


def test_no_text_is_written_through_a_link(tmp_path, home):
    (tmp_path / "run.json.partial").symlink_to(home / "new")
    with pytest.raises(RunError, match="is a link"):
        write_text(tmp_path / "run.json", "{}")
    assert not (home / "new").exists()


def test_only_checkpoints_are_removed(tmp_path, home):
    checkpoints = Checkpoints(tmp_path / "updates.zarr")
    for key in ("kept", "gone"):
        checkpoints.save("merged", key, {"a": np.zeros(2)})
    (checkpoints.path / "other").symlink_to(home)
    (checkpoints.path / "mine" / "notes").mkdir(parents=True)
    before = contents(home)
    checkpoints.keep_only([("merged", "kept")])
    assert contents(home) == before
    assert checkpoints.keys("merged") == ["kept"]
    assert (checkpoints.path / "mine" / "notes").exists()
