"""Time loop of forecasts for many starts at once: lift, apply the outer weights, repeat."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.lead_combination import LeadCombination, predictions_from
from gfrnn_core.lifting import lift, lift_hidden
from gfrnn_core.local_features import LatticeFeatures
from gfrnn_core.patches import Patches
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[Any]

# Bytes of lifted rows at a time, about the size of a core's caches.
_BUFFER = 2**22


class UnstableRollout(RuntimeWarning):
    """Forecasts left the range of the training data; they are NaN from that step on.

    Attributes
    ----------
    starts : ndarray of int
        Indices of the forecasts in the batch that left the range.
    steps : ndarray of int
        Step, counted from 1, at which each of them left; starts are in this order.
    batch : int
        Number of all starts of the batch.
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
        # Workers pickle the warning if it is raised; by default only the message would be kept.
        return type(self), (self.starts, self.steps, self.batch)


@dataclass(frozen=True)
class RolloutLoop:
    """Arrays of a network that its time loop needs, in the scaled units of the network.

    Attributes
    ----------
    hidden : HiddenWeights
    outer : ndarray, shape (leads, features, own values)
        Outer weights; with groups (groups, leads, features, own values).
    leads : tuple of int
    delays : int
    increment : bool
        Whether outer weights predict differences from the present.
    patches : Patches or None
    low, high : ndarray, shape (d,), or None
        Range outside of which a forecast has diverged; None allows all finite values.
    joint : bool
        Whether hidden features see the inputs.
    groups : ndarray of int, shape (places,), or None
        Index of the outer weights that each place uses.
    mask : ndarray of bool, shape (d,), or None
        Coordinates of a state that stay 0.
    modulators : tuple of int
        Indices of the inputs whose products with the present state are linear terms.
    lattice_features : LatticeFeatures or None
        Features on the grid, which precede the other hidden features.
    limit : ndarray, shape () or (d,), or None
        Magnitude to which states are limited.
    combine_leads : {"mean", "longest"}
        Rule that combines predictions, see :mod:`gfrnn_core.lead_combination`.
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
    modulators: tuple[int, ...] = ()
    lattice_features: LatticeFeatures | None = None
    limit: Array | None = None
    combine_leads: LeadCombination = "mean"

    def run(self, history: Array, steps: int, inputs: Array | None) -> Array:
        """Run all steps: shape (steps, starts, d).

        Parameters are those of :meth:`walk`, except that inputs have the shape (starts, steps, q)
        or (starts, steps, places, q).
        """
        each = None if inputs is None else iter(np.moveaxis(inputs, 1, 0))
        path = np.empty((steps, *history.shape[1:]), history.dtype)
        for lead, (state, _) in enumerate(self.walk(history, steps, each, callers=5)):
            path[lead] = state
        return path

    def walk(
        self, history: Array, steps: int, inputs: Iterator[Array] | None, callers: int = 4
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the states step by step; only those that later steps need are kept.

        A state is lifted once, and all predictions from it are made then. The predictions of a
        state are added up until its lead is reached.

        Parameters
        ----------
        history : ndarray, shape (delays, starts, d)
            Latest states, oldest first; float32 or float64, which is the precision of the loop.
        steps : int
        inputs : iterator of ndarray, shape (starts, q) or (starts, places, q), or None
        callers : int
            Number of stack frames from the warning to the user's call.

        Yields
        ------
        states : ndarray, shape (starts, d)
            States at the steps 1 to ``steps``; NaN once a forecast left the range.
        limited : ndarray, shape (starts,)
            Share of the values of each state that were beyond the limit and set to it.
        """
        starts = history.shape[1]
        latest = deque(history, maxlen=self.delays)
        ahead: dict[int, Array] = {}  # sums of weighted predictions, by lead
        alive, left = np.arange(starts), np.zeros(starts, dtype=int)
        for lead in range(1, steps + 1):
            # The inputs are those one step after the present state.
            forcing = None if inputs is None else next(inputs, None)
            if inputs is not None and forcing is None:
                raise ValueError(f"inputs: end before step {lead} of {steps}; give one for each")
            now, limited = np.full_like(history[-1], np.nan), np.zeros(starts)
            if len(alive):
                if forcing is not None and len(alive) < starts:
                    forcing = forcing[alive]
                self._predict_ahead(ahead, latest, forcing, lead - 1, steps)
                state = ahead.pop(lead)
                limited[alive] = self._limit(state)
                stays = self._believed(state)
                now[alive[stays]] = state[stays]
                left[alive[~stays]] = lead
                latest.append(state)
                if not stays.all():
                    alive = alive[stays]
                    latest = deque((one[stays] for one in latest), maxlen=self.delays)
                    ahead = {later: sums[stays] for later, sums in ahead.items()}
            yield now, limited
        report_diverged(left, callers)

    def _predict_ahead(
        self,
        ahead: dict[int, Array],
        latest: Sequence[Array],
        forcing: Array | None,
        step: int,
        steps: int,
    ) -> None:
        """Add the weighted predictions from the state at a step to the sums of their leads."""
        made = predictions_from(self.leads, step, steps, self.combine_leads)
        if not made:
            return
        states = self.predictions(np.stack(latest), forcing, [each.index for each in made])
        # A diverging forecast may overflow before its range is checked.
        with np.errstate(over="ignore", invalid="ignore"):
            for each, state in zip(made, states, strict=True):
                if each.weight < 1:
                    state *= each.weight
                ahead[each.lead] = ahead[each.lead] + state if each.lead in ahead else state

    def step(self, window: Array, forcing: Array | None) -> Array:
        """Apply the outer weights of one step once: (delays, starts, d) to (starts, d)."""
        (state,) = self.predictions(window, forcing, [0])
        return state

    def predictions(
        self, window: Array, forcing: Array | None, indices: Sequence[int]
    ) -> list[Array]:
        """Lift states once and apply the outer weights of some leads, given by their indices.

        Parameters
        ----------
        window : ndarray, shape (delays, starts, d)
            Latest states, oldest first.
        forcing : ndarray, shape (starts, q) or (starts, places, q), or None
            Inputs one step after the last of these states.
        indices : sequence of int

        Returns
        -------
        list of ndarray, shape (starts, d)
            States predicted with each of the outer weights.
        """
        found = []
        # A diverging forecast may overflow before its range is checked.
        with np.errstate(over="ignore", invalid="ignore"):
            for values in self._applied(window, forcing, indices):
                if self.patches is None:
                    predicted = values[:, 0].T
                else:
                    predicted = values.reshape(-1, window.shape[1])[self._origin].T
                found.append(np.asarray(predicted + window[-1] if self.increment else predicted))
        if self.mask is not None:
            for state in found:
                state[:, self.mask] = 0.0
        return found

    def run_linear(self, history: Array, steps: int, inputs: Array | None) -> Array:
        """Lift once, then apply the outer weights of lifted targets; see :meth:`run`."""
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
        report_diverged(left)
        return path

    def _applied(self, window: Array, forcing: Array | None, indices: Sequence[int]) -> Array:
        """Return the predicted values, places by group: (indices, own values, places, starts).

        A few places and starts are computed at a time, so that lifted rows stay in the cache.
        Columns come first, so that windows are written once, where the lift reads them.
        """
        states = np.ascontiguousarray(window.transpose(0, 2, 1))
        featured = None
        if self.lattice_features is not None:
            featured = np.ascontiguousarray(self.lattice_features(window[-1]).T)
        starts, places = states.shape[2], len(self._order)
        features, owned = self.outer.shape[-2:]
        values = np.empty((len(indices), owned, places, starts), states.dtype)
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
                own = None if featured is None else featured[:, here]
                self._lift(block, states[:, :, here], given, own, where)
                for outer, part in self._runs(where):
                    lifted = block[:, part.start - begin : part.stop - begin]
                    lifted = lifted.reshape(features, len(outer), -1).transpose(1, 0, 2)
                    for order, index in enumerate(indices):
                        found = np.matmul(outer[:, index].transpose(0, 2, 1), lifted)
                        found = found.transpose(1, 0, 2).reshape(owned, -1, shape[2])
                        values[order, :, part, here] = found
        return values

    def _lift(
        self,
        block: Array,
        states: Array,
        forcing: Array | None,
        featured: Array | None,
        where: slice,
    ) -> None:
        """Write the features (features, places, starts) of states (delays, cells, starts).

        Those on the grid have the shape (cells * features, starts).
        """
        end, linear, hidden = 0, self.hidden.inputs, len(block) - self.hidden.width
        lattice = hidden
        if self.lattice_features is not None and featured is not None:
            lattice -= self.lattice_features.columns
            on_grid = block[lattice:hidden]
            self._write_windows(featured, where, on_grid, self.lattice_features.windows)
        for state in states[::-1]:
            begin, end = end, end + (len(state) if self.patches is None else self.patches.window)
            self._write_windows(state, where, block[begin:end])
        block[linear] = 1.0
        if forcing is not None:
            begin = end if self.joint else linear + 1
            given = forcing[:, None] if forcing.ndim == 2 else forcing[:, self._order[where]]
            block[begin : begin + forcing.shape[-1]] = given.transpose(2, 1, 0)
            if self.modulators:
                window = states.shape[1] if self.patches is None else self.patches.window
                products = block[lattice - len(self.modulators) * window : lattice]
                for order, index in enumerate(self.modulators):
                    own = products[order * window : (order + 1) * window]
                    np.multiply(block[:window], given.T[index], out=own)
        rows = block.reshape(len(block), -1).T
        lift_hidden(rows, linear, hidden, self.hidden)

    def _write_windows(
        self, state: Array, where: slice, out: Array, patches: Patches | None = None
    ) -> None:
        """Write the windows of a state (cells, starts) at places: (window, places, starts).

        By default the patches are those of states.
        """
        if self.patches is None:
            out[:, 0] = state
            return
        if patches is None and self.patches.indexed:
            seen = self._seen[:, where]
        else:
            seen = (patches or self.patches).seen_from(self._order[where]).T
        np.take(state, seen, axis=0, out=out, mode="clip")  # checking indices would need a buffer
        signs = (patches or self.patches).signs_from(self._order[where])
        if signs is not None:
            out *= signs.T[:, :, None]

    @cached_property
    def _order(self) -> Array:
        """Indices of the places, sorted by group."""
        if self.patches is None:
            return np.zeros(1, dtype=int)
        if self.groups is None:
            return np.arange(self.patches.places)
        return np.argsort(self.groups, kind="stable")

    @cached_property
    def _seen(self) -> Array:
        """Indices into a state of the window of each place: shape (window, places)."""
        assert self.patches is not None
        return np.ascontiguousarray(self.patches.seen[self._order].T)

    @cached_property
    def _origin(self) -> Array:
        """Indices of a state's values among those of all places, shape (own values, places)."""
        assert self.patches is not None
        numbers = np.arange(self.patches.owned * len(self._order)).reshape(-1, len(self._order)).T
        ordered = np.empty_like(numbers)
        ordered[self._order] = numbers
        return self.patches.assemble(ordered)

    def _runs(self, where: slice) -> Iterator[tuple[Array, slice]]:
        """Yield outer weights and places of successive groups with equally many of these places.

        One product of stacked matrices then computes all of them.
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
        """Limits of the groups in the sorted places: shape (groups + 1,)."""
        assert self.groups is not None
        return np.cumsum([0, *np.bincount(self.groups, minlength=len(self.outer))])

    def _limit(self, state: Array) -> Array:
        """Limit the magnitudes of states in place; return the share of limited values of each."""
        if self.limit is None:
            return np.zeros(len(state))
        share = (np.abs(state) > self.limit).mean(axis=1)
        np.clip(state, -self.limit, self.limit, out=state)
        return np.asarray(share)

    def _believed(self, state: Array) -> Array:
        if self.low is None or self.high is None:
            return np.asarray(np.isfinite(state).all(axis=1))
        # Comparisons with NaN are false, so NaN counts as outside.
        return np.asarray(((state >= self.low) & (state <= self.high)).all(axis=1))


def report_diverged(left: Array, callers: int = 4) -> None:
    """Warn of forecasts that diverged at the steps in ``left``, 0 for those that did not."""
    gone = np.flatnonzero(left)
    if len(gone):
        warnings.warn(UnstableRollout(gone, left[gone], len(left)), stacklevel=callers)
