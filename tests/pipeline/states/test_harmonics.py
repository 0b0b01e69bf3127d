"""Test harmonics of the calendar: known phases, periods, leap years."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.states.harmonics import (
    calendar_inputs,
    day_phase,
    harmonics,
    supported_harmonics,
    year_phase,
)

cases = settings(max_examples=60)
stamps = st.datetimes(
    min_value=pd.Timestamp("1950-01-01").to_pydatetime(),
    max_value=pd.Timestamp("2050-12-31").to_pydatetime(),
)


def times(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]")


def test_known_phases():
    found = year_phase(times("2001-01-01", "2001-12-31", "2004-12-31", "2001-01-01T12"))
    np.testing.assert_allclose(found, [0, 364 / 365, 365 / 366, 0.5 / 365])
    np.testing.assert_allclose(year_phase(times("2004-03-01", "2001-03-01")), [60 / 366, 59 / 365])
    found = day_phase(times("2001-05-07", "2001-05-07T06", "1999-02-28T23:59:00"))
    np.testing.assert_allclose(found, [0, 0.25, 1 - 1 / 1440])


@cases
@given(stamps)
def test_phases_are_fractions_that_grow(stamp):
    time = times(str(stamp))
    for phase in (year_phase, day_phase):
        assert 0 <= phase(time)[0] < 1
    later = time + np.timedelta64(1, "D")
    turned = year_phase(later) - year_phase(time)
    assert 0.99 / 366 < turned[0] % 1 < 1.01 / 365
    np.testing.assert_allclose(day_phase(later), day_phase(time))


@cases
@given(st.integers(1950, 2050))
def test_every_year_is_one_period(year):
    start = np.datetime64(f"{year}-01-01", "ns")
    end = np.datetime64(f"{year + 1}-01-01", "ns")
    before = end - np.timedelta64(1, "s")
    assert year_phase(np.array([start]))[0] == 0.0
    assert year_phase(np.array([before]))[0] > 1 - 1e-6
    # So the waves of the last second of a year go over into those of the next year.
    np.testing.assert_allclose(
        harmonics(np.array([before]), 3, 2), harmonics(np.array([end]), 3, 2), atol=1e-3
    )


def test_columns_and_their_values():
    time = times("2001-01-01", "2001-01-01T06")
    design = harmonics(time, 2, 1)
    assert design.shape == (2, 1 + 4 + 2)
    np.testing.assert_allclose(design[0], [1, 1, 0, 1, 0, 1, 0], atol=1e-12)
    angle = 2 * np.pi * 0.25 / 365
    np.testing.assert_allclose(
        design[1],
        [1, np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle), 0, 1],
        atol=1e-12,
    )
    np.testing.assert_array_equal(harmonics(time, 0, 0), np.ones((2, 1)))


@pytest.mark.parametrize("year", [2001, 2004])
def test_waves_are_orthogonal_over_a_year(year):
    time = pd.date_range(f"{year}-01-01", f"{year}-12-31T23", freq="h").to_numpy()
    design = harmonics(time, 3, 3)
    expected = np.diag([1.0] + [0.5] * 12)
    np.testing.assert_allclose(design.T @ design / len(time), expected, atol=1e-12)


def test_inputs_in_the_order_of_their_names():
    time = times("2003-07-02T18", "2003-01-01")
    assert calendar_inputs(time, ()) is None
    day, hour = calendar_inputs(time, ["day_of_year"]), calendar_inputs(time, ["hour"])
    np.testing.assert_allclose(hour, [[0, -1], [1, 0]], atol=1e-12)
    angle = 2 * np.pi * year_phase(time)
    np.testing.assert_allclose(day, np.stack([np.cos(angle), np.sin(angle)], axis=1))
    np.testing.assert_array_equal(
        calendar_inputs(time, ["hour", "day_of_year"]), np.hstack([hour, day])
    )


def days(first: str, last: str) -> np.ndarray:
    return np.arange(first, last, dtype="datetime64[D]").astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("trained", "last", "expected"),
    [
        (("2001-01-01", "2004-12-31"), "2006-12-31", 2),
        (("2001-01-01", "2001-12-31"), "2002-03-01", 2),
        (("2001-01-01", "2001-09-30"), "2001-12-31", 1),
        (("2001-01-01", "2001-06-01"), "2001-09-01", 0),
        (("2001-01-01", "2001-01-31"), "2001-02-10", 0),
        (("2001-01-01", "2001-01-02"), "2001-01-02", 0),
    ],
)
def test_harmonics_follow_what_the_record_determines(trained, last, expected):
    assert supported_harmonics(days(*trained), days(trained[0], last)) == expected
    hourly = np.arange(*trained, dtype="datetime64[h]").astype("datetime64[ns]")
    assert supported_harmonics(hourly, days(trained[0], last)) == expected


def test_harmonics_of_one_month_of_many_years_are_for_that_month():
    septembers = np.concatenate([days(f"{y}-09-01", f"{y}-10-01") for y in range(1980, 2020)])
    assert supported_harmonics(septembers, septembers) == 2
    assert supported_harmonics(septembers, days("1980-01-01", "1981-01-01")) == 0
    assert supported_harmonics(septembers[:0], septembers) == 0


def test_supported_harmonics_do_not_run_away_in_weather():
    """The climatology of a part of a year errs less than weather itself, wherever it is used."""
    rng = np.random.default_rng(0)
    year = days("2001-01-01", "2002-01-01")
    for last in ("2001-03-01", "2001-06-01", "2001-09-01", "2001-11-01", "2001-12-31"):
        trained = days("2001-01-01", last)
        count = supported_harmonics(trained, year)
        errors = []
        for _ in range(50):
            weather = np.repeat(rng.normal(size=len(trained) // 10 + 1), 10)[: len(trained)]
            found = np.linalg.lstsq(harmonics(trained, count, 0), weather, rcond=None)[0]
            errors.append(harmonics(year, count, 0) @ found)
        assert np.sqrt(np.square(errors).mean(axis=0)).max() < 1.0, last
