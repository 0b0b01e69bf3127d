"""Division of pairs by the time that forecasts are valid for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gfrnn.pipeline.verification.subsets import MONTHS, subsets


def statistics(first: str, count: int, step: str, leads: int) -> xr.Dataset:
    """Return statistics whose last initial time has a truth at the first lead only."""
    time = pd.date_range(first, periods=count, freq=step)
    length = pd.Timedelta(step)
    valid = time.to_numpy()[:, None] + np.arange(1, leads + 1) * length.to_timedelta64()
    known = np.ones((count, leads))
    known[-1, 1:] = 0
    dims = ("time", "prediction_timedelta")
    return xr.Dataset(
        {"known": (dims, known)},
        {
            "time": time,
            "prediction_timedelta": np.arange(1, leads + 1) * length,
            "valid_time": (dims, valid),
        },
    )


def test_seasons_and_hours_are_those_of_the_valid_time():
    ds = statistics("2001-01-01T00", 4 * 365, "6h", 3)
    found = subsets(ds)
    assert list(found) == [
        "all", "DJF", "MAM", "JJA", "SON", "00:00 UTC", "06:00 UTC", "12:00 UTC", "18:00 UTC"
    ]  # fmt: skip
    np.testing.assert_array_equal(found["all"], ds["known"] == 1)
    seasons = np.sum([found[name] for name in ("DJF", "MAM", "JJA", "SON")], axis=0)
    hours = np.sum([found[name] for name in found if name.endswith("UTC")], axis=0)
    np.testing.assert_array_equal(seasons, found["all"])
    np.testing.assert_array_equal(hours, found["all"])
    valid = pd.DatetimeIndex(ds["valid_time"].values.reshape(-1))
    winter = np.isin(valid.month, [12, 1, 2]).reshape(found["all"].shape)
    np.testing.assert_array_equal(found["DJF"], winter & found["all"])
    six = (valid.hour == 6).reshape(winter.shape)
    np.testing.assert_array_equal(found["06:00 UTC"], six & found["all"])


def test_a_division_of_one_part_is_left_out():
    assert list(subsets(statistics("2001-06-03T12", 20, "24h", 2))) == ["all"]
    assert list(subsets(statistics("2001-05-03T12", 40, "24h", 2))) == ["all", "MAM", "JJA"]


def test_months_of_monthly_data():
    time = pd.date_range("2001-01-01", periods=30, freq="MS")
    dims = ("time", "prediction_timedelta")
    valid = np.stack([time + pd.DateOffset(months=lead) for lead in (1, 2)], axis=1)
    coords = {"time": time, "prediction_timedelta": [1, 2], "valid_time": (dims, valid)}
    found = subsets(xr.Dataset({"known": (dims, np.ones((30, 2)))}, coords))
    assert list(found) == ["all", *MONTHS]
    np.testing.assert_array_equal(np.sum([found[name] for name in MONTHS], axis=0), found["all"])
    assert found["March"][1, 0]
    assert found["March"][0, 1]
