"""Folds, gaps and leaves, compared with a plain loop over all times."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import PeriodsConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.stretches import (
    check_periods,
    folds,
    known_times,
    leaf_length,
    read_stretches,
    row_stretches,
    split,
    steps,
)
from gfrnn_testing.reduction_toys import period

cases = settings(max_examples=60)
HOUR = np.timedelta64(1, "h")


@st.composite
def axes(draw: st.DrawFn) -> np.ndarray:
    """Draw six-hourly or daily times around a change of year, with up to four gaps."""
    step = draw(st.sampled_from([6, 24]))
    count = draw(st.integers(30, 90))
    keep = np.ones(count, dtype=bool)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(3, count - 1))
        keep[start : start + draw(st.integers(1, 4))] = False
    days = draw(st.integers(1, 10))
    start = np.datetime64("2004-01-01T00", "ns") - days * 24 * HOUR
    return (start + step * HOUR * np.arange(count))[keep]


def follows(time: np.ndarray, step: np.timedelta64) -> np.ndarray:
    """Return whether each time is one step after the one before it."""
    return np.diff(time, prepend=time[:1]) == step


def the_step(time: np.ndarray) -> np.timedelta64:
    steps, counts = np.unique(np.diff(time), return_counts=True)
    return steps[counts.argmax()]


def middle(time: np.ndarray, low: int, high: int):
    """Return a period from one time to another, by their indices."""
    low, high = sorted((low % len(time), high % len(time)))
    return period(pd.Timestamp(time[low]), pd.Timestamp(time[high]))


@cases
@given(axes(), st.integers(0, 99), st.integers(0, 99))
def test_folds_are_gapless_one_year_each_and_complete(time, low, high):
    chosen = middle(time, low, high)
    pieces = folds(time, chosen, "train")
    covered = np.concatenate([np.arange(p.start, p.stop) for p in pieces])
    np.testing.assert_array_equal(covered, np.flatnonzero(chosen.mask(time)))
    years = pd.DatetimeIndex(time).year
    for piece in pieces:
        inside = np.arange(piece.start, piece.stop)
        assert follows(time, the_step(time))[inside[1:]].all()
        assert {f"train/{year}" for year in years[inside]} == {piece.fold}


@cases
@given(
    axes(),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 12),
)
def test_rows_need_all_their_states_and_targets(time, low, high, delays, reach, length):
    chosen = middle(time, low, high)
    before = period("2000-01-01", pd.Timestamp(time[low % len(time)]))
    known = known_times(time, chosen, before)
    pieces = row_stretches(time, chosen, "train", known, delays=delays, reach=reach, length=length)
    step, inside = the_step(time), chosen.mask(time)
    expected = [
        present
        for present in range(delays - 1, len(time) - reach)
        if time[present + reach] - time[present - delays + 1] == (delays - 1 + reach) * step
        and follows(time, step)[present - delays + 2 : present + reach + 1].all()
        and known[present - delays + 1 : present + 1].all()
        and inside[present + 1 : present + reach + 1].all()
    ]
    rows = [row for piece in pieces for row in range(piece.start, piece.stop)]
    assert sorted(rows) == expected
    years = pd.DatetimeIndex(time).year
    for piece in pieces:
        assert 0 < piece.stop - piece.start <= length
        targets = np.arange(piece.start, piece.stop) + 1
        assert {f"train/{year}" for year in years[targets]} == {piece.fold}
    assert pieces == sorted(pieces, key=lambda piece: (piece.fold, piece.start))


def test_a_row_may_start_before_its_period_and_never_ends_after_it():
    time = pd.date_range("2001-01-01", periods=20, freq="D").to_numpy()
    train, validation = period("2001-01-01", "2001-01-10"), period("2001-01-11", "2001-01-20")
    known = known_times(time, train, validation)
    options = {"delays": 2, "reach": 3, "length": 99}
    # The last row of the first ten times has its third target at the tenth.
    assert row_stretches(time, train, "t", known, **options) == [Stretch("t/2001", 1, 7)]
    assert row_stretches(time, validation, "v", known, **options) == [Stretch("v/2001", 9, 17)]
    alone = known_times(time, validation)
    assert row_stretches(time, validation, "v", alone, **options) == [Stretch("v/2001", 11, 17)]


@cases
@given(axes(), st.integers(1, 3), st.integers(1, 6), st.integers(1, 20))
def test_no_two_years_share_a_target_where_rows_keep_within_years(time, delays, reach, length):
    everything = period(pd.Timestamp(time[0]), pd.Timestamp(time[-1]))
    options = {"delays": delays, "reach": reach, "length": length}
    known = known_times(time, everything)
    whole, within = (
        row_stretches(time, everything, "t", known, **options, within_years=each)
        for each in (False, True)
    )
    years = pd.DatetimeIndex(time).year
    targets: dict[str, set[int]] = {}
    for piece in within:
        for present in range(piece.start, piece.stop):
            aims = range(present + 1, present + reach + 1)
            assert {f"t/{years[aim]}" for aim in aims} == {piece.fold}
            targets.setdefault(piece.fold, set()).update(aims)
    for one, other in itertools.combinations(targets.values(), 2):
        assert not one & other
    # Only rows across a change of year are left out.
    kept = {present for piece in within for present in range(piece.start, piece.stop)}
    for piece in whole:
        for present in range(piece.start, piece.stop):
            assert (present in kept) == (years[present + 1] == years[present + reach])


def test_a_row_across_a_change_of_year_belongs_to_its_first_target_or_to_none():
    time = pd.date_range("2000-12-25", periods=14, freq="D").to_numpy()
    everything = period("2000-12-25", "2001-01-07")
    known = known_times(time, everything)
    options = {"delays": 1, "reach": 3, "length": 99}
    assert row_stretches(time, everything, "t", known, **options) == [
        Stretch("t/2000", 0, 6),
        Stretch("t/2001", 6, 11),
    ]
    assert row_stretches(time, everything, "t", known, **options, within_years=True) == [
        Stretch("t/2000", 0, 4),  # the last target is 31 December
        Stretch("t/2001", 6, 11),  # the first is 1 January
    ]


def test_a_gap_removes_the_rows_around_it():
    whole = pd.date_range("2001-01-01", periods=20, freq="D").to_numpy()
    time = np.delete(whole, 10)
    everything = period("2001-01-01", "2001-01-20")
    known = known_times(time, everything)
    pieces = row_stretches(time, everything, "t", known, delays=2, reach=2, length=99)
    assert pieces == [Stretch("t/2001", 1, 8), Stretch("t/2001", 11, 17)]


@pytest.mark.parametrize(("count", "delays", "reach"), [(3, 2, 2), (1, 1, 1), (2, 3, 1)])
def test_a_segment_too_short_gives_no_row(count, delays, reach):
    time = pd.date_range("2001-01-01", periods=count, freq="D").to_numpy()
    everything = period("2001-01-01", "2001-12-31")
    known = known_times(time, everything)
    options = {"delays": delays, "reach": reach, "length": 9}
    assert row_stretches(time, everything, "t", known, **options) == []


# --- splitting ----------------------------------------------------------------------------------


@cases
@given(
    st.integers(0, 40),
    st.integers(1, 100),
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 11),
)
def test_splits_lie_on_borders_of_chunks(start, size, length, grain, phase):
    if grain > length:
        grain = 1
    whole = Stretch("a", start, start + size)
    pieces = split(whole, length, grain, phase % grain)
    assert pieces[0].start == start
    assert pieces[-1].stop == start + size
    assert all(a.stop == b.start for a, b in itertools.pairwise(pieces))
    assert all(0 < p.stop - p.start <= length and p.fold == "a" for p in pieces)
    assert all((p.start - phase) % grain == 0 for p in pieces[1:])
    # No more pieces than needed, and none between the ends is shorter than another.
    usable = length // grain * grain
    assert len(pieces) == -(-(size + (start - phase) % grain) // usable)
    assert len({p.stop - p.start for p in pieces[1:-1]}) <= 1
    if grain == 1 and len(pieces) > 1:
        lengths = [p.stop - p.start for p in pieces]
        assert max(lengths) - min(lengths) < len(pieces)


def test_known_splits():
    def cuts(*arguments: int) -> list[int]:
        return [p.start for p in split(Stretch("a", 5, 20), *arguments)]

    assert cuts(100) == [5]
    assert cuts(15) == [5]
    assert cuts(14) == [5, 13]
    assert cuts(6) == [5, 10, 15]
    assert split(Stretch("a", 5, 5), 4) == []
    assert cuts(4, 4) == [5, 8, 12, 16]
    assert cuts(9, 4) == [5, 12]
    assert cuts(4, 4, 2) == [5, 6, 10, 14, 18]


@cases
@given(axes(), st.integers(1, 20), st.integers(1, 8), st.integers(0, 7), st.booleans())
def test_reads_cover_the_period_once_in_order(time, chunk, grain, phase, budget):
    everything = period(pd.Timestamp(time[0]), pd.Timestamp(time[-1]))
    columns = 2**23 // chunk  # such that the budget of 64 MiB is as many times as the chunk
    pieces = read_stretches(
        time,
        everything,
        "train",
        columns=columns if budget else 1,
        chunk=None if budget else chunk,
        grain=grain,
        phase=phase,
    )
    usual = 2**23 // columns if budget else chunk
    length = max(usual, min(grain, 4 * usual)) if budget else chunk
    assert [i for p in pieces for i in range(p.start, p.stop)] == list(range(len(time)))
    assert all(p.stop - p.start <= length for p in pieces)
    firsts = {p.start for p in folds(time, everything, "train")}
    if grain <= length:
        assert all((p.start - phase) % grain == 0 for p in pieces if p.start not in firsts)
    assert {p.fold for p in pieces} == {p.fold for p in folds(time, everything, "train")}


def test_leaves_grow_with_the_chunks_of_the_store_up_to_a_bound():
    columns = 2**23 // 10  # ten times are 64 MiB
    assert [leaf_length(columns, None, grain) for grain in (1, 10, 25, 40, 1000)] == [
        10, 10, 25, 40, 40]  # fmt: skip
    assert leaf_length(columns, 7, 1000) == 7
    assert leaf_length(10**9, None) == 1


# --- periods and steps --------------------------------------------------------------------------


def test_steps_of_a_duration():
    six = Duration.parse("6h")
    assert steps("k", Duration.parse("1d"), six) == 4
    assert steps("k", Duration.parse("6h"), six) == 1
    with pytest.raises(ConfigError, match=r"^model\.leads: 9h .* step, 6h; choose a multiple"):
        steps("model.leads", Duration.parse("9h"), six)
    with pytest.raises(ConfigError):
        steps("k", Duration.parse("3h"), six)
    month = Duration.parse("1mo")
    assert steps("k", Duration.parse("12mo"), month) == 12
    with pytest.raises(
        ConfigError, match=r"k: 10d has a fixed length, but .*, 1mo, is in calendar months.*3mo"
    ):
        steps("k", Duration.parse("10d"), month)
    with pytest.raises(ConfigError, match=r"k: 1mo is in calendar months, but .*, 6h, has a fixed"):
        steps("k", month, six)
    with pytest.raises(ConfigError, match=r"k: 4mo is not a multiple of the data's step, 3mo"):
        steps("k", Duration.parse("4mo"), Duration.parse("3mo"))


def periods(train: tuple[str, str], test: tuple[str, str]) -> PeriodsConfig:
    return PeriodsConfig(
        train=period(*train), validation=period("2001-03-01", "2001-03-31"), test=period(*test)
    )


def test_periods_within_the_data_pass():
    time = pd.date_range("2001-01-01T12", "2001-12-31T12", freq="D").to_numpy()
    check_periods(time, periods(("2001-01-01", "2001-02-28"), ("2001-04-01", "2001-12-31")))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            ("2000-12-31", "2001-02-28"),
            ("2001-04-01", "2001-05-01"),
            r"periods\.train: 2000-12-31\.\.2001-02-28 is not within the data, which go from "
            r"2001-01-01T00:00 to 2001-12-31T00:00; choose",
        ),
        (
            ("2001-01-01", "2001-02-28"),
            ("2001-04-01", "2002-01-01"),
            r"periods\.test: .* is not within the data",
        ),
        (
            ("2001-01-01", "2001-02-28"),
            ("2001-06-10", "2001-06-12"),
            r"periods\.test: .* contains no time of the data.*choose a longer period",
        ),
    ],
)
def test_periods_outside_the_data_are_refused(train, test, message):
    time = pd.date_range("2001-01-01", "2001-12-31", freq="D")
    time = time[(time < "2001-06-05") | (time > "2001-06-20")].to_numpy()
    with pytest.raises(ConfigError, match=message):
        check_periods(time, periods(train, test))
