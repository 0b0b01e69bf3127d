"""Compare residual covariance and posterior, computed from R alone, with the full data."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, RidgePath, merge_all
from gfrnn_core.uncertainty import (
    WeightPosterior,
    left_out_covariance,
    residual_products,
    training_covariance,
)
from gfrnn_core.validation import contiguous_folds, fold_errors, left_out_weights
from gfrnn_testing.archives import DATA, real

cases = settings(max_examples=30)
RIDGES = [0.0, 1e-4, 0.1, 2.0]
NOISE = np.array([[2.0, 0.6], [0.6, 0.5]])


def problem(rows=80, features=6, targets=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)) @ (np.eye(features) + 0.3)
    noise = rng.standard_normal((rows, targets)) @ rng.standard_normal((targets, targets))
    return x, x @ rng.standard_normal((features, targets)) + noise


def factor_of(x, y):
    return RFactor.from_rows(np.hstack([x, y]))


def path_of(x, y):
    return RidgePath.from_factor(factor_of(x, y), x.shape[1], y.shape[1])


def normal_equations(x, ridge):
    """Return F^T F + l^2 I, for features that are well conditioned."""
    return x.T @ x + (ridge * np.linalg.norm(x, 2)) ** 2 * np.eye(x.shape[1])


def refit(x, y, ridge):
    return np.linalg.solve(normal_equations(x, ridge), x.T @ y)


def posterior_of(x, y, ridge, covariance=NOISE):
    return WeightPosterior.from_path(path_of(x, y), ridge, covariance)


def smooth_features(rows=600, features=80, seed=4):
    """Return features with a condition number above 1e14."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((rows, 1))
    x = np.tanh(0.3 * states @ rng.standard_normal((1, features)) + rng.uniform(-1, 1, features))
    return x, np.sin(3 * states)


# --- degrees of freedom -------------------------------------------------------------------------


def test_degrees_of_freedom_of_a_diagonal_matrix():
    path = path_of(np.diag([4.0, 2.0, 1.0]), np.ones((3, 1)))
    assert path.degrees_of_freedom(0.0) == pytest.approx(3)
    assert path.degrees_of_freedom(0.5) == pytest.approx(16 / 20 + 4 / 8 + 1 / 5)
    np.testing.assert_allclose(path.degrees_of_freedom([0.0, 0.5]), [3, 1.5])


@pytest.mark.parametrize("ridge", RIDGES)
def test_degrees_of_freedom_are_the_trace_of_the_hat_matrix(ridge):
    x, y = problem()
    hat = x @ np.linalg.solve(normal_equations(x, ridge), x.T)
    assert path_of(x, y).degrees_of_freedom(ridge) == pytest.approx(np.trace(hat))


def test_dependent_features_take_no_degree_of_freedom():
    x, y = problem()
    x[:, 4], x[:, 2] = x[:, 1], 0.0
    assert path_of(x, y).degrees_of_freedom(0.0) == pytest.approx(4)


# --- covariance on the rows of the fit ----------------------------------------------------------


def test_the_variance_of_a_sample():
    """With one constant feature, it is the textbook sample covariance."""
    y = np.random.default_rng(1).standard_normal((20, 3))
    x = np.ones((20, 1))
    found = training_covariance(factor_of(x, y), path_of(x, y), 0.0)
    np.testing.assert_allclose(found, np.cov(y.T), rtol=1e-12)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("width", [6, 3])
def test_training_covariance_is_that_of_all_rows(ridge, width):
    x, y = problem(targets=3)
    factor = factor_of(x, y)
    path = RidgePath.from_factor(factor, width, 3)
    kept = x[:, :width]
    hat = kept @ np.linalg.solve(normal_equations(kept, ridge), kept.T)
    residual = y - hat @ y
    expected = residual.T @ residual / (80 - np.trace(hat))
    found = training_covariance(factor, path, ridge)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_training_covariance_is_unbiased_without_ridge():
    """With half as many features as rows, the mean of squares would be half the noise variance."""
    rng = np.random.default_rng(2)
    x, found = rng.standard_normal((40, 20)), np.zeros((2, 2))
    for _ in range(400):
        y = rng.standard_normal((40, 2)) @ np.linalg.cholesky(NOISE).T
        found += training_covariance(factor_of(x, y), path_of(x, y), 0.0) / 400
    np.testing.assert_allclose(found, NOISE, atol=0.07)


def test_small_residuals_keep_their_digits():
    """Noise is 1e-9, targets are of order one; products of R would lose all digits of it."""
    rng = np.random.default_rng(3)
    x, noise = rng.standard_normal((50, 4)), 1e-9 * rng.standard_normal((50, 2))
    y = x @ rng.standard_normal((4, 2)) + noise
    noise = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    found = training_covariance(factor_of(x, y), path_of(x, y), 0.0)
    np.testing.assert_allclose(found, noise.T @ noise / 46, rtol=1e-4)


# --- covariance on folds left out ---------------------------------------------------------------


@given(
    st.lists(st.integers(10, 79), min_size=1, max_size=6, unique=True),
    st.floats(1e-4, 10.0),
    st.integers(0, 2**32),
)
@cases
def test_left_out_covariance_is_that_of_refits(cuts, ridge, seed):
    x, y = problem(targets=3, seed=seed)
    parts = np.split(np.arange(80), sorted(cuts))
    if max(map(len, parts)) > 70:
        return
    residual = np.empty_like(y)
    for part in parts:
        kept = np.delete(np.arange(80), part)
        residual[part] = y[part] - x[part] @ refit(x[kept], y[kept], ridge)
    folds = [factor_of(x[part], y[part]) for part in parts]
    found = left_out_covariance(folds, left_out_weights(folds, 6, 3, ridge))
    expected = residual.T @ residual / 80
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * expected.max())
    errors = fold_errors(folds, 3, [6], [ridge])
    np.testing.assert_allclose(np.diag(found), errors.mean(np.eye(3))[0, 0], rtol=1e-10)


@given(st.lists(st.integers(1, 19), max_size=5), st.integers(0, 2**32))
@cases
def test_products_of_a_fold_do_not_depend_on_its_blocks(cuts, seed):
    x, y = problem(20, seed=seed)
    outer = np.random.default_rng(seed).standard_normal((4, 2))
    parts = np.split(np.hstack([x, y]), sorted(set(cuts)))
    expected = residual_products(factor_of(x, y), outer)
    merged = merge_all(RFactor.from_rows(part) for part in parts)
    scale = expected.max()
    np.testing.assert_allclose(residual_products(merged, outer), expected, atol=1e-10 * scale)
    summed = sum(residual_products(RFactor.from_rows(part), outer) for part in parts)
    np.testing.assert_allclose(summed, expected, atol=1e-10 * scale)
    residual = x[:, :4] @ outer - y
    np.testing.assert_allclose(expected, residual.T @ residual, atol=1e-10 * scale)


def test_only_errors_of_left_out_folds_show_an_overfit():
    """With nearly as many features as rows, training residuals are small and new ones are not."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((60, 40)), rng.standard_normal((60, 1))
    folds = contiguous_folds([factor_of(x[k : k + 3], y[k : k + 3]) for k in range(0, 60, 3)], 10)
    inside = residual_products(factor_of(x, y), refit(x, y, 1e-6)).item() / 60
    outside = left_out_covariance(folds, left_out_weights(folds, 40, 1, 1e-6)).item()
    fresh = rng.standard_normal((4000, 40)) @ refit(x, y, 1e-6)
    truth = np.mean(np.square(fresh - rng.standard_normal((4000, 1))))
    assert inside < 0.25 * truth < outside


# --- the posterior ------------------------------------------------------------------------------


def test_the_posterior_of_a_mean():
    """For one constant feature and one target, the variance is S / (n + l^2), l = ridge sqrt(n)."""
    y = np.arange(4.0)[:, None]
    posterior = posterior_of(np.ones((4, 1)), y, 0.5, np.array([[3.0]]))
    np.testing.assert_allclose(posterior.mean, [[6 / 5]])
    np.testing.assert_allclose(posterior.leverages(np.array([[1.0], [2.0]])), [1 / 5, 4 / 5])
    variance = posterior.predictive_variance(np.array([[1.0]]))
    np.testing.assert_allclose(variance, [[3 / 5]])
    noisy = posterior.predictive_variance(np.array([[1.0]]), noise=True)
    np.testing.assert_allclose(noisy, [[3 / 5 + 3]])


@given(st.integers(1, 8), st.integers(1, 3), st.sampled_from(RIDGES), st.integers(0, 2**32))
@cases
def test_mean_and_row_covariance_are_those_of_the_normal_equations(features, targets, ridge, seed):
    x, y = problem(40, features, targets, seed)
    posterior = posterior_of(x, y, ridge, np.eye(targets))
    np.testing.assert_allclose(posterior.mean, refit(x, y, ridge), rtol=1e-6, atol=1e-8)
    inverse = np.linalg.inv(normal_equations(x, ridge))
    spread = posterior.right.T * posterior.deviations**2 @ posterior.right
    np.testing.assert_allclose(spread, inverse, atol=1e-8 * inverse.max())
    new = np.random.default_rng(seed).standard_normal((2, 5, features))
    leverages = posterior.leverages(new)
    assert leverages.shape == (2, 5)
    expected = np.einsum("abi,ij,abj->ab", new, inverse, new)
    np.testing.assert_allclose(leverages, expected, rtol=1e-6)
    one = posterior.leverages(new[0, 0])
    assert one.shape == ()
    np.testing.assert_allclose(one, expected[0, 0], rtol=1e-6)


@pytest.mark.parametrize("ridge", RIDGES)
def test_leverages_of_the_fit_sum_to_its_degrees_of_freedom(ridge):
    """The triangle of any rows gives the sum over these rows."""
    x, y = problem()
    posterior, path = posterior_of(x, y, ridge), path_of(x, y)
    assert posterior.leverages(x).sum() == pytest.approx(path.degrees_of_freedom(ridge))
    part = factor_of(x[:30], y[:30]).triangle[:, :6]
    assert posterior.leverages(part).sum() == pytest.approx(posterior.leverages(x[:30]).sum())


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_draws_have_the_mean_and_covariance_of_the_matrix_normal(ridge):
    """The covariance of all weights is the Kronecker product of those of rows and targets."""
    x, y = problem(30, 3, 2)
    posterior, size = posterior_of(x, y, ridge), 40_000
    draws = posterior.draw(0, size)
    assert draws.shape == (size, 3, 2)
    expected = np.kron(np.linalg.inv(normal_equations(x, ridge)), NOISE)
    found = np.cov(draws.reshape(size, 6).T)
    unit = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        (found - expected) / np.outer(unit, unit), 0, atol=5 * np.sqrt(2 / size)
    )
    departure = (draws.mean(axis=0) - posterior.mean).ravel() / unit
    np.testing.assert_allclose(departure, 0, atol=5 / np.sqrt(size))
    predictions = np.array([1.0, -2.0, 0.5]) @ draws
    np.testing.assert_allclose(
        predictions.var(axis=0),
        posterior.predictive_variance(np.array([1.0, -2.0, 0.5])),
        rtol=5 * np.sqrt(2 / size),
    )


def test_posterior_covers_the_truth_with_its_nominal_probability():
    """With laws from the prior and noise of S, 68.3% of the laws are within one deviation."""
    rng = np.random.default_rng(6)
    x, ridge, hits = rng.standard_normal((25, 8)), 0.4, []
    root = np.linalg.cholesky(NOISE).T
    strength = ridge * np.linalg.norm(x, 2)
    new = rng.standard_normal((5, 8))
    for _ in range(400):
        law = rng.standard_normal((8, 2)) @ root / strength
        y = x @ law + rng.standard_normal((25, 2)) @ root
        posterior = posterior_of(x, y, ridge)
        departure = new @ (posterior.mean - law)
        hits.append(np.square(departure) < posterior.predictive_variance(new))
    np.testing.assert_allclose(np.mean(hits), 0.683, atol=0.03)


def test_predictions_of_nearly_dependent_features_have_the_right_variance():
    """Single weights are huge there and cancel along rows, so predictions are compared."""
    x, y = smooth_features()
    path = path_of(x, y)
    assert path.singular_values[0] > 1e14 * path.singular_values[-1]
    for ridge in (1e-13, 1e-9):
        posterior = WeightPosterior.from_path(path, ridge, np.array([[0.25]]))
        taken = float(path.degrees_of_freedom(ridge))
        assert posterior.leverages(x).sum() == pytest.approx(taken, rel=0.05)
        draws = posterior.draw(7, 400)
        assert np.abs(draws).max() > 1e6
        spread = (x @ draws - x @ posterior.mean).var(axis=0).sum()
        assert spread == pytest.approx(0.25 * taken, rel=0.1)


def test_a_singular_covariance_moves_targets_together():
    """Two targets have equal errors, so every draw deviates equally in both."""
    x, y = problem()
    posterior = posterior_of(x, y, 0.1, np.array([[1.0, 2.0], [2.0, 4.0]]))
    departure = posterior.draw(1, 5) - posterior.mean
    assert np.abs(departure).min() > 0
    np.testing.assert_allclose(departure[..., 1], 2 * departure[..., 0], rtol=1e-6)
    rounded = posterior_of(x, y, 0.1, np.array([[1.0, 1.0], [1.0, 1.0 - 1e-12]]))
    assert np.isfinite(rounded.draw(1, 1)).all()  # its least eigenvalue is -5e-13
    certain = posterior_of(x, y, 0.1, np.zeros((2, 2)))
    np.testing.assert_array_equal(certain.draw(1, 2), np.stack([certain.mean] * 2))


# --- real weather --------------------------------------------------------------------------------


@real
def test_the_predicted_variance_of_a_station_is_that_of_the_next_year():
    """The change of dry bulb and dew point over six hours is fitted, from twelve hours.

    Every sixth hour of 2010 is fitted, width and ridge chosen by ten folds of it; 2011 is new.
    """
    file = DATA / "wth_hourly_2010_2013" / "WTH.csv"
    series = np.loadtxt(file, delimiter=",", skiprows=1, usecols=[3, 6, 10], max_rows=17_600)
    series = (series - series[:8760].mean(axis=0)) / series[:8760].std(axis=0)
    times = np.arange(11, 17_520, 6)
    h = np.stack([series[time - 11 : time + 1].ravel() for time in times])
    rng = np.random.default_rng(0)
    hidden = np.tanh(0.1 * h @ rng.standard_normal((36, 300)) + rng.uniform(-1, 1, 300))
    y = (series[times + 6] - series[times])[:, :2]
    rows = np.hstack([np.ones((len(h), 1)), h, hidden, y])
    weeks = [RFactor.from_rows(part) for part in np.array_split(rows[:1460], 52)]
    folds, new = contiguous_folds(weeks, 10), RFactor.from_rows(rows[1460:])

    def covariances(ridge):
        factor = merge_all(weeks)
        path = RidgePath.from_factor(factor, 337, 2)
        truth = residual_products(new, path.weights(ridge)) / new.rows
        left_out = left_out_covariance(folds, left_out_weights(folds, 337, 2, ridge))
        return truth, left_out, training_covariance(factor, path, ridge)

    features, ridge = fold_errors(folds, 2, [37, 337], [1e-5, 1e-3, 1e-2, 1e-1]).best()
    assert (features, ridge) == (337, 1e-2)
    truth, left_out, _ = covariances(ridge)
    np.testing.assert_allclose(left_out, truth, atol=0.1 * truth.max())
    truth, left_out, training = covariances(1e-5)  # too small: the fit takes in much noise
    assert (np.diag(training) < 0.7 * np.diag(truth)).all()
    np.testing.assert_allclose(np.diag(left_out), np.diag(truth), rtol=0.3)


# --- seeds --------------------------------------------------------------------------------------


def test_a_seed_repeats_and_another_does_not():
    posterior = posterior_of(*problem(), 0.1)
    five = posterior.draw(3, 5)
    np.testing.assert_array_equal(posterior.draw(3, 5), five)
    np.testing.assert_array_equal(posterior.draw(3, 2), five[:2])
    assert len(np.unique(five)) == five.size
    assert not np.isclose(posterior.draw(4, 5), five).any()
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(posterior.draw(rng, 2), five[:2])
    np.testing.assert_array_equal(posterior.draw(rng, 3), five[2:])
    assert posterior.draw(3, 0).shape == (0, 6, 2)


def test_signs_of_singular_vectors_do_not_change_draws():
    x, y = problem()
    posterior = posterior_of(x, y, 0.1)
    turned = replace(posterior, right=posterior.right * [[1], [-1], [-1], [1], [-1], [1]])
    np.testing.assert_allclose(turned.draw(5, 3), posterior.draw(5, 3), rtol=1e-9)


@given(st.lists(st.integers(1, 79), max_size=6), st.integers(0, 2**32))
@cases
def test_how_rows_are_grouped_does_not_change_draws(cuts, seed):
    x, y = problem(seed=seed)
    parts = np.split(np.hstack([x, y]), sorted(set(cuts)))
    merged = merge_all(RFactor.from_rows(part) for part in parts)
    path = RidgePath.from_factor(merged, 6, 2)
    found = WeightPosterior.from_path(path, 0.1, NOISE).draw(8, 2)
    np.testing.assert_allclose(found, posterior_of(x, y, 0.1).draw(8, 2), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None, True])
def test_invalid_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="is not an integer from 0 on"):
        posterior_of(*problem(), 0.1).draw(seed, 1)


# --- refusals -----------------------------------------------------------------------------------


def test_dependent_features_without_ridge_have_no_posterior():
    x, y = problem()
    x[:, 4], x[:, 2] = x[:, 1], 0.0
    with pytest.raises(ValueError, match="6 features of numerical rank 4; 2 directions have no"):
        posterior_of(x, y, 0.0)
    posterior = posterior_of(x, y, 1e-6)
    assert posterior.leverages(x).sum() == pytest.approx(4)
    strength = 1e-6 * np.linalg.norm(x, 2)
    assert posterior.leverages(np.eye(6)[2]) == pytest.approx(strength**-2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_features_that_are_all_zero_have_no_posterior(ridge):
    with pytest.raises(ValueError, match="3 features of numerical rank 0"):
        posterior_of(np.zeros((9, 3)), np.ones((9, 2)), ridge)


@pytest.mark.filterwarnings("error")
def test_a_ridge_too_small_for_a_number():
    x, y = problem()
    x[:, 5] = 0.0
    with pytest.raises(ValueError, match="1e-310 is too small"):
        posterior_of(x, y, 1e-310)


@pytest.mark.parametrize("ridge", [-0.1, np.nan, np.inf, [0.1, 0.2]])
def test_ridges_that_are_not_one_number_are_refused(ridge):
    x, y = problem()
    with pytest.raises(ValueError, match="ridge: .* is not one finite number"):
        posterior_of(x, y, ridge)
    with pytest.raises(ValueError, match="ridge: .* is not one finite number"):
        training_covariance(factor_of(x, y), path_of(x, y), ridge)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.eye(3), "shape (3, 3); 2 targets need (2, 2)"),
        (np.array([1.0, 2.0]), "shape (2,); 2 targets"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "NaN or infinity"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalue -1"),
    ],
)
def test_invalid_covariances_are_refused(covariance, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        posterior_of(*problem(), 0.1, covariance)


def test_as_many_features_as_rows_leave_no_training_covariance():
    x, y = problem(7, 7)
    with pytest.raises(ValueError, match="7 rows less 7 effective degrees of freedom"):
        training_covariance(factor_of(x, y), path_of(x, y), 0.0)
    x, y = problem(8, 7)
    assert np.isfinite(training_covariance(factor_of(x, y), path_of(x, y), 0.0)).all()


def test_weights_that_do_not_fit_the_folds_are_refused():
    x, y = problem()
    folds = [factor_of(x[:40], y[:40]), factor_of(x[40:], y[40:])]
    outer = refit(x, y, 0.1)
    with pytest.raises(ValueError, match="weights: 1 for 2 folds"):
        left_out_covariance(folds, [outer])
    with pytest.raises(ValueError, match="weights: 3 for 2 folds"):
        left_out_covariance(folds, [outer] * 3)
    with pytest.raises(ValueError, match="different shapes"):
        left_out_covariance(folds, [outer, outer[:, :1]])
    with pytest.raises(ValueError, match="2 without any row"):
        left_out_covariance([RFactor.empty(8)] * 2, [outer] * 2)
    for wrong in (np.ones((7, 2)), np.ones(6)):
        with pytest.raises(ValueError, match="does not fit into the 8 columns"):
            residual_products(folds[0], wrong)


def test_rows_of_another_number_of_features_are_refused():
    posterior = posterior_of(*problem(), 0.1)
    for wrong in (np.ones((3, 5)), np.ones(()), np.ones(7)):
        with pytest.raises(ValueError, match="the model has 6 features"):
            posterior.leverages(wrong)
    with pytest.raises(ValueError, match="size: -1 draws"):
        posterior.draw(0, -1)
