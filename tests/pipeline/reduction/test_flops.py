"""Operations of QR, merges and SVD, compared with known limits and with a count over a tree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.flops import merge_flops, qr_flops, svd_flops, total
from gfrnn.pipeline.reduction.tree import Block, Tree
from gfrnn.pipeline.training.pass_costs import NO_READS, reduction_cost
from gfrnn.pipeline.training.passes import ReductionPass
from gfrnn_testing.reduction_toys import Record, cut, read


def test_a_square_qr_takes_four_thirds_of_the_cube():
    assert qr_flops(30, 30) == pytest.approx(4 / 3 * 30**3)
    assert qr_flops(29.999, 30) == pytest.approx(qr_flops(30, 30), rel=1e-3)


def test_many_rows_take_two_a_row_and_pair_of_columns():
    assert qr_flops(1e6, 10) == pytest.approx(2e6 * 10**2, rel=1e-5)


def test_a_merge_of_triangles_is_five_times_cheaper_than_a_qr_of_both():
    assert qr_flops(2 * 40, 40) / merge_flops(40, 40, 40) == pytest.approx(5)


def test_a_merge_of_few_rows_is_a_qr_of_them():
    assert merge_flops(3, 4, 40) == qr_flops(7, 40)


def test_an_svd_takes_the_same_of_the_transposed():
    assert svd_flops(20, 500) == svd_flops(500, 20)


def test_work_adds_up_by_kind():
    assert total([{"a": 1, "b": 2}, {"a": 3}], 2) == {"a": 8, "b": 4}


class Counted:
    """Summary whose merges take the square of the size of a side."""

    name, remedy = "counted", "nothing"

    def leaf_bytes(self, stretch):
        return 8 * (stretch.stop - stretch.start)

    def merge_bytes(self):
        return 100

    def result_bytes(self, times):
        return 16 * times

    def leaf_work(self, times):
        return {"leaves": times}

    def merge_work(self, times):
        return {"merges": times**2}


def spent_by_the_tree(leaves: int, length: int) -> int:
    """Count the operations of a real tree, with the smaller side of each merge."""
    spent = 0

    def merge(block: Block | None, left: int, right: int) -> int:
        nonlocal spent
        spent += min(left, right) ** 2
        return left + right

    tree = Tree(merge)
    for place in range(leaves):
        tree.push(Block(0, place), length)
    tree.root()
    return spent


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 70))
def test_the_merges_of_a_stage_are_those_of_the_tree(leaves):
    stage = reduction_cost(Counted(), cut(3 * leaves, 3), NO_READS)
    assert stage.work == {"leaves": 3 * leaves} | (
        {"merges": spent_by_the_tree(leaves, 3)} if leaves > 1 else {}
    )
    assert (stage.plan.leaves, stage.plan.merges) == (leaves, leaves - 1)


def test_the_longest_row_of_tasks_is_one_leaf_and_a_merge_of_each_level():
    stage = reduction_cost(Counted(), cut(8 * 5, 5, ("a", 20), ("b", 40)), NO_READS)
    assert stage.chain == {"leaves": 5, "merges": 5**2 + 10**2}
    assert (stage.kept_bytes, stage.driver_bytes) == (16 * 40, 16 * 40)


def test_joined_folds_are_one_tree():
    stretches = cut(8 * 5, 5, ("a", 20), ("b", 40))
    stage = ReductionPass(Counted(), stretches, lambda: "", NO_READS, len, joined=True).cost()
    assert stage.chain == {"leaves": 5, "merges": 5**2 + 10**2 + 20**2}
    assert stage.work == {"leaves": 40, "merges": 4 * 5**2 + 2 * 10**2 + 20**2}
    assert stage.plan.merges == 7
    assert stage.driver_bytes == 2 * stage.kept_bytes == 2 * 16 * 40


def test_the_driver_of_joined_folds_receives_the_root_of_one_tree(tmp_path):
    stretches = cut(5, 1, ("a", 3), ("b", 5))
    checkpoints = Checkpoints(tmp_path / "summaries")
    joined = ReductionPass(Record(), stretches, lambda: "", NO_READS, read, joined=True)
    assert joined.run(checkpoints, None) == "(((0-1,1-2),(2-3,3-4)),4-5)"
    assert len(checkpoints.keys(Record.name)) == 1
