"""R factors and ridge regression of complex rows, compared with products and with real rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, RidgePath
from gfrnn_core.koopman import KoopmanOperator
from gfrnn_core.uncertainty import residual_products

cases = settings(max_examples=40)


def complex_rows(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns)) + 1j * rng.standard_normal((rows, columns))


def paired(matrix):
    """Return real rows whose least-squares problem is that of complex rows."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


@cases
@given(
    st.integers(1, 60),
    st.integers(1, 12),
    st.lists(st.integers(0, 60), max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_the_triangle_has_the_products_of_the_rows(rows, columns, cuts, seed):
    matrix = complex_rows(rows, columns, seed)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    pieces = [matrix[a:b] for a, b in pairwise(edges)]
    blocks = RFactor.from_blocks([np.array(piece, order="F") for piece in pieces], columns)
    merged = RFactor.from_rows(pieces[0])
    for piece in pieces[1:]:
        merged = merged.merge(RFactor.from_rows(piece))
    for factor in (blocks, merged):
        triangle = factor.triangle
        assert factor.rows == rows
        np.testing.assert_array_equal(triangle, np.triu(triangle))
        assert (np.diag(triangle).real >= 0).all()
        assert np.abs(np.diag(triangle).imag).max() <= 1e-13 * np.abs(triangle).max()
        scale = np.linalg.norm(matrix) ** 2
        products = triangle.conj().T @ triangle - matrix.conj().T @ matrix
        assert np.abs(products).max() <= 1e-13 * scale


def test_columns_beyond_a_panel_are_folded_too():
    matrix = complex_rows(400, 130)
    blocks = [np.array(part, order="F") for part in np.array_split(matrix, 3)]
    triangle = RFactor.from_blocks(blocks, 130).triangle
    products = triangle.conj().T @ triangle
    np.testing.assert_allclose(products, matrix.conj().T @ matrix, atol=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.3])
def test_weights_and_errors_are_those_of_paired_real_rows(ridge):
    rows, held_out = complex_rows(50, 9, seed=1), complex_rows(20, 9, seed=2)
    path = RidgePath.from_factor(RFactor.from_rows(rows), 6, 3)
    weights, errors = path.weights(ridge), path.errors(RFactor.from_rows(held_out), [ridge])[0]
    features, targets = paired(rows[:, :6]), np.vstack([rows[:, 6:].real, rows[:, 6:].imag])
    largest = np.linalg.svd(features, compute_uv=False)[0]
    gram = features.T @ features + (ridge * largest) ** 2 * np.eye(12)
    real = np.linalg.solve(gram, features.T @ targets)
    np.testing.assert_allclose(weights, real[:6] + 1j * real[6:], atol=1e-12)
    misses = held_out[:, :6] @ weights - held_out[:, 6:]
    np.testing.assert_allclose(errors, (np.abs(misses) ** 2).sum(axis=0), rtol=1e-12)


def test_a_missing_number_is_named():
    rows = complex_rows(5, 3)
    rows[2, 1] = complex(0.0, np.nan)
    with pytest.raises(ValueError, match="row 2, column 1"):
        RFactor.from_rows(rows)


def test_residual_products_of_complex_rows_are_those_of_the_residuals():
    x, y = complex_rows(40, 3), complex_rows(40, 2, seed=1)
    weights = complex_rows(3, 2, seed=2)
    residual = x @ weights - y
    found = residual_products(RFactor.from_rows(np.hstack([x, y])), weights)
    np.testing.assert_allclose(found, residual.conj().T @ residual, rtol=1e-12)


def test_a_koopman_operator_of_complex_functions_is_refused():
    factor = RFactor.from_rows(complex_rows(40, 6))
    with pytest.raises(ValueError, match="factor: has complex rows; give the real and imaginary"):
        KoopmanOperator.from_factor(factor)
