"""Search for the files of a source by path, glob or URL."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fsspec

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.files.file_formats import HEAD, ZARR_MARKS, engine_of
from gfrnn.pipeline.data.files.local_files import find_local
from gfrnn.pipeline.data.files.raw_file import RawFile, first_line, is_url
from gfrnn.pipeline.errors import DataError


def find_files(source: SourceConfig, key: str = "data.sources") -> list[RawFile]:
    """Find the files of a source, a path, list of paths, glob or URL, in order of their names.

    Local paths are searched as :func:`find_local` tells.

    Raises
    ------
    DataError
        If there is none; the message lists the folders and similar names.
    """
    files: list[RawFile] = []
    options = source.storage_options
    for entry in [source.path] if isinstance(source.path, str) else source.path:
        found = _find_url(entry, options, key) if is_url(entry) else find_local(entry, key)
        for file in found:
            told = replace(
                file,
                select=tuple(source.select.items()),
                missing=tuple(source.missing),
                fill_is_value=source.fill == "value",
            )
            if told not in files:
                files.append(told)
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
            marks = [f"{path.rstrip('/')}/{mark}" for mark in ZARR_MARKS]
            if there := [mark for mark in marks if fs.exists(mark)]:
                # Where the file system knows, this is another text once the file is rewritten.
                state = tuple(fs.ukey(mark) for mark in there)
                yield RawFile(whole, "zarr", pairs, state)
            elif fs.isdir(path):
                raise FileNotFoundError("a folder, not a zarr store; add a glob such as /*.nc")
            else:
                with fs.open(path, "rb") as stream:
                    engine = engine_of(whole, stream.read(HEAD))
                # netCDF4-python reads no Python file objects.
                yield RawFile(whole, "scipy" if engine == "netcdf3" else "h5netcdf", pairs)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{key}: {url} cannot be reached ({first_line(error, options)}); check the address, "
            "the network, and storage_options (credentials)"
        ) from error
