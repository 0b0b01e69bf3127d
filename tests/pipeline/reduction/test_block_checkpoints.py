"""Checkpoints of blocks of an unfinished fold, and runs that resume from them, in one process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline import storage
from gfrnn.pipeline.errors import DataError, RunError
from gfrnn.pipeline.reduction.block_checkpoints import BlockSavePolicy, FoldCheckpoints
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import fold_keys, reduce_stretches
from gfrnn.pipeline.reduction.tree import Block, Stretch
from gfrnn_testing.reduction_toys import (
    Record,
    Troubled,
    cut,
    eof_summary,
    read,
    row_pieces,
    row_summary,
    spelled,
)

cases = settings(max_examples=25)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


def eager(folder: Path) -> Checkpoints:
    """Return checkpoints for which every left half is saved."""
    return Checkpoints(folder / "s", every=0)


def blocks_in(checkpoints: Checkpoints, name: str = "record") -> list[Path]:
    return sorted(checkpoints.path.glob(f"{name}/*.blocks/*"))


def stopped_at(summary: Any, leaf: int, stretches: list[Stretch], calls: Path, kept: Checkpoints):
    """Run a reduction that fails at a leaf."""
    broken = Troubled(summary, calls, fails=stretches[leaf].start)
    with pytest.raises(DataError):
        reduce_stretches(broken, stretches, key="k", checkpoints=kept)
    for mark in calls.iterdir():
        mark.unlink()


# --- which blocks are saved ---------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_block_is_worth_keeping_when_it_takes_a_period():
    clock = Clock()
    policy = BlockSavePolicy(30.0, clock)
    for _ in range(60):
        assert not policy.should_save(Block(20, 0))  # nothing is known yet, and little is lost
        clock.now += 0.5
        policy.count_leaf()
    assert [level for level in range(9) if policy.should_save(Block(level, 0))] == [6, 7, 8]
    for _ in range(7):  # workers have left
        clock.now += 5
        policy.count_leaf()
    assert [level for level in range(9) if policy.should_save(Block(level, 0))] == [
        3,
        4,
        5,
        6,
        7,
        8,
    ]


def test_each_leaf_is_worth_keeping_when_it_takes_longer_than_a_period():
    clock = Clock()
    policy = BlockSavePolicy(30.0, clock)
    clock.now += 400
    policy.count_leaf()
    assert policy.should_save(Block(0, 0))
    assert policy.should_save(Block(0, 2))
    assert not policy.should_save(Block(0, 1))  # it merges at once


def test_distances_of_saved_blocks_follow_from_the_time_of_a_leaf(tmp_path, monkeypatch):
    """A leaf takes a second, so blocks of 32 leaves are the smallest that take 30 s."""
    clock, saved = Clock(), []
    monkeypatch.setattr(BlockSavePolicy, "__init__", _with(clock))
    plain = FoldCheckpoints.save_block
    monkeypatch.setattr(
        FoldCheckpoints,
        "save_block",
        lambda self, block, arrays: saved.append(block) or plain(self, block, arrays),
    )

    def second(*_: object) -> None:
        clock.now += 1

    reduce_stretches(
        Record(), cut(200, 1), key="k", checkpoints=Checkpoints(tmp_path / "s"), progress=second
    )
    assert saved == [
        Block(5, 0),
        Block(6, 0),
        Block(5, 64),
        Block(7, 0),
        Block(5, 128),
        Block(6, 128),
    ]


def _with(clock: Clock) -> Any:
    plain = BlockSavePolicy.__init__
    return lambda self, period: plain(self, period, clock)


# --- resumed runs -------------------------------------------------------------------------------


@pytest.mark.slow
@cases
@given(st.integers(2, 40), st.data())
def test_saved_leaves_are_not_computed_again(tmp_path_factory, count, data):
    folder = tmp_path_factory.mktemp("run")
    (folder / "calls").mkdir()
    stop = data.draw(st.integers(0, count - 1))
    stretches, checkpoints = cut(count, 1), eager(folder)
    stopped_at(Record(), stop, stretches, folder / "calls", checkpoints)
    mended = Troubled(Record(), folder / "calls")
    seen: list[int] = []
    found = reduce_stretches(
        mended,
        stretches,
        key="k",
        checkpoints=checkpoints,
        progress=lambda update: seen.append(update.done),
    )
    assert mended.ran() == list(range(stop, count))
    assert read(found["a"]) == read(reduce_stretches(Record(), stretches, key="k")["a"])
    # Blocks count as they are: one for each bit of the number of leaves that were done.
    steps = [1 << bit for bit in reversed(range(6)) if stop >> bit & 1]
    assert np.diff(sorted(set(seen))).tolist() == steps + [1] * (count - stop)
    assert blocks_in(checkpoints) == []


@cases
@given(
    st.integers(2, 40),
    st.sets(
        st.builds(
            lambda level, place: Block(level, place << level), st.integers(0, 4), st.integers(0, 20)
        )
    ),
    st.sets(st.integers(0, 30)),
)
def test_any_blocks_on_disk_give_the_same_tree(tmp_path_factory, count, blocks, damaged):
    """Blocks on disk may lie under others and may be damaged."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "calls").mkdir()
    stretches, checkpoints = cut(count, 1), Checkpoints(folder / "s")
    stopped_at(Record(), 0, stretches, folder / "calls", checkpoints)
    (fold,) = fold_keys("record", "k", stretches).values()
    fold_checkpoints, whole = FoldCheckpoints(checkpoints, "record", fold), set()
    for number, block in enumerate(sorted(blocks)):
        if block.first + block.size > count:
            continue
        inside = stretches[block.first : block.first + block.size]
        fold_checkpoints.save_block(block, reduce_stretches(Record(), inside, key="k")["a"])
        if number in damaged:
            folder_of_blocks = checkpoints.path / "record" / f"{fold}.blocks"
            file = folder_of_blocks / f"{block.level}-{block.first}.npz"
            file.write_bytes(file.read_bytes()[:-1])
        else:
            whole |= set(range(block.first, block.first + block.size))
    watched = Troubled(Record(), folder / "calls")
    found = reduce_stretches(watched, stretches, key="k", checkpoints=checkpoints)
    assert read(found["a"]) == read(reduce_stretches(Record(), stretches, key="k")["a"])
    assert watched.ran() == sorted(set(range(count)) - whole)


@pytest.mark.parametrize("kind", ["rows", "eofs"])
def test_numbers_of_a_resumed_run_are_the_same_bit_for_bit(tmp_path, calls, kind):
    if kind == "rows":
        summary: Any = row_summary(tmp_path, 400)
        stretches = row_pieces(summary, 30)
    else:
        summary, stretches = eof_summary(240), cut(240, 20)
    expected = reduce_stretches(summary, stretches, key="k")["a"]
    stopped_at(summary, 11, stretches, calls, eager(tmp_path))
    assert len(blocks_in(eager(tmp_path), summary.name)) == 3  # 11 = 8 + 2 + 1
    mended = Troubled(summary, calls)
    found = reduce_stretches(mended, stretches, key="k", checkpoints=eager(tmp_path))["a"]
    assert mended.ran() == [part.start for part in stretches[11:]]
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes()
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)


def test_merges_see_arrays_as_they_come_from_disk(monkeypatch):
    """The memory order of arrays may change how a sum is rounded."""

    def leaf(*_: Any) -> dict[str, Any]:
        return {"x": np.asfortranarray(np.ones((3, 2))), "n": np.array(1)}

    def merge(_: Record, left: Any, right: Any) -> dict[str, Any]:
        assert all(side["x"].flags.c_contiguous for side in (left, right))
        assert left["n"].shape == right["n"].shape == ()
        return leaf()

    monkeypatch.setattr(Record, "leaf", leaf)
    monkeypatch.setattr(Record, "merge", merge)
    found = reduce_stretches(Record(), cut(5, 1), key="k")["a"]
    assert found["x"].flags.c_contiguous


@pytest.mark.parametrize(
    ("key", "stretches"), [("other", cut(12, 1)), ("k", cut(13, 1))], ids=["key", "stretches"]
)
def test_blocks_of_another_run_are_not_used(tmp_path, calls, key, stretches):
    stopped_at(Record(), 9, cut(12, 1), calls, eager(tmp_path))
    watched = Troubled(Record(), calls)
    reduce_stretches(watched, stretches, key=key, checkpoints=eager(tmp_path))
    assert watched.ran() == [part.start for part in stretches]


def test_each_fold_goes_on_from_its_own_blocks(tmp_path, calls):
    stretches = cut(24, 1, ("a", 11), ("b", 24))
    stopped_at(Record(), 18, stretches, calls, eager(tmp_path))
    watched = Troubled(Record(), calls)
    found = reduce_stretches(watched, stretches, key="k", checkpoints=eager(tmp_path))
    assert watched.ran() == list(range(18, 24))
    expected = reduce_stretches(Record(), stretches, key="k")
    assert {f: read(v) for f, v in found.items()} == {f: read(v) for f, v in expected.items()}


# --- the disk -----------------------------------------------------------------------------------


def test_few_blocks_are_on_disk_at_a_time(tmp_path):
    checkpoints, seen = eager(tmp_path), []

    def look(update: ProgressUpdate) -> None:
        if update.done < update.total:
            seen.append(len(blocks_in(checkpoints)))

    reduce_stretches(Record(), cut(64, 1), key="k", checkpoints=checkpoints, progress=look)
    # The bits of the number of leaves so far; the last leaf closes the tree at once.
    assert seen == [leaves.bit_count() for leaves in range(64)]
    assert blocks_in(checkpoints) == []


def test_a_block_that_is_the_whole_fold_is_saved_once(tmp_path, monkeypatch):
    saved: list[Block] = []
    monkeypatch.setattr(FoldCheckpoints, "save_block", lambda _, block, __: saved.append(block))
    reduce_stretches(Record(), cut(4, 1), key="k", checkpoints=eager(tmp_path))
    assert saved == [Block(0, 0), Block(1, 0), Block(0, 2)]


def test_blocks_that_are_needed_stay(tmp_path):
    fold_checkpoints = FoldCheckpoints(Checkpoints(tmp_path / "s"), "record", "k")
    for block in (Block(0, 0), Block(1, 0), Block(1, 2), Block(0, 4), Block(2, 0)):
        fold_checkpoints.save_block(block, spelled("x"))
    fold_checkpoints.remove_under(Block(2, 0), needed={Block(1, 2)})
    kept = [place.name for place in blocks_in(fold_checkpoints.checkpoints)]
    assert kept == ["0-4.npz", "1-2.npz", "2-0.npz"]


def test_blocks_are_forgotten_only_when_their_fold_is_kept(tmp_path, calls, monkeypatch):
    class Killed(BaseException):
        pass

    plain = Checkpoints.save

    def killed(self: Checkpoints, name: str, *rest: Any) -> None:
        if name == "record":
            raise Killed
        plain(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(Killed):
            reduce_stretches(Record(), cut(13, 1), key="k", checkpoints=eager(tmp_path))
    assert len(blocks_in(eager(tmp_path))) == 3  # 13 = 8 + 4 + 1
    watched = Troubled(Record(), calls)
    reduce_stretches(watched, cut(13, 1), key="k", checkpoints=eager(tmp_path))
    assert watched.ran() == []
    assert blocks_in(eager(tmp_path)) == []


def test_leftover_blocks_are_removed_by_the_next_run(tmp_path, calls):
    stopped_at(Record(), 9, cut(12, 1), calls, eager(tmp_path))
    left = blocks_in(eager(tmp_path))[0].parent
    shutil.copytree(left, tmp_path / "copy")
    reduce_stretches(Record(), cut(12, 1), key="k", checkpoints=eager(tmp_path))
    shutil.copytree(tmp_path / "copy", left)
    reduce_stretches(Record(), cut(12, 1), key="k", checkpoints=eager(tmp_path))
    assert not left.exists()


def test_a_partly_written_block_is_ignored(tmp_path, calls, monkeypatch):
    """A process that is killed while it writes a block leaves it under a temporary name."""
    plain = storage.new_file

    class Killed(BaseException):
        pass

    @contextmanager
    def killed(path: Path) -> Iterator[BinaryIO]:
        with plain(path) as file:
            yield file
            if path.name == "4-0.npz":
                shutil.copy(path.with_name("4-0.npz.partial"), tmp_path / "left")
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gfrnn.pipeline.reduction.checkpoints.new_file", killed)
        with pytest.raises(Killed):
            reduce_stretches(Record(), cut(20, 1), key="k", checkpoints=eager(tmp_path))
    kept = blocks_in(eager(tmp_path))
    assert [place.name for place in kept] == ["0-14.npz", "1-12.npz", "2-8.npz", "3-0.npz"]
    (tmp_path / "left").rename(kept[0].with_name("4-0.npz.partial"))
    watched = Troubled(Record(), calls)
    found = reduce_stretches(watched, cut(20, 1), key="k", checkpoints=eager(tmp_path))
    assert watched.ran() == list(range(15, 20))
    assert read(found["a"]) == read(reduce_stretches(Record(), cut(20, 1), key="k")["a"])


def test_a_block_that_is_gone_names_the_folder(tmp_path):
    fold_checkpoints = FoldCheckpoints(Checkpoints(tmp_path / "s"), "record", "k")
    fold_checkpoints.save_block(Block(1, 2), spelled("x"))
    assert read(fold_checkpoints.load_block(Block(1, 2))) == "x"
    with pytest.raises(
        RunError, match=r"s: a checkpoint of record is missing.*all workers.*same command"
    ):
        fold_checkpoints.load_block(Block(1, 4))


def test_blocks_of_changed_data_are_not_used_again(tmp_path):
    store = Checkpoints(tmp_path / "s")

    def of(*data):
        return FoldCheckpoints(store, "record", f"key {data}", "key", data)

    before = of("a", "a", "b", "b", "c")
    for block in (Block(1, 0), Block(1, 2), Block(0, 4)):
        before.save_block(block, {"x": np.array(block.first)})

    def found(*data):
        return [block for block, _ in of(*data).complete_blocks()]

    assert found("a", "a", "b", "b", "c") == [Block(1, 0), Block(1, 2), Block(0, 4)]
    assert found("a", "a", "B", "b", "c") == [Block(1, 0), Block(0, 4)]
    assert found("A", "A", "b", "b", "C") == [Block(1, 2)]
    of("a", "a", "B", "b", "c").save({"x": np.array(0)})  # which removes all blocks
    assert found("a", "a", "b", "b", "c") == []
