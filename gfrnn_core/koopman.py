"""Compute Koopman operators from an R factor of rows [ Psi(h_t) | Psi(h_t+1) ].

A :class:`gfrnn_core.SampledRNN` with target ``lifted`` has such rows.

K = argmin ``|Psi' - Psi K|``; ``phi = Psi v`` with ``K v = mu v`` is an approximate eigenfunction:
``phi(h_t+1) = mu phi(h_t)``. Computations use functions that are orthonormal on the rows,
``q = Psi V S^-1`` with ``R_ff = U S V^T`` cut to its numerical range, so no system with a rank
deficient triangle is solved. All rows of q' compress to ``[A; T]``: A is K in this basis, T the
part of q' outside the dictionary. They give residuals and pseudospectra (ResDMD: Colbrook &
Townsend, 'Rigorous data-driven computation of spectral properties of Koopman operators for
dynamical systems', Comm. Pure Appl. Math. 77, 2024, arXiv 2111.14889).

If the dictionary is the delayed states alone, K is the companion matrix of a vector autoregressive
model. Its eigenvalues give periods and damping times of the model's modes (Neumaier & Schneider,
'Estimation of parameters and eigenmodes of multivariate autoregressive models', ACM Trans. Math.
Softw. 27, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.regression import RidgePath
from gfrnn_core.triangles.rfactor import RFactor

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class KoopmanOperator:
    """K on a dictionary of n functions, in r functions q that are orthonormal on the rows.

    Attributes
    ----------
    basis : ndarray, shape (n, r)
        ``q = Psi basis``.
    coefficients : ndarray, shape (r, n)
        Least-squares coefficients of Psi on q.
    next_coefficients : ndarray, shape (r, n)
        Coefficients of the next Psi on q; shrunk if there is a ridge.
    response : ndarray, shape (at least r, r)
        ``[A; T]``: the next q in an orthonormal basis of rows of which q is the first part.
    """

    basis: Array
    coefficients: Array
    next_coefficients: Array
    response: Array

    @classmethod
    def from_factor(
        cls, factor: RFactor, rank: int | None = None, ridge: float = 0.0
    ) -> KoopmanOperator:
        """Fit the operator by least squares from R alone.

        Parameters
        ----------
        factor : RFactor
            R factor of rows [Psi(h_t) | Psi(h_t+1)]. For rows with inputs use
            :func:`gfrnn_core.control.fit_lifted`.
        rank : int, optional
            Number of singular directions of the dictionary to keep; by default, and at most, all
            above rounding. Directions near rounding cause spurious eigenvalues, see `filtered`.
        ridge : float
            Ridge relative to the largest singular value.

        Raises
        ------
        ValueError
            If the rows are complex, the number of columns is odd, there are fewer rows than
            functions, or `rank` or `ridge` is out of range.
        """
        if np.iscomplexobj(factor.triangle):
            raise ValueError(
                "factor: has complex rows; give the real and imaginary parts of the functions as "
                "functions of their own"
            )
        n, odd = divmod(factor.columns, 2)
        if odd or n < 1:
            raise ValueError(f"factor: {factor.columns} columns are not two dictionaries")
        if rank is not None and not 0 < rank <= n:
            raise ValueError(f"rank: {rank} is not within 1..{n}, the size of the dictionary")
        if not 0 <= ridge < np.inf:
            raise ValueError(f"ridge: {ridge} is negative or not finite")
        path = RidgePath.from_factor(factor, n, n)
        floor = n * np.finfo(float).eps * path.singular_values[0]
        kept = min(rank or n, int((path.singular_values > floor).sum()))
        if kept == 0:
            raise ValueError("factor: every function of the dictionary is zero on all rows")
        s, right = path.singular_values[:kept], path.right[:kept]
        basis = right.T / s
        # Directions cut off count as not reached by the kept functions.
        beyond = np.vstack([path.projected[kept:], factor.triangle[n:, n:]]) @ basis
        response = _stacked(path.projected[:kept] @ basis, beyond)
        shrink = s**2 / (s**2 + (ridge * s[0]) ** 2)
        return cls(basis, s[:, None] * right, shrink[:, None] * path.projected[:kept], response)

    @classmethod
    def from_delays(cls, factor: RFactor, delays: int, ridge: float = 0.0) -> KoopmanOperator:
        """Fit the operator on delayed states: the next state by ridge regression, all else exactly.

        Residuals on other rows take the R factor that :func:`delayed_pairs` makes of these.

        Parameters
        ----------
        factor : RFactor
            R factor of rows [h_t | h_t-1 | ... | h_t+1] with ``delays`` present and earlier states.
        delays : int
        ridge : float
            Ridge relative to the largest singular value of the delayed states.

        Raises
        ------
        ValueError
            If the columns are not ``delays + 1`` states, there are fewer rows than functions, or
            `ridge` is out of range.
        """
        if not 0 <= ridge < np.inf:
            raise ValueError(f"ridge: {ridge} is negative or not finite")
        exact = cls.from_factor(delayed_pairs(factor, delays))
        n = len(exact.basis)
        size = factor.columns - n
        weights = RidgePath.from_factor(factor, n, size).weights(ridge)
        known = exact.coefficients[:, : n - size]
        return replace(exact, next_coefficients=np.hstack([exact.coefficients @ weights, known]))

    @property
    def rank(self) -> int:
        """r, the number of functions kept."""
        return int(self.basis.shape[1])

    @property
    def reduced(self) -> Array:
        """K in the basis q, shape (r, r): ``q(h_t+1) = q(h_t) reduced``."""
        return np.asarray(self.next_coefficients @ self.basis)

    @property
    def matrix(self) -> Array:
        """K, shape (n, n): ``Psi(h_t+1) = Psi(h_t) K``."""
        return np.asarray(self.basis @ self.next_coefficients)

    @property
    def eigenvalues(self) -> Array:
        """Eigenvalues of K within the kept functions, largest modulus first: complex, (r,)."""
        return self._pairs[0]

    @property
    def eigenvectors(self) -> Array:
        """Columns v with ``K v = mu v``: shape (n, r); ``|Psi v| = 1`` over the training rows."""
        return np.asarray(self.basis @ self._pairs[1])

    def rates(self, dt: float) -> Array:
        """Return the growth rates ``log|mu| / dt``, shape (r,); minus infinity where mu is 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(self.eigenvalues)) / dt)

    def frequencies(self, dt: float) -> Array:
        """Return ``arg(mu) / (2 pi dt)``, in cycles per unit of time: shape (r,)."""
        return np.asarray(np.angle(self.eigenvalues) / (2 * np.pi * dt))

    def modes(self, size: int) -> Array:
        """Return the least-squares coefficients of the state on the eigenfunctions.

        The state is the leading columns of Psi. ``state(t + s) = sum_j phi_j(t) mu_j^s modes[j]``
        up to the part that eigenfunctions do not reach: complex, shape (r, size).
        """
        return np.asarray(
            np.linalg.lstsq(self._pairs[1], self.coefficients[:, :size], rcond=None)[0]
        )

    def residuals(self, fold: RFactor | None = None) -> Array:
        """Return ``|phi(h_t+1) - mu phi(h_t)| / |phi(h_t)|`` of each eigenpair: shape (r,).

        Parameters
        ----------
        fold : RFactor, optional
            R factor of held-out rows with the same columns; by default that of the training rows,
            whose residuals are too small unless there are far more rows than functions.

        Raises
        ------
        ValueError
            If the factor has not the columns of the operator's rows, or has no rows.
        """
        values, vectors, _ = self._pairs
        if fold is None:
            later = self.response @ vectors
            later[: self.rank] -= values * vectors
            return np.asarray(np.linalg.norm(later, axis=0))
        n = self._functions_of(fold)
        if not fold.rows:
            raise ValueError("fold: has no rows; leave it out")
        now = fold.triangle[:, :n] @ self.eigenvectors
        after = fold.triangle[:, n:] @ self.eigenvectors
        return np.asarray(
            np.linalg.norm(after - values * now, axis=0) / np.linalg.norm(now, axis=0)
        )

    @property
    def noise_floor(self) -> Array:
        """Residuals that noise alone causes: ``sqrt(1 - |mu|^2)``, 0 outside the unit circle; (r,).

        Where noise keeps a damped eigenfunction at a constant mean square, its error in a step has
        this size even if the eigenvalue is exact. The squared residual of a stochastic system is
        the sum of that of the mean evolution and of a variance (Colbrook, Li, Raut & Townsend,
        'Beyond expectations: residual dynamic mode decomposition and variance for stochastic
        dynamical systems', Nonlinear Dyn. 112, 2024, arXiv 2308.10697).
        """
        return np.sqrt(np.maximum(0.0, 1.0 - np.square(np.abs(self.eigenvalues))))

    def contributions(self, fold: RFactor, size: int) -> tuple[Array, float]:
        """Return what the forecast of the next state loses without each mode.

        Residuals alone do not tell spurious eigenpairs of many delays, whose eigenfunctions are
        mostly made of values that are known already. They do not improve a forecast.

        Parameters
        ----------
        fold : RFactor
            R factor of held-out rows with the columns of the operator's own.
        size : int
            Length of a state, the leading columns of Psi.

        Returns
        -------
        increases : ndarray, shape (r,)
            Increase of the squared error on the rows if the mode, with its complex conjugate, is
            left out, relative to the sum of squares of the next state; 0 if that is 0. Modes are
            not orthogonal, so that their increases need not add up.
        error : float
            Squared error with all modes, relative to the same sum.

        Raises
        ------
        ValueError
            If the factor has not the columns of the operator's rows.
        """
        n, (values, vectors) = self._functions_of(fold), (self.eigenvalues, self.eigenvectors)
        now, after = fold.triangle[:, :n], fold.triangle[:, n : n + size]
        total = float(np.square(after).sum())
        if total == 0:
            return np.zeros(self.rank), 0.0
        error = after - now @ self.matrix[:, :size]
        least = float(np.square(error).sum())
        # Of P, the part of a mode or of a pair, |error + P|^2 - |error|^2 is 2 error.P + |P|^2, and
        # P is one or two times the real part of the outer product of `ahead` and the mode.
        ahead, modes = now @ vectors * values, self.modes(size)
        crossed = ((error.T @ ahead).T * modes).sum(axis=1).real
        lengths = np.square(np.abs(ahead)).sum(axis=0) * np.square(np.abs(modes)).sum(axis=1)
        turned = (np.square(ahead).sum(axis=0) * np.square(modes).sum(axis=1)).real
        pairs = 1 + (values.imag != 0)
        increases = 2 * pairs * crossed + pairs**2 * (lengths + turned) / 2
        return increases / total, least / total

    def pseudospectrum(self, points: ArrayLike) -> Array:
        """Return the least residual of any function in the span of q at each complex number.

        It is the smallest singular value of ``[A - z; T]``, which is small only near the true
        spectrum and so reveals spurious eigenvalues. A point takes r^3 operations. The result has
        the shape of the argument.
        """
        z = np.asarray(points, dtype=complex)
        diagonal = np.arange(self.rank)
        smallest = np.empty(z.size)
        for index, point in enumerate(z.ravel()):
            shifted = self.response.astype(complex)
            shifted[diagonal, diagonal] -= point
            smallest[index] = scipy.linalg.svdvals(shifted, overwrite_a=True)[-1]
        return smallest.reshape(z.shape)

    def filtered(self, bound: float) -> KoopmanOperator:
        """Return the operator on the eigenfunctions whose training residual is at most ``bound``.

        Raises
        ------
        ValueError
            If no eigenpair has such a small residual.
        """
        residuals, (values, vectors, _) = self.residuals(), self._pairs
        # Keep both eigenvalues of a complex pair or none: one alone gives no real basis.
        good = np.array([residuals[values == value.conj()].max() <= bound for value in values])
        if not good.any():
            raise ValueError(f"bound: {bound} is below every residual, least {residuals.min():.3g}")
        # Real and imaginary parts of both of a pair span two dimensions, in four columns.
        span = scipy.linalg.svd(np.hstack([vectors[:, good].real, vectors[:, good].imag]))[0]
        inside, outside = span[:, : good.sum()], span[:, good.sum() :]
        top, rest = np.split(self.response @ inside, [self.rank])
        return replace(
            self,
            basis=self.basis @ inside,
            coefficients=inside.T @ self.coefficients,
            next_coefficients=inside.T @ self.next_coefficients,
            response=_stacked(inside.T @ top, np.vstack([outside.T @ top, rest])),
        )

    def stabilised(self, radius: float = 1.0) -> KoopmanOperator:
        """Return the operator whose eigenvalues have at most a modulus.

        Larger ones are divided by their modulus and multiplied by ``radius``. This bounds the
        growth of linear rollouts. Eigenfunctions and all other eigenvalues do not change. Growth
        without an eigenvalue outside the unit circle, as in ``h' = h + 1``, remains.

        Parameters
        ----------
        radius : float
            Largest modulus, above 0.

        Raises
        ------
        ValueError
            If the radius is not positive.
        """
        if not radius > 0:
            raise ValueError(f"radius: {radius} is not positive")
        values, vectors, left = self._pairs
        large = np.abs(values) > radius
        if not large.any():
            return self
        duals = np.linalg.solve(
            left[:, large].conj().T @ vectors[:, large], left[:, large].conj().T
        )
        change = (radius / np.abs(values[large]) - 1) * values[large]
        correction = ((vectors[:, large] * change) @ duals).real
        return replace(
            self, next_coefficients=self.next_coefficients + correction @ self.coefficients
        )

    def rollout(self, features: Array, steps: int) -> Array:
        """Forecast ``Psi K^t`` without lifting again: (starts, n) to (starts, steps, n)."""
        if np.ndim(features) != 2 or np.shape(features)[1] != len(self.basis):
            raise ValueError(f"features: {np.shape(features)} is not (starts, {len(self.basis)})")
        result = np.empty((len(features), steps, len(self.basis)))
        q, reduced = features @ self.basis, self.reduced
        for step in range(steps):
            result[:, step] = q @ self.next_coefficients
            q = q @ reduced
        return result

    def _functions_of(self, fold: RFactor) -> int:
        """Return the number of functions, n, for an R factor of rows [ Psi | next Psi ].

        Raises
        ------
        ValueError
            If the factor does not have 2 n columns.
        """
        n = len(self.basis)
        if fold.columns != 2 * n:
            raise ValueError(f"fold: {fold.columns} columns, but the operator's rows have {2 * n}")
        return n

    @cached_property
    def _pairs(self) -> tuple[Array, Array, Array]:
        """Return eigenvalues, right and left eigenvectors of the reduced K; columns of norm 1."""
        values, left, right = scipy.linalg.eig(self.reduced, left=True)
        order = np.argsort(-np.abs(values), kind="stable")
        # LAPACK gives real vectors where all eigenvalues are real.
        return values[order], right[:, order].astype(complex), left[:, order].astype(complex)


def delayed_pairs(factor: RFactor, delays: int) -> RFactor:
    """Return the R factor of rows [ Psi(h_t) | Psi(h_t+1) ] of delayed states; no data are read.

    Parameters
    ----------
    factor : RFactor
        R factor of rows [h_t | h_t-1 | ... | h_t+1] with ``delays`` present and earlier states.
    delays : int

    Raises
    ------
    ValueError
        If the columns are not ``delays + 1`` states.
    """
    if delays < 1 or factor.columns % (delays + 1) or not factor.columns:
        raise ValueError(
            f"factor: {factor.columns} columns are not {delays} successive states and the next one"
        )
    size = factor.columns // (delays + 1)
    now, later = range(delays * size), range(delays * size, factor.columns)
    return factor.select([*now, *later, *now[: (delays - 1) * size]])


def _stacked(inside: Array, beyond: Array) -> Array:
    """Return [inside; beyond], with beyond compressed to at most as many rows as columns."""
    small = np.linalg.qr(beyond, mode="r") if len(beyond) > beyond.shape[1] else beyond
    return np.vstack([inside, np.asarray(small)])
