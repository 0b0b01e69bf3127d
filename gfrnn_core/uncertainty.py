"""Compute residual covariances and the posterior of the outer weights from R factors alone.

Both covariances are second moments: a bias of the model counts as error. The covariance from
left-out folds is that of the errors of new rows, the error of the weights included: noise drawn
from it is correct by itself. The training covariance estimates the noise alone, to which draws of
the weights add the rest; with nearly as many features as rows it has few degrees of freedom. If
weights are drawn in addition to the covariance from left-out folds, their error counts twice, which
matters if the number of features is a large part of the number of rows.

The posterior treats rows as independent given the features. Errors that are correlated from row to
row make it too narrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.regression import RidgePath, residual_triangle
from gfrnn_core.triangles.rfactor import RFactor
from gfrnn_core.value_checks import check_seed

Array = NDArray[Any]

# Most negative eigenvalue, relative to the largest entry, that counts as rounding.
_ROUNDING = 1e-10


def training_covariance(factor: RFactor, path: RidgePath, ridge: float) -> Array:
    """Return the covariance of the residuals on the rows of the fit itself.

    It is the sum of the residual products, divided by the number of rows less the effective degrees
    of freedom (the trace of the hat matrix). Without ridge it is unbiased if targets are linear in
    the features plus noise.

    Parameters
    ----------
    factor : RFactor
        R factor from which the path was computed, of rows [features | ... | targets]. Rows that
        were scaled to have less weight still count as one row each, which makes the covariance too
        small.
    path : RidgePath
    ridge : float
        Relative to the largest singular value, one for all targets.

    Returns
    -------
    ndarray, shape (targets, targets)
        Covariance in the squared unit of the targets.

    Raises
    ------
    ValueError
        If less than one degree of freedom is left.
    """
    _require_ridge(ridge)
    taken = float(path.degrees_of_freedom(ridge))
    # The tolerance allows for rounding of a trace that should be a whole number.
    if factor.rows - taken < 1 - 1e-6:
        raise ValueError(
            f"factor: {factor.rows} rows less {taken:.4g} effective degrees of freedom leave less "
            "than one; take a larger ridge, fewer features or the covariance on folds left out"
        )
    return residual_products(factor, path.weights(ridge)) / (factor.rows - taken)


def left_out_covariance(folds: Sequence[RFactor], weights: Iterable[Array]) -> Array:
    """Return the covariance of the residuals on folds, each with weights fitted without it.

    The result is exactly that of the rows. :func:`gfrnn_core.validation.left_out_weights` computes
    the weights.

    Parameters
    ----------
    folds : sequence of RFactor
        R factors of rows [features | ... | targets].
    weights : iterable of ndarray, shape (features, targets)
        Weights for each fold, in the same order.

    Returns
    -------
    ndarray, shape (targets, targets)
        Residual products divided by the number of rows, in the squared unit of the targets.

    Raises
    ------
    ValueError
        If there are no rows, weights and folds differ in number, or shapes do not fit.
    """
    given = list(weights)
    if len(given) != len(folds):
        raise ValueError(
            f"weights: {len(given)} for {len(folds)} folds; give those fitted without each fold"
        )
    shapes = {np.shape(outer) for outer in given}
    if len(shapes) > 1:
        raise ValueError(f"weights: different shapes {sorted(shapes)}; give those of one model")
    rows = sum(fold.rows for fold in folds)
    if rows == 0:
        raise ValueError(f"folds: {len(folds)} without any row; give folds with rows")
    products = [residual_products(fold, outer) for fold, outer in zip(folds, given, strict=True)]
    return np.asarray(sum(products) / rows)


def residual_products(factor: RFactor, weights: Array) -> Array:
    """Return products of the residuals of each two targets, summed over the rows of a factor.

    They are ``E^H E`` with ``E = R [C; -I]``: formed from residuals, not as a difference of large
    sums, so that small ones keep their digits.

    Parameters
    ----------
    factor : RFactor
        R factor of rows [features | ... | targets].
    weights : ndarray, shape (features, targets)

    Returns
    -------
    ndarray, shape (targets, targets)

    Raises
    ------
    ValueError
        If the weights do not fit into the columns.
    """
    residual = residual_triangle(factor, weights)
    return np.asarray(residual.conj().T @ residual)


@dataclass(frozen=True, eq=False)
class WeightPosterior:
    """Matrix normal posterior of the outer weights.

    The model is ``y = x C + e`` with e normal of covariance S; a priori C is normal with mean zero
    and independent rows of covariance ``S / l^2``, ``l = ridge s_1``. Then C is matrix normal: its
    mean is the ridge solution, the covariance of its rows ``(F^T F + l^2 I)^-1`` and that of its
    columns S (Minka, 'Bayesian linear regression', 2000; for one target Bishop, 'Pattern
    Recognition and Machine Learning', 2006, section 3.3). S is an estimate that is used as if it
    were known.

    With ``F = U diag(s) V^T`` the row covariance is ``V diag(1 / (s^2 + l^2)) V^T``. It is used in
    this form only: along nearly dependent features the weights of a draw are large, up to 1 / l,
    and cancel in the predictions of rows like those of the fit.

    Attributes
    ----------
    mean : ndarray, shape (k, targets)
    right : ndarray, shape (k, k)
        Right singular vectors of the features, one per row.
    deviations : ndarray, shape (k,)
        Posterior standard deviation along each of them for S = 1: ``1 / sqrt(s^2 + l^2)``.
    covariance : ndarray, shape (targets, targets)
        S, in the squared unit of the targets.
    """

    mean: Array
    right: Array
    deviations: Array
    covariance: Array

    @classmethod
    def from_path(cls, path: RidgePath, ridge: float, covariance: Array) -> WeightPosterior:
        """Return the posterior for one ridge.

        Parameters
        ----------
        path : RidgePath
        ridge : float
            Relative to the largest singular value, one for all targets.
        covariance : ndarray, shape (targets, targets)
            Covariance of the residuals, from :func:`left_out_covariance` or
            :func:`training_covariance`.

        Raises
        ------
        ValueError
            If the covariance is not symmetric and positive semi-definite, or the ridge is negative
            or not finite; also if the ridge is zero and features are numerically dependent. The
            data do not determine the weights along such directions, which the pseudo-inverse sets
            to zero: their posterior has no finite width.
        """
        _require_ridge(ridge)
        _root(covariance, path.projected.shape[1])
        s = path.singular_values
        strength = ridge * s[0]
        cut = int((path.filters(ridge) == 0).sum()) if strength == 0 else 0
        if cut:
            raise ValueError(
                f"ridge: {ridge} with {len(s)} features of numerical rank {len(s) - cut}; {cut} "
                "directions have no finite posterior; take a ridge above zero, or drop features "
                "that depend on others or are zero"
            )
        with np.errstate(divide="ignore", over="ignore"):
            deviations = 1 / np.hypot(s, strength)
        if not np.isfinite(deviations).all():
            raise ValueError(f"ridge: {ridge} is too small for a finite posterior; take a larger")
        return cls(path.weights(ridge), path.right, deviations, np.array(covariance, dtype=float))

    def draw(self, seed: int | np.random.Generator, size: int) -> Array:
        """Draw outer weights.

        A seed gives the same weights bit for bit on one machine and up to rounding on others, since
        signs of singular vectors do not matter; the first draws do not depend on how many follow.

        Parameters
        ----------
        seed : int or numpy.random.Generator
        size : int
            Number of draws.

        Returns
        -------
        ndarray, shape (size, k, targets)

        Raises
        ------
        ValueError
            If the seed is not allowed, or the size is negative.
        """
        if not isinstance(seed, np.random.Generator):
            check_seed(seed)
        if size < 0:
            raise ValueError(f"size: {size} draws; give zero or more")
        rng = np.random.default_rng(seed)
        root = _root(self.covariance, self.mean.shape[1])
        draws = np.empty((size, *self.mean.shape))
        for one in draws:
            noise = self.right @ rng.standard_normal(self.mean.shape)
            noise *= self.deviations[:, None]
            one[:] = self.mean + self.right.T @ noise @ root
        return draws

    def leverages(self, rows: Array) -> Array:
        """Return ``x^T (F^T F + l^2 I)^-1 x`` of rows of features.

        The covariance of a row's prediction, targets by targets, is this number times
        :attr:`covariance`. Rows may also be those of the feature part of a triangle: their sum is
        the sum over all rows of the triangle's data.

        Parameters
        ----------
        rows : ndarray, shape (..., k)

        Returns
        -------
        ndarray, shape (...)

        Raises
        ------
        ValueError
            If the rows have another number of features.
        """
        if np.ndim(rows) == 0 or np.shape(rows)[-1] != len(self.mean):
            raise ValueError(
                f"rows: shape {np.shape(rows)}, but the model has {len(self.mean)} features; "
                f"give (..., {len(self.mean)})"
            )
        return np.asarray(np.square((rows @ self.right.T) * self.deviations).sum(axis=-1))

    def predictive_variance(self, rows: Array, *, noise: bool = False) -> Array:
        """Return the variance of the predictions of rows of features.

        Parameters
        ----------
        rows : ndarray, shape (..., k)
        noise : bool
            Whether to return the variance of the observed targets instead, which scatter about the
            prediction with :attr:`covariance`.

        Returns
        -------
        ndarray, shape (..., targets)
            Variance in the squared unit of the targets.

        Raises
        ------
        ValueError
            If the rows have another number of features.
        """
        leverages = self.leverages(rows) + (1.0 if noise else 0.0)
        return np.asarray(leverages[..., None] * np.diag(self.covariance))


def _root(covariance: Array, targets: int) -> Array:
    """Return the symmetric root, which is unique and exists for singular matrices too."""
    if targets == 0 or np.shape(covariance) != (targets, targets):
        raise ValueError(
            f"covariance: shape {np.shape(covariance)}; {targets} targets need "
            f"({targets}, {targets})"
        )
    if not np.isfinite(covariance).all():
        raise ValueError("covariance: holds NaN or infinity; every value must be finite")
    largest = np.abs(covariance).max()
    if np.abs(covariance - np.transpose(covariance)).max() > _ROUNDING * largest:
        raise ValueError("covariance: is not symmetric; give one of residuals")
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -_ROUNDING * largest:
        raise ValueError(
            f"covariance: has the negative eigenvalue {values[0]:.3g}; give one of residuals"
        )
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)


def _require_ridge(ridge: float) -> None:
    if np.ndim(ridge) != 0 or not 0 <= ridge < np.inf:
        raise ValueError(f"ridge: {ridge} is not one finite number of zero or more for all targets")
