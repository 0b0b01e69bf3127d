"""The tree of a fold, which merges like the carries of a binary counter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.reduction.tree import Block, Tree

cases = settings(max_examples=60)

blocks = st.builds(
    lambda level, place: Block(level, place << level), st.integers(0, 4), st.integers(0, 9)
)


def leaves(block: Block) -> set[int]:
    return set(range(block.first, block.first + block.size))


def joined(_: Block | None, left: str, right: str) -> str:
    return f"({left},{right})"


def grown(pieces: list[Block]) -> str:
    """Return the root of a tree to which each piece was pushed as the root of its own leaves."""
    tree = Tree(joined)
    for piece in pieces:
        own = Tree(joined)
        for leaf in sorted(leaves(piece)):
            own.push(Block(0, leaf), str(leaf))
        tree.push(piece, own.root())
    root = tree.root()
    assert tree.waiting == []
    return str(root)


def test_seven_leaves_by_hand():
    assert grown([Block(0, leaf) for leaf in range(7)]) == "(((0,1),(2,3)),((4,5),6))"


def test_few_nodes_wait_at_a_time():
    """At most one node waits for each bit of the number of leaves."""
    tree = Tree(lambda _, left, right: left + right)
    waiting = []
    for leaf in range(1000):
        tree.push(Block(0, leaf), 1)
        waiting.append(len(tree.waiting))
    assert max(waiting) == 9  # 511 = 0b111111111
    assert tree.root() == 1000


@cases
@given(st.integers(1, 70), st.randoms(use_true_random=False))
def test_blocks_in_place_of_their_leaves_give_the_same_tree(count, random):
    pieces, first = [], 0
    while first < count:
        fitting = [
            level for level in range(7) if first % 2**level == 0 and first + 2**level <= count
        ]
        pieces.append(Block(random.choice(fitting), first))
        first += pieces[-1].size
    assert grown(pieces) == grown([Block(0, leaf) for leaf in range(count)])


@cases
@given(st.integers(1, 70))
def test_merges_get_the_block_that_they_cover(count):
    def union(block: Block | None, left: set[int], right: set[int]) -> set[int]:
        assert max(left) + 1 == min(right)
        assert block is None or left | right == leaves(block)
        assert (block is None) == over
        return left | right

    over = False
    tree = Tree(union)
    for leaf in range(count):
        tree.push(Block(0, leaf), {leaf})
    over = True
    assert tree.root() == set(range(count))


@cases
@given(blocks, blocks)
def test_a_block_contains_what_lies_under_it(one, other):
    assert one.contains(other) == (leaves(other) < leaves(one))


@cases
@given(st.integers(1, 200))
def test_waiting_nodes_are_left_halves(count):
    tree = Tree(joined)
    for leaf in range(count):
        tree.push(Block(0, leaf), "")
    waiting = [block for block, _ in tree.waiting]
    assert all(block.is_left_half for block in waiting)
    assert [leaf for block in waiting for leaf in sorted(leaves(block))] == list(range(count))
    assert not any(Block(block.level, block.first + block.size).is_left_half for block in waiting)


def test_a_node_that_waits_can_be_swapped():
    tree = Tree(joined)
    for leaf in range(3):
        tree.push(Block(0, leaf), str(leaf))
    assert tree.swap(Block(1, 0), lambda: "read")
    assert not tree.swap(Block(0, 1), lambda: 1 / 0)  # it has merged
    assert not tree.swap(Block(2, 0), lambda: 1 / 0)  # it is not there yet
    assert tree.root() == "(read,2)"
