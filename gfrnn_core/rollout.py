"""The time loop of forecasts: lift, apply the outer weights, repeat, for many starts at once."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.lifting import lift, lift_hidden
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
class RolloutLoop:
    """Arrays of a network that its time loop needs, in the network's own scaled units.

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
        Range outside of which a forecast has diverged; None allows all that is finite.
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
        """Run all steps: shape (steps, starts, d).

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
            Stack frames from the warning to the user's call.

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
        """Apply the outer weights once: (delays, starts, d) to (starts, d)."""
        # Weights that run away overflow before the range is looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._applied(window, forcing, index)
            if self.patches is None:
                predicted = values[:, 0].T
            else:
                predicted = values.reshape(-1, window.shape[1])[self._origin].T
            state = np.asarray(predicted + window[-1] if self.increment else predicted)
        if self.mask is not None:
            state[:, self.mask] = 0.0
        return state

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

    def _applied(self, window: Array, forcing: Array | None, index: int) -> Array:
        """Return the predicted values, places by group: shape (own values, places, starts).

        A few places and starts at a time, so that what is lifted stays in cache. Columns come
        first, so that what a step sees is written once, where the lift reads it.
        """
        states = np.ascontiguousarray(window.transpose(0, 2, 1))
        starts, places = states.shape[2], len(self._order)
        features, owned = self.outer.shape[-2:]
        values = np.empty((owned, places, starts), states.dtype)
        rows = min(max(1, _BUFFER // (features * states.itemsize)), places * starts)
        memory = np.empty(rows * features, states.dtype)
        some = min(starts, rows)
        for first in range(0, starts, some):
            here = slice(first, min(first + some, starts))
            given = None if forcing is None else forcing[here]
            for begin in range(0, places, rows // some):
                where = slice(begin, min(begin + rows // some, places))
                shape = (features, where.stop - begin, here.stop - first)
                block = memory[: shape[0] * shape[1] * shape[2]].reshape(shape)
                self._lift(block, states[:, :, here], given, where)
                for outer, part in self._runs(where):
                    lifted = block[:, part.start - begin : part.stop - begin]
                    lifted = lifted.reshape(features, len(outer), -1).transpose(1, 0, 2)
                    found = np.matmul(outer[:, index].transpose(0, 2, 1), lifted)
                    values[:, part, here] = found.transpose(1, 0, 2).reshape(owned, -1, shape[2])
        return values

    def _lift(self, block: Array, states: Array, forcing: Array | None, where: slice) -> None:
        """Write features, shape (features, places, starts), of states (delays, cells, starts)."""
        end, linear = 0, self.hidden.inputs
        for state in states[::-1]:
            begin, end = end, end + (len(state) if self.patches is None else self.patches.window)
            self._look(state, where, block[begin:end])
        block[linear] = 1.0
        if forcing is not None:
            begin = end if self.joint else linear + 1
            given = forcing[:, None] if forcing.ndim == 2 else forcing[:, self._order[where]]
            block[begin : begin + forcing.shape[-1]] = given.transpose(2, 1, 0)
        rows = block.reshape(len(block), -1).T
        lift_hidden(rows, linear, len(block) - self.hidden.width, self.hidden)

    def _look(self, state: Array, where: slice, out: Array) -> None:
        """Write what places see of a state, (cells, starts): shape (window, places, starts)."""
        if self.patches is None:
            out[:, 0] = state
            return
        if self.patches.small:
            seen = self._seen[:, where]
        else:
            seen = self.patches.seen_from(self._order[where]).T
        np.take(state, seen, axis=0, out=out, mode="clip")  # buffered if it looked for mistakes
        signs = self.patches.signs_from(self._order[where])
        if signs is not None:
            out *= signs.T[:, :, None]

    @cached_property
    def _order(self) -> Array:
        """The places, those of a group next to each other."""
        if self.patches is None:
            return np.zeros(1, dtype=int)
        if self.groups is None:
            return np.arange(self.patches.places)
        return np.argsort(self.groups, kind="stable")

    @cached_property
    def _seen(self) -> Array:
        """Indices into a state of what each place sees: shape (window, places)."""
        assert self.patches is not None
        return np.ascontiguousarray(self.patches.seen[self._order].T)

    @cached_property
    def _origin(self) -> Array:
        """Where among the values of all places, shape (own values, places), a state's come from."""
        assert self.patches is not None
        numbers = np.arange(self.patches.owned * len(self._order)).reshape(-1, len(self._order)).T
        ordered = np.empty_like(numbers)
        ordered[self._order] = numbers
        return self.patches.assembled(ordered)

    def _runs(self, where: slice) -> Iterator[tuple[Array, slice]]:
        """Outer weights of groups that have as many of these places each, and the places.

        One product of stacked matrices then does for all of them.
        """
        if self.groups is None:
            yield self.outer[None], where
            return
        edges = np.clip(self._edges, where.start, where.stop)
        counts = np.diff(edges)
        borders = np.flatnonzero(np.diff(counts)) + 1
        for first, last in pairwise([0, *borders, len(counts)]):
            if counts[first]:
                yield self.outer[first:last], slice(int(edges[first]), int(edges[last]))

    @cached_property
    def _edges(self) -> Array:
        """Where the places of each group begin in their order, and where the last ones end."""
        assert self.groups is not None
        return np.cumsum([0, *np.bincount(self.groups, minlength=len(self.outer))])

    def _believed(self, state: Array) -> Array:
        if self.low is None or self.high is None:
            return np.asarray(np.isfinite(state).all(axis=1))
        # Comparisons with NaN are false.
        return np.asarray(((state >= self.low) & (state <= self.high)).all(axis=1))


def _report(left: Array, callers: int = 4) -> None:
    gone = np.flatnonzero(left)
    if len(gone):
        warnings.warn(UnstableRollout(gone, left[gone], len(left)), stacklevel=callers)
