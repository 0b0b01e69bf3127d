"""Record of a model's choice and origin, stored in its attributes as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zarr
from pydantic import ConfigDict, TypeAdapter

# Keys of other versions are refused, not left out.
_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class CandidateScore:
    """The validation result of one candidate.

    Attributes
    ----------
    values : dict
        Its values of the searched keys.
    score, linear : float
        Validation error of its network, and of its linear model.
    shares : list of float
        Its share in the forecast at each lead.
    """

    __pydantic_config__ = _KEYS

    values: dict[str, Any]
    score: float
    linear: float
    shares: list[float]


@dataclass(frozen=True)
class SolveSettings:
    """The settings of a solve for outer weights, so that an update can repeat it.

    Attributes
    ----------
    candidate : int
        Index of its candidate.
    width : int
        Hidden features.
    ridge, balance : list of float
        One for each lead.
    """

    __pydantic_config__ = _KEYS

    candidate: int
    width: int
    ridge: list[float]
    balance: list[float]


@dataclass(frozen=True)
class TriangleLocation:
    """The place of a model's triangles.

    Attributes
    ----------
    store : str
        Checkpoint store: a name in the run's folder, or a path.
    key : str
        Key of the candidates in the store.
    """

    __pydantic_config__ = _KEYS

    store: str
    key: str


@dataclass(frozen=True)
class LatestUpdate:
    """The latest update of a model.

    Attributes
    ----------
    first : str
        First of the new times that was not left out.
    times, rows : int
        Number of new times, and of the rows made from them.
    consecutive : bool
        Whether the new times followed the earlier ones without a gap.
    forget : float
        Weight of all earlier rows.
    data : str
        Fingerprint of the new data; empty in models of earlier versions.
    missing : int
        Number of these times that were left out, as a channel has no value there.
    gaps : int
        Number of gaps between the others.
    previous : str
        Latest time of the earlier data; empty in models of earlier versions.
    """

    __pydantic_config__ = _KEYS

    first: str
    times: int
    rows: int
    consecutive: bool
    forget: float
    data: str = ""
    missing: int = 0
    gaps: int = 0
    previous: str = ""


@dataclass(frozen=True)
class Updates:
    """The updates of a model since its fit.

    Attributes
    ----------
    last : str
        Latest time in the training data of the model.
    updates, rows : int
        Number of updates, and of their rows.
    latest : LatestUpdate
    """

    __pydantic_config__ = _KEYS

    last: str
    updates: int
    rows: int
    latest: LatestUpdate

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> Updates:
        """Read the plain values that :func:`dataclasses.asdict` makes.

        Raises
        ------
        ValueError
            If a value is missing, unknown, or of another type.
        """
        updates: Updates = TypeAdapter(cls).validate_python(found)
        return updates


@dataclass(frozen=True, kw_only=True)
class ModelNotes:
    """The chosen settings of a model, the candidates, and the place of its triangles.

    Attributes
    ----------
    width, modes, delays : int
        Hidden features, values predicted at each lead, and successive states of the best candidate.
    chosen : dict
        Values of the searched keys of the best candidate.
    candidates : list of CandidateScore
    solves : list of SolveSettings
        Settings of the solve of each network of the model.
    linear_solve : SolveSettings or None
        Settings of the solve of the linear model; None, as ``solves`` is empty, for zonal networks,
        whose ridges differ from coefficient to coefficient.
    quadratic_solve : SolveSettings or None
        Settings of the solve of the quadratic reference, if there is one.
    rows, columns : int
        Size of the regression.
    variance_kept : float or None
        Share of the variance that the EOFs hold.
    patches : int or None
        Number of patches of a local layout.
    climatology_error : float or None
        RMSE of the climatology on the validation period over that of the mean of the training
        period, in the space of the EOFs of a layout of EOFs. It is above 1 where the training
        period does not determine the annual or the diurnal cycle.
    fingerprint : str
        Fingerprint of the data of the fit.
    kept : TriangleLocation
    precision : dict
        Precision of the rows, and error and seconds of either precision on a sample of them.
    first_round : list of CandidateScore
        Errors of all candidates with fewer hidden features, if those of ``candidates`` were chosen
        by these.
    updated : Updates or None
    sums : dict or None
        Of variables that are sums over time: the time after which the sum begins anew in the files
        of the training data, and the step of these files. None if there are none.
    """

    __pydantic_config__ = _KEYS

    width: int
    modes: int
    delays: int
    chosen: dict[str, Any]
    candidates: list[CandidateScore]
    solves: list[SolveSettings]
    rows: int
    columns: int
    linear_solve: SolveSettings | None = None
    quadratic_solve: SolveSettings | None = None
    variance_kept: float | None = None
    patches: int | None = None
    climatology_error: float | None = None
    fingerprint: str
    kept: TriangleLocation | None = None
    precision: dict[str, Any]
    first_round: list[CandidateScore] = field(default_factory=list)
    updated: Updates | None = None
    sums: dict[str, tuple[str, str]] | None = None

    @property
    def all_solves(self) -> list[SolveSettings]:
        """Settings of all solves: those of the networks, then those of the references."""
        references = (self.linear_solve, self.quadratic_solve)
        return [*self.solves, *(each for each in references if each is not None)]

    def as_attributes(self) -> dict[str, Any]:
        """Return plain values for JSON, without the keys that do not apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def read(cls, model: Path) -> ModelNotes | None:
        """Read the notes of a stored model alone; None if it is missing or damaged."""
        try:
            attrs: dict[str, Any] = dict(zarr.open_group(model, mode="r", zarr_format=3).attrs)
            return cls.parse(attrs["notes"])
        except Exception:  # the store may be anybody's, and damaged in any way
            return None

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> ModelNotes:
        """Read the plain values that :meth:`as_attributes` returns.

        Raises
        ------
        ValueError
            If a value is missing, unknown, or of another type.
        """
        notes: ModelNotes = TypeAdapter(cls).validate_python(found)
        return notes
