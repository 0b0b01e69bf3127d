"""The time loop: lift, apply the outer weights, and again, for many starts at once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.lifting import lift, lift_into
from gfrnn_core.patches import Patches
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[Any]

# Bytes of lifted rows at a time, about what a core's caches hold.
_BUFFER = 2**22


class UnstableRollout(RuntimeWarning):
    """Forecasts left the range of the training data; they are NaN from that step on.

    Attributes
    ----------
    starts : ndarray of int
        Which of the batch left.
    steps : ndarray of int
        The step, counted from 1, at which each of them did; starts are in this order.
    batch : int
        Number of starts, those that stayed included.
    """

    def __init__(self, starts: Array, steps: Array, batch: int) -> None:
        self.batch = batch
        order = np.lexsort((starts, steps))
        self.starts, self.steps = starts[order], steps[order]
        super().__init__(
            f"{len(starts)} of {batch} rollouts left the range of the training data, the first "
            f"(start {self.starts[0]}) at step {self.steps[0]}; they are NaN from there on. More "
            "data, input noise, a larger ridge or another scale may keep them in"
        )

    def __reduce__(self) -> tuple[type, tuple[Array, Array, int]]:
        # Workers send it back where it is raised; by default only the message would travel.
        return type(self), (self.starts, self.steps, self.batch)


@dataclass(frozen=True)
class Loop:
    """What a rollout needs of a network, in the network's own scaled units.

    Attributes
    ----------
    hidden : HiddenWeights
    outer : ndarray, shape (leads, features, own values)
    leads : tuple of int
    delays : int
    increment : bool
        Whether outer weights predict differences from the present.
    patches : Patches or None
    low, high : ndarray, shape (d,), or None
        Where a state is no longer believed; None believes all that is finite.
    """

    hidden: HiddenWeights
    outer: Array
    leads: tuple[int, ...]
    delays: int
    increment: bool
    patches: Patches | None
    low: Array | None
    high: Array | None

    def run(self, history: Array, steps: int, inputs: Array | None) -> Array:
        """Lift anew at every step.

        Parameters
        ----------
        history : ndarray, shape (delays, starts, d)
            Oldest first; float32 or float64, which the loop then works in.
        steps : int
        inputs : ndarray, shape (starts, steps, q) or (starts, steps, places, q), or None

        Returns
        -------
        ndarray, shape (steps, starts, d)
        """
        starts, size = history.shape[1:]
        path = np.full((self.delays + steps, starts, size), np.nan, history.dtype)
        path[: self.delays] = history
        alive, left = np.arange(starts), np.zeros(starts, dtype=int)
        present = self.delays - 1
        for lead in range(1, steps + 1):
            index = max(i for i, known in enumerate(self.leads) if known <= lead)
            base = present + lead - self.leads[index]
            window = path[base - self.delays + 1 : base + 1]
            forcing = None if inputs is None else inputs[:, base - present]
            if len(alive) < starts:
                window = window[:, alive]
                forcing = None if forcing is None else forcing[alive]
            state = self.step(window, forcing, index)
            stays = self._believed(state)
            path[present + lead, alive[stays]] = state[stays]
            if not stays.all():
                left[alive[~stays]] = lead
                alive = alive[stays]
            if not len(alive):
                break
        _report(left)
        return path[self.delays :]

    def step(self, window: Array, forcing: Array | None, index: int = 0) -> Array:
        """One application of the outer weights: (delays, starts, d) to (starts, d)."""
        latest_first = window[::-1]
        if self.patches is not None:
            latest_first = self.patches.windows(latest_first)
            places = self.patches.places
            if forcing is not None and forcing.ndim == 2:
                forcing = np.repeat(forcing[:, None], places, axis=1)
            latest_first = latest_first.reshape(self.delays, -1, self.patches.window)
            forcing = None if forcing is None else forcing.reshape(-1, forcing.shape[-1])
        predicted = self._applied(np.concatenate(latest_first, axis=1), forcing, index)
        if self.patches is not None:
            predicted = self.patches.assembled(predicted.reshape(-1, places, predicted.shape[1]))
        # Weights that run away overflow before the range is looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(predicted + window[-1] if self.increment else predicted)

    def run_linear(self, history: Array, steps: int, inputs: Array | None) -> Array:
        """Lift once, then apply the outer weights of lifted targets: as :meth:`run`."""
        starts, size = history.shape[1:]
        path = np.full((steps, starts, size), np.nan, history.dtype)
        alive, left = np.arange(starts), np.zeros(starts, dtype=int)
        linear = self.hidden.inputs
        with np.errstate(over="ignore", invalid="ignore"):
            lifted = lift(np.concatenate(history[::-1], axis=1), None, self.hidden)
        lifted = lifted.astype(history.dtype, copy=False)
        for lead in range(1, steps + 1):
            parts = [lifted[:, : linear + 1], lifted[:, linear + 1 :]]
            if inputs is not None:
                parts.insert(1, inputs[alive, lead - 1])
            with np.errstate(over="ignore", invalid="ignore"):
                lifted = np.concatenate(parts, axis=1) @ self.outer[0]
            stays = self._believed(lifted[:, :size])
            path[lead - 1, alive[stays]] = lifted[stays, :size]
            left[alive[~stays]] = lead
            alive, lifted = alive[stays], lifted[stays]
            if not len(alive):
                break
        _report(left)
        return path

    def _applied(self, seen: Array, forcing: Array | None, index: int) -> Array:
        """Lift and apply a few rows at a time, so that what is lifted stays in cache."""
        features, own = self.outer.shape[1:]
        result = np.empty((len(seen), own), dtype=seen.dtype)
        rows = max(1, min(len(seen), _BUFFER // (features * seen.dtype.itemsize)))
        memory = np.empty(rows * features, dtype=seen.dtype)
        for start in range(0, len(seen), rows):
            part = seen[start : start + rows]
            block = memory[: len(part) * features].reshape((len(part), features), order="F")
            given = None if forcing is None else forcing[start : start + rows]
            with np.errstate(over="ignore", invalid="ignore"):
                lift_into(block, part, given, self.hidden)
                np.dot(block, self.outer[index], out=result[start : start + rows])
        return result

    def _believed(self, state: Array) -> Array:
        if self.low is None or self.high is None:
            return np.asarray(np.isfinite(state).all(axis=1))
        # Comparisons with NaN are false.
        return np.asarray(((state >= self.low) & (state <= self.high)).all(axis=1))


def _report(left: Array) -> None:
    gone = np.flatnonzero(left)
    if len(gone):
        warnings.warn(UnstableRollout(gone, left[gone], len(left)), stacklevel=4)
