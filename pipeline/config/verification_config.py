"""Keys of an experiment about scores: regions, and area indices such as Nino 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from gfrnn.pipeline.config.data_config import Region
from gfrnn.pipeline.config.section import Section


class IndexConfig(Region):
    """An index: the mean of a variable over a box in latitude and longitude."""

    variable: str = Field(description="ERA5 name of a variable of the data")
    level: float | None = Field(None, gt=0, description="level in hPa, if there are several")


_SST = {"variable": "sea_surface_temperature"}
KNOWN_INDICES: dict[str, dict[str, Any]] = {
    "nino12": _SST | {"latitude": [-10, 0], "longitude": [270, 280]},
    "nino3": _SST | {"latitude": [-5, 5], "longitude": [210, 270]},
    "nino34": _SST | {"latitude": [-5, 5], "longitude": [190, 240]},
    "nino4": _SST | {"latitude": [-5, 5], "longitude": [160, 210]},
}
"""Indices whose keys have defaults (Trenberth 1997, Bull. Amer. Meteor. Soc. 78, 2771)."""

_ROUND = {"longitude": [0, 360]}
KNOWN_REGIONS: dict[str, dict[str, Any]] = {
    "northern_extratropics": _ROUND | {"latitude": [20, 90]},
    "tropics": _ROUND | {"latitude": [-20, 20]},
    "southern_extratropics": _ROUND | {"latitude": [-90, -20]},
    "arctic": _ROUND | {"latitude": [60, 90]},
    "antarctic": _ROUND | {"latitude": [-90, -60]},
    "europe": {"latitude": [35, 75], "longitude": [-12.5, 42.5]},
    "north_america": {"latitude": [25, 60], "longitude": [-120, -75]},
    "north_atlantic": {"latitude": [25, 60], "longitude": [-70, -20]},
    "north_pacific": {"latitude": [25, 60], "longitude": [145, -130]},
    "east_asia": {"latitude": [25, 60], "longitude": [102.5, 150]},
    "australia": {"latitude": [-45, -12.5], "longitude": [120, 175]},
}
"""Regions whose boxes have defaults: those of the scores that weather centres exchange."""

WHOLE = "all"
"""Name of the region of all cells, which is always scored."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class VerificationConfig(Section):
    """Scores besides those of the whole fields."""

    indices: dict[Name, IndexConfig] = Field(
        {}, description="mapping: name of an index to its variable and box; or names alone"
    )
    regions: dict[Name, Region] = Field(
        {}, description="mapping: name of a region to its box; or names alone"
    )

    thresholds: dict[str, list[float]] = Field(
        {}, description="mapping: name of a channel to thresholds of events, in its unit"
    )
    neighbourhoods: list[Annotated[int, Field(gt=0)]] = Field(
        [], description="odd widths in cells of the neighbourhoods in which events are compared"
    )
    spectra: bool = Field(False, description="whether to compare spectra along longitude")

    @field_validator("indices", mode="before")
    @classmethod
    def _known_indices(cls, value: Any) -> Any:
        return _filled_in(value, KNOWN_INDICES, "index", "variable, latitude and longitude")

    @field_validator("regions", mode="before")
    @classmethod
    def _known_regions(cls, value: Any) -> Any:
        return _filled_in(value, KNOWN_REGIONS, "region", "latitude and longitude")

    @field_validator("neighbourhoods")
    @classmethod
    def _odd_widths(cls, value: list[int]) -> list[int]:
        if even := [width for width in value if width % 2 == 0]:
            raise ValueError(
                f"{even[0]} is even, but a neighbourhood has a cell in its middle; choose "
                f"{even[0] - 1} or {even[0] + 1}"
            )
        return value

    @field_validator("thresholds")
    @classmethod
    def _some_thresholds(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, own in value.items():
            if not own or len(set(own)) < len(own) or not all(map(isfinite, own)):
                raise ValueError(f"{name}: {own} is not a list of different finite numbers")
        return value

    @model_validator(mode="after")
    def _events_for_neighbourhoods(self) -> VerificationConfig:
        if self.neighbourhoods and not self.thresholds:
            raise ValueError(
                "neighbourhoods need events; set verification.thresholds, or leave them out"
            )
        return self

    @field_validator("regions")
    @classmethod
    def _whole_has_its_name(cls, value: dict[str, Region]) -> dict[str, Region]:
        if WHOLE in value:
            raise ValueError(
                f"{WHOLE} is the name of the whole area, which is always scored; choose another"
            )
        return value


def _filled_in(value: Any, known: Mapping[str, dict[str, Any]], kind: str, keys: str) -> Any:
    """Return a mapping, or a list of names, with the keys of well-known names filled in."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping):
        return value
    if unknown := [name for name, own in value.items() if own is None and name not in known]:
        raise ValueError(
            f"{unknown[0]} is not a well-known {kind} ({', '.join(known)}); give its {keys}"
        )
    return {
        name: {**known.get(name, {}), **(own or {})}
        if own is None or isinstance(own, Mapping)
        else own
        for name, own in value.items()
    }
