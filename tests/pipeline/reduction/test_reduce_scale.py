"""Reductions on workers that join, leave and die, and with very many leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.reduction import task_group as task_group_module
from gfrnn.pipeline.reduction.block_checkpoints import BlockSavePolicy
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import fold_keys, reduce_stretches
from gfrnn.pipeline.reduction.task_group import TaskGroup
from gfrnn.pipeline.reduction.tree import Block, Tree
from gfrnn_testing.paths import with_support
from gfrnn_testing.reduction_toys import Record, Troubled, cut, read, row_pieces, row_summary

pytestmark = pytest.mark.cluster


CONFIG = ClusterConfig(workers=2, dashboard="127.0.0.1:0", memory="600MiB")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Start two workers of one thread each; tests may kill them, but two must run in the end."""
    with open_cluster(CONFIG) as cluster:
        yield cluster.client


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


@pytest.fixture
def blocks_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save blocks by their size instead of the time that they take."""
    monkeypatch.setattr(
        BlockSavePolicy, "should_save", lambda _, block: block.is_left_half and block.level >= 3
    )


def spelled_in_process(leaves: int) -> str:
    with mock.patch("gfrnn.pipeline.reduction.reduce.current_client", return_value=None):
        return read(reduce_stretches(Record(), cut(leaves, 1), key="k")["a"])


def kill_all(client: Client) -> None:
    """Kill every worker, and wait until others have replaced them."""
    before = client.run(os.getpid)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(client.nthreads()) - set(before)) == len(before))


def until(true: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# --- many leaves --------------------------------------------------------------------------------


class Watch(SchedulerPlugin):
    """Scheduler plugin that records the tasks."""

    name = "watch"

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.seen: set[str] = set()

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        self.seen.add(key)


def test_at_most_two_tasks_a_leaf_and_one_for_the_summary(client):
    watch = Watch(client.cluster.scheduler)
    watch.scheduler.add_plugin(watch)
    stretches = cut(60, 1, ("a", 20), ("b", 21), ("c", 60))
    reduce_stretches(Record(), stretches, key="k")
    watch.scheduler.remove_plugin(watch.name)
    kinds = [key.split("-")[1] for key in watch.seen]
    assert kinds.count("leaf") == 60
    assert kinds.count("merge") == 57
    assert kinds.count("summary") == 1
    assert len(watch.seen) == 118


def test_the_driver_holds_few_futures(client):
    """Futures are running tasks, and a waiting node for each bit of the number of leaves."""
    held: list[int] = []
    reduce_stretches(
        Record(), cut(140, 1), key="k", progress=lambda *_: held.append(len(client.futures))
    )
    assert max(held) <= 8 + 4 * 2 + 2 * 8  # a leaf may bring as many merges as there are bits


def test_the_scheduler_forgets_what_is_kept(client, tmp_path, blocks_of_eight):
    checkpoints, known = Checkpoints(tmp_path / "s"), []

    def look(_: ProgressUpdate) -> None:
        time.sleep(0.005)  # as if a leaf took a while
        known.append(len(client.cluster.scheduler.tasks))

    found = reduce_stretches(Record(), cut(160, 1), key="k", checkpoints=checkpoints, progress=look)
    assert read(found["a"]) == spelled_in_process(160)
    assert max(known[80:]) < 120  # of 320 leaves and merges


def test_leaves_run_long_before_the_last_is_submitted(client, monkeypatch):
    looked: list[int] = []
    plain = Record.leaf_bytes
    monkeypatch.setattr(
        Record, "leaf_bytes", lambda self, part: looked.append(0) or plain(self, part)
    )
    submitted: list[str] = []
    submit = TaskGroup.submit

    class EnoughError(Exception):
        pass

    def first(update: ProgressUpdate) -> None:
        done = update.done
        if done:
            raise EnoughError

    monkeypatch.setattr(
        TaskGroup,
        "submit",
        lambda self, key, *rest, **options: (
            submitted.append(key) or submit(self, key, *rest, **options)
        ),
    )
    with pytest.raises(EnoughError):
        reduce_stretches(Record(), cut(20_000, 1), key="k", progress=first)
    assert 1 <= len(looked) <= 20_000  # to plan, none is looked at twice
    assert len(submitted) <= 1 + 4 * 2 + 3


# --- workers ------------------------------------------------------------------------------------


@pytest.fixture
def own_client() -> Iterator[Client]:
    with open_cluster(CONFIG) as cluster:
        yield cluster.client


@pytest.mark.slow
def test_workers_that_come_go_and_die_change_nothing(own_client, tmp_path, calls, blocks_of_eight):
    client = own_client
    rows = row_summary(tmp_path, 3000, width=40)
    leaves = row_pieces(rows, 60, ("2001", 2400), ("2002", 2999))
    with mock.patch("gfrnn.pipeline.reduction.reduce.current_client", return_value=None):
        expected = reduce_stretches(rows, leaves, key="k")

    def one_dies() -> None:
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    def one_leaves() -> None:
        client.retire_workers([next(iter(client.nthreads()))], close_workers=True, remove=True)

    events = {8: one_dies, 16: lambda: client.cluster.scale(3), 26: one_leaves, 36: one_dies}

    def trouble(update: ProgressUpdate) -> None:
        event = events.pop(update.done, None)
        if event:
            event()

    slow = Troubled(rows, calls, naps=1)
    found = reduce_stretches(
        slow, leaves, key="k", checkpoints=Checkpoints(tmp_path / "s"), progress=trouble
    )
    assert not events
    assert_same_bits(found, expected)


def assert_same_bits(found: dict[str, Arrays], expected: dict[str, Arrays]) -> None:
    assert list(found) == list(expected)
    for fold in expected:
        assert {name: values.tobytes() for name, values in found[fold].items()} == {
            name: values.tobytes() for name, values in expected[fold].items()
        }


@pytest.mark.slow
def test_results_that_die_before_they_are_noticed_are_computed_again(client, calls):
    """Finished leaves are lost with their workers before they are processed."""

    def disaster(update: ProgressUpdate) -> None:
        if update.done == 3:
            time.sleep(0.5)  # whatever was submitted has arrived
            kill_all(client)

    summary = Troubled(Record(), calls)
    found = reduce_stretches(summary, cut(24, 1), key="k", progress=disaster)
    assert read(found["a"]) == spelled_in_process(24)
    assert len(summary.ran()) > 24  # some were lost


@pytest.mark.slow
def test_saved_blocks_are_read_when_their_worker_dies(
    client, tmp_path, calls, monkeypatch, blocks_of_eight
):
    safe: list[Block] = []
    plain = Tree.swap

    def swap(self: Tree, block: Block, make: Any) -> bool:
        swapped = plain(self, block, make)
        if swapped:
            safe.append(block)
        return swapped

    monkeypatch.setattr(Tree, "swap", swap)
    killed: list[Block] = []

    def disaster(*_: object) -> None:
        if safe and safe[-1].level >= 4 and not killed:
            killed.append(safe[-1])
            kill_all(client)

    summary = Troubled(Record(), calls, naps=2)
    found = reduce_stretches(
        summary, cut(64, 1), key="k", checkpoints=Checkpoints(tmp_path / "s"), progress=disaster
    )
    assert read(found["a"]) == spelled_in_process(64)
    (block,) = killed
    assert [summary.count(leaf) for leaf in range(block.size)] == [1] * block.size


def test_more_leaves_are_under_way_when_workers_have_come(monkeypatch):
    class Growing:
        workers = 0

        def nthreads(self) -> dict[int, int]:
            return dict.fromkeys(range(self.workers), 4)

    cluster = Growing()
    tasks = TaskGroup(cluster, "toy")
    assert tasks.threads == 1  # one task asks an adaptive cluster for a worker
    cluster.workers = 3
    assert tasks.threads == 1  # it does not ask every time
    monkeypatch.setattr(task_group_module, "_THREADS_REFRESH", -1.0)
    assert tasks.threads == 12


# --- the driver ---------------------------------------------------------------------------------

DRIVER = """
import sys
from pathlib import Path
from unittest import mock
from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.block_checkpoints import BlockSavePolicy
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn_testing.reduction_toys import Record, Troubled, cut

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    BlockSavePolicy.should_save = lambda _, block: block.is_left_half and block.level >= 3
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0")):
        reduce_stretches(
            Troubled(Record(), folder / "calls", naps=3),
            cut(120, 1),
            key="k",
            checkpoints=Checkpoints(folder / "s"),
        )
"""


def test_a_killed_driver_goes_on_from_its_blocks(client, tmp_path, calls):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, script, tmp_path], env=with_support())
    (key,) = fold_keys("record", "k", cut(120, 1)).values()
    kept = tmp_path / "s" / "record" / f"{key}.blocks"

    def blocks() -> list[Block]:
        names = [place.stem for place in kept.glob("*-*.npz")]
        return [Block(*map(int, name.split("-"))) for name in names]

    try:
        until(lambda: any(block.level >= 4 for block in blocks()))
    finally:
        driver.kill()
        driver.wait()
    time.sleep(0.3)  # its workers follow
    saved = blocks()
    done = {leaf for block in saved for leaf in range(block.first, block.first + block.size)}
    before = {int(mark.stem) for mark in calls.iterdir()}
    assert len(done) >= 16
    assert done <= before
    summary, seen = Troubled(Record(), calls), []
    found = reduce_stretches(
        summary,
        cut(120, 1),
        key="k",
        checkpoints=Checkpoints(tmp_path / "s"),
        progress=lambda update: seen.append(update.done),
    )
    assert read(found["a"]) == spelled_in_process(120)
    assert [summary.count(leaf) for leaf in sorted(done)] == [1] * len(done)
    assert summary.ran() == sorted([*before, *(set(range(120)) - done)])
    # The counts are the start, each saved block as a whole, and every leaf that was left to do.
    assert len(set(seen)) <= 1 + len(saved) + 120 - len(done)
    assert seen[-1] == 120
    assert not kept.exists()
