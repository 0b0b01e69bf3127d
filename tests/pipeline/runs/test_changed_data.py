"""Test which stages are repeated when data grow, are repaired or are replaced."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.record import StageRecord, now
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import experiment, finish, make_weather, stamps, write_store

SHORT = {"periods": {"test": ["2002-07-01", "2002-07-12"]}, "forecast": {"horizon": "3d"}}
CHUNK = 35  # times; the validation period begins with a chunk
STAGES = ("fit", "forecast", "verify")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, Path]:
    """Return the contents of a store that ends with the test period, and a finished run on it."""
    folder = tmp_path_factory.mktemp("whole")
    path = make_weather(folder / "weather.zarr").path
    raw = xr.open_zarr(path, chunks=None, consolidated=False).load()
    write_store(raw.sel(time=slice("2002-07-12")), path, CHUNK)
    finish(Run(experiment(path, **SHORT), folder / "run"))
    return raw, folder


@pytest.fixture
def copied(whole: tuple[xr.Dataset, Path], tmp_path: Path) -> tuple[xr.Dataset, Path]:
    """Return the contents, and a copy of store and run whose paths are those of the original."""
    raw, folder = whole
    shutil.copytree(folder / "run", tmp_path / "run")
    return raw, folder / "weather.zarr"


def repeated(run: Run) -> list[str]:
    return [stage for stage in STAGES if not run.is_done(stage)]


def test_a_replaced_year_is_named_and_only_later_stages_are_repeated(
    copied: tuple[xr.Dataset, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, path = copied
    kept = raw.sel(time=slice("2002-07-12"))
    folder = tmp_path / "run"
    assert repeated(Run(experiment(path, **SHORT), folder)) == []
    # A day that has been added decides the scores of the last forecasts, and nothing else.
    write_store(raw.sel(time=slice("2002-07-13")), path, CHUNK)
    assert repeated(Run(experiment(path, **SHORT), folder)) == ["verify"]
    # Later days decide nothing.
    write_store(raw.sel(time=slice("2002-07-15")), path, CHUNK)
    run = Run(experiment(path, **SHORT), folder)
    run.verify()
    write_store(raw, path, CHUNK)
    assert repeated(Run(experiment(path, **SHORT), folder)) == []
    # Fields of the test period are read again by the forecasts.
    repaired = raw.copy(deep=True)
    repaired["msl"].loc[{"time": slice("2002-07-03", "2002-07-04")}] += 100.0
    write_store(repaired, path, CHUNK)
    assert repeated(Run(experiment(path, **SHORT), folder)) == ["forecast", "verify"]
    # A month of the training period, and where that is said.
    repaired = raw.copy(deep=True)
    repaired["msl"].loc[{"time": slice("2001-05-01", "2001-05-31")}] += 100.0
    write_store(repaired, path, CHUNK)
    run = Run(experiment(path, **SHORT), folder)
    assert repeated(run) == list(STAGES)
    before = stamps(run.model)
    with caplog.at_level(logging.WARNING):
        run.fit()
    assert stamps(run.model) != before
    assert "the data of train/2001 have changed since `gfrnn fit` was run" in caplog.text
    write_store(kept, path, CHUNK)


def test_a_replaced_validation_year_keeps_what_the_training_years_decide(
    copied: tuple[xr.Dataset, Path], tmp_path: Path
) -> None:
    """Climatology and EOFs are read from their checkpoints."""
    raw, path = copied
    repaired = raw.copy(deep=True)
    repaired["msl"].loc[{"time": slice("2002-05-01", "2002-05-31")}] += 100.0
    folder = tmp_path / "run"
    made = {
        name: stamps(folder / "summaries.zarr" / name) for name in ("climatology", "eofs", "states")
    }
    write_store(repaired, path, CHUNK)
    run = Run(experiment(path, **SHORT), folder)
    assert not run.is_done("fit")
    run.fit()
    again = {name: stamps(run.summaries / name) for name in made}
    assert all(made[name].items() <= again[name].items() for name in ("climatology", "eofs"))
    assert len(again["climatology"]) == len(made["climatology"])
    assert len(again["eofs"]) == len(made["eofs"])
    assert len(again["states"]) > len(made["states"])
    assert np.isfinite(run.load_model().networks[0].outer).all()
    write_store(raw.sel(time=slice("2002-07-12")), path, CHUNK)


def test_each_year_is_compared_with_the_record(
    copied: tuple[xr.Dataset, Path], tmp_path: Path
) -> None:
    raw, path = copied
    kept = raw.sel(time=slice("2002-07-12"))
    run = Run.reopen(tmp_path / "run")
    states = run.compare_data()
    parts = {"train/2001", "validation/2002", "test/2002", "truth/2002"}
    assert parts < set(states)
    assert set(states) - set(run.record.folds or {}) == {"variables, units and grid"}
    assert set(states.values()) == {"unchanged"}

    repaired = kept.copy(deep=True)
    repaired["msl"].loc[{"time": slice("2001-05-01", "2001-05-31")}] += 100.0
    write_store(repaired, path, CHUNK)
    states = Run.reopen(tmp_path / "run").compare_data()
    assert {part for part, state in states.items() if state != "unchanged"} == {"train/2001"}
    assert states["train/2001"] == "changed"

    moved = kept.assign_coords(latitude=kept["latitude"] - 0.5)
    write_store(moved, path, CHUNK)
    states = Run.reopen(tmp_path / "run").compare_data()
    assert {part for part, state in states.items() if state == "changed"} == {
        "variables, units and grid"
    }

    write_store(kept.sel(time=slice("2002-06-20")), path, CHUNK)
    states = Run.reopen(tmp_path / "run").compare_data()
    assert {states[part] for part in ("test/2002", "truth/2002")} == {"missing"}
    write_store(kept.sel(time=slice("2002-01-01", None)), path, CHUNK)
    states = Run.reopen(tmp_path / "run").compare_data()
    assert states["train/2001"] == "missing"
    assert states["test/2002"] == "unchanged"
    write_store(kept, path, CHUNK)
    assert set(Run.reopen(tmp_path / "run").compare_data().values()) == {"unchanged"}


def test_folds_that_a_shorter_horizon_leaves_out_are_not_compared(
    whole: tuple[xr.Dataset, Path], tmp_path: Path
) -> None:
    write_store(whole[0], tmp_path / "a.zarr")
    periods, found = {"test": ["2002-12-01", "2002-12-28"]}, []
    for horizon in ("6d", "2d"):
        parts = {"periods": periods, "forecast": {"horizon": horizon}}
        run = Run(experiment(tmp_path / "a.zarr", **parts), tmp_path / "run")
        for stage in STAGES:  # as at their ends
            run._note(stage, StageRecord(key=stage, finished=now()))
        found.append(run.compare_data())
    assert "truth/2003" in found[0]
    assert {"train/2001", "train/2002", "validation/2002", "truth/2002"} < set(found[1])
    assert "truth/2003" not in found[1]
    assert set(found[1].values()) == {"unchanged"}


def test_a_run_without_a_finished_stage_has_no_record_of_its_data(
    whole: tuple[xr.Dataset, Path], tmp_path: Path
) -> None:
    run = Run(experiment(whole[1] / "weather.zarr", **SHORT), tmp_path / "run")
    with pytest.raises(RunError, match="no record of the data .*run `gfrnn run` first"):
        run.compare_data()
