"""A file or zarr store, opened in the process that reads it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import xarray as xr
import zarr

from gfrnn.pipeline.config.hidden_values import secret_texts
from gfrnn.pipeline.errors import HIDDEN, DataError

# Keys of the encoding of values that differ from those stored.
_PACKING = ("scale_factor", "add_offset", "_Unsigned")
_MISSING = ("_FillValue", "missing_value")

# The netCDF and HDF5 libraries must not be called by two threads at once. xarray has a lock for
# values, but none for opening a file or for its attributes.
_NETCDF_LOCK = threading.RLock()


@dataclass(frozen=True)
class RawFile:
    """A file or zarr store, opened in the process that reads it. Cheap to pickle.

    Attributes
    ----------
    path
        Absolute local path, or URL for fsspec.
    engine
        Engine of ``xarray.open_dataset``.
    options
        Storage options of fsspec, as sorted pairs.
    stamp
        Size and modification time of a local file: a rewritten file is opened again.
    """

    path: str
    engine: str
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    stamp: tuple[int, ...] = ()

    def open(self) -> xr.Dataset:
        """Open the file lazily: values masked and scaled, times not decoded.

        Raises
        ------
        DataError
            If it is damaged, has another format or needs a package that is not installed.
        """
        with self.lock:
            try:
                return _opened(self)
            except TypeError:  # storage options that cannot be hashed
                return _opened.__wrapped__(self)

    def reason(self, error: Exception) -> str:
        """Return the first line of an error about this file, without its storage options."""
        return first_line(error, [value for _, value in self.options])

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Lock to hold while values are read, one for all netCDF files; none for zarr stores."""
        return contextlib.nullcontext() if self.engine == "zarr" else _NETCDF_LOCK

    def unconverted_array(self, variable: str) -> zarr.Array | None:
        """Return the zarr array of a variable whose stored values are the decoded ones.

        It is None for other formats, and for values that are packed, not float32, or marked as
        missing by a number.
        """
        if self.engine != "zarr":
            return None
        try:
            return _unconverted_array(self, variable)
        except TypeError:  # storage options that cannot be hashed
            return _unconverted_array.__wrapped__(self, variable)


@functools.lru_cache(maxsize=512)
def _opened(file: RawFile) -> xr.Dataset:
    options: dict[str, Any] = {}
    target: Any = file.path
    if file.engine == "zarr":
        options["consolidated"] = None
        if file.options:
            options["storage_options"] = dict(file.options)
    elif is_url(file.path):
        target = fsspec.open(file.path, "rb", **dict(file.options)).open()
    try:
        with warnings.catch_warnings():
            # xarray warns of each store without consolidated metadata.
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
            f"{file.path}: cannot be opened without another package ({file.reason(error)}); netCDF "
            "by URL needs h5netcdf and h5py; s3:// and gs:// need s3fs and gcsfs"
        ) from error
    except Exception as error:
        raise DataError(
            f"{file.path}: cannot be opened ({file.reason(error)}); the file is damaged or "
            "incomplete; copy or download it again"
        ) from error


@functools.lru_cache(maxsize=512)
def _unconverted_array(file: RawFile, variable: str) -> zarr.Array | None:
    raw = file.open()[variable].variable
    group = zarr.open_group(file.path, mode="r", storage_options=dict(file.options) or None)
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
