"""Search for the files of a source by path, glob or URL."""

from __future__ import annotations

from dataclasses import replace

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.files.icechunk_repository import snapshot_of
from gfrnn.pipeline.data.files.local_files import find_local
from gfrnn.pipeline.data.files.raw_file import ZARR_ENGINES, RawFile, is_url
from gfrnn.pipeline.data.files.references import check_targets
from gfrnn.pipeline.data.files.remote_files import find_remote
from gfrnn.pipeline.errors import DataError

_MAIN = "main"  # the branch of a repository that is read by default


def find_files(source: SourceConfig, key: str = "data.sources") -> list[RawFile]:
    """Find the files of a source, a path, list of paths, glob or URL, in order of their names.

    Local paths are searched as :func:`find_local` tells.

    Raises
    ------
    DataError
        If there is none; the message lists the folders and similar names.
    """
    files: dict[RawFile, None] = {}
    options = source.storage_options
    for entry in [source.path] if isinstance(source.path, str) else source.path:
        found = find_remote(entry, options, key) if is_url(entry) else find_local(entry, key)
        for file in found:
            told = replace(
                _complete(file, source, key),
                select=tuple(source.select.items()),
                missing=tuple(source.missing),
                fill_is_value=source.fill == "value",
            )
            files[told] = None
    return list(files)


def _complete(file: RawFile, source: SourceConfig, key: str) -> RawFile:
    """Add the snapshot of a repository to its stamp, and check what references refer to.

    Raises
    ------
    DataError
        If there is no such snapshot, or files are gone.
    """
    options = source.storage_options
    if source.fill is not None and file.engine not in ZARR_ENGINES:
        raise DataError(
            f"{key}.fill: {source.fill} is given, but {file.path} is no zarr store, whose chunks "
            "may be left out; remove the key"
        )
    if source.version is not None and file.engine != "icechunk":
        raise DataError(
            f"{key}.version: {source.version} is given, but {file.path} is no Icechunk repository; "
            "remove the key"
        )
    if file.engine not in ("references", "icechunk"):
        return file
    file = replace(file, options=tuple(sorted(options.items())))
    try:
        if file.engine == "references":
            check_targets(file.path, options)
            return file
        return replace(file, stamp=(snapshot_of(file.path, options, source.version or _MAIN),))
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{key}: {file.path} cannot be read ({file.reason(error)}); check it, and the "
            "credentials"
        ) from error
