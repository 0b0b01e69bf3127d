"""Test durations and sizes in bytes in readable units."""

from __future__ import annotations

import pytest

from gfrnn.cluster.human_units import human_bytes, human_duration


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (100, "100 B"), (2**20, "1.00 MiB"), (1.5 * 2**30, "1.50 GiB"), (2**42, "4.00 TiB")],
)
def test_bytes_have_binary_units(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0.02, "0.0 s"),
        (3.04, "3.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 0s"),
        (599.6, "10m 0s"),
        (600, "10m 0s"),
        (2028, "33m 48s"),
        (9000, "2hr 30m"),
        (216_000, "2d 12hr"),
    ],
)
def test_durations_have_the_units_that_suit_them(seconds, text):
    assert human_duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(59.4, "59 s"), (59.6, "1m 0s"), (599.4, "9m 59s")])
def test_durations_may_be_whole_seconds(seconds, text):
    assert human_duration(seconds, 0) == text
