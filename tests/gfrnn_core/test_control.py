"""Regulators against scipy's Riccati solution and on the forced Van der Pol oscillator."""

import numpy as np
import pytest
import scipy.linalg

from gfrnn_core import RFactor, sample_weights
from gfrnn_core.control import Regulator, fit_lifted, lqr, quadratic_cost, simulate
from gfrnn_core.koopman import lifted_pairs
from gfrnn_core.lifting import lift

DT = 0.05
Q, R = np.eye(2), 0.1 * np.eye(1)
A = np.array([[1.1, 0.2], [0.0, 0.9]])
B = np.array([[0.0], [0.5]])


def itself(states):
    return states


def uncontrolled(_):
    return np.zeros(1)


def tendency(h, u):
    x, v = h[..., 0], h[..., 1]
    return np.stack([v, (1 - x**2) * v - x + u[..., 0]], axis=-1)


def van_der_pol(h, u):
    """One step of Runge and Kutta's method, the input held."""
    k1 = tendency(h, u)
    k2 = tendency(h + DT / 2 * k1, u)
    k3 = tendency(h + DT / 2 * k2, u)
    return h + DT / 6 * (k1 + 2 * k2 + 2 * k3 + tendency(h + DT * k3, u))


def linear_rows(rows=80, seed=0):
    rng = np.random.default_rng(seed)
    h, u = rng.standard_normal((rows, 2)), rng.standard_normal((rows, 1))
    return h, u, h @ A.T + u @ B.T


# --- the lifted system --------------------------------------------------------------------------


def test_a_linear_system_with_inputs_is_found_exactly():
    operator, weights = fit_lifted(RFactor.from_rows(np.hstack(linear_rows())), 1)
    np.testing.assert_allclose(operator.matrix, A.T, atol=1e-12)
    np.testing.assert_allclose(weights, B.T, atol=1e-12)
    np.testing.assert_allclose(operator.eigenvalues, [1.1, 0.9], atol=1e-12)
    assert operator.residuals().max() < 1e-12


def test_without_cut_it_is_the_joint_least_squares():
    """Also where the inputs depend on the state, as those of a controlled system do."""
    h, u, after = linear_rows()
    u = u + h[:, :1]
    after = after + 0.3 * np.random.default_rng(1).standard_normal(after.shape)
    operator, weights = fit_lifted(RFactor.from_rows(np.hstack([h, u, after])), 1)
    joint = np.linalg.lstsq(np.hstack([h, u]), after, rcond=None)[0]
    np.testing.assert_allclose(operator.matrix, joint[:2], atol=1e-10)
    np.testing.assert_allclose(weights, joint[2:], atol=1e-10)
    phi = h @ operator.eigenvectors
    free = (after - u @ weights) @ operator.eigenvectors
    error = np.linalg.norm(free - operator.eigenvalues * phi, axis=0)
    np.testing.assert_allclose(operator.residuals(), error / np.linalg.norm(phi, axis=0))


def test_inputs_that_cannot_be_told_apart_are_refused():
    h, u, after = linear_rows()
    for rows in ([h, u, 2 * u, after], [h, u, 0 * u, after]):
        with pytest.raises(ValueError, match="always zero or a combination"):
            fit_lifted(RFactor.from_rows(np.hstack(rows)), 2)
    for inputs in (0, 2, 5):
        with pytest.raises(ValueError, match=f"inputs: {inputs} of 5 columns"):
            fit_lifted(RFactor.from_rows(np.hstack([h, u, after])), inputs)


# --- the regulator ------------------------------------------------------------------------------


def test_the_gain_is_that_of_the_riccati_equation():
    gain, P = lqr(A, B, Q, R)
    expected = scipy.linalg.solve_discrete_are(A, B, Q, R)
    np.testing.assert_allclose(P, expected, rtol=1e-10)
    np.testing.assert_allclose(
        gain, np.linalg.solve(R + B.T @ expected @ B, B.T @ expected @ A), rtol=1e-10
    )
    # No other gain is cheaper, and P says what it costs.
    start = np.array([1.0, -0.5])
    step = lambda h, u: A @ h + B @ u  # noqa: E731

    def cost(F):
        return quadratic_cost(*simulate(step, start, 400, lambda h: -F @ h), Q, R)

    np.testing.assert_allclose(cost(gain), start @ P @ start, rtol=1e-9)
    for change in ([[0.05, 0]], [[-0.05, 0]], [[0, 0.05]], [[0, -0.05]]):
        assert cost(gain + change) > cost(gain) * (1 + 1e-5)


def test_the_design_from_data_of_a_linear_system_is_its_lqr():
    operator, weights = fit_lifted(RFactor.from_rows(np.hstack(linear_rows())), 1)
    # h* is held by u*: h* = A h* + B u*.
    target, held = np.array([1.0, -0.5]), np.array([-0.1])
    np.testing.assert_allclose(A @ target + B @ held, target)
    regulator = Regulator.design(
        operator, weights, itself, target, Q, R, target_input=held, floor=0.0
    )
    gain, _ = lqr(A, B, Q, R)
    np.testing.assert_allclose(regulator.gain, gain, rtol=1e-8)
    np.testing.assert_allclose(regulator(target), held, atol=1e-12)
    np.testing.assert_allclose(regulator([2.0, 0.0]), held - gain @ [1.0, 0.5], rtol=1e-8)
    states, inputs = simulate(lambda h, u: A @ h + B @ u, [0.0, 0.0], 200, regulator)
    assert states.shape == (201, 2)
    assert inputs.shape == (200, 1)
    np.testing.assert_allclose(states[-1], target, atol=1e-8)


def test_the_constant_and_dependent_functions_do_not_disturb():
    """A constant has eigenvalue 1 and no input reaches it; copies make K rank deficient."""

    def dictionary(h):
        return np.column_stack([h, np.ones(len(h)), h[:, :1] + h[:, 1:]])

    h, u, after = linear_rows()
    rows = np.hstack([dictionary(h), u, dictionary(after)])
    operator, weights = fit_lifted(RFactor.from_rows(rows), 1)
    assert operator.rank == 3
    with pytest.raises(ValueError, match="not stabilisable: no input reaches .* eigenvalue 1"):
        Regulator.design(operator, weights, dictionary, [0, 0], Q, R)
    regulator = Regulator.design(operator, weights, dictionary, [0, 0], Q, R, constant=2, floor=0.0)
    probe = np.array([[0.3, -0.7]])
    np.testing.assert_allclose(regulator(probe[0]), -(lqr(A, B, Q, R)[0] @ probe[0]), rtol=1e-7)


def test_unseen_modes_at_the_edge_need_the_floor():
    """A controllable integrator that the cost does not see: no stabilising solution without it."""
    edge, push = np.diag([0.9, 1.0]), np.array([[1.0], [1.0]])
    unseen = np.diag([1.0, 0.0])
    with pytest.raises(ValueError, match="Riccati|grows by"):
        lqr(edge, push, unseen, R)
    rng = np.random.default_rng(0)
    h, u = rng.standard_normal((50, 2)), rng.standard_normal((50, 1))
    rows = np.hstack([h, u, h @ edge.T + u @ push.T])
    operator, weights = fit_lifted(RFactor.from_rows(rows), 1)
    regulator = Regulator.design(operator, weights, itself, [0, 0], unseen, R, floor=1e-6)
    assert np.abs(np.linalg.eigvals(edge - push @ regulator.gain)).max() < 1


def test_modes_out_of_reach():
    unreachable = np.diag([1.02, 0.5])
    push = np.array([[0.0], [1.0]])
    with pytest.raises(ValueError, match=r"no input reaches the mode with eigenvalue 1.02"):
        lqr(unreachable, push, Q, R)
    # Stable ones are left alone, as are unstable ones that a discount outweighs.
    assert lqr(np.diag([0.99, 0.5]), push, Q, R)[0][0, 0] == pytest.approx(0, abs=1e-12)
    gain, P = lqr(unreachable, push, Q, R, discount=0.9)
    np.testing.assert_allclose(P[0, 0], 1 / (1 - 0.9 * 1.02**2), rtol=1e-9)
    with pytest.raises(ValueError, match=r"eigenvalue 1.02"):
        lqr(unreachable, push, Q, R, discount=0.99)
    assert gain.shape == (1, 2)


def test_costs_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"state_cost: found shape \(3, 3\), allowed: .*\(2, 2\)"):
        lqr(A, B, np.eye(3), R)
    with pytest.raises(ValueError, match="state_cost: found .* symmetric"):
        lqr(A, B, np.array([[1.0, 0.5], [0.0, 1.0]]), R)
    with pytest.raises(ValueError, match="state_cost: has a negative eigenvalue"):
        lqr(A, B, np.diag([1.0, -1.0]), R)
    with pytest.raises(ValueError, match="input_cost: not positive definite"):
        lqr(A, B, Q, np.zeros((1, 1)))
    for discount in (0.0, 1.1):
        with pytest.raises(ValueError, match=f"discount: {discount}"):
            lqr(A, B, Q, R, discount)
    operator, weights = fit_lifted(RFactor.from_rows(np.hstack(linear_rows())), 1)
    with pytest.raises(ValueError, match=r"state_cost: found shape \(2, 2\), allowed: .*\(3, 3\)"):
        Regulator.design(operator, weights, itself, [0, 0, 0], Q, R)


def test_the_cost_of_a_run_by_hand():
    states, inputs = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[3.0]])
    weight = np.array([[2.0, 0.5], [0.5, 1.0]])
    # 2 + 4 + 2 * 0.5 * 2, then 1, then 0.1 * 9.
    assert quadratic_cost(states, inputs, weight, R) == pytest.approx(8 + 1 + 0.9)
    assert quadratic_cost(states, inputs, Q, R, target=[0, 1]) == pytest.approx(1 + 1 + 0.9)


# --- forced Van der Pol -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oscillator():
    """A regulator from 200 short runs under random inputs, and LQR on the true linearisation."""
    rng = np.random.default_rng(0)
    runs, times = 200, 20
    inputs = rng.uniform(-2, 2, (times + 1, runs, 1))
    states = np.empty((times + 1, runs, 2))
    states[0] = rng.uniform(-3, 3, (runs, 2))
    for t in range(times):
        states[t + 1] = van_der_pol(states[t], inputs[t + 1])
    hidden = sample_weights(
        states[:-1].reshape(-1, 2), 50, following=states[1:].reshape(-1, 2), seed=1
    )
    factor = lifted_pairs(
        [states[:, run] for run in range(runs)],
        hidden,
        inputs=[inputs[:, run] for run in range(runs)],
    )
    operator, weights = fit_lifted(factor, 1, rank=40)
    regulator = Regulator.design(
        operator, weights, lambda h: lift(h, None, hidden), [0, 0], Q, R, constant=2
    )
    small, zero = 1e-6, np.zeros(2)
    slope = np.column_stack([van_der_pol(small * e, np.zeros(1)) / small for e in np.eye(2)])
    push = (van_der_pol(zero, np.array([small])) / small)[:, None]
    return regulator, lqr(slope, push, Q, R)[0], slope, push


# Near the target nothing beats LQR on the true linearisation; far off it is no optimum.
@pytest.mark.parametrize(
    ("start", "excess"), [([1.5, 1.0], 1.1), ([-2.0, 0.5], 1.1), ([0.2, -0.1], 1.4)]
)
def test_the_oscillator_is_brought_to_rest_almost_as_cheaply_as_by_the_true_model(
    oscillator, start, excess
):
    regulator, gain, *_ = oscillator
    runs = [
        simulate(van_der_pol, start, 300, policy)
        for policy in (regulator, uncontrolled, lambda h: -gain @ h)
    ]
    learned, free, true = (quadratic_cost(*run, Q, R) for run in runs)
    assert np.abs(runs[0][0][-1]).max() < 0.01
    assert np.abs(runs[1][0][-1]).max() > 0.5
    assert learned < free / 5
    assert learned < excess * true


def test_near_the_target_the_loop_is_nearly_that_of_the_true_linearisation(oscillator):
    regulator, gain, slope, push = oscillator
    small = 1e-6
    local = -np.column_stack([(regulator(small * e) - regulator(0 * e)) / small for e in np.eye(2)])
    learned = np.abs(np.linalg.eigvals(slope - push @ local)).max()
    best = np.abs(np.linalg.eigvals(slope - push @ gain)).max()
    assert np.abs(np.linalg.eigvals(slope)).max() > 1.01
    assert abs(learned - best) < 0.05
    assert learned < 1
