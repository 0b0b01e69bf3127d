"""Rollouts of the networks of a model: their weighted mean, and those of reference networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.layouts import Layout
from gfrnn.pipeline.training.zonal.zonal_features import feature_flops, zonal_walk_bytes
from gfrnn_core import SampledRNN
from gfrnn_core.lead_combination import predictions_from
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

Walk = Iterator[tuple[Array, Array]]
"""States of each lead, and the share of values that the bound of rollouts has limited."""

Network = SampledRNN | ZonalNetwork

# Lifted rows that a rollout holds at a time, in bytes.
_LIFTED_BYTES = 2**22


@dataclass(frozen=True)
class NetworkRollouts:
    """The networks of a model and all that their rollouts need.

    Attributes
    ----------
    layout, networks, mixture, linear, step, forcing, quadratic
        Attributes of :class:`gfrnn.pipeline.training.model.ForecastModel`.
    """

    layout: Layout
    networks: tuple[Network, ...]
    mixture: Array
    linear: Network
    step: Duration
    forcing: Forcing
    quadratic: Network | None = None

    @property
    def references(self) -> dict[str, Network]:
        """The reference networks by the name of their system in the scores."""
        found = {"linear": self.linear, "quadratic": self.quadratic}
        return {name: network for name, network in found.items() if network is not None}

    @property
    def delays(self) -> int:
        """Number of successive states from which rollouts start."""
        return max(network.delays for network in (*self.networks, *self.references.values()))

    def walk(self, history: Array, initial: Array, steps: int) -> Iterator[tuple[Array, Array]]:
        """Yield the weighted mean of the networks' rollouts lead by lead.

        Parameters
        ----------
        history : ndarray, shape (starts, delays, size)
            States up to the initial time, oldest first.
        initial : ndarray of datetime64, shape (starts,)
            Initial times.
        steps : int
            Number of time steps.

        Yields
        ------
        states : ndarray, shape (starts, size)
            A diverged rollout is NaN from then on.
        limited : ndarray, shape (starts,)
            Share of values that the bound of rollouts has limited at this step, the weighted mean
            of the networks.
        """
        own = np.asarray(self.linear.leads)
        walks = [self._walk(network, history, initial, steps) for network in self.networks]
        for lead in range(1, steps + 1):
            shares = self.mixture[:, np.searchsorted(own, lead, side="right") - 1]
            mixed: Array = np.zeros((len(history), self.layout.size))
            limited: Array = np.zeros(len(history))
            for walk, share in zip(walks, shares, strict=True):
                state, held = next(walk)
                if share:  # a diverged state is NaN even times 0
                    mixed += share * state
                    limited += share * held
            yield mixed, limited

    def reference_walk(
        self, name: str, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the rollout of one of the :attr:`references` lead by lead, as :meth:`walk` does."""
        yield from self._walk(self.references[name], history, initial, steps)

    def _walk(
        self, network: Network, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        size = network.state_size

        def times(first: int) -> Iterator[Array]:
            return (self.step.after(initial, lead) for lead in range(first, steps + 1))

        given = (one for time in times(1) if (one := self.forcing(time)) is not None)
        inputs = given if self.forcing.count else None
        if isinstance(network, ZonalNetwork):
            climatology = self.layout.scaling.climatology
            terms = (climatology.design_matrix(time) for time in times(1 - network.delays))
            yield from network.walk(history[:, -network.delays :], steps, terms, inputs)
            return
        walk = network.walk(history[:, -network.delays :, :size], steps, inputs)
        for state, limited in walk:
            if size < self.layout.size:
                state = np.pad(state, ((0, 0), (0, self.layout.size - size)))
            yield state, limited

    def walk_bytes(self, starts: int) -> tuple[int, int]:
        """Return the memory in bytes of all walks together, without the history.

        Returns
        -------
        held : int
            Bytes that the walks hold between two steps.
        stepping : int
            Bytes that a step needs besides these, at its peak.
        """
        held = lifted = 0
        for network in (*self.networks, *self.references.values()):
            if isinstance(network, ZonalNetwork):
                held += zonal_walk_bytes(network, len(network.stages), starts)
                continue
            # Sums of predictions by lead, delayed states scaled and stacked, and predictions.
            states = max(network.leads) + 3 * network.delays + len(network.leads) + 4
            held += 8 * starts * states * network.state_size
            places = 1 if network.patches is None else network.patches.places
            varied = places if self.forcing.varies_by_place else 1
            held += 8 * starts * 2 * varied * self.forcing.count
            features = network.columns(self.layout.size, self.forcing.count).features
            lifted = max(lifted, min(_LIFTED_BYTES, 8 * starts * places * features))
        return held, 2 * lifted + 3 * 8 * starts * self.layout.size

    def walk_flops(self, steps: int) -> float:
        """Count the operations of all walks over a number of steps from one start."""
        flops = 0.0
        for network in (*self.networks, *self.references.values()):
            if isinstance(network, ZonalNetwork):
                for number in range(len(network.stages)):
                    used = network.used_columns(number).sum()
                    flops += steps * (8.0 * used * network.basis.width + feature_flops(network))
                continue
            columns = network.columns(self.layout.size, self.forcing.count)
            places = 1 if network.patches is None else network.patches.places
            own = self.layout.size // places
            rule = network.combine_leads
            made = [
                len(predictions_from(network.leads, step, steps, rule)) for step in range(steps)
            ]
            lifts, products = sum(count > 0 for count in made), sum(made)
            flops += 2.0 * places * lifts * columns.linear * columns.hidden
            flops += 2.0 * places * products * columns.features * own
        return flops


def calibrated(walk: Walk, factors: Array | None, layout: Layout) -> Walk:
    """Yield the states of a walk times the calibration of their lead.

    Parameters
    ----------
    walk : iterator
        From :meth:`NetworkRollouts.walk`.
    factors : ndarray, shape (leads, groups), or None
        Factors of the layout's ``regression_groups``; the last ones also apply to later leads. None
        does without.
    layout : Layout
    """
    if factors is None:
        yield from walk
        return
    groups = layout.regression_groups
    for index, (states, limited) in enumerate(walk):
        yield states * factors[min(index, len(factors) - 1)][groups], limited
