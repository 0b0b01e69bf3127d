"""Make the members of ensembles: errors of earlier forecasts are added to a forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.training.ensembles.error_archive import (
    ErrorArchive,
    perturbations,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class EnsembleMembers:
    """Members of the forecasts of successive initial times.

    A member is the forecast plus the error of another forecast, the same one at all leads and in
    all channels, centred on the bias of all: members are consistent in space, time and between
    variables. See :func:`gfrnn.pipeline.training.ensembles.error_archive.perturbations`.

    Attributes
    ----------
    archive : ErrorArchive
    valid : ndarray of datetime64, shape (starts, leads)
        Times that the forecasts are for.
    drawn : ndarray of int, shape (starts, members)
        Initial times of the archive whose errors the members have.
    system : str
        System whose errors are drawn.
    """

    archive: ErrorArchive
    valid: Array
    drawn: Array
    system: str = "forecast"

    @classmethod
    def of(
        cls, archive: ErrorArchive, initial: Array, valid: Array, members: int, seed: int
    ) -> EnsembleMembers:
        """Draw the members of forecasts from some initial times: datetime64, shape (starts,)."""
        return cls(archive, valid, archive.draw(initial, members, seed))

    def of_starts(self, starts: Array) -> EnsembleMembers:
        """Return the members of some of the initial times, given by their positions."""
        return replace(self, valid=self.valid[starts], drawn=self.drawn[starts])

    @property
    def count(self) -> int:
        """Number of members."""
        return int(self.drawn.shape[1])

    def fields(self, centre: Array, first: int, channels: slice) -> Iterator[Array]:
        """Yield the members of each initial time, for some leads and channels.

        Parameters
        ----------
        centre : ndarray of float32, shape (starts, leads, channels, cells)
            Forecasts.
        first : int
            Position of the first of these leads.
        channels : slice
            Positions of these channels on the grid.

        Yields
        ------
        ndarray of float32, shape (members, leads, channels, cells)
        """
        leads = slice(first, first + centre.shape[1])
        deviations = np.stack(
            [
                self.archive.deviations(self.system, self.valid[:, lead], lead)[:, channels]
                for lead in range(leads.start, leads.stop)
            ],
            axis=1,
        )
        bias = self.archive.bias(self.system)[leads, channels]
        for own, drawn, size in zip(centre, self.drawn, deviations, strict=True):
            errors = self.archive.errors(self.system, drawn, leads, channels)
            members = perturbations(errors, size, bias)
            members += own
            yield members


def members_bytes(members: int, fields: int) -> int:
    """Return the memory in bytes of making the members of one forecast, without kept errors.

    Parameters
    ----------
    members : int
    fields : int
        Number of values of a member that are made at once.
    """
    # Errors as float16 and float32, and the members.
    return members * fields * (2 + 4 + 4)
