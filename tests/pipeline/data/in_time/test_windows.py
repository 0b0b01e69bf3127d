"""Compare means and extremes over the step with plain computations, in whatever layout of files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data import canonical_array
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened

HOURS = 24 * 20


def random(hours: int = HOURS, step: str = "1h") -> xr.Dataset:
    """Return fields of random values."""
    ds = make(hours, step)
    for name in ds.data_vars:
        ds[name].values[:] = np.random.default_rng(5).normal(280, 9, ds[name].shape)
    return ds


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the same fields in several layouts."""
    folder, ds = tmp_path_factory.mktemp("layouts"), random()
    ds.to_netcdf(folder / "one.nc")
    for number, first in enumerate(range(0, HOURS, 77)):
        ds.isel(time=slice(first, first + 77)).to_netcdf(folder / f"part{number}.nc")
    for chunk in (1, 10, 24, 500):
        chunks = {"z": {"chunks": (chunk, 1, 4, 8)}, "t2m": {"chunks": (chunk, 2, 8)}}
        ds.to_zarr(folder / f"{chunk}.zarr", encoding=chunks, zarr_format=3, consolidated=False)
    return folder


@pytest.mark.parametrize("method", ["mean", "max", "min", "sum"])
@pytest.mark.parametrize("step", ["6h", "1d"])
def test_values_are_those_of_xarray(archives: Path, method: str, step: str) -> None:
    ds = opened(archives / "one.nc", step=step, aggregate=method)
    groups = random().astype(float).resample(time="6h" if step == "6h" else "1D")
    expected = getattr(groups, method)()
    np.testing.assert_array_equal(ds.time.values, expected.time.values)
    np.testing.assert_allclose(ds["2m_temperature"].values, expected.t2m.values, rtol=1e-7)
    np.testing.assert_allclose(ds.geopotential.values, expected.z.values, rtol=1e-7)
    words = {"mean": "mean", "max": "maximum", "min": "minimum", "sum": "sum"}
    assert ds.geopotential.attrs["cell_methods"] == f"time: {words[method]} (interval: 1 h)"


@pytest.mark.parametrize("layout", ["part*.nc", "1.zarr", "10.zarr", "24.zarr", "500.zarr"])
def test_values_are_the_same_bits_in_every_layout(
    archives: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = opened(archives / "one.nc", step="1d", aggregate="mean").load()
    for read in (2**26, 5000, 1):  # bytes that are read at once
        monkeypatch.setattr(canonical_array, "ROWS_BYTES", read)
        ds = opened(archives / layout, step="1d", aggregate="mean")
        xr.testing.assert_equal(ds.load(), expected)


def test_any_selection_reads_its_own_times(archives: Path) -> None:
    ds = opened(archives / "10.zarr", step="1d", aggregate="mean")
    whole = ds.load().copy()
    ds = pickle.loads(pickle.dumps(opened(archives / "10.zarr", step="1d", aggregate="mean")))
    for chosen in ([3], [11, 2, 2, 5], slice(None, None, -3), slice(4, 9)):
        xr.testing.assert_equal(ds.isel(time=chosen).load(), whole.isel(time=chosen))
    part = {"time": [4, 1], "level": 1, "latitude": [2, 0], "longitude": slice(1, 6, 2)}
    xr.testing.assert_equal(ds.geopotential.isel(part).load(), whole.geopotential.isel(part))
    np.testing.assert_array_equal(
        Fields(ds).read(3, 6).reshape(3, 3, 4, 8)[:, :2], whole.geopotential.values[3:6]
    )


def test_a_pickle_is_small(archives: Path) -> None:
    assert len(pickle.dumps(opened(archives / "one.nc", step="1d", aggregate="mean"))) < 12_000


@settings(max_examples=30)
@given(st.sets(st.integers(0, 24 * 20 - 1), max_size=6), st.sampled_from(["3h", "12h", "1d"]))
def test_incomplete_steps_are_gaps(
    tmp_path_factory: pytest.TempPathFactory, absent: set[int], step: str
) -> None:
    path = tmp_path_factory.mktemp("gaps") / "a.nc"
    ds = random()[["t2m"]]
    present = np.setdiff1d(np.arange(HOURS), sorted(absent))
    ds.isel(time=present).to_netcdf(path)
    found = opened(path, step=step, aggregate="mean")
    groups = ds.isel(time=present).t2m.astype(float).resample(time=step.replace("d", "D"))
    hours = {"3h": 3, "12h": 12, "1d": 24}[step]
    whole = groups.mean().isel(time=groups.count().isel(latitude=0, longitude=0).values == hours)
    np.testing.assert_array_equal(found.time.values, whole.time.values)
    np.testing.assert_allclose(found["2m_temperature"].values, whole.values, rtol=1e-6)


def test_months_have_their_lengths(tmp_path: Path) -> None:
    ds = make(366 + 20, "1D", "2004-01-01")[["t2m"]]
    ds.to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc", step="1mo", aggregate="mean")
    expected = ds.t2m.astype(float).resample(time="MS").mean()[:12]
    np.testing.assert_allclose(found["2m_temperature"].values, expected.values, rtol=1e-7)
    assert list(found.time.values[:2]) == [
        np.datetime64("2004-01-16T12", "ns"),
        np.datetime64("2004-02-15T12", "ns"),
    ]
    season = opened(tmp_path / "a.nc", step="3mo", aggregate="max")
    assert season.sizes["time"] == 4
    np.testing.assert_array_equal(
        season["2m_temperature"].values[0], ds.t2m.sel(time=slice("2004-01", "2004-03")).max("time")
    )


def test_monthly_files_have_seasonal_means(tmp_path: Path) -> None:
    ds = make(25, "MS")[["t2m"]]
    ds.to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc", step="3mo", aggregate="mean")
    expected = ds.t2m.astype(float).values[:24].reshape(8, 3, 4, 8).mean(axis=1)
    np.testing.assert_allclose(found["2m_temperature"].values, expected, rtol=1e-7)
    assert "cell_methods" in found["2m_temperature"].attrs


def test_each_variable_may_have_its_own_value(archives: Path) -> None:
    ds = opened(archives / "one.nc", step="1d", aggregate={"geopotential": "max"})
    raw = random()
    np.testing.assert_array_equal(ds["2m_temperature"].values, raw.t2m.values[::24])
    np.testing.assert_array_equal(ds.geopotential.values, raw.z.resample(time="1D").max().values)
    assert "cell_methods" not in ds["2m_temperature"].attrs


@pytest.mark.parametrize("method", ["mean", "max", "min", "sum"])
def test_one_time_is_not_the_value_of_a_step(tmp_path: Path, method: str) -> None:
    random().isel(time=[12]).to_netcdf(tmp_path / "one.nc")
    for aggregate in (method, {"geopotential": method}):
        with pytest.raises(DataError, match=r"geopotential .*has one time, .*T12:00, from which"):
            opened(tmp_path / "one.nc", step="1d", aggregate=aggregate)
    # The value of a time is that of a step where no others are asked for.
    ds = opened(tmp_path / "one.nc", step="1d", aggregate={"geopotential": "instant"})
    assert ds.sizes["time"] == 1


def test_files_of_different_steps_are_averaged_each(tmp_path: Path) -> None:
    ds = random()
    ds[["t2m"]].to_netcdf(tmp_path / "hourly.nc")
    ds[["z"]].isel(time=slice(None, None, 6)).to_netcdf(tmp_path / "six.nc")
    found = opened(tmp_path / "*.nc", step="1d", aggregate="mean")
    expected = ds.astype(float).t2m.resample(time="1D").mean()
    np.testing.assert_allclose(found["2m_temperature"].values, expected.values, rtol=1e-7)
    expected = ds.z.astype(float)[::6].resample(time="1D").mean()
    np.testing.assert_allclose(found.geopotential.values, expected.values, rtol=1e-7)


@pytest.mark.parametrize("aggregate", ["mean", {"geopotential": "mean"}, None])
@pytest.mark.parametrize("step", ["5d", "36h"])
def test_steps_of_variables_that_begin_on_different_days_are_the_same(
    tmp_path: Path, step: str, aggregate: str | dict[str, str] | None
) -> None:
    ds = random()
    ds[["z"]].to_netcdf(tmp_path / "early.nc")
    ds[["t2m"]].isel(time=slice(2 * 24, None)).to_netcdf(tmp_path / "late.nc")
    found = opened(tmp_path / "*.nc", step=step, aggregate=aggregate)
    late = ds.isel(time=slice(2 * 24, None)).astype(float)
    steps = late.resample(time=step.replace("d", "D"))
    for name, own in (("2m_temperature", "t2m"), ("geopotential", "z")):
        averaged = aggregate == "mean" or (aggregate is not None and own == "z")
        expected = (steps.mean() if averaged else steps.first())[own]
        whole = expected.sel(time=found.time)
        assert found.sizes["time"] >= len(expected) - 1
        np.testing.assert_allclose(found[name].values, whole.values, rtol=1e-7)


def test_missing_values_of_an_hour_are_missing_in_the_day(tmp_path: Path) -> None:
    ds = random()[["t2m"]]
    ds.t2m.values[30, 1, 2] = np.nan
    ds.to_netcdf(tmp_path / "a.nc")
    for method in ("mean", "max", "min", "sum"):
        found = opened(tmp_path / "a.nc", step="1d", aggregate=method)["2m_temperature"]
        assert np.argwhere(np.isnan(found.values)).tolist() == [[1, 1, 2]]


@pytest.mark.parametrize("chunk", [1, 10, 24, 500])
def test_counted_chunks_are_those_of_the_days(archives: Path, chunk: int) -> None:
    ds = opened(archives / f"{chunk}.zarr", step="1d", aggregate="mean")
    stored = dict(zip(map(str, ds.data_vars), Fields(ds).stored_chunks, strict=True))[
        "geopotential"
    ]
    reads = np.array([[0, 3], [2, 4], [10, 20]])
    days = [set(range(24 * first // chunk, (24 * last - 1) // chunk + 1)) for first, last in reads]
    assert stored.count(reads) == (2 * sum(map(len, days)), 2 * len(set.union(*days)))
    assert stored.times == max(1, chunk // 24)
    assert stored.cut_at_chunks(np.array([[0, 20]]))[-1][1] == 20


def test_the_memory_of_a_read_counts_the_stored_times(archives: Path) -> None:
    days = Fields(opened(archives / "10.zarr", step="1d", aggregate="mean"))
    hours = Fields(opened(archives / "10.zarr"))
    assert days.read_bytes(2) > hours.read_bytes(48) - 8 * 48 * hours.grid.size


def test_bad_settings_are_named(archives: Path) -> None:
    path = str(archives / "one.nc")
    with pytest.raises(ValueError, match=r"data\.aggregate: given without data\.step"):
        DataConfig(sources=[path], aggregate="mean")
    with pytest.raises(ValueError, match=r"'median' is none of mean, sum, max, min, instant"):
        DataConfig(sources=[path], step="1d", aggregate="median")
    with pytest.raises(ValueError, match=r"'avg' is none of mean"):
        DataConfig(sources=[path], step="1d", aggregate={"2m_temperature": "avg"})
    with pytest.raises(DataError, match=r"aggregate: 2m_temp is not in the data; did you mean 2m_"):
        opened(path, step="1d", aggregate={"2m_temp": "mean"})
    with pytest.raises(DataError, match=r"data\.step: 90min is not a multiple"):
        opened(path, step="90min", aggregate="mean")
    with pytest.raises(DataError, match=r"data\.step: no 30d has all values of 2m_temperature"):
        opened(path, step="30d", aggregate="mean", variables={"2m_temperature": None})
    with pytest.raises(DataError, match=r"set data\.aggregate"):
        opened(path, step="1mo")
