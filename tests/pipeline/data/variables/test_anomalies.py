"""Anomalies as data: found by name and attributes, or stated by ``data.anomalies``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.inspection.describe import describe_dataset


def write(path: Path, name: str = "sst", **attrs: str) -> str:
    """Write anomalies that vary smoothly in time and space, from -2 to 2."""
    days, x = np.arange(400)[:, None, None], np.arange(12) / 4
    values = 2 * np.sin(days / 7 + x[:, None] + x[None, :])
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), values.astype("f4"), attrs)},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(400) * np.timedelta64(1, "D"),
            "lat": np.arange(12.0),
            "lon": 180 + np.arange(12.0),
        },
    )
    ds.to_netcdf(path)
    return str(path)


def opened(path: str, **keys: Any) -> xr.Dataset:
    return open_source(DataConfig.model_validate({"sources": [path], **keys}))


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("sst", {"units": "K", "long_name": "Kaplan extended SST v2 anomaly"}),
        ("sst", {"units": "degC", "var_desc": "Monthly Anomalies of SST"}),
        ("ssta", {"units": "K"}),
        ("sst_anomaly", {"units": "degC"}),
        ("sst_anom", {"units": "K"}),
    ],
)
def test_anomalies_are_found(tmp_path, name, attrs):
    ds = opened(write(tmp_path / "a.nc", name, **attrs))
    array = ds["sea_surface_temperature"]
    assert array.attrs["anomalies"]
    assert array.attrs["units"] == "K"
    assert "anomal" in array.attrs["long_name"].lower()
    assert "standard_name" not in array.attrs
    # The zero of the scale does not matter for differences of temperature.
    np.testing.assert_allclose([array.min(), array.max()], [-2, 2], atol=1e-3)
    assert audit(ds) == []
    assert "sea_surface_temperature [K], anomalies" in describe_dataset(ds)


def test_other_values_are_named_with_the_key(tmp_path):
    path = write(tmp_path / "a.nc", units="K")
    (found,) = audit(opened(path))
    assert "outside of 268..315 K" in found.message
    assert found.message.endswith("or set data.anomalies: true if they are anomalies")
    assert audit(opened(path, anomalies=True)) == []


def test_the_key_overrides_what_the_file_states(tmp_path):
    path = write(tmp_path / "a.nc", units="degC", long_name="anomaly of something else")
    ds = opened(path, anomalies=False)
    np.testing.assert_allclose(float(ds["sea_surface_temperature"].mean()), 273.15, atol=0.1)
    assert "anomalies" not in ds["sea_surface_temperature"].attrs


def test_anomalies_of_an_impossible_size_are_an_error(tmp_path):
    path = write(tmp_path / "a.nc", units="K")
    with xr.open_dataset(path) as ds:
        (ds * 1000).assign_attrs(ds.attrs).to_netcdf(tmp_path / "large.nc")
    keys = {"anomalies": True}
    source = {"path": str(tmp_path / "large.nc"), "units": {"sst": "K"}}
    ds = open_source(DataConfig.model_validate({"sources": [source], **keys}))
    (found,) = audit(ds)
    assert "outside of -47..47 K" in found.message
