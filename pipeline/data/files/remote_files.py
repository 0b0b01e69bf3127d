"""Search for files, zarr stores and repositories at URLs."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

from gfrnn.pipeline.data.files.file_formats import HEAD, ZARR_MARKS, engine_of
from gfrnn.pipeline.data.files.icechunk_repository import MARKS as ICECHUNK_MARKS
from gfrnn.pipeline.data.files.raw_file import RawFile, first_line
from gfrnn.pipeline.data.files.references import holds_references, is_parquet_set
from gfrnn.pipeline.errors import DataError

_AT_ONCE = 32  # requests that are under way at the same time
_INSTALL = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}


def find_remote(url: str, options: dict[str, Any], key: str) -> list[RawFile]:
    """Find the files at a URL, which may have the patterns of a glob, in order of their names.

    Listing takes few requests, and the first bytes of all files are asked for at once.

    Raises
    ------
    DataError
        If there is none, it cannot be reached with these options, or a package is missing.
    """
    try:
        files, inside = fsspec.core.url_to_fs(url, **options)
        if not glob.has_magic(inside):
            return [_file_at(files, inside, url, options)]
        entries = files.glob(inside, detail=True)
        if not entries:
            raise FileNotFoundError("no file has such a name")
        return list(_files_of(files, entries, options))
    except DataError:
        raise
    except ImportError as error:
        protocol = url.partition("://")[0].rpartition("::")[2]
        package = _INSTALL.get(protocol, "")
        what = f"pip install {package}" if package else "what the message names"
        raise DataError(
            f"{key}: {url} needs another package ({first_line(error, options)}); install it with "
            f"{what}, on the workers too"
        ) from error
    except Exception as error:
        raise DataError(
            f"{key}: {url} cannot be reached ({first_line(error, options)}); {_advice(error)}"
        ) from error


def _advice(error: Exception) -> str:
    """Tell what to do about an error of a file system."""
    if isinstance(error, PermissionError) or "credential" in f"{type(error)} {error}".lower():
        return (
            "check the credentials, in the environment of this command and of the workers or in "
            "storage_options, and whether they may read it; public buckets need {anon: true} "
            "(s3://) or {token: anon} (gs://)"
        )
    if isinstance(error, FileNotFoundError):
        return "check the address, and the name of the bucket"
    return "check the address, the network, and storage_options (credentials)"


def _file_at(files: AbstractFileSystem, inside: str, url: str, options: dict[str, Any]) -> RawFile:
    """Return the store or file at a URL without patterns."""
    # Servers without listings know the files of a store, but not its folder.
    if store := _store_at(files, inside, url, options):
        return store
    if files.isdir(inside):
        raise FileNotFoundError("a folder, not a zarr store; add a glob such as /*.nc")
    with files.open(inside, "rb") as stream:
        start = stream.read(HEAD)
    return _plain_file(files, inside, url, start, options)


def _files_of(
    files: AbstractFileSystem, entries: dict[str, dict[str, Any]], options: dict[str, Any]
) -> Iterator[RawFile]:
    """Yield the stores and files of a listing."""
    paths = sorted(entries)
    plain = [path for path in paths if entries[path].get("type") == "file"]
    starts = dict(zip(plain, _first_bytes(files, plain), strict=True))
    folders = [path for path in paths if path not in starts]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        urls = [files.unstrip_protocol(path) for path in folders]
        found = pool.map(lambda path, url: _store_at(files, path, url, options), folders, urls)
        stores = dict(zip(folders, found, strict=True))
    for path in paths:
        url = files.unstrip_protocol(path)
        if path in starts:
            yield _plain_file(files, path, url, starts[path], options)
        elif store := stores[path]:
            yield store
        else:
            raise FileNotFoundError(f"{url} is a folder, not a zarr store; add /*.nc to the glob")


def _first_bytes(files: AbstractFileSystem, paths: list[str]) -> Iterable[bytes]:
    if not paths:
        return []
    ends = [HEAD] * len(paths)
    return [bytes(each) for each in files.cat_ranges(paths, [0] * len(paths), ends)]


def _store_at(
    files: AbstractFileSystem, inside: str, url: str, options: dict[str, Any]
) -> RawFile | None:
    """Return the zarr store, repository or references in Parquet in a folder, None for others."""
    pairs = tuple(sorted(options.items()))
    folder = inside.rstrip("/")
    marks = [f"{folder}/{mark}" for mark in ZARR_MARKS]
    if there := [mark for mark in marks if files.exists(mark)]:
        metadata = f"{folder}/.zmetadata"
        if there == [metadata] and is_parquet_set(files.cat_file(metadata)):
            return RawFile(url, "references", pairs)
        # Where the file system knows, this is another text once the file is rewritten.
        return RawFile(url, "zarr", pairs, tuple(files.ukey(mark) for mark in there))
    if any(files.exists(f"{folder}/{mark}") for mark in ICECHUNK_MARKS):
        return RawFile(url, "icechunk", pairs)
    return None


def _plain_file(
    files: AbstractFileSystem, inside: str, url: str, start: bytes, options: dict[str, Any]
) -> RawFile:
    """Return a file of which the first bytes are known."""
    pairs = tuple(sorted(options.items()))
    if start.lstrip().startswith(b"{") and holds_references(files.cat_file(inside)):
        return RawFile(url, "references", pairs)
    engine = engine_of(url, start)
    if engine == "grib":
        raise DataError(
            f"{url}: GRIB files are read from local folders only; copy it, or use virtual "
            "references or a zarr store"
        )
    # netCDF4-python reads no Python file objects.
    return RawFile(url, "scipy" if engine == "netcdf3" else "h5netcdf", pairs)
