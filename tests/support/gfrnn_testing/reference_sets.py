"""Virtual references to the chunks of small zarr stores."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import xarray as xr


def write_references(ds: xr.Dataset, path: Path, prefix: str = "") -> Path:
    """Write fields as a store of zarr format 2, and references to its chunks.

    The store is ``path`` with the suffix ``.store``; ``prefix`` precedes the names of its files.
    Coordinates and metadata are part of the references. The suffix of ``path``, ``.json`` or
    ``.parq``, is the form.
    """
    store = path.with_suffix(".store")
    encoding = {name: {"chunks": (1, *ds[name].shape[1:])} for name in ds.data_vars}
    ds.to_zarr(store, zarr_format=2, encoding=encoding, consolidated=False)
    refs: dict[str, Any] = {}
    for file in sorted(store.rglob("*")):
        key = file.relative_to(store).as_posix()
        if file.name.startswith("."):
            refs[key] = file.read_text()
        elif file.is_file():
            whole = [f"{prefix}{file}", 0, file.stat().st_size]
            inline = "base64:" + base64.b64encode(file.read_bytes()).decode()
            refs[key] = inline if key.partition("/")[0] in ds.coords else whole
    if path.suffix == ".json":
        path.write_text(json.dumps({"version": 1, "refs": refs}))
    else:
        write_parquet(refs, path)
    return path


def write_parquet(refs: dict[str, Any], path: Path) -> None:
    """Write references in Parquet, as kerchunk does."""
    from fsspec.implementations.reference import LazyReferenceMapper

    out = LazyReferenceMapper.create(str(path), record_size=5, engine="pyarrow")
    # The sizes of an array must be known before its chunks.
    for key in sorted(refs, key=lambda key: not key.rpartition("/")[2].startswith(".")):
        out[key] = refs[key]
    out.flush()
