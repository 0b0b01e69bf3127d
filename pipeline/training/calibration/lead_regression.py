"""Regression of the truth on rollouts at each lead, from sums over initial times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Fewest initial times at a lead from which coefficients are computed.
LEAST_STARTS = 10

# One over the variance of the prior of a factor, which is normal with mean 1: forecasts are damped
# no more than the validation period supports.
PRIOR_PRECISION = 6

# Squares below this share of the largest are rounding errors, such as those of values that are
# always zero.
_ROUNDING = 1e-24


@dataclass(frozen=True)
class LeadSums:
    """Sums over initial times and the values of a group, of one system of forecasts.

    Attributes
    ----------
    forecast, product, truth : ndarray, shape (leads, groups)
        Sums of squared forecasts, of forecasts times truth, and of the squared truth.
    counts : ndarray of int, shape (leads,)
        Number of initial times.
    """

    forecast: Array
    product: Array
    truth: Array
    counts: Array

    def coefficients(self, regressed: Sequence[int], spacing: int) -> Array:
        """Return the factors of forecasts that minimise the squared error.

        A factor is the regression coefficient ``<forecast, truth> / <forecast, forecast>`` within
        [0, 1], drawn towards 1 by a normal prior with mean 1 and variance ``1 / PRIOR_PRECISION``
        (ridge regression towards 1, with the variance of the residuals times ``PRIOR_PRECISION``
        added to the sum of squared forecasts). It thus has the weight of that many initial times
        only where forecasts are as large as the residuals. Where rollouts overlap, their errors are
        correlated, and more initial times have the weight of one (Hansen and Hodrick 1980, J.
        Political Economy 88, 829), so that the precision grows.
        As predictability is lost with the lead, factors do not increase with it. The least squares
        under these conditions is the clipped isotonic regression of the coefficients, weighted
        with the squared forecasts (Robertson, Wright and Dykstra 1988, Order Restricted
        Statistical Inference, chapter 1).

        Parameters
        ----------
        regressed : sequence of int
            Leads that have outer weights of their own. These are regressions on the initial state
            over the whole training period, which one more from fewer data would not improve: their
            factor is 1, whatever the factors of earlier leads. Where the squared errors of all
            groups together exceed those of the climatology, as iterated predictions may be averaged
            with the direct ones, they have the factors of the regression like all other leads.
        spacing : int
            Steps between initial times.

        Returns
        -------
        ndarray, shape (leads, groups)
            From the first lead on with too few initial times, the factors of the lead before, or 1
            where there is none or the lead has outer weights of its own; 1 for values that are
            always zero.
        """
        from scipy.optimize import isotonic_regression  # slow to import, and used here only

        factors = np.ones(self.forecast.shape)
        enough = np.flatnonzero(self.counts < LEAST_STARTS)
        last = int(enough[0]) if len(enough) else len(self.counts)
        if not last:
            return factors
        leads = np.arange(1, len(factors) + 1)
        weights = PRIOR_PRECISION * np.maximum(1.0, leads / spacing)
        smallest = _ROUNDING * max(float(self.truth[:last].max()), np.finfo(float).tiny)
        for group in np.flatnonzero((self.forecast[:last] > smallest).all(axis=0)):
            squares, products = self.forecast[:last, group], self.product[:last, group]
            residuals = self.truth[:last, group] - products**2 / squares
            prior = weights[:last] * np.maximum(residuals, 0.0) / self.counts[:last]
            squares = squares + prior
            found = isotonic_regression(
                (products + prior) / squares, weights=squares, increasing=False
            )
            factors[:last, group] = np.clip(found.x, 0.0, 1.0)
        factors[last:] = factors[last - 1]
        worse = (self.forecast - 2 * self.product).sum(axis=1) > 0  # than the climatology
        worse[last:] = False
        factors[np.isin(leads, regressed) & ~worse] = 1.0
        return factors

    def errors(self, factors: Array | None = None) -> Array:
        """Return the mean squared error of a state at each lead.

        Parameters
        ----------
        factors : ndarray, shape (leads, groups), optional
            Factors of the forecasts; by default 1.

        Returns
        -------
        ndarray, shape (leads,)
            NaN at leads without initial times.
        """
        given = np.ones(self.forecast.shape) if factors is None else factors
        sums = given**2 * self.forecast - 2 * given * self.product + self.truth
        return self._means(sums)

    def variance(self) -> Array:
        """Return the mean squared error of the climatology at each lead: shape (leads,)."""
        return self._means(self.truth)

    def _means(self, sums: Array) -> Array:
        counts = np.where(self.counts > 0, self.counts, np.nan)
        return np.asarray(sums.sum(axis=1) / counts)
