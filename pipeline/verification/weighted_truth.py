"""The data that a range of initial times is scored with, read once, as weighted anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.states.climatology import Climatology, subtract_terms
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans

Array = NDArray[Any]


@dataclass(frozen=True)
class WeightedTruth:
    """Anomalies of the data at the initial times and at the targets of all leads.

    Anomalies are multiplied by the roots of the weights of cells, see
    :class:`gfrnn.pipeline.verification.statistics.region_means.RegionMeans`.

    Attributes
    ----------
    times : ndarray of int, shape (times,)
        Ascending indices on the time axis of the data.
    anomalies : ndarray, shape (times, channels, cells)
    squares, first, absolute : ndarray, shape (times, regions, channels)
        Means over regions of the squares of the anomalies, of the anomalies, and of their sizes.
    design : ndarray, shape (times, terms)
        Terms of the climatology at these times.
    climatology : ndarray, shape (terms, grid.size)
        Coefficients of the climatology times the roots of the weights.
    history : ndarray, shape (starts, delays, size), or None
        States of the model before each initial time, oldest first; None without a model.
    """

    times: Array
    anomalies: Array
    squares: Array
    first: Array
    absolute: Array
    design: Array
    climatology: Array
    history: Array | None

    @classmethod
    def read(
        cls,
        fields: Fields,
        climatology: Climatology,
        starts: Array,
        targets: Array,
        means: RegionMeans,
        model: ForecastModel | None,
    ) -> WeightedTruth:
        """Read the data; every stored chunk is decoded once.

        Parameters
        ----------
        fields : Fields
        climatology : Climatology
        starts, targets : ndarray of int
            Indices on the time axis of initial times and of targets.
        means : RegionMeans
        model : ForecastModel or None
            Model whose states before the initial times are wanted.
        """
        delays = 1 if model is None else model.delays
        windows = starts[:, None] + np.arange(1 - delays, 1)
        times = np.unique(np.concatenate([windows.reshape(-1), targets]))
        real = fields.at(times).read(0, len(times))
        design = climatology.design_matrix(fields.time[times])
        history = None
        if model is not None:
            seen = np.unique(windows)
            states = model.layout.encode(real[np.searchsorted(times, seen)], fields.time[seen])
            history = states[np.searchsorted(seen, windows)]
        anomalies = subtract_terms(real, design, climatology.coefficients)
        roots = means.roots
        anomalies *= roots.reshape(-1)
        anomalies = anomalies.reshape(len(times), *roots.shape)
        return cls(
            times,
            anomalies,
            means.inner(anomalies, anomalies),
            means.inner(anomalies, roots),
            np.concatenate([means.inner(np.abs(each[None]), roots) for each in anomalies]),
            design,
            climatology.coefficients * roots.reshape(-1),
            history,
        )

    def places(self, times: Array) -> slice | Array:
        """Return the positions of times, as a slice where they are evenly spaced."""
        return evenly_spaced(np.searchsorted(self.times, times))

    def subtract_climatology(self, fields: Array, now: slice | Array) -> Array:
        """Subtract the climatology at some times from weighted fields, which are overwritten.

        Parameters
        ----------
        fields : ndarray, shape (n, channels, cells)
        now : slice or ndarray of int
            Positions of the times.
        """
        found = subtract_terms(fields.reshape(len(fields), -1), self.design[now], self.climatology)
        return found.reshape(fields.shape)

    def fields(self, now: slice | Array, roots: Array) -> Array:
        """Return the fields at some times, 0 in the mask: shape (n, channels, cells).

        Parameters
        ----------
        now : slice or ndarray of int
            Positions of the times.
        roots : ndarray, shape (channels, cells)
            Roots of the weights of cells.
        """
        weighted = self.anomalies[now]
        found = weighted + (self.design[now] @ self.climatology).reshape(weighted.shape)
        return np.divide(found, roots, out=np.zeros_like(found), where=roots > 0)

    def persistence(self, present: slice | Array, now: slice | Array) -> Array:
        """Return the weighted anomalies of persistence: fields of the present, valid now."""
        change = self.design[now] - self.design[present]
        anomalies = self.anomalies[present]
        if not change.any():
            return anomalies
        found = np.ascontiguousarray(anomalies.reshape(len(change), -1)).copy()
        return subtract_terms(found, change, self.climatology).reshape(anomalies.shape)


def evenly_spaced(places: Array) -> slice | Array:
    """Return ascending positions as a slice where they are evenly spaced, others unchanged."""
    steps = np.diff(places)
    if not len(places) or (steps != steps[:1]).any() or (steps[:1] < 1).any():
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]) if len(steps) else 1)
