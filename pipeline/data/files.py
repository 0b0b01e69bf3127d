"""From the paths of an experiment file to files that are open, lazily, in whatever process asks."""

from __future__ import annotations

import atexit
import difflib
import functools
import glob
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import scipy.io
import xarray as xr

from gfrnn.pipeline.errors import DataError

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
_GRIB = (
    "{}: GRIB is not read directly; install cfgrib and eccodes and convert it to netCDF "
    "(cfgrib.open_datasets, or grib_to_netcdf), then give that file"
)


@dataclass(frozen=True)
class RawFile:
    """A file or zarr store: cheap to pickle, opened where it is read.

    Attributes
    ----------
    path
        Absolute local path, or URL for fsspec.
    engine
        The backend of xarray that reads it.
    options
        fsspec's storage options, as sorted pairs.
    stamp
        Size and time of change of a local file, so that a rewritten file is opened anew.
    """

    path: str
    engine: str
    options: tuple[tuple[str, Any], ...] = ()
    stamp: tuple[int, ...] = ()

    def open(self) -> xr.Dataset:
        """The dataset as in the file: masked and scaled, times undecoded, nothing loaded.

        Raises
        ------
        DataError
            Naming the file, where it is damaged or of another format.
        """
        try:
            return _opened(self)
        except TypeError:  # storage options that cannot be hashed
            return _opened.__wrapped__(self)


@functools.lru_cache(maxsize=512)
def _opened(file: RawFile) -> xr.Dataset:
    options: dict[str, Any] = {}
    target: Any = file.path
    if file.engine == "zarr":
        options["consolidated"] = None
        if file.options:
            options["storage_options"] = dict(file.options)
    elif _is_url(file.path):
        target = fsspec.open(file.path, "rb", **dict(file.options)).open()
    try:
        with warnings.catch_warnings():
            # Unconsolidated stores are fine here, and xarray says so for each of them.
            warnings.simplefilter("ignore", RuntimeWarning)
            return xr.open_dataset(
                target,
                engine=file.engine,
                chunks=None,
                cache=False,
                decode_times=False,
                decode_timedelta=False,
                **options,
            )
    except ImportError as error:
        raise DataError(
            f"{file.path}: cannot be opened without another package ({_first_line(error)}); netCDF "
            "by URL needs h5netcdf and h5py, URLs of a cloud its package for fsspec (s3fs, gcsfs)"
        ) from error
    except Exception as error:
        raise DataError(
            f"{file.path}: cannot be opened ({_first_line(error)}); the file is damaged or "
            "incomplete, so copy or download it again"
        ) from error


# Files still open when Python ends are closed before the libraries that read them are gone.
atexit.register(_opened.cache_clear)


def find(
    path: str | list[str], options: dict[str, Any] | None = None, key: str = "data.sources"
) -> list[RawFile]:
    """The files that a path, list of paths, glob or URL names, in order of their names.

    Relative local paths are looked for in the current folder, in the folder that the environment
    variable ``GFRNN_DATA`` names, and in ``../shared/data``.

    Raises
    ------
    DataError
        Where nothing is found: says where it looked and which names there are alike.
    """
    files: list[RawFile] = []
    for entry in [path] if isinstance(path, str) else path:
        found = _find_url(entry, options or {}, key) if _is_url(entry) else _find_local(entry, key)
        files += [file for file in found if file not in files]
    return files


def _is_url(path: str) -> bool:
    return "://" in path or "::" in path


def _find_url(url: str, options: dict[str, Any], key: str) -> Iterator[RawFile]:
    pairs = tuple(sorted(options.items()))
    try:
        fs, inside = fsspec.core.url_to_fs(url, **options)
        inner = [inside]
        if glob.has_magic(inside):
            inner = sorted(fs.glob(inside))
            # glob of a folder that is a store may list the store's own files too
        if not inner or not fs.exists(inner[0]):
            raise FileNotFoundError("nothing is there")
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
            f"{key}: {url} cannot be reached ({_first_line(error)}); check the address, the "
            "network, and storage_options (credentials)"
        ) from error


def data_folders(path: Path) -> list[Path]:
    """Where a path of data is looked for: here, in ``$GFRNN_DATA``, in ``../shared/data``."""
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
    raise DataError(f"{key}: {path} not found; looked in {looked}{_alike(folders, expanded)}")


def _alike(folders: list[Path], path: Path) -> str:
    names: dict[str, str] = {}
    for folder in folders:
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
        return RawFile(str(path), "zarr", (), (_changed(path),))
    with path.open("rb") as stream:
        engine = _engine(str(path), stream.read(8))
    if engine == "netcdf3":
        _check_length(path)
    stamp = (path.stat().st_size, path.stat().st_mtime_ns)
    return RawFile(str(path), "netcdf4", (), stamp)


def _changed(store: Path) -> int:
    return max((store / mark).stat().st_mtime_ns for mark in _ZARR_MARKS if (store / mark).exists())


def _engine(path: str, start: bytes) -> str:
    if start.startswith(b"\x89HDF"):
        return "netcdf4"
    if start.startswith(b"CDF"):
        return "netcdf3"
    if start.startswith(b"GRIB") or path.lower().endswith((".grib", ".grb", ".grib2", ".grb2")):
        raise DataError(_GRIB.format(path))
    found = "an empty file" if not start else f"a file that begins with {start[:4]!r}"
    raise DataError(f"{path}: {found}; netCDF files and zarr stores are read")


def _check_length(path: Path) -> None:
    """Refuse a classic netCDF file that ends early: netCDF itself would read the rest as zeros."""
    with path.open("rb") as stream, warnings.catch_warnings():
        if stream.read(4) == b"CDF\x05":  # which scipy does not know
            return
        stream.seek(0)
        warnings.simplefilter("ignore")
        try:
            # Mapping the arrays reads no data, and fails where one ends behind the file's end.
            scipy.io.netcdf_file(stream, "r", mmap=True).close()
        except Exception as error:
            raise DataError(
                f"{path}: the file ends before its data do ({_first_line(error)}); copy or "
                "download it again"
            ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
