"""Test what the attributes of a file, and the keys of a source, say of stored values."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.static_fields import open_static
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened


def packed(path: Path, **attrs: Any) -> np.ndarray:
    """Write t2m as int16, without a declared fill value, and return its values."""
    stored = np.arange(6 * 4 * 8).reshape(6, 4, 8).astype("i2")
    ds = make(6)[["t2m"]].copy(data={"t2m": stored})
    ds.t2m.attrs |= {"scale_factor": 0.1, "add_offset": 280.0, **attrs}
    ds.to_netcdf(path, encoding={"t2m": {"_FillValue": None}})
    return (280 + 0.1 * stored).astype("f4")


def change(path: Path, index: Any, value: float) -> None:
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        file["t2m"][index] = value


@pytest.mark.parametrize("text", ["0.1", b"0.1", " 1e-1 "])
def test_a_scale_that_is_text_is_a_number(tmp_path: Path, text: Any) -> None:
    expected = packed(tmp_path / "a.nc", scale_factor=text, add_offset="280")
    np.testing.assert_allclose(opened(tmp_path / "a.nc")["2m_temperature"], expected, rtol=1e-6)


def test_a_scale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "a.nc", scale_factor="one tenth")
    with pytest.raises(DataError, match=r"a\.nc: t2m has the scale_factor 'one tenth', which is"):
        opened(tmp_path / "a.nc")


def test_a_fill_value_that_is_no_number_is_none(tmp_path: Path) -> None:
    expected = packed(tmp_path / "a.nc", missing_value="none")
    np.testing.assert_allclose(opened(tmp_path / "a.nc")["2m_temperature"], expected, rtol=1e-6)


def test_stored_numbers_that_are_missing(tmp_path: Path) -> None:
    expected = packed(tmp_path / "a.nc", missing_value=np.int16(7))
    change(tmp_path / "a.nc", (2, 1, 3), -32767)
    change(tmp_path / "a.nc", (3, 1, 3), -9999)
    expected[2, 1, 3] = expected[3, 1, 3] = expected.flat[7] = np.nan
    found = opened({"path": str(tmp_path / "a.nc"), "missing": [-32767, -9999]})
    np.testing.assert_allclose(found["2m_temperature"], expected, rtol=1e-6)
    kept = opened(tmp_path / "a.nc")["2m_temperature"].values
    assert kept[2, 1, 3] == pytest.approx(280 - 3276.7)


def test_a_number_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "a.nc", add_offset=0.0)
    words = r"missing: -999.9 is not a number that t2m .* int16 .* -999.9 is stored as -9999"
    with pytest.raises(DataError, match=words):
        opened({"path": str(tmp_path / "a.nc"), "missing": [-999.9]})
    with pytest.raises(DataError, match=r"sources\[0\]\.missing: 1e\+20 is not a number"):
        opened({"path": str(tmp_path / "a.nc"), "missing": [-999, 1e20]})
    # Another file of the source may have stored it.
    make(6)[["z"]].to_netcdf(tmp_path / "b.nc")
    found = opened({"path": str(tmp_path / "*.nc"), "missing": [-999, 1e20]})
    assert set(found.data_vars) == {"geopotential", "2m_temperature"}


def test_the_fill_value_is_a_value_of_zarr_stores_only(tmp_path: Path) -> None:
    packed(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"sources\[0\]\.fill: value is given, .*a\.nc is no zarr"):
        opened({"path": str(tmp_path / "a.nc"), "fill": "value"})


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_numbers_that_are_missing_in_float32(tmp_path: Path, suffix: str) -> None:
    ds, path = make(6)[["t2m"]], tmp_path / f"a{suffix}"
    ds.t2m[4, 2, 2], ds.t2m[5, 0, 0] = 9.96921e36, -9999.0
    ds.to_netcdf(path) if suffix == ".nc" else ds.to_zarr(path)
    found = opened({"path": str(path), "missing": [9.96921e36, -9999]})["2m_temperature"]
    expected = make(6).t2m.values
    expected[4, 2, 2] = expected[5, 0, 0] = np.nan
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[4:, :3].values, expected[4:, :3])


def rain(path: Path, form: int) -> np.ndarray:
    """Write rain, which is 0 in the first half, to a store with the fill value 0."""
    ds = make(8)[["t2m"]].rename(t2m="tp")
    values = np.where(np.arange(8)[:, None, None] < 4, 0, ds.tp.values / 1e5).astype("f4")
    ds = ds.copy(data={"tp": values})
    ds.tp.attrs = {"units": "m"}
    key = "_FillValue" if form == 2 else "fill_value"
    encoding = {"tp": {key: 0.0, "chunks": (2, 4, 8)}}
    ds.to_zarr(path, zarr_format=form, consolidated=False, encoding=encoding)
    return values


def test_zeros_of_a_store_with_the_fill_value_0(tmp_path: Path) -> None:
    values = rain(tmp_path / "a.zarr", 2)
    found = opened(tmp_path / "a.zarr")
    assert np.isnan(found.total_precipitation[:4].values).all()
    named = [
        finding.message for finding in audit(found) if "set data.sources[0].fill" in str(finding)
    ]
    assert "zeros are read as missing, as 0 is the fill value" in named[0]
    found = opened({"path": str(tmp_path / "a.zarr"), "fill": "value"})
    np.testing.assert_array_equal(found.total_precipitation, values)
    assert not [note for note in found.attrs["notes"] if "fill" in note]


@pytest.mark.parametrize("form", [2, 3])
def test_chunks_of_the_fill_value_that_are_left_out(tmp_path: Path, form: int) -> None:
    values = rain(tmp_path / "a.zarr", form)
    chunk = tmp_path / "a.zarr/tp" / ("1.0.0" if form == 2 else "c/1")
    if chunk.is_dir():
        shutil.rmtree(chunk)
    else:
        chunk.unlink(missing_ok=True)  # zarr leaves it out by itself
    (line, *_) = missing_chunks(opened(tmp_path / "a.zarr"))
    assert "it reads as the fill value 0" in line
    assert "set fill: value in data.sources" in line
    found = opened({"path": str(tmp_path / "a.zarr"), "fill": "value"})
    assert missing_chunks(found) == []
    np.testing.assert_array_equal(found.total_precipitation, values)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_mask_of_true_and_false_is_a_static_field(tmp_path: Path, suffix: str) -> None:
    ds = make(6)[["t2m"]]
    mask = (np.arange(32).reshape(4, 8) % 3 == 0)[::-1]
    ds["lsm"] = (("latitude", "longitude"), mask, {"units": "1"})
    ds["flag"] = ds.t2m > 280
    path = tmp_path / f"a{suffix}"
    flipped = ds.isel(latitude=slice(None, None, -1))
    flipped.to_netcdf(path) if suffix == ".nc" else flipped.to_zarr(path)
    data = DataConfig(sources=[str(path)])
    found: xr.Dataset = opened(path)
    assert list(found.data_vars) == ["2m_temperature"]
    (field,) = open_static(data, Grid.from_dataset(found), ["land_sea_mask"])
    np.testing.assert_array_equal(field, mask)


@pytest.mark.parametrize(
    "kind", ["packed", "float", "huge and converted", "converted", "Fahrenheit"]
)
def test_the_audit_names_the_key_that_mends_a_fill_value(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.nc"
    fill = {"packed": -32767, "converted": -9999.0, "Fahrenheit": -9999.0}.get(kind, 1e20)
    if kind == "packed":
        packed(path)
        change(path, np.s_[1:4, 1, 3], -32767)
    else:
        ds = make(6)[["t2m"]]
        if kind == "Fahrenheit":
            ds = (ds - 273.15) * 1.8 + 32
            ds.t2m.attrs["units"] = "degF"
        elif "converted" in kind:
            ds = ds - 273.15
            ds.t2m.attrs["units"] = "degC"
        ds.t2m[1:4, 1, 3] = fill
        ds.to_netcdf(path)
    messages = [finding.message for finding in audit(opened(path)) if finding.doubt == "extremes"]
    (found,) = (re.search(r"set data\.sources\.missing: (\[.*?\])", text) for text in messages)
    assert found is not None
    given = yaml.safe_load(found[1])
    assert float(given[0]) == pytest.approx(fill)
    mended = opened({"path": str(path), "missing": given})
    assert np.isnan(mended["2m_temperature"].values).sum() == 3
    assert [finding for finding in audit(mended) if finding.doubt] == []
