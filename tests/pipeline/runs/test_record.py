"""Test the record of a run: commands that use one folder at once lose nothing of it."""

from __future__ import annotations

import fcntl

import pytest

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.record import RunRecord, StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import experiment


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run(experiment("nowhere.zarr"), tmp_path / "run")
    with run.lock():  # which makes the folder
        return run


def add(folder: RunFolder, stage: str) -> None:
    """Record a finished stage, as another command does."""
    with folder.changing_record() as record:
        record.stages[stage] = StageRecord(key="k", seconds=1.0, finished="2020-01-01T00:00:00Z")


def test_a_change_keeps_what_another_command_has_recorded_since_the_run_was_opened(run):
    assert not run.record.stages
    add(RunFolder(run.folder), "fit")
    run.describe_cluster({"kind": "local"})
    stored = RunFolder(run.folder).read_record()
    assert set(stored.stages) == {"fit"}
    assert stored.cluster == {"kind": "local"}
    assert stored.name == "turning"


def test_a_run_sees_what_another_command_has_recorded(run):
    add(RunFolder(run.folder), "fit")
    assert run.record.fit is not None
    assert run.record.fit.finished == "2020-01-01T00:00:00Z"


def test_without_the_lock_nothing_is_recorded(run):
    add(run, "fit")
    before = run.record_file.read_bytes()
    with open(run.folder / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process is using this folder"):
            run.describe_cluster({"kind": "local"})
    assert run.record_file.read_bytes() == before


def test_an_error_while_the_record_is_changed_leaves_it_as_it_was(run):
    add(run, "fit")
    before = run.record_file.read_bytes()
    with pytest.raises(ZeroDivisionError), run.changing_record() as record:  # noqa: PT012
        record.stages.clear()
        _ = 1 / 0
    assert run.record_file.read_bytes() == before


def test_a_block_that_holds_the_lock_may_contain_others(run):
    with run.lock():
        add(run, "fit")
        with pytest.raises(RunError), RunFolder(run.folder).lock():
            pass
    with RunFolder(run.folder).lock():
        assert RunRecord.read(run.record_file) is not None


def test_another_experiment_is_not_written_while_a_process_works_in_the_folder(run):
    changed = experiment("elsewhere.zarr")
    before = run.experiment_file.read_bytes()
    with run.lock(), pytest.raises(RunError, match="another process is using this folder"):
        Run(changed, run.folder)
    assert run.experiment_file.read_bytes() == before
    Run(changed, run.folder)
    assert b"elsewhere" in run.experiment_file.read_bytes()
