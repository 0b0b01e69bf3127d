"""Sections of the experiment file, periods, and the messages on values not allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gfrnn.pipeline.config.durations import ONE_DAY
from gfrnn.pipeline.config.explained_errors import explain_errors
from gfrnn.pipeline.config.yaml_tree import YamlTree
from gfrnn.pipeline.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


MOST = 10**6
"""Largest number of features, chunks and the like: above all that can be computed, and far below
what arithmetic of 64 bits or an allocation of memory would fail at without a message."""

_DATE = re.compile(r"\d{4}(-\d\d?(-\d\d?([T ]\S.*)?)?)?|\d{8}(T\S+)?", re.ASCII)

_FIRST_YEAR, _LAST_YEAR = 1678, 2261

_MOST_LINES, _MOST_CHARACTERS = 20, 600
"""Most errors that are listed, and most characters of one."""


class Section(BaseModel):
    """A section of the experiment file: unknown keys are refused, values are constant."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false in place of numbers, as which Pydantic reads them."""
        if not isinstance(value, (bool, list, tuple, dict)):
            return value
        found = next(_truth_values(value), None)
        assert info.field_name is not None
        annotation: Any = cls.model_fields[info.field_name].annotation
        if found is None or _allows_truth_values(annotation):
            return value
        shown = str(found).lower()
        raise ValueError(f"{shown} is neither a number nor text; write one, or quote it as text")


def _truth_values(value: Any) -> Iterator[bool]:
    """Yield the values true and false in a value, and in lists and mappings of it."""
    if isinstance(value, bool):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _truth_values(each)


@cache
def _allows_truth_values(annotation: Any) -> bool:
    """Check whether values of a type may hold true and false; sections check their own values."""
    if annotation is Any:
        return True
    if isinstance(annotation, type) and issubclass(annotation, (bool, Section)):
        return True
    return any(map(_allows_truth_values, getattr(annotation, "__args__", ())))


def _to_timestamp(value: Any) -> pd.Timestamp:
    try:
        # pandas also reads numbers, as nanoseconds, "today", and 01/02/2003, whose order is open.
        if not isinstance(value, (date, np.datetime64)) and not (
            isinstance(value, str) and _DATE.fullmatch(value.strip())
        ):
            raise ValueError
        stamp = pd.Timestamp(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a date; write for example 2008-12-31") from None
    if pd.isna(stamp):
        raise ValueError(f"{value!r} is not a date; write for example 2008-12-31")
    if not _FIRST_YEAR <= stamp.year <= _LAST_YEAR:
        raise ValueError(
            f"{value!r} is not within the years {_FIRST_YEAR} to {_LAST_YEAR}, whose times fit "
            "into 64 bits; choose a period in these"
        )
    if stamp.tzinfo is not None:
        raise ValueError(f"{value!r} has a time zone; times are UTC, so write it without one")
    return stamp


def _last_instant(stamp: pd.Timestamp, text: str) -> pd.Timestamp:
    """Return the last instant of the year, month or day of which a text states no smaller part."""
    if re.fullmatch(r"\d{4}", text, re.ASCII):
        after = stamp + pd.DateOffset(years=1)
    elif re.fullmatch(r"\d{4}-\d\d?", text, re.ASCII):
        after = stamp + pd.DateOffset(months=1)
    elif stamp == stamp.normalize() and len(text) <= 10:
        after = stamp + ONE_DAY
    else:
        return stamp
    return after - pd.Timedelta(1, "ns")


class Period(Section):
    """A period of time, both ends included.

    An end without an hour means the whole day, one without a day or a month (``2008-12``, ``2008``)
    the whole month or year.
    """

    start: pd.Timestamp
    end: pd.Timestamp

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        if isinstance(value, Period):
            return value
        if isinstance(value, Mapping) and set(value) == {"start", "end"}:
            value = [value["start"], value["end"]]
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(
                f"{value!r} is not a pair of dates; write for example [2000-01-01, 2007-12-31]"
            )
        start, end = map(_to_timestamp, value)
        end = _last_instant(end, str(value[1]).strip())
        if end < start:
            raise ValueError(
                f"the period ends ({value[1]}) before it starts ({value[0]}); swap them"
            )
        return {"start": start, "end": end}

    def mask(self, time: np.ndarray) -> np.ndarray:
        """Return which of the times (datetime64, shape (n,)) lie inside: bool, shape (n,)."""
        return np.asarray((time >= self.start.to_datetime64()) & (time <= self.end.to_datetime64()))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d}..{self.end:%Y-%m-%d}"

    def as_pair(self) -> list[str]:
        """Return the two ends as an experiment file has them."""
        whole_day = self.end == self.end.normalize() + ONE_DAY - pd.Timedelta(1, "ns")
        return [str(self.start), f"{self.end:%Y-%m-%d}" if whole_day else str(self.end)]


def checked(model: type[Model], tree: Any, where: str) -> Model:
    """Return a section from plain lists and dictionaries, validated.

    Raises
    ------
    ConfigError
        With one line for each error: ``where``, the key, what was found, what is allowed, and
        where the key is in a YAML file.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        explained = explain_errors(error, model)
        places = tree.places if isinstance(tree, YamlTree) else {}
        lines = [
            f"{where}: {_shortened(line)}{_place(line, places)}" for line in explained[:_MOST_LINES]
        ]
        if len(explained) > _MOST_LINES:
            lines.append(f"{where}: {len(explained) - _MOST_LINES} more errors")
        raise ConfigError("\n".join(lines)) from None


def _place(line: str, places: Mapping[str, tuple[int, int]]) -> str:
    """Return where the key that an error begins with, or else its section, is in its file."""
    key = re.split(r"[:\s]", line, maxsplit=1)[0]
    found = places.get(key) or places.get(key.rpartition("[")[0])
    if found:
        return f" (line {found[0]}, column {found[1]})"
    while key := key.rpartition(".")[0]:
        if key in places:
            return f" (section in line {places[key][0]})"
    return ""


def _shortened(line: str) -> str:
    """Leave out the middle of a line that holds a long value."""
    if len(line) <= _MOST_CHARACTERS:
        return line
    half = _MOST_CHARACTERS // 2
    return f"{line[:half]} ... {line[-half:]}"
