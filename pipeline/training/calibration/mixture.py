"""Shares of networks in an average: those with the least error of the average itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.training.calibration.lead_regression import LEAST_STARTS, PRIOR_STARTS, LeadSums

Array = NDArray[np.floating]

# Added to squared errors, relative to their mean: models that hardly differ have no unique shares.
_REGULARISATION = 1e-9

# A network joins an average if the squared error falls by more than this share.
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class RolloutSums:
    """Sums over the rollouts of the networks that are averaged, and of reference networks.

    Attributes
    ----------
    networks : sequence of LeadSums
    products : mapping of ndarray, shape (leads, groups)
        Sums of products of the forecasts of each two networks, given by their positions.
    references : mapping of LeadSums
        By name.
    """

    networks: Sequence[LeadSums]
    products: Mapping[tuple[int, int], Array]
    references: Mapping[str, LeadSums]

    @property
    def _usable(self) -> list[int]:
        """Positions of the networks from which the fewest rollouts diverged."""
        counts = [int(own.counts.sum()) for own in self.networks]
        return [index for index, count in enumerate(counts) if count == max(counts)]

    def _product(self, one: int, other: int) -> Array:
        if one == other:
            return self.networks[one].forecast
        return self.products[min(one, other), max(one, other)]

    def error_products(self) -> Array:
        """Return mean products of the errors of each two networks: (leads, networks, networks)."""
        truth = self.networks[self._usable[0]]
        count = len(self.networks)
        found = np.empty((len(truth.counts), count, count))
        for one in range(count):
            for other in range(count):
                sums = self._product(one, other) + truth.truth
                sums = sums - self.networks[one].product - self.networks[other].product
                found[:, one, other] = sums.sum(axis=1)
        return found / np.maximum(truth.counts, 1)[:, None, None]

    def mixture(self, leads: Sequence[int], average: int, spacing: int) -> Array | None:
        """Return the shares of the networks at each lead that has outer weights of its own.

        They are 0 or more, sum to 1, and minimise the mean squared error of the average (stacked
        regressions, Breiman 1996, Machine Learning 24, 49) over all leads that they apply to: from
        one of ``leads`` to the next, or to the last of all. Each lead counts relative to the error
        of the last network. A prior with the weight of ``PRIOR_STARTS`` independent initial times,
        as that of :meth:`LeadSums.coefficients`, draws them towards equal shares of the networks
        but the last, unless the average has a larger error than the last network. Where more
        networks would have a share than are averaged, networks are added one by one, that which
        lowers the error most, and all shares are computed anew.

        Parameters
        ----------
        leads : sequence of int
        average : int
            Largest number of networks at each lead besides the last one, the linear model, which
            always takes part.
        spacing : int
            Steps between initial times.

        Returns
        -------
        ndarray, shape (networks, leads), or None
            None if there are too few initial times. Networks from which more rollouts diverged
            than from another have no share.
        """
        usable = self._usable
        counts = self.networks[usable[0]].counts
        products, last = self.error_products(), len(self.networks) - 1
        shares = np.zeros((len(self.networks), len(leads)))
        ends = [*(lead - 1 for lead in leads[1:]), len(counts)]
        for index, (lead, end) in enumerate(zip(leads, ends, strict=True)):
            enough = [n for n in range(lead - 1, end) if counts[n] >= LEAST_STARTS]
            if enough:
                relative = products[enough] / products[enough, last, last][:, None, None]
                weights = [max(1.0, (n + 1) / spacing) / counts[n] for n in enough]
                prior = PRIOR_STARTS * float(np.mean(weights))
                shares[:, index] = _selected_shares(relative.mean(axis=0), usable, average, prior)
            elif index:
                shares[:, index] = shares[:, index - 1]
            else:
                return None
        return shares

    def systems(self, mixture: Array, leads: Sequence[int]) -> dict[str, LeadSums]:
        """Return the sums of the average, see :meth:`forecast`, and of the references, by name."""
        return {"forecast": self.forecast(mixture, leads), **self.references}

    def forecast(self, mixture: Array, leads: Sequence[int]) -> LeadSums:
        """Return the sums of the average of the networks.

        Parameters
        ----------
        mixture : ndarray, shape (networks, leads)
            Shares at each of ``leads``; a lead between two of them has those of the shorter.
        leads : sequence of int
        """
        used = np.flatnonzero(mixture.any(axis=1)).tolist()
        any_used = self.networks[used[0]]
        steps = np.arange(1, len(any_used.counts) + 1)
        shares = mixture[:, np.searchsorted(np.asarray(leads), steps, side="right") - 1]
        squares, product = np.zeros(any_used.forecast.shape), np.zeros(any_used.forecast.shape)
        for one in used:
            product += shares[one, :, None] * self.networks[one].product
            for other in used:
                squares += (shares[one] * shares[other])[:, None] * self._product(one, other)
        return LeadSums(squares, product, any_used.truth, any_used.counts)


def _selected_shares(products: Array, usable: Sequence[int], average: int, prior: float) -> Array:
    """Return the shares of all networks at a lead, from their mean products of errors."""
    last = len(products) - 1
    candidates = [one for one in usable if one != last]
    always = [last] if last in usable else []
    shares, least, members = np.zeros(len(products)), np.inf, list[int]()
    if not candidates:  # all rollouts diverged but those of the linear model
        shares[last] = 1.0
    while len(members) < min(average, len(candidates)):
        tried = []
        for one in candidates:
            if one not in members:
                chosen = [*sorted([*members, one]), *always]
                own = products[np.ix_(chosen, chosen)]
                equal = np.zeros(len(chosen))
                equal[: len(members) + 1] = 1 / (len(members) + 1)
                found = least_squares_shares(own, equal, prior)
                if always and found @ own @ found > own[-1, -1]:
                    found = least_squares_shares(own, equal, 0.0)
                tried.append((float(found @ own @ found), one, chosen, found))
        error, one, chosen, found = min(tried, key=lambda each: each[:2])
        if error >= (1 - _LEAST_GAIN) * least:
            break
        members.append(one)
        least = error
        shares[:] = 0.0
        shares[chosen] = found
    return shares


def least_squares_shares(products: Array, equal: Array, prior: float) -> Array:
    """Return shares of 0 or more, of sum 1, that minimise the squared error of an average.

    Parameters
    ----------
    products : ndarray, shape (n, n)
        Mean products of the errors of each two forecasts.
    equal : ndarray, shape (n,)
        Shares towards which others are drawn.
    prior : float
        Weight of the squared distance from these, relative to the mean squared error.

    Returns
    -------
    ndarray, shape (n,)
    """
    from scipy.optimize import nnls  # slow to import, and used here only

    # The minimum of w E w with sum(w) = 1 is that of w E w / 2 - sum(w), divided by its sum; with
    # this sum, w - equal is a linear function of w.
    size = len(products)
    mean = max(float(np.trace(products)) / size, np.finfo(float).tiny)
    distance = np.eye(size) - equal[:, None]
    drawn = products + mean * (prior * distance.T @ distance + _REGULARISATION * np.eye(size))
    root = np.linalg.cholesky(drawn)
    weights, _ = nnls(root.T, np.linalg.solve(root, np.ones(size)))
    return np.asarray(weights / weights.sum())
