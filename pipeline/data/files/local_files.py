"""Search for local files and zarr stores, with the variables and patterns of a shell."""

from __future__ import annotations

import difflib
import glob
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import netCDF4

from gfrnn.pipeline.data.files.file_formats import (
    HEAD,
    TABLE_REMEDY,
    ZARR_MARKS,
    check_length,
    engine_of,
    is_table,
)
from gfrnn.pipeline.data.files.grib_cache import grib_variables
from gfrnn.pipeline.data.files.icechunk_repository import MARKS as ICECHUNK_MARKS
from gfrnn.pipeline.data.files.raw_file import NETCDF_LOCK, RawFile, first_line
from gfrnn.pipeline.data.files.references import holds_references, is_parquet_set
from gfrnn.pipeline.errors import DataError

_LARGEST_IN_ZIP = 64 * 2**20  # bytes; such a file is in memory as a whole while it is open
_GROUPS_SHOWN = 5
_MOST_ALTERNATIVES = 1000


def data_folders(path: Path) -> list[Path]:
    """List folders to search for a path: current, ``$GFRNN_DATA``, ``../shared/data``."""
    if path.is_absolute():
        return [Path()]
    named = [Path(os.environ["GFRNN_DATA"])] if os.environ.get("GFRNN_DATA") else []
    return [Path(), *named, Path("../shared/data")]


def find_local(path: str, key: str) -> list[RawFile]:
    """Find the local files of a path, in order of their names.

    A path may have ``~``, environment variables (``$ERA5``), alternatives (``{t2m,z500}_*.nc``)
    and the patterns of a glob. A relative one is searched in the folders of :func:`data_folders`.
    ``FILE.nc/GROUP`` is a group of a netCDF file.

    Raises
    ------
    DataError
        If there is none; the message lists the folders and similar names.
    """
    try:
        return _find_expanded(path, key)
    except OSError as error:
        raise DataError(
            f"{key}: {path} cannot be read ({error.strerror or error}); check the path, and the "
            "rights to read it"
        ) from error


def _find_expanded(path: str, key: str) -> list[RawFile]:
    """Find the local files of a path, see :func:`find_local`."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    folders = data_folders(Path(expanded))
    if _count_alternatives(expanded) > _MOST_ALTERNATIVES:
        raise DataError(
            f"{key}: {path} has more than {_MOST_ALTERNATIVES} alternatives in braces; use a "
            "pattern such as *, or a list of paths"
        )
    for folder in folders:
        if (folder / expanded).exists():
            return list(_read_files(folder / expanded))
        matches = {each: list(_matches(folder / each)) for each in _alternatives(expanded)}
        if absent := [each for each, found in matches.items() if not found]:
            if len(absent) == len(matches):
                continue
            raise DataError(f"{key}: {path} found, but for {', '.join(absent)}")
        return [file for found in matches.values() for one, group in found
                for file in _read_files(one, group)]  # fmt: skip
    unset = [name for name in re.findall(r"\$\{?(\w+)\}?", expanded) if name not in os.environ]
    if unset:
        raise DataError(
            f"{key}: {path} not found; the environment variable {unset[0]} is not set; set it, or "
            "write the path"
        )
    looked = ", ".join(str((folder / expanded).parent.resolve()) for folder in folders)
    raise DataError(
        f"{key}: {path} not found; looked in {looked}{_suggest_paths(folders, Path(expanded))}"
    )


def _count_alternatives(path: str) -> int:
    """Return an upper bound on the number of paths that :func:`_alternatives` returns."""
    return math.prod(braces.count(",") + 1 for braces in re.findall(r"\{[^{]*", path))


def _alternatives(path: str) -> list[str]:
    """Expand braces: ``{a,b}.nc`` to ``a.nc`` and ``b.nc``."""
    match = re.search(r"\{([^{}]*,[^{}]*)\}", path)
    if not match:
        return [path]
    before, after = path[: match.start()], path[match.end() :]
    return [
        whole for part in match[1].split(",") for whole in _alternatives(f"{before}{part}{after}")
    ]


def _matches(target: Path) -> Iterator[tuple[Path, str]]:
    """Yield existing paths of a glob in order, each with a group of netCDF, empty for none."""
    found = _glob(str(target))
    if found:
        yield from ((path, "") for path in found)
        return
    for parent in target.parents:
        files = [path for path in _glob(str(parent)) if path.is_file()]
        if files:
            group = target.relative_to(parent).as_posix()
            yield from ((path, group) for path in files)
        if files or parent.is_dir():
            return


def _glob(pattern: str) -> list[Path]:
    """Return existing paths in order; brackets that match nothing are those of names."""
    whole = Path(pattern)
    if whole.exists():
        return [whole]
    there = next(part for part in (whole, *whole.parents) if part.exists() or part == part.parent)
    rest = str(whole.relative_to(there))
    escaped = glob.escape(str(there))
    for inner in (rest, rest.replace("[", "[[]")):
        if found := glob.glob(os.path.join(escaped, inner), recursive=True):
            return [Path(path) for path in sorted(found)]
    return []


def _suggest_paths(folders: list[Path], path: Path) -> str:
    """End a message with existing paths of similar names, if there are any."""
    names: dict[str, str] = {}
    for folder in filter(Path.is_dir, folders):
        parent = (folder / path).parent
        while not parent.is_dir() and parent != parent.parent:
            parent = parent.parent
        names |= {entry.name: str(entry) for entry in parent.glob("*")}
    near = difflib.get_close_matches(path.name, names, 3, cutoff=0.5)
    return f"; did you mean {' or '.join(names[name] for name in near)}?" if near else ""


def _read_files(found: Path, group: str = "") -> Iterator[RawFile]:
    """Yield the file or store at a path, the files of a zip archive, or the variables of GRIB.

    Raises
    ------
    DataError
        If it is none, is truncated, or lacks the group.
    """
    path = found.resolve()
    if path.is_dir():
        if any((path / mark).exists() for mark in ICECHUNK_MARKS):
            yield RawFile(str(path), "icechunk")
            return
        if not any((path / mark).exists() for mark in ZARR_MARKS):
            raise DataError(
                f"{path}: a folder, not a zarr store; give the files in it, for example {path}/*.nc"
            )
        metadata = path / ".zmetadata"
        in_parquet = metadata.exists() and is_parquet_set(metadata.read_bytes())
        yield RawFile(str(path), "references" if in_parquet else "zarr", (), _changed(path))
        return
    if not path.is_file():
        raise DataError(f"{path}: neither a file nor a folder; give netCDF files or zarr stores")
    with path.open("rb") as stream:
        start = stream.read(HEAD)
    stamp = (path.stat().st_size, path.stat().st_mtime_ns)
    if start.startswith(b"PK\x03\x04"):
        yield from _in_archive(path, stamp)
        return
    if start.lstrip().startswith(b"{") and holds_references(path.read_bytes()):
        yield RawFile(str(path), "references", (), stamp)
        return
    engine = engine_of(str(path), start)
    if engine == "netcdf3":
        check_length(path)
    if engine == "grib":
        variables = grib_variables(str(path), stamp)
        # Fields on other grids are left out where there are some on a regular one.
        names = [name for name, each in variables.items() if each.is_regular] or list(variables)
        yield from (RawFile(str(path), "grib", (), stamp, name) for name in names)
        return
    if group and group not in (there := group_names(path)):
        listed = ", ".join(there) or "none"
        raise DataError(f"{path}: has no group {group}; groups of the file: {listed}")
    yield RawFile(str(path), "netcdf4", (), stamp, group)


def _changed(store: Path) -> tuple[int, int]:
    """Return when (ns) the metadata of a zarr store or its arrays changed last, and their size."""
    marks = [*ZARR_MARKS, ".zarray", ".zattrs"]
    folders = [store, *(Path(entry) for entry in os.scandir(store) if entry.is_dir())]
    stats = [
        (folder / mark).stat() for folder in folders for mark in marks if (folder / mark).exists()
    ]
    return max(stat.st_mtime_ns for stat in stats), sum(stat.st_size for stat in stats)


def group_names(path: Path) -> list[str]:
    """List the groups of a netCDF file by their paths in it, such as ``forecast/surface``."""

    def below(group: netCDF4.Dataset, prefix: str) -> Iterator[str]:
        for name, inner in group.groups.items():
            yield f"{prefix}{name}"
            yield from below(inner, f"{prefix}{name}/")

    with NETCDF_LOCK, netCDF4.Dataset(path) as root:
        return list(below(root, ""))


def _in_archive(path: Path, stamp: tuple[int, ...]) -> Iterator[RawFile]:
    """Yield the netCDF files of a zip archive, as which the CDS delivers several of them.

    Raises
    ------
    DataError
        If there is none, or they are large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            engines = {}
            for info in members:
                with archive.open(info) as stream:
                    start = stream.read(HEAD)
                if start.startswith((b"\x89HDF", b"CDF")):
                    engines[info.filename] = engine_of(info.filename, start)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path}: a zip archive that cannot be read ({first_line(error)}); download it again, "
            "or unpack it and give the files in it"
        ) from error
    size = sum(info.file_size for info in members)
    listed = ", ".join(info.filename for info in members[:_GROUPS_SHOWN])
    if not engines or size > _LARGEST_IN_ZIP:
        count = f"{len(members)} file{'s' * (len(members) != 1)}"
        what = f"{path}: a zip archive of {count}, {size / 1e6:.3g} MB ({listed})"
        if members and all(is_table(info.filename) for info in members):
            raise DataError(
                f"{what}: tables of text, such as CSV files of stations, are not read; unpack it, "
                f"for example with unzip, take the table of a station and {TABLE_REMEDY}"
            )
        raise DataError(
            f"{what}; unpack it, for example with unzip, and give the netCDF files in it"
        )
    for name in sorted(engines):
        engine = "scipy" if engines[name] == "netcdf3" else "h5netcdf"
        yield RawFile(f"zip://{name}::{path}", engine, (), stamp)
