"""Virtual references: zarr stores whose chunks are parts of other files, as kerchunk writes."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import fsspec
import pandas as pd
from fsspec.implementations.reference import LazyReferenceMapper, ReferenceFileSystem
from zarr.storage import FsspecStore

from gfrnn.pipeline.errors import DataError

_METADATA = (".zgroup", ".zarray", "zarr.json")
_PARQUET: Literal["pyarrow"] = "pyarrow"  # the package that reads it
_AT_ONCE = 32  # requests that ask whether files at URLs exist
_SHOWN = 3  # files that a message lists


def holds_references(content: bytes) -> bool:
    """Check whether a JSON document is a set of references, and not another one."""
    try:
        tree = json.loads(content)
    except ValueError:
        return False
    refs = tree.get("refs", tree) if isinstance(tree, dict) else {}
    return isinstance(refs, dict) and any(str(key).endswith(_METADATA) for key in refs)


def is_parquet_set(metadata: bytes) -> bool:
    """Check whether the file ``.zmetadata`` of a folder is that of references in Parquet."""
    try:
        tree = json.loads(metadata)
    except ValueError:
        return False
    return isinstance(tree, dict) and "record_size" in tree


class _ParquetReferences(LazyReferenceMapper):
    """References in Parquet; a chunk without a path is missing, also where pandas reads NaN."""

    def __getitem__(self, key: str) -> Any:
        entry = super().__getitem__(key)
        if isinstance(entry, list) and not isinstance(entry[0], str):
            raise KeyError(key)
        return entry

    def __contains__(self, key: object) -> bool:
        try:
            self[str(key)]
        except KeyError:
            return False
        return True


def reference_store(path: str, options: Mapping[str, Any]) -> FsspecStore:
    """Open a set of references, JSON or Parquet, as a zarr store.

    Parameters
    ----------
    path : str
        Local path or URL.
    options : mapping
        Options of fsspec for the files that are referred to, and for ``path`` if it is a URL.

    Raises
    ------
    DataError
        If a package is missing, or the references are made by templates.
    """
    own = dict(options) if "://" in path else {}
    files, inside = fsspec.core.url_to_fs(path, **own)
    in_parquet = files.isdir(inside)
    targets: Iterable[str]
    if in_parquet:
        targets = _targets_in_parquet(path, own)
        source: Any = _ParquetReferences(inside, fs=files, engine=_PARQUET)
    else:
        source = _plain_references(files.cat_file(inside), path)
        targets = _targets_of(source)
    protocol = next((fsspec.core.split_protocol(target)[0] for target in targets), None)
    referred = ReferenceFileSystem(
        source,
        remote_protocol=protocol or "file",
        remote_options={**options, "asynchronous": True},
        asynchronous=True,
        skip_instance_cache=True,
    )
    return FsspecStore(referred, read_only=True, path="")


def stored_keys(path: str, options: Mapping[str, Any]) -> Container[str]:
    """Return the keys of all metadata and chunks that references have: ``z/0.0.0``."""
    keys: Container[str] = reference_store(path, options).fs.references
    return keys


def _plain_references(content: bytes, path: str) -> dict[str, Any]:
    """Read references of a JSON document.

    Raises
    ------
    DataError
        If references are generated, or templates have expressions: fsspec would leave out the
        first without a word, and run the second.
    """
    tree: dict[str, Any] = json.loads(content)
    templates = tree.get("templates") or {}
    if tree.get("gen") or any("{{" in str(text) for text in templates.values()):
        raise DataError(
            f"{path}: references that are generated (gen, or expressions in templates) are not "
            "read; write them out with kerchunk"
        )
    return tree


def _targets_of(tree: Mapping[str, Any]) -> Iterable[str]:
    """Yield the files of references in JSON, with templates filled in."""
    templates = {key: str(text) for key, text in (tree.get("templates") or {}).items()}
    for entry in tree.get("refs", tree).values():
        if isinstance(entry, list) and entry and entry[0]:
            name = str(entry[0])
            for key, text in templates.items():
                name = name.replace("{{" + key + "}}", text)
            yield name


def check_targets(path: str, options: Mapping[str, Any]) -> None:
    """Check that all files that references refer to exist.

    Raises
    ------
    DataError
        If some do not; the message names the first of them.
    """
    targets = sorted(set(_all_targets(path, options)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        present = list(pool.map(lambda target: _exists(target, options), targets))
    gone = [target for target, there in zip(targets, present, strict=True) if not there]
    if gone:
        listed = ", ".join(gone[:_SHOWN]) + ", ..." * (len(gone) > _SHOWN)
        raise DataError(
            f"{path}: {len(gone)} of the {len(targets)} files that it refers to are gone: "
            f"{listed}; put them back, or make the references again"
        )


def _exists(target: str, options: Mapping[str, Any]) -> bool:
    protocol, _ = fsspec.core.split_protocol(target)
    if protocol in (None, "file", "local"):
        return os.path.exists(target.removeprefix(f"{protocol}://"))
    files, inside = fsspec.core.url_to_fs(target, **options)
    return bool(files.exists(inside))


def _all_targets(path: str, options: Mapping[str, Any]) -> Iterable[str]:
    """Yield the files that all references refer to, with repetitions."""
    own = options if "://" in path else {}
    files, inside = fsspec.core.url_to_fs(path, **own)
    if files.isdir(inside):
        return _targets_in_parquet(path, own)
    return _targets_of(_plain_references(files.cat_file(inside), path))


def _targets_in_parquet(path: str, options: Mapping[str, Any]) -> Iterable[str]:
    files, inside = fsspec.core.url_to_fs(path, **options)
    for part in sorted(files.glob(f"{inside}/**/refs.*.parq")):
        with files.open(part, "rb") as stream:
            try:
                table = pd.read_parquet(stream, columns=["path"], engine=_PARQUET)
            except ImportError as error:
                raise DataError(
                    f"{path}: references in Parquet, for which the package pyarrow is needed; "
                    "install it with pip install pyarrow, or GFRNN with its extra references"
                ) from error
        yield from (str(name) for name in table["path"].dropna().unique() if name)
