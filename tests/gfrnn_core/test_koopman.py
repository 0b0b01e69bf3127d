"""Compare Koopman analysis with known spectra of systems, and with brute force on all rows."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from gfrnn_core import RFactor, SampledRNN, merge_all, sample_weights
from gfrnn_core.koopman import KoopmanOperator

MU, LAM = 0.9, 0.6


def factor_of(now, after):
    return RFactor.from_rows(np.hstack([now, after]))


def by_size(values):
    return np.array(sorted(values, key=lambda z: (-round(abs(z), 6), np.angle(z))))


def linear(rows=60, seed=0):
    """Return h' = h M^T with eigenvalues 0.95 exp(+-0.3i) and 0.5 in a random basis."""
    rng = np.random.default_rng(seed)
    angle = 0.3
    block = 0.95 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    change = rng.standard_normal((3, 3)) + 2 * np.eye(3)
    law = change @ scipy.linalg.block_diag(block, 0.5) @ np.linalg.inv(change)
    now = rng.standard_normal((rows, 3))
    return now, now @ law.T, law


def slow_manifold(state):
    """Return x1' = mu x1, x2' = lam x2 + (mu^2 - lam) x1^2 (Brunton et al. 2016, PLoS ONE 11)."""
    x1, x2 = state.T
    return np.stack([MU * x1, LAM * x2 + (MU**2 - LAM) * x1**2], axis=1)


def quadratic(state):
    return np.column_stack([state, state[:, 0] ** 2])


def noisy(rows=300, n=6, seed=3):
    """Return generic rows without exact eigenfunctions and without rank deficiency."""
    rng = np.random.default_rng(seed)
    now = rng.standard_normal((rows, n)) * np.logspace(0, -2, n)
    return now, now @ rng.standard_normal((n, n)) * 0.4 + 0.02 * rng.standard_normal((rows, n))


# --- known spectra ------------------------------------------------------------------------------


def test_a_linear_map_is_found_exactly():
    now, after, law = linear()
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    expected = [0.95 * np.exp(-0.3j), 0.95 * np.exp(0.3j), 0.5]
    np.testing.assert_allclose(by_size(operator.eigenvalues), expected, atol=1e-12)
    np.testing.assert_allclose(operator.matrix, law.T, atol=1e-12)
    values, vectors = operator.eigenvalues, operator.eigenvectors
    np.testing.assert_allclose(operator.matrix @ vectors, vectors * values, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(now @ vectors, axis=0), 1.0, rtol=1e-12)
    np.testing.assert_allclose(after @ vectors, (now @ vectors) * values, atol=1e-12)
    assert operator.residuals().max() < 1e-12


def test_rates_and_frequencies_are_those_of_the_flow():
    now, after, _ = linear()
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    dt = 0.25
    np.testing.assert_allclose(sorted(operator.rates(dt)), np.log([0.5, 0.95, 0.95]) / dt)
    frequencies = sorted(operator.frequencies(dt))
    np.testing.assert_allclose(frequencies, np.array([-0.3, 0, 0.3]) / (2 * np.pi * dt), atol=1e-12)


def test_a_map_that_forgets_has_rate_minus_infinity():
    now = np.random.default_rng(0).standard_normal((20, 1))
    operator = KoopmanOperator.from_factor(factor_of(now, np.zeros_like(now)))
    assert operator.rates(1.0)[0] == -np.inf


def test_modes_rebuild_the_state_at_any_lead():
    now, after, law = linear()
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    start = np.array([[1.0, -2.0, 0.5]])
    lead = 7
    phi = start @ operator.eigenvectors
    forecast = (phi * operator.eigenvalues**lead) @ operator.modes(2)
    expected = start @ np.linalg.matrix_power(law.T, lead)
    np.testing.assert_allclose(forecast, expected[:, :2], atol=1e-12)
    np.testing.assert_allclose(operator.rollout(start, lead)[:, -1], expected, atol=1e-12)
    np.testing.assert_allclose(operator.rollout(start, lead)[:, 0], start @ law.T, atol=1e-12)


def test_a_finite_invariant_dictionary_gives_the_products_too():
    state = np.random.default_rng(1).uniform(-2, 2, (80, 2))
    factor = factor_of(quadratic(state), quadratic(slow_manifold(state)))
    operator = KoopmanOperator.from_factor(factor)
    np.testing.assert_allclose(operator.eigenvalues, [MU, MU**2, LAM], atol=1e-12)
    assert operator.residuals().max() < 1e-12
    # The eigenfunction of lam is x2 - x1^2, that of mu^2 the square of that of mu.
    v = operator.eigenvectors
    np.testing.assert_allclose(v[:, 2] / v[1, 2], [0, 1, -1], atol=1e-11)
    phi = quadratic(state) @ v
    ratio = phi[:, 1] / phi[:, 0] ** 2
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    trajectory = [state[:1]]
    for _ in range(5):
        trajectory.append(slow_manifold(trajectory[-1]))
    rolled = operator.rollout(quadratic(state[:1]), 5)[0, :, :2]
    np.testing.assert_allclose(rolled, np.vstack(trajectory[1:]), atol=1e-11)


def test_a_rotation_has_its_spectrum_on_the_circle_and_closed_under_products():
    angle = 0.7
    theta = np.random.default_rng(2).uniform(0, 2 * np.pi, 50)

    def dictionary(t):
        return np.column_stack([np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)])

    now, after = dictionary(theta), dictionary(theta + angle)
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    expected = np.exp(1j * angle * np.array([-2, -1, 1, 2]))
    np.testing.assert_allclose(by_size(operator.eigenvalues), expected, atol=1e-12)
    phi = now @ operator.eigenvectors
    one = phi[:, np.isclose(operator.eigenvalues, np.exp(1j * angle))]
    two = phi[:, np.isclose(operator.eigenvalues, np.exp(2j * angle))]
    np.testing.assert_allclose(two / one**2, np.full_like(two, two[0, 0] / one[0, 0] ** 2))


def test_dependent_and_missing_functions_are_cut():
    now, after, _ = linear()
    copies = np.hstack([now, now[:, :1] - now[:, 2:], np.zeros((60, 1))])
    copied = np.hstack([after, after[:, :1] - after[:, 2:], np.zeros((60, 1))])
    operator = KoopmanOperator.from_factor(factor_of(copies, copied))
    assert operator.rank == 3
    np.testing.assert_allclose(np.abs(operator.eigenvalues), [0.95, 0.95, 0.5], atol=1e-12)
    assert operator.residuals().max() < 1e-11


def test_ridge_and_rank_are_those_of_least_squares_on_the_rows():
    now, after = noisy()
    factor = factor_of(now, after)
    left, s, right = np.linalg.svd(now, full_matrices=False)
    for ridge in (0.0, 0.03):
        penalty = ridge * s[0] * np.eye(6)
        expected = np.linalg.lstsq(
            np.vstack([now, penalty]), np.vstack([after, 0 * penalty]), rcond=None
        )[0]
        operator = KoopmanOperator.from_factor(factor, ridge=ridge)
        np.testing.assert_allclose(operator.matrix, expected, atol=1e-9)
        found = np.linalg.eigvals(expected)
        np.testing.assert_allclose(by_size(operator.eigenvalues), by_size(found), atol=1e-9)
    cut = (right[:4].T / s[:4]) @ left[:, :4].T @ after
    operator = KoopmanOperator.from_factor(factor, rank=4)
    np.testing.assert_allclose(operator.matrix, cut, atol=1e-9)
    vectors = operator.eigenvectors
    np.testing.assert_allclose(cut @ vectors, vectors * operator.eigenvalues, atol=1e-9)


# --- residuals and pseudospectra ----------------------------------------------------------------


def brute_residuals(operator, now, after):
    phi, following = now @ operator.eigenvectors, after @ operator.eigenvectors
    error = np.linalg.norm(following - operator.eigenvalues * phi, axis=0)
    return error / np.linalg.norm(phi, axis=0)


@pytest.mark.parametrize("options", [{}, {"rank": 3}, {"ridge": 0.05}])
def test_residuals_from_the_factor_are_those_of_all_rows(options):
    now, after = noisy()
    operator = KoopmanOperator.from_factor(factor_of(now, after), **options)
    expected = brute_residuals(operator, now, after)
    assert expected.min() > 1e-3
    np.testing.assert_allclose(operator.residuals(), expected, rtol=1e-8)
    other = noisy(seed=9)
    fold = operator.residuals(factor_of(*other))
    np.testing.assert_allclose(fold, brute_residuals(operator, *other), rtol=1e-8)
    for changed in (operator.filtered(1.001 * np.median(expected)), operator.stabilised(0.5)):
        brute = brute_residuals(changed, now, after)
        np.testing.assert_allclose(changed.residuals(), brute, rtol=1e-8)


def test_spurious_eigenvalues_have_large_residuals_and_are_filtered():
    """Random functions of the state beside an exact dictionary add spurious eigenvalues."""
    rng = np.random.default_rng(4)
    state = rng.uniform(-2, 2, (400, 2))
    weights = 3 * rng.standard_normal((2, 5))

    def dictionary(s):
        return np.column_stack([quadratic(s), np.sin(s @ weights)])

    operator = KoopmanOperator.from_factor(
        factor_of(dictionary(state), dictionary(slow_manifold(state)))
    )
    assert operator.rank == 8
    true = np.array([np.abs(z - [MU, LAM, MU**2]).min() < 1e-8 for z in operator.eigenvalues])
    assert true.sum() == 3
    residuals = operator.residuals()
    assert residuals[true].max() < 1e-8
    assert residuals[~true].min() > 0.05
    kept = operator.filtered(1e-6)
    assert kept.rank == 3
    np.testing.assert_allclose(kept.eigenvalues, [MU, MU**2, LAM], atol=1e-9)
    assert kept.residuals().max() < 1e-8
    start = state[:3]
    np.testing.assert_allclose(
        kept.rollout(dictionary(start), 2)[:, -1, :2],
        slow_manifold(slow_manifold(start)),
        atol=1e-8,
    )
    rebuilt = (dictionary(start) @ kept.eigenvectors * kept.eigenvalues) @ kept.modes(2)
    np.testing.assert_allclose(rebuilt, slow_manifold(start), atol=1e-8)
    with pytest.raises(ValueError, match="bound: 1e-30 is below every residual"):
        operator.filtered(1e-30)


def test_a_complex_pair_is_kept_or_dropped_as_one():
    now, after = noisy(seed=5)
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    assert (operator.eigenvalues.imag != 0).any()
    for bound in operator.residuals() * (1 + 1e-9):
        kept = operator.filtered(bound).eigenvalues
        expected = operator.eigenvalues[operator.residuals() <= bound]
        np.testing.assert_allclose(by_size(kept), by_size(expected), atol=1e-9)


def test_the_pseudospectrum_is_the_smallest_residual_of_any_function():
    now, after = noisy()
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    points = np.array([[0.1, 0.5 + 0.2j], [-0.3j, 1.0]])
    found = operator.pseudospectrum(points)
    assert found.shape == (2, 2)
    R = np.linalg.qr(now, mode="r")
    for index, z in np.ndenumerate(points):
        rows = (after - z * now) @ np.linalg.inv(R)
        brute = np.linalg.svd(rows, compute_uv=False)[-1]
        np.testing.assert_allclose(found[index], brute, rtol=1e-8)
    assert np.all(operator.pseudospectrum(operator.eigenvalues) <= operator.residuals() + 1e-12)
    kept = operator.filtered(1.001 * np.median(operator.residuals()))
    assert np.all(kept.pseudospectrum(points) >= found - 1e-12)


def test_the_pseudospectrum_vanishes_only_at_eigenvalues_of_an_exact_dictionary():
    now, after, _ = linear()
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    assert operator.pseudospectrum(operator.eigenvalues).max() < 1e-12
    assert operator.pseudospectrum([0.5 + 0.5j, 0.0, 1.2]).min() > 0.01


def test_truncation_gives_spurious_eigenvalues_with_large_residuals():
    """For the cos of a rotation alone, the eigenvalue is cos(angle), the residual sin(angle)."""
    theta = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    now, after = np.cos(theta)[:, None], np.cos(theta + 0.7)[:, None]
    operator = KoopmanOperator.from_factor(factor_of(now, after))
    np.testing.assert_allclose(operator.eigenvalues, [np.cos(0.7)])
    np.testing.assert_allclose(operator.residuals(), [np.sin(0.7)])
    np.testing.assert_allclose(operator.pseudospectrum([np.cos(0.7)]), [np.sin(0.7)])


# --- rollouts -----------------------------------------------------------------------------------


def test_stabilising_moves_unstable_eigenvalues_only_and_bounds_the_rollout():
    rng = np.random.default_rng(6)
    growing = 1.05 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    change = rng.standard_normal((4, 4)) + 2 * np.eye(4)
    law = change @ scipy.linalg.block_diag(growing, 1.2, 0.7) @ np.linalg.inv(change)
    now = rng.standard_normal((50, 4))
    operator = KoopmanOperator.from_factor(factor_of(now, now @ law.T))
    assert np.abs(operator.rollout(now[:2], 300)).max() > 1e6
    tamed = operator.stabilised()
    expected = [np.exp(-1j), 1.0, np.exp(1j), 0.7]
    np.testing.assert_allclose(by_size(tamed.eigenvalues), expected, atol=1e-10)
    assert np.abs(tamed.rollout(now[:2], 3000)).max() < 100
    # Eigenfunctions stay, so each is still multiplied by its own number.
    moved = tamed.matrix @ operator.eigenvectors
    multiples = operator.eigenvalues / np.maximum(1, np.abs(operator.eigenvalues))
    np.testing.assert_allclose(moved, operator.eigenvectors * multiples, atol=1e-10)
    assert tamed.stabilised(1.1) is tamed


# --- the dictionary of a sampled network --------------------------------------------------------


def series(seed, times=150):
    rng = np.random.default_rng(seed)
    states = np.cumsum(rng.standard_normal((times, 2)), axis=0) * 0.2
    return states, rng.standard_normal((times, 1))


def factor_of_series(states, hidden, **options):
    """Return the R factor of rows [ Psi(h_t) | Psi(h_t+1) ] of one or several series."""
    network = SampledRNN(hidden.width, target="lifted", **options)
    return replace(network, hidden=hidden).factorise(states)


def test_the_lifted_matrix_never_exists():
    states = series(0, times=80_000)[0]
    hidden = sample_weights(states, 20, sampling="normal", seed=1)
    tracemalloc.start()
    factor = factor_of_series(states, hidden)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert factor.rows == 79_999
    assert peak < factor.rows * factor.columns * 8 / 10


def test_several_series_and_merged_factors_are_one_operator():
    parts = [series(seed)[0] for seed in range(3)]
    hidden = sample_weights(parts[0], 4, sampling="normal", scale=0.5, seed=1)
    together = factor_of_series(parts, hidden)
    merged = merge_all(factor_of_series(part, hidden) for part in parts)
    assert together.rows == merged.rows == 3 * 149
    one, other = (KoopmanOperator.from_factor(f) for f in (together, merged))
    np.testing.assert_allclose(one.matrix, other.matrix, atol=1e-7)
    np.testing.assert_allclose(by_size(one.eigenvalues), by_size(other.eigenvalues), atol=1e-8)
    np.testing.assert_allclose(np.sort(one.residuals()), np.sort(other.residuals()), atol=1e-8)
    alone = KoopmanOperator.from_factor(factor_of_series(parts[0], hidden))
    assert np.abs(alone.matrix - one.matrix).max() > 1e-3


def test_the_constant_is_an_eigenfunction_of_any_dictionary():
    states, _ = series(0)
    hidden = sample_weights(states, 6, sampling="normal", seed=1)
    operator = KoopmanOperator.from_factor(factor_of_series(states, hidden))
    nearest = np.abs(operator.eigenvalues - 1).argmin()
    np.testing.assert_allclose(operator.eigenvalues[nearest], 1.0, atol=1e-9)
    assert operator.residuals()[nearest] < 1e-9
    assert np.delete(operator.residuals(), nearest).min() > 1e-3


# --- errors -------------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_refused():
    now, after, _ = linear()
    factor = factor_of(now, after)
    with pytest.raises(ValueError, match="7 columns are not two dictionaries"):
        KoopmanOperator.from_factor(RFactor.from_rows(np.ones((20, 7))))
    for rank in (0, 4):
        with pytest.raises(ValueError, match=f"rank: {rank} is not within 1..3"):
            KoopmanOperator.from_factor(factor, rank=rank)
    for ridge in (-1.0, np.nan):
        with pytest.raises(ValueError, match="ridge: .* is negative or not finite"):
            KoopmanOperator.from_factor(factor, ridge=ridge)
    with pytest.raises(ValueError, match="only 2 rows"):
        KoopmanOperator.from_factor(factor_of(now[:2], after[:2]))
    with pytest.raises(ValueError, match="every function of the dictionary is zero"):
        KoopmanOperator.from_factor(factor_of(0 * now, after))
    operator = KoopmanOperator.from_factor(factor)
    with pytest.raises(ValueError, match=r"fold: 4 columns, but the operator's rows have 6"):
        operator.residuals(factor_of(now[:, :2], after[:, :2]))
    with pytest.raises(ValueError, match=r"fold: 8 columns, but the operator's rows have 6"):
        operator.contributions(RFactor.from_rows(np.ones((20, 8))), 3)
    for radius in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"radius: {radius} is not positive"):
            operator.stabilised(radius)
    with pytest.raises(ValueError, match=r"features: \(3,\) is not \(starts, 3\)"):
        operator.rollout(now[0], 2)
