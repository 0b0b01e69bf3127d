"""Progress of a reduction: leaves, rows, operations and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn_testing.reduction_toys import Record, cut


@dataclass(frozen=True)
class Priced(Record):
    """A time has three rows of ten operations."""

    row_flops: float = 10.0

    def result_bytes(self, times: int) -> int:
        return 1

    def leaf_rows(self, times: int) -> float:
        return 3.0 * times


def told(summary: Record, stretches: list[Stretch], **options: object) -> list[ProgressUpdate]:
    seen: list[ProgressUpdate] = []
    reduce_stretches(summary, stretches, key="k", progress=seen.append, **options)  # type: ignore
    return seen


def test_rows_and_operations_are_those_of_the_leaves():
    last = told(Priced(), cut(16, 2))[-1]
    assert last.rows == 48
    assert last.work == 480


def test_leaves_of_other_lengths_count_as_they_are():
    seen = told(Priced(), cut(5, 2))  # 2, 2 and 1 times
    by_done = {update.done: update.rows for update in seen}
    assert by_done == {0: 0, 1: 6, 2: 12, 3: 15}


def test_a_summary_that_does_not_know_its_cost_counts_times():
    last = told(Record(), cut(16, 2))[-1]
    assert (last.rows, last.work) == (16, 0)


def test_stored_folds_count_as_done_but_not_as_computed(tmp_path):
    checkpoints, stretches = Checkpoints(tmp_path / "s"), cut(16, 2, ("a", 8), ("b", 16))
    reduce_stretches(Priced(), stretches[:4], key="k", checkpoints=checkpoints)
    seen = told(Priced(), stretches, checkpoints=checkpoints)
    assert (seen[1].done, seen[1].rows, seen[1].work) == (4, 0, 0)
    assert (seen[-1].done, seen[-1].rows) == (8, 24)


def test_every_fold_that_is_kept_is_a_checkpoint(tmp_path):
    folds = cut(16, 2, ("a", 8), ("b", 16))
    seen = told(Priced(), folds, checkpoints=Checkpoints(tmp_path / "s"))
    assert [update.saved for update in seen if update.done in (0, 5)] == [0, 1]
    assert seen[-1].saved == 2
    assert told(Priced(), folds)[-1].saved == 0


@pytest.mark.parametrize(("leaf", "merge", "needed"), [(7, 5, 14), (1, 90, 90)])
def test_the_larger_of_leaf_and_merge_is_what_a_task_needs(leaf, merge, needed):
    seen = told(replace(Priced(), leaf_size=leaf, merge_size=merge), cut(4, 2))
    assert {update.task_bytes for update in seen} == {needed}
