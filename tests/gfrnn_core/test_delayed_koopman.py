"""Compare the operator on delayed states with known linear maps, and with brute force on rows."""

import numpy as np
import pytest

from gfrnn_core import RFactor
from gfrnn_core.koopman import KoopmanOperator, delayed_pairs

PERIOD, E_FOLDING = 37.0, 9.0  # steps
MU = np.exp(-1 / E_FOLDING + 2j * np.pi / PERIOD)


def rows_of(states, delays):
    """Return rows [h_t | h_t-1 | ... | h_t+1] of a gapless series."""
    count = len(states) - delays
    parts = [states[delays - 1 - j : delays - 1 - j + count] for j in range(delays)]
    return np.hstack([*parts, states[delays:]])


def dictionaries(rows, delays):
    """Return Psi and the next Psi of such rows."""
    size = rows.shape[1] // (delays + 1)
    now, later = rows[:, : delays * size], rows[:, delays * size :]
    return now, np.hstack([later, now[:, : (delays - 1) * size]])


def turning(times, seed=0, mixed=3):
    """Return noisy states that turn and decay, mixed into more coordinates with white noise."""
    rng = np.random.default_rng(seed)
    z = np.empty(times, dtype=complex)
    z[0] = 1.0
    for t in range(1, times):
        z[t] = MU * z[t - 1] + rng.standard_normal() + 1j * rng.standard_normal()
    mixing = np.random.default_rng(99).standard_normal((2, mixed))
    return np.stack([z.real, z.imag], axis=1) @ mixing, z


def of_pair(values):
    """Return the index of the slowest oscillating eigenvalue."""
    oscillating = np.flatnonzero(values.imag > 1e-9)
    return oscillating[np.abs(values[oscillating]).argmax()]


def test_a_scalar_oscillation_is_found_from_two_delays():
    """``y_t = |mu|^t cos(angle t)`` obeys a recursion of two steps exactly."""
    y = (MU ** np.arange(40)).real[:, None]
    operator = KoopmanOperator.from_delays(RFactor.from_rows(rows_of(y, 2)), 2)
    np.testing.assert_allclose(operator.eigenvalues[of_pair(operator.eigenvalues)], MU, rtol=1e-10)
    assert operator.residuals().max() < 1e-10
    np.testing.assert_allclose(operator.noise_floor, np.sqrt(1 - abs(MU) ** 2), rtol=1e-10)


def test_noise_leaves_period_and_decay_and_gives_the_residual_its_floor():
    states, _ = turning(40_000, mixed=2)
    train, other = (RFactor.from_rows(rows_of(part, 3)) for part in np.split(states, 2))
    operator = KoopmanOperator.from_delays(train, 3)
    pair = of_pair(operator.eigenvalues)
    mu = operator.eigenvalues[pair]
    assert 2 * np.pi / np.angle(mu) == pytest.approx(PERIOD, rel=0.05)
    assert -1 / np.log(abs(mu)) == pytest.approx(E_FOLDING, rel=0.05)
    floor = operator.noise_floor[pair]
    assert floor == pytest.approx(np.sqrt(1 - abs(MU) ** 2), rel=0.03)
    for residuals in (operator.residuals(), operator.residuals(delayed_pairs(other, 3))):
        assert residuals[pair] == pytest.approx(floor, rel=0.05)
    # It holds all that is known of the next state: |mu|^2 of its variance.
    shares, error = operator.contributions(delayed_pairs(other, 3), 2)
    assert shares[pair] == pytest.approx(abs(MU) ** 2, rel=0.05)
    assert np.sort(shares)[:-2].max() < 0.01
    assert error == pytest.approx(1 - abs(MU) ** 2, rel=0.05)


def test_a_trend_of_the_training_rows_has_a_residual_beyond_that_of_noise():
    """A walk that ends with the training rows: its slow eigenvalue does not hold for others."""
    rng = np.random.default_rng(1)
    walk, white = rng.standard_normal((400, 1)).cumsum(axis=0), rng.standard_normal((400, 1))
    train, other = (RFactor.from_rows(rows_of(part, 1)) for part in (walk, white))
    operator = KoopmanOperator.from_delays(train, 1)
    assert operator.eigenvalues[0].real > 0.95
    assert operator.residuals()[0] < operator.noise_floor[0] + 0.1
    assert operator.residuals(delayed_pairs(other, 1))[0] > operator.noise_floor[0] + 0.5


@pytest.mark.parametrize("delays", [1, 5, 40])
def test_spurious_eigenvalues_of_white_noise_forecast_nothing(delays):
    """Many delays give slow eigenvalues with small residuals, which the next state refutes."""
    white = np.random.default_rng(1).standard_normal((400, 2))
    train, other = (RFactor.from_rows(rows_of(part, delays)) for part in np.split(white, 2))
    operator, fold = KoopmanOperator.from_delays(train, delays), delayed_pairs(other, delays)
    shares, error = operator.contributions(fold, 2)
    assert error > 0.95
    assert shares.max() < 0.1 * error
    if delays == 40:
        slow = np.abs(operator.eigenvalues) > np.exp(-1 / 10)
        small = operator.residuals(fold) < operator.noise_floor + 0.1
        assert (slow & small).sum() > 10


@pytest.mark.parametrize(("times", "delays"), [(2000, 10), (2000, 3), (600, 6)])
def test_a_true_pair_contributes_more_than_spurious_eigenvalues(times, delays):
    states, _ = turning(times, seed=3, mixed=2)
    states = np.hstack([states, np.random.default_rng(5).standard_normal((times, 2))])
    train, other = (RFactor.from_rows(rows_of(part, delays)) for part in np.split(states, 2))
    operator, fold = KoopmanOperator.from_delays(train, delays), delayed_pairs(other, delays)
    shares, error = operator.contributions(fold, 4)
    best = shares.argmax()
    mu = operator.eigenvalues[best]
    assert 2 * np.pi / abs(np.angle(mu)) == pytest.approx(PERIOD, rel=0.35)
    pair = (operator.eigenvalues == mu) | (operator.eigenvalues == mu.conj())
    assert shares[pair].min() > 0.3
    assert shares[~pair].max() < 0.1 * error


def test_the_next_state_is_that_of_ridge_regression_and_earlier_ones_are_copied():
    rng = np.random.default_rng(2)
    rows = rows_of(rng.standard_normal((80, 3)).cumsum(axis=0), 2)
    now, later = dictionaries(rows, 2)
    ridge = 0.05 * np.linalg.norm(now, 2)
    stacked = np.vstack([now, ridge * np.eye(6)]), np.vstack([later[:, :3], np.zeros((6, 3))])
    expected = np.linalg.lstsq(*stacked, rcond=None)[0]
    operator = KoopmanOperator.from_delays(RFactor.from_rows(rows), 2, ridge=0.05)
    np.testing.assert_allclose(operator.matrix[:, :3], expected, atol=1e-10)
    np.testing.assert_allclose(operator.matrix[:, 3:], np.eye(6)[:, :3], atol=1e-10)
    phi, following = now @ operator.eigenvectors, later @ operator.eigenvectors
    error = np.linalg.norm(following - phi * operator.eigenvalues, axis=0)
    brute = error / np.linalg.norm(phi, axis=0)
    np.testing.assert_allclose(operator.residuals(), brute, rtol=1e-8)
    np.testing.assert_allclose(
        operator.residuals(delayed_pairs(RFactor.from_rows(rows), 2)), brute, rtol=1e-8
    )


def test_modes_are_exact_solutions_of_the_recursion():
    rng = np.random.default_rng(3)
    rows = rows_of(rng.standard_normal((200, 3)).cumsum(axis=0), 3)
    operator = KoopmanOperator.from_delays(RFactor.from_rows(rows), 3)
    lags = np.split(operator.matrix[:, :3], 3)
    for mu, mode in zip(operator.eigenvalues, operator.modes(3), strict=True):
        following = sum(mu ** -float(j) * mode @ lag for j, lag in enumerate(lags))
        np.testing.assert_allclose(following, mu * mode, atol=1e-7 * np.abs(mode).max())


def test_a_contribution_is_the_loss_of_a_forecast_without_the_mode():
    rng = np.random.default_rng(4)
    rows = rows_of(rng.standard_normal((300, 3)).cumsum(axis=0), 2)
    operator = KoopmanOperator.from_delays(RFactor.from_rows(rows[:150]), 2)
    now, later = dictionaries(rows[150:], 2)
    shares, error = operator.contributions(delayed_pairs(RFactor.from_rows(rows[150:]), 2), 3)
    values, phi, modes = operator.eigenvalues, now @ operator.eigenvectors, operator.modes(3)
    total = np.square(later[:, :3]).sum()

    def loss(kept):
        forecast = ((phi * values)[:, kept] @ modes[kept]).real
        return np.square(later[:, :3] - forecast).sum() / total

    assert error == pytest.approx(loss(np.ones(6, dtype=bool)), rel=1e-8)
    assert (values.imag != 0).any()
    for value, share in zip(values, shares, strict=True):
        without = (values != value) & (values != value.conj())
        assert share == pytest.approx(loss(without) - error, abs=1e-8)
    still = operator.contributions(delayed_pairs(RFactor.from_rows(np.zeros((20, 9))), 2), 3)
    assert (still[0] == 0).all()
    assert still[1] == 0


def test_pairs_are_the_r_factor_of_both_dictionaries():
    rows = rows_of(np.random.default_rng(5).standard_normal((30, 2)), 3)
    found = delayed_pairs(RFactor.from_rows(rows), 3)
    both = np.hstack(dictionaries(rows, 3))
    np.testing.assert_allclose(found.triangle.T @ found.triangle, both.T @ both, atol=1e-12)
    assert found.rows == len(rows)


def test_columns_that_are_no_delays_are_refused():
    factor = RFactor.from_rows(np.random.default_rng(6).standard_normal((30, 7)))
    for delays in (0, 2):
        with pytest.raises(ValueError, match=f"7 columns are not {delays} successive states"):
            delayed_pairs(factor, delays)
    with pytest.raises(ValueError, match="ridge: -1 is negative"):
        KoopmanOperator.from_delays(factor, 6, ridge=-1)
