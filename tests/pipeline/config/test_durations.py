"""Arithmetic of fixed lengths of time and of calendar months."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.durations import Duration, month_middles

MONTHS = st.integers(-12 * 50, 12 * 50).map(lambda month: np.datetime64(month, "M"))
STEPS = st.one_of(
    st.integers(1, 36).map(lambda count: Duration.parse(f"{count}mo")),
    st.sampled_from(["1s", "30min", "6h", "1d", "31d"]).map(Duration.parse),
)


@pytest.mark.parametrize(
    ("month", "middle"),
    [
        ("2001-01", "2001-01-16T12"),
        ("2001-02", "2001-02-15T00"),
        ("2000-02", "2000-02-15T12"),
        ("1900-02", "1900-02-15T00"),  # not a leap year
        ("2001-04", "2001-04-16T00"),
        ("1856-12", "1856-12-16T12"),
    ],
)
def test_the_middle_of_a_month(month, middle):
    found = month_middles(np.array([month], "datetime64[M]"))
    assert found.dtype == "datetime64[ns]"
    assert found[0] == np.datetime64(middle)


def test_months_after_a_time_end_in_the_middle_of_a_month():
    start = np.datetime64("1999-12-16T12", "ns")
    later = Duration.parse("1mo").after(start, np.arange(4))
    stamps = ["1999-12-16T12", "2000-01-16T12", "2000-02-15T12", "2000-03-16T12"]
    np.testing.assert_array_equal(later, np.array(stamps, "datetime64[ns]"))
    assert Duration.parse("3mo").after(start) == later[3]
    assert Duration.parse("12mo").after(later[2]) == np.datetime64("2001-02-15T00")
    assert Duration.parse("12mo").after(later[2], -1) == np.datetime64("1999-02-15T00")


@given(MONTHS, STEPS, st.integers(-60, 60))
def test_a_difference_is_the_number_of_steps_that_were_added(month, step, count):
    start = month_middles(np.array(month))[()]
    assert step.count(start, step.after(start, count)) == count
    assert step.after(step.after(start, count), -count) == start


@given(MONTHS, STEPS, st.integers(1, 50))
def test_successive_times_differ_by_the_step(month, step, times):
    axis = step.after(month_middles(np.array(month))[()], np.arange(times))
    assert (step.differences(axis) == step.length).all()
    assert (np.diff(axis) > np.timedelta64(0)).all()
    np.testing.assert_array_equal(step.count(axis[0], axis), np.arange(times))


@given(STEPS, st.integers(1, 96))
def test_a_multiple_is_read_as_it_is_written(step, count):
    multiple = step * count
    assert Duration.parse(str(multiple)) == multiple
    assert hash(Duration.parse(str(multiple))) == hash(multiple)
    assert multiple.ratio(step) == count


@given(STEPS, STEPS)
def test_only_durations_of_one_kind_have_a_ratio(a, b):
    ratio = a.ratio(b)
    assert (ratio is None) == (a.monthly != b.monthly)
    if ratio is not None and ratio != 1:
        assert (a < b) == (ratio < 1)


def test_a_month_is_longer_than_30_days_and_shorter_than_31():
    assert Duration.parse("30d") < Duration.parse("1mo") < Duration.parse("31d")
    assert Duration.parse("1mo") != Duration.parse("30d")
    assert sorted(map(Duration.parse, ["1mo", "1d", "12mo"]))[0] == Duration.parse("1d")


@pytest.mark.parametrize("text", ["3mo", "3 months", "3month", " 3mo "])
def test_spellings_of_months(text):
    assert Duration.parse(text) == Duration(np.timedelta64(3, "M"))


@pytest.mark.parametrize("text", ["1.5mo", "0mo", "9999mo", "99999999999999999999mo"])
def test_parts_of_months_are_refused(text):
    with pytest.raises(ValueError, match="not a whole number of calendar months from 1 to"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["mo", "-3mo", "3 mos", "m", 3])
def test_other_text_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a "):
        Duration.parse(text)


def test_a_minute_is_no_month():
    assert Duration.parse("3m").length == pd.Timedelta(minutes=3)
