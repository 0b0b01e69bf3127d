"""The time loop: lift, apply the outer weights, and again, for many starts at once."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
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
        With groups (groups, leads, features, own values).
    leads : tuple of int
    delays : int
    increment : bool
        Whether outer weights predict differences from the present.
    patches : Patches or None
    low, high : ndarray, shape (d,), or None
        Where a state is no longer believed; None believes all that is finite.
    joint : bool
        Whether inputs stand among what hidden features see.
    groups : ndarray of int, shape (places,), or None
        Which outer weights each place uses.
    mask : ndarray of bool, shape (d,), or None
        Where a state stays 0.
    """

    hidden: HiddenWeights
    outer: Array
    leads: tuple[int, ...]
    delays: int
    increment: bool
    patches: Patches | None
    low: Array | None
    high: Array | None
    joint: bool = False
    groups: Array | None = None
    mask: Array | None = None

    def run(self, history: Array, steps: int, inputs: Array | None) -> Array:
        """All steps together: shape (steps, starts, d).

        Parameters as in :meth:`walk`, but for inputs of shape (starts, steps, q) or
        (starts, steps, places, q).
        """
        each = None if inputs is None else iter(np.moveaxis(inputs, 1, 0))
        path = np.empty((steps, *history.shape[1:]), history.dtype)
        for lead, state in enumerate(self.walk(history, steps, each, callers=5)):
            path[lead] = state
        return path

    def walk(
        self, history: Array, steps: int, inputs: Iterator[Array] | None, callers: int = 4
    ) -> Iterator[Array]:
        """Lift anew at every step; only the states that later steps see are kept.

        Parameters
        ----------
        history : ndarray, shape (delays, starts, d)
            Oldest first; float32 or float64, which the loop then works in.
        steps : int
        inputs : iterator of ndarray, shape (starts, q) or (starts, places, q), or None
        callers : int
            Frames between the warning and whoever it is for.

        Yields
        ------
        ndarray, shape (starts, d)
            Of the steps 1 to ``steps``; NaN once a start left.
        """
        starts, reach = history.shape[1], max(self.leads)
        states = deque(history, maxlen=self.delays - 1 + reach)
        forcings: deque[Array] = deque(maxlen=reach)
        alive, left = np.arange(starts), np.zeros(starts, dtype=int)
        for lead in range(1, steps + 1):
            if inputs is not None:
                forcings.append(next(inputs))
            now = np.full_like(history[-1], np.nan)
            if len(alive):
                index = max(i for i, known in enumerate(self.leads) if known <= lead)
                back = self.leads[index]
                window = [states[j - back] for j in range(1 - self.delays, 1)]
                # The input of the step after the one that is predicted from.
                forcing = None if inputs is None else forcings[-back]
                if len(alive) < starts:
                    window = [state[alive] for state in window]
                    forcing = None if forcing is None else forcing[alive]
                state = self.step(np.stack(window), forcing, index)
                stays = self._believed(state)
                now[alive[stays]] = state[stays]
                left[alive[~stays]] = lead
                alive = alive[stays]
            states.append(now)
            yield now
        _report(left, callers)

    def step(self, window: Array, forcing: Array | None, index: int = 0) -> Array:
        """One application of the outer weights: (delays, starts, d) to (starts, d)."""
        if self.patches is None:
            predicted = self._applied(window, forcing, self._outer(None, index), None)
        else:
            everywhere = np.arange(self.patches.places)
            starts = window.shape[1]
            values = np.empty((starts, len(everywhere), self.patches.owned), window.dtype)
            sets = [None] if self.groups is None else list(np.unique(self.groups))
            for group in sets:
                here = everywhere if group is None else np.flatnonzero(self.groups == group)
                found = self._applied(window, forcing, self._outer(group, index), here)
                values[:, here] = found.reshape(starts, len(here), -1)
            predicted = self.patches.assembled(values)
        # Weights that run away overflow before the range is looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            state = np.asarray(predicted + window[-1] if self.increment else predicted)
        if self.mask is not None:
            state[:, self.mask] = 0.0
        return state

    def _outer(self, group: int | None, index: int) -> Array:
        return np.asarray(self.outer[index] if group is None else self.outer[group, index])

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

    def _applied(
        self, window: Array, forcing: Array | None, outer: Array, here: Array | None
    ) -> Array:
        """Lift and apply a few rows at a time, so that what is lifted stays in cache.

        With patches there is a row for each start and each of the places ``here``.
        """
        features, own = outer.shape
        places = 1 if here is None else len(here)
        count = window.shape[1] * places
        result = np.empty((count, own), dtype=window.dtype)
        rows = max(1, min(count, _BUFFER // (features * window.dtype.itemsize)))
        memory = np.empty(rows * features, dtype=window.dtype)
        for first in range(0, count, rows):
            start, index = np.divmod(np.arange(first, min(first + rows, count)), places)
            block = memory[: len(start) * features].reshape((len(start), features), order="F")
            if here is None or self.patches is None:
                seen = [state[start] for state in window[::-1]]
                given = None if forcing is None else forcing[start]
            else:
                place = here[index]
                seen = [self.patches.look(state, start, place) for state in window[::-1]]
                given = None if forcing is None else _at(forcing, start, place)
            if self.joint and given is not None:
                seen, given = [*seen, given], None
            with np.errstate(over="ignore", invalid="ignore"):
                lift_into(block, np.concatenate(seen, axis=1), given, self.hidden)
                np.dot(block, outer, out=result[first : first + len(start)])
        return result

    def _believed(self, state: Array) -> Array:
        if self.low is None or self.high is None:
            return np.asarray(np.isfinite(state).all(axis=1))
        # Comparisons with NaN are false.
        return np.asarray(((state >= self.low) & (state <= self.high)).all(axis=1))


def _at(forcing: Array, start: Array, place: Array) -> Array:
    """Inputs of starts and places, where they may be the same at all places."""
    return np.asarray(forcing[start] if forcing.ndim == 2 else forcing[start, place])


def _report(left: Array, callers: int = 4) -> None:
    gone = np.flatnonzero(left)
    if len(gone):
        warnings.warn(UnstableRollout(gone, left[gone], len(left)), stacklevel=callers)
