"""Keys of an experiment about scores: area indices such as Nino 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

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

IndexName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class VerificationConfig(Section):
    """Scores besides those of the fields."""

    indices: dict[IndexName, IndexConfig] = Field(
        {}, description="mapping: name of an index to its variable and box; or names alone"
    )

    @field_validator("indices", mode="before")
    @classmethod
    def _known_indices(cls, value: Any) -> Any:
        """Fill in the keys of well-known indices."""
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            value = dict.fromkeys(value)
        if not isinstance(value, Mapping):
            return value
        if unknown := [n for n, own in value.items() if own is None and n not in KNOWN_INDICES]:
            raise ValueError(
                f"{unknown[0]} is not a well-known index ({', '.join(KNOWN_INDICES)}); give its "
                "variable, latitude and longitude"
            )
        return {
            name: {**KNOWN_INDICES.get(name, {}), **(own or {})}
            if own is None or isinstance(own, Mapping)
            else own
            for name, own in value.items()
        }
