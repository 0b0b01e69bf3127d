"""Compare ridge paths of products, and errors by a quadratic form, with those of the triangles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, RidgePath
from gfrnn_core.triangles.normal_equations import LEAST_RIDGE, NormalEquations, products_suffice

cases = settings(max_examples=40)
RIDGES = [LEAST_RIDGE, 1e-3, 1e-2, 0.3, 10.0]


def rows_of(
    rows: int, features: int, targets: int, *, seed: int = 0, condition: float = 1.0, kind=float
) -> np.ndarray:
    """Return rows [features | targets] with a condition number, and noise in the targets."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if kind is complex else values

    mixed = np.linalg.qr(normal(features, features))[0]
    x = normal(rows, features) * np.geomspace(1, 1 / condition, features) @ mixed
    y = x @ normal(features, targets) + normal(rows, targets)
    return np.hstack([x, y])


def both_paths(rows: np.ndarray, features: int, targets: int) -> tuple[RidgePath, RidgePath]:
    factor = RFactor.from_rows(rows)
    return (
        RidgePath.from_factor(factor, features, targets),
        RidgePath.from_products(NormalEquations.from_factor(factor), features, targets),
    )


def test_products_of_a_triangle_are_those_of_its_rows():
    for kind in (float, complex):
        rows = rows_of(30, 4, 2, kind=kind)
        found = NormalEquations.from_factor(RFactor.from_rows(rows))
        expected = np.triu(rows.conj().T @ rows)
        np.testing.assert_allclose(np.triu(found.products), expected, rtol=1e-12, atol=1e-12)
        assert (found.rows, found.columns) == (30, 6)


def test_a_diagonal_matrix():
    rows = np.array([[4.0, 0, 0, 8], [0, 2, 0, 2], [0, 0, 1, 5]])
    path = RidgePath.from_products(NormalEquations.from_factor(RFactor.from_rows(rows)), 3, 1)
    np.testing.assert_allclose(path.singular_values, [4, 2, 1])
    np.testing.assert_allclose(path.weights(0.5), [[32 / 20], [4 / 8], [5 / 5]])


def test_constant_zero_features_have_no_weight():
    rows = np.hstack([np.zeros((10, 2)), rows_of(10, 3, 1)])
    rows[:, 2:5] = 0
    path = RidgePath.from_products(NormalEquations.from_factor(RFactor.from_rows(rows)), 5, 1)
    np.testing.assert_array_equal(path.weights(1e-2), 0)


@cases
@given(
    seed=st.integers(0, 1000),
    features=st.integers(1, 12),
    targets=st.integers(1, 3),
    decades=st.floats(0, 20),
    kind=st.sampled_from([float, complex]),
)
def test_both_paths_agree_where_the_ridge_is_far_above_rounding(
    seed, features, targets, decades, kind
):
    rows = rows_of(40, features, 2 * targets, seed=seed, condition=10**decades, kind=kind)
    fold = RFactor.from_rows(
        rows_of(25, features, 2 * targets, seed=seed + 1, condition=10**decades, kind=kind)
    )
    exact, quick = both_paths(rows, features, 2 * targets)
    errors = exact.errors(fold, RIDGES)
    sums = errors.reshape(len(RIDGES), 2, targets).sum(axis=2)
    np.testing.assert_allclose(exact.summed_errors(fold, RIDGES, 2), sums, rtol=1e-9)
    np.testing.assert_allclose(quick.errors(fold, RIDGES), errors, rtol=1e-6)
    np.testing.assert_allclose(quick.summed_errors(fold, RIDGES, 2), sums, rtol=1e-6)
    size = np.abs(exact.weights(LEAST_RIDGE)).max()
    for ridge in RIDGES:
        np.testing.assert_allclose(quick.weights(ridge), exact.weights(ridge), atol=1e-6 * size)


@cases
@given(seed=st.integers(0, 1000), short=st.integers(1, 9), empty=st.booleans())
def test_folds_of_any_number_of_rows_have_their_errors(seed, short, empty):
    rows = rows_of(40, 5, 4, seed=seed)
    fold = RFactor.from_rows(rows_of(short, 5, 4, seed=seed + 1))
    fold = RFactor.empty(9) if empty else fold
    path, _ = both_paths(rows, 5, 4)
    exact = path.errors(fold, RIDGES).sum(axis=1)
    np.testing.assert_allclose(path.summed_errors(fold, RIDGES, 1)[:, 0], exact, rtol=1e-9)


@cases
@given(seed=st.integers(0, 1000), cut=st.integers(1, 39))
def test_products_of_the_other_rows_are_a_difference(seed, cut):
    rows = rows_of(40, 5, 2, seed=seed)
    first, second = (RFactor.from_rows(part) for part in (rows[:cut], rows[cut:]))
    both = NormalEquations.from_factor(first).add(second)
    left = both.without(second)
    assert (both.rows, left.rows) == (40, cut)
    np.testing.assert_allclose(np.triu(both.products), np.triu(rows.T @ rows), rtol=1e-9)
    expected = np.triu(rows[:cut].T @ rows[:cut])
    np.testing.assert_allclose(np.triu(left.products), expected, atol=1e-12 * both.products.max())


def test_scaled_columns_are_those_of_scaled_rows():
    rows, factors = rows_of(20, 4, 2), np.array([1, 2, 0.1, 3, 1, 1])
    scaled = NormalEquations.from_factor(RFactor.from_rows(rows)).scale_columns(factors)
    expected = NormalEquations.from_factor(RFactor.from_rows(rows * factors))
    found, known = np.triu(scaled.products), np.triu(expected.products)
    np.testing.assert_allclose(found, known, rtol=1e-12, atol=1e-12)


def test_products_suffice_with_a_ridge_or_a_good_condition_and_with_noise():
    good, bad = 0.1, 1e-12
    assert products_suffice(1e-3, bad, 0.1, [1e-8, 1e-3])
    assert products_suffice(1e-12, good, 0.1, 1e-12)
    assert not products_suffice([1e-3, 1e-12], bad, [0.1, 0.1], 1e-3)
    assert not products_suffice(1e-3, good, [0.1, 1e-20], 1e-3)
    assert not products_suffice(1e-3, good, np.nan, 1e-3)
    assert not products_suffice(1e-12, 0.0, 1.0, 1e-3)
    # A ridge of 1e-12 may be better because of singular values that products lose.
    assert not products_suffice(1e-3, bad, 0.1, [1e-12, 1e-3])
    assert products_suffice(1e-3, good, 0.1, [1e-12, 1e-3])


@pytest.mark.parametrize("sums", [0, 3])
def test_sums_that_do_not_divide_the_targets_are_refused(sums):
    path, _ = both_paths(rows_of(20, 3, 4), 3, 4)
    with pytest.raises(ValueError, match="does not divide the 4 targets"):
        path.summed_errors(RFactor.empty(7), RIDGES, sums)


def test_too_few_rows_or_columns_are_refused():
    equations = NormalEquations.from_factor(RFactor.from_rows(rows_of(2, 3, 1)))
    with pytest.raises(ValueError, match="3 feature columns, but only 2 rows"):
        RidgePath.from_products(equations, 3, 1)
    with pytest.raises(ValueError, match="do not fit into the 4 columns"):
        RidgePath.from_products(equations, 4, 1)


def test_other_columns_are_refused():
    equations = NormalEquations.from_factor(RFactor.from_rows(rows_of(20, 3, 1)))
    with pytest.raises(ValueError, match="products of 4 columns and an R factor of 5"):
        equations.add(RFactor.from_rows(rows_of(20, 4, 1)))
