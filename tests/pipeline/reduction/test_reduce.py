"""Reductions in one process: tree, checkpoints, memory check and errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.errors import DataError, ResourceError
from gfrnn.pipeline.reduction import dask_client
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import fold_keys, reduce_stretches
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.task_memory import plan_reduction
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_testing.reduction_toys import Record, Troubled, cut, read, row_pieces, row_summary

cases = settings(max_examples=15)
MIB = 2**20


def balanced(leaves: list[str]) -> str:
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return f"({balanced(leaves[:half])},{balanced(leaves[half:])})"


def expected_tree(leaves: list[str]) -> str:
    """Spell the largest full binary tree from the left, merged with that of the other leaves."""
    block = 1 << (len(leaves).bit_length() - 1)
    if block == len(leaves):
        return balanced(leaves)
    return f"({balanced(leaves[:block])},{expected_tree(leaves[block:])})"


def texts(found: dict[str, Any]) -> dict[str, str]:
    return {fold: read(arrays) for fold, arrays in found.items()}


@pytest.fixture
def troubled(tmp_path: Path) -> Troubled:
    (tmp_path / "calls").mkdir()
    return Troubled(Record(), tmp_path / "calls")


# --- the tree -----------------------------------------------------------------------------------


@cases
@given(st.integers(1, 40))
def test_the_tree_is_a_function_of_the_number_of_leaves(count):
    found = reduce_stretches(Record(), cut(count, 1), key="k")
    assert texts(found) == {"a": expected_tree([f"{i}-{i + 1}" for i in range(count)])}


def test_leaves_of_other_lengths_merge_alike():
    uneven = [Stretch("a", 0, 7), Stretch("a", 7, 8), Stretch("a", 20, 40)]
    assert texts(reduce_stretches(Record(), uneven, key="k")) == {"a": "((0-7,7-8),20-40)"}


@cases
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_each_fold_has_its_own_root_in_the_order_of_the_stretches(sizes):
    ends = np.cumsum(sizes).tolist()
    names = [f"f{(7 * i) % 5}" for i in range(len(sizes))]  # not in alphabetical order
    found = reduce_stretches(Record(), cut(ends[-1], 1, *zip(names, ends, strict=True)), key="k")
    assert list(found) == names
    for fold, size, end in zip(names, sizes, ends, strict=True):
        leaves = [f"{i}-{i + 1}" for i in range(end - size, end)]
        assert read(found[fold]) == expected_tree(leaves)


def test_at_most_two_tasks_a_leaf():
    stretches = cut(23, 2, ("a", 3), ("b", 4), ("c", 23))
    plan = plan_reduction(Record(), stretches)
    assert plan.leaves == len(stretches) == 13
    assert plan.merges == 13 - 3
    assert plan.leaves + plan.merges <= 2 * plan.leaves


def test_merges_are_as_many_as_the_plan_says(monkeypatch):
    stretches, merges = cut(23, 2, ("a", 3), ("b", 4), ("c", 23)), []
    plain = Record.merge
    monkeypatch.setattr(
        Record, "merge", lambda self, left, right: merges.append(0) or plain(self, left, right)
    )
    reduce_stretches(Record(), stretches, key="k")
    assert len(merges) == plan_reduction(Record(), stretches).merges


def test_no_stretches_give_nothing():
    assert reduce_stretches(Record(), [], key="k") == {}


def test_rows_reduced_are_the_rows_factored_at_once(tmp_path):
    summary = row_summary(tmp_path, 700)
    pieces = row_pieces(summary, 90, ("2001", 400), ("2002", 699))
    found = reduce_stretches(summary, pieces, key="k")
    states = zarr.open_array(summary.states.path, mode="r")[...]
    for fold, first, last in (("2001", 1, 400), ("2002", 400, 699)):
        (whole,) = Factors.from_arrays(summary.leaf(Stretch(fold, first, last))).parts
        (factor,) = Factors.from_arrays(found[fold]).parts
        assert factor.rows == whole.rows == last - first
        np.testing.assert_allclose(
            factor.triangle, whole.triangle, rtol=0, atol=1e-11 * np.abs(whole.triangle).max()
        )
        targets = factor.triangle[:, -3:]
        np.testing.assert_allclose(
            targets.T @ targets, states[first + 1 : last + 1].T @ states[first + 1 : last + 1]
        )


# --- progress and errors ------------------------------------------------------------------------


def test_progress_counts_every_leaf_once():
    seen: list[ProgressUpdate] = []
    reduce_stretches(Record(), cut(20, 3, ("a", 8), ("b", 20)), key="k", progress=seen.append)
    assert [update.done for update in seen if update.done < 7] == list(range(7))
    assert {(update.name, update.total) for update in seen} == {("record", 7)}
    assert seen[-1].done == 7
    assert not any(update.announced for update in seen)


def test_progress_counts_kept_folds_at_once(tmp_path):
    stretches = cut(20, 3, ("a", 8), ("b", 20))
    checkpoints = Checkpoints(tmp_path / "s")
    reduce_stretches(Record(), stretches[:3], key="k", checkpoints=checkpoints)
    seen: list[ProgressUpdate] = []
    reduce_stretches(Record(), stretches, key="k", checkpoints=checkpoints, progress=seen.append)
    assert sorted({update.done for update in seen}) == [0, 3, 4, 5, 6, 7]
    assert {update.total for update in seen} == {7}


def test_an_error_of_a_leaf_keeps_its_type_and_message(troubled):
    broken = Troubled(Record(), troubled.calls, fails=6)
    with pytest.raises(DataError, match=r"^temperature_850: nan at time 6$") as caught:
        reduce_stretches(broken, cut(20, 3), key="k")
    assert type(caught.value) is DataError
    assert troubled.ran() == [0, 3, 6]


def test_a_failed_run_resumes_at_its_fold(tmp_path, troubled):
    stretches = cut(12, 2, ("a", 4), ("b", 8), ("c", 12))
    checkpoints = Checkpoints(tmp_path / "s")
    broken = Troubled(Record(), troubled.calls, fails=6)
    with pytest.raises(DataError):
        reduce_stretches(broken, stretches, key="k", checkpoints=checkpoints)
    assert troubled.ran() == [0, 2, 4, 6]
    found = reduce_stretches(troubled, stretches, key="k", checkpoints=checkpoints)
    assert troubled.ran() == [0, 2, 4, 6, 6, 8, 10]  # the leaf before the bad one is kept
    assert texts(found) == {"a": "(0-2,2-4)", "b": "(4-6,6-8)", "c": "(8-10,10-12)"}


# --- checkpoints --------------------------------------------------------------------------------


def test_a_finished_fold_is_not_computed_again(tmp_path, troubled):
    stretches = cut(12, 2, ("a", 4), ("b", 12))
    checkpoints = Checkpoints(tmp_path / "s")
    first = reduce_stretches(troubled, stretches, key="k", checkpoints=checkpoints)
    again = reduce_stretches(troubled, stretches, key="k", checkpoints=Checkpoints(tmp_path / "s"))
    assert troubled.ran() == [0, 2, 4, 6, 8, 10]
    assert texts(again) == texts(first)
    assert list(again) == ["a", "b"]


def test_without_checkpoints_nothing_is_kept(tmp_path, troubled):
    for _ in range(2):
        reduce_stretches(troubled, cut(4, 2), key="k")
    assert troubled.ran() == [0, 0, 2, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["calls"]


def test_kept_numbers_are_the_same_bit_for_bit(tmp_path):
    summary = row_summary(tmp_path, 300)
    pieces = row_pieces(summary, 90)
    checkpoints = Checkpoints(tmp_path / "s")
    computed = reduce_stretches(summary, pieces, key="k", checkpoints=checkpoints)["a"]
    kept = reduce_stretches(summary, pieces, key="k", checkpoints=checkpoints)["a"]
    assert kept["triangles"].tobytes() == computed["triangles"].tobytes()
    assert kept["triangles"].dtype == np.float64
    assert kept["rows"].tolist() == [298]


@pytest.mark.parametrize(
    ("key", "name", "stretches", "anew"),
    [
        ("k", "record", cut(12, 2, ("a", 4), ("b", 12)), []),
        ("other", "record", cut(12, 2, ("a", 4), ("b", 12)), [0, 2, 4, 6, 8, 10]),
        ("k", "other", cut(12, 2, ("a", 4), ("b", 12)), [0, 2, 4, 6, 8, 10]),
        ("k", "record", cut(12, 4, ("a", 4), ("b", 12)), [0, 4, 8]),
        ("k", "record", cut(13, 2, ("a", 4), ("b", 13)), [4, 6, 8, 10, 12]),
        ("k", "record", cut(14, 2, ("a", 4), ("b", 12), ("c", 14)), [12]),
    ],
    ids=["nothing", "key", "name", "cuts", "extent", "new fold"],
)
def test_changed_contents_are_computed_again(tmp_path, troubled, key, name, stretches, anew):
    checkpoints = Checkpoints(tmp_path / "s")
    before = cut(12, 2, ("a", 4), ("b", 12))
    reduce_stretches(Record(), before, key="k", checkpoints=checkpoints)
    other = Troubled(Record(name=name), troubled.calls)
    found = reduce_stretches(other, stretches, key=key, checkpoints=checkpoints)
    assert other.ran() == anew
    assert texts(found) == texts(reduce_stretches(Record(), stretches, key="k"))


def test_content_keys_tell_contents_apart():
    keys = [content_key("a", "b"), content_key("b", "a"), content_key("ab"), content_key("a")]
    assert len(set(keys)) == 4
    assert content_key({"x": 1, "y": [2, 3]}) == content_key({"y": [2, 3], "x": 1})
    stretches = cut(12, 2, ("a", 4), ("b", 12))
    assert fold_keys("n", "k", stretches) == fold_keys("n", "k", list(stretches))
    assert list(fold_keys("n", "k", stretches)) == ["a", "b"]
    assert len(set(fold_keys("n", "k", stretches).values())) == 2


def kept_at(folder: Path) -> Path:
    (place,) = (folder / "record").iterdir()
    return place


def test_a_partly_written_checkpoint_is_ignored(tmp_path, troubled, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "s")

    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)  # the last step
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            reduce_stretches(troubled, cut(4, 2), key="k", checkpoints=checkpoints)
    (left,) = [place.name for place in (tmp_path / "s" / "record").iterdir()]
    assert left.endswith(".npz.partial")
    found = reduce_stretches(troubled, cut(4, 2), key="k", checkpoints=checkpoints)
    assert texts(found) == {"a": "(0-2,2-4)"}
    assert troubled.ran() == [0, 0, 2, 2]
    assert not kept_at(tmp_path / "s").name.endswith(".partial")  # it has gone
    reduce_stretches(troubled, cut(4, 2), key="k", checkpoints=checkpoints)
    assert troubled.ran() == [0, 0, 2, 2]


# --- memory -------------------------------------------------------------------------------------


class FakeClient:
    """Client that only has information about workers."""

    def __init__(self, *workers: dict[str, Any]) -> None:
        self.workers = workers

    @property
    def scheduler(self) -> FakeClient:
        return self

    def identity(self) -> dict[str, Any]:
        return {"workers": {str(i): worker for i, worker in enumerate(self.workers)}}

    def sync(self, function: Any) -> Any:
        return function()


def worker(limit: int | None, nthreads: int = 1) -> dict[str, Any]:
    return {"memory_limit": limit, "nthreads": nthreads}


def test_the_smallest_share_of_a_thread_counts():
    many = [worker(900 * MIB)] * 8
    assert dask_client._memory_of_a_thread(None) is None
    assert dask_client._memory_of_a_thread(FakeClient()) is None
    assert dask_client._memory_of_a_thread(FakeClient(worker(None), worker(0))) is None
    client = FakeClient(*many, worker(1000 * MIB, nthreads=4), worker(None))
    assert dask_client._memory_of_a_thread(client) == 250 * MIB


@pytest.mark.parametrize(
    ("summary", "part", "needed"),
    [
        (Record(leaf_size=10 * MIB), "leaf", "120 MiB"),
        (Record(merge_size=90 * MIB), "merge", "90 MiB"),
    ],
    ids=["leaf", "merge"],
)
def test_tasks_larger_than_the_memory_are_refused_before_anything_runs(
    tmp_path, monkeypatch, summary, part, needed
):
    (tmp_path / "calls").mkdir()
    watched = Troubled(summary, tmp_path / "calls")
    monkeypatch.setattr(dask_client, "current_client", lambda: FakeClient(worker(100 * MIB)))
    stretches = [Stretch("a", 0, 3), Stretch("a", 3, 15), Stretch("a", 15, 17)]
    with pytest.raises(ResourceError) as caught:
        reduce_stretches(watched, stretches, key="k")
    message = str(caught.value)
    assert message.startswith(f"record: a {part} needs {needed}")
    assert "has 70 MiB" in message
    assert "cluster.memory" in message
    assert "toy.size" in message
    assert watched.ran() == []


def test_a_task_as_large_as_the_memory_is_accepted():
    plan = plan_reduction(Record(leaf_size=MIB, merge_size=70 * MIB), cut(210, 70))
    assert (plan.leaf_bytes, plan.merge_bytes) == (70 * MIB, 70 * MIB)
    plan.check(101 * MIB)
    plan.check(None)
    with pytest.raises(ResourceError):
        plan.check(99 * MIB)


# --- tasks without a merge ----------------------------------------------------------------------


def test_tasks_come_back_in_order():
    seen: list[ProgressUpdate] = []
    found = run_tasks("power", pow, ((2, i) for i in range(5)), progress=seen.append)
    assert found == [1, 2, 4, 8, 16]
    assert seen == [ProgressUpdate("power", done, 5) for done in range(6)]
    assert run_tasks("power", pow, []) == []


def test_an_error_of_a_task_keeps_its_type():
    with pytest.raises(ZeroDivisionError):
        run_tasks("power", pow, [(0, -1)])
