"""Design linear quadratic regulators of a system in its lifted space.

With rows [ Psi(h_t) | u_t | Psi(h_t+1) ] the lifted system is ``Psi(h') = Psi(h) K + u B`` (EDMD
with control: Korda & Mezic, 'Linear predictors for nonlinear dynamical systems', Automatica 93,
2018; LQR on a sampled dictionary: Bolager et al., arXiv 2410.23467). Coefficients are rows here,
so the Riccati equation of textbooks, for ``z' = A z + B u``, gets the transposes.

One B for all states is only approximate: an input changes a nonlinear function by ``dPsi/dh b``,
which depends on the state, and least squares finds its mean over the data. Regulation happens near
the target h*, where the effect is ``J b``, with J the Jacobian of Psi at h* and b the columns of B
for the state itself. With it the loop is exact near the target: ``Psi(f(h)) = Psi(h) K`` has the
derivative ``A J = J df/dh``, so the image of J is invariant under (A, J b), and on it the lifted
Riccati equation is that of the linearisation. Far from the target, K describes the free system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.koopman import KoopmanOperator
from gfrnn_core.triangles.rfactor import RFactor
from gfrnn_core.value_checks import check_count

Array = NDArray[Any]
Dictionary = Callable[[Array], Array]
Response = Literal["target", "mean"]

# Central differences: the cube root of the rounding error balances it with that of the cut.
_STEP = float(np.cbrt(np.finfo(float).eps))


def fit_lifted(
    factor: RFactor,
    inputs: int,
    rank: int | None = None,
    ridge: float = 0.0,
    *,
    first: int | None = None,
) -> tuple[KoopmanOperator, Array]:
    """Solve for K and B of ``Psi(h') = Psi(h) K + u B`` from R alone.

    Without cut and ridge this is the joint least squares; a cut or ridge acts on K only.

    Parameters
    ----------
    factor : RFactor
        R factor of rows [Psi(h_t) | u_t | Psi(h_t+1)]. The runs must be long enough to reach the
        attractor of the system: if most of them leave the data, K has spurious growing modes that
        no input reaches, and no regulator exists.
    inputs : int
        Number of input columns.
    rank, ridge
        See :meth:`KoopmanOperator.from_factor`.
    first : int, optional
        First input column, if the inputs stand within the functions of h_t and not after them.

    Returns
    -------
    operator : KoopmanOperator
        Operator of the system without input, from the rows [Psi(h_t) | Psi(h_t+1) - u_t B].
    input_weights : ndarray, shape (inputs, n)
        B. If the response of the functions to inputs depends on the state, B is its mean over the
        data; see :func:`response_at`.

    Raises
    ------
    ValueError
        If the columns do not fit, or an input is zero or a combination of the others.
    """
    n, odd = divmod(factor.columns - inputs, 2)
    if odd or n < 1 or inputs < 1:
        raise ValueError(f"inputs: {inputs} of {factor.columns} columns leave no two dictionaries")
    begin = n if first is None else first
    if not 0 <= begin <= n:
        raise ValueError(f"first: {first} is not within 0..{n}, the size of the dictionary")
    end = begin + inputs
    # With the inputs first, the rows below are the parts of both dictionaries unexplained by them.
    leading = factor.select([*range(begin, end), *range(begin), *range(end, factor.columns)])
    forcing, present, after = np.split(leading.triangle[:inputs], [inputs, inputs + n], axis=1)
    sizes = np.linalg.svd(forcing, compute_uv=False)
    if len(sizes) < inputs or not sizes[-1] > 1e-12 * sizes[0]:
        raise ValueError("inputs: one is always zero or a combination of the others; leave it out")
    rest = RFactor(leading.triangle[inputs:, inputs:], leading.rows - inputs)
    partial = KoopmanOperator.from_factor(rest, rank, ridge)
    weights = scipy.linalg.solve_triangular(forcing, after - present @ partial.matrix)
    forcing, now, after = np.split(leading.triangle, [inputs, inputs + n], axis=1)
    free = RFactor.from_rows(np.hstack([now, after - forcing @ weights]))
    return KoopmanOperator.from_factor(free, rank, ridge), weights


def response_at(dictionary: Dictionary, state: ArrayLike, input_weights: Array) -> Array:
    """Return how the inputs move every function of the dictionary at one state: ``(J b)^T``.

    Parameters
    ----------
    dictionary : callable
        Maps states, shape (rows, d), to functions, shape (rows, n); the leading d functions are
        the state itself.
    state : array_like, shape (d,)
        State after a step without input, or with the usual input; a fixed point.
    input_weights : ndarray, shape (p, n)
        B of :func:`fit_lifted`; only its leading d columns are used.

    Returns
    -------
    ndarray, shape (p, n)
        Response with J from central differences of the dictionary, accurate to about ten digits
        where the functions change little over 1e-5. States in small units, such as kg kg-1, must be
        scaled to order one first.

    Raises
    ------
    ValueError
        If the dictionary does not begin with the state.
    """
    h = np.asarray(state, dtype=float)
    step = _STEP * np.maximum(1.0, np.abs(h))
    apart = dictionary(h + np.diag(step)) - dictionary(h - np.diag(step))
    slope = apart / (2 * step[:, None])
    if not np.allclose(slope[:, : h.size], np.eye(h.size), atol=1e-6):
        raise ValueError(
            f"dictionary: its first {h.size} functions are not the state; they must be"
        )
    return np.asarray(input_weights[:, : h.size] @ slope)


def lqr(
    A: Array, B: Array, state_cost: Array, input_cost: Array, discount: float = 1.0
) -> tuple[Array, Array]:
    """Return the gain F of ``u = -F z`` that minimises ``sum_t discount^t (z^T Q z + u^T R u)``.

    Parameters
    ----------
    A, B : ndarray, shapes (k, k) and (k, p)
        Matrices of ``z' = A z + B u``.
    state_cost, input_cost : ndarray, shapes (k, k) and (p, p)
        Q, positive semi-definite, and R, positive definite; symmetric.
    discount : float
        In (0, 1]. Below 1, modes that grow by less than ``discount^-1/2`` a step need not be
        controllable.

    Returns
    -------
    gain : ndarray, shape (p, k)
    riccati : ndarray, shape (k, k)
        P; ``z^T P z`` is the cost from z on.

    Raises
    ------
    ValueError
        If shapes or definiteness do not fit, or a growing mode cannot be controlled.
    """
    k, p = np.shape(B)
    Q, R = _weight("state_cost", state_cost, k), _weight("input_cost", input_cost, p)
    if not np.linalg.eigvalsh(R)[0] > 0:
        raise ValueError("input_cost: not positive definite; every input needs a positive cost")
    if not 0 < discount <= 1:
        raise ValueError(f"discount: {discount} is not in (0, 1]")
    A, B = np.sqrt(discount) * np.asarray(A), np.sqrt(discount) * np.asarray(B)
    remedy = "take a smaller rank, a larger ridge, or a discount below 1"
    size = np.linalg.norm(A, 2) + np.linalg.norm(B, 2)
    for value in np.linalg.eigvals(A):
        if abs(value) >= 1 - 1e-9:
            reach = np.linalg.svd(np.hstack([A - value * np.eye(k), B]), compute_uv=False)[-1]
            if reach <= 1e-10 * size:
                raise ValueError(
                    f"not stabilisable: no input reaches the mode with eigenvalue "
                    f"{value / np.sqrt(discount):.6g}; {remedy}"
                )
    try:
        P = scipy.linalg.solve_discrete_are(A, B, Q, R)
        gain = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        radius = np.abs(np.linalg.eigvals(A - B @ gain)).max()
    except np.linalg.LinAlgError as error:
        raise ValueError(f"the Riccati equation has no stabilising solution; {remedy}") from error
    if not radius < 1:
        raise ValueError(f"the closed loop grows by {radius:.6g} a step; {remedy}")
    return gain, P


@dataclass(frozen=True)
class Regulator:
    """The policy ``u = u* - F (Psi(h) - Psi(h*))``; calling it with a state returns the input.

    Attributes
    ----------
    dictionary : callable
        Maps states, shape (rows, d), to features, shape (rows, n).
    gain : ndarray, shape (p, n)
        F.
    target_features : ndarray, shape (n,)
        Psi(h*).
    target_input : ndarray, shape (p,)
        u*, the input that holds the system at h*.
    """

    dictionary: Dictionary
    gain: Array
    target_features: Array
    target_input: Array

    def __call__(self, state: Array) -> Array:
        """Return the inputs, shape (..., p), at states, shape (..., d)."""
        h = np.asarray(state, dtype=float)
        away = self.dictionary(h.reshape(-1, h.shape[-1])) - self.target_features
        inputs = self.target_input - away @ self.gain.T
        return np.asarray(inputs.reshape(*h.shape[:-1], -1))

    @classmethod
    def design(
        cls,
        operator: KoopmanOperator,
        input_weights: Array,
        dictionary: Dictionary,
        target: ArrayLike,
        state_cost: Array,
        input_cost: Array,
        *,
        constant: int | None = None,
        target_input: ArrayLike | None = None,
        response: Response = "target",
        discount: float = 1.0,
        floor: float = 1e-10,
    ) -> Regulator:
        """Design LQR towards a target state, in the functions that the operator keeps.

        Parameters
        ----------
        operator, input_weights
            See :func:`fit_lifted`.
        dictionary : callable
            Dictionary of the operator; its leading columns are the state.
        target : array_like, shape (d,)
            h*, a fixed point under `target_input`.
        state_cost, input_cost : ndarray, shapes (d, d) and (p, p)
            Costs of deviations from the target, see :func:`lqr`.
        constant : int, optional
            Column of the constant function. It is left out: deviations from the target do not
            contain it, and no input reaches it, though its eigenvalue is 1.
        target_input : array_like, shape (p,), optional
            u*; zero by default. K describes the system without input, so a target that needs an
            input is held less exactly the more nonlinear the functions are; in that case fit on
            inputs from which u* was subtracted.
        response : {"target", "mean"}
            Response of the functions to an input: at the target (:func:`response_at`), or B as it
            was fitted, the mean over the data (Korda & Mezic). The mean is right for linear
            functions only.
        discount : float
        floor : float
            Cost of every kept function, relative to the largest cost of a state: it makes modes
            visible to the Riccati equation that do not appear in the state.

        Raises
        ------
        ValueError
            If `response` is unknown; see also :func:`lqr` and :func:`response_at`.
        """
        if response not in get_args(Response):
            raise ValueError(
                f"response: {response!r} is not one of {', '.join(get_args(Response))}"
            )
        Q = _weight("state_cost", state_cost, np.size(target))
        if response == "target":
            input_weights = response_at(dictionary, target, input_weights)
        q_basis, coefficients, reduced = operator.basis, operator.coefficients, operator.reduced
        if constant is not None:
            inner = scipy.linalg.null_space(coefficients[:, [constant]].T)
            q_basis, coefficients = q_basis @ inner, inner.T @ coefficients
            reduced = inner.T @ reduced @ inner
        seen = coefficients[:, : len(Q)]
        cost = seen @ Q @ seen.T
        cost += floor * np.linalg.norm(cost, 2) * np.eye(len(cost))
        gain, _ = lqr(reduced.T, (input_weights @ q_basis).T, cost, input_cost, discount)
        features = dictionary(np.asarray(target, dtype=float)[None])[0]
        at_rest = np.zeros(len(gain)) if target_input is None else np.asarray(target_input, float)
        return cls(dictionary, gain @ q_basis.T, features, at_rest)


def simulate(
    step: Callable[[Array, Array], Array], initial: ArrayLike, steps: int, policy: Dictionary
) -> tuple[Array, Array]:
    """Run the closed loop: states, (steps + 1, ..., d), and inputs, (steps, ..., p).

    Parameters
    ----------
    step : callable
        Maps states, shape (..., d), and inputs, shape (..., p), to the next states.
    initial : array_like, shape (..., d)
        One initial state or several.
    steps : int
        At least 1.
    policy : callable
        Maps states to inputs, for example a `Regulator`.

    Raises
    ------
    ValueError
        If there is no step.
    """
    check_count("steps", steps)
    states, inputs = [np.asarray(initial, dtype=float)], []
    for _ in range(steps):
        inputs.append(np.asarray(policy(states[-1]), dtype=float))
        states.append(np.asarray(step(states[-1], inputs[-1]), dtype=float))
    return np.array(states), np.array(inputs)


def quadratic_cost(
    states: Array, inputs: Array, state_cost: Array, input_cost: Array, target: ArrayLike = 0.0
) -> Array:
    """Return ``sum_t (h_t - h*)^T Q (h_t - h*) + u_t^T R u_t`` of each run, with its last state.

    Parameters
    ----------
    states, inputs : ndarray, shapes (steps + 1, ..., d) and (steps, ..., p)
        Result of :func:`simulate`.
    state_cost, input_cost : ndarray, shapes (d, d) and (p, p)
    target : array_like, shape (d,)

    Returns
    -------
    ndarray, shape (...)
    """
    away = np.asarray(states) - np.asarray(target, dtype=float)
    paid = np.einsum("t...i,ij,t...j->...", inputs, input_cost, inputs)
    return np.asarray(np.einsum("t...i,ij,t...j->...", away, state_cost, away) + paid)


def _weight(name: str, matrix: Array, size: int) -> Array:
    found = np.asarray(matrix, dtype=float)
    if found.shape != (size, size):
        raise ValueError(f"{name}: found shape {found.shape}, allowed: ({size}, {size})")
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: holds NaN or infinity; every cost must be finite")
    # Products of matrices are symmetric up to rounding of their largest entries.
    if np.abs(found - found.T).max() > 1e-8 * np.abs(found).max():
        raise ValueError(f"{name}: is not symmetric; give (Q + Q.T) / 2, which has the same costs")
    found = np.asarray((found + found.T) / 2)
    if np.linalg.eigvalsh(found)[0] < -1e-10 * np.linalg.norm(found):
        raise ValueError(f"{name}: has a negative eigenvalue, must be positive semi-definite")
    return found
