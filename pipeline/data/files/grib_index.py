"""Index of the messages of a GRIB file, made from their headers, without decoding values."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.errors import DataError

if TYPE_CHECKING:
    from types import ModuleType

Array = NDArray[Any]

PRESSURE = "isobaricInhPa"
"""Type of the levels that are pressures; those in Pa are converted to hPa."""

_END = b"7777"
_SECTION_OF_VALUES = 7  # of GRIB edition 2
_DESCRIBED = ("shortName", "cfVarName", "cfName", "name", "units", "dataType", "gridType")


class FieldKind(NamedTuple):
    """Properties that all messages of one variable share.

    Attributes
    ----------
    parameter : int
        ``paramId`` of ecCodes.
    level_type, step_type : str
        ``typeOfLevel`` and ``stepType`` of ecCodes; pressures in Pa count as those in hPa.
    grid : str
        Digest of the section that defines the grid.
    """

    parameter: int
    level_type: str
    step_type: str
    grid: str


class Header(NamedTuple):
    """Place of a message, and what it is valid for.

    Attributes
    ----------
    time : int
        Valid time, as YYYYMMDDhhmm.
    member : int
    level : float
        In hPa if levels are pressures.
    offset, length : int
        Bytes of the message in the file.
    """

    time: int
    member: int
    level: float
    offset: int
    length: int


@dataclass(frozen=True, eq=False)
class GribVariable:
    """Messages of one variable of a GRIB file, by valid time, member and level.

    Attributes
    ----------
    name : str
        Name as in netCDF files of the same data, such as ``t2m``.
    kind : FieldKind
    description : dict of str
        Entries of the first message, such as ``units``.
    times : ndarray of datetime64[s], shape (times,)
        Ascending.
    members : ndarray of int, shape (members,)
        Ascending.
    levels : ndarray of float, shape (levels,)
        Ascending.
    offsets, lengths : ndarray of int, shape (times, members, levels)
        Bytes of the message; the length is 0 where the file has none.
    problem : str
        Reason why the variable cannot be read, else empty.
    """

    name: str
    kind: FieldKind
    description: dict[str, str]
    times: Array
    members: Array
    levels: Array
    offsets: Array
    lengths: Array
    problem: str = ""

    @property
    def is_regular(self) -> bool:
        """Whether the grid has latitudes and longitudes of its own, not points or coefficients."""
        return self.description["gridType"] in ("regular_ll", "regular_gg")


def eccodes_of(path: str) -> ModuleType:
    """Import ecCodes, which is an extra.

    Raises
    ------
    DataError
        If it is not installed; the message names the file that needs it.
    """
    try:
        import eccodes
    except (ImportError, RuntimeError) as error:  # RuntimeError: its library is missing
        raise DataError(
            f"{path}: a GRIB file, for which the package eccodes is needed; install it with "
            "pip install eccodes, or GFRNN with its extra grib"
        ) from error
    return eccodes


def index_file(path: str) -> dict[str, GribVariable]:
    """Return the variables of a GRIB file by name, from the headers of all its messages.

    Raises
    ------
    DataError
        If a message is damaged, cut off or holds several fields; the message of the error says
        which.
    """
    eccodes = eccodes_of(path)
    headers: dict[FieldKind, list[Header]] = defaultdict(list)
    descriptions: dict[FieldKind, dict[str, str]] = {}
    # ecCodes buffers what it reads of a stream, so the check needs a stream of its own.
    with open(path, "rb") as stream, open(path, "rb") as second:
        size, number, end = os.fstat(stream.fileno()).st_size, 0, 0
        while True:
            handle = None
            try:
                handle = eccodes.codes_grib_new_from_file(stream, headers_only=True)
                if handle is None:
                    break
                number += 1
                kind, header = _read_header(eccodes, handle)
                if kind not in descriptions:
                    descriptions[kind] = {
                        key: str(_get(eccodes, handle, key)) for key in _DESCRIBED
                    }
            except eccodes.CodesInternalError as error:
                raise DataError(_damaged(path, number + (handle is None), end, size, error)) from (
                    error
                )
            finally:
                if handle is not None:
                    eccodes.codes_release(handle)
            header = _whole(second, header, path, number, size)
            headers[kind].append(header)
            end = header.offset + header.length
    if not headers:
        raise DataError(f"{path}: holds no GRIB message; copy or download it again")
    names = _names(descriptions)
    return {
        names[kind]: _variable(names[kind], kind, descriptions[kind], found)
        for kind, found in headers.items()
    }


def _read_header(eccodes: ModuleType, handle: Any) -> tuple[FieldKind, Header]:
    """Read what a message holds, and where it is."""
    level_type = eccodes.codes_get(handle, "typeOfLevel", str)
    level = float(_get(eccodes, handle, "level", 0))
    if level_type == "isobaricInPa":
        level_type, level = PRESSURE, level / 100
    kind = FieldKind(
        eccodes.codes_get(handle, "paramId", int),
        level_type,
        str(_get(eccodes, handle, "stepType")),
        eccodes.codes_get(handle, "md5GridSection", str),
    )
    day, minute = (eccodes.codes_get(handle, f"validity{what}", int) for what in ("Date", "Time"))
    header = Header(
        day * 10_000 + minute,
        int(_get(eccodes, handle, "number", 0)),
        level,
        eccodes.codes_get_message_offset(handle),
        eccodes.codes_get(handle, "totalLength", int),
    )
    return kind, header


def _get(eccodes: ModuleType, handle: Any, key: str, default: Any = "unknown") -> Any:
    try:
        return eccodes.codes_get(handle, key)
    except eccodes.KeyValueNotFoundError:
        return default


def _damaged(path: str, number: int, offset: int, size: int, error: Exception) -> str:
    return (
        f"{path}: message {number}, at byte {offset} of {size}, is damaged or cut off ({error}); "
        "copy or download the file again"
    )


def _whole(stream: IO[bytes], header: Header, path: str, number: int, size: int) -> Header:
    """Check that a message is in the file as a whole and holds one field; return its place.

    Raises
    ------
    DataError
    """
    stream.seek(header.offset)
    start = stream.read(16)
    edition = start[7]
    if edition == 2:  # of several fields, ecCodes knows the length of the first
        header = header._replace(length=int.from_bytes(start[8:16], "big"))
    end = header.offset + header.length
    stream.seek(end - len(_END))
    if end > size or stream.read(len(_END)) != _END:
        raise DataError(_damaged(path, number, header.offset, size, ValueError("no end mark")))
    if edition != 2:  # edition 1 has one field in each message
        return header
    place = header.offset + len(start)
    fields = 0
    while place < end - len(_END):
        stream.seek(place)
        section = stream.read(5)
        fields += section[4] == _SECTION_OF_VALUES
        length = int.from_bytes(section[:4], "big")
        if length < len(section):
            raise DataError(_damaged(path, number, header.offset, size, ValueError("no section")))
        place += length
    if fields != 1:
        raise DataError(
            f"{path}: message {number}, at byte {header.offset}, holds {fields} fields; split such "
            "messages first, for example with grib_copy IN OUT"
        )
    return header


def _names(descriptions: dict[FieldKind, dict[str, str]]) -> dict[FieldKind, str]:
    """Name the variables: as netCDF files do, with the type of level or step where two are alike.

    Pressure levels and instantaneous values keep the plain name.
    """
    found: dict[FieldKind, str] = {}
    for kind, described in descriptions.items():
        names = (described["cfVarName"], described["shortName"])
        known = [name for name in names if name not in ("unknown", "undef", "~")]
        found[kind] = known[0] if known else f"param{kind.parameter}"
    for key, plain in (("level_type", PRESSURE), ("step_type", "instant"), ("grid", "")):
        alike = defaultdict(set)
        for kind, name in found.items():
            alike[name].add(getattr(kind, key))
        found = {
            kind: name
            if len(alike[name]) == 1 or (own := getattr(kind, key)) == plain
            else f"{name}_{own[:20]}"
            for kind, name in found.items()
        }
    return found


def _variable(
    name: str, kind: FieldKind, description: dict[str, str], headers: list[Header]
) -> GribVariable:
    """Arrange the messages of a variable by time, member and level.

    Two messages for the same ones are a problem of the variable.
    """
    columns = [np.array(column) for column in zip(*headers, strict=True)]
    axes, places = zip(*(np.unique(each, return_inverse=True) for each in columns[:3]), strict=True)
    offsets = np.zeros([axis.size for axis in axes], np.int64)
    lengths = np.zeros_like(offsets)
    offsets[places], lengths[places] = columns[3], columns[4]
    problem = ""
    counts = np.zeros(offsets.shape, int)
    np.add.at(counts, places, 1)
    if counts.max() > 1:
        first = np.unravel_index(np.argmax(counts > 1), counts.shape)
        time, member, level = (axis[at] for axis, at in zip(axes, first, strict=True))
        problem = (
            f"{counts[first]} messages hold {name} at {_stamp(time)}, level {level:g}, member "
            f"{member}, as forecasts of several leads or a file written twice do; keep one of "
            "each, for example with grib_copy -w step=0"
        )
    times = np.array([_stamp(time) for time in axes[0]], "M8[s]")
    _, members, levels = axes
    return GribVariable(name, kind, description, times, members, levels, offsets, lengths, problem)


def _stamp(time: int) -> np.datetime64:
    text = f"{time:012d}"
    return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:]}")
