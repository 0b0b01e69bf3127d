"""Test transforms of skewed variables: exact inverses, and values that they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import description_digest
from gfrnn.pipeline.data.transforms import ChannelTransforms, Transform
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened

NAME = "total_precipitation"


def rain(path: Path, least: float = 0.0) -> Path:
    """Write daily amounts of rain in mm, and temperature."""
    ds = make(30, "1D")[["t2m"]]
    values = np.random.default_rng(2).gamma(0.3, 8.0, ds.t2m.shape)
    values[7, 1, 2] = least
    ds["tp"] = (ds.t2m.dims, values.astype("f4"), {"units": "mm"})
    ds.to_netcdf(path)
    return path


@given(st.floats(0, 1e6), st.sampled_from(["log1p", "sqrt"]), st.sampled_from(["m", "1", "mm"]))
def test_the_inverse_is_exact(value: float, name: str, units: str) -> None:
    transform = Transform.of(xr.DataArray(0.0, attrs={"transform": name, "units": units}))
    assert transform is not None
    found = transform.inverse(transform.forward(np.array([value])))
    np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-14)
    assert transform.inverse(np.array([-0.3])) == 0


def test_units_are_those_of_water(tmp_path: Path) -> None:
    ds = opened(rain(tmp_path / "a.nc"), transform={NAME: "log1p"})
    with xr.open_dataset(tmp_path / "a.nc") as raw:
        amounts = raw.tp.values.astype(float)
    # The Dataset is in SI units, and the transform counts millimetres.
    np.testing.assert_allclose(ds[NAME].values, 1e-3 * amounts, rtol=1e-6)
    fields = Fields(ds)
    assert str(fields.transforms.channels[1]) == "log1p(value / 0.001)"
    read = fields.read(3, 9).reshape(6, 2, 4, 8)
    np.testing.assert_allclose(read[:, 1], np.log1p(amounts[3:9]), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(read[:, 0], ds["2m_temperature"].values[3:9])
    physical = fields.in_physical_units().read(3, 9).reshape(6, 2, 4, 8)
    np.testing.assert_array_equal(physical[:, 1], ds[NAME].values[3:9].astype(float))
    assert Fields(opened(tmp_path / "a.nc")).in_physical_units().transforms.channels == (None, None)


def test_negative_values_are_named(tmp_path: Path) -> None:
    path = rain(tmp_path / "a.nc", least=-0.4)
    fields = Fields(opened(path, transform={NAME: "sqrt"}))
    with pytest.raises(
        DataError,
        match=r"total_precipitation: -0.0004 at 2001-01-08T00:00, latitude 41.5, longitude 90 .*"
        r"is negative, but data\.transform: sqrt needs values of 0 or more",
    ):
        fields.read(5, 9)
    # Rounding of packed values is no negative rain.
    near = Fields(opened(rain(tmp_path / "b.nc", least=-0.01), transform={NAME: "sqrt"}))
    assert near.read(7, 8).reshape(2, 4, 8)[1, 1, 2] == 0


def test_another_transform_is_another_model(tmp_path: Path) -> None:
    path = rain(tmp_path / "a.nc")
    digests = {
        description_digest(opened(path, transform=transform))
        for transform in ({}, {NAME: "sqrt"}, {NAME: "log1p"}, {"2m_temperature": "sqrt"})
    }
    assert len(digests) == 4


def test_bad_settings_are_named(tmp_path: Path) -> None:
    path = rain(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="log1p"):
        DataConfig(sources=[str(path)], transform={NAME: "log"})
    with pytest.raises(DataError, match=r"data\.transform: precipitation is not in the data; did"):
        opened(path, transform={"precipitation": "sqrt"})


def test_bounds_are_those_of_recognised_quantities() -> None:
    plain = xr.DataArray(0.0, attrs={"units": "1"})
    ds = xr.Dataset(
        {
            "temperature": plain,
            "specific_humidity": plain,
            "total_cloud_cover": plain,
            NAME: plain.assign_attrs(anomalies=1),
            "rain_gauge": plain,
        }
    )
    transforms = ChannelTransforms.of(ds, [str(name) for name in ds])
    assert not transforms  # data are read and states are made as they are
    values = np.array([-2.0, 0.0, 0.7, 3.0, np.nan])
    found = transforms.forecasts(np.stack([values] * 5).astype(np.float32), 0)
    np.testing.assert_array_equal(found[[0, 3, 4]], np.stack([values] * 3).astype(np.float32))
    np.testing.assert_array_equal(found[1], np.float32([0, 0, 0.7, 3, np.nan]))
    np.testing.assert_array_equal(found[2], np.float32([0, 0, 0.7, 1, np.nan]))


def test_bounds_hold_after_a_transform_too() -> None:
    ds = xr.Dataset({"total_cloud_cover": xr.DataArray(0.0, attrs={"transform": "sqrt"})})
    transforms = ChannelTransforms.of(ds, ["total_cloud_cover"])
    np.testing.assert_array_equal(transforms.forecast(0, np.array([-1.0, 0.5, 2.0])), [0, 0.25, 1])
