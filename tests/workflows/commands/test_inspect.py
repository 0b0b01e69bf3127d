"""Test ``gfrnn inspect`` as users call it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.commands import complaint, gfrnn


def test_a_level_that_the_command_states_is_in_the_saved_experiment(weather, said, tmp_path):
    with xr.open_zarr(weather.path, consolidated=False) as store:
        field = store["z"].sel(level=500, drop=True).load().drop_encoding()
    field.to_dataset().to_netcdf(tmp_path / "z.nc")
    path = tmp_path / "start.yaml"
    assert said("inspect", tmp_path / "z.nc", "--level", 500, "--save", path).code == 0
    experiment = load_experiment(path)
    assert [source.level for source in experiment.data.sources] == [500]
    open_source(experiment.data)


@pytest.mark.slow
@pytest.mark.cluster
def test_inspect_gives_an_experiment_that_runs(weather, tmp_path, said):
    answer = said("inspect", weather.path)
    assert answer.code == 0
    for line in (
        "geopotential [m2 s-2] at 500, 850 hPa",
        "mean_sea_level_pressure [Pa]",
        "latitude: 30 to 70 (5, spacing 10)",
        "longitude: -20 to 50 (8, spacing 10)",
        "time: 2001-01-01T00:00 to 2002-08-23T00:00 (600)",
        "step: 1d, no gap",
    ):
        assert line in answer.out, line
    assert "# experiment file to start from" in answer.out
    printed = answer.out.split("# experiment file to start from\n")[1]
    path = tmp_path / "start.yaml"
    saved = said("inspect", weather.path, "--save", path)
    assert saved.code == 0
    assert f"experiment file: {path}" in saved.out
    # Each has the name of its file, the printed one that of the data.
    named = yaml.safe_load(path.read_text()), yaml.safe_load(printed)
    assert [each.pop("name") for each in named] == ["start", "weather"]
    assert named[0] == named[1]
    assert "exists already; choose another name" in complaint(
        said("inspect", weather.path, "--save", path)
    )
    # It is accepted as it is, but for a width that suits so short a record.
    small = yaml.safe_load(path.read_text()) | {"model": {"width": 20}, "cluster": {"workers": 1}}
    small["fit"] = {"widths": [0, 20]}
    small["cluster"]["dashboard"] = ":0"
    path.write_text(yaml.safe_dump(small))
    folder = tmp_path / "run"
    done = gfrnn("run", path, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert load_experiment(path) == Run.reopen(folder).experiment
    assert Run.reopen(folder).finished("verify")


def test_keys_that_data_need_are_said_to_be_of_an_experiment_file(said, tmp_path):
    field = xr.DataArray(np.zeros((3, 2, 2)), dims=("time", "latitude", "longitude"))
    time = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    axes = {"time": time, "latitude": [50.0, 51.0], "longitude": [5.0, 6.0]}
    field.assign_coords(axes).to_dataset(name="z").to_netcdf(tmp_path / "z.nc")
    answer = said("inspect", tmp_path / "z.nc")
    for line in (
        "  z, geopotential [m2 s-2]: cannot be used as it is in 1 of 1 files",
        "latitude: 50 to 51 (2, spacing 1)",
        "time: 2001-01-01T00:00 to 2001-01-03T00:00 (3)",
    ):
        assert line in answer.out.splitlines(), line
    assert "is a variable of pressure levels, but the file states none" in answer.err
    found = complaint(answer)
    assert "data.sources are keys of an experiment file" in found
    assert "--level 500 sets the level (hPa) of all files" in found
    (tmp_path / "my.yaml").write_text("name: a")
    assert "my.yaml is an experiment file, and not data" in complaint(
        said("inspect", tmp_path / "my.yaml")
    )


def test_inspect_names_what_is_wrong(weather, tmp_path, said):
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        damaged = ds.load()
    damaged["msl"][300:310] = float("nan")
    damaged = damaged.isel(time=[*range(100), *range(110, 600)])
    damaged.to_netcdf(tmp_path / "damaged.nc")
    answer = said("inspect", tmp_path / "damaged.nc")
    assert answer.code == 0
    assert "warning mean_sea_level_pressure: missing (NaN) everywhere" in answer.out
    assert "warning 1 gaps in time (step 1d): 2001-04-10T00:00 to 2001-04-21T00:00" in answer.out
    assert "no problems found" not in answer.out


def test_inspect_compares_the_data_of_a_run_with_its_record(finished, tmp_path, said):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    answer = said("inspect", folder)
    assert (answer.code, answer.err) == (0, "")
    parts = [line.split(maxsplit=1) for line in answer.out.splitlines()]
    assert {state for state, _ in parts[:-1]} == {"unchanged"}
    assert {part.split("/")[0] for _, part in parts[:-2]} == {
        "train", "validation", "test", "truth",
    }  # fmt: skip
    assert answer.out.endswith("the data are those that the run was computed from\n")
    record = json.loads((folder / "run.json").read_text())
    first = next(iter(record["folds"]))
    record["folds"] |= {first: "0" * 64, "train/1850": "0" * 64}
    (folder / "run.json").write_text(json.dumps(record))
    answer = said("inspect", folder)
    assert (answer.code, answer.err) == (1, "")
    assert f"changed   {first}\n" in answer.out
    assert "missing   train/1850\n" in answer.out
    assert "`gfrnn run` repeats the stages that they decide" in answer.out
    assert "give it alone" in complaint(said("inspect", folder, "--save", tmp_path / "a.yaml"))
    assert "give it alone" in complaint(said("inspect", folder, tmp_path))
