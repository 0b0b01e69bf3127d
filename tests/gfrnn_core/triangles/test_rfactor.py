"""Compare R factors with triangles computed by hand, and R'R with A'A in all other cases."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, merge_all

cases = settings(max_examples=60)
ROUNDING = 1e-13


def matrix_of(kind, rows, columns, seed):
    """Return matrices that occur in training: dependent, empty, badly scaled and plain columns."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, columns))
    if kind == "leading zeros":
        matrix[:, : columns // 2] = 0.0
    elif kind == "repeated":
        matrix[:, 1::2] = matrix[:, : 2 * (columns // 2) : 2]
    elif kind == "low rank":
        matrix[:, : columns - 1] = np.outer(matrix[:, 0], rng.standard_normal(columns - 1))
    elif kind == "scaled":
        matrix *= 10.0 ** rng.integers(-12, 12, columns)
    elif kind == "smooth":
        matrix = np.tanh(matrix[:, :1] * rng.uniform(0.0, 0.5, columns) + rng.uniform(-1, 1))
    return matrix


KINDS = ["plain", "leading zeros", "repeated", "low rank", "scaled", "smooth"]
matrices = st.builds(
    matrix_of,
    st.sampled_from(KINDS),
    st.integers(0, 40),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)


def pieces_of(matrix, cuts):
    """Return the rows between the cuts, each a Fortran-ordered copy."""
    edges = [0, *sorted(min(cut, len(matrix)) for cut in cuts), len(matrix)]
    return [np.array(matrix[start:stop], order="F") for start, stop in pairwise(edges)]


def gram_error(factor, matrix):
    """Return the largest entry of R'R - A'A, relative to the lengths of the columns of A."""
    lengths = np.linalg.norm(matrix, axis=0)
    unit = np.where(lengths > 0, lengths, 1.0)
    difference = factor.triangle.T @ factor.triangle - matrix.T @ matrix
    return np.abs(difference / np.outer(unit, unit)).max()


def assert_is_r_of(factor, matrix, tolerance=ROUNDING):
    triangle = factor.triangle
    assert factor.rows == len(matrix)
    assert factor.columns == matrix.shape[1]
    assert triangle.shape == (min(matrix.shape), matrix.shape[1])
    assert triangle.dtype == np.float64
    assert (np.tril(triangle, -1) == 0).all()
    assert (np.diag(triangle) >= 0).all()
    assert gram_error(factor, matrix) < tolerance


# --- known triangles ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "triangle"),
    [
        ([[3.0], [4.0]], [[5.0]]),
        ([[-2.0]], [[2.0]]),
        ([[-2.0, 0.0], [0.0, 3.0]], [[2.0, 0.0], [0.0, 3.0]]),
        ([[0.0, 2.0], [1.0, 5.0]], [[1.0, 5.0], [0.0, 2.0]]),
        ([[1.0, 1.0], [1.0, 1.0]], [[2**0.5, 2**0.5], [0.0, 0.0]]),
        ([[1.0, 1.0, 2.0], [1.0, 1.0, 0.0]], [[2**0.5, 2**0.5, 2**0.5], [0.0, 0.0, 2**0.5]]),
        ([[-3.0, 4.0, 5.0]], [[3.0, -4.0, -5.0]]),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
    ],
)
def test_triangles_written_down_by_hand(matrix, triangle):
    matrix = np.array(matrix)
    factor = RFactor.from_rows(matrix)
    assert_is_r_of(factor, matrix)
    if len(triangle) == 2 and triangle[1][1] == 0 and triangle[1][-1] != 0:
        return  # dependent columns before the last one: R is not unique there, R'R is
    np.testing.assert_allclose(factor.triangle, triangle, atol=1e-15)


def test_fewer_rows_than_columns_with_a_leading_column_of_zeros():
    factor = RFactor.from_rows(np.array([[0.0, 2.0, 1.0]]))
    np.testing.assert_allclose(np.abs(factor.triangle), [[0.0, 2.0, 1.0]], atol=1e-15)
    assert factor.rows == 1


def test_orthogonal_columns_give_the_identity():
    rng = np.random.default_rng(1)
    orthogonal = np.linalg.qr(rng.standard_normal((50, 7)))[0]
    factor = RFactor.from_rows(orthogonal)
    np.testing.assert_allclose(factor.triangle, np.eye(7), atol=1e-14)


@pytest.mark.parametrize("columns", [1, 2, 47, 48, 49, 130])
def test_a_known_r_is_found_again(columns):
    """Widths are on both sides of the number of columns of one blocked reflector."""
    rng = np.random.default_rng(columns)
    orthogonal = np.linalg.qr(rng.standard_normal((3 * columns, columns)))[0]
    known = np.triu(rng.uniform(-0.1, 0.1, (columns, columns)), 1) + np.diag(
        rng.uniform(1, 2, columns)
    )
    factor = RFactor.from_rows(orthogonal @ known)
    np.testing.assert_allclose(factor.triangle, known, atol=1e-12)
    halves = [RFactor.from_rows(part) for part in np.array_split(orthogonal @ known, 2)]
    np.testing.assert_allclose(halves[0].merge(halves[1]).triangle, known, atol=1e-12)


def test_no_rows_are_the_empty_factor():
    for factor in (
        RFactor.empty(3),
        RFactor.from_blocks([], 3),
        RFactor.from_blocks([np.zeros((0, 3))], 3),
        RFactor.from_rows(np.zeros((0, 3))),
        RFactor.empty(3).merge(RFactor.empty(3)),
        RFactor.empty(5).select([0, 2, 4]),
    ):
        assert (factor.rows, factor.columns, factor.nbytes) == (0, 3, 0)
        assert factor.triangle.shape == (0, 3)


def test_size_counts_the_triangle_only():
    factor = RFactor.from_rows(np.ones((1000, 6)))
    assert (factor.rows, factor.columns, factor.nbytes) == (1000, 6, 6 * 6 * 8)


# --- R'R = A'A, whatever the rows and however they come -----------------------------------------


@given(matrices)
@cases
def test_r_holds_every_product_of_columns(matrix):
    assert_is_r_of(RFactor.from_rows(matrix), matrix)


@given(matrices, st.lists(st.integers(0, 40), max_size=6))
@cases
def test_folding_in_blocks_of_any_size_gives_the_r_of_all_rows(matrix, cuts):
    assert_is_r_of(RFactor.from_blocks(pieces_of(matrix, cuts), matrix.shape[1]), matrix)


@pytest.mark.parametrize("columns", [96, 97, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_panels_of_many_columns_fold_like_few(kind, columns):
    matrix = matrix_of(kind, 800, columns, seed=columns)
    blocks = pieces_of(matrix, [320, 321, 640])
    assert_is_r_of(RFactor.from_blocks(blocks, columns), matrix)


@pytest.mark.parametrize("rows", [(400, 400), (400, 270), (100, 400), (100, 150)])
@pytest.mark.parametrize("kind", KINDS)
def test_triangles_of_many_columns_merge_like_few(kind, rows):
    matrix = matrix_of(kind, sum(rows), 300, seed=7)
    left, right = (RFactor.from_rows(part) for part in np.split(matrix, [rows[0]]))
    before = left.triangle.copy(), right.triangle.copy()
    assert_is_r_of(left.merge(right), matrix)
    for factor, kept in zip((left, right), before, strict=True):
        np.testing.assert_array_equal(factor.triangle, kept)


@given(matrices, st.lists(st.integers(0, 40), max_size=6), st.randoms(use_true_random=False))
@cases
def test_merging_in_any_grouping_and_order_gives_the_r_of_all_rows(matrix, cuts, random):
    factors = [RFactor.from_rows(piece) for piece in pieces_of(matrix, cuts)]
    while len(factors) > 1:
        one = factors.pop(random.randrange(len(factors)))
        other = factors.pop(random.randrange(len(factors)))
        factors.append(one.merge(other))
    assert_is_r_of(factors[0], matrix)


@given(
    st.integers(1, 12), st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 2**32)
)
@cases
def test_the_triangle_itself_does_not_depend_on_the_grouping(columns, cuts, seed):
    """With independent columns, R is unique: it equals that of LAPACK's QR of all rows."""
    rng = np.random.default_rng(seed)
    matrix = np.vstack([np.eye(columns), 0.3 * rng.standard_normal((40, columns))])
    reference = np.linalg.qr(matrix, mode="r")
    reference *= np.sign(np.diag(reference))[:, None]
    folded = RFactor.from_blocks(pieces_of(matrix, cuts), columns)
    factors = [RFactor.from_rows(piece) for piece in pieces_of(matrix, cuts)]
    right_to_left = factors[-1]
    for factor in reversed(factors[:-1]):
        right_to_left = factor.merge(right_to_left)
    for factor in (folded, merge_all(factors), right_to_left):
        np.testing.assert_allclose(factor.triangle, reference, atol=1e-13)


def test_short_stretches_of_nearly_dependent_features_lose_nothing():
    """There are fewer rows than columns, and leading columns that are dependent to rounding."""
    rng = np.random.default_rng(2)
    states = rng.standard_normal((400, 2))
    features = np.tanh(0.1 * states @ rng.standard_normal((2, 60)) + rng.uniform(-1, 1, 60))
    matrix = np.hstack([features, rng.standard_normal((400, 2))])
    stretches = [RFactor.from_rows(part) for part in np.array_split(matrix, 10)]
    assert stretches[0].rows < stretches[0].columns
    for part, stretch in zip(np.array_split(matrix, 10), stretches, strict=True):
        assert_is_r_of(stretch, part)
    assert_is_r_of(merge_all(stretches), matrix)


@given(matrices)
@cases
def test_the_empty_factor_is_neutral(matrix):
    factor = RFactor.from_rows(matrix)
    empty = RFactor.empty(matrix.shape[1])
    for merged in (factor.merge(empty), empty.merge(factor)):
        assert_is_r_of(merged, matrix)


def test_merging_leaves_both_factors_as_they_are():
    rng = np.random.default_rng(3)
    one, other = (RFactor.from_rows(rng.standard_normal((9, 4))) for _ in range(2))
    before = one.triangle.copy(), other.triangle.copy()
    one.merge(other)
    one.select([3, 0])
    one.scale(2.0)
    np.testing.assert_array_equal(one.triangle, before[0])
    np.testing.assert_array_equal(other.triangle, before[1])


def test_merge_all_goes_through_every_factor():
    matrix = np.random.default_rng(4).standard_normal((30, 5))
    assert_is_r_of(merge_all(RFactor.from_rows(part) for part in np.split(matrix, 6)), matrix)
    single = RFactor.from_rows(matrix)
    assert merge_all([single]) is single
    with pytest.raises(ValueError, match="no R factors"):
        merge_all([])


# --- columns and weights of rows ----------------------------------------------------------------


@given(matrices, st.data())
@cases
def test_select_is_the_r_of_the_selected_columns(matrix, data):
    chosen = data.draw(
        st.lists(st.integers(0, matrix.shape[1] - 1), min_size=1, max_size=25), label="columns"
    )
    assert_is_r_of(RFactor.from_rows(matrix).select(chosen), matrix[:, chosen])


def test_select_by_slice_and_in_another_order():
    matrix = np.random.default_rng(5).standard_normal((60, 9))
    factor = RFactor.from_rows(matrix)
    for chosen in (slice(2, 7), slice(None, None, -1), [8, 1, 4], slice(0, 4)):
        expected = RFactor.from_rows(matrix[:, chosen])
        selected = factor.select(chosen)
        np.testing.assert_allclose(selected.triangle, expected.triangle, atol=1e-13)
        assert selected.rows == 60
    np.testing.assert_array_equal(factor.select(slice(0, 4)).triangle, factor.triangle[:4, :4])


@given(matrices, st.floats(1e-3, 1e3))
@cases
def test_scale_is_the_r_of_scaled_rows(matrix, factor):
    assert_is_r_of(RFactor.from_rows(matrix).scale(factor), factor * matrix)


def test_forgetting_makes_old_rows_count_less():
    rng = np.random.default_rng(6)
    old, new = rng.standard_normal((2, 20, 4))
    gamma = 0.3
    updated = RFactor.from_rows(old).scale(gamma**0.5).merge(RFactor.from_rows(new))
    expected = gamma * old.T @ old + new.T @ new
    np.testing.assert_allclose(updated.triangle.T @ updated.triangle, expected, atol=1e-12)


# --- precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0, 4, 8, 12, 16])
def test_small_residuals_survive_any_condition_number(exponent):
    """A residual of 1e-10 of the targets is right to 1e-4, which A'A cannot represent."""
    rng = np.random.default_rng(exponent)
    rows, columns = 300, 20
    left = np.linalg.qr(rng.standard_normal((rows, columns)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    features = left * np.logspace(0, -exponent, columns) @ right
    weights = rng.standard_normal((columns, 2))
    targets = features @ weights + 1e-10 * rng.standard_normal((rows, 2)) / rows**0.5
    rows_of_all = np.hstack([features, targets])
    factor = merge_all(RFactor.from_rows(part) for part in np.array_split(rows_of_all, 7))
    found = np.linalg.norm(factor.triangle @ np.vstack([weights, -np.eye(2)]), axis=0)
    truth = np.linalg.norm(features @ weights - targets, axis=0)
    np.testing.assert_allclose(found, truth, rtol=1e-4)


def test_singular_values_are_those_of_all_rows_down_to_rounding():
    rng = np.random.default_rng(7)
    left = np.linalg.qr(rng.standard_normal((500, 17)))[0]
    right = np.linalg.qr(rng.standard_normal((17, 17)))[0]
    known = np.logspace(0, -16, 17)
    matrix = left * known @ right
    factor = RFactor.from_blocks(pieces_of(matrix, range(0, 500, 23)), 17)
    found = np.linalg.svd(factor.triangle, compute_uv=False)
    np.testing.assert_allclose(found, known, atol=2e-15)


def test_float32_blocks_fold_in_float32_into_a_float64_triangle():
    matrix = np.random.default_rng(8).standard_normal((500, 12))
    blocks = [np.array(part, np.float32, order="F") for part in np.array_split(matrix, 5)]
    factor = RFactor.from_blocks(blocks, 12)
    assert_is_r_of(factor, matrix, tolerance=1e-5)
    assert gram_error(factor, matrix) > 1e-10


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fortran_ordered_blocks_are_used_up_where_they_lie(dtype):
    block = np.array(np.random.default_rng(9).standard_normal((30, 4)), dtype, order="F")
    before = block.copy()
    RFactor.from_blocks([block], 4)
    assert (block != before).any()


def test_one_buffer_may_be_used_for_many_blocks():
    matrix = np.random.default_rng(10).standard_normal((55, 6))
    buffer = np.empty((10, 6), order="F")

    def blocks():
        for start in range(0, 55, 10):
            rows = len(matrix[start : start + 10])
            view = buffer.T.reshape(-1)[: rows * 6].reshape((rows, 6), order="F")
            view[:] = matrix[start : start + 10]
            yield view

    assert_is_r_of(RFactor.from_blocks(blocks(), 6), matrix)


def test_short_blocks_in_one_buffer_are_kept_before_the_next_one_comes():
    matrix = np.random.default_rng(11).standard_normal((7, 9))
    buffer = np.empty((2, 9), order="F")

    def blocks():
        for start in range(0, 7, 2):
            rows = len(matrix[start : start + 2])
            buffer[:rows] = matrix[start : start + 2]
            yield buffer[:rows]

    assert_is_r_of(RFactor.from_blocks(blocks(), 9), matrix)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_from_rows_leaves_its_matrix_alone(order, dtype):
    matrix = np.array(np.arange(24).reshape(8, 3) % 7, dtype=dtype, order=order)
    before = matrix.copy()
    factor = RFactor.from_rows(matrix)
    np.testing.assert_array_equal(matrix, before)
    assert_is_r_of(factor, before.astype(float))


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("poison", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(poison, dtype):
    blocks = [np.ones((4, 3), dtype, order="F") for _ in range(3)]
    blocks[1][2, 1 : 1 + len(poison)] = poison
    with pytest.raises(ValueError, match=f"row 6, column 1 is {poison[0]}"):
        RFactor.from_blocks(blocks, 3)


@pytest.mark.filterwarnings("error")
def test_large_values_whose_sum_overflows_are_finite_rows():
    factor = RFactor.from_rows(np.full((2, 1), 1.2e308))
    np.testing.assert_allclose(factor.triangle, [[1.2e308 * 2**0.5]], rtol=1e-14)


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (4,), (2, 3, 1)])
def test_blocks_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(rows, 3\)"):
        RFactor.from_blocks([np.ones((5, 3)), np.ones(shape)], 3)


@pytest.mark.parametrize("other", [2, 4])
def test_factors_of_other_columns_do_not_merge(other):
    with pytest.raises(ValueError, match=f"3 and {other} columns do not merge"):
        RFactor.from_rows(np.ones((5, 3))).merge(RFactor.empty(other))


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan])
def test_scales_that_are_not_positive_are_refused(factor):
    with pytest.raises(ValueError, match="not positive"):
        RFactor.from_rows(np.ones((5, 3))).scale(factor)


@given(matrices, st.integers(0, 2**32 - 1))
@cases
def test_scaled_columns_give_the_r_of_scaled_columns(matrix, seed):
    factors = np.random.default_rng(seed).uniform(1e-3, 1e3, matrix.shape[1])
    found = RFactor.from_rows(matrix).scale_columns(factors)
    assert_is_r_of(found, matrix * factors)


@pytest.mark.parametrize(
    ("factors", "message"),
    [([1.0, 0.0, 1.0], "positive"), ([1.0, np.nan, 1.0], "positive"), ([1.0, 2.0], r"give \(3,\)")],
)
def test_factors_that_do_not_fit_the_columns_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        RFactor.from_rows(np.ones((5, 3))).scale_columns(np.array(factors))


@pytest.mark.parametrize("lengths", [(3, 2, 4, 1), (3, 0, 30, 2), (20, 20, 1), (0, 0, 5), (1, 1)])
def test_merging_many_factors_is_the_same_as_one_by_one(lengths):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((length, 6)) for length in lengths]
    factors = [RFactor.from_rows(each) if len(each) else RFactor.empty(6) for each in rows]
    merged = merge_all(factors)
    expected = RFactor.from_rows(np.vstack(rows))
    assert merged.rows == sum(lengths)
    np.testing.assert_allclose(merged.triangle, expected.triangle, atol=1e-12)


def test_without_leading_columns_the_others_are_residuals_of_a_regression_on_them():
    matrix = matrix_of("plain", 30, 7, 3)
    leading, others = matrix[:, :3], matrix[:, 3:]
    rest = others - leading @ np.linalg.lstsq(leading, others, rcond=None)[0]
    found = RFactor.from_rows(matrix).without_leading(3)
    np.testing.assert_allclose(found.triangle.T @ found.triangle, rest.T @ rest, atol=1e-11)
    assert found.rows == 27
    assert RFactor.from_rows(matrix[:2]).without_leading(3).rows == 0


def test_no_columns_can_be_selected():
    found = RFactor.from_rows(matrix_of("plain", 5, 3, 0)).select([])
    assert (found.rows, found.columns) == (5, 0)


def test_rows_may_be_lists_of_lists():
    np.testing.assert_allclose(RFactor.from_rows([[3.0], [4.0]]).triangle, [[5.0]])
    with pytest.raises(ValueError, match=r"matrix: shape \(2,\) is not \(rows, columns\)"):
        RFactor.from_rows([3.0, 4.0])


def test_columns_may_be_selected_by_a_mask():
    factor = RFactor.from_rows(matrix_of("plain", 5, 3, 0))
    chosen = factor.select(np.array([True, False, True]))
    np.testing.assert_array_equal(chosen.triangle, factor.select([0, 2]).triangle)
