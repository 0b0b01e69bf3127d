"""Times of tasks: that they come from real leaves and merges, and how they are scaled."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.planning import task_times, timed_solves
from gfrnn.pipeline.planning.fit_estimate import Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.planning.task_times import TaskTimer, TaskTimes, time_reduction
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import ClimatologySummary
from gfrnn.pipeline.training.pass_costs import NO_READS, RidgeSolve, reduction_cost
from gfrnn.pipeline.training.rows import SharedRows
from gfrnn.pipeline.training.zonal.zonal_solve import ZonalSolve
from gfrnn_testing.fixed_times import rates_of
from gfrnn_testing.reduction_toys import cut, row_summary
from gfrnn_testing.weather import experiment, make_weather


def work_for(seconds: float) -> None:
    """Use the processor for some seconds."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@dataclass(frozen=True)
class Slow:
    """A summary whose leaf takes the same for each time, and whose result grows to a limit.

    Attributes
    ----------
    each, merging : float
        Seconds of a leaf for each time, and of a merge for each value of a side.
    most : int
        Largest number of values of a result.
    lengths : list of int
        Times of each leaf that was computed.
    """

    each: float = 1e-4
    merging: float = 1e-3
    most: int = 8
    lengths: list[int] = field(default_factory=list)
    name: str = "slow"
    remedy: str = "nothing"

    def leaf(self, stretch):
        times = stretch.stop - stretch.start
        self.lengths.append(times)
        work_for(self.each * times)
        return {"values": np.zeros(2)}

    def merge(self, left, right):
        work_for(self.merging * len(left["values"]))
        return {"values": np.zeros(min(2 * len(left["values"]), self.most))}

    def leaf_bytes(self, stretch):
        return 8 * (stretch.stop - stretch.start)

    def merge_bytes(self):
        return 8

    def result_bytes(self, times):
        return 8

    def leaf_rows(self, times):
        return float(times)


def test_a_leaf_and_the_merges_of_a_tree_are_timed():
    found = time_reduction(Slow(), Stretch("a", 0, 500))
    assert found.leaf(500) == pytest.approx(0.05, rel=0.3)
    assert found.leaf(250) == pytest.approx(0.025, rel=0.3)
    # Sides of 2, 4 and 8 values; from then on results do not grow.
    assert found.merges == pytest.approx((2e-3, 4e-3, 8e-3), rel=0.5)
    assert found.merge(7) == found.merges[-1]


def test_a_leaf_that_takes_long_is_timed_in_part():
    slow = Slow(each=0.05, merging=0.0)
    found = time_reduction(slow, Stretch("a", 0, 10_000))
    assert max(slow.lengths) < 100
    assert found.leaf(10_000) == pytest.approx(500, rel=0.2)


def test_a_leaf_that_needs_much_memory_is_timed_in_part(monkeypatch):
    monkeypatch.setattr(task_times, "_LEAF_BYTES", 8 * 70)
    slow = Slow(each=1e-5, merging=0.0)
    time_reduction(slow, Stretch("a", 0, 10_000))
    assert max(slow.lengths) == 70


def test_tasks_of_equal_sizes_are_timed_once():
    first, second = Slow(), Slow()
    timer, stretches = TaskTimer(), cut(40, 10)
    costs = [reduction_cost(each, stretches, NO_READS) for each in (first, second)]
    one, other = timer.times(costs)
    assert one == other
    assert first.lengths
    assert not second.lengths
    assert timer.times(costs) == [one, other]


def test_leaves_lie_on_lines_through_the_timed_ones():
    found = TaskTimes(((10.0, 2.0), (20.0, 6.0)))
    seconds = [found.leaf(size) for size in (0, 5, 10, 15, 20, 30)]
    assert seconds == pytest.approx([0, 1, 2, 4, 6, 10])
    assert TaskTimes().leaf(5) == TaskTimes().merge(0) == 0


def analytic(rows, sample):
    """Return times of a leaf in proportion to its rows and the squares of its columns."""
    size = sample.stop - sample.start
    return TaskTimes(((size, size * rows.columns**2),), (rows.columns**2,))


def test_rows_of_many_candidates_are_interpolated_between_some(tmp_path, monkeypatch):
    timed = []

    def time_rows(rows, sample):
        timed.append(rows.columns)
        return analytic(rows, sample)

    monkeypatch.setattr(task_times, "time_reduction", time_rows)
    summaries = []
    for width in range(10, 80, 10):
        (tmp_path / f"{width}").mkdir()
        summaries.append(row_summary(tmp_path / f"{width}", 100, width=width))
    costs = [reduction_cost(rows, cut(90, 30), NO_READS) for rows in summaries]
    found = TaskTimer().times(costs)
    assert len(timed) == task_times._TIMED_COLUMNS
    assert {summaries[0].columns, summaries[-1].columns} < set(timed)
    for rows, times in zip(summaries, found, strict=True):
        assert times.leaf(30) == pytest.approx(30 * rows.columns**2)
        assert times.merge(0) == pytest.approx(rows.columns**2)


def test_states_are_read_once_for_candidates_that_share_a_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(task_times, "time_reduction", analytic)
    monkeypatch.setattr(task_times, "_time_reading", lambda *_: TaskTimes(((1.0, 7.0),)))
    (tmp_path / "b").mkdir()
    rows = row_summary(tmp_path, 100), row_summary(tmp_path / "b", 100, width=50)
    shared = SharedRows((rows[0], rows[0], rows[1]))
    (found,) = TaskTimer().times([reduction_cost(shared, cut(60, 20), NO_READS)])
    squares = 2 * rows[0].columns ** 2 + rows[1].columns ** 2
    assert found.leaf(20) == pytest.approx(20 * squares - 2 * 20 * 7.0)
    assert found.merge(3) == pytest.approx(squares)


def test_the_leaves_of_a_plan_are_those_of_a_fit(tmp_path, monkeypatch):
    config = experiment(make_weather(tmp_path / "store.zarr").path, data={"chunk": 50})
    arguments = config, open_source(config.data), Workforce(), rates_of(reading=1e12)
    leaf, wasted = ClimatologySummary.leaf, 0.2
    before = plan_fit(*arguments).stages[0]

    def slow_leaf(summary, stretch):
        work_for(wasted * (stretch.stop - stretch.start) / 50)
        return leaf(summary, stretch)

    monkeypatch.setattr(ClimatologySummary, "leaf", slow_leaf)
    after = plan_fit(*arguments).stages[0]
    # 455 days of training.
    assert after.seconds - before.seconds == pytest.approx(wasted * 455 / 50, rel=0.3)


def test_wide_solves_are_timed_with_fewer_columns(tmp_path, monkeypatch):
    seen = {}

    def select(network, train, validation, **settings):
        seen.update(settings, folds=len(train), columns=validation.columns, width=network.width)

    monkeypatch.setattr(timed_solves, "select_ridge_and_width", select)
    monkeypatch.setattr(timed_solves, "_COLUMNS", 40)
    rows = row_summary(tmp_path, 200, width=150)
    fit = FitConfig(widths=[75, 150])
    assert timed_solves.ridge_solve_seconds(RidgeSolve(rows, fit, targets=3, folds=5)) > 0
    assert seen["folds"] == 5
    assert 40 <= seen["columns"] < 50
    assert seen["widths"][1] == pytest.approx(2 * seen["widths"][0], abs=1)
    assert seen["width"] >= max(seen["widths"])
    assert (list(seen["ridges"]), list(seen["balances"])) == (list(fit.ridge), list(fit.balance))


def test_solves_of_networks_of_all_kinds_are_timed(tmp_path):
    rows = row_summary(tmp_path, 200)
    bare = replace(rows, network=rows.network.narrowed(0))
    for each in (rows, bare):
        solve = RidgeSolve(each, FitConfig(), targets=3, folds=2)
        assert timed_solves.ridge_solve_seconds(solve) > 0
    zonal = ZonalSolve(np.array([[9, 12], [5, 6]]), np.array([12, 16]), 3, FitConfig().ridge)
    assert zonal.sizes == [12**3, 16**3]
    assert timed_solves.zonal_solve_seconds(zonal) > 0


@dataclass(frozen=True)
class Rollouts(Slow):
    """Rollouts whose reading takes as long as ten leads."""

    leads: int = 50
    block: int = 50

    def leaf(self, stretch):
        work_for(self.each * (10 + self.leads))
        return {"values": np.zeros(2)}


def test_rollouts_of_few_leads_are_scaled_to_all(monkeypatch):
    monkeypatch.setattr(task_times, "RolloutSummary", Rollouts)
    monkeypatch.setattr(
        task_times, "synthetic_summary", lambda summary, _: replace(summary, leads=6, block=6)
    )
    found = time_reduction(Rollouts(each=2e-3, merging=0.0), Stretch("a", 0, 1))
    assert found.leaf(1) == pytest.approx(60 * 2e-3, rel=0.2)
