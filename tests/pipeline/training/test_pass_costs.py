"""Numbers of tasks of a reduction and of its longest chain, compared with those of a real tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tree import Block, Tree
from gfrnn.pipeline.training.pass_costs import (
    NO_READS,
    RidgeSolve,
    call_cost,
    merges_by_level,
    reduction_cost,
    solve_cost,
)
from gfrnn.pipeline.training.passes import ReductionPass
from gfrnn_testing.reduction_toys import Record, cut, read, row_summary


@dataclass(frozen=True)
class Sized(Record):
    """A summary whose result has 16 bytes a time."""

    merge_size: int = 100

    def result_bytes(self, times: int) -> int:
        return 16 * times

    def leaf_rows(self, times: int) -> float:
        return float(times)


def height_of_the_tree(leaves: int) -> int:
    """Return the number of merges on the longest path of a real tree."""

    def merge(block: Block | None, left: int, right: int) -> int:
        return max(left, right) + 1

    tree = Tree(merge)
    for place in range(leaves):
        tree.push(Block(0, place), 0)
    return int(tree.root())


@given(st.integers(1, 200))
def test_the_levels_of_a_stage_are_those_of_the_tree(leaves):
    levels = merges_by_level(leaves)
    assert len(levels) == height_of_the_tree(leaves)
    assert sum(levels) == leaves - 1
    assert levels == sorted(levels, reverse=True)


def test_merges_of_all_folds_are_counted_by_level():
    stage = reduction_cost(Sized(), cut(8 * 5, 5, ("a", 10), ("b", 40)), NO_READS)
    assert list(stage.levels) == [4, 1, 1]
    assert (stage.plan.leaves, stage.plan.merges) == (8, 6)
    assert (stage.kept_bytes, stage.driver_bytes) == (16 * 40, 16 * 40)


def test_leaves_have_their_own_sizes_and_the_longest_is_timed():
    stage = reduction_cost(Sized(), cut(13, 5), NO_READS)
    assert list(stage.sizes) == [5, 5, 3]
    assert stage.sample == cut(13, 5)[0]


def test_joined_folds_are_one_tree():
    stretches = cut(8 * 5, 5, ("a", 20), ("b", 40))
    stage = ReductionPass(Sized(), stretches, lambda: "", NO_READS, len, joined=True).cost()
    assert list(stage.levels) == [4, 2, 1]
    assert stage.plan.merges == 7
    assert stage.driver_bytes == 2 * stage.kept_bytes == 2 * 16 * 40


def test_the_driver_of_joined_folds_receives_the_root_of_one_tree(tmp_path):
    stretches = cut(5, 1, ("a", 3), ("b", 5))
    checkpoints = Checkpoints(tmp_path / "summaries")
    joined = ReductionPass(Record(), stretches, lambda: "", NO_READS, read, joined=True)
    assert joined.run(checkpoints, None) == "(((0-1,1-2),(2-3,3-4)),4-5)"
    assert len(checkpoints.keys(Record.name)) == 1


def test_calls_are_leaves_of_size_one():
    stage = call_cost("pool", 3, 7, "nothing")
    assert (list(stage.sizes), list(stage.levels), stage.plan.leaf_bytes) == ([1.0] * 3, [], 7)


def test_a_solve_has_the_cubes_of_all_features_that_are_tried(tmp_path):
    rows = row_summary(tmp_path, 100, width=30)
    linear = rows.features - 30
    fit = FitConfig(widths=[10, 30], balance=[0.5, 1.0])
    solve = RidgeSolve(rows, fit, targets=3, folds=2)
    cubes = linear**3 + 2 * (linear + 10) ** 3 + 2 * (linear + 30) ** 3
    assert solve.linear_features == linear
    assert solve.size() == cubes
    assert solve.size(left_out=4) == 4 * cubes


def test_every_candidate_is_solved_and_the_widest_is_timed(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    rows = [row_summary(tmp_path / name, 100, width=wide) for name, wide in (("a", 40), ("b", 20))]
    stage = solve_cost(rows, FitConfig(), [3, 3], folds=2)
    assert stage.subject.rows is rows[0]
    assert stage.plan.leaves == len(stage.sizes) == 2
    assert stage.sizes[0] > stage.sizes[1]
    assert np.isfinite(stage.sizes).all()
    with pytest.raises(ValueError, match="shorter"):
        solve_cost(rows, FitConfig(), [3], folds=2)
