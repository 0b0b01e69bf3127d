"""Keys of an experiment about scores: regions, and area indices such as Nino 3.4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from gfrnn.pipeline.config.data_config import Region
from gfrnn.pipeline.config.section import Section

_GLOBE: dict[str, tuple[float, float]] = {"latitude": (-90, 90), "longitude": (0, 360)}

# Share of a cell from which it belongs to a mask.
_HALF = 0.5


class ScoredRegion(Region):
    """A region to score: the cells of a box in which a static field has values of a range.

    Without a latitude or a longitude, the box extends over all of them; without a field, all cells
    of the box belong to the region.
    """

    latitude: tuple[float, float] = _GLOBE["latitude"]
    longitude: tuple[float, float] = _GLOBE["longitude"]
    field: str | None = Field(
        None, description="name of a static field, such as land_sea_mask; default: all cells"
    )
    at_least: float | None = Field(
        None, allow_inf_nan=False, description="least value of the field; default: none, or 0.5"
    )
    below: float | None = Field(
        None, allow_inf_nan=False, description="value that the field is below; default: none"
    )

    @model_validator(mode="before")
    @classmethod
    def _half_of_a_mask(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or value.get("field") is None:
            return value
        unlimited = value.get("at_least") is None and value.get("below") is None
        return {**value, "at_least": _HALF} if unlimited else value

    @model_validator(mode="after")
    def _a_part_of_the_globe(self) -> ScoredRegion:
        if self.field is None:
            if self.at_least is not None or self.below is not None:
                raise ValueError("at_least and below are limits of a field; set field too")
            if all(getattr(self, name) == own for name, own in _GLOBE.items()):
                raise ValueError("is the whole area; set latitude, longitude or field")
        elif self.field == "latitude":
            raise ValueError("latitude is no field of a file; set latitude: [south, north]")
        elif self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(
                f"no value is at least {self.at_least:g} and below {self.below:g}; choose a lower "
                "at_least or a higher below"
            )
        return self


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

KNOWN_REGIONS: dict[str, dict[str, Any]] = {
    "northern_extratropics": {"latitude": [20, 90]},
    "tropics": {"latitude": [-20, 20]},
    "southern_extratropics": {"latitude": [-90, -20]},
    "arctic": {"latitude": [60, 90]},
    "antarctic": {"latitude": [-90, -60]},
    "land": {"field": "land_sea_mask", "at_least": _HALF},
    "sea": {"field": "land_sea_mask", "below": _HALF},
    "europe": {"latitude": [35, 75], "longitude": [-12.5, 42.5]},
    "north_america": {"latitude": [25, 60], "longitude": [-120, -75]},
    "north_atlantic": {"latitude": [25, 60], "longitude": [-70, -20]},
    "north_pacific": {"latitude": [25, 60], "longitude": [145, -130]},
    "east_asia": {"latitude": [25, 60], "longitude": [102.5, 150]},
    "australia": {"latitude": [-45, -12.5], "longitude": [120, 175]},
}
"""Regions whose keys have defaults: land, sea, and the boxes of the scores that weather centres
exchange."""

WHOLE = "all"
"""Name of the region of all cells, which is always scored."""


def _check_quantile(value: str) -> str:
    if not re.fullmatch(r"q\d{1,3}(\.\d+)?", value, re.ASCII):
        raise ValueError(
            f"{value!r} is neither a number nor a quantile of the climatology, such as q90"
        )
    return value


Quantile = Annotated[str, AfterValidator(_check_quantile)]
"""A quantile of the climatology in percent, such as ``q90``."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class VerificationConfig(Section):
    """Scores besides those of the whole fields."""

    indices: dict[Name, IndexConfig] = Field(
        {}, description="mapping: name of an index to its variable and box; or names alone"
    )
    regions: dict[Name, ScoredRegion] = Field(
        {}, description="mapping: name of a region to its box or static field; or names alone"
    )

    thresholds: dict[str, list[float | Quantile]] = Field(
        {},
        description="mapping: name of a channel to thresholds of events, in its unit, or quantiles "
        "of the climatology, such as q90",
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
        return _filled_in(value, KNOWN_REGIONS, "region", "latitude and longitude, or field")

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
    def _some_thresholds(cls, value: dict[str, list[float | str]]) -> dict[str, list[float | str]]:
        for name, own in value.items():
            levels = [quantile_level(each) for each in own if isinstance(each, str)]
            numbers = [each for each in own if not isinstance(each, str)]
            different = len(set(levels)) + len(set(numbers)) == len(own)
            if not own or not different or not all(map(isfinite, numbers)):
                raise ValueError(
                    f"{name}: {own} is not a list of different finite numbers or quantiles such as "
                    "q90"
                )
            if not all(0 < level < 1 for level in levels):
                raise ValueError(f"{name}: {own}: quantiles lie between q0 and q100, without these")
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
    def _whole_has_its_name(cls, value: dict[str, ScoredRegion]) -> dict[str, ScoredRegion]:
        if WHOLE in value:
            raise ValueError(
                f"{WHOLE} is the name of the whole area, which is always scored; choose another"
            )
        return value


def quantile_level(threshold: str) -> float:
    """Return the level of a quantile, from 0 to 1: 0.9 of ``q90``."""
    return float(threshold.removeprefix("q")) / 100


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
