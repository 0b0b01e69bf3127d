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
from gfrnn.pipeline.verification.weighted_truth import WeightedTruth

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
        """Weighted anomalies of the initial times: shape (pairs, channels, cells)."""
        return np.asarray(self.truth.anomalies[self.start])

    @cached_property
    def real(self) -> Array:
        """Weighted anomalies of the targets: shape (pairs, channels, cells)."""
        return np.asarray(self.truth.anomalies[self.now])


class Reference(ABC):
    """A reference forecast.

    Attributes
    ----------
    name : str
        Name of the system in the scores.
    """

    name: ClassVar[str]

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
    def anomalies(self, pairs: Pairs, roots: Array, states: Array | None) -> Array | None:
        """Return the weighted anomalies of pairs, (pairs, channels, cells); None if all are zero.

        Parameters
        ----------
        pairs : Pairs
        roots : ndarray, shape (channels, cells)
            Roots of the weights of cells.
        states : ndarray, shape (pairs, size), or None
            States of these pairs, from :meth:`states`.
        """

    def index_anomalies(self, pairs: Pairs, anomalies: Array | None) -> Array | None:
        """Return the anomalies that indices are computed from; those of the fields by default."""
        return anomalies


class ClimatologyReference(Reference):
    """The climatology, whose anomalies are zero."""

    name = "climatology"

    def anomalies(self, pairs: Pairs, roots: Array, states: Array | None) -> None:
        return None


class Persistence(Reference):
    """The field of the initial time. Persistence of an index is that of its anomaly."""

    name = "persistence"

    def anomalies(self, pairs: Pairs, roots: Array, states: Array | None) -> Array:
        return pairs.truth.persistence(pairs.start, pairs.now)

    def index_anomalies(self, pairs: Pairs, anomalies: Array | None) -> Array:
        return pairs.present


@dataclass(frozen=True)
class DampedPersistence(Reference):
    """The anomaly of the initial time times its autocorrelation at the lead, cell by cell."""

    model: ForecastModel
    name = "damped persistence"

    def anomalies(self, pairs: Pairs, roots: Array, states: Array | None) -> Array:
        return np.asarray(pairs.present * self.model.damping(pairs.lead).reshape(roots.shape))


@dataclass(frozen=True)
class LinearModel(Reference):
    """The linear model that is solved from the same triangle as the networks."""

    model: ForecastModel
    name = "linear"

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array]:
        assert history is not None
        return (states for states, _ in self.model.linear_walk(history, initial, leads))

    def anomalies(self, pairs: Pairs, roots: Array, states: Array | None) -> Array:
        assert states is not None
        anomalies = self.model.layout.anomalies(states).reshape(len(states), *roots.shape)
        anomalies *= roots
        return anomalies


class LinearInverseModel(LinearModel):
    """The linear inverse model, see :meth:`ForecastModel.inverse_walk`."""

    name = "linear inverse"

    def states(self, history: Array | None, initial: Array, leads: int) -> Iterator[Array]:
        assert history is not None
        return self.model.inverse_walk(history, leads)


def references_of(model: ForecastModel | None) -> tuple[Reference, ...]:
    """Return the references of a model, or those that need none.

    The linear inverse model needs covariances of states, which the layout ``eof`` has.
    """
    if model is None:
        return Persistence(), ClimatologyReference()
    inverse = isinstance(model.layout, EofLayout)
    return (
        LinearModel(model),
        *((LinearInverseModel(model),) if inverse else ()),
        DampedPersistence(model),
        Persistence(),
        ClimatologyReference(),
    )
