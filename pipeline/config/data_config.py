"""Keys of an experiment about its data: sources, periods and climatology."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import MOST, Period, Section

Doubt = Literal["scrambled", "extremes", "range"]
"""Kind of a doubt about values: points in the wrong order, undeclared fill values, impossible."""

Aggregate = Literal["mean", "sum", "max", "min"]
"""Way to make one value of the values of a step."""

Sampling = Literal["mean", "sum", "max", "min", "instant"]
"""Value of a step: an :data:`Aggregate`, or the value at its beginning."""


# Names of variables become names of arrays, that is, of folders.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


class SourceConfig(Section):
    """A source of data: files that are read as one data set, or one store."""

    path: str | list[str]
    level: float | None = Field(
        None, gt=0, le=10_000, description="level in hPa, if the file has none"
    )
    rename: dict[str, VariableName] = Field(
        {}, description="mapping: name in the file to ERA5 name"
    )
    units: dict[str, str] = Field({}, description="mapping: name in the file to unit")
    select: dict[str, float | str] = Field(
        {}, description="mapping: further dimension, such as number, to its entry that is read"
    )
    missing: list[float] = Field(
        [], description="stored numbers that are missing values, though the file does not say so"
    )
    fill: Literal["value"] | None = Field(
        None, description="value, if the fill value of a zarr store is a value and not missing"
    )
    accumulated: dict[str, Duration | None] = Field(
        {},
        description="mapping: name in the file, or ERA5 name, to the time after which its sum "
        "begins anew, e.g. 1d, or to nothing for values that are no sums",
    )
    version: str | None = Field(
        None, description="branch, tag or snapshot of an Icechunk repository; default: main"
    )
    storage_options: dict[str, Any] = Field({}, description="options of fsspec for URLs")
    interpolate: bool = Field(
        False, description="whether to interpolate to the grid of the sources without this key"
    )

    @field_validator("path")
    @classmethod
    def _some_path(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError(f"{value!r} names no file; give a file, a store, a glob or a URL")
        return value


class Region(Section):
    """A region in latitude and longitude (-180..180 or 0..360), which may cross Greenwich."""

    latitude: tuple[float, float]
    longitude: tuple[float, float]

    @field_validator("latitude")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not -90 <= value[0] < value[1] <= 90:
            raise ValueError(
                f"{list(value)} is not [south, north] within -90..90; write for example [35, 70]"
            )
        return value


class GridConfig(Section):
    """A regular grid that the data are averaged to."""

    spacing: float = Field(gt=0, le=90, description="degrees between latitudes and longitudes")

    @field_validator("spacing")
    @classmethod
    def _whole(cls, value: float) -> float:
        count = 180 / value
        if abs(count - round(count)) > 1e-6 * count:
            near = sorted({180 / n for n in (int(count), int(count) + 1)})
            raise ValueError(
                f"{value:g} degrees do not divide 180 degrees; write for example "
                f"{' or '.join(f'{each:g}' for each in near)}"
            )
        return 180 / round(count)


class DataConfig(Section):
    """Input data: sources, variables, region and time step."""

    sources: list[SourceConfig] = Field(min_length=1)
    static: list[SourceConfig] = Field([], description="sources of static fields only")
    variables: dict[str, list[float] | None] | None = Field(
        None, description="mapping: ERA5 name to levels in hPa, or to nothing for all levels"
    )
    region: Region | None = None
    grid: GridConfig | None = Field(
        None, description="coarser grid, to which values are averaged over the areas of its cells"
    )
    anomalies: bool | None = Field(
        None, description="whether values are anomalies; default: names and attributes tell"
    )
    allow: list[Doubt] = Field(
        [], description="doubts about the values for which a fit shall not refuse them"
    )
    step: Duration | None = Field(None, description="time step to use, e.g. 6h or 1mo")
    aggregate: Sampling | dict[VariableName, Sampling] | None = Field(
        None,
        description="value of a step: mean, sum, max, min or instant, for all variables or by ERA5 "
        "name; default: instant, but sum for sums over time",
    )
    transform: dict[VariableName, Literal["log1p", "sqrt"]] = Field(
        {},
        description="mapping: ERA5 name to log1p or sqrt, which the model is trained on; forecasts "
        "are in physical units",
    )
    chunk: int | None = Field(
        None, gt=0, le=MOST, description="number of times that a leaf reads at once"
    )
    rechunk: bool | None = Field(
        None,
        description="whether a fit first copies its fields to chunks of few times; default: where "
        "stored chunks would be decoded again and again",
    )

    @field_validator("sources", "static", mode="before")
    @classmethod
    def _paths_to_sources(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) else [value]
        return [{"path": entry} if isinstance(entry, str) else entry for entry in entries]

    @field_validator("variables")
    @classmethod
    def _some_variable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and not value:
            raise ValueError("names no variable; leave the key out for all of the data")
        for name, levels in (value or {}).items():
            if levels == []:
                raise ValueError(f"{name}: lists no level; write nothing for all levels")
        return value

    @field_validator("aggregate", mode="before")
    @classmethod
    def _known_sampling(cls, value: Any) -> Any:
        allowed = get_args(Sampling)
        given = value.values() if isinstance(value, dict) else [] if value is None else [value]
        for each in given:
            if each not in allowed:
                raise ValueError(
                    f"{each!r} is none of {', '.join(allowed)}; give one of them for all "
                    "variables, or a mapping such as {total_precipitation: sum}"
                )
        return value

    @model_validator(mode="after")
    def _step_of_aggregates(self) -> DataConfig:
        if self.aggregate is not None and self.step is None:
            raise ValueError(
                "data.aggregate: given without data.step, the time that a value is computed over; "
                "set data.step, for example 1d"
            )
        return self

    @model_validator(mode="after")
    def _one_grid(self) -> DataConfig:
        if all(source.interpolate for source in self.sources):
            raise ValueError(
                "data.sources: interpolate: true for every source, so that none gives the grid; "
                "leave it out of one"
            )
        if self.grid is not None and any(source.interpolate for source in self.sources):
            raise ValueError(
                "data.grid: is not allowed with interpolate: true in data.sources; leave one of "
                "them out"
            )
        if any(source.interpolate for source in self.static):
            raise ValueError(
                "data.static: interpolate is allowed in data.sources only; give static fields on "
                "the grid of the data"
            )
        return self


class PeriodsConfig(Section):
    """Periods of training, of validation (choice of hyperparameters) and of the test."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _disjoint(self) -> PeriodsConfig:
        for (first, a), (second, b) in itertools.combinations(iter(self), 2):
            if a.start <= b.end and b.start <= a.end:
                raise ValueError(
                    f"{first} ({a}) and {second} ({b}) overlap; choose periods with no common time"
                )
        return self


class ClimatologyConfig(Section):
    """Annual and diurnal cycle of the climatology."""

    annual: int | Literal["month"] | None = Field(
        None,
        description="number of harmonics, or month; default: month for monthly data, else 2, or "
        "fewer where the training period does not determine them",
    )
    diurnal: int | None = Field(
        None, ge=0, le=12, description="default: 1 if the step is below 12 h"
    )

    @field_validator("annual", mode="before")
    @classmethod
    def _annual_cycle(cls, value: Any) -> Any:
        if value is None or value == "month" or (type(value) is int and 0 <= value <= 12):
            return value
        raise ValueError(
            f"{value!r} is neither a number of harmonics, 0 to 12, nor month (a mean for each "
            "calendar month); choose one of them"
        )

    def cycles(self, step: Duration, supported: int = 2) -> tuple[int | Literal["month"], int]:
        """Return the annual and the diurnal cycle for data of a step, with defaults filled in.

        Parameters
        ----------
        step : Duration
        supported : int
            Number of harmonics of the year that the training period determines.
        """
        annual, diurnal = self.annual, self.diurnal
        if annual is None:
            annual = "month" if step.monthly else min(2, supported)
        if diurnal is None:
            diurnal = 1 if step < Duration.parse("12h") else 0
        return annual, diurnal
