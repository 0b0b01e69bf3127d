"""Reductions that are asked to stop: results are saved, and none is computed twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.errors import DataError, Stopped
from gfrnn.pipeline.reduction import reduce_on_workers
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn_testing.reduction_toys import Record, Troubled, cut, read, spelled

LEAVES = cut(45, 2, ("a", 31), ("b", 45))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0")) as cluster:
        yield cluster.client


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    """Return checkpoints for which no block is saved unless the work is asked to stop."""
    return Checkpoints(tmp_path / "s", every=1e9)


def stop_at(leaves: int) -> Progress:
    """Return a callback that asks once to stop, after a number of leaves."""
    asked: list[int] = []

    def progress(update: ProgressUpdate) -> None:
        if update.done >= leaves and not asked:
            asked.append(update.done)
            raise Stopped

    return progress


def reduced(summary: Any, kept: Checkpoints, progress: Any = None) -> dict[str, str]:
    found = reduce_stretches(summary, LEAVES, key="k", checkpoints=kept, progress=progress)
    return {fold: read(arrays) for fold, arrays in found.items()}


@pytest.mark.parametrize("leaves", [1, 6, 13, 16, 22])
def test_without_workers_every_leaf_is_computed_once(leaves, calls, kept):
    summary = Troubled(Record(), calls)
    with pytest.raises(Stopped):
        reduced(summary, kept, stop_at(leaves))
    assert summary.ran() == [part.start for part in LEAVES[:leaves]]
    assert reduced(summary, kept) == reduced(Record(), Checkpoints(kept.path.with_name("other")))
    assert summary.ran() == [part.start for part in LEAVES]


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("leaves", [1, 8, 14])
def test_on_workers_running_tasks_finish_and_are_saved(leaves, calls, kept, client):
    summary = Troubled(Record(), calls, naps=leaves)
    with pytest.raises(Stopped):
        reduced(summary, kept, stop_at(leaves))
    assert leaves <= len(summary.ran()) < len(LEAVES)
    whole = reduced(summary, kept)
    assert whole == reduced(Record(), Checkpoints(kept.path.with_name("other")))
    assert summary.ran() == [part.start for part in LEAVES]


@dataclass(frozen=True)
class Endless:
    """Summary whose last leaves wait for a file."""

    gate: Path
    name: str = "endless"
    remedy: str = ""

    def leaf(self, stretch: Stretch) -> Arrays:
        while stretch.start > 4 and not self.gate.exists():
            time.sleep(0.05)
        return spelled(str(stretch.start))

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return spelled(f"({read(left)},{read(right)})")

    def leaf_bytes(self, stretch: Stretch) -> int:
        return 1

    def merge_bytes(self) -> int:
        return 1


@dataclass(frozen=True)
class Failing(Endless):
    """Summary whose fourth leaf waits for a file and fails."""

    def leaf(self, stretch: Stretch) -> Arrays:
        if stretch != LEAVES[3]:
            return spelled(str(stretch.start))
        while not self.gate.exists():
            time.sleep(0.05)
        raise DataError("temperature_850: nan")


@pytest.mark.cluster
def test_an_error_during_a_stop_does_not_hide_the_stop(tmp_path, kept, client):
    gate = tmp_path / "gate"

    def progress(update: ProgressUpdate) -> None:
        if update.done and not gate.exists():
            gate.touch()
            raise Stopped

    with pytest.raises(Stopped):
        reduced(Failing(gate), kept, progress)


@pytest.mark.cluster
def test_what_takes_too_long_is_left_and_the_rest_is_kept(tmp_path, kept, client, monkeypatch):
    monkeypatch.setattr(reduce_on_workers, "_STOP_SECONDS", 3.0)
    monkeypatch.setattr(reduce_on_workers, "_TASKS_PER_THREAD", 2)
    gate = tmp_path / "gate"
    try:
        with pytest.raises(Stopped):
            reduced(Endless(gate), kept, stop_at(2))
        assert not gate.exists()
        blocks = [block.stem.split("-") for block in kept.path.glob("endless/*.blocks/*")]
        spans = [(int(first), int(first) + 2 ** int(level)) for level, first in blocks]
        assert sorted(leaf for span in spans for leaf in range(*span)) == [0, 1, 2]
    finally:
        gate.touch()
