"""Test that files whose metadata or bytes were changed at random are read or refused, no more."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import pytest

from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.errors import GfrnnError
from gfrnn_testing.archives import make, opened

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

VALUES: list[Any] = [
    None, True, 0, -1, 1e300, 2**70, float("nan"), "", "x", "NaN", "1e5", "K", "since",
    "days since 0000-00-00", "hours since 2001-13-45", "int8", "<M8[ns]", "complex64",
    [], [1, 2], [[]], {}, {"a": 1},
]  # fmt: skip
ATTRIBUTES = (
    "units", "calendar", "standard_name", "long_name", "scale_factor", "add_offset",
    "missing_value", "_Unsigned", "dtype", "coordinates", "cell_methods",
)  # fmt: skip
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zmetadata", ".zgroup")
CASES = 40
"""Cases of each format; thousands were tried once by hand."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for form in (2, 3):
        make(8).chunk(time=4).to_zarr(folder / f"{form}.zarr", zarr_format=form)
    make(8).to_netcdf(folder / "4.nc")
    make(8).to_netcdf(folder / "3.nc", format="NETCDF3_CLASSIC")
    return folder


def read_or_refused(path: Path) -> None:
    """Read all that can be read; errors of libraries are raised."""
    message = f"{path} is read"
    try:
        ds = opened(path)
        for array in ds.data_vars.values():
            _ = array[:2].values
        audit(ds)
    except GfrnnError as error:
        message = str(error)
    assert str(path) in message or "data." in message, "the message names no file"


def places(tree: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in entries:
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from places(value, (*prefix, key))


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("form", [2, 3])
def test_metadata_of_a_store(originals: Path, tmp_path: Path, form: int, seed: int) -> None:
    rng, path = random.Random(seed), tmp_path / "a.zarr"
    shutil.copytree(originals / f"{form}.zarr", path)
    file = rng.choice(sorted(file for file in path.rglob("*") if file.name in METADATA))
    tree = json.loads(file.read_text())
    if found := list(places(tree)):
        *parents, last = rng.choice(found)
        inner = tree
        for key in parents:
            inner = inner[key]
        if rng.random() < 0.2:
            del inner[last]
        else:
            inner[last] = rng.choice(VALUES)
    file.write_text(json.dumps(tree))
    if rng.random() < 0.5:  # arrays are then described by files of their own
        (path / ".zmetadata").unlink(missing_ok=True)
    read_or_refused(path)


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("form", [3, 4])
def test_attributes_of_a_netcdf_file(originals: Path, tmp_path: Path, form: int, seed: int) -> None:
    rng, path = random.Random(seed), tmp_path / "a.nc"
    shutil.copy(originals / f"{form}.nc", path)
    plain = [value for value in VALUES if isinstance(value, str | float) or value in (0, [1, 2])]
    with netCDF4.Dataset(path, "a") as file:
        variable = file[rng.choice(list(file.variables))]
        variable.setncattr(rng.choice(ATTRIBUTES), rng.choice(plain))
    read_or_refused(path)


@pytest.mark.parametrize("seed", range(CASES))
def test_bytes_of_a_netcdf_file(originals: Path, tmp_path: Path, seed: int) -> None:
    rng, path = random.Random(seed), tmp_path / "a.nc"
    # The HDF5 library itself may crash on such bytes, so files of netCDF-4 are left out.
    stored = bytearray((originals / "3.nc").read_bytes())
    for _ in range(rng.choice([1, 3, 20])):
        stored[rng.randrange(rng.choice([400, len(stored)]))] = rng.randrange(256)
    path.write_bytes(stored[: rng.randrange(len(stored))] if rng.random() < 0.2 else stored)
    read_or_refused(path)
