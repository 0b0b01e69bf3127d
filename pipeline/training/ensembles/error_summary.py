"""The summary of forecasts of held-out data: errors go to disk, means and squares are kept."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts, calibrated
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS, ErrorArchive
from gfrnn_core import UnstableRollout

Array = NDArray[Any]


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of forecasts from initial times, whose data have no gap up to the last lead.

    A stretch is a range of initial times.

    Attributes
    ----------
    rollouts : NetworkRollouts
        Networks that were not trained with these data.
    factors : tuple of (ndarray or None), shape (leads, groups) each
        Calibration of the forecasts and of the linear model; None does without.
    fields : Fields
    starts : ndarray of int, shape (starts,)
        Positions of the initial times on the time axis.
    leads : int
    archive : ErrorArchive or None
        Store to write to; None writes nothing, for measurements of time.
    """

    rollouts: NetworkRollouts
    factors: tuple[Array | None, Array | None]
    fields: Fields
    starts: Array
    leads: int
    archive: ErrorArchive | None
    name: str = "forecast errors"
    remedy: str = "forecast.horizon, or leave forecast.members out"

    def leaf(self, stretch: Stretch) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # these are not drawn
            return self._leaf(stretch)

    def _leaf(self, stretch: Stretch) -> Arrays:
        starts, layout = self.starts[stretch.start : stretch.stop], self.rollouts.layout
        scaling, time = layout.scaling, self.fields.time
        windows = starts[:, None] + np.arange(1 - self.rollouts.delays, 1)
        targets = starts[:, None] + np.arange(1, self.leads + 1)
        times = np.unique(np.concatenate([windows, targets], axis=1))
        real = self.fields.at(times).read(0, len(times))
        seen = np.unique(windows)
        states = layout.encode(real[np.searchsorted(times, seen)], time[seen])
        history = states[np.searchsorted(seen, windows)]
        truth = scaling.climatology.subtract_from(real, time[times]).astype(np.float32)
        del real, states
        places = np.searchsorted(times, targets)
        initial, grid = time[starts], scaling.grid
        weights = grid.area_weights / grid.area_weights.sum(axis=(1, 2), keepdims=True)
        weights = weights.reshape(len(grid.channels), -1)
        walks = {
            "forecast": calibrated(
                self.rollouts.walk(history, initial, self.leads), self.factors[0], layout
            ),
            "linear": calibrated(
                self.rollouts.reference_walk("linear", history, initial, self.leads),
                self.factors[1],
                layout,
            ),
        }
        found: Arrays = {}
        for system in SYSTEMS:
            errors = truth[places].reshape(*places.shape, *weights.shape)
            for lead, (each, _) in enumerate(walks.get(system, ())):  # the climatology has none
                anomalies = layout.anomalies(each).reshape(len(starts), *weights.shape)
                np.subtract(errors[:, lead], anomalies, out=errors[:, lead], casting="unsafe")
            if self.archive is not None:
                self.archive.write(stretch.start, {system: errors})
            squares, means = np.empty(errors.shape[:3]), np.empty(errors.shape[:3])
            for lead in range(self.leads):
                one = errors[:, lead].astype(float)
                means[:, lead] = np.vecdot(one, weights)
                squares[:, lead] = np.vecdot(np.square(one, out=one), weights)
            found |= {f"{system}/mean": means, f"{system}/square": squares}
        return found

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {name: np.concatenate([left[name], right[name]]) for name in left}

    def reach(self, stretch: Stretch) -> tuple[int, int]:
        """Return the first time that a leaf reads, and the time after the last."""
        first = int(self.starts[stretch.start]) - self.rollouts.delays + 1
        return first, int(self.starts[stretch.stop - 1]) + self.leads + 1

    def leaf_bytes(self, stretch: Stretch) -> int:
        count, size = stretch.stop - stretch.start, self.fields.grid.size
        starts = self.starts[stretch.start : stretch.stop]
        windows = np.unique(starts[:, None] + np.arange(1 - self.rollouts.delays, self.leads + 1))
        times = len(windows)
        held, stepping = self.rollouts.walk_bytes(count)
        history = 8 * count * self.rollouts.delays * self.rollouts.layout.size
        # Errors as float32, divided by their unit, and as float16; fields of a lead as float64.
        errors = count * self.leads * size * (4 + 4 + 2) + 3 * 8 * count * size
        reading = self.fields.read_bytes(times) + 8 * times * size
        return max(reading + history, held + stepping + 2 * history + errors + 4 * times * size)

    def merge_bytes(self) -> int:
        return 2 * self.result_bytes(len(self.starts))

    def result_bytes(self, times: int) -> int:
        return len(SYSTEMS) * 2 * 8 * times * self.leads * len(self.fields.grid.channels)

    def leaf_rows(self, times: int) -> float:
        return float(times * self.leads)
