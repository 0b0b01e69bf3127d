"""The data that a range of initial times is scored with, read once, and their anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.states.climatology import Climatology, subtract_terms
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.statistics.pair_statistics import error_sums
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.systems.blocks import row_blocks

Array = NDArray[Any]

# Bytes of the fields (float64) whose climatology is subtracted at once.
_TOGETHER_BYTES = 2**23


@dataclass(frozen=True)
class WeightedTruth:
    """Data at the initial times and at the targets of all leads.

    Fields have the precision of the data, float32 as a rule.

    Attributes
    ----------
    times : ndarray of int, shape (times,)
        Ascending indices on the time axis of the data.
    real : ndarray, shape (times, channels, cells)
        The fields in physical units, 0 in the mask.
    anomalies : ndarray, shape (times, channels, cells)
        Anomalies from the climatology, times ``roots``.
    modelled : ndarray, shape (times, channels, cells)
        The same anomalies of the values that the model is trained on; other ones in channels that
        have a transform.
    roots : ndarray, shape (channels, cells)
        Roots of the weights of cells, see
        :class:`gfrnn.pipeline.verification.statistics.region_means.RegionMeans`.
    squares, first, absolute : ndarray, shape (times, regions, channels)
        Means over regions of the squares of the anomalies, of the anomalies, and of their sizes.
    history : ndarray, shape (starts, delays, size), or None
        States of the model before each initial time, oldest first; None without a model.
    patterns : ndarray, shape (size, channels, cells), or None
        Anomalies of unit states times ``roots``, in the layout ``eof``; None in others.
    """

    times: Array
    real: Array
    anomalies: Array
    modelled: Array
    roots: Array
    squares: Array
    first: Array
    absolute: Array
    history: Array | None
    patterns: Array | None

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
        real = fields.in_physical_units().at(times).read(0, len(times), fields.dtype)
        transforms = fields.transforms
        seen_by_model = _transformed(real, transforms)
        history = patterns = None
        if model is not None:
            seen = np.unique(windows)
            own = seen_by_model[np.searchsorted(times, seen)].astype(float)
            states = model.layout.encode(own, fields.time[seen])
            history = states[np.searchsorted(seen, windows)]
            if isinstance(model.layout, EofLayout):
                patterns = _patterns(model.layout, means.roots, real.dtype)
        design = climatology.design_matrix(fields.time[times])
        shape = len(times), *means.roots.shape
        modelled = np.empty_like(real)
        anomalies = np.empty_like(real) if transforms else modelled
        together = max(1, _TOGETHER_BYTES // (8 * real.shape[1]))
        for begin in range(0, len(times), together):
            part = slice(begin, begin + together)
            values = subtract_terms(
                seen_by_model[part].astype(float), design[part], climatology.coefficients
            )
            roots = means.roots.reshape(-1)
            np.multiply(values, roots, out=modelled[part], casting="same_kind")
            if transforms:
                mean = transforms.inverse(
                    (seen_by_model[part] - values).reshape(-1, *shape[1:]), 1
                ).reshape(values.shape)
                physical = np.where(means.roots.reshape(-1) > 0, real[part] - mean, 0.0)
                np.multiply(physical, roots, out=anomalies[part], casting="same_kind")
        modelled, anomalies = modelled.reshape(shape), anomalies.reshape(shape)
        roots = means.roots.astype(real.dtype)
        sums = np.zeros((3, len(times), len(means.names), shape[1]))
        for rows, channel, cells in row_blocks(*shape):
            values = anomalies[rows, channel, cells]
            regions = means.cells_of_regions[cells]
            found = error_sums(
                values.copy(), values, regions, roots[channel, cells, None] * regions
            )
            sums[:, rows, :, channel] += found[:3]
        squares, first, absolute = means.of_sums(sums)
        return cls(
            times=times,
            real=real.reshape(shape),
            anomalies=anomalies,
            modelled=modelled,
            roots=roots,
            squares=squares,
            first=first,
            absolute=absolute,
            history=history,
            patterns=patterns,
        )

    def indices(self, weights: Array) -> Array:
        """Return the indices of the anomalies at all times: shape (times, indices).

        Parameters
        ----------
        weights : ndarray, shape (indices, channels, cells)
            Weights of weighted anomalies, in the precision of the data.
        """
        found = np.zeros((len(self.times), len(weights)))
        for number, own in enumerate(weights):
            for channel in np.flatnonzero(own.any(axis=-1)):
                found[:, number] += self.anomalies[:, channel] @ own[channel]
        return found

    def places(self, times: Array) -> slice | Array:
        """Return the positions of times, as a slice where they are evenly spaced."""
        return evenly_spaced(np.searchsorted(self.times, times))


def _transformed(real: Array, transforms: ChannelTransforms) -> Array:
    """Return fields, shape (times, grid.size), as the model is trained on them."""
    if not transforms:
        return real
    by_channel = real.reshape(len(real), len(transforms.channels), -1).copy()
    return transforms.forward(by_channel, 1).reshape(real.shape)


def _patterns(layout: EofLayout, roots: Array, dtype: np.dtype[Any]) -> Array:
    """Return weighted anomalies of unit states: shape (modes, channels, cells)."""
    factors = layout.state_scale * layout.scaling.inverse_weights * roots.reshape(-1)
    found = np.empty(layout.vectors.shape, dtype)
    np.multiply(layout.vectors, factors, out=found, casting="same_kind")
    return found.reshape(-1, *roots.shape)


def evenly_spaced(places: Array) -> slice | Array:
    """Return ascending positions as a slice where they are evenly spaced, others unchanged."""
    steps = np.diff(places)
    if not len(places) or (steps != steps[:1]).any() or (steps[:1] < 1).any():
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]) if len(steps) else 1)
