"""Icechunk repositories as zarr stores of one snapshot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import fsspec

from gfrnn.pipeline.errors import DataError

if TYPE_CHECKING:
    from types import ModuleType

MARKS = ("repo", "refs/branch.main/ref.json")
"""Files that a repository has, of versions 2 and 1 of its format."""


def icechunk_of(path: str) -> ModuleType:
    """Import icechunk, which is an extra.

    Raises
    ------
    DataError
        If it is not installed; the message names the repository that needs it.
    """
    try:
        import icechunk
    except ImportError as error:
        raise DataError(
            f"{path}: an Icechunk repository, for which the package icechunk is needed; install it "
            "with pip install icechunk, or GFRNN with its extra icechunk"
        ) from error
    if "ICECHUNK_LOG" not in os.environ:  # its warnings are about writing to local folders
        icechunk.set_logs_filter("error")
    return icechunk


def snapshot_of(path: str, options: Mapping[str, Any], version: str) -> str:
    """Return the id of the snapshot of a branch or tag, or the same id.

    Raises
    ------
    DataError
        If there is none; the message lists branches and tags.
    """
    repository = _repository(path, options)
    branches, tags = sorted(repository.list_branches()), sorted(repository.list_tags())
    if version in branches:
        return str(repository.lookup_branch(version))
    if version in tags:
        return str(repository.lookup_tag(version))
    try:
        repository.readonly_session(snapshot_id=version)
    except Exception as error:
        raise DataError(
            f"{path}: has no branch, tag or snapshot {version!r}; branches: {', '.join(branches)}; "
            f"tags: {', '.join(tags) or 'none'}"
        ) from error
    return version


def snapshot_store(path: str, options: Mapping[str, Any], snapshot: str) -> Any:
    """Open a snapshot as a zarr store.

    All processes read the same snapshot, whatever is committed in the meantime.
    """
    return _repository(path, options).readonly_session(snapshot_id=snapshot).store


def _repository(path: str, options: Mapping[str, Any]) -> Any:
    """Open a repository, and allow it to read the virtual chunks that its owner has declared."""
    icechunk = icechunk_of(path)
    storage = _storage(icechunk, path, options)
    config = icechunk.Repository.fetch_config(storage)
    containers = (config.virtual_chunk_containers if config else None) or {}
    # None stands for credentials of the environment, or for none at all.
    access = dict.fromkeys(containers)
    return icechunk.Repository.open(storage, authorize_virtual_chunk_access=access)


def _storage(icechunk: ModuleType, path: str, options: Mapping[str, Any]) -> Any:
    """Return the storage of a local path or a URL, with the options that fsspec has for it.

    Raises
    ------
    DataError
        If the protocol is none of those that Icechunk reads.
    """
    protocol, place = fsspec.core.split_protocol(path)
    if protocol in (None, "file", "local"):
        return icechunk.local_filesystem_storage(place)
    bucket, _, prefix = place.rstrip("/").partition("/")
    anonymous = bool(options.get("anon")) or options.get("token") == "anon"
    if protocol in ("s3", "s3a"):
        client = dict(options.get("client_kwargs") or {})
        endpoint = options.get("endpoint_url") or client.get("endpoint_url")
        key = options.get("key") or options.get("username")
        return icechunk.s3_storage(
            bucket=bucket,
            prefix=prefix,
            region=client.get("region_name"),
            endpoint_url=endpoint,
            allow_http=str(endpoint).startswith("http://"),
            force_path_style=endpoint is not None,
            access_key_id=key,
            secret_access_key=options.get("secret") or options.get("password"),
            session_token=options.get("token") if key else None,
            anonymous=anonymous or None,
            from_env=None if key or anonymous else True,
        )
    if protocol in ("gs", "gcs"):
        token = options.get("token")
        file = token if isinstance(token, str) and not anonymous else None
        return icechunk.gcs_storage(
            bucket=bucket,
            prefix=prefix,
            service_account_file=file,
            anonymous=anonymous or None,
            from_env=None if file or anonymous else True,
        )
    raise DataError(
        f"{path}: Icechunk repositories are read from local folders, s3:// and gs:// only; copy "
        "the repository to one of them"
    )
