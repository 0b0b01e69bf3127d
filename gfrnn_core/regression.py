"""Compute ridge regression, its errors and degrees of freedom from R factors alone.

With R = [R_ff R_fy; 0 R_yy], the ridge solution for the targets y on the leading k feature columns
comes from the SVD of the leading k x k block of R_ff. The features are numerically rank deficient
(condition numbers beyond 1e17), so no triangular system with R_ff is solved. Where the ridge is far
above rounding, the eigenvectors of the products of the columns give the same solution in a third of
the time, and a quadratic form gives the errors, see :mod:`gfrnn_core.triangles.normal_equations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.triangles.normal_equations import LEAST_RIDGE, NormalEquations
from gfrnn_core.triangles.rfactor import RFactor

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RidgePath:
    """SVD of R_ff and the targets in its basis, which give the solution for any ridge.

    Attributes
    ----------
    singular_values : ndarray, shape (k,)
        Singular values of the feature columns, largest first.
    right : ndarray, shape (k, k)
        Right singular vectors, one per row.
    projected : ndarray, shape (k, targets)
        Products of the left singular vectors with R_fy.
    """

    singular_values: Array
    right: Array
    projected: Array

    @classmethod
    def from_factor(cls, factor: RFactor, features: int, targets: int) -> RidgePath:
        """Decompose an R factor.

        Parameters
        ----------
        factor : RFactor
            R factor of rows [features | ... | targets].
        features : int
            Number of leading columns that are used as features; fewer than all give a narrower
            model.
        targets : int
            Number of trailing columns that are targets.

        Raises
        ------
        ValueError
            If there are fewer rows than feature columns, or the columns do not fit.
        """
        _require_columns(factor, features, targets)
        # Rows of R_ff may differ by many orders of magnitude, and an SVD's rounding errors are
        # relative to the largest. The triangle of the adjoint, as R_ff = L Q^H, is graded along
        # both rows and columns, so that most small singular values and vectors keep their digits
        # (Stewart, 'The QLP approximation to the singular value decomposition', 1999).
        orthogonal, upper = scipy.linalg.qr(
            factor.triangle[:features, :features].conj().T, check_finite=False
        )
        lower = upper.conj().T
        try:
            left, singular_values, right = scipy.linalg.svd(lower, check_finite=False)
        except np.linalg.LinAlgError:  # divide and conquer may fail where QR iteration does not
            left, singular_values, right = scipy.linalg.svd(
                lower, check_finite=False, lapack_driver="gesvd"
            )
        right = right @ orthogonal.conj().T
        projected = left.conj().T @ factor.triangle[:features, factor.columns - targets :]
        return cls(singular_values, right, projected)

    @classmethod
    def from_products(cls, equations: NormalEquations, features: int, targets: int) -> RidgePath:
        """Decompose the products of columns, for ridges far above rounding.

        Singular values below 1.5e-8 of the largest are rounding errors, and set to this; see
        :func:`gfrnn_core.triangles.normal_equations.products_suffice`.

        Parameters
        ----------
        equations : NormalEquations
            Products of the columns of rows [features | ... | targets].
        features, targets : int
            Parameters of :meth:`from_factor`.

        Raises
        ------
        ValueError
            If there are fewer rows than feature columns, or the columns do not fit.
        """
        _require_columns(equations, features, targets)
        products = equations.products[:features]
        squares, vectors = scipy.linalg.eigh(
            products[:, :features], lower=False, check_finite=False, driver="evr"
        )
        squares, vectors = squares[::-1], vectors[:, ::-1]
        floor = np.finfo(float).eps * squares[0]
        singular_values = np.sqrt(np.maximum(squares, max(floor, np.finfo(float).tiny)))
        right = vectors.conj().T
        projected = right @ products[:, equations.columns - targets :]
        projected /= singular_values[:, None]
        return cls(singular_values, right, projected)

    @classmethod
    def from_float32_rows(
        cls, factor: RFactor, features: int, targets: int, ridge: ArrayLike
    ) -> RidgePath:
        """Decompose the R factor of rows that were rounded to float32, for known ridges.

        Ridges of at least :data:`gfrnn_core.triangles.normal_equations.LEAST_RIDGE` need products
        of the columns only, whose decomposition takes a third of the time and keeps more digits
        than the rows have. The path is then inaccurate for smaller ridges.

        Parameters
        ----------
        factor, features, targets
            Parameters of :meth:`from_factor`, which also tells the errors.
        ridge : float, or array
            All ridges that the path will be used with.
        """
        if np.all(np.asarray(ridge) >= LEAST_RIDGE):
            return cls.from_products(NormalEquations.from_factor(factor), features, targets)
        return cls.from_factor(factor, features, targets)

    def filters(self, ridge: ArrayLike) -> Array:
        """Return ``s / (s^2 + (ridge s_1)^2)``: shape (k,), or (k, targets) for a ridge per target.

        The ridge is relative to the largest singular value, so that it does not depend on the
        number of rows or the unit of the states. Zero gives the pseudo-inverse.

        Raises
        ------
        ValueError
            If a ridge is negative or not finite.
        """
        s, given = self.singular_values, np.asarray(ridge, dtype=float)
        if not ((given >= 0) & (given < np.inf)).all():
            raise ValueError(f"ridge: {given.tolist()} is negative or not finite")
        strength = given[..., None] * s[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = np.where(strength > 0, 0.0, len(s) * np.finfo(float).eps * s[0])
            # No squares of singular values: they may be beyond the range of float64.
            size = np.hypot(s, strength)
            values = np.where(s > floor, s / size / size, 0.0)
        return values.T

    def weights(self, ridge: ArrayLike) -> Array:
        """Return the outer weights.

        Parameters
        ----------
        ridge : float, or array of shape (targets,)

        Returns
        -------
        ndarray, shape (k, targets)
        """
        filters = self.filters(ridge)
        if filters.ndim == 1:
            filters = filters[:, None]
        return np.asarray(self.right.conj().T @ (filters * self.projected))

    def degrees_of_freedom(self, ridge: ArrayLike) -> Array:
        """Return the effective degrees of freedom of the fit, the trace of its hat matrix.

        They are ``sum s^2 / (s^2 + (ridge s_1)^2)`` (Hastie, Tibshirani, Friedman, 'The Elements of
        Statistical Learning', equation 3.50), and the numerical rank if the ridge is zero.

        Parameters
        ----------
        ridge : float, or array of shape (targets,)

        Returns
        -------
        ndarray, shape () or (targets,)
        """
        return np.asarray(self.singular_values @ self.filters(ridge))

    def errors(self, fold: RFactor, ridges: ArrayLike) -> Array:
        """Return the squared error of each target on the rows of a fold, for each ridge.

        ``norm(R_b [C; -I])`` is exactly the norm of the residuals on the rows of the factor R_b.

        Parameters
        ----------
        fold : RFactor
            R factor of rows with the same columns that are not used in the fit.
        ridges : array, shape (ridges,)

        Returns
        -------
        ndarray, shape (ridges, targets)
            Sums of squares over the fold's rows.
        """
        features, targets = self.projected.shape
        self._require_fold(fold)
        rotated = fold.triangle[:, :features] @ self.right.conj().T
        truth = fold.triangle[:, fold.columns - targets :]
        strengths = np.atleast_1d(np.asarray(ridges, dtype=float))
        errors = np.empty((len(strengths), targets))
        for index, ridge in enumerate(strengths):
            residual = rotated @ (self.filters(ridge)[:, None] * self.projected) - truth
            errors[index] = np.square(np.abs(residual)).sum(axis=0)
        return errors

    def summed_errors(self, fold: RFactor, ridges: ArrayLike, sums: int) -> Array:
        """Return the squared errors on a fold, summed over successive targets, for each ridge.

        The sum over the targets j of ``|Z F p_j - y_j|^2`` is a quadratic form in the diagonal of
        the filters F: ``f^T (Z^H Z * sum_j conj(p_j) p_j^T) f - 2 Re f^T sum_j conj(p_j) * Z^H y_j
        + sum_j |y_j|^2``, with the fold's features Z in the basis of the singular vectors. A ridge
        then costs k^2 operations instead of k^2 times the number of targets. The terms cancel, so
        errors far below the size of the targets lose digits; :meth:`errors` keeps them.

        Parameters
        ----------
        fold : RFactor
            Parameter of :meth:`errors`.
        ridges : array, shape (ridges,)
        sums : int
            Number of sums; the targets of each follow each other and are equally many.

        Returns
        -------
        ndarray, shape (ridges, sums)

        Raises
        ------
        ValueError
            If the fold has too few columns, or the targets are not a multiple of the sums.
        """
        features, targets = self.projected.shape
        self._require_fold(fold)
        if sums < 1 or targets % sums:
            raise ValueError(f"sums: {sums} does not divide the {targets} targets")
        filled = fold.triangle[:features]  # later rows have targets only
        rotated = filled[:, :features] @ self.right.conj().T
        truth = fold.triangle[:, fold.columns - targets :]
        gram, cross = rotated.conj().T @ rotated, rotated.conj().T @ truth[: len(filled)]
        filters = self.filters(np.atleast_1d(np.asarray(ridges, dtype=float)))
        errors = np.empty((filters.shape[1], sums))
        for index, part in enumerate(np.split(np.arange(targets), sums)):
            own = self.projected[:, part]
            form = (gram * (own.conj() @ own.T)).real
            linear = (own.conj() * cross[:, part]).sum(axis=1).real
            errors[:, index] = np.square(np.abs(truth[:, part])).sum() - 2 * linear @ filters
            errors[:, index] += (filters * (form @ filters)).sum(axis=0)
        return errors

    def _require_fold(self, fold: RFactor) -> None:
        features, targets = self.projected.shape
        if fold.columns < features + targets:
            raise ValueError(
                f"fold: {fold.columns} columns, but the model has {features} features and "
                f"{targets} targets; it comes from another model"
            )


def _require_columns(rows: RFactor | NormalEquations, features: int, targets: int) -> None:
    if not 0 < features <= rows.columns - targets:
        raise ValueError(
            f"features: {features} leading and {targets} trailing columns do not fit into the "
            f"{rows.columns} columns of the R factor"
        )
    if rows.rows < features:
        raise ValueError(
            f"{features} feature columns, but only {rows.rows} rows; "
            "take a smaller width, fewer delays or fewer modes, or more data"
        )


def residual_triangle(factor: RFactor, weights: Array, first: int | None = None) -> Array:
    """Return ``E = R [C; -I]``, whose products ``E.T @ E`` are exactly those of the residuals.

    Parameters
    ----------
    factor : RFactor
        R factor of rows [features | ... | targets].
    weights : ndarray, shape (features, targets)
        C.
    first : int, optional
        Column of the first target; by default the targets are the last columns.

    Returns
    -------
    ndarray, shape (rows of the triangle, targets)

    Raises
    ------
    ValueError
        If the weights do not fit into the columns.
    """
    if np.ndim(weights) != 2 or not 0 < sum(np.shape(weights)) <= factor.columns:
        raise ValueError(
            f"weights: shape {np.shape(weights)} does not fit into the {factor.columns} columns of "
            "the R factor; give (features, targets)"
        )
    features, targets = weights.shape
    first = factor.columns - targets if first is None else first
    if not 0 <= first <= factor.columns - targets:
        raise ValueError(
            f"first: {first} is not within 0..{factor.columns - targets}, the first columns of "
            f"{targets} targets in {factor.columns}"
        )
    truth = factor.triangle[:, first : first + targets]
    return np.asarray(factor.triangle[:, :features] @ weights - truth)
