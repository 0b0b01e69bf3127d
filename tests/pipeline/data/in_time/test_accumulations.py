"""Test that sums over time are recognised, differenced where they grow, and summed over a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, make, opened, real

DAYS = 12


def amounts(hours: int = 24 * DAYS, seed: int = 3) -> np.ndarray:
    """Return amounts of rain of each hour, 0 most of the time: shape (hours, 4, 8)."""
    return np.random.default_rng(seed).gamma(0.1, 1e-3, (hours, 4, 8))


def write(path: Path, values: np.ndarray, name: str = "tp", step: str = "1h", **attrs: Any) -> Path:
    """Write values with stamps from midnight on."""
    ds = make(len(values), step)[["t2m"]]
    ds[name] = (ds["t2m"].dims, values.astype("f4"), {"units": "m", **attrs})
    ds.to_netcdf(path)
    return path


def grown(values: np.ndarray, hours: int) -> np.ndarray:
    """Return the sums since the last multiple of some hours, of amounts before each stamp."""
    total, found = np.zeros(values.shape[1:]), np.empty_like(values)
    for hour, amount in enumerate(values):
        total = amount if (hour - 1) % hours == 0 else total + amount
        found[hour] = total
    return found


def daily_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of the stamps after 00:00 up to the next 00:00, of whole days."""
    return values[1:][: 24 * (DAYS - 1)].reshape(DAYS - 1, 24, *values.shape[1:]).sum(axis=1)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("tp", {}),
        ("ssrd", {"units": "J m**-2"}),
        ("new", {"units": "kg m-2", "cell_methods": "time: sum"}),
        ("mtpr", {"units": "kg m-2 s-1", "GRIB_stepType": "accum"}),
    ],
)
def test_hourly_sums_are_summed_over_the_step(
    tmp_path: Path, name: str, attrs: dict[str, str]
) -> None:
    hourly = amounts()
    path = write(tmp_path / "a.nc", hourly, name, **attrs)
    assert opened(path).sizes["time"] == len(hourly)
    ds = opened(path, step="1d")
    (summed,) = (ds[each] for each in ds.data_vars if each != "2m_temperature")
    np.testing.assert_allclose(summed.values, daily_sums(hourly), rtol=1e-6)
    assert summed.attrs["cell_methods"] == "time: sum (interval: 1 h)"
    days = pd.date_range("2001-01-01", periods=DAYS - 1, freq="1D")
    np.testing.assert_array_equal(ds.time.values, days)  # the last day lacks its last hour
    assert not ds.attrs["losses"]
    (last,) = (note for note in ds.attrs["notes"] if "is left out for all variables" in note)
    assert f"the last 1d, from 2001-01-{DAYS:02d}T00:00" in last
    # Values of a time are those of the beginning of the step.
    np.testing.assert_array_equal(
        ds["2m_temperature"].values, make(len(hourly), "1h").t2m.values[: 24 * (DAYS - 1) : 24]
    )


@pytest.mark.parametrize("hours", [12, 24])
@pytest.mark.parametrize("sign", [1, -1])
def test_growing_sums_are_differenced(tmp_path: Path, hours: int, sign: int) -> None:
    hourly = sign * amounts()
    path = write(tmp_path / "a.nc", grown(hourly, hours), "strd", units="J m**-2")
    ds = opened(path)
    assert f"begin anew every {'1d' if hours == 24 else '12h'}" in ds.attrs["notes"][0]
    name = "surface_thermal_radiation_downwards"
    # The first stamp ends the sum of the day before, of which the value an hour earlier is missing.
    np.testing.assert_allclose(ds[name].values, hourly[1:], atol=1e-8)
    np.testing.assert_array_equal(ds.time.values[0], np.datetime64("2001-01-01T01:00", "ns"))
    daily = opened(path, step="1d")
    np.testing.assert_allclose(daily[name].values, daily_sums(hourly), rtol=1e-5, atol=1e-9)
    largest = opened(path, step="1d", aggregate={name: "max"})
    expected = hourly[1:][: 24 * (DAYS - 1)].reshape(DAYS - 1, 24, 4, 8).max(axis=1)
    np.testing.assert_allclose(largest[name].values, expected, atol=1e-8)


@pytest.mark.parametrize(("hours", "begin"), [(24, 6), (12, 6), (24, 9)])
def test_growth_from_another_hour_than_midnight_is_refused(
    tmp_path: Path, hours: int, begin: int
) -> None:
    values = grown(amounts(), hours)[:-begin]
    path = write(tmp_path / "a.nc", np.concatenate([np.zeros_like(values[:begin]), values]))
    with pytest.raises(DataError, match=f"begin anew every {hours // 24}?.*from 0{begin}:00 UTC"):
        opened(path, step="1d")


def test_sums_that_may_grow_are_named_at_the_step_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", grown(amounts(), 24))
    with xr.open_dataset(path) as ds:
        ds.isel(time=slice(25, 48)).to_netcdf(tmp_path / "day.nc")  # no fall
    day = str(tmp_path / "day.nc")
    (loss,) = opened(day).attrs["losses"]
    assert "sums over each 1h, which is not certain: too few values show" in loss
    assert "data.sources.accumulated: {tp: 1h}" in loss
    stated = opened({"path": day, "accumulated": {"tp": "1d"}})
    assert not stated.attrs["losses"]
    np.testing.assert_allclose(stated.total_precipitation.values, amounts()[25:48], atol=1e-7)


def test_sums_that_may_grow_are_named_beside_means_over_the_step(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", np.cumsum(amounts(40), axis=0))
    aggregate = {"2m_temperature": "mean", "total_precipitation": "instant"}
    (loss,) = opened(path, step="1d", aggregate=aggregate).attrs["losses"]
    assert "sums over each 1h, which is not certain" in loss


@pytest.mark.parametrize("step", ["1h", "3h", "6h", "1d"])
def test_any_times_of_growing_sums_can_be_read(tmp_path: Path, step: str) -> None:
    ds = opened(write(tmp_path / "a.nc", grown(amounts(), 24)), step=step)
    array = ds.total_precipitation
    whole = array.values
    for first in range(0, ds.sizes["time"], 5):
        for count in (1, 4):
            part = array.isel(time=slice(first, first + count)).values
            np.testing.assert_array_equal(part, whole[first : first + count])
    np.testing.assert_array_equal(array.isel(time=[1, 2, 7]).values, whole[[1, 2, 7]])


def test_a_growing_sum_of_a_gap_is_not_differenced(tmp_path: Path) -> None:
    hourly = amounts()
    path = write(tmp_path / "whole.nc", grown(hourly, 24))
    kept = np.delete(np.arange(len(hourly)), [30, 48])
    with xr.open_dataset(path) as whole:
        whole.isel(time=kept).to_netcdf(tmp_path / "gap.nc")
    ds = opened(tmp_path / "gap.nc")
    # 30 and 48 are missing; 31 would need 30; 49 begins anew and needs none.
    expected = np.setdiff1d(np.arange(1, len(hourly)), [30, 31, 48])
    np.testing.assert_array_equal(ds.time.values, make(len(hourly), "1h").time.values[expected])
    np.testing.assert_allclose(ds.total_precipitation.values, hourly[expected], atol=1e-8)
    daily = opened(tmp_path / "gap.nc", step="1d")
    assert daily.sizes["time"] == DAYS - 3
    assert any("missing in 1 steps of 1d, from 2001-01-02" in loss for loss in daily.losses)


def test_files_may_have_a_day_each(tmp_path: Path) -> None:
    hourly = amounts()
    whole = write(tmp_path / "whole.nc", grown(hourly, 24))
    with xr.open_dataset(whole) as ds:
        for day in range(DAYS):
            ds.isel(time=slice(24 * day, 24 * day + 24)).to_netcdf(tmp_path / f"day{day:02}.nc")
    xr.testing.assert_equal(
        opened(whole, step="1d").load(), opened(tmp_path / "day*.nc", step="1d").load()
    )


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("u10", {"units": "m s-1"}),
        ("tp", {"GRIB_stepType": "instant"}),
        ("new", {"units": "kg m-2", "cell_methods": "time: mean"}),
    ],
)
def test_other_values_are_those_of_a_time(tmp_path: Path, name: str, attrs: dict[str, str]) -> None:
    hourly = amounts(48)
    ds = opened(write(tmp_path / "a.nc", hourly, name, **attrs), step="6h")
    (own,) = (ds[each] for each in ds.data_vars if each != "2m_temperature")
    np.testing.assert_array_equal(own.values, hourly[::6].astype("f4"))


def test_what_a_source_states_is_used(tmp_path: Path) -> None:
    hourly = amounts()
    path = write(tmp_path / "a.nc", hourly)
    source = {"path": str(path), "accumulated": {"tp": None}}
    ds = opened(source, step="6h")
    np.testing.assert_array_equal(ds.total_precipitation.values, hourly[::6].astype("f4"))
    for wrong in ("1d", "12h"):
        with pytest.raises(
            DataError, match=rf"accumulated: {wrong} for tp .* % of the sums of each"
        ):
            opened(source | {"accumulated": {"tp": wrong}})
    every_six = write(tmp_path / "six_hours.nc", grown(hourly, 6))
    with pytest.raises(DataError, match=r"makes [\d.]+ % of the sums of each 1h negative"):
        opened({"path": str(every_six), "accumulated": {"tp": "1d"}})
    ds = opened({"path": str(every_six), "accumulated": {"tp": "6h"}})
    np.testing.assert_allclose(ds.total_precipitation.values, hourly[1:], atol=1e-7)
    with pytest.raises(DataError, match=r"accumulated: the source has no variable tpp; did you"):
        opened({"path": str(path), "accumulated": {"tpp": "1d"}})
    with pytest.raises(DataError, match=r"accumulated: 30min for tp .* not a multiple of .*, 1h"):
        opened({"path": str(path), "accumulated": {"tp": "30min"}})


def test_what_is_not_certain_is_refused(tmp_path: Path) -> None:
    values = amounts(80)
    six = write(tmp_path / "six.nc", values, step="6h")
    with pytest.raises(DataError, match=r"over the 6h before its stamp, or over one hour; set"):
        opened(six, step="1d")
    stated = opened({"path": str(six), "accumulated": {"tp": "6h"}}, step="1d")
    np.testing.assert_allclose(
        stated.total_precipitation.values[0], values[1:5].sum(axis=0), rtol=1e-6
    )
    # The user's choice for the variable needs no certainty.
    opened(six, step="1d", aggregate={"total_precipitation": "mean"})
    opened(six)

    signs = write(tmp_path / "signs.nc", amounts(48) - 1e-4, "strd", units="J m**-2")
    with pytest.raises(DataError, match="both signs do not show whether sums grow"):
        opened(signs, step="1d")

    month = pd.date_range("2001-01-01", periods=30, freq="MS")
    ds = make(30)[["t2m"]].assign_coords(time=month)
    ds["tp"] = (ds["t2m"].dims, amounts(30).astype("f4"), {"units": "m"})
    ds.to_netcdf(tmp_path / "month.nc")
    with pytest.raises(DataError, match=r"monthly value may be a sum, or the mean"):
        opened(tmp_path / "month.nc", step="3mo", variables={"total_precipitation": None})


def test_daily_values_belong_to_their_date(tmp_path: Path) -> None:
    daily = amounts(59)
    path = write(tmp_path / "a.nc", daily, step="1D", cell_methods="time: sum")
    ds = opened(path, step="1mo", aggregate="mean")
    np.testing.assert_allclose(ds.total_precipitation.values[1], daily[31:].sum(axis=0), rtol=1e-6)
    assert list(ds.time.dt.month.values) == [1, 2]


@real
@pytest.mark.parametrize(
    ("path", "name", "variable"),
    [
        ("era5_berlin_hourly_2017/*.nc", "ssrd", "surface_solar_radiation_downwards"),
    ],
)
def test_sums_of_real_files(path: str, name: str, variable: str) -> None:
    ds = opened(DATA / path, step="1d", variables={variable: None, "2m_temperature": None})
    (file,) = DATA.glob(path)
    with xr.open_dataset(file) as raw:
        hourly = raw[name].sortby(["latitude", "longitude"]).values
    expected = hourly[1:][: 24 * 364].reshape(364, 24, *hourly.shape[1:]).sum(axis=1)
    np.testing.assert_allclose(ds[variable].values, expected, rtol=1e-4)
    assert ds.sizes["time"] == 364


@real
def test_real_daily_sums_without_a_statement_are_refused() -> None:
    path = DATA / "era5_danube_daily_2013/*.nc"
    name = {"convective_precipitation": None}
    assert opened(path, variables=name).sizes["time"] == 365
    with pytest.raises(DataError, match=r"accumulated: \{cp: 1d\} if it is the sum over each 1d"):
        opened(path, step="1mo", variables=name)
    stated = {"path": str(path), "accumulated": {"cp": "1d"}}
    ds = opened(stated, step="1mo", variables=name)
    with xr.open_dataset(next(DATA.glob("era5_danube_daily_2013/*.nc"))) as raw:
        may = raw.cp.sel(time="2013-05").sum("time").sortby("latitude").values
    np.testing.assert_allclose(ds.convective_precipitation.values[4], may, rtol=1e-5)
    assert ds.sizes["time"] == 12


@pytest.mark.parametrize("step", ["2d", "5d"])
def test_steps_of_several_days_begin_alike_for_sums_and_values(tmp_path: Path, step: str) -> None:
    hourly, days = amounts(), int(step[0])
    ds = opened(write(tmp_path / "a.nc", hourly), step=step, aggregate={"2m_temperature": "mean"})
    whole = daily_sums(hourly)[: days * ((DAYS - 1) // days)]
    expected = whole.reshape(-1, days, *whole.shape[1:]).sum(axis=1)
    np.testing.assert_allclose(ds.total_precipitation.values, expected, rtol=1e-6)
    assert ds.time.values[0] == np.datetime64("2001-01-01")
    assert not ds.attrs["losses"]


@pytest.mark.parametrize(
    ("native", "period", "words"),
    [
        ("1h", "90min", "a multiple of the step"),
        ("1h", "5h", "a part of a day"),
        ("1h", "2d", "a part of a day"),
        ("1h", "1mo", "a multiple of the step"),
        ("1D", "5d", "a part of a day"),
        ("MS", "12mo", "a part of a day"),
    ],
)
def test_a_stated_time_of_sums_is_checked(
    tmp_path: Path, native: str, period: str, words: str
) -> None:
    path = write(tmp_path / "a.nc", amounts(48), step=native)
    with pytest.raises(DataError, match=f"accumulated: {period} for tp .* is not .*{words}"):
        opened({"path": str(path), "accumulated": {"tp": period}})
