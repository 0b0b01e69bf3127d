"""Compare regulators with scipy's Riccati solution, and test them on a Van der Pol oscillator."""

import numpy as np
import pytest
import scipy.linalg

from gfrnn_core import RFactor, SampledRNN
from gfrnn_core.control import (
    Regulator,
    fit_lifted,
    lqr,
    quadratic_cost,
    response_at,
    simulate,
)
from gfrnn_core.lifting import lift
from gfrnn_core.systems import runge_kutta_step, van_der_pol_tendency

DT = 0.05
Q, R = np.eye(2), 0.1 * np.eye(1)
A = np.array([[1.1, 0.2], [0.0, 0.9]])
B = np.array([[0.0], [0.5]])


def itself(states):
    return states


def uncontrolled(h):
    return np.zeros((*h.shape[:-1], 1))


def van_der_pol(h, u):
    """Return the state one step later, with a constant input."""
    return runge_kutta_step(lambda state: van_der_pol_tendency(state, u), h, DT)


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
    """This holds also if the inputs depend on the state, as those of a controlled system do."""
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


def test_inputs_may_stand_within_the_functions():
    h, u, after = linear_rows()
    factor = RFactor.from_rows(np.hstack([h[:, :1], u, h[:, 1:], after]))
    operator, weights = fit_lifted(factor, 1, first=1)
    np.testing.assert_allclose(operator.matrix, A.T, atol=1e-12)
    np.testing.assert_allclose(weights, B.T, atol=1e-12)


def test_inputs_that_cannot_be_told_apart_are_refused():
    h, u, after = linear_rows()
    for rows in ([h, u, 2 * u, after], [h, u, 0 * u, after]):
        with pytest.raises(ValueError, match="always zero or a combination"):
            fit_lifted(RFactor.from_rows(np.hstack(rows)), 2)
    for first in (-1, 3):
        with pytest.raises(ValueError, match=rf"first: {first} is not within 0\.\.2"):
            fit_lifted(RFactor.from_rows(np.hstack([h, u, after])), 1, first=first)
    for inputs in (0, 2, 5):
        with pytest.raises(ValueError, match=f"inputs: {inputs} of 5 columns"):
            fit_lifted(RFactor.from_rows(np.hstack([h, u, after])), inputs)


# --- what an input does at one state ------------------------------------------------------------


def slow_manifold(h):
    """Return functions in which the free `curved_rows` are linear (Brunton et al. 2016)."""
    return np.column_stack([h, np.ones(len(h)), h[:, 0] ** 2])


SLOW, FAST, BEND, PUSH = 0.95, 0.6, 0.4, 0.5


def curved_rows():
    """Return rows of x' = 0.95 x + 0.5 u, y' = 0.6 y + 0.4 x^2, far from rest, with both u and -u.

    u moves x^2 by 0.95 x u, which is no function of u alone: its mean is far from 0, its value at
    rest. Both signs make K exact all the same.
    """
    rng = np.random.default_rng(0)
    h = np.tile(rng.uniform([1, -1], [2, 1], (60, 2)), (2, 1))
    u = np.repeat([[0.7], [-0.7]], 60, axis=0)
    x, y = h[:, :1], h[:, 1:]
    after = np.hstack([SLOW * x + PUSH * u, FAST * y + BEND * x**2])
    return RFactor.from_rows(np.hstack([slow_manifold(h), u, slow_manifold(after)]))


def test_the_input_moves_functions_by_their_slope_at_the_target():
    weights = np.array([[0.5, -2.0, 9.0, 9.0]])  # what B says of other functions is not used
    moved = response_at(slow_manifold, [3.0, 7.0], weights)
    np.testing.assert_allclose(moved, [[0.5, -2.0, 0.0, 2 * 3.0 * 0.5]], atol=1e-8)
    # A large state must not swallow the difference.
    moved = response_at(slow_manifold, [3e8, 7.0], weights)
    np.testing.assert_allclose(moved[0, 3], 3e8, rtol=1e-6)
    with pytest.raises(ValueError, match="dictionary: its first 2 functions are not the state"):
        response_at(lambda h: slow_manifold(h)[:, ::-1], [0.0, 0.0], weights)


def test_near_the_target_the_lifted_regulator_is_that_of_the_linearisation():
    operator, weights = fit_lifted(curved_rows(), 1)
    x, y, one, square = np.eye(4)
    exact = np.array([SLOW * x, FAST * y + BEND * square, one, SLOW**2 * square])
    exact[3] += (PUSH * 0.7) ** 2 * one
    np.testing.assert_allclose(operator.matrix, exact.T, atol=1e-10)
    best = lqr(np.diag([SLOW, FAST]), np.array([[PUSH], [0.0]]), Q, R)[0]

    def slope(**options):
        regulator = Regulator.design(
            operator, weights, slow_manifold, [0, 0], Q, R, constant=2, **options
        )
        ends = 1e-5 * np.vstack([np.eye(2), -np.eye(2)])
        up, down = np.split(regulator(ends), 2)
        return (down - up).T / 2e-5

    np.testing.assert_allclose(slope(), best, rtol=1e-7, atol=1e-7)
    assert abs(slope(response="mean")[0, 0] / best[0, 0] - 1) > 0.1
    with pytest.raises(ValueError, match="response: 'local' is not one of target, mean"):
        slope(response="local")


# --- the regulator ------------------------------------------------------------------------------


def test_the_gain_is_that_of_the_riccati_equation():
    gain, P = lqr(A, B, Q, R)
    expected = scipy.linalg.solve_discrete_are(A, B, Q, R)
    np.testing.assert_allclose(P, expected, rtol=1e-10)
    np.testing.assert_allclose(
        gain, np.linalg.solve(R + B.T @ expected @ B, B.T @ expected @ A), rtol=1e-10
    )


@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_no_other_gain_is_cheaper(discount):
    """P gives the cost of the gain; the discount applies to states and inputs alike."""
    gain, P = lqr(A, B, Q, R, discount)
    start = np.array([1.0, -0.5])

    def cost(F):
        states, inputs = simulate(lambda h, u: A @ h + B @ u, start, 400, lambda h: -F @ h)
        root = discount ** (np.arange(401.0)[:, None] / 2)
        return quadratic_cost(root * states, root[:-1] * inputs, Q, R)

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
    """A constant has eigenvalue 1 and cannot be controlled; copies make K rank deficient."""

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
    """A controllable integrator without cost has no stabilising solution without the floor."""
    edge, push = np.diag([0.9, 1.0]), np.array([[1.0], [1.0]])
    unseen = np.diag([1.0, 0.0])
    # Rounding decides whether the solver fails or its closed loop does not decay.
    with pytest.raises(ValueError, match="take a smaller rank, a larger ridge, or a discount"):
        lqr(edge, push, unseen, R)
    rng = np.random.default_rng(0)
    h, u = rng.standard_normal((50, 2)), rng.standard_normal((50, 1))
    rows = np.hstack([h, u, h @ edge.T + u @ push.T])
    operator, weights = fit_lifted(RFactor.from_rows(rows), 1)
    regulator = Regulator.design(operator, weights, itself, [0, 0], unseen, R, floor=1e-6)
    assert np.abs(np.linalg.eigvals(edge - push @ regulator.gain)).max() < 1


def test_modes_out_of_reach_are_refused():
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


def test_invalid_costs_are_refused():
    with pytest.raises(ValueError, match=r"state_cost: found shape \(3, 3\), allowed: .*\(2, 2\)"):
        lqr(A, B, np.eye(3), R)
    with pytest.raises(ValueError, match="state_cost: is not symmetric"):
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
    both = np.stack([states, 2 * states], axis=1), np.stack([inputs, 2 * inputs], axis=1)
    np.testing.assert_allclose(quadratic_cost(*both, weight, R), [9.9, 4 * 9.9])
    assert quadratic_cost(states, inputs, Q, R, target=[0, 1]) == pytest.approx(1 + 1 + 0.9)


# --- forced Van der Pol -------------------------------------------------------------------------


def designed(seed, response="target"):
    """Return a regulator from 500 short runs with random inputs."""
    rng = np.random.default_rng([1, seed])
    runs, times = 500, 20
    inputs = rng.uniform(-2, 2, (times + 1, runs, 1))
    states = np.empty((times + 1, runs, 2))
    states[0] = rng.uniform(-3, 3, (runs, 2))
    for t in range(times):
        states[t + 1] = van_der_pol(states[t], inputs[t + 1])
    series = list(states.swapaxes(0, 1)), list(inputs.swapaxes(0, 1))
    network = SampledRNN(
        20, sampling="normal", scale=0.15, target="lifted", standardise=False, seed=seed
    ).prepare(*series)
    operator, weights = fit_lifted(network.factorise(*series), 1, first=3)
    return Regulator.design(
        operator,
        weights,
        lambda h: lift(h, None, network.hidden),
        [0, 0],
        Q,
        R,
        constant=2,
        response=response,
    )


def linearised():
    """Return the exact linear system of one step at rest."""
    flow = scipy.linalg.expm(DT * np.array([[0, 1, 0], [-1, 1, 1], [0, 0, 0]]))
    return flow[:2, :2], flow[:2, 2:]


def cost(policy, starts):
    states, inputs = simulate(van_der_pol, starts, 300, policy)
    return quadratic_cost(states, inputs, Q, R).mean()


FAR = np.random.default_rng(0).uniform(-2, 2, (20, 2))


# Near the target nothing beats LQR on the true linearisation; far off it is no optimum.
@pytest.mark.parametrize(("starts", "most"), [(FAR, 1.0), (FAR / 100, 1.05)])
def test_the_oscillator_is_brought_to_rest_as_cheaply_as_by_the_true_model(starts, most):
    gain = lqr(*linearised(), Q, R)[0]
    true, free = cost(lambda h: -h @ gain.T, starts), cost(uncontrolled, starts)
    policies = [designed(seed) for seed in range(3)]
    ratios = np.array([cost(policy, starts) / true for policy in policies])
    assert (ratios < most).all()
    assert (ratios > 0.9).all()
    if starts is not FAR:
        assert (ratios > 1).all()
    assert free > 10 * true
    final = simulate(van_der_pol, starts, 300, policies[0])[0][-1]
    assert np.abs(final).max() < 1e-3


def test_a_gain_from_the_mean_response_is_worse_on_the_oscillator():
    gain = lqr(*linearised(), Q, R)[0]
    true = cost(lambda h: -h @ gain.T, FAR / 100)
    best, mean = (
        np.array([cost(designed(seed, response), FAR / 100) / true - 1 for seed in range(3)])
        for response in ("target", "mean")
    )
    assert (best < mean / 2).all()


def test_costs_are_symmetric_up_to_rounding():
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    exact = lqr(A, B, 3 * Q, R)[0]
    np.testing.assert_allclose(lqr(A, B, turn @ (3 * Q) @ turn.T, R)[0], exact, rtol=1e-9)
    np.testing.assert_allclose(lqr(A, B, [[3, 1e-17], [-1e-17, 3]], R)[0], exact, rtol=1e-9)
    with pytest.raises(ValueError, match="state_cost: holds NaN"):
        lqr(A, B, np.diag([1.0, np.nan]), R)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_regulator_of_a_linear_system_in_any_basis_is_that_of_the_system(size):
    rng = np.random.default_rng(size)
    law, push = 0.4 * rng.standard_normal((size, size)), rng.standard_normal((size, 1))
    h, u = rng.standard_normal((200, size)), rng.standard_normal((200, 1))
    rows = RFactor.from_rows(np.hstack([h, u, h @ law.T + u @ push.T]))
    operator, weights = fit_lifted(rows, 1)
    cost = 3 * np.eye(size)
    policy = Regulator.design(operator, weights, itself, np.zeros(size), cost, R)
    np.testing.assert_allclose(policy.gain, lqr(law, push, cost, R)[0], atol=1e-6)


def test_a_simulation_without_steps_is_refused():
    with pytest.raises(ValueError, match="steps: 0"):
        simulate(van_der_pol, [1.0, 0.0], 0, uncontrolled)
