"""Test the search for files: paths as in a shell, groups, archives, other formats."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.files import local_files
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a variable a file, into a folder whose name has brackets."""
    path = tmp_path / "era5 [raw]"
    path.mkdir()
    make(6)[["z"]].to_netcdf(path / "z_2001.nc")
    make(6)[["t2m"]].to_netcdf(path / "t2m_2001.nc")
    return path


def test_variables_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAW", str(folder))
    monkeypatch.setenv("HOME", str(folder.parent))
    same(opened("$RAW/*.nc"), EXPECTED)
    same(opened("${RAW}/*_2001.nc"), EXPECTED)
    same(opened("~/era5 [raw]/*.nc"), EXPECTED)
    monkeypatch.delenv("RAW")
    with pytest.raises(DataError, match=r"\$RAW/\*\.nc not found; .* variable RAW is not set"):
        opened("$RAW/*.nc")


@pytest.mark.parametrize(
    "pattern",
    ["{z,t2m}_2001.nc", "{z,t2m}_*.nc", "{z_200{1,1},t2m_2001}.nc", "[tz]*.nc", "*_200[1].nc"],
)
def test_braces_and_brackets(folder: Path, pattern: str) -> None:
    same(opened(folder / pattern), EXPECTED)


def test_an_alternative_without_files_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"found, but for .*/msl_\*\.nc"):
        opened(folder / "{z,t2m,msl}_*.nc")
    with pytest.raises(DataError, match=r"not found; looked in"):
        opened(folder / "{msl,u}_*.nc")


def test_a_name_with_braces_is_itself(tmp_path: Path) -> None:
    make(6).to_netcdf(tmp_path / "{a,b}.nc")
    same(opened(tmp_path / "{a,b}.nc"), EXPECTED)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x" * 300 + ".nc", r"cannot be read \(File name too long\); check the path"),
        ("x" * 300 + "/*.nc", r"cannot be read \(File name too long\); check the path"),
        ("a\0b.nc", "not found; looked in"),
        ("{a,b}" * 40 + ".nc", "has more than 1000 alternatives in braces; use a pattern"),
        ("{" * 200, "not found; looked in"),
        ("/dev/null", "/dev/null: neither a file nor a folder"),
    ],
    ids=["name", "folder", "zero", "braces", "open", "device"],
)
def test_odd_paths_are_refused(path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(path)


def test_groups_of_a_netcdf_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.nc"
    ds = make(6)
    coordinates = xr.Dataset(coords={n: ds[n] for n in ("time", "latitude", "longitude")})
    coordinates.to_netcdf(path)
    ds.drop_vars(coordinates.coords).to_netcdf(path, mode="a", group="fields/all")
    same(opened(path / "fields/all"), EXPECTED)
    same(opened(tmp_path / "gr*.nc/fields/all"), EXPECTED)
    with pytest.raises(DataError, match=r"no group field; groups of the file: fields, fields/all"):
        opened(path / "field")
    with pytest.raises(DataError, match=r"no variables; it has groups: give one of .*fields/all"):
        opened(path)


def test_groups_of_a_zarr_store(tmp_path: Path) -> None:
    make(6).to_zarr(tmp_path / "a.zarr", group="inner", consolidated=False)
    same(opened(tmp_path / "a.zarr/inner"), EXPECTED)


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_an_archive_with_the_name_of_a_netcdf_file(tmp_path: Path, form: str) -> None:
    for name in ("z", "t2m"):
        make(6)[[name]].to_netcdf(tmp_path / f"{name}.nc", format=form)
    with zipfile.ZipFile(tmp_path / "download.nc", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "fields of two streams")
        for name in ("z", "t2m"):
            archive.write(tmp_path / f"{name}.nc", f"stream/{name}.nc")
    found = opened(tmp_path / "download.nc")
    same(found, EXPECTED)
    same(found.isel(time=[1]), EXPECTED.isel(time=[1]))


def test_other_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "download.nc"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.grib", b"GRIB")
    with pytest.raises(DataError, match=r"a zip archive of 1 file, .* \(a\.grib\); unpack it"):
        opened(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weather/station.csv", "time,t2m")
        archive.writestr("README.TXT", "a station")
    with pytest.raises(DataError) as caught:
        opened(path)
    assert "a zip archive of 2 files, " in str(caught.value)
    assert "(weather/station.csv, README.TXT): tables of text, such as CSV" in str(caught.value)
    assert "write it as netCDF, for example with pandas.read_csv" in str(caught.value)
    assert "give the netCDF files in it" not in str(caught.value)
    make(6).to_netcdf(tmp_path / "a.nc")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.nc", "a.nc")
    same(opened(path), EXPECTED)
    monkeypatch.setattr(local_files, "_LARGEST_IN_ZIP", 100)
    with pytest.raises(DataError, match=r"MB \(a\.nc\); unpack it, for example with unzip"):
        opened(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="a zip archive that cannot be read"):
        opened(path)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            gzip.compress(b"CDF", mtime=0),
            "a file compressed with gzip; unpack it, for example with gunzip",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE HTML>", "a web page"),
        (b"BZh91AY", "a file compressed with bzip2"),
        (b"\x0e\x03\x13\x01", "an HDF4 file"),
        (b'{"error": 401}', r"a file that begins with b'{\"error\""),
        (b"", "an empty file"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, start: bytes, message: str) -> None:
    (tmp_path / "a.nc").write_bytes(start)
    with pytest.raises(DataError, match=rf"a\.nc: {message}"):
        opened(tmp_path / "a.nc")


def test_a_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "station.csv").write_text("date,t2m\n2010-01-01,280.1\n")
    with pytest.raises(DataError, match=r"station\.csv: a table of text; write it as netCDF"):
        opened(tmp_path / "station.csv")


def test_grib_without_eccodes_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "eccodes", None)
    (tmp_path / "a.nc").write_bytes(b"GRIB....")
    with pytest.raises(DataError, match=r"a\.nc: a GRIB file, .* pip install eccodes, or"):
        opened(tmp_path / "a.nc")


def test_a_file_that_is_being_written_is_no_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "growing.nc"
    make(6).to_netcdf(path)
    program = "import netCDF4, sys; f = netCDF4.Dataset(sys.argv[1], 'a'); print(1, flush=True); "
    writer = subprocess.Popen(
        [sys.executable, "-P", "-c", program + "sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(DataError, match=r"growing\.nc: another program has the file open"):
            opened(path)
    finally:
        writer.communicate(b"")
    same(opened(path), EXPECTED)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("form", [2, 3])
def test_a_store_that_has_grown_is_read_anew(tmp_path: Path, consolidated: bool, form: int) -> None:
    path, whole = tmp_path / "a.zarr", make(12)
    whole.isel(time=slice(0, 5)).to_zarr(path, consolidated=consolidated, zarr_format=form)
    assert opened(path).sizes["time"] == 5
    np.testing.assert_array_equal(opened(path)["2m_temperature"], whole.t2m[:5])
    whole.isel(time=slice(5, 12)).to_zarr(path, append_dim="time", consolidated=consolidated)
    same(opened(path), whole.rename(z="geopotential", t2m="2m_temperature"))


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_store_at_a_url_that_has_grown_is_read_anew() -> None:
    url, whole = "memory://growing/a.zarr", make(12)
    whole.isel(time=slice(0, 5)).to_zarr(url, mode="w", consolidated=True)
    assert opened(url).sizes["time"] == 5
    whole.isel(time=slice(5, 12)).to_zarr(url, append_dim="time", consolidated=True)
    same(opened(url), whole.rename(z="geopotential", t2m="2m_temperature"))


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    make(6)[["t2m"]].to_zarr(tmp_path / "a.zarr", consolidated=False)
    metadata = tmp_path / "a.zarr/t2m/zarr.json"
    described = json.loads(metadata.read_text())
    described["shape"][0] = 4
    metadata.write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"a\.zarr: arrays along the same dimension have different"):
        opened(tmp_path / "a.zarr")
