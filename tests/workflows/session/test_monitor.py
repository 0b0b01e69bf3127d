"""What a page is told of a run: rates, times, what is left, from events at known times."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster.dashboard import Shown, Stage, Table
from gfrnn.pipeline.reduction.tasks import Advance
from gfrnn.workflows.session.monitor import RunMonitor


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watching(clock: Clock, *later: str) -> RunMonitor:
    return RunMonitor("europe", "/runs/europe", later, clock=clock)


def follow(
    watch: RunMonitor, clock: Clock, name: str, total: int, *, each: float, rows: float
) -> None:
    """A stage of so many leaves, one after the other."""
    for done in range(total + 1):
        clock.now += each * (done > 0)
        watch(Advance(name, done, total, rows=rows * done, work=1e9 * rows * done, needed=7))


def stage(shown: Shown, name: str) -> Stage:
    (found,) = (each for each in shown.stages if each.name == name)
    return found


def reading(shown: Shown, label: str) -> float | None:
    (found,) = (each.value for each in shown.readings if each.label == label)
    return found


def test_a_steady_stage_has_its_rate_and_what_is_left(clock):
    watch = watching(clock)
    for done in range(5):
        watch(Advance("rows", done, 20, rows=100.0 * done))
        clock.now += 2.0
    shown = watch.shown()
    assert reading(shown, "rows a second") == pytest.approx(50)
    # Sixteen of two seconds each, of which the next has begun two seconds ago.
    assert stage(shown, "rows") == Stage("rows", 4, 20, pytest.approx(10), pytest.approx(30))
    assert reading(shown, "left of this stage") == pytest.approx(30)
    assert [line.value for line in shown.lines] == [pytest.approx(50), None]


def test_the_rate_is_that_of_late(clock):
    watch = watching(clock)
    follow(watch, clock, "rows", 50, each=1.0, rows=10)
    slow = RunMonitor("", "", clock=clock)
    for done in range(101):
        clock.now += 1.0 if done <= 50 else 4.0
        slow(Advance("rows", done, 1000, rows=10.0 * done))
    assert reading(watch.shown(), "rows a second") == pytest.approx(10)
    assert reading(slow.shown(), "rows a second") == pytest.approx(2.5)
    assert reading(slow.shown(), "left of this stage") == pytest.approx(900 * 4)


def test_leaves_that_take_minutes_have_a_rate_too(clock):
    watch = watching(clock)
    for done in range(3):
        watch(Advance("rows", done, 10, rows=6000.0 * done))
        clock.now += 300.0
    assert reading(watch.shown(), "rows a second") == pytest.approx(20)


def test_nothing_is_said_of_what_nobody_knows(clock):
    watch = watching(clock, "forecast")
    shown = watch.shown()
    assert shown.stages == (Stage("forecast", 0, 0),)
    assert reading(shown, "rows a second") is None
    watch(Advance("rows", 0, 5))
    shown = watch.shown()
    assert stage(shown, "rows").left is None
    assert reading(shown, "since the last checkpoint") is None
    assert "left of all" not in [each.label for each in shown.readings]


def test_announced_stages_are_there_in_their_order_and_then_what_follows(clock):
    watch = watching(clock, "forecast", "verify")
    for name, total in (("climatology", 8), ("rows", 9), ("rows", 7), ("solve", 2)):
        watch(Advance(name, 0, total, coming=True))
    names = [(each.name, each.total, each.seconds) for each in watch.shown().stages]
    assert names == [
        ("climatology", 8, None),
        ("rows", 16, None),
        ("solve", 2, None),
        ("forecast", 0, None),
        ("verify", 0, None),
    ]
    watch(Advance("forecast", 0, 3))
    assert [each.name for each in watch.shown().stages][-2:] == ["forecast", "verify"]
    watch.skip("verify")
    assert [each.name for each in watch.shown().stages][-1] == "forecast"


def test_parts_of_one_name_are_one_stage(clock):
    watch = watching(clock)
    for _ in range(2):
        watch(Advance("rows", 0, 4, coming=True))
    follow(watch, clock, "rows", 4, each=1.0, rows=10)
    clock.now += 5.0  # between the parts
    shown = stage(watch.shown(), "rows")
    assert (shown.done, shown.total, shown.seconds) == (4, 8, pytest.approx(4))
    watch(Advance("rows", 0, 4))
    clock.now += 1.0
    watch(Advance("rows", 1, 4, rows=10))
    assert stage(watch.shown(), "rows").done == 5
    follow(watch, clock, "rows", 4, each=1.0, rows=10)
    assert stage(watch.shown(), "rows").left == 0


def test_merges_after_the_last_leaf_do_not_begin_a_stage_anew(clock):
    watch = watching(clock)
    follow(watch, clock, "rows", 3, each=1.0, rows=10)
    clock.now += 1.0
    watch(Advance("rows", 3, 3, rows=30, merging=1, saved=1))
    shown = watch.shown()
    assert stage(shown, "rows") == Stage("rows", 3, 3, pytest.approx(3), 0.0)
    assert reading(shown, "merges waiting") == 1


def test_checkpoints_of_all_stages_count_and_have_an_age(clock):
    watch = watching(clock)
    watch(Advance("eofs", 0, 2))
    watch(Advance("eofs", 2, 2, saved=3))
    watch(Advance("rows", 0, 2))
    watch(Advance("rows", 1, 2, saved=1))
    clock.now += 12.0
    watch(Advance("rows", 2, 2, saved=1))
    shown = watch.shown()
    assert reading(shown, "checkpoints written") == 4
    assert reading(shown, "since the last checkpoint") == pytest.approx(12)


def test_checkpoints_of_the_next_part_come_on_top(clock):
    watch = watching(clock)
    for saved in (2, 1):
        watch(Advance("rows", 0, 3))
        watch(Advance("rows", 3, 3, saved=saved))
    assert reading(watch.shown(), "checkpoints written") == 3


def test_work_is_compared_with_what_a_thread_multiplies(clock):
    watch = watching(clock)
    asked: list[int] = []
    watch.peak = SimpleNamespace(  # type: ignore[assignment]
        rate=20e9, precision="float32", measure=lambda: asked.append(1)
    )
    follow(watch, clock, "rows", 10, each=0.5, rows=5)
    (share,) = (each for each in watch.shown().readings if each.unit == "%")
    assert share.label == "of the machine's sgemm rate"
    assert share.value == pytest.approx(10e9)
    assert share.of_thread == 20e9
    assert asked == [1]  # once, when work begins


def test_the_rate_of_products_is_not_measured_for_nothing(clock):
    watch = watching(clock)
    watch.peak = SimpleNamespace(rate=None, precision="float64", measure=pytest.fail)  # type: ignore
    watch(Advance("rows", 0, 10, coming=True))
    watch(Advance("rows", 0, 10, needed=5))
    watch(Advance("forecast", 0, 3))
    assert watch.shown().readings[1].value is None


def test_the_last_stage_says_when_all_is_done(clock):
    watch = watching(clock, "verify")
    follow(watch, clock, "rows", 2, each=1.0, rows=1)
    assert "left of all" not in [each.label for each in watch.shown().readings]
    watch(Advance("verify", 0, 4))
    clock.now += 3.0
    watch(Advance("verify", 1, 4))
    assert reading(watch.shown(), "left of all") == pytest.approx(9)


def test_who_shows_and_who_prints_is_told_of_every_advance(clock):
    printed: list[Advance] = []
    watch = RunMonitor("europe", "", screen=printed.append, clock=clock)
    changes: list[int] = []
    watch.changed = lambda: changes.append(1)
    watch(Advance("rows", 0, 2))
    watch.show_table(Table("RMSE", ("system", "+1d"), (("forecast", "1.0"),)))
    assert printed == [Advance("rows", 0, 2)]
    assert len(changes) == 2
    assert watch.shown().table == Table("RMSE", ("system", "+1d"), (("forecast", "1.0"),))


@given(st.lists(st.floats(0.0, 500.0), min_size=1, max_size=60), st.integers(1, 3))
def test_numbers_are_sound_whenever_leaves_arrive(waits, parts):
    clock = Clock()
    watch = watching(clock)
    for _ in range(parts):
        watch(Advance("rows", 0, len(waits)))
        for done, wait in enumerate(waits, 1):
            clock.now += wait
            watch(Advance("rows", done, len(waits), rows=float(done)))
            shown = watch.shown()
            (only,) = shown.stages
            assert 0 < only.done <= only.total
            assert only.left is None or only.left >= 0
            assert (reading(shown, "rows a second") or 1.0) > 0
    assert only.done == only.total == parts * len(waits)
    assert only.left == 0
    assert only.seconds == pytest.approx(parts * sum(waits))
