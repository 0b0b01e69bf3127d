"""Reference forecasts, with which the forecasts of a model are compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.systems.pair_errors import BlockErrors
from gfrnn.pipeline.verification.systems.weighted_truth import WeightedTruth

Array = NDArray[Any]


@dataclass(frozen=True)
class Pairs:
    """Pairs of initial times and targets of one lead.

    Attributes
    ----------
    lead : int
        In steps.
    truth : WeightedTruth
    start, now : slice or ndarray of int
        Positions of the initial times and of the targets in the truth.
    """

    lead: int
    truth: WeightedTruth
    start: slice | Array
    now: slice | Array

    @cached_property
    def present(self) -> Array:
        """Weighted anomalies of the initial times, as the model has them."""
        return np.asarray(self.truth.modelled[self.start])

    @cached_property
    def later(self) -> Array:
        """Weighted anomalies of the targets, as the model has them: (pairs, channels, cells)."""
        return np.asarray(self.truth.modelled[self.now])

    @cached_property
    def scored(self) -> Array:
        """Weighted anomalies of the targets in physical units: (pairs, channels, cells)."""
        return np.asarray(self.truth.anomalies[self.now])

    @cached_property
    def real(self) -> Array:
        """Fields of the targets, 0 in the mask: shape (pairs, channels, cells)."""
        return np.asarray(self.truth.real[self.now])


class Reference(ABC):
    """A reference forecast.

    Attributes
    ----------
    name : str
        Name of the system in the scores.
    persistent : bool
        Whether the forecast of an index is its anomaly at the initial time, not that of the fields.
    """

    name: ClassVar[str]
    persistent: ClassVar[bool] = False

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array | None]:
        """Yield the forecast states of each lead, (starts, size); None if none are needed.

        Parameters
        ----------
        history : ndarray, shape (starts, delays, size), or None
            States up to the initial time, oldest first; None without a model.
        initial : ndarray of datetime64, shape (starts,)
        leads : int
        """
        return repeat(None, leads)

    @abstractmethod
    def errors(self, pairs: Pairs, states: Array | None) -> BlockErrors | None:
        """Return the errors of the reference at pairs; None if its anomalies are zero.

        Parameters
        ----------
        pairs : Pairs
        states : ndarray, shape (pairs, size), or None
            States of these pairs, from :meth:`states`.
        """


class CentredReference(Reference):
    """A reference in whose forecasts an ensemble with the reference's own errors is centred."""

    @abstractmethod
    def centre(self, states: Array | None, shape: tuple[int, ...]) -> Array:
        """Return the anomalies (float32) of the reference.

        Parameters
        ----------
        states : ndarray, shape (pairs, size), or None
        shape : tuple of int
            Shape of the result, pairs first.
        """


class ClimatologyReference(CentredReference):
    """The climatology, whose anomalies are zero."""

    name = "climatology"

    def centre(self, states: Array | None, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, dtype=np.float32)

    def errors(self, pairs: Pairs, states: Array | None) -> None:
        return None


class Persistence(Reference):
    """The field of the initial time. Persistence of an index is that of its anomaly."""

    name = "persistence"
    persistent = True

    def errors(self, pairs: Pairs, states: Array | None) -> BlockErrors:
        before, roots = pairs.truth.real[pairs.start], pairs.truth.roots

        def errors(rows: slice, channel: int, cells: slice) -> Array:
            found = before[rows, channel, cells] - pairs.real[rows, channel, cells]
            found *= roots[channel, cells]
            return np.asarray(found)

        return errors


@dataclass(frozen=True)
class DampedPersistence(Reference):
    """The anomaly of the initial time times its autocorrelation at the lead, cell by cell."""

    model: ForecastModel
    name = "damped persistence"

    def errors(self, pairs: Pairs, states: Array | None) -> BlockErrors:
        roots = pairs.truth.roots
        damping = self.model.damping(pairs.lead).reshape(roots.shape).astype(roots.dtype)

        def errors(rows: slice, channel: int, cells: slice) -> Array:
            found = pairs.present[rows, channel, cells] * damping[channel, cells]
            found -= pairs.later[rows, channel, cells]
            return np.asarray(found)

        return errors


@dataclass(frozen=True)
class LinearModel(CentredReference):
    """The linear model that is solved from the same triangle as the networks."""

    model: ForecastModel
    name = "linear"

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array]:
        assert history is not None
        return (states for states, _ in self.model.linear_walk(history, initial, leads))

    def centre(self, states: Array | None, shape: tuple[int, ...]) -> Array:
        assert states is not None
        return self.model.layout.anomalies(states).reshape(shape).astype(np.float32)

    def errors(self, pairs: Pairs, states: Array | None) -> BlockErrors:
        assert states is not None
        roots, layout = pairs.truth.roots, self.model.layout
        patterns = pairs.truth.patterns
        if patterns is not None:
            own = states.astype(roots.dtype)

            def from_modes(rows: slice, channel: int, cells: slice) -> Array:
                found = own[rows] @ patterns[:, channel, cells]
                found -= pairs.later[rows, channel, cells]
                return np.asarray(found)

            return from_modes
        anomalies = layout.anomalies(states).reshape(len(states), *roots.shape) * roots

        def errors(rows: slice, channel: int, cells: slice) -> Array:
            found = anomalies[rows, channel, cells] - pairs.later[rows, channel, cells]
            return found.astype(roots.dtype, copy=False)

        return errors


class LinearInverseModel(LinearModel):
    """The linear inverse model, see :meth:`ForecastModel.inverse_walk`."""

    name = "linear inverse"

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array]:
        assert history is not None
        return self.model.inverse_walk(history, leads)


class QuadraticModel(LinearModel):
    """The best candidate of quadratic features, see :attr:`ForecastModel.quadratic`."""

    name = "quadratic"

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array]:
        assert history is not None
        return (states for states, _ in self.model.quadratic_walk(history, initial, leads))


def references_of(model: ForecastModel | None) -> tuple[Reference, ...]:
    """Return the references of a model, or those that need none.

    The linear inverse model needs covariances of states, which the layout ``eof`` has. Quadratic
    features are a reference where candidates have them.
    """
    if model is None:
        return Persistence(), ClimatologyReference()
    inverse = isinstance(model.layout, EofLayout)
    return (
        LinearModel(model),
        *((QuadraticModel(model),) if model.quadratic is not None else ()),
        *((LinearInverseModel(model),) if inverse else ()),
        DampedPersistence(model),
        Persistence(),
        ClimatologyReference(),
    )
