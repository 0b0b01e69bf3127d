"""Arrays of the statistics of a range of initial times, which are filled in pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.energy_score import ENERGY_SCORES, energy_scores
from gfrnn.pipeline.verification.statistics.ensemble_statistics import ensemble_statistics
from gfrnn.pipeline.verification.statistics.pair_statistics import STATISTICS
from gfrnn.pipeline.verification.statistics.rank_histogram import rank_histogram

Array = NDArray[Any]

CRPS = ("crps", "fair_crps")
"""Scores of ensembles that compare with the absolute error of single forecasts."""

ENSEMBLE_STATISTICS = ("ensemble_variance", *ENERGY_SCORES)
"""Statistics of each pair of ensemble and truth, besides those of the ensemble mean."""


class PairValues:
    """Statistics of a range of initial times, NaN until they are filled in.

    Parameters
    ----------
    shape : tuple of int
        Systems, leads and initial times.
    regions, channels, indices : int
    members : int or None
        Number of members; None for single forecasts.

    Attributes
    ----------
    fields : ndarray, shape (systems, leads, starts, len(STATISTICS), regions, channels)
    truth : ndarray, shape (leads, starts, regions, channels)
        Mean squared anomaly of the truth.
    crps : dict of ndarray, shape (leads, starts, len(CRPS), regions, channels)
        By the position of the systems that are ensembles.
    ensemble : ndarray, shape (leads, starts, len(ENSEMBLE_STATISTICS), regions, channels)
    ranks : ndarray, shape (leads, starts, regions, channels, members + 1)
    index_forecast : ndarray, shape (systems, leads, starts, indices)
    index_truth : ndarray, shape (leads, starts, indices)
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        regions: int,
        channels: int,
        indices: int,
        members: int | None,
    ) -> None:
        pairs, own = shape[1:], (regions, channels)
        self.fields = np.full((*shape, len(STATISTICS), *own), np.nan)
        self.truth = np.full((*pairs, *own), np.nan)
        count = 0 if members is None else len(ENSEMBLE_STATISTICS)
        self.ensemble = np.full((*pairs, count, *own), np.nan)
        self.crps: dict[int, Array] = {}
        self.ranks = np.full((*pairs, *own, 0 if members is None else members + 1), np.nan)
        self.index_forecast = np.full((*shape, indices), np.nan)
        self.index_truth = np.full((*pairs, indices), np.nan)

    def add_ensemble(
        self,
        system: int,
        lead: int,
        part: Array,
        members: Array,
        truth: Array,
        weights: Array,
    ) -> None:
        """Fill in the statistics of ensembles at a lead; those of references are the CRPS alone.

        Parameters
        ----------
        system, lead : int
            Positions; the forecasts are system 0.
        part : ndarray of int
            Positions of the pairs among the initial times.
        members : ndarray, shape (pairs, members, channels, cells)
            Fields or anomalies, 0 in the mask.
        truth : ndarray, shape (pairs, channels, cells)
        weights : ndarray, shape (regions, channels, cells)
        """
        found = ensemble_statistics(members, truth, weights)
        if system not in self.crps:
            leads, starts, _, *own = self.ensemble.shape
            self.crps[system] = np.full((leads, starts, len(CRPS), *own), np.nan)
        self.crps[system][lead, part] = np.stack([found[name] for name in CRPS], axis=1)
        if system:
            return
        found |= energy_scores(members, truth, weights)
        self.ensemble[lead, part] = np.stack([found[name] for name in ENSEMBLE_STATISTICS], axis=1)
        self.ranks[lead, part] = rank_histogram(members, truth, weights)

    def arrays(self, known: Array) -> dict[str, Array]:
        """Return the statistics by name, with initial time and lead as their last dimensions.

        Parameters
        ----------
        known : ndarray of bool, shape (leads, starts)
            Pairs that have a truth.
        """
        by_name = np.transpose(self.fields, (3, 0, 4, 5, 2, 1))
        found = dict(zip(STATISTICS, by_name, strict=True))
        found["squared_truth"] = np.transpose(self.truth, (2, 3, 1, 0))
        found["known"] = known.T.astype(float)
        if self.ensemble.size:
            by_name = np.transpose(self.ensemble, (2, 3, 4, 1, 0))
            found |= dict(zip(ENSEMBLE_STATISTICS, by_name, strict=True))
            for number, name in enumerate(CRPS):
                # The CRPS of a single forecast is its absolute error.
                own = found["absolute_error"].copy()
                for system, crps in self.crps.items():
                    own[system] = np.transpose(crps[:, :, number], (2, 3, 1, 0))
                found[name] = own
            found["rank_histogram"] = np.transpose(self.ranks, (4, 2, 3, 1, 0))
        if self.index_truth.size:
            found["index_forecast"] = np.transpose(self.index_forecast, (0, 3, 2, 1))
            found["index_truth"] = np.transpose(self.index_truth, (2, 1, 0))
        return found
