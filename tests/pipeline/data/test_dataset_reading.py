"""Test search and reading of archives: damage, lazy reading, processes, chunks, fingerprints."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data import canonical_array, file_reading
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.grid import channels
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import ROOT, make, opened

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write a file in canonical order."""
    path = tmp_path / "plain.nc"
    make().to_netcdf(path)
    return path


def test_different_grids_are_refused_with_both_extents(tmp_path: Path) -> None:
    make()[["z"]].to_netcdf(tmp_path / "one.nc")
    make()[["t2m"]].isel(longitude=slice(0, 4)).to_netcdf(tmp_path / "two.nc")
    with pytest.raises(
        DataError, match=r"one.nc and .*two.nc have different longitudes: 0..315 \(8\)"
    ):
        opened(f"{tmp_path}/*.nc")


def test_damaged_files(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "cut.nc").write_bytes(plain.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cut\.nc: cannot be opened"):
        opened(tmp_path / "cut.nc")
    make().to_netcdf(tmp_path / "classic.nc", format="NETCDF3_64BIT")
    whole = (tmp_path / "classic.nc").read_bytes()
    (tmp_path / "short.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"short\.nc: the file is truncated"):
        opened(tmp_path / "short.nc")
    (tmp_path / "text.nc").write_text("<html>")
    with pytest.raises(DataError, match=r"text\.nc: a web page, as a server sends instead"):
        opened(tmp_path / "text.nc")
    xr.Dataset().to_zarr(tmp_path / "empty.zarr")
    with pytest.raises(DataError, match=r"empty\.zarr: contains no variables"):
        opened(tmp_path / "empty.zarr")
    with pytest.raises(DataError, match="a folder, not a zarr store"):
        opened(tmp_path)
    with pytest.raises(
        DataError, match=r"plane\.nc not found; looked in .*did you mean .*plain\.nc"
    ):
        opened(tmp_path / "plane.nc")


def test_files_beside_a_missing_search_folder_are_not_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "plain.txt").touch()  # near ../shared/data, which does not exist
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("GFRNN_DATA", raising=False)
    with pytest.raises(DataError, match=r"plain\.nc not found; looked in") as caught:
        opened("plain.nc")
    assert "did you mean" not in str(caught.value)


def test_paths_are_searched_in_all_folders(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/here")
    monkeypatch.delenv("GFRNN_DATA", raising=False)
    with pytest.raises(DataError, match=r"plain\.nc not found"):
        opened("plain.nc")
    monkeypatch.setenv("GFRNN_DATA", str(tmp_path))
    assert opened("plain.nc").sizes["time"] == 12
    monkeypatch.delenv("GFRNN_DATA")
    (tmp_path / "deep/shared/data").mkdir(parents=True)
    shutil.copy(plain, tmp_path / "deep/shared/data")
    assert opened("plain.nc").sizes["time"] == 12


def test_a_rewritten_file_is_read_anew(plain: Path) -> None:
    before = fingerprint(opened(plain))
    changed = make()
    changed["t2m"] = changed.t2m + 1
    changed.t2m.attrs["units"] = "K"
    plain.unlink()
    changed.to_netcdf(plain)
    assert fingerprint(opened(plain)) != before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["NETCDF3_64BIT", "NETCDF4", "zarr2", "zarr3"])
def test_pickled_datasets_read_in_another_process(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data"
    if kind.startswith("zarr"):
        make().to_zarr(path, zarr_format=int(kind[-1]))
    else:
        make().to_netcdf(path, format=kind)
    ds = opened(path)
    ds["2m_temperature"].isel(time=0).load()  # with files open, too
    (tmp_path / "ds.pickle").write_bytes(pickle.dumps(ds.isel(time=slice(2, 9))))
    code = (
        "import pickle, sys; ds = pickle.load(open(sys.argv[1], 'rb'));"
        "print(float(ds.geopotential.isel(time=slice(1, 3)).load().values.mean()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ds.pickle")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert float(run.stdout) == pytest.approx(float(make().z.values[3:5].mean()), rel=1e-6)


def test_only_requested_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(30)
    for number in range(3):
        whole.isel(time=slice(10 * number, 10 * number + 10)).to_netcdf(tmp_path / f"{number}.nc")
    read: list[tuple[str, int]] = []
    plain_read = file_reading.read_from_file

    def counted(
        out: np.ndarray, part: file_reading.FileTimeRange, time: np.ndarray, *rest: np.ndarray
    ) -> None:
        read.append((Path(part.file.path).stem, time.size))
        plain_read(out, part, time, *rest)

    monkeypatch.setattr(canonical_array, "read_from_file", counted)
    ds = opened(f"{tmp_path}/*.nc")
    channels(ds)
    pickle.dumps(ds)
    missing_chunks(ds)
    assert read == []
    ds.geopotential.isel(time=slice(8, 13)).load()
    assert read == [("0", 2), ("1", 3)]
    read.clear()
    ds.geopotential.sel(level=850).isel(time=slice(20, 22)).load()
    assert read == [("2", 2)]


def test_a_chunk_is_decoded_once_for_all_its_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = make(8)[["z"]]
    levels = np.array([100.0, 200, 300, 500, 700, 850, 1000])
    ds = xr.concat([ds.z.isel(level=0)] * 7, xr.Variable("level", levels, {"units": "hPa"}))
    ds.attrs["units"] = "m2 s-2"
    ds.transpose("time", "level", ...).to_dataset(name="z").to_zarr(
        tmp_path / "a.zarr", encoding={"z": {"chunks": (2, 7, 4, 8)}}
    )
    windows: list[Any] = []
    ordered = file_reading._in_order

    def counted(raw: xr.Variable, dims: dict[str, str]) -> np.ndarray:
        windows.append(raw.sizes)
        return ordered(raw, dims)

    monkeypatch.setattr(file_reading, "_in_order", counted)
    found = opened(tmp_path / "a.zarr", variables={"geopotential": [200, 500, 1000]})
    assert found.geopotential.isel(time=slice(0, 4)).values.shape == (4, 3, 4, 8)
    assert len(windows) == 1


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of times of each read, as reads are made."""
    found: list[int] = []
    ordered = file_reading._in_order

    def counted(raw: xr.Variable, dims: dict[str, str]) -> np.ndarray:
        found.append(raw.sizes["time"])
        return ordered(raw, dims)

    monkeypatch.setattr(file_reading, "_in_order", counted)
    return found


@pytest.mark.parametrize("near", [1, 2**16])
def test_near_times_of_a_file_without_chunks_are_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int], near: int
) -> None:
    whole = make(600)[["t2m"]]
    whole.to_netcdf(tmp_path / "a.nc")
    monkeypatch.setattr(file_reading, "_NEAR_BYTES", near)
    wanted = [3, 0, 7, 20, 21, 595]
    found = opened(tmp_path / "a.nc")["2m_temperature"].isel(time=wanted).values
    np.testing.assert_array_equal(found, whole.t2m.isel(time=wanted).values)
    # 600 times of 128 bytes: 512 of them are near each other.
    assert reads == ([1, 1, 1, 2, 1] if near == 1 else [596])


def test_near_times_of_a_long_file_are_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    whole = make(600)[["t2m"]]
    whole.to_netcdf(tmp_path / "a.nc")
    monkeypatch.setattr(file_reading, "_NEAR_BYTES", 128 * 2)
    wanted = [0, 1, *range(3, 600, 2)]  # not at equal distances
    found = opened(tmp_path / "a.nc")["2m_temperature"].isel(time=wanted).values
    np.testing.assert_array_equal(found, whole.t2m.isel(time=wanted).values)
    assert max(reads) <= 64 * 2
    assert len(reads) == 5


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize(
    ("turn", "levels", "direct"),
    [
        (lambda ds: ds, [500, 850], True),
        (lambda ds: ds.isel(latitude=slice(None, None, -1)), [500, 850], True),
        (lambda ds: ds.transpose("longitude", "level", "latitude", "time"), [850], True),
        (lambda ds: ds.isel(level=[1, 0]), [500, 850], True),
        (lambda ds: ds.isel(level=[1, 1, 1, 0]).assign_coords(level=[850, 700, 600, 500]),
         [500, 850], True),
        (lambda ds: ds.roll(longitude=3, roll_coords=True), [500, 850], False),
        (lambda ds: ds.fillna(0).astype("f8"), [500, 850], False),
    ],
)  # fmt: skip
def test_decoded_values_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: int, turn: Any, levels: Any, direct: bool
) -> None:
    """Zarr writes float32 values to their places in the array that a task works on."""
    whole = make(8)[["z"]]
    ds = turn(whole)
    chunks = tuple({"time": 3, "level": 1, "longitude": 5}.get(str(d), 4) for d in ds.z.dims)
    encoding = {"z": {"chunks": chunks, "_FillValue": np.nan}}
    ds.to_zarr(tmp_path / "a", zarr_format=form, encoding=encoding, consolidated=False)
    copies: list[Any] = []
    ordered = file_reading._in_order
    monkeypatch.setattr(
        file_reading, "_in_order", lambda *given: copies.append(1) or ordered(*given)
    )
    fields = Fields(opened(tmp_path / "a", variables={"geopotential": levels}))
    states = np.empty((5, 4, 8, len(levels)))
    fields.read_into(states.transpose(0, 3, 1, 2), 2)
    expected = whole.z.sel(level=levels).isel(time=slice(2, 7)).values
    np.testing.assert_array_equal(states.transpose(0, 3, 1, 2), expected)
    assert (not copies) == direct
    assert [each.copied for each in fields.stored_chunks] == [not direct]


@pytest.mark.parametrize("form", [2, 3])
def test_missing_chunk(tmp_path: Path, form: int) -> None:
    store = tmp_path / "a.zarr"
    make(40).chunk(time=8).to_zarr(store, zarr_format=form)
    assert missing_chunks(opened(store)) == []
    (store / ("t2m/2.0.0" if form == 2 else "t2m/c/2/0/0")).unlink()
    (line,) = missing_chunks(opened(store))
    assert "2m_temperature" in line
    assert "chunk (2, 0, 0), times 2001-01-05T00:00 to 2001-01-06T18:00" in line
    assert missing_chunks(opened(store, variables={"geopotential": None})) == []


def test_fingerprint(tmp_path: Path, plain: Path) -> None:
    first = fingerprint(opened(plain))
    shutil.copy(plain, tmp_path / "copy.nc")
    assert fingerprint(opened(tmp_path / "copy.nc")) == first
    assert fingerprint(opened(plain).chunk(time=3)) == first
    assert fingerprint(opened(plain).isel(time=slice(0, 11))) != first
    assert fingerprint(opened(plain, variables={"geopotential": None})) != first
