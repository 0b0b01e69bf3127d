"""Time limits as people and batch systems write them."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster.walltime import format_clock, parse_clock, parse_walltime


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90min", 5400),
        ("90 min", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("2 days", 172800),
        ("2d", 172800),
        ("1d 12h", 129600),
        ("02:00:00", 7200),
        ("0:30:00", 1800),
        ("100:00:00", 360000),
        ("1-12:00:00", 129600),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "90", "1.5", "12:00", "1:60:00", "4 parsecs", "-3"])
def test_text_that_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(
        ValueError, match=re.escape(f"{text!r} is not a duration; write for example 2h")
    ):
        parse_walltime(text)


@pytest.mark.parametrize("written", ["12:00", "72:00", "12:00:00", "7200"])
def test_what_yaml_makes_of_a_time_without_quotes_is_refused(written):
    number = yaml.safe_load(written)
    with pytest.raises(ValueError, match=f"^{number} is ambiguous.*72h or '72:00:00' in quotes"):
        parse_walltime(number)


@given(st.integers(0, 10**7))
def test_a_clock_is_read_as_it_was_written(seconds):
    assert parse_walltime(format_clock(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45),
        ("9:30", 570),
        (" 2:00:01\n", 7201),
        ("1-00:00:05", 86405),
        ("1:00:00:05", 86405),
        ("UNLIMITED", None),
        ("1-2", None),
        ("1:00:00:00:00", None),
        ("", None),
    ],
)
def test_clocks_of_batch_systems_are_read(text, seconds):
    assert parse_clock(text) == seconds
