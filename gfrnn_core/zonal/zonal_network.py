"""Recurrent network of zonal waves: one linear readout a wavenumber of shared local features.

With c_m the coefficients of wavenumber m in all channels and latitudes, and f_m those of features
of the fields on the grid, the network predicts ``c_m(t + 1) = c_m(t) + W_m [c_m, 1, f_m]``, both
with delays. Weights depend on the wavenumber but not on the longitude, so every longitude informs
them. A further stage sees the state and features of the stage before it, and corrects its forecast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.regression import RidgePath
from gfrnn_core.regression_rows import draw_numbers
from gfrnn_core.rfactor import RFactor
from gfrnn_core.zonal.basis import ZonalBasis
from gfrnn_core.zonal.grid_features import GridFeatures

Array = NDArray[Any]

# Bytes of base fields on the grid that are computed together: about the size of a core's caches.
_BLOCK_BYTES = 2**23


@dataclass(frozen=True)
class Stage:
    """The solved readout of one stage.

    Attributes
    ----------
    outer : ndarray of complex, shape (wavenumbers, columns, modes)
        Weights of the columns of a row.
    largest : ndarray, shape (wavenumbers, columns)
        Largest magnitude of each column in training.
    """

    outer: Array
    largest: Array


@dataclass(frozen=True)
class ZonalNetwork:
    """A network whose states are coefficients of zonal waves.

    Attributes
    ----------
    basis : ZonalBasis
    features : GridFeatures
    profiles : ndarray, shape (wavenumbers, latitudes, profiles)
        Functions of latitude onto which the spectra of features are projected.
    background : ndarray of complex, shape (terms, wavenumbers, channels, latitudes)
        Spectra that, weighted by the background terms of a time, are added to those of a state
        before features are computed: the climatology.
    delays, feature_delays : int
        Successive states, and successive features, in a row.
    inputs : int
        Number of inputs, which drive wavenumber 0.
    noise : ndarray, shape (size,), or None
        Standard deviation of normal noise on the states that rows see in training.
    bound : float or None
        Multiple of the largest magnitude in training within which columns and states are held in
        rollouts; None for no bound.
    seed : int
        Seed of the noise.
    stages : tuple of Stage
        Solved stages.
    """

    basis: ZonalBasis
    features: GridFeatures
    profiles: Array
    background: Array
    delays: int = 2
    feature_delays: int = 1
    inputs: int = 0
    noise: Array | None = None
    bound: float | None = 1.0
    seed: int = 0
    stages: tuple[Stage, ...] = field(default=(), repr=False)

    @property
    def featured(self) -> int:
        """Number of columns of the features of one time."""
        return self.features.count * int(self.profiles.shape[2])

    @property
    def linear(self) -> int:
        """Number of leading columns that are linear: delayed states, a constant and inputs."""
        return self.delays * self.basis.width + 1 + self.inputs

    @property
    def history(self) -> int:
        """Number of successive states that a row needs."""
        return max(self.delays, self.feature_delays)

    def columns(self, stage: int) -> int:
        """Return the number of feature columns of a stage, counted from 0."""
        own = self.linear + self.feature_delays * self.featured
        return own + (self.basis.width + self.featured if stage else 0)

    def featurise(self, coefficients: Array, terms: Array) -> Array:
        """Return the projected features of coefficients: complex, (wavenumbers, n, featured).

        Parameters
        ----------
        coefficients : ndarray of complex, shape (wavenumbers, n, width)
        terms : ndarray, shape (n, terms)
            Background terms of the times.
        """
        count = coefficients.shape[1]
        found = np.empty((self.basis.wavenumbers, count, self.featured), dtype=complex)
        per_time = 8 * 6 * self.basis.channels * self.basis.latitudes * self.basis.longitudes
        step = max(1, _BLOCK_BYTES // per_time)
        for first in range(0, count, step):
            now = slice(first, first + step)
            spectrum = self.basis.spectrum(coefficients[:, now])
            spectrum += np.tensordot(terms[now], self.background, axes=1).swapaxes(0, 1)
            values = self.features(spectrum, self.basis.longitudes)
            projected = np.matmul(values.reshape(*values.shape[:1], -1, values.shape[-1]), self.profiles)
            found[:, now] = projected.reshape(*values.shape[:2], -1)
        return found

    def rows(
        self,
        present: list[Array],
        featured: list[Array],
        inputs: Array | None,
        corrected: tuple[Array, Array] | None = None,
    ) -> Array:
        """Return the feature columns of rows: complex, shape (wavenumbers, n, columns).

        Parameters
        ----------
        present : list of ndarray of complex, shape (wavenumbers, n, width)
            Coefficients by delay, the present ones first.
        featured : list of ndarray of complex, shape (wavenumbers, n, featured)
            Features by delay.
        inputs : ndarray, shape (n, inputs), or None
        corrected : tuple of ndarray, optional
            Coefficients and features of the forecast of the stage before.
        """
        count = present[0].shape[1]
        driving = np.zeros((self.basis.wavenumbers, count, 1 + self.inputs), dtype=complex)
        driving[0, :, 0] = 1.0
        if inputs is not None:
            driving[0, :, 1:] = inputs
        return np.concatenate([*present, driving, *featured, *(corrected or ())], axis=2)

    def training_rows(
        self, states: Array, terms: Array, inputs: Array | None, first: int = 0
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Yield, for each solved stage and the next, rows, targets and bases of a gapless series.

        Parameters
        ----------
        states : ndarray, shape (times, size)
        terms : ndarray, shape (times, terms)
            Background terms.
        inputs : ndarray, shape (times, inputs), or None
            The row of time t has the inputs of time t + 1.
        first : int
            Index of the first time in the whole record, which decides the draws of noise.

        Yields
        ------
        rows : ndarray of complex, shape (wavenumbers, n, columns)
        targets : ndarray of complex, shape (wavenumbers, n, width)
            Next states less the base.
        """
        begin, times = self.history - 1, len(states)
        seen = states
        if self.noise is not None:
            z = draw_numbers("normal", self.seed, first, times, states.shape[1])
            if isinstance(self.noise, tuple):
                c = self.basis.unpack(z) * np.where(np.arange(self.basis.wavenumbers) > 0, 1, 1.0)[:, None, None]
                seen = states + self.basis.pack(np.matmul(c, self.noise[1]))
            else:
                seen = states + self.noise * z
        known = self.basis.unpack(seen)
        features = self.featurise(known[:, :-1], terms[:-1])
        now = slice(begin, times - 1)

        def back(values: Array, delay: int) -> Array:
            return values[:, begin - delay : times - 1 - delay]

        present = [back(known, delay) for delay in range(self.delays)]
        featured = [back(features, delay) for delay in range(self.feature_delays)]
        later = self.basis.unpack(states[begin + 1 :])
        given = None if inputs is None else inputs[begin + 1 :]
        base, corrected = present[0], None
        for index in range(len(self.stages) + 1):
            rows = self.rows(present, featured, given, corrected)
            yield rows, later - base, base
            if index < len(self.stages):
                base = base + np.matmul(rows, self.stages[index].outer)
                corrected = base, self.featurise(base, terms[now.start + 1 : now.stop + 1])

    def walk(
        self,
        history: Array,
        steps: int,
        terms: Iterator[Array],
        inputs: Iterator[Array] | None = None,
        stages: int | None = None,
        past: Array | None = None,
    ) -> Iterator[tuple[Array, Array]]:
        """Yield states step by step, and the share of values that the bound held: (starts,).

        Parameters
        ----------
        history : ndarray, shape (starts, at least history, size)
            Latest states, oldest first.
        steps : int
        terms : iterator of ndarray, shape (starts, terms)
            Background terms of the times of the history, oldest first, then of the steps.
        inputs : iterator of ndarray, shape (starts, inputs), or None
            Inputs at each step.
        """
        used = self.stages[:stages]
        states: deque[Array] = deque(maxlen=self.delays)
        features: deque[Array] = deque(maxlen=self.feature_delays)
        for index in range(-self.history, 0):
            now = self.basis.unpack(history[:, index])
            states.appendleft(now)
            features.appendleft(self.featurise(now, next(terms)))
        for _ in range(steps):
            later = next(terms)
            given = None if inputs is None else next(inputs)
            base, corrected, held = states[0], None, np.zeros(len(history))
            for index, stage in enumerate(used):
                rows = self.rows(list(states), list(features), given, corrected)
                if self.bound is not None:
                    held += _hold(rows, self.bound * stage.largest)
                with np.errstate(over="ignore", invalid="ignore"):
                    base = base + np.matmul(rows, stage.outer)
                if self.bound is not None:
                    limit = self.bound * used[0].largest[:, : self.basis.width]
                    held += _hold(base, limit)
                if index + 1 < len(used):
                    corrected = base, self.featurise(base, later)
            states.appendleft(base)
            features.appendleft(self.featurise(base, later))
            yield self.basis.pack(base), held

    def extended(self, stage: Stage) -> ZonalNetwork:
        """Return the network with one more solved stage."""
        return replace(self, stages=(*self.stages, stage))


def _hold(values: Array, limit: Array) -> Array:
    """Reduce magnitudes to a limit in place; return the share of reduced values by start.

    Parameters
    ----------
    values : ndarray of complex, shape (wavenumbers, starts, columns)
    limit : ndarray, shape (wavenumbers, columns)
    """
    size = np.abs(values)
    over = size > limit[:, None]
    if not over.any():
        return np.zeros(values.shape[1])
    factor = np.divide(limit[:, None], size, out=np.ones_like(size), where=over)
    values *= factor
    return np.asarray(over.mean(axis=(0, 2)))
