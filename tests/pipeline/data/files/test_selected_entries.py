"""Test the selection of one entry of further dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.stored_chunks import stored_chunks
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")


def members(entries: list[object]) -> xr.Dataset:
    ds = xr.concat([make(6) + number for number in range(len(entries))], "member")
    return ds.assign_coords(member=entries) if entries[0] is not None else ds


NUMBERS, TEXTS, POSITIONS = ([10, 20, 30], 20), (["a", "b", "c"], "b"), ([None] * 3, 1)


@pytest.mark.parametrize(
    ("form", "entries", "chosen"),
    [
        ("nc", *NUMBERS),
        ("nc", *TEXTS),
        ("nc", *POSITIONS),
        ("zarr2", *NUMBERS),
        ("zarr2", *TEXTS),  # format 3 has no specification of texts
        ("zarr3", *NUMBERS),
        ("zarr3", *POSITIONS),
    ],
)
def test_one_member_is_read(
    tmp_path: Path, form: str, entries: list[object], chosen: float | str
) -> None:
    ds = members(entries)
    path = str(tmp_path / f"a.{form}")
    if form == "nc":
        ds.to_netcdf(path)
    else:
        chunks = {"chunks": (2, 2, 2, 4, 8)}
        ds.to_zarr(path, zarr_format=int(form[-1]), encoding={"z": chunks}, consolidated=False)
    found = opened({"path": path, "select": {"member": chosen}})
    same(found, EXPECTED + 1)
    same(
        found.isel(time=[4, 1], latitude=[0, 2]), (EXPECTED + 1).isel(time=[4, 1], latitude=[0, 2])
    )
    assert missing_chunks(found) == []
    if form != "nc":  # a chunk has two members, both of which are decoded
        chunk = next(each for each in stored_chunks(found) if len(each.level_group.levels) == 2)
        assert chunk.chunk_bytes == 4 * 2 * 2 * 2 * 4 * 8


@pytest.mark.parametrize("form", ["zarr2", "zarr3"])
def test_chunks_of_other_entries_are_not_missed(tmp_path: Path, form: str) -> None:
    ds, path = members([10, 20, 30]), tmp_path / "a.zarr"
    chunks = {"chunks": (1, 2, 2, 4, 8)}
    ds.to_zarr(path, zarr_format=int(form[-1]), encoding={"z": chunks}, consolidated=False)
    (path / ("z/c/2/0/0/0/0" if form == "zarr3" else "z/2.0.0.0.0")).unlink()
    for member, lost in ((10, 0), (20, 0), (30, 1)):
        found = opened({"path": str(path), "select": {"member": member}})
        assert len(missing_chunks(found)) == lost


def test_entries_that_are_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "a.nc")
    members([10, 20, 20]).to_netcdf(path)
    with pytest.raises(DataError, match=r"nc: select: no entries of member are 3; it has 10, 20"):
        opened({"path": path, "select": {"member": 3}})
    with pytest.raises(DataError, match=r"2 entries of member are 20; it has 10, 20, 20"):
        opened({"path": path, "select": {"member": 20}})
    with pytest.raises(DataError, match=r"data\.sources\[0\]\.select: .* no dimension membr"):
        opened({"path": path, "select": {"membr": 10}})


def test_a_single_entry_must_be_the_selected_one(tmp_path: Path) -> None:
    path = str(tmp_path / "a.nc")
    members([10, 20]).isel(member=0).to_netcdf(path)
    same(opened({"path": path, "select": {"member": 10}}), EXPECTED)
    with pytest.raises(DataError, match="select: member has the only entry 10, not 20"):
        opened({"path": path, "select": {"member": 20}})


def test_two_dimensions_are_selected(tmp_path: Path) -> None:
    ds = make(6).expand_dims(member=3, height=[2.0, 80.0]).copy(deep=True)
    ds["t2m"][{"member": 2, "height": 1}] += 1
    ds.to_netcdf(tmp_path / "a.nc")
    chosen = {"member": 2, "height": 80}
    found = opened(
        {"path": str(tmp_path / "a.nc"), "select": chosen}, variables={"2m_temperature": None}
    )
    assert np.array_equal(found["2m_temperature"], EXPECTED["2m_temperature"] + 1)
