"""Compute ridge regression, its errors and degrees of freedom from R factors alone.

With R = [R_ff R_fy; 0 R_yy], the ridge solution for the targets y on the leading k feature columns
comes from the SVD of the leading k x k block of R_ff. The features are numerically rank deficient
(condition numbers beyond 1e17), so no triangular system with R_ff is solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.rfactor import RFactor

Array = NDArray[Any]


@dataclass(frozen=True)
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
        if not 0 < features <= factor.columns - targets:
            raise ValueError(
                f"features: {features} leading and {targets} trailing columns do not fit into the "
                f"{factor.columns} columns of the R factor"
            )
        if factor.rows < features:
            raise ValueError(
                f"{features} feature columns, but only {factor.rows} rows; "
                "take a smaller width, fewer delays or fewer modes, or more data"
            )
        square = factor.triangle[:features, :features]
        try:
            left, singular_values, right = scipy.linalg.svd(square, check_finite=False)
        except np.linalg.LinAlgError:  # divide and conquer may fail where QR iteration does not
            left, singular_values, right = scipy.linalg.svd(
                square, check_finite=False, lapack_driver="gesvd"
            )
        projected = left.conj().T @ factor.triangle[:features, factor.columns - targets :]
        return cls(singular_values, right, projected)

    def filters(self, ridge: ArrayLike) -> Array:
        """Return ``s / (s^2 + (ridge s_1)^2)``: shape (k,), or (k, targets) for a ridge per target.

        The ridge is relative to the largest singular value, so that it does not depend on the
        number of rows or the unit of the states. Zero gives the pseudo-inverse.
        """
        s = self.singular_values
        strength = np.asarray(ridge, dtype=float)[..., None] * s[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = np.where(strength > 0, 0.0, len(s) * np.finfo(float).eps * s[0])
            values = np.where(s > floor, s / (s**2 + strength**2), 0.0)
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
        if fold.columns < features + targets:
            raise ValueError(
                f"fold: {fold.columns} columns, but the model has {features} features and "
                f"{targets} targets; it comes from another model"
            )
        rotated = fold.triangle[:, :features] @ self.right.conj().T
        truth = fold.triangle[:, fold.columns - targets :]
        strengths = np.atleast_1d(np.asarray(ridges, dtype=float))
        errors = np.empty((len(strengths), targets))
        for index, ridge in enumerate(strengths):
            residual = rotated @ (self.filters(ridge)[:, None] * self.projected) - truth
            errors[index] = np.square(np.abs(residual)).sum(axis=0)
        return errors


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
    truth = factor.triangle[:, first : first + targets]
    return np.asarray(factor.triangle[:, :features] @ weights - truth)
