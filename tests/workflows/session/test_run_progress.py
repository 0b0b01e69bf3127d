"""Test the progress of a run: rates, times and estimates from reports at known times."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster.dashboard import ResultTable, RunSnapshot, StageSnapshot
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.session.run_progress import RunProgress


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(clock: Clock, *later: str) -> RunProgress:
    return RunProgress("europe", "/runs/europe", later, clock=clock)


def follow(
    progress: RunProgress, clock: Clock, name: str, total: int, *, each: float, rows: float
) -> None:
    """Report a stage of `total` leaves, one after the other."""
    for done in range(total + 1):
        clock.now += each * (done > 0)
        progress(
            ProgressUpdate(
                name, done, total, rows=rows * done, work=1e9 * rows * done, task_bytes=7
            )
        )


def stage(snapshot: RunSnapshot, name: str) -> StageSnapshot:
    (found,) = (each for each in snapshot.stages if each.name == name)
    return found


def metric(snapshot: RunSnapshot, label: str) -> float | None:
    (found,) = (each.value for each in snapshot.metrics if each.label == label)
    return found


def test_a_steady_stage_has_a_rate_and_an_estimate(clock):
    progress = started(clock)
    for done in range(5):
        progress(ProgressUpdate("rows", done, 20, rows=100.0 * done))
        clock.now += 2.0
    snapshot = progress.snapshot()
    assert metric(snapshot, "rows a second") == pytest.approx(50)
    # Sixteen leaves of two seconds each remain; the next one started two seconds ago.
    assert stage(snapshot, "rows") == StageSnapshot(
        "rows", 4, 20, pytest.approx(10), pytest.approx(30)
    )
    assert metric(snapshot, "left of this stage") == pytest.approx(30)
    assert [line.value for line in snapshot.lines] == [pytest.approx(50), None]


def test_the_rate_is_the_recent_one(clock):
    progress = started(clock)
    follow(progress, clock, "rows", 50, each=1.0, rows=10)
    slow = RunProgress("", "", clock=clock)
    for done in range(101):
        clock.now += 1.0 if done <= 50 else 4.0
        slow(ProgressUpdate("rows", done, 1000, rows=10.0 * done))
    assert metric(progress.snapshot(), "rows a second") == pytest.approx(10)
    assert metric(slow.snapshot(), "rows a second") == pytest.approx(2.5)
    assert metric(slow.snapshot(), "left of this stage") == pytest.approx(900 * 4)


def test_leaves_that_take_minutes_have_a_rate_too(clock):
    progress = started(clock)
    for done in range(3):
        progress(ProgressUpdate("rows", done, 10, rows=6000.0 * done))
        clock.now += 300.0
    assert metric(progress.snapshot(), "rows a second") == pytest.approx(20)


def test_unknown_numbers_are_none(clock):
    progress = started(clock, "forecast")
    snapshot = progress.snapshot()
    assert snapshot.stages == (StageSnapshot("forecast", 0, 0),)
    assert metric(snapshot, "rows a second") is None
    progress(ProgressUpdate("rows", 0, 5))
    snapshot = progress.snapshot()
    assert stage(snapshot, "rows").left is None
    assert metric(snapshot, "since the last checkpoint") is None
    assert "left of all" not in [each.label for each in snapshot.metrics]


def test_announced_stages_come_in_order_before_later_ones(clock):
    progress = started(clock, "forecast", "verify")
    for name, total in (("climatology", 8), ("rows", 9), ("rows", 7), ("solve", 2)):
        progress(ProgressUpdate(name, 0, total, announced=True))
    names = [(each.name, each.total, each.seconds) for each in progress.snapshot().stages]
    assert names == [
        ("climatology", 8, None),
        ("rows", 16, None),
        ("solve", 2, None),
        ("forecast", 0, None),
        ("verify", 0, None),
    ]
    progress(ProgressUpdate("forecast", 0, 3))
    assert [each.name for each in progress.snapshot().stages][-2:] == ["forecast", "verify"]
    progress.skip("verify")
    assert [each.name for each in progress.snapshot().stages][-1] == "forecast"


def test_parts_of_one_name_are_one_stage(clock):
    progress = started(clock)
    for _ in range(2):
        progress(ProgressUpdate("rows", 0, 4, announced=True))
    follow(progress, clock, "rows", 4, each=1.0, rows=10)
    clock.now += 5.0  # between the parts
    snapshot = stage(progress.snapshot(), "rows")
    assert (snapshot.done, snapshot.total, snapshot.seconds) == (4, 8, pytest.approx(4))
    progress(ProgressUpdate("rows", 0, 4))
    clock.now += 1.0
    progress(ProgressUpdate("rows", 1, 4, rows=10))
    assert stage(progress.snapshot(), "rows").done == 5
    follow(progress, clock, "rows", 4, each=1.0, rows=10)
    assert stage(progress.snapshot(), "rows").left == 0


def test_merges_after_the_last_leaf_do_not_restart_a_stage(clock):
    progress = started(clock)
    follow(progress, clock, "rows", 3, each=1.0, rows=10)
    clock.now += 1.0
    progress(ProgressUpdate("rows", 3, 3, rows=30, pending_merges=1, saved=1))
    snapshot = progress.snapshot()
    assert stage(snapshot, "rows") == StageSnapshot("rows", 3, 3, pytest.approx(3), 0.0)
    assert metric(snapshot, "merges waiting") == 1


def test_checkpoints_of_all_stages_count_and_have_an_age(clock):
    progress = started(clock)
    progress(ProgressUpdate("eofs", 0, 2))
    progress(ProgressUpdate("eofs", 2, 2, saved=3))
    progress(ProgressUpdate("rows", 0, 2))
    progress(ProgressUpdate("rows", 1, 2, saved=1))
    clock.now += 12.0
    progress(ProgressUpdate("rows", 2, 2, saved=1))
    snapshot = progress.snapshot()
    assert metric(snapshot, "checkpoints written") == 4
    assert metric(snapshot, "since the last checkpoint") == pytest.approx(12)


def test_checkpoints_of_parts_add_up(clock):
    progress = started(clock)
    for saved in (2, 1):
        progress(ProgressUpdate("rows", 0, 3))
        progress(ProgressUpdate("rows", 3, 3, saved=saved))
    assert metric(progress.snapshot(), "checkpoints written") == 3


def test_operations_are_compared_with_matrix_products(clock):
    progress = started(clock)
    measured: list[int] = []
    progress.peak = SimpleNamespace(  # type: ignore[assignment]
        rate=20e9, precision="float32", measure=lambda: measured.append(1)
    )
    follow(progress, clock, "rows", 10, each=0.5, rows=5)
    (share,) = (each for each in progress.snapshot().metrics if each.unit == "%")
    assert share.label == "of the machine's sgemm rate"
    assert share.value == pytest.approx(10e9)
    assert share.of_thread == 20e9
    assert measured == [1]  # once, when work begins


def test_matrix_products_are_measured_only_once_work_starts(clock):
    progress = started(clock)
    progress.peak = SimpleNamespace(rate=None, precision="float64", measure=pytest.fail)  # type: ignore
    progress(ProgressUpdate("rows", 0, 10, announced=True))
    progress(ProgressUpdate("rows", 0, 10, task_bytes=5))
    progress(ProgressUpdate("forecast", 0, 3))
    assert progress.snapshot().metrics[1].value is None


def test_the_last_stage_gives_the_estimate_for_all(clock):
    progress = started(clock, "verify")
    follow(progress, clock, "rows", 2, each=1.0, rows=1)
    assert "left of all" not in [each.label for each in progress.snapshot().metrics]
    progress(ProgressUpdate("verify", 0, 4))
    clock.now += 3.0
    progress(ProgressUpdate("verify", 1, 4))
    assert metric(progress.snapshot(), "left of all") == pytest.approx(9)


def test_display_and_page_get_every_report(clock):
    printed: list[ProgressUpdate] = []
    progress = RunProgress("europe", "", display=printed.append, clock=clock)
    changes: list[int] = []
    progress.changed = lambda: changes.append(1)
    progress(ProgressUpdate("rows", 0, 2))
    progress.show_table(ResultTable("RMSE", ("system", "+1d"), (("forecast", "1.0"),)))
    assert printed == [ProgressUpdate("rows", 0, 2)]
    assert len(changes) == 2
    assert progress.snapshot().table == ResultTable(
        "RMSE", ("system", "+1d"), (("forecast", "1.0"),)
    )


@given(st.lists(st.floats(0.0, 500.0), min_size=1, max_size=60), st.integers(1, 3))
def test_numbers_are_consistent_for_any_arrival_of_leaves(waits, parts):
    clock = Clock()
    progress = started(clock)
    for _ in range(parts):
        progress(ProgressUpdate("rows", 0, len(waits)))
        for done, wait in enumerate(waits, 1):
            clock.now += wait
            progress(ProgressUpdate("rows", done, len(waits), rows=float(done)))
            snapshot = progress.snapshot()
            (only,) = snapshot.stages
            assert 0 < only.done <= only.total
            assert only.left is None or only.left >= 0
            assert (metric(snapshot, "rows a second") or 1.0) > 0
    assert only.done == only.total == parts * len(waits)
    assert only.left == 0
    assert only.seconds == pytest.approx(parts * sum(waits))


def test_leaves_that_were_found_on_disk_tell_of_no_time(clock):
    progress = started(clock)
    progress(ProgressUpdate("rows", 0, 1000))
    progress(ProgressUpdate("rows", 900, 1000, found=900))
    for done in range(901, 904):
        clock.now += 10.0
        progress(ProgressUpdate("rows", done, 1000, found=900))
    assert stage(progress.snapshot(), "rows").left == pytest.approx(970)


def test_a_stage_that_takes_longer_than_it_should_is_not_done(clock):
    progress = started(clock)
    for done in range(100):
        clock.now += 1.0
        progress(ProgressUpdate("rows", done, 100))
    clock.now += 5.0
    assert stage(progress.snapshot(), "rows").left is None
