"""Test the findings of the audit in good, bad and real data with known faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.inspection.describe import describe_dataset
from gfrnn.pipeline.data.inspection.starting_experiment import starting_experiment
from gfrnn.pipeline.data.inspection.value_checks import DataFinding
from gfrnn.pipeline.data.time_axis import segments, step_of
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, real

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

HOUR = np.timedelta64(1, "h")


def make(times: int = 800, freq: str = "1D", rows: int = 8, columns: int = 12) -> xr.Dataset:
    """Return a smooth temperature field that varies in time."""
    time = pd.date_range("2001-01-01", periods=times, freq=freq)
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    values = np.full((times, rows, columns), 280.0)
    for a, b in ((0.2, 0.3), (0.5, 0.1), (0.1, 0.6), (0.4, 0.4)):
        phase = rng.uniform(0, 6.3, (times, 1, 1))
        values += 3 * np.sin(a * i + b * j + phase)
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values.astype("f4"), {"units": "K"})},
        {"time": time, "lat": np.linspace(30, 44, rows), "lon": np.linspace(-8, 14, columns)},
    )


@pytest.fixture
def looked(tmp_path: Path) -> Callable[..., list[DataFinding]]:
    def write_and_audit(ds: xr.Dataset, **keys: Any) -> list[DataFinding]:
        path = tmp_path / "data.nc"
        path.unlink(missing_ok=True)
        ds.to_netcdf(path)
        return audit(open_source(DataConfig(sources=[str(path)])), **keys)

    return write_and_audit


def says(found: list[DataFinding], severity: str, text: str) -> bool:
    return any(f.severity == severity and text in f.message for f in found)


def test_segments() -> None:
    time = np.array(["2000-01-01"], "datetime64[ns]") + HOUR * np.array([0, 1, 2, 5, 6, 20])
    assert step_of(time) == Duration.parse("1h")
    assert segments(time) == [slice(0, 3), slice(3, 5), slice(5, 6)]
    assert segments(time[:1]) == [slice(0, 1)]
    assert segments(time[:0]) == []
    assert segments(time[:3]) == [slice(0, 3)]
    with pytest.raises(DataError, match="at least two"):
        step_of(time[:1])


def test_good_data_have_no_finding(looked: Callable[..., list[DataFinding]]) -> None:
    assert looked(make()) == []


def test_times(looked: Callable[..., list[DataFinding]]) -> None:
    ds = make()
    found = looked(ds.isel(time=[*range(100), *range(150, 800)]))
    assert says(found, "warning", "1 gaps in time (step 1d): 2001-04-10T00:00 to 2001-05-31T00:00")
    assert says(looked(ds.isel(time=slice(0, 50))), "warning", "short record: 50 times")
    assert says(looked(ds.isel(time=slice(0, 200))), "note", "less than a year")
    late = ds.time.values.copy()
    late[400:] += np.timedelta64(6, "h")
    late[600:] -= np.timedelta64(12, "h")
    assert says(looked(ds.assign_coords(time=late)), "warning", "irregular times")
    months = make(200, "MS")
    assert looked(months) == []
    absent = looked(months.drop_isel(time=[7]))
    assert says(absent, "warning", "1 gaps in time (step 1mo): 2001-07 to 2001-09; training uses")
    whole = make()
    for kept, lengths in (([0, 1, 2, 7, 8, 9], "3"), ([0, 1, 2, 7, 8], "2 to 3")):
        message = f"training uses the 2 segments of {lengths} times between them"
        assert any(message in each.message for each in looked(whole.isel(time=kept)))
    half = ds.assign_coords(time=ds.time + np.timedelta64(30, "m"))
    assert says(looked(half), "note", "times are at minute 30")
    twice = ds.isel(time=[*range(5), 4, *range(5, 800)])
    assert says(looked(twice), "warning", "given twice")
    assert says(looked(ds.isel(time=[0])), "error", "1 time")


@pytest.mark.parametrize(
    ("change", "severity", "message"),
    [
        (
            lambda v: v.__setitem__((slice(None), slice(2, 4), slice(3, 9)), np.nan),
            "note",
            "12% of the cells are always masked: 12 of 96 have no value at any "
            "sampled time, first latitude 34, longitude 0",
        ),
        (
            lambda v: v.__setitem__(slice(-30, None), np.nan),
            "warning",
            "first from 2003-02-10T00:00",
        ),
        (lambda v: v.__setitem__((0, 1, 1), np.nan), "error", "scattered places, 1 values"),
        (lambda v: v.__setitem__(slice(None), np.nan), "error", "at all 64 sampled times"),
        (
            lambda v: v.__setitem__((0, 1, 1), np.inf),
            "error",
            "1 infinite values, first at 2001-01-01",
        ),
        (lambda v: v.__setitem__((799, 0, 1), -9999), "error", "fill value (-9999)"),
        (lambda v: v.__setitem__((799, 0, 1), 1e20), "error", "fill value (1e+20)"),
        (
            lambda v: v.__setitem__((799, 0, 1), 400),
            "error",
            "(400..400) are outside of 170..345 K",
        ),
        (lambda v: v.__setitem__(slice(None), v[0]), "warning", "does not change in time"),
        (
            lambda v: v.__setitem__(slice(None), v[:, :1, :1]),
            "warning",
            "the same value at all places",
        ),
        (
            lambda v: v.__setitem__(slice(None), v.reshape(800, 12, 8).swapaxes(1, 2)),
            "error",
            "the grid is scrambled",
        ),
        (
            lambda v: v.__setitem__(
                slice(None),
                v.reshape(800, 96)[:, np.random.default_rng(1).permutation(96)].reshape(v.shape),
            ),
            "warning",
            "the grid seems to be scrambled",
        ),
    ],
)
def test_values(
    looked: Callable[..., list[DataFinding]], change: Any, severity: str, message: str
) -> None:
    ds = make()
    change(ds.t2m.values)
    found = looked(ds)
    assert len(found) == 1, found
    assert found[0].variable == "2m_temperature"
    assert says(found, severity, message), found
    assert looked(ds, sample=0) == []


def test_a_mask_hides_nothing_else(looked: Callable[..., list[DataFinding]]) -> None:
    """Besides a mask, single missing values, missing times and scrambled points are found."""
    ds = make()
    values = ds.t2m.values
    values[:, :3, :6] = np.nan
    values[0, 5, 1:3] = np.nan
    values[-30:] = np.nan
    found = looked(ds)
    assert len(found) == 3, found
    assert says(found, "warning", "missing (NaN) everywhere at 3 of 64 sampled times")
    assert says(found, "error", "scattered places, 2 values in 1 of 64 sampled times, first at 200")
    assert says(found, "note", "19% of the cells are always masked: 18 of 96")
    scrambled = make()
    values = scrambled.t2m.values
    values[:] = values[:, :, np.random.default_rng(1).permutation(12)]
    values[:, :2, :4] = np.nan
    found = looked(scrambled)
    assert len(found) == 2, found
    assert says(found, "warning", "seems to be scrambled")


def test_a_narrow_strait_is_not_scrambled(looked: Callable[..., list[DataFinding]]) -> None:
    """In a strait one cell wide, no two valid points have the larger distances of the grid."""
    ds = make()
    ds.t2m.values[:, :, 3:] = np.nan
    ds.t2m.values[:] += np.random.default_rng(0).normal(size=ds.t2m.shape)
    found = looked(ds)
    assert len(found) == 1, found
    assert says(found, "note", "75% of the cells are always masked")


def test_a_field_across_greenwich_is_not_scrambled(
    looked: Callable[..., list[DataFinding]],
) -> None:
    assert looked(make(columns=40).assign_coords(lon=np.arange(-30.0, 10.0))) == []


def test_missing_chunk_is_an_error(tmp_path: Path) -> None:
    make().chunk(time=100).to_zarr(tmp_path / "a.zarr", zarr_format=3)
    (tmp_path / "a.zarr/t2m/c/3/0/0").unlink()
    found = audit(open_source(DataConfig(sources=[str(tmp_path / "a.zarr")])))
    assert says(found, "error", "has no chunk (3, 0, 0), times 2001-10-28T00:00 to 2002-02-04")


@pytest.mark.parametrize(
    ("times", "freq", "periods"),
    [
        (
            4018,
            "1D",
            ["2001-01-01..2009-12-31", "2010-01-01..2010-12-31", "2011-01-01..2012-01-01"],
        ),
        (
            365 * 24,
            "1h",
            ["2001-01-01..2001-09-30", "2001-10-01..2001-11-30", "2001-12-01..2001-12-31"],
        ),
        (
            24 * 40,
            "1h",
            ["2001-01-01..2001-01-30", "2001-01-31..2001-02-04", "2001-02-05..2001-02-09"],
        ),
    ],
)
def test_starting_experiment(tmp_path: Path, times: int, freq: str, periods: list[str]) -> None:
    make(times, freq, 3, 4).to_netcdf(tmp_path / "data.nc")
    ds = open_source(DataConfig(sources=[str(tmp_path / "data.nc")]))
    experiment = parse_experiment(starting_experiment(ds, [str(tmp_path / "data.nc")], "start"))
    found = [str(period) for _, period in experiment.periods]
    assert found == periods
    assert experiment.state.modes == 12
    assert open_source(experiment.data).equals(ds)


def test_starting_experiment_of_few_times(tmp_path: Path) -> None:
    make(60, "6h").to_netcdf(tmp_path / "data.nc")
    ds = open_source(DataConfig(sources=[str(tmp_path / "data.nc")]))
    experiment = parse_experiment(starting_experiment(ds, [{"path": "a.nc", "level": 500}], "few"))
    counts = [period.mask(ds.time.values).sum() for _, period in experiment.periods]
    assert sum(counts) == 60
    assert min(counts) >= 4
    with pytest.raises(DataError, match="59 times are too few: at least 60 are needed"):
        starting_experiment(ds.isel(time=slice(0, 59)), ["a.nc"], "none")


def test_describe(tmp_path: Path) -> None:
    make().to_netcdf(tmp_path / "data.nc")
    text = describe_dataset(open_source(DataConfig(sources=[str(tmp_path / "data.nc")])))
    assert "2m_temperature [K]" in text
    assert "longitude: -8 to 14 (12, spacing 2)" in text
    assert "time: 2001-01-01T00:00 to 2003-03-11T00:00 (800)" in text
    assert "step: 1d, no gap" in text


@real
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"path": "erai_weur_daily_2000_2010/z500_ei.nc", "level": 500}, []),
        ({"path": "erai_weur_daily_2000_2010/t850_ei.nc", "level": 850}, []),
        ({"path": "erai_weur_daily_2000_2010/mslp_ei.nc"}, []),
        ({"path": "ncep1_iberia_daily_1958_2001/*.nc"}, []),
        ({"path": "era5_berlin_hourly_2017/*.nc"}, []),
        ({"path": "traps/newcds_valid*"}, []),
        ({"path": "traps/newcds_pl*"}, ["short record: 12 times"]),
        (
            {"path": "traps/scrambled*", "level": 500},
            ["the grid is scrambled, its points", "first from 2010-11-26T00:00"],
        ),
        (
            {"path": "derived_ncep1_iberia_daily_1961_2010/*.nc"},
            ["missing (NaN) everywhere at 1 of 64 sampled times, first from 2010-11-26"] * 10,
        ),
        (
            {"path": "traps/gappy*"},
            ["29 gaps in time (step 1h): 2016-05-28T15:00 to 2016-05-29T07:00"],
        ),
        ({"path": "traps/septembers*"}, ["41 gaps in time (step 1h): 1979-09-30T23:00"]),
        ({"path": "traps/ersst*"}, ["31% of the cells are always masked: 5032 of 16020"]),
        ({"path": "traps/expver*"}, ["expver 1 and 5"]),
        (  # total column water vapour exceeds the range of its packed integers
            {"path": "era5_danube_daily_2013/*.nc"},
            ["2 of 34112 values are the smallest or largest", "scattered places, 5 values"],
        ),
        ({"path": "merra2_weur_hourly/*2005*"}, ["less than a year", "times are at minute 30"]),
        ({"path": "era5_point_hourly_2019/*54-16*"}, ["one grid point"]),
    ],
)
def test_real_data(source: dict[str, Any], expected: list[str]) -> None:
    ds = open_source(DataConfig(sources=[{**source, "path": str(DATA / source["path"])}]))
    found = audit(ds)
    assert len(found) == len(expected), found
    for finding, text in zip(found, expected, strict=True):
        assert text in finding.message


@real
def test_missing_month(tmp_path: Path) -> None:
    """An area mean is rejected; with coordinates added, its gap is found."""
    (path,) = (DATA / "traps").glob("era5_2022*.nc")
    with xr.open_dataset(path) as raw:
        raw.assign_coords(latitude=50.0, longitude=0.0).to_netcdf(tmp_path / "placed.nc")
    found = audit(open_source(DataConfig(sources=[str(tmp_path / "placed.nc")])))
    assert says(found, "warning", "1 gaps in time (step 1h): 2022-03-31T23:00 to 2022-05-01T00:00")


@real
def test_storm_with_dates_and_units(tmp_path: Path) -> None:
    """A file without dates is rejected; with dates, its missing values are found."""
    raw = xr.open_dataset(DATA / "traps/storm_6h_partial_nan/Vstorm.cdf", decode_times=False)
    raw = raw.drop_vars("reftime").load()
    raw.timestep.attrs["units"] = "hours since 1996-01-05"
    raw.to_netcdf(tmp_path / "v.nc")
    source = {"path": str(tmp_path / "v.nc"), "units": {"v": "m s-1"}}
    rename = {"v": "10m_v_component_of_wind"}
    found = audit(open_source(DataConfig(sources=[{**source, "rename": rename}])))
    assert says(found, "warning", "missing (NaN) everywhere at 2 of 64 sampled times")
    assert says(found, "note", "19% of the cells are always masked: 224 of 1188")
