"""Test paths on the command line: folders of results, and data in place of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.workflows.session.given_paths import folder_of_run, given_experiment


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_verification_of_other_forecasts_is_a_folder_of_results(tmp_path):
    folder = make(tmp_path, "scores.zarr/zarr.json", "statistics.zarr/zarr.json")
    assert folder_of_run(folder) == folder


def test_a_folder_of_runs_may_hold_data_too(tmp_path):
    folder = make(tmp_path, "nature.zarr/zarr.json", "nature/experiment.yaml", "old.nc")
    assert folder_of_run(folder) == folder


def test_a_folder_of_data_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is data, and neither an experiment file nor"):
        folder_of_run(make(tmp_path, "2001.nc", "2002.nc"))


def test_a_store_of_a_run_is_refused_with_its_folder(tmp_path):
    folder = make(tmp_path / "my", "forecast.zarr/zarr.json", "experiment.yaml")
    with pytest.raises(ConfigError, match=f"give {folder} instead"):
        folder_of_run(folder / "forecast.zarr")


def test_a_run_without_its_experiment_file_is_not_taken_for_data(tmp_path):
    (tmp_path / "run" / "model.zarr").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text('{"stages": {}}')
    with pytest.raises(RunError, match=r"is the folder of a run whose experiment\.yaml is missing"):
        given_experiment(tmp_path / "run")


def test_data_beside_the_run_json_of_another_program_are_taken_for_data(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"")
    (tmp_path / "run.json").write_text('{"steps": 3}')
    with pytest.raises(ConfigError, match="is data, and neither an experiment file nor"):
        given_experiment(tmp_path)
