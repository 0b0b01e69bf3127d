"""Search for the files of an experiment by path, glob or URL."""

from __future__ import annotations

import difflib
import glob
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from gfrnn.pipeline.data.files.raw_file import RawFile, first_line, is_url
from gfrnn.pipeline.errors import DataError

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
_GRIB = (
    "{}: GRIB is not read directly; install cfgrib and eccodes and convert it to netCDF "
    "(cfgrib.open_datasets, or grib_to_netcdf), then give that file"
)


def find_files(
    path: str | list[str], options: dict[str, Any] | None = None, key: str = "data.sources"
) -> list[RawFile]:
    """Find the files of a path, list of paths, glob or URL, in order of their names.

    Relative paths are searched in the current folder, in the folder of the environment variable
    ``GFRNN_DATA``, and in ``../shared/data``.

    Raises
    ------
    DataError
        If there is none; the message lists the folders and similar names.
    """
    files: list[RawFile] = []
    for entry in [path] if isinstance(path, str) else path:
        found = _find_url(entry, options or {}, key) if is_url(entry) else _find_local(entry, key)
        files += [file for file in found if file not in files]
    return files


def _find_url(url: str, options: dict[str, Any], key: str) -> Iterator[RawFile]:
    pairs = tuple(sorted(options.items()))
    try:
        fs, inside = fsspec.core.url_to_fs(url, **options)
        inner = [inside]
        if glob.has_magic(inside):
            inner = sorted(fs.glob(inside))
        if not inner or not fs.exists(inner[0]):
            raise FileNotFoundError("not found")
        for path in inner:
            whole = url if path == inside else fs.unstrip_protocol(path)
            if any(fs.exists(f"{path.rstrip('/')}/{mark}") for mark in _ZARR_MARKS):
                yield RawFile(whole, "zarr", pairs)
            elif fs.isdir(path):
                raise FileNotFoundError("a folder, not a zarr store; add a glob such as /*.nc")
            else:
                with fs.open(path, "rb") as stream:
                    engine = _engine(whole, stream.read(8))
                # netCDF4-python reads no Python file objects.
                yield RawFile(whole, "scipy" if engine == "netcdf3" else "h5netcdf", pairs)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{key}: {url} cannot be reached ({first_line(error, options)}); check the address, "
            "the network, and storage_options (credentials)"
        ) from error


def data_folders(path: Path) -> list[Path]:
    """List folders to search for a path: current, ``$GFRNN_DATA``, ``../shared/data``."""
    if path.is_absolute():
        return [Path()]
    named = [Path(os.environ["GFRNN_DATA"])] if os.environ.get("GFRNN_DATA") else []
    return [Path(), *named, Path("../shared/data")]


def _find_local(path: str, key: str) -> list[RawFile]:
    expanded = Path(path).expanduser()
    folders = data_folders(expanded)
    for folder in folders:
        target = folder / expanded
        names = [str(target)] if target.exists() else sorted(glob.glob(str(target), recursive=True))
        if names:
            return [_local(Path(name).resolve()) for name in names]
    looked = ", ".join(str((folder / expanded).parent.resolve()) for folder in folders)
    raise DataError(
        f"{key}: {path} not found; looked in {looked}{_suggest_paths(folders, expanded)}"
    )


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


def _local(path: Path) -> RawFile:
    if path.is_dir():
        if not any((path / mark).exists() for mark in _ZARR_MARKS):
            raise DataError(
                f"{path}: a folder, not a zarr store; give the files in it, for example {path}/*.nc"
            )
        return RawFile(str(path), "zarr", (), (_modification_time(path),))
    with path.open("rb") as stream:
        engine = _engine(str(path), stream.read(8))
    if engine == "netcdf3":
        _check_length(path)
    stamp = (path.stat().st_size, path.stat().st_mtime_ns)
    return RawFile(str(path), "netcdf4", (), stamp)


def _modification_time(store: Path) -> int:
    """Return the time (ns) at which the metadata of a zarr store changed last."""
    return max((store / mark).stat().st_mtime_ns for mark in _ZARR_MARKS if (store / mark).exists())


def _engine(path: str, start: bytes) -> str:
    if start.startswith(b"\x89HDF"):
        return "netcdf4"
    if start.startswith(b"CDF"):
        return "netcdf3"
    if start.startswith(b"GRIB") or path.lower().endswith((".grib", ".grb", ".grib2", ".grb2")):
        raise DataError(_GRIB.format(path))
    found = "an empty file" if not start else f"a file that begins with {start[:4]!r}"
    raise DataError(f"{path}: {found}; only netCDF files and zarr stores can be read")


def _check_length(path: Path) -> None:
    """Reject a truncated classic netCDF file, of which netCDF reads the missing part as zeros."""
    from scipy.io import netcdf_file  # slow to import, and used for old files only

    with path.open("rb") as stream, warnings.catch_warnings():
        if stream.read(4) == b"CDF\x05":  # 64-bit data format, which scipy cannot read
            return
        stream.seek(0)
        warnings.simplefilter("ignore")
        try:
            # Memory mapping reads no values, and fails if an array ends after the end of the file.
            netcdf_file(stream, "r", mmap=True).close()
        except Exception as error:
            raise DataError(
                f"{path}: the file is truncated ({first_line(error)}); copy or download it again"
            ) from None
