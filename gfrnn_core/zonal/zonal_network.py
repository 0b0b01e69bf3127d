"""Recurrent network of zonal waves: one linear readout a wavenumber, of shared local features.

With c_m the coefficients of zonal wavenumber m in all channels and functions of latitude, and f_m
those of nonlinear features of the fields on the grid, the network predicts

    c_m(t + 1) = c_m(t) + W_m [c_m(t), c_m(t - 1), ..., 1, f_m(t), f_m(t - 1), ...].

W_m is the same at all longitudes, so that all longitudes inform it, and different at each latitude;
only the constant forces stationary waves, which are bound to longitudes.
A further stage also sees the features of the forecast of the stage before it, and corrects it. The
forecast itself is a linear combination of the other columns.

Source of the training by one linear least-squares problem: Bolager et al., 'Gradient-free training
of recurrent neural networks', arXiv 2410.23467.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.local_features import GridFeatures
from gfrnn_core.recurrent_network import Precision
from gfrnn_core.regression_rows import draw_numbers
from gfrnn_core.rollout import report_diverged
from gfrnn_core.zonal.zonal_basis import ZonalBasis

Array = NDArray[Any]

BLOCK_BYTES = 2**20
"""Most bytes of base fields, and of features, on the grid that are computed together.

It is about the size of a processor core's own cache.
"""

# Multiple of their root mean square norm in training beyond which states have diverged.
_DIVERGED = 20.0


@dataclass(frozen=True, eq=False)
class Stage:
    """The solved readout of one stage.

    Attributes
    ----------
    outer : ndarray of complex, shape (wavenumbers, columns, width)
        Outer weights: of the columns of a row, for each coefficient.
    magnitude : ndarray, shape (wavenumbers, columns)
        Root mean square of each column in training.
    """

    outer: Array
    magnitude: Array


@dataclass(frozen=True, eq=False)
class ZonalNetwork:
    """A network whose states are coefficients of zonal waves, see :class:`ZonalBasis`.

    A network is never changed: :meth:`extended` returns a new one.

    Attributes
    ----------
    basis : ZonalBasis
        Basis of the states.
    features : GridFeatures
    feature_basis : ZonalBasis
        Basis onto which features are projected; its channels are the features.
    background : ndarray of complex, shape (terms, wavenumbers, width)
        Coefficients that are added to those of a state before features are computed, weighted by
        the background terms of its time. If states are anomalies, these are the coefficients of
        the climatology, and the terms its harmonics.
    delays, feature_delays : int
        Numbers of successive states, and of their features, in a row, the present one included;
        ``feature_delays`` is at most ``delays``.
    inputs : int
        Number of inputs. They and the constant drive every wavenumber: stationary waves, such as
        those of orography and of land and sea, are the same at no two longitudes.
    noise : ndarray, shape (size,), or None
        Standard deviation of normal noise on the states that rows see in training. Targets have no
        noise, so that the network learns to return to the data.
    bound : float or None
        Multiple of their root mean square in training to which rollouts limit the magnitude of
        columns and of predicted coefficients, unless the start is itself beyond it: that is then
        the limit. None for no limit.
    seed : int
        Seed of the noise.
    precision : {"float64", "float32"}
        Precision of features, rows and rollouts.
    stages : tuple of Stage
        Solved stages.

    Raises
    ------
    ValueError
        If a number is out of its range, or shapes do not fit.
    """

    basis: ZonalBasis
    features: GridFeatures
    feature_basis: ZonalBasis
    background: Array
    delays: int = 2
    feature_delays: int = 1
    inputs: int = 0
    noise: Array | None = field(default=None, repr=False)
    bound: float | None = 2.5
    seed: int = 0
    precision: Precision = "float64"
    stages: tuple[Stage, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, least in (("delays", 1), ("feature_delays", 1), ("inputs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is less than {least}")
        if self.feature_delays > self.delays:
            raise ValueError(
                f"feature_delays: {self.feature_delays} is more than delays, {self.delays}"
            )
        if self.bound is not None and not 0 < self.bound < np.inf:
            raise ValueError(f"bound: {self.bound} is not positive and finite; None sets no limit")
        if self.precision not in (allowed := get_args(Precision)):
            raise ValueError(f"precision: {self.precision!r} is not one of {', '.join(allowed)}")
        if self.feature_basis.channels != self.features.count:
            raise ValueError(
                f"feature_basis: {self.feature_basis.channels} channels, but there are "
                f"{self.features.count} features"
            )
        if self.feature_basis.wavenumbers != self.basis.wavenumbers:
            raise ValueError(
                f"feature_basis: {self.feature_basis.wavenumbers} wavenumbers, but states have "
                f"{self.basis.wavenumbers}"
            )
        expected = (self.basis.wavenumbers, self.basis.width)
        if self.background.shape[1:] != expected:
            raise ValueError(
                f"background: shape {self.background.shape} is not (terms, wavenumbers, width), "
                f"with {expected} for the last two"
            )
        if self.noise is not None and self.noise.shape != (self.basis.size,):
            raise ValueError(
                f"noise: shape {self.noise.shape} is not one value for each of the "
                f"{self.basis.size} entries of a state"
            )

    @property
    def complex_type(self) -> np.dtype[Any]:
        """Data type of coefficients and rows."""
        return np.result_type(self.precision, np.complex64)

    @property
    def linear(self) -> int:
        """Number of leading columns that are linear: delayed states, a constant and inputs."""
        return self.delays * self.basis.width + 1 + self.inputs

    @property
    def state_size(self) -> int:
        """Length of a state."""
        return self.basis.size

    @property
    def leads(self) -> tuple[int, ...]:
        """Leads in steps that have outer weights of their own: one step."""
        return (1,)

    @property
    def overlap(self) -> int:
        """Number of times of a series that have no row."""
        return self.delays

    @property
    def state_sizes(self) -> Array:
        """Root mean square of each coefficient in training: shape (wavenumbers, width)."""
        return self.stages[0].magnitude[:, : self.basis.width]

    def without_features(self) -> ZonalNetwork:
        """Return the unsolved linear network of the same delays and inputs."""
        return replace(
            self,
            features=GridFeatures.none(self.features.scales),
            feature_basis=replace(self.feature_basis, channels=0),
            feature_delays=1,
            stages=(),
        )

    @property
    def block_times(self) -> int:
        """Number of times whose features are computed together on the grid."""
        fields = max(len(self.features.kinds) * self.basis.channels, self.features.count, 1)
        plane = np.dtype(self.precision).itemsize * self.basis.latitudes * self.basis.longitudes
        return max(1, BLOCK_BYTES // (fields * plane))

    def columns(self, stage: int) -> int:
        """Return the number of feature columns of the rows of a stage, counted from 0."""
        featured = self.feature_basis.width
        own = self.linear + self.feature_delays * featured
        return own + (featured if stage else 0)

    def units(self, stage: int) -> Array:
        """Return a number for the unit of each column of a stage: int, shape (columns,).

        All columns of states have one unit; the constant, each input and each feature has another.
        """
        width, featured = self.basis.width, self.feature_basis.width
        first = 2 + self.inputs
        features = first + np.arange(featured) // (featured // max(self.features.count, 1) or 1)
        own = [
            np.zeros(self.delays * width, dtype=int),
            np.arange(1, first),
            *[features] * self.feature_delays,
        ]
        return np.concatenate([*own, *([features] if stage else [])])

    def used_columns(self, stage: int) -> Array:
        """Return which columns of a stage are not always zero: bool, (wavenumbers, columns)."""
        present, featured = self.basis.used, self.feature_basis.used
        driving = np.ones((self.basis.wavenumbers, 1 + self.inputs), dtype=bool)
        own = [*[present] * self.delays, driving, *[featured] * self.feature_delays]
        return np.concatenate([*own, *([featured] if stage else [])], axis=1)

    def extended(self, stage: Stage) -> ZonalNetwork:
        """Return the network with one more solved stage."""
        expected = (
            self.basis.wavenumbers,
            self.columns(len(self.stages)),
            self.basis.width,
        )
        if stage.outer.shape != expected:
            raise ValueError(f"stage: outer weights of shape {stage.outer.shape}, not {expected}")
        return replace(self, stages=(*self.stages, stage))

    def featurise(self, coefficients: Array, terms: Array) -> Array:
        """Return the coefficients of the features of states.

        Parameters
        ----------
        coefficients : ndarray of complex, shape (wavenumbers, n, width)
        terms : ndarray, shape (n, terms)
            Background terms of the times of the states.

        Returns
        -------
        ndarray of complex, shape (wavenumbers, n, width of the feature basis)
        """
        count, basis = coefficients.shape[1], self.basis
        shape = (basis.wavenumbers, count, self.feature_basis.width)
        found = np.empty(shape, dtype=self.complex_type)
        if not self.features.count:
            return found
        kinds = self.features.kinds
        background = np.tensordot(terms, self.background, axes=1).swapaxes(0, 1)
        whole = np.add(coefficients, background, dtype=found.dtype, casting="same_kind")
        for first in range(0, count, self.block_times):
            now = slice(first, first + self.block_times)
            base = basis.base_fields(whole[:, now], kinds)
            found[:, now] = self.feature_basis.encode(self.features(base, kinds))
        return found

    def training_rows(
        self, states: Array, terms: Array, inputs: Array | None = None, first: int = 0
    ) -> tuple[Array, Array]:
        """Return the rows of the first stage that is not solved yet, for a gapless series.

        Parameters
        ----------
        states : ndarray, shape (times, size)
        terms : ndarray, shape (times, terms)
            Background terms.
        inputs : ndarray, shape (times, inputs), optional
            The row of time t holds the inputs of time t + 1. Needed if the network has inputs.
        first : int
            Index of the first time in the whole record, which decides the draws of noise, so that
            any cut of a series gives the same rows.

        Returns
        -------
        rows : ndarray of complex, shape (wavenumbers, n, columns)
            Rows of the times ``delays - 1`` to ``times - 2``.
        targets : ndarray of complex, shape (wavenumbers, n, width)
            The next state less the noisy present one, or less the forecast of the stage before.

        Raises
        ------
        ValueError
            If shapes do not fit, or there are too few times.
        """
        begin, times = self.delays - 1, len(states)
        if times <= self.delays:
            raise ValueError(f"states: {times} times are too few, rows need {self.delays + 1}")
        terms, inputs = self._terms(terms, times), self._inputs(inputs, times)
        seen = states
        if self.noise is not None:
            drawn = draw_numbers("normal", self.seed, first, times, states.shape[1])
            seen = states + self.noise * drawn
        known = self.basis.unpack(seen, self.complex_type)
        features = self.featurise(known[:, :-1], terms[:-1])

        def delayed(values: Array, delays: int) -> list[Array]:
            return [values[:, begin - delay : times - 1 - delay] for delay in range(delays)]

        present, featured = delayed(known, self.delays), delayed(features, self.feature_delays)
        given = None if inputs is None else inputs[begin + 1 :]
        base = present[0]
        rows = self._rows(present, featured, given)
        for stage in self.stages:
            base = base + np.matmul(rows, stage.outer.astype(rows.dtype, copy=False))
            corrected = self.featurise(base, terms[begin + 1 :])
            rows = self._rows(present, featured, given, corrected)
        return rows, self.basis.unpack(states[begin + 1 :], self.complex_type) - base

    def walk(
        self,
        history: Array,
        steps: int,
        terms: Iterator[Array],
        inputs: Iterator[Array] | None = None,
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the forecast step by step; memory does not grow with the number of steps.

        Parameters
        ----------
        history : ndarray, shape (starts, at least :attr:`delays`, size)
            Latest states, oldest first.
        steps : int
        terms : iterator of ndarray, shape (starts, terms)
            Background terms of the last :attr:`delays` times, oldest first, then of each step.
        inputs : iterator of ndarray, shape (starts, inputs), optional
            Inputs of each step. Needed if the network has inputs.

        Yields
        ------
        states : ndarray, shape (starts, size)
            NaN once the norm of a forecast is far beyond those of training, which happens without a
            bound only; an :class:`gfrnn_core.rollout.UnstableRollout` warning reports it.
        limited : ndarray, shape (starts,)
            Share of the columns and coefficients whose magnitude the bound has limited.

        Raises
        ------
        ValueError
            If shapes do not fit, terms or inputs end early, or no stage is solved yet.
        """
        if not self.stages:
            raise ValueError("the network has no outer weights yet; solve a stage first")
        starts = len(history)
        states: deque[Array] = deque(maxlen=self.delays)
        features: deque[Array] = deque(maxlen=self.feature_delays)
        for index in range(-self.delays, 0):
            state = self.basis.unpack(history[:, index], self.complex_type)
            states.appendleft(state)
            features.appendleft(self.featurise(state, self._terms(next(terms, None), starts)))
        limits = self._limits(states, features)
        outer = [stage.outer.astype(self.complex_type, copy=False) for stage in self.stages]
        left = np.zeros(starts, dtype=int)
        for step in range(1, steps + 1):
            later = self._terms(next(terms, None), starts)
            given = self._inputs(None if inputs is None else next(inputs, None), starts)
            base, limited = states[0], np.zeros(starts)
            rows = self._rows(list(states), list(features), given)
            for number, weights in enumerate(outer):
                limited += _limit(rows, limits[number])
                # Without a bound a diverging forecast may overflow.
                with np.errstate(over="ignore", invalid="ignore"):
                    base = base + np.matmul(rows, weights)
                limited += _limit(base, limits[0][..., : self.basis.width])
                if number + 1 < len(self.stages):
                    corrected = self.featurise(base, later)
                    rows = self._rows(list(states), list(features), given, corrected)
            left[(left == 0) & ~self._plausible(base)] = step
            base[:, left > 0] = np.nan
            states.appendleft(base)
            features.appendleft(self.featurise(base, later))
            yield self.basis.pack(base), limited / (2 * len(self.stages))

        report_diverged(left, callers=3)

    def _terms(self, values: Array | None, times: int) -> Array:
        """Check and return the background terms of some times."""
        return _of_shape("terms", values, (times, len(self.background)))

    def _inputs(self, values: Array | None, times: int) -> Array | None:
        """Check and return the inputs of some times; None if the network has none."""
        if values is None and not self.inputs:
            return None
        return _of_shape("inputs", values, (times, self.inputs))

    def _plausible(self, coefficients: Array) -> Array:
        """Return which states have a norm as in training, or somewhat larger: bool, (starts,)."""
        squares = np.square(np.abs(coefficients)).sum(axis=(0, 2))
        return np.asarray(squares <= np.square(_DIVERGED * self.state_sizes).sum())

    def _rows(
        self,
        present: list[Array],
        featured: list[Array],
        inputs: Array | None,
        corrected: Array | None = None,
    ) -> Array:
        """Return rows of delayed states, a constant, inputs, delayed features, those corrected."""
        driving = np.ones((*present[0].shape[:2], 1 + self.inputs), dtype=self.complex_type)
        if inputs is not None:
            driving[..., 1:] = inputs
        last = [] if corrected is None else [corrected]
        return np.concatenate([*present, driving, *featured, *last], axis=2)

    def _limits(self, states: Iterable[Array], features: Iterable[Array]) -> list[Array]:
        """Return the limits of the magnitudes of each stage's columns in a rollout.

        They are the bound, or what the start itself has reached: extreme weather is no error.

        Parameters
        ----------
        states, features : iterable of ndarray, shape (wavenumbers, starts, width)
            Coefficients of the start at all delays, and those of its features.

        Returns
        -------
        list of ndarray, shape (wavenumbers, starts, columns)
            Infinity without a bound, shape (1, 1, 1).
        """
        if self.bound is None:
            return [np.full((1, 1, 1), np.inf)] * len(self.stages)
        state, feature = (reduce(np.maximum, map(np.abs, each)) for each in (states, features))
        driving = np.zeros((*state.shape[:2], 1 + self.inputs))
        own = [*[state] * self.delays, driving, *[feature] * self.feature_delays]
        found = []
        for number, stage in enumerate(self.stages):
            reached = np.concatenate([*own, *([feature] if number else [])], axis=2)
            limit = np.maximum(reached, self.bound * stage.magnitude[:, None])
            found.append(limit.astype(self.precision))
        return found


def _of_shape(name: str, values: Array | None, shape: tuple[int, ...]) -> Array:
    if values is None or np.shape(values) != shape:
        found = "none" if values is None else f"shape {np.shape(values)}"
        raise ValueError(f"{name}: {found}, but the network needs shape {shape}")
    return values


def _limit(values: Array, limits: Array) -> Array:
    """Limit magnitudes in place; return the share of limited values: shape (starts,).

    Parameters
    ----------
    values : ndarray of complex, shape (wavenumbers, starts, columns)
    limits : ndarray, shape (wavenumbers, starts, columns)
    """
    size = np.abs(values)
    over = size > limits
    count = np.count_nonzero(over, axis=(0, 2))
    if count.any():
        values *= np.divide(limits, size, out=np.ones_like(size), where=over)
    return np.asarray(count / (values.shape[0] * values.shape[2]))
