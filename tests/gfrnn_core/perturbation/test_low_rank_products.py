"""Test products that are added in place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn_core.perturbation.low_rank_products import LowRankProduct, add, dense

FEW = st.integers(1, 6)


@given(rows=FEW, n=FEW, m=FEW, dtype=st.sampled_from([np.float32, np.float64]))
def test_adding_a_product_is_adding_its_matrix(rows, n, m, dtype):
    rng = np.random.default_rng(rows + 7 * n + 49 * m)
    left, right, matrix = (
        rng.standard_normal(size).astype(dtype) for size in ((rows, n), (rows, m), (n, m))
    )
    product = LowRankProduct(left, right)
    expected = matrix - 0.3 * (left.T @ right)
    by_matrix = matrix.copy()
    add(by_matrix, -0.3, product.dense())
    add(matrix, -0.3, product)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(matrix, expected, atol=tolerance)
    np.testing.assert_allclose(by_matrix, expected, atol=tolerance)


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_and_matrix_in_any_order_of_memory(rows):
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((4, rows)).T, rng.standard_normal((2 * rows, 5))[::2]
    whole = np.zeros((5, 4))
    for matrix in (whole.T, np.zeros((8, 5))[::2], np.zeros((4, 5))):
        add(matrix, 2.0, LowRankProduct(left, right))
        np.testing.assert_allclose(matrix, 2 * left.T @ right)
    assert whole.any()


def test_dense_is_the_matrix_itself():
    matrix = np.arange(6.0).reshape(2, 3)
    assert dense(matrix) is matrix
    np.testing.assert_array_equal(dense(LowRankProduct(matrix, matrix)), matrix.T @ matrix)
