"""Reductions on workers: the same bits on any number of them, and failures."""

from __future__ import annotations

import gc
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from distributed import Client

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.errors import DataError, ResourceError
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.dask_client import thread_memory, workers_of
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn_testing.reduction_toys import Record, Troubled, cut, read, row_pieces, row_summary
from gfrnn_testing.reduction_toys import eof_summary as make_eofs

pytestmark = pytest.mark.cluster


def config(workers: int) -> ClusterConfig:
    return ClusterConfig(workers=workers, dashboard="127.0.0.1:0", memory="600MiB")


@pytest.fixture(scope="module")
def two() -> Iterator[Client]:
    with open_cluster(config(2)) as cluster:
        yield cluster.client


def test_workers_are_known_also_where_the_client_has_just_refreshed_its_short_form(
    two, monkeypatch
):
    monkeypatch.setattr(Client, "scheduler_info", lambda *_, **__: {"workers": {}})
    assert set(workers_of(two)) == set(two.nthreads())
    assert thread_memory() == 600 * 2**20


@pytest.fixture
def client(two: Client) -> Iterator[Client]:
    """Start two workers; check after each test that both are running and hold nothing."""
    yield two
    two.wait_for_workers(2, timeout=180)
    assert_nothing_left(two)


def assert_nothing_left(client: Client) -> None:
    """Check repeatedly that the client has no future and the workers have no task."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        gc.collect()
        tasks = client.run_on_scheduler(lambda dask_scheduler: sorted(dask_scheduler.tasks))
        if not tasks and not client.futures:
            return
        time.sleep(0.05)
    raise AssertionError(f"left on the cluster: {tasks}; known here: {list(client.futures)}")


def in_process(summary: Any, stretches: list[Stretch]) -> dict[str, Arrays]:
    with mock.patch("gfrnn.pipeline.reduction.reduce.current_client", return_value=None):
        return reduce_stretches(summary, stretches, key="k")


def assert_same_bits(found: dict[str, Arrays], expected: dict[str, Arrays]) -> None:
    assert list(found) == list(expected)
    for fold in expected:
        assert list(found[fold]) == list(expected[fold])
        for name, values in expected[fold].items():
            assert found[fold][name].dtype == values.dtype
            assert found[fold][name].shape == values.shape
            assert found[fold][name].tobytes() == values.tobytes(), f"{fold}: {name}"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> RowSummary:
    return row_summary(tmp_path_factory.mktemp("rows"), 3000, width=60)


@pytest.fixture(scope="module")
def eofs() -> EofSummary:
    return make_eofs(240)


@pytest.fixture(scope="module")
def row_leaves(rows: RowSummary) -> list[Stretch]:
    """Return more leaves than two workers get at once, in three folds, one of a single leaf."""
    return row_pieces(rows, 170, ("2001", 1400), ("2002", 1500), ("2003", 2999))


@pytest.fixture(scope="module")
def expected_rows(rows: RowSummary, row_leaves: list[Stretch]) -> dict[str, Arrays]:
    return in_process(rows, row_leaves)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


# --- the same numbers ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("naps", [1, 2])
def test_any_order_of_arrival_gives_the_same_bits(
    client, rows, row_leaves, expected_rows, calls, naps
):
    slow = Troubled(rows, calls, naps=naps)
    assert_same_bits(reduce_stretches(slow, row_leaves, key="k"), expected_rows)
    assert slow.ran() == [part.start for part in row_leaves]
    pids = {int(mark.read_text()) for mark in calls.iterdir()}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bits(rows, row_leaves, expected_rows, calls, workers):
    with open_cluster(config(workers)) as cluster:
        slow = Troubled(rows, calls, naps=3)
        assert_same_bits(reduce_stretches(slow, row_leaves, key="k"), expected_rows)
        used = {mark.read_text() for mark in calls.iterdir()}
        assert (len(used) > 1) == (workers > 1)
        assert_nothing_left(cluster.client)


def test_eofs_have_the_same_bits_here_there_and_from_disk(client, eofs, tmp_path):
    stretches = cut(240, 25, ("2001", 130), ("2002", 240))
    expected = in_process(eofs, stretches)
    checkpoints = Checkpoints(tmp_path / "s")
    there = reduce_stretches(eofs, stretches, key="k", checkpoints=checkpoints)
    assert_same_bits(there, expected)
    kept = reduce_stretches(eofs, stretches, key="k", checkpoints=checkpoints)
    assert_same_bits(kept, expected)
    merged = [eofs.merge(found["2001"], found["2002"]) for found in (expected, there, kept)]
    for other in merged[1:]:
        assert_same_bits({"all": other}, {"all": merged[0]})


def test_the_tree_on_the_cluster_is_that_of_one_process(client, calls):
    stretches = cut(37, 1, ("a", 20), ("b", 21), ("c", 37))
    found = reduce_stretches(Troubled(Record(), calls, naps=5), stretches, key="k")
    expected = in_process(Record(), stretches)
    assert {f: read(v) for f, v in found.items()} == {f: read(v) for f, v in expected.items()}


def test_progress_is_monotone_and_complete(client, calls):
    seen: list[ProgressUpdate] = []
    reduce_stretches(
        Troubled(Record(), calls, naps=6),
        cut(12, 1, ("a", 5), ("b", 12)),
        key="k",
        progress=seen.append,
    )
    done = [update.done for update in seen]
    assert done == sorted(done)
    assert set(done) == set(range(13))
    assert {(update.name, update.total) for update in seen} == {("record", 12)}
    assert max(update.pending_merges for update in seen) > 0
    assert seen[-1].pending_merges == 0


def test_checkpoints_of_the_cluster_serve_one_process(client, calls, tmp_path):
    checkpoints, stretches = Checkpoints(tmp_path / "s"), cut(12, 2, ("a", 6), ("b", 12))
    found = reduce_stretches(Troubled(Record(), calls), stretches, key="k", checkpoints=checkpoints)
    watched = Troubled(Record(), calls)
    with mock.patch("gfrnn.pipeline.reduction.reduce.current_client", return_value=None):
        again = reduce_stretches(watched, stretches, key="k", checkpoints=checkpoints)
    assert_same_bits(again, found)
    assert watched.ran() == [0, 2, 4, 6, 8, 10]


def test_tasks_come_back_in_order(client):
    assert run_tasks("power", pow, [(2, i) for i in range(20)]) == [2**i for i in range(20)]


# --- trouble ------------------------------------------------------------------------------------


def test_a_worker_killed_in_the_middle_changes_nothing(
    client, rows, row_leaves, expected_rows, calls
):
    victim = row_leaves[len(row_leaves) // 2].start
    slow = Troubled(rows, calls, naps=7, dies=victim)
    assert_same_bits(reduce_stretches(slow, row_leaves, key="k"), expected_rows)
    assert slow.count(victim) == 2  # it did die


@pytest.mark.slow
def test_an_error_of_a_leaf_is_raised_by_the_driver(client, calls):
    broken = Troubled(Record(), calls, naps=8, fails=5)
    with pytest.raises(DataError, match=r"^temperature_850: nan at time 5$") as caught:
        reduce_stretches(broken, cut(40, 1), key="k")
    assert type(caught.value) is DataError
    assert len(broken.ran()) < 40  # the rest was not started
    # As in a notebook, which keeps the last error: nothing may stay on the cluster because of it.
    assert caught.value.__traceback__ is not None
    assert_nothing_left(client)


def test_a_failed_leaf_is_tried_anew_by_the_next_run(client, calls):
    with pytest.raises(DataError):
        reduce_stretches(Troubled(Record(), calls, fails=1), cut(3, 1), key="k")
    found = reduce_stretches(Troubled(Record(), calls), cut(3, 1), key="k")
    assert read(found["a"]) == "((0-1,1-2),2-3)"


def test_an_error_of_a_task_is_raised_by_the_driver(client):
    with pytest.raises(ZeroDivisionError) as caught:
        run_tasks("power", pow, [(2, 1), (0, -1), *[(2, i) for i in range(30)]])
    assert caught.value.__traceback__ is not None
    assert_nothing_left(client)


def test_large_arguments_raise_no_warning(client):
    values = np.ones(2**21)  # 16 MiB, above the threshold of distributed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_tasks("sum", np.sum, [(values,)]) == [2**21]


def test_folds_finished_before_an_error_are_kept(client, calls, tmp_path):
    checkpoints, stretches = Checkpoints(tmp_path / "s"), cut(40, 1, ("a", 4), ("b", 40))
    with pytest.raises(DataError):
        reduce_stretches(
            Troubled(Record(), calls, fails=39), stretches, key="k", checkpoints=checkpoints
        )
    for mark in calls.iterdir():
        mark.unlink()
    mended = Troubled(Record(), calls)
    found = reduce_stretches(mended, stretches, key="k", checkpoints=checkpoints)
    # The other fold keeps the leaves that were finished before the bad one.
    assert 39 in mended.ran()
    assert min(mended.ran()) >= 4
    assert read(found["a"]) == "((0-1,1-2),(2-3,3-4))"


def test_tasks_larger_than_a_worker_are_refused_before_anything_runs(client, calls):
    needed = 500 * 2**20  # of 600 MiB, 420 MiB may be used
    large = Troubled(Record(leaf_size=needed), calls)
    with pytest.raises(ResourceError, match=r"record: a leaf needs 500 MiB.*420 MiB.*toy\.size"):
        reduce_stretches(large, cut(5, 1), key="k")
    with pytest.raises(ResourceError, match=r"record: a merge needs 500 MiB.*420 MiB"):
        reduce_stretches(Troubled(Record(merge_size=needed), calls), cut(5, 1), key="k")
    assert large.ran() == []


def test_workers_that_die_again_and_again_end_the_run(client, calls):
    def allow(dask_scheduler: Any, failures: int) -> int:
        before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, failures
        return int(before)

    before = client.run_on_scheduler(allow, failures=0)
    try:
        deadly = Troubled(Record(), calls, dies=2, deaths=99)
        with pytest.raises(
            ResourceError, match=r"record: worker processes ended repeatedly.*cluster\.memory"
        ):
            reduce_stretches(deadly, cut(4, 1), key="k")
    finally:
        client.run_on_scheduler(allow, failures=before)
    assert deadly.count(2) == 1
    del deadly
    np.testing.assert_equal(client.run_on_scheduler(allow, failures=before), before)
