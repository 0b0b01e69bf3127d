"""Relative paths of an experiment, found beside its file."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig


def with_paths_beside(data: DataConfig, folder: Path) -> DataConfig:
    """Return a ``data`` section with the paths found in a folder, and not in the current one.

    Parameters
    ----------
    data : DataConfig
    folder : Path
        Folder of the experiment file.
    """
    sections = {name: [_beside(each, folder) for each in getattr(data, name)] for name in _LISTS}
    return data.model_copy(update=sections)


_LISTS = ("sources", "static")


def _beside(source: SourceConfig, folder: Path) -> SourceConfig:
    given = [source.path] if isinstance(source.path, str) else source.path
    paths = [_path_beside(path, folder) for path in given]
    if paths == given:
        return source
    return source.model_copy(update={"path": paths[0] if isinstance(source.path, str) else paths})


def _path_beside(path: str, folder: Path) -> str:
    relative = os.path.expandvars(path)
    if "://" in path or "::" in path or path.startswith("~") or os.path.isabs(relative):
        return path
    if _is_there(Path(), relative) or not _is_there(folder, relative):
        return path
    return str(folder.resolve() / path)


def _is_there(folder: Path, path: str) -> bool:
    """Check whether a path, a pattern, or the file of a group (``FILE.nc/GROUP``) exists."""
    if (folder / path).exists():
        return True
    pattern = Path(re.sub(r"\{[^{}]*\}", "*", path))
    for part in (pattern, *pattern.parents[:-1]):
        found = glob.glob(os.path.join(glob.escape(str(folder)), str(part)), recursive=True)
        if found and (part is pattern or any(map(os.path.isfile, found))):
            return True
    return False
