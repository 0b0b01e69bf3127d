"""Rows gathered under a triangle give the R of all rows, whatever comes after the first ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor
from gfrnn_core.triangles import folding
from gfrnn_core.triangles.folding import Folding

ROWS, COLUMNS, TARGETS, BLOCK = 3000, 100, 5, 150


def plain(rng):
    return rng.standard_normal((ROWS, COLUMNS))


def conditioned(rng, rows, columns):
    left = np.linalg.qr(rng.standard_normal((rows, columns)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    return left * np.logspace(0, -17, columns) @ right.T


def hostile(kind, seed=0):
    """Return rows whose second half is unlike the first, or whose columns are hard to separate."""
    rng = np.random.default_rng(seed)
    matrix, half = plain(rng), ROWS // 2
    match kind:
        case "rows jump":
            matrix[half:] *= 1e12
        case "rows fall":
            matrix[half:] *= 1e-12
        case "a column wakes":
            matrix[:half, 50] *= 1e-10
        case "zero columns":
            matrix[:, [0, 50, 90]] = 0.0
        case "zero columns wake":
            matrix[:half, [0, 50, 90]] = 0.0
        case "dependent columns":
            matrix[:, 60] = matrix[:, 3]
            matrix[:, 61] = matrix[:, 3] + matrix[:, 4]
        case "dependent, then independent":
            matrix[:half, 60] = matrix[:half, 3]
            matrix[:half, 61] = matrix[:half, 3] + matrix[:half, 4]
        case "independent, then dependent":
            matrix[:half, 21:] = matrix[:half, [20]] + 0.3 * matrix[:half, 21:]
            matrix[:half, 20] *= 1e-4
        case "graded columns":
            matrix *= 10.0 ** rng.permutation(np.linspace(-150, 150, COLUMNS))
        case "huge columns" | "tiny columns":  # whose squares overflow or vanish
            matrix = hostile("independent, then dependent", seed)
            matrix[:, 21:] *= 1e200 if kind == "huge columns" else 1e-200
        case "sparse":
            matrix[:, :-TARGETS] = np.maximum(matrix[:, :-TARGETS] - 2.6, 0)
        case "condition 1e17":
            matrix = conditioned(rng, ROWS, COLUMNS)
        case "condition 1e17, then other directions":
            matrix = np.vstack([conditioned(rng, half, COLUMNS) for _ in range(2)])
        case "equal columns":
            matrix[:, :60] = matrix[:, [0]]
        case "tanh":
            states = rng.standard_normal((ROWS, 1))
            matrix = np.tanh(0.1 * states @ rng.standard_normal((1, COLUMNS)) + 0.1)
    return matrix


KINDS = [
    "plain", "rows jump", "rows fall", "a column wakes", "zero columns", "zero columns wake",
    "dependent columns", "dependent, then independent", "independent, then dependent",
    "graded columns", "huge columns", "tiny columns", "sparse", "equal columns", "tanh",
    "condition 1e17", "condition 1e17, then other directions",
]  # fmt: skip


@pytest.fixture
def added(monkeypatch):
    """Record for each attempt to gather a block whether it succeeded."""
    attempts = []
    add = folding.GramUnderTriangle.add

    def recorded(self, block, scratch):
        attempts.append(add(self, block, scratch))
        return attempts[-1]

    monkeypatch.setattr(folding.GramUnderTriangle, "add", recorded)
    return attempts


def folded(matrix, block=BLOCK, kind=np.float64):
    starts = range(0, len(matrix), block)
    blocks = [np.array(matrix[first : first + block], kind, order="F") for first in starts]
    return RFactor.from_blocks(blocks, matrix.shape[1], expected=len(matrix))


def unit_columns(matrix, *others):
    """Divide the columns of matrices by the lengths of those of the first."""
    largest = np.abs(matrix).max(axis=0)
    largest[largest == 0] = 1.0
    lengths = np.linalg.norm(matrix / largest, axis=0)
    lengths[lengths == 0] = 1.0
    return [each / largest / lengths for each in (matrix, *others)]


def assert_is_r_of(triangle, matrix, tolerance=3e-14):
    matrix, triangle, reference = unit_columns(matrix, triangle, np.linalg.qr(matrix, mode="r"))
    error = np.abs(triangle.T @ triangle - matrix.T @ matrix).max()
    lapack = np.abs(reference.T @ reference - matrix.T @ matrix).max()
    assert error <= max(tolerance, 3 * lapack)
    values, known = (np.linalg.svd(each, compute_uv=False) for each in (triangle, reference))
    assert np.abs(values - known).max() <= 3 * tolerance * known[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_rows_loses_accuracy(kind, added):
    matrix = hostile(kind)
    factor = folded(matrix)
    assert_is_r_of(factor.triangle, matrix)
    assert (np.diag(factor.triangle) >= 0).all()
    assert added  # it was at least tried


@pytest.mark.parametrize(
    "kind",
    ["plain", "zero columns", "dependent columns", "equal columns", "condition 1e17"],
)
def test_rows_alike_are_gathered(kind, added):
    folded(hostile(kind))
    assert len(added) == (ROWS - folding._FIRST * COLUMNS) // BLOCK
    assert all(added)


@pytest.mark.parametrize("growth", 10.0 ** np.arange(1, 8))
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_where_one_direction_grows_all_keep_half_of_the_digits(growth, kind):
    rng = np.random.default_rng(6)
    matrix = plain(rng)
    later = rng.standard_normal((ROWS - ROWS // 10, 1))
    matrix[ROWS // 10 :] += growth * later * rng.choice([-1, 1], COLUMNS) / np.sqrt(COLUMNS)
    matrix = matrix.astype(kind).astype(float)
    found, known = (
        np.linalg.svd(each, compute_uv=False)
        for each in (folded(matrix, kind=kind).triangle, np.linalg.qr(matrix, mode="r"))
    )
    rounding = np.finfo(kind).eps
    reflected = 3 * rounding * known[0] / known[-1]  # what reflections alone may lose
    np.testing.assert_allclose(found, known, rtol=max(np.sqrt(rounding), reflected))


def test_columns_without_a_value_stay_exactly_zero():
    triangle = folded(hostile("zero columns")).triangle
    assert not triangle[:, [0, 50, 90]].any()


def test_gathering_that_fails_is_seldom_tried_again(added):
    matrix = plain(np.random.default_rng(1)) * np.repeat(1e9 ** np.arange(20), BLOCK)[:, None]
    assert_is_r_of(folded(matrix).triangle, matrix)
    assert not any(added)
    assert len(added) <= np.log2(ROWS / (folding._FIRST * COLUMNS)) + 1


def test_a_triangle_merges_with_gathered_rows():
    matrix = plain(np.random.default_rng(7))
    rows = Folding(expected=len(matrix))
    rows.fold(np.array(matrix[:-COLUMNS], order="F"))
    rows.merge(np.linalg.qr(matrix[-COLUMNS:], mode="r"))
    assert_is_r_of(np.triu(rows.finish()), matrix)


def test_few_rows_are_not_gathered(added):
    matrix = plain(np.random.default_rng(2))[: 7 * COLUMNS]
    assert_is_r_of(folded(matrix).triangle, matrix)
    assert not added


def test_a_long_stream_of_unknown_length_is_gathered(added):
    matrix = plain(np.random.default_rng(3))
    blocks = (np.array(part, order="F") for part in np.split(matrix, ROWS // BLOCK))
    assert_is_r_of(RFactor.from_blocks(blocks, COLUMNS).triangle, matrix)
    assert added
    assert all(added)


def test_the_method_does_not_change_the_triangle():
    """With independent columns, R is unique."""
    matrix = plain(np.random.default_rng(4))
    reference = np.linalg.qr(matrix, mode="r")
    reference *= np.sign(np.diag(reference))[:, None]
    np.testing.assert_allclose(folded(matrix).triangle, reference, atol=1e-12)


@settings(max_examples=15)
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, ROWS), max_size=3),
    st.integers(20, 400),
    st.integers(0, 2**32 - 1),
)
def test_any_cut_and_any_merge_give_the_r_of_all_rows(kind, cuts, block, seed):
    matrix = hostile(kind, seed)
    parts = np.split(matrix, sorted(cuts))
    factor = RFactor.empty(COLUMNS)
    for part in parts:
        factor = factor.merge(folded(part, block))
    assert factor.rows == ROWS
    assert_is_r_of(factor.triangle, matrix)


@pytest.mark.parametrize("kind", ["plain", "zero columns", "dependent columns", "sparse", "tanh"])
def test_float32_rows_are_as_accurate_as_their_rounding(kind):
    matrix = hostile(kind).astype(np.float32).astype(float)
    factor = folded(matrix, kind=np.float32)
    assert factor.triangle.dtype == np.float64
    matrix, triangle = unit_columns(matrix, factor.triangle)
    assert np.abs(triangle.T @ triangle - matrix.T @ matrix).max() <= 1e-6


@pytest.mark.parametrize("block", [1000, 400_000])
def test_float32_errors_do_not_grow_with_the_number_of_rows(block):
    rng = np.random.default_rng(5)
    matrix = (rng.standard_normal((400_000, 6)) + [0, 0, 1, 2, 5, 10]).astype(np.float32)
    triangle = folded(matrix, block, np.float32).triangle
    exact = matrix.T.astype(float) @ matrix
    lengths = np.sqrt(np.diag(exact))
    errors = (triangle.T @ triangle - exact) / np.outer(lengths, lengths)
    assert np.abs(errors).max() <= 5e-7


@pytest.mark.parametrize(("first", "second"), [("f4", "f8"), ("f8", "f4"), ("f8", "c16")])
def test_blocks_of_mixed_precision_are_refused(first, second):
    blocks = [np.ones((4, 3), first, order="F"), np.ones((4, 3), second, order="F")]
    with pytest.raises(ValueError, match="block from row 4 on is"):
        RFactor.from_blocks(blocks, 3)


def test_blocks_of_integers_are_refused():
    with pytest.raises(ValueError, match="convert all to one of float32, float64, complex128"):
        RFactor.from_blocks([np.ones((4, 3), int)], 3)
