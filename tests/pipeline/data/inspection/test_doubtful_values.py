"""Test that values which cannot be right stop a fit, by name, unless they are allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.audit import check_sample
from gfrnn.pipeline.data.inspection.grid_order import disorder
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.weather import experiment


def smooth(times: int = 400, rows: int = 9, columns: int = 12) -> np.ndarray:
    """Return waves whose correlation falls with distance: shape (times, rows, columns)."""
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    rng, found = np.random.default_rng(0), np.zeros((times, rows, columns))
    for a, b in rng.normal(0, 0.3, (60, 2)):
        found += np.sin(a * i + b * j + rng.uniform(0, 6.3, (times, 1, 1))) / 4
    return found


def written(path: Path, values: np.ndarray, name: str, **attrs: Any) -> xr.Dataset:
    """Write values as they are, and open them."""
    time = pd.date_range("2001-01-01", periods=len(values), freq="1D")
    rows, columns = values.shape[1:]
    xr.Dataset(
        {name: (("time", "lat", "lon"), values, attrs)},
        {"time": time, "lat": 30 + 1.0 * np.arange(rows), "lon": -4 + 1.0 * np.arange(columns)},
    ).to_netcdf(path)
    return reopened(path)


def packed(path: Path, codes: np.ndarray, name: str = "hgt", **attrs: Any) -> xr.Dataset:
    """Write packed integers without a fill value, by default heights, and open them."""
    attrs = {"units": "m", "scale_factor": 0.02, "add_offset": 5500.0} | attrs
    return written(path, np.round(codes).astype("i2"), name, **attrs)


def reopened(path: Path) -> xr.Dataset:
    return open_source(DataConfig(sources=[{"path": str(path), "level": 500}]))


def refusal(ds: xr.Dataset, *allow: str) -> str:
    """Return the message with which the values are refused; empty if they are not."""
    try:
        check_sample(ds, np.ones(ds.sizes["time"], bool), allow)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("fill", [-32768, -32767, 32767])
@pytest.mark.parametrize("points", [(9, 12), (1, 1)])
def test_an_undeclared_fill_value_is_refused(
    tmp_path: Path, fill: int, points: tuple[int, int]
) -> None:
    codes = smooth(400, *points) * 1000
    codes[::7, 0, 0] = fill
    found = refusal(packed(tmp_path / "a.nc", codes))
    assert "geopotential_500" in found
    assert "packed integer" in found
    assert "data.allow: [extremes]" in found
    assert refusal(reopened(tmp_path / "a.nc"), "extremes") == ""


def whole_range(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return values as integers from ``first`` to ``last``, both in use."""
    return np.round(np.interp(values, (values.min(), values.max()), (first, last)))


def test_a_fill_value_next_to_the_smallest_value_is_refused(tmp_path: Path) -> None:
    """Packing that uses the whole range of integers leaves the fill value without a gap."""
    codes = whole_range(smooth(), -32766, 32767)
    codes[np.random.default_rng(1).random(codes.shape) < 0.02] = -32767
    assert "packed integer" in refusal(packed(tmp_path / "a.nc", codes))


def test_real_extremes_of_packed_values_are_not_refused(tmp_path: Path) -> None:
    """The extremes of values that fill the range of integers, zeros of rain, and frozen sea."""
    values = smooth()
    assert refusal(packed(tmp_path / "a.nc", whole_range(values, -32768, 32767))) == ""
    rain = np.maximum(0.0, values - 0.5) ** 2
    keys = {"units": "m", "scale_factor": 1e-7, "add_offset": 32768e-7}
    assert refusal(packed(tmp_path / "b.nc", whole_range(rain, -32768, 32767), "tp", **keys)) == ""
    sea = whole_range(np.maximum(0.0, values), -32768, 32767)
    keys = {"units": "K", "scale_factor": 4e-4, "add_offset": 271.4 + 32768 * 4e-4}
    assert refusal(packed(tmp_path / "c.nc", sea, "sst", **keys)) == ""


def test_values_that_their_unit_excludes_are_refused(tmp_path: Path) -> None:
    ds = written(tmp_path / "a.nc", 12.0 + smooth(), "t2m", units="K")
    found = refusal(ds)
    assert "2m_temperature" in found
    assert "outside of 170..345 K" in found
    assert "data.allow: [range]" in found
    assert refusal(ds, "range") == ""
    huge = 280 + smooth()
    huge[::7] = 1e20
    assert "fill value (1e+20)" in refusal(written(tmp_path / "b.nc", huge, "t2m", units="K"))


def interleaved(values: np.ndarray) -> np.ndarray:
    """Return fields whose neighbours along longitude are six points apart."""
    return values[:, :, np.arange(12).reshape(2, 6).T.reshape(-1)]


def test_a_scrambled_grid_is_refused_with_both_figures(tmp_path: Path) -> None:
    values = 280 + smooth()
    turned = written(tmp_path / "b.nc", interleaved(values), "t2m", units="K")
    order = disorder(
        turned["2m_temperature"].values, turned["latitude"].values, turned["longitude"].values
    )
    assert order is not None
    text = refusal(turned)
    assert "2m_temperature: the grid is scrambled" in text
    assert "correlate 0." in text
    assert str(order.lag) in text
    assert "data.allow: [scrambled]" in refusal(turned)
    assert refusal(turned, "scrambled") == ""


def test_noise_and_tides_are_not_scrambled() -> None:
    """Independent points, and a wave that repeats in space twice around the globe."""
    latitude, longitude = np.linspace(-10, 10, 5), np.arange(0.0, 360.0, 30.0)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((64, 5, 12))
    assert not (found := disorder(noise, latitude, longitude)) or not found.certain
    phase = rng.uniform(0, 2 * np.pi, (64, 1, 1))
    tide = np.cos(2 * np.deg2rad(longitude) + phase) + 0 * latitude[:, None]
    assert not (found := disorder(tide, latitude, longitude)) or not found.certain


def test_a_run_refuses_doubtful_values_before_it_computes(tmp_path: Path) -> None:
    values = interleaved(280 + smooth(800))
    written(tmp_path / "a.nc", values, "t2m", units="K")
    keys = {"data": {"sources": [str(tmp_path / "a.nc")], "variables": {"2m_temperature": None}}}
    run = Run(experiment(tmp_path / "a.nc", **keys), tmp_path / "run")
    with pytest.raises(DataError, match=r"scrambled(.|\n)*data\.allow"):
        run.fit()
    assert not list(run.folder.glob("*.zarr"))
    keys["data"]["allow"] = ["scrambled"]  # the folder is the same run's
    run = Run(experiment(tmp_path / "a.nc", **keys), tmp_path / "run")
    assert not run.fit().skipped
    keys["data"]["allow"] = []
    assert Run(experiment(tmp_path / "a.nc", **keys), tmp_path / "run").fit().skipped


@real
def test_the_scrambled_export_is_refused_and_its_repaired_copy_is_not() -> None:
    scrambled = {"path": str(DATA / "traps/scrambled_NCEP_Z500_2014export.nc"), "level": 500}
    found = refusal(open_source(DataConfig(sources=[scrambled])))
    assert "geopotential_500: the grid is scrambled" in found
    assert "neighbours along longitude correlate 0.82, points 3 apart 0.91" in found
    repaired = {"path": str(DATA / "derived_ncep1_iberia_daily_1961_2010/*.nc")}
    assert refusal(open_source(DataConfig(sources=[repaired]))) == ""
