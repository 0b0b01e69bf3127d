"""Monthly data: recognised whatever day they are stamped at, and normalised to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.time_axis import covered, segments, step_of
from gfrnn.pipeline.errors import DataError

MONTHS = np.arange("1999-11", "2002-03", dtype="datetime64[M]")
FIRST = MONTHS.astype("datetime64[ns]")
LAST = (MONTHS + 1).astype("datetime64[ns]") - np.timedelta64(1, "D")
MIDDLE = month_middles(MONTHS)
ONE = Duration.parse("1mo")


def write(path: Path, time: np.ndarray, name: str = "sst", units: str = "K") -> str:
    """Write a field whose values are the number of the time."""
    values = 290 + np.arange(time.size)[:, None, None] + np.zeros((1, 3, 4))
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), values.astype("f4"), {"units": units})},
        {"time": time, "lat": [-5.0, 0.0, 5.0], "lon": [200.0, 205.0, 210.0, 215.0]},
    )
    ds.to_netcdf(path)
    return str(path)


def opened(*paths: str, **keys: object) -> xr.Dataset:
    return open_source(DataConfig.model_validate({"sources": list(paths), **keys}))


@pytest.mark.parametrize(
    "time",
    [
        FIRST,
        FIRST + np.timedelta64(6, "h"),
        MIDDLE,
        MIDDLE.astype("datetime64[D]").astype("datetime64[ns]"),
        FIRST + np.timedelta64(14, "D"),
        LAST,
        LAST + np.timedelta64(23, "h"),
        FIRST + np.timedelta64(27, "D"),  # the 28th, the last day in one month of February
        FIRST + np.timedelta64(4, "D"),
    ],
    ids=[
        "first",
        "first at 6",
        "middle",
        "middle day",
        "15th",
        "last",
        "last at 23",
        "28th",
        "5th",
    ],
)
def test_stamps_become_the_middles_of_their_months(tmp_path, time):
    ds = opened(write(tmp_path / "a.nc", time))
    np.testing.assert_array_equal(ds["time"].values, MIDDLE)
    np.testing.assert_array_equal(ds["sea_surface_temperature"][:, 0, 0], 290 + np.arange(28))
    assert step_of(ds["time"].values) == ONE
    assert segments(ds["time"].values) == [slice(0, 28)]
    assert covered(ds["time"].values) == (pd.Timestamp("1999-11-01"), pd.Timestamp("2002-03-01"))


def test_variables_with_different_stamps_have_common_months(tmp_path):
    paths = write(tmp_path / "a.nc", FIRST), write(tmp_path / "b.nc", LAST[6:], "slp", "Pa")
    np.testing.assert_array_equal(opened(*paths)["time"].values, MIDDLE[6:])


def test_one_file_a_month(tmp_path):
    for place in range(4):
        write(tmp_path / f"{place}.nc", FIRST[place : place + 1])
    np.testing.assert_array_equal(opened(str(tmp_path / "*.nc"))["time"].values, MIDDLE[:4])


def test_one_month_is_monthly_where_the_step_says_so(tmp_path):
    path = write(tmp_path / "a.nc", FIRST[:1])
    assert opened(path)["time"].values[0] == FIRST[0]
    assert opened(path, step="1mo")["time"].values[0] == MIDDLE[0]


def test_a_missing_month_is_a_gap(tmp_path):
    ds = opened(write(tmp_path / "a.nc", np.delete(FIRST, 7)))
    assert step_of(ds["time"].values) == ONE
    assert segments(ds["time"].values) == [slice(0, 7), slice(7, 27)]


def test_every_third_month(tmp_path):
    path = write(tmp_path / "a.nc", FIRST)
    ds = opened(path, step="3mo")
    assert [str(month)[:7] for month in ds["time"].values[:2]] == ["2000-01", "2000-04"]
    assert step_of(ds["time"].values) == Duration.parse("3mo")
    assert segments(ds["time"].values) == [slice(0, ds.sizes["time"])]
    seasons = opened(write(tmp_path / "b.nc", FIRST[1::3]))  # files of December, March, ...
    assert step_of(seasons["time"].values) == Duration.parse("3mo")
    with pytest.raises(DataError, match=r"data\.step: 4mo is not a multiple .* data, 3mo"):
        opened(str(tmp_path / "b.nc"), step="4mo")


def test_even_steps_of_30_days_are_not_months(tmp_path):
    time = np.datetime64("2001-01-16", "ns") + np.arange(5) * np.timedelta64(30, "D")
    np.testing.assert_array_equal(opened(write(tmp_path / "a.nc", time))["time"].values, time)


def test_a_step_of_the_other_kind_is_refused(tmp_path):
    months = write(tmp_path / "months.nc", FIRST)
    days = write(tmp_path / "days.nc", FIRST[0] + np.arange(90) * np.timedelta64(1, "D"))
    with pytest.raises(
        DataError, match=r"data\.step: 6h is a fixed length, .* is 1mo, in calendar"
    ):
        opened(months, step="6h")
    with pytest.raises(
        DataError, match=r"data\.step: 1mo is in calendar months, .* is 1d; set data"
    ):
        opened(days, step="1mo")


def test_monthly_and_daily_files_are_refused(tmp_path):
    months = write(tmp_path / "months.nc", FIRST)
    days = FIRST[0] + np.arange(90) * np.timedelta64(1, "D")
    two_variables = write(tmp_path / "slp_days.nc", days, "slp", "Pa")
    one_variable = write(tmp_path / "sst_days.nc", days)
    for path in (two_variables, one_variable):
        pattern = r"months\.nc has monthly times, but .*days\.nc has not \(step 1d\); give files"
        with pytest.raises(DataError, match=pattern):
            opened(months, path)


def test_stamps_that_change_their_place_in_the_month_are_refused(tmp_path):
    mixed = np.concatenate([FIRST[:20], LAST[20:]])
    pattern = r"a\.nc: sst has monthly times, most at the first day .* 2001-07-31T00:00 at the last"
    with pytest.raises(DataError, match=pattern):
        opened(write(tmp_path / "a.nc", mixed))
    write(tmp_path / "b1.nc", FIRST[:10])
    write(tmp_path / "b2.nc", MIDDLE[10:])
    with pytest.raises(DataError, match=r"most at the middle of the month, but 1999-11-01T00:00"):
        opened(str(tmp_path / "b*.nc"))
    odd = FIRST + np.timedelta64(4, "D")
    odd[3] += np.timedelta64(2, "D")
    with pytest.raises(DataError, match=r"2000-02-07T00:00 at another day; state all months"):
        opened(write(tmp_path / "c.nc", odd))
