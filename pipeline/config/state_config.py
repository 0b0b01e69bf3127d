"""Keys of an experiment about its states."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gfrnn.pipeline.config.section import MOST, Section

# Keys of ``state`` that only one layout has.
_STATE_KEYS = {
    "eof": ("modes",),
    "local": ("patch", "halo", "inner", "weights", "bands", "static"),
    "zonal": ("wavenumbers", "functions", "geometry"),
}

Count = Annotated[int, Field(ge=0, le=MOST)]
Cells = tuple[Count, Count]
Positive = Annotated[int, Field(gt=0, le=MOST)]


class StateConfig(Section):
    """Settings that determine how fields become states of the network."""

    layout: Literal["eof", "local", "zonal"] = "eof"
    modes: int = Field(80, gt=0, le=MOST, description="number of EOFs kept, all variables together")
    delays: int = Field(
        2,
        gt=0,
        le=MOST,
        description="number of successive states that are input, with the present one",
    )
    patch: tuple[Positive, Positive] = Field(
        (4, 4), description="size of a patch in cells: latitudes, longitudes"
    )
    halo: Cells = Field((2, 2), description="cells around a patch that are input")
    inner: Cells | None = Field(None, description="part of the halo that hidden features use")
    weights: Literal["shared", "bands", "own"] = Field(
        "shared", description="outer weights for all patches, bands of latitude, or each patch"
    )
    bands: int = Field(6, gt=0, le=MOST, description="number of bands of latitude")
    static: list[str] = Field([], description="static fields that are input for each patch")
    wavenumbers: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="largest zonal wavenumber; default: the largest whose products the longitudes "
        "resolve, a third of their number",
    )
    functions: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="number of functions of latitude of the zonal mean; default: one more than the "
        "wavenumbers on a globe, half the latitudes elsewhere",
    )
    geometry: Literal["sphere", "channel"] = Field(
        "sphere",
        description="sphere, or a plane channel between walls, such as that of the nature run",
    )

    @model_validator(mode="after")
    def _keys_of_one_layout(self) -> StateConfig:
        for layout, names in _STATE_KEYS.items():
            for name in names if layout != self.layout else ():
                if getattr(self, name) != StateConfig.model_fields[name].default:
                    raise ValueError(
                        f"state.{name} is allowed with state.layout: {layout} only, but the layout "
                        f"is {self.layout}; leave the key out"
                    )
        if self.inner is not None and any(
            inner > halo for inner, halo in zip(self.inner, self.halo, strict=True)
        ):
            raise ValueError(
                f"state.inner: {list(self.inner)} is more than state.halo, {list(self.halo)}; "
                "give at most the halo"
            )
        return self
