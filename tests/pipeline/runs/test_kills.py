"""Kill commands at operations on files; the same command must then end as if undisturbed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.storage import recover, write_whole
from gfrnn_testing.kills import Killed, killed_after
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import contents

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-04"]},
    "model": {"width": 8, "leads": ["1d", "3d"]},
    "fit": {"ridge": [1e-3], "widths": [4, 8]},
    "forecast": {"horizon": "3d"},
}

_KILLS = 9  # evenly spaced; `gfrnn bench chaos` kills at any operation


@pytest.fixture
def source(fitted, tmp_path) -> Path:
    """Copy the folder of the run into the folder that kills watch."""
    shutil.copytree(fitted.folder, tmp_path / "runs" / "run")
    return tmp_path / "runs" / "run"


def in_place(source: Path, weather: Path) -> Run:
    return update(source, [str(weather)], period=period("2002-04-01", "2002-04-20"))


def into_another_folder(source: Path, weather: Path) -> Run:
    part = period("2002-04-01", "2002-04-20")
    return update(source, [str(weather)], source.parent / "other", period=part)


def refitted(source: Path, _: Path) -> Run:
    return refit(source, source.parent / "other", widths=[4])


def refitted_again(source: Path, _: Path) -> Run:
    return refit(source, source.parent / "other", widths=[4], force=True)


def another_period(source: Path, _: Path) -> Run:
    new = NewPeriod.prepare(source, period("2002-08-01", "2002-08-03"), source.parent / "other")
    run = new.run()
    run.forecast()
    return run


def products(run: Run) -> dict[str, Any]:
    return {path.name: contents(path) for path in (run.model, run.forecast_store) if path.exists()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        in_place,
        pytest.param(into_another_folder, marks=pytest.mark.exhaustive),
        refitted,
        pytest.param(refitted_again, marks=pytest.mark.exhaustive),
        another_period,
    ],
)
def test_a_killed_command_can_be_repeated(command, weather, source):
    runs, before = source.parent, source.parent.with_name("before")
    if command is refitted_again:
        refit(source, source.parent / "other", widths=[8])
    shutil.copytree(runs, before)
    expected = products(command(source, weather.path))
    shutil.rmtree(runs)
    shutil.copytree(before, runs)
    with killed_after(runs, 10**9) as never:
        command(source, weather.path)
    assert never.count > _KILLS
    for operations in np.linspace(0, never.count - 2, _KILLS).astype(int).tolist():
        shutil.rmtree(runs)
        shutil.copytree(before, runs)
        with killed_after(runs, operations) as kill:
            command(source, weather.path)
        # Removals that a write of another thread interrupts count once more.
        assert kill.count > operations or operations == never.count - 2
        Run.reopen(source).load_model()
        run = command(source, weather.path)
        assert products(run) == expected, operations
        done = Run.reopen(run.folder).record.fit
        assert done is not None
        assert done.finished, operations
        assert done.command is None
        assert done.updated == run.load_model().notes.updated
        left = [path for path in runs.rglob("*") if path.name.endswith((".old", ".partial"))]
        assert not left, operations


@pytest.mark.parametrize("renames", [0, 1])
def test_a_replacement_interrupted_between_its_renames_is_finished(tmp_path, renames):
    """The states that a kill leaves: the old folder aside, the new one not yet under its name."""
    store = tmp_path / "model.zarr"

    def write(text: str) -> Callable[[Path], None]:
        def into(path: Path) -> None:
            path.mkdir()
            (path / "text").write_text(text)

        return into

    write_whole(store, write("old"))
    with pytest.MonkeyPatch.context() as patch:
        done: list[Path] = []
        rename = Path.rename

        def dies(self: Path, target: Path) -> Path:
            if len(done) == renames:
                raise Killed
            done.append(self)
            return rename(self, target)

        patch.setattr(Path, "rename", dies)
        with pytest.raises(Killed):
            write_whole(store, write("new"))
    assert store.exists() == (renames == 0)
    recover(store)
    assert (store / "text").read_text() == ("new" if renames else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model.zarr"]


def test_the_earlier_folder_returns_where_the_new_one_is_gone(tmp_path):
    store = tmp_path / "model.zarr"
    (tmp_path / "model.zarr.old").mkdir()
    (tmp_path / "model.zarr.old" / "text").write_text("old")
    recover(store)
    assert (store / "text").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.zarr"]
