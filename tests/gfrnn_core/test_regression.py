"""Compare the ridge path, computed from R alone, with least squares on all rows."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, RidgePath, merge_all
from gfrnn_core.regression import residual_triangle

cases = settings(max_examples=40)
RIDGES = [1e-8, 1e-4, 1e-2, 0.3, 10.0]


def problem(rows=80, features=6, targets=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)) @ rng.standard_normal((features, features))
    return x, x @ rng.standard_normal((features, targets)) + rng.standard_normal((rows, targets))


def path_of(x, y):
    factor = RFactor.from_rows(np.hstack([x, y]))
    return RidgePath.from_factor(factor, x.shape[1], y.shape[1])


def brute_force(x, y, ridge):
    """Return least squares on all rows and further rows that penalise each weight."""
    strength = ridge * np.linalg.norm(x, 2)
    columns = x.shape[1]
    pulled = np.vstack([x, strength * np.eye(columns)])
    return np.linalg.lstsq(pulled, np.vstack([y, np.zeros((columns, y.shape[1]))]), rcond=None)[0]


def squares(x, y, weights):
    return np.square(x @ weights - y).sum(axis=0)


# --- known answers ------------------------------------------------------------------------------


def test_a_diagonal_matrix():
    x, y = np.diag([4.0, 2.0, 1.0]), np.array([[8.0], [2.0], [5.0]])
    path = path_of(x, y)
    np.testing.assert_allclose(path.singular_values, [4, 2, 1])
    np.testing.assert_allclose(path.filters(0.5), [4 / 20, 2 / 8, 1 / 5])
    np.testing.assert_allclose(path.weights(0.5), [[32 / 20], [4 / 8], [5 / 5]])
    np.testing.assert_allclose(path.weights(0.0), [[2], [1], [5]])


def test_orthonormal_features_shrink_alike():
    rng = np.random.default_rng(1)
    x = np.linalg.qr(rng.standard_normal((30, 5)))[0]
    y = rng.standard_normal((30, 2))
    for ridge in (0.0, 0.1, 1.0):
        np.testing.assert_allclose(path_of(x, y).weights(ridge), x.T @ y / (1 + ridge**2))


def test_an_exact_linear_law_is_found():
    rng = np.random.default_rng(2)
    x, law = rng.standard_normal((50, 4)), rng.standard_normal((4, 3))
    np.testing.assert_allclose(path_of(x, x @ law).weights(0.0), law, rtol=1e-12)


def test_singular_values_and_vectors_are_those_of_the_features():
    x, y = problem()
    path = path_of(x, y)
    expected = np.linalg.svd(x, compute_uv=False)
    np.testing.assert_allclose(path.singular_values, expected, rtol=1e-12)
    rebuilt = path.right.T * path.singular_values**2 @ path.right
    np.testing.assert_allclose(rebuilt, x.T @ x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(path.right @ path.right.T, np.eye(6), atol=1e-13)
    assert path.projected.shape == (6, 2)


def test_zero_ridge_is_the_pseudo_inverse():
    """This includes dependent features, whose smallest singular values are rounding noise."""
    x, y = problem()
    absent, repeated = x.copy(), x.copy()
    absent[:, 2] = 0.0
    repeated[:, 4] = repeated[:, 1]
    for features in (x, absent, repeated):
        weights = path_of(features, y).weights(0.0)
        np.testing.assert_allclose(weights, np.linalg.pinv(features) @ y, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_features_that_are_all_zero_have_zero_weights(ridge):
    weights = path_of(np.zeros((9, 3)), np.ones((9, 2))).weights(ridge)
    np.testing.assert_array_equal(weights, np.zeros((3, 2)))


def test_more_ridge_means_smaller_weights_and_a_larger_error():
    x, y = problem(features=4, targets=1)
    path, factor = path_of(x, y), RFactor.from_rows(np.hstack([x, y]))
    ridges = np.logspace(-3, 1, 9)
    sizes = [np.linalg.norm(path.weights(ridge)) for ridge in ridges]
    assert (np.diff(sizes) < 0).all()
    assert (np.diff(path.errors(factor, ridges)[:, 0]) > 0).all()


# --- all ridges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, *RIDGES])
@pytest.mark.parametrize("shape", [(80, 6, 2), (7, 7, 1), (30, 1, 3), (200, 60, 2)])
def test_weights_are_those_of_least_squares_on_all_rows(shape, ridge):
    x, y = problem(*shape, seed=3)
    np.testing.assert_allclose(
        path_of(x, y).weights(ridge), brute_force(x, y, ridge), rtol=1e-6, atol=1e-9
    )


@given(
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(0, 30),
    st.floats(1e-5, 10.0),
    st.integers(0, 2**32),
)
@cases
def test_any_shape_and_any_ridge(features, targets, more, ridge, seed):
    x, y = problem(features + more, features, targets, seed)
    expected = brute_force(x, y, ridge)
    np.testing.assert_allclose(
        path_of(x, y).weights(ridge), expected, atol=1e-9 * max(1, np.abs(expected).max())
    )


def test_the_ridge_does_not_depend_on_units_or_on_the_number_of_rows():
    x, y = problem()
    plain = path_of(x, y).weights(0.1)
    np.testing.assert_allclose(path_of(1000 * x, y).weights(0.1), plain / 1000)
    np.testing.assert_allclose(path_of(np.tile(x, (5, 1)), np.tile(y, (5, 1))).weights(0.1), plain)


def test_one_ridge_a_target():
    x, y = problem(targets=3)
    path, ridges = path_of(x, y), np.array([0.0, 1e-2, 3.0])
    filters, weights = path.filters(ridges), path.weights(ridges)
    assert filters.shape == (6, 3)
    assert path.filters(0.1).shape == (6,)
    for target, ridge in enumerate(ridges):
        np.testing.assert_array_equal(filters[:, target], path.filters(ridge))
        np.testing.assert_allclose(weights[:, target], path.weights(ridge)[:, target], rtol=1e-13)


def test_directions_of_tiny_variance_are_as_accurate_as_by_back_substitution():
    """All directions matter equally to the targets, down to 1e-14 of the largest."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    mixing = np.geomspace(1, 1e-14, 300)[:, None] * rotation
    states, law = rng.standard_normal((900, 300)), rng.standard_normal((300, 20))
    factor = RFactor.from_rows(np.hstack([states @ mixing, states @ law]))
    square, right = factor.triangle[:300, :300], factor.triangle[:300, 300:]
    others = rng.standard_normal((500, 300))

    def error(weights):
        return np.linalg.norm(others @ mixing @ weights - others @ law)

    path = RidgePath.from_factor(factor, 300, 20)
    assert error(path.weights(1e-16)) < 1.5 * error(scipy.linalg.solve_triangular(square, right))


def test_nearly_dependent_features_fit_as_well_as_on_all_rows():
    """The condition number is about 1e16; the fit is compared, as the weights are not unique."""
    rng = np.random.default_rng(4)
    states = rng.standard_normal((600, 1))
    x = np.tanh(0.3 * states @ rng.standard_normal((1, 80)) + rng.uniform(-1, 1, 80))
    y = np.sin(3 * states)
    path = path_of(x, y)
    assert path.singular_values[0] > 1e14 * path.singular_values[-1]
    for ridge in (1e-12, 1e-9, 1e-6):
        best = squares(x, y, brute_force(x, y, ridge))
        found = squares(x, y, path.weights(ridge))
        np.testing.assert_allclose(found, best, rtol=0.02)
        left = path.errors(RFactor.from_rows(np.hstack([x, y])), [ridge])[0]
        np.testing.assert_allclose(left, found, rtol=1e-3)


def test_the_slow_decomposition_takes_over_where_the_fast_one_fails(monkeypatch):
    x, y = problem()
    expected = path_of(x, y).weights(0.1)
    svd, drivers = scipy.linalg.svd, []

    def failing(matrix, lapack_driver="gesdd", **others):
        drivers.append(lapack_driver)
        if lapack_driver == "gesdd":
            raise np.linalg.LinAlgError("SVD did not converge")
        return svd(matrix, lapack_driver=lapack_driver, **others)

    monkeypatch.setattr(scipy.linalg, "svd", failing)
    np.testing.assert_allclose(path_of(x, y).weights(0.1), expected, rtol=1e-10)
    assert drivers == ["gesdd", "gesvd"]


# --- folds --------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.floats(1e-6, 10.0), st.integers(0, 2**32))
@cases
def test_errors_are_the_residuals_on_the_rows_of_the_fold(fold_rows, ridge, seed):
    """This includes folds with fewer rows than columns."""
    x, y = problem(60 + fold_rows, seed=seed)
    path = path_of(x[fold_rows:], y[fold_rows:])
    fold = RFactor.from_rows(np.hstack([x, y])[:fold_rows])
    expected = squares(x[:fold_rows], y[:fold_rows], path.weights(ridge))
    np.testing.assert_allclose(path.errors(fold, [ridge]), [expected], rtol=1e-9)


def test_errors_of_every_ridge_and_target():
    x, y = problem(targets=3)
    path = path_of(x[20:], y[20:])
    fold = RFactor.from_rows(np.hstack([x, y])[:20])
    errors = path.errors(fold, RIDGES)
    assert errors.shape == (5, 3)
    for row, ridge in zip(errors, RIDGES, strict=True):
        np.testing.assert_allclose(row, squares(x[:20], y[:20], path.weights(ridge)), rtol=1e-10)
    np.testing.assert_array_equal(path.errors(fold, 0.3), errors[3:4])


def test_errors_of_a_short_fold_with_a_silent_feature():
    """An input that is zero in the whole fold, such as sunlight at night, costs no accuracy."""
    x, y = problem()
    path = path_of(x, y)
    dark, truth = x[:3].copy(), y[:3]
    dark[:, 0] = 0.0
    fold = RFactor.from_rows(np.hstack([dark, truth]))
    expected = squares(dark, truth, path.weights(0.01))
    np.testing.assert_allclose(path.errors(fold, [0.01]), [expected], rtol=1e-10)


def test_no_rows_have_no_error():
    x, y = problem()
    np.testing.assert_array_equal(path_of(x, y).errors(RFactor.empty(8), [0.1]), [[0.0, 0.0]])


def test_folds_left_out_by_merging_the_others():
    x, y = problem(rows=90, targets=2)
    rows = np.hstack([x, y])
    parts = np.array_split(np.arange(90), 5)
    factors = [RFactor.from_rows(rows[part]) for part in parts]
    for left_out, part in enumerate(parts):
        others = merge_all(f for k, f in enumerate(factors) if k != left_out)
        errors = RidgePath.from_factor(others, 6, 2).errors(factors[left_out], RIDGES)
        kept = np.delete(np.arange(90), part)
        expected = [
            squares(x[part], y[part], brute_force(x[kept], y[kept], ridge)) for ridge in RIDGES
        ]
        np.testing.assert_allclose(errors, expected, rtol=1e-6)


# --- narrower models ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", range(1, 7))
def test_leading_columns_are_the_narrower_model_fitted_from_scratch(width):
    x, y = problem()
    factor = RFactor.from_rows(np.hstack([x, y]))
    narrow = RidgePath.from_factor(factor, width, 2)
    scratch = path_of(x[:, :width], y)
    np.testing.assert_allclose(narrow.singular_values, scratch.singular_values, rtol=1e-11)
    for ridge in (0.0, 0.01, 1.0):
        weights = narrow.weights(ridge)
        assert weights.shape == (width, 2)
        np.testing.assert_allclose(weights, scratch.weights(ridge), rtol=1e-8, atol=1e-11)
        expected = squares(x[:, :width], y, weights)
        np.testing.assert_allclose(narrow.errors(factor, [ridge]), [expected], rtol=1e-10)


def test_leading_targets_may_be_passed_over():
    """Only the trailing columns are targets; those between are not used."""
    x, y = problem(targets=3)
    path = RidgePath.from_factor(RFactor.from_rows(np.hstack([x, y])), 6, 1)
    np.testing.assert_allclose(path.weights(0.1), brute_force(x, y[:, 2:], 0.1), rtol=1e-8)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("features", "targets"), [(0, 2), (-1, 2), (7, 2), (8, 1), (9, 0)])
def test_columns_that_do_not_fit_are_refused(features, targets):
    factor = RFactor.from_rows(np.ones((20, 8)))
    with pytest.raises(ValueError, match="do not fit into the 8 columns"):
        RidgePath.from_factor(factor, features, targets)


def test_fewer_rows_than_features_are_refused():
    factor = RFactor.from_rows(np.random.default_rng(5).standard_normal((5, 8)))
    with pytest.raises(ValueError, match="6 feature columns, but only 5 rows"):
        RidgePath.from_factor(factor, 6, 2)
    assert RidgePath.from_factor(factor, 5, 2).weights(0.1).shape == (5, 2)


@pytest.mark.parametrize("first", [6, 7, None])
def test_products_of_a_residual_triangle_are_those_of_the_residuals(first):
    x, y = problem(targets=3)
    factor, weights = RFactor.from_rows(np.hstack([x, y])), np.ones((6, 2))
    targets = y[:, -2:] if first is None else y[:, first - 6 : first - 4]
    residuals = x @ weights - targets
    found = residual_triangle(factor, weights, first)
    np.testing.assert_allclose(found.T @ found, residuals.T @ residuals)


@pytest.mark.parametrize("power", [-660, -500, 0, 500, 900])
def test_weights_do_not_depend_on_the_unit_of_the_rows(power):
    """Squares of singular values of 2**power are beyond the range of float64."""
    rng = np.random.default_rng(0)
    right = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    values, projected = np.geomspace(1.0, 1e-9, 6), rng.normal(size=(6, 2))
    plain = RidgePath(values, right, projected)
    scaled = RidgePath(values * 2.0**power, right, projected * 2.0**power)
    for ridge in (0.0, 1e-12, 1e-4, 0.3, np.array([1e-3, 0.0])):
        assert np.array_equal(scaled.weights(ridge), plain.weights(ridge))
        assert np.array_equal(scaled.degrees_of_freedom(ridge), plain.degrees_of_freedom(ridge))


def test_residuals_of_targets_beyond_the_columns_are_refused():
    x, y = problem()
    factor = RFactor.from_rows(np.hstack([x, y]))
    for first in (-1, 7):
        with pytest.raises(ValueError, match=rf"first: {first} is not within 0\.\.6"):
            residual_triangle(factor, np.zeros((6, 2)), first)


@pytest.mark.parametrize("ridge", [-1.0, np.nan, [0.1, -1.0]])
def test_ridges_that_are_negative_or_not_finite_are_refused(ridge):
    with pytest.raises(ValueError, match="ridge: .* is negative or not finite"):
        path_of(*problem()).weights(ridge)
