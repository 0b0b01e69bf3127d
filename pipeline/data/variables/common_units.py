"""One unit for all files of a variable that is in no table of quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.data.variables.units import parse_unit
from gfrnn.pipeline.errors import DataError


def with_common_units(variables: Sequence[FileVariable]) -> list[FileVariable]:
    """Return the variables, each in the unit that its first file states.

    Quantities of the table have SI units already.

    Raises
    ------
    DataError
        If a unit cannot be converted to that of the first file.
    """
    first: dict[str, FileVariable] = {}
    return [
        part
        if part.variable in QUANTITIES
        else _in_unit_of(part, first.setdefault(part.variable, part))
        for part in variables
    ]


def _in_unit_of(part: FileVariable, first: FileVariable) -> FileVariable:
    own, wanted = str(part.attrs["units"]), str(first.attrs["units"])
    if own == wanted:
        return part
    parsed, target = parse_unit(own), parse_unit(wanted)
    if not parsed or not target or parsed[0] != target[0]:
        raise DataError(
            f"{part.variable}: {first.file.path} states the unit {wanted!r}, {part.file.path} "
            f"{own!r}, and they cannot be converted; give the files as sources of their own, with "
            "the unit (data.sources.units), or another name (data.sources.rename) if they are "
            "different quantities"
        )
    factor = parsed[1] / target[1]
    # Differences of anomalies have no offset.
    offset = 0.0 if part.attrs.get("anomalies") else (parsed[2] - target[2]) / target[1]
    return replace(
        part,
        factor=part.factor * factor,
        offset=part.offset * factor + offset,
        attrs={**part.attrs, "units": wanted},
    )
