"""A file or zarr store, opened in the process that reads it."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import io
import json
import threading
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.hidden_values import secret_texts
from gfrnn.pipeline.data.files.grib import open_grib
from gfrnn.pipeline.data.files.icechunk_repository import snapshot_store
from gfrnn.pipeline.data.files.references import reference_store
from gfrnn.pipeline.data.files.selected_entries import select_entries
from gfrnn.pipeline.errors import HIDDEN, DataError

ZARR_ENGINES = ("zarr", "references", "icechunk")
"""Engines of files that are zarr stores, whatever holds their chunks."""

# Keys of the encoding of values that differ from those stored.
_PACKING = ("scale_factor", "add_offset", "_Unsigned")
_MISSING = ("_FillValue", "missing_value")

# The netCDF and HDF5 libraries must not be called by two threads at once. xarray has a lock for
# values, but none for opening a file or for its attributes.
NETCDF_LOCK = threading.RLock()


@dataclass(frozen=True)
class RawFile:
    """A file or zarr store, opened in the process that reads it. Cheap to pickle.

    Attributes
    ----------
    path
        Absolute local path, or URL for fsspec.
    engine
        Engine of ``xarray.open_dataset``, or ``grib``, ``references`` or ``icechunk``.
    options
        Storage options of fsspec, as sorted pairs; values such as dictionaries have no hash.
    stamp
        Size and modification time of a local file, or another mark of its state: a rewritten file
        is opened again; id of the snapshot of a repository.
    group
        Group of a netCDF file, empty for the root; variable of a GRIB file.
    select
        Pairs of a dimension and its only entry that is read.
    missing
        Stored numbers that are missing values, besides those that the file declares.
    fill_is_value
        Whether the fill value of a zarr store is a value, and not a missing one.
    """

    path: str
    engine: str
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False, hash=False)
    stamp: tuple[int | str, ...] = ()
    group: str = ""
    select: tuple[tuple[str, float | str], ...] = ()
    missing: tuple[float, ...] = ()
    fill_is_value: bool = False

    def open(self) -> xr.Dataset:
        """Open the file lazily: values masked and scaled, times not decoded.

        A group has the coordinates of the groups above it.

        Raises
        ------
        DataError
            If it is damaged, has another format or needs a package that is not installed.
        """
        with self.lock:
            return _opened(self)

    def reason(self, error: Exception) -> str:
        """Return the first line of an error about this file, without its storage options."""
        return first_line(error, [value for _, value in self.options])

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Lock to hold while values are read, one for all netCDF and GRIB files; none for zarr."""
        return contextlib.nullcontext() if self.is_zarr else NETCDF_LOCK

    @property
    def is_zarr(self) -> bool:
        """Whether values are those of a zarr store, whatever holds its chunks."""
        return self.engine in ZARR_ENGINES

    def unconverted_array(self, variable: str) -> zarr.Array | None:
        """Return the zarr array of a variable whose stored values are the decoded ones.

        It is None for other formats, and for values that are packed, not float32, or marked as
        missing by a number.
        """
        if not self.is_zarr:
            return None
        return _unconverted_array(self, variable)


@functools.lru_cache(maxsize=512)
def _opened(file: RawFile) -> xr.Dataset:
    try:
        ds = _stored(file, file.group)
        parents = Path(file.group).parents if file.group and file.engine != "grib" else ()
        for parent in parents:
            above = _stored(file, "" if str(parent) == "." else str(parent))
            fitting = {
                name: array
                for name, array in above.variables.items()
                if name not in ds.variables and set(array.dims) <= {name} & set(ds.dims)
            }
            ds = ds.assign_coords(fitting)
        _declare_missing(ds, file)
        with warnings.catch_warnings():
            # xarray warns of variables with several missing values.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            decoded = xr.decode_cf(ds, decode_times=False, decode_timedelta=False)
        return select_entries(decoded, file.select, file.path)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            f"{file.path}: cannot be opened without another package ({file.reason(error)}); netCDF "
            "by URL needs h5netcdf and h5py; s3:// and gs:// need s3fs and gcsfs"
        ) from error
    except Exception as error:
        if _is_being_written(file.path):
            raise DataError(
                f"{file.path}: another program has the file open for writing; wait until it is "
                "closed, or stop that program"
            ) from error
        if "conflicting sizes" in str(error):
            raise DataError(
                f"{file.path}: arrays along the same dimension have different lengths "
                f"({first_line(error)}), as after a writer that was stopped; finish writing the "
                "file, or cut the longer arrays"
            ) from error
        raise DataError(
            f"{file.path}: cannot be opened ({file.reason(error)}); the file is damaged or "
            "incomplete; copy or download it again"
        ) from error


def _stored(file: RawFile, group: str) -> xr.Dataset:
    """Open a group of a file lazily, with its values as stored."""
    if file.engine == "grib":
        return open_grib(file.path, file.stamp, group)
    options: dict[str, Any] = {}
    target: Any = file.path
    if file.is_zarr:
        target = zarr_store(file)
        options["consolidated"] = _is_consolidated(file.path) if file.engine == "zarr" else False
        if file.options and file.engine == "zarr":
            options["storage_options"] = dict(file.options)
        if file.fill_is_value:
            options["use_zarr_fill_value_as_mask"] = False
    elif is_url(file.path):
        remote = fsspec.open(file.path, "rb", **dict(file.options))
        if file.path.startswith("zip://"):  # to seek in a compressed file is slow
            with remote as stream:
                target = io.BytesIO(stream.read())
        else:
            target = remote.open()
    if group:
        options["group"] = group
    with warnings.catch_warnings():
        # xarray warns of each store at a URL without consolidated metadata.
        warnings.simplefilter("ignore", RuntimeWarning)
        return xr.open_dataset(
            target,
            engine="zarr" if file.is_zarr else file.engine,
            chunks=None,
            cache=False,
            decode_cf=False,
            **options,
        )


def zarr_store(file: RawFile) -> Any:
    """Return what zarr opens to read a file: a path, a URL, or a store."""
    if file.engine == "references":
        return reference_store(file.path, dict(file.options))
    if file.engine == "icechunk":
        return snapshot_store(file.path, dict(file.options), str(file.stamp[0]))
    return file.path


def _is_consolidated(path: str) -> bool | None:
    """Return whether a local zarr store has consolidated metadata, None if it is to be tried."""
    folder = Path(path)
    if is_url(path) or (folder / ".zmetadata").exists():
        return None if is_url(path) else True
    try:
        return bool(json.loads((folder / "zarr.json").read_bytes()).get("consolidated_metadata"))
    except FileNotFoundError:  # of format 2
        return False
    except (OSError, ValueError, AttributeError):  # damaged
        return None


def _declare_missing(ds: xr.Dataset, file: RawFile) -> None:
    """Set the attributes by which xarray masks and scales values, as numbers.

    Raises
    ------
    DataError
        If the scale or the offset of a variable is text that is no number.
    """
    for name, variable in ds.variables.items():
        if variable.dtype.kind not in "iuf":
            continue
        attrs = variable.attrs
        for key in (*_PACKING[:2], *_MISSING):
            if not isinstance(attrs.get(key), str | bytes):
                continue
            try:
                attrs[key] = np.asarray(attrs[key]).astype(float)[()]
            except ValueError:
                if key in _PACKING:
                    raise DataError(
                        f"{file.path}: {name} has the {key} {attrs[key]!r}, which is not a number; "
                        "correct the attribute, for example with ncatted"
                    ) from None
                del attrs[key]
        if file.fill_is_value:
            attrs.pop("_FillValue", None)
        if file.missing and name not in ds.dims:
            given = np.array([*np.atleast_1d(attrs.get("missing_value", [])), *file.missing])
            held, stored = held_numbers(given, variable.dtype)
            if held.any():
                attrs["missing_value"] = np.unique(stored[held])


def held_numbers(given: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return which numbers a type of stored values can hold, and the numbers in this type."""
    with np.errstate(invalid="ignore", over="ignore"):
        stored = given.astype(dtype)
    held = np.isclose(stored.astype(float), given.astype(float), rtol=1e-6, equal_nan=True)
    return held, stored


def _is_being_written(path: str) -> bool:
    """Check whether another program holds the lock that the HDF5 library sets for writing."""
    try:
        with open(path, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@functools.lru_cache(maxsize=512)
def _unconverted_array(file: RawFile, variable: str) -> zarr.Array | None:
    if file.missing:
        return None
    raw = file.open()[variable].variable
    options = dict(file.options) if file.engine == "zarr" else {}
    group = zarr.open_group(zarr_store(file), mode="r", storage_options=options or None)
    array = group[variable]
    if not isinstance(array, zarr.Array) or not raw.dtype == array.dtype == np.float32:
        return None
    missing = [raw.encoding[key] for key in _MISSING if key in raw.encoding]
    packed = any(key in raw.encoding for key in _PACKING)
    return None if packed or not np.isnan(np.array(missing, float)).all() else array


# At exit, open files must be closed before the libraries that read them are unloaded.
atexit.register(_opened.cache_clear)


def is_url(path: str) -> bool:
    """Return whether a path is a URL of fsspec."""
    return "://" in path or "::" in path


def first_line(error: Exception, options: Any = ()) -> str:
    """Return the first line of an error's message, or the name of its class.

    Texts of storage options in it are replaced by ``***``.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    for secret in secret_texts(options):
        line = line.replace(secret, HIDDEN)
    return line
