"""References that become ensembles with the errors of their own held-out forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.forecasting.ensemble_members import EnsembleMembers
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.systems.references import CentredReference, Reference

Array = NDArray[Any]


@dataclass(frozen=True)
class DressedReferences:
    """Members of references, drawn from the same initial times as those of the forecasts are.

    Attributes
    ----------
    references : dict of CentredReference
        Those with errors, by the position of the system in the scores.
    members : dict of EnsembleMembers
    """

    references: dict[int, CentredReference]
    members: dict[int, EnsembleMembers]

    @classmethod
    def draw(
        cls,
        model: ForecastModel | None,
        references: Sequence[Reference],
        initial: Array,
        valid: Array,
        count: int | None,
        seed: int,
    ) -> DressedReferences:
        """Draw the members of forecasts; there are none without errors or a number of members.

        Parameters
        ----------
        model : ForecastModel or None
        references : sequence of Reference
        initial : ndarray of datetime64, shape (starts,)
        valid : ndarray of datetime64, shape (starts, leads)
        count : int or None
            Number of members.
        seed : int
        """
        if count is None or model is None or model.errors is None:
            return cls({}, {})
        drawn = model.errors.draw(initial, count, seed)
        dressed = {
            number: reference
            for number, reference in enumerate(references, 1)
            if isinstance(reference, CentredReference) and reference.name in SYSTEMS
        }
        members = {
            number: EnsembleMembers(model.errors, valid, drawn, reference.name)
            for number, reference in dressed.items()
        }
        return cls(dressed, members)

    def of_pairs(
        self, states: Sequence[Array | None], lead: int, part: Array, fields: tuple[int, int]
    ) -> Iterator[tuple[int, Array]]:
        """Yield systems and anomalies of members: shape (pairs, members, channels, cells).

        Parameters
        ----------
        states : sequence of ndarray or None
            States of all references at these pairs.
        lead : int
            Position of the lead.
        part : ndarray of int
            Positions of the pairs among the initial times.
        fields : tuple of int
            Channels and cells.
        """
        for system, reference in self.references.items():
            centre = reference.centre(states[system - 1], (len(part), 1, *fields))
            made = self.members[system].of_starts(part).fields(centre, lead, slice(None))
            yield system, np.stack([each[:, 0] for each in made])
