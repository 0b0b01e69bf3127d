"""Copies between arrays of different order have the same values."""

import numpy as np
import pytest

from gfrnn_core.triangles.array_order import copy_rows, upper_triangle


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5, 40), (16, 16), (33, 50), (50, 50)])
@pytest.mark.parametrize("given", ["C", "F"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["float32", "float64", "complex128"])
def test_a_triangle_is_copied_and_what_is_below_the_diagonal_is_ignored(shape, given, order, kind):
    values = np.random.default_rng(0).standard_normal(shape)
    trapezoid = np.array(values, order=given)
    trapezoid[np.tril_indices(shape[0], -1, shape[1])] = np.nan
    upper = upper_triangle(trapezoid, kind, order)
    np.testing.assert_array_equal(upper, np.triu(values).astype(kind))
    assert upper.dtype == kind
    assert upper.flags[f"{order}_CONTIGUOUS"]
    assert not np.shares_memory(upper, trapezoid)


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 40])
def test_rows_are_copied_into_the_other_order(rows):
    values = np.random.default_rng(1).standard_normal((rows, 7))
    out = np.full((rows, 7), np.nan, order="F")
    copy_rows(values, out)
    np.testing.assert_array_equal(out, values)
