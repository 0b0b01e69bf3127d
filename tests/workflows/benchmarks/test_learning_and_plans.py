"""Test that benchmarks of learning and plans run and print measurements, whatever the speed."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.benchmarks import era5_plan, round_timing
from gfrnn.workflows.benchmarks import perturbation_speed as perturbation
from gfrnn.workflows.benchmarks import plan_accuracy as plan
from gfrnn.workflows.benchmarks.benchmark_tables import plain_table
from gfrnn.workflows.benchmarks.era5_plan import make_metadata
from gfrnn.workflows.benchmarks.plan_accuracy import make_archive
from gfrnn.workflows.commands.main import app

runner = CliRunner()


def test_every_function_is_timed_for_every_size():
    table = perturbation.run([4, 8], rounds=1)
    assert [column.header for column in table.columns] == [
        "hidden units", "what", "seconds", "of PyTorch's passes",
    ]  # fmt: skip
    units, what, *_ = (list(column.cells) for column in table.columns)
    # Two lines for each size without PyTorch, three with it.
    each = len(units) // 2
    assert units == ["4"] * each + ["8"] * each
    assert what[:each] == what[each:]
    assert what[each - 2 : each] == [
        "learning, updates every 250 steps", "learning, updates every 50 steps",
    ]  # fmt: skip


def test_seconds_are_those_of_an_epoch_and_ratios_those_to_pytorch():
    table = plain_table("", "units", "what", "seconds", "ratio", text=("what",))
    # 1,000 steps are measured, an epoch has 5,000.
    perturbation.add_rows(table, 7, {perturbation.PYTORCH: 0.2, "learning": 0.5})
    perturbation.add_rows(table, 8, {"learning": 0.5})
    assert [list(column.cells) for column in table.columns] == [
        ["7", "7", "8"],
        [perturbation.PYTORCH, "learning", "learning"],
        ["1.00", "2.50", "2.50"],
        ["1.00", "2.50", "PyTorch is not installed"],
    ]


def test_the_least_of_all_rounds_counts():
    calls = []
    # Seconds between the two readings of the clock around each call.
    clock = iter(np.cumsum([0, 5, 0, 2, 0, 3, 0, 4, 0, 9, 0, 1]).astype(float))
    least = round_timing.least_seconds(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        clock=lambda: next(clock),
    )
    # One call of each before the rounds, then in turn.
    assert calls == ["a", "b"] * 4
    assert least == {"a": 3.0, "b": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "perturbation", "--sizes", "0"], "'0' is not a list of positive integers"),
        (["bench", "perturbation", "--sizes", "a,1"], "'a,1' is not a list"),
        (["bench", "plan", "--sizes", "-1"], "'-1' is not a list"),
        (["bench", "scale", "--sizes", ""], "'' is not a list"),
    ],
)
def test_mistakes_are_named(arguments, message):
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)
    assert re.search(re.escape(message), str(result.exception))


def test_the_command_prints_the_table():
    result = runner.invoke(app, ["bench", "perturbation", "--sizes", "3", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert "250 steps" in result.output


@pytest.mark.slow
@pytest.mark.cluster
def test_every_stage_is_planned_and_measured(monkeypatch):
    monkeypatch.setattr(plan, "LEAVES", 20)
    monkeypatch.setattr(
        plan, "make_archive", lambda path: make_archive(path, years=2, shape=(6, 12))
    )
    table = plan.run([30], rounds=1)
    layout, width, stage, planned, measured, _ = (list(column.cells) for column in table.columns)
    found = list(zip(layout, stage, strict=True))
    eof = ["climatology", "eofs", "states", "rows", "solve", "rollouts", "precision", "all"]
    local = ["climatology", "rows", "solve", "rollouts", "precision", "all"]
    zonal = ["climatology", "states", "rows", "solve", "rollouts", "all"]
    stages = {"eof": eof, "local": local, "zonal": zonal}
    expected = [(layout, name) for layout, names in stages.items() for name in names]
    assert found[1:] == expected
    assert width == [""] + ["30"] * len(expected)
    assert planned[0] == ""
    assert 0 < float(measured[0]) < 1  # an empty task
    for values in (planned[1:], measured[1:]):
        seconds = [float(value) for value in values]
        for names in stages.values():
            *each, total = seconds[: len(names)]
            seconds = seconds[len(names) :]
            # The last line is the sum; each number is rounded to 0.01.
            assert total == pytest.approx(sum(each), abs=0.005 * len(names) + 1e-9)
            assert total > 0


def test_ratios_of_a_plan_are_measured_over_planned_and_the_least_fit_counts():
    stages = [SimpleNamespace(name="rows", seconds=2.0), SimpleNamespace(name="solve", seconds=0.5)]
    stopwatches = [plan.StageStopwatch(), plan.StageStopwatch()]
    stopwatches[0].seconds = {"rows": 4.0, "solve": 1.0}
    stopwatches[1].seconds = {"rows": 3.0, "solve": 2.0}
    table = plain_table("", *"abcdef", text=())
    plan.add_rows(table, "eof", 30, SimpleNamespace(stages=stages), stopwatches)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("eof", "30", "rows", "2.00", "3.00", "1.50"),
        ("eof", "30", "solve", "0.50", "1.00", "2.00"),
        ("eof", "30", "all", "2.50", "4.00", "1.60"),
    ]


@pytest.mark.slow
def test_an_archive_too_large_for_this_machine_is_planned(monkeypatch):
    monkeypatch.setattr(
        era5_plan, "make_metadata", lambda path: make_metadata(path, shape=(91, 180))
    )
    table = era5_plan.run([1, 10])
    step, nodes, stage, tasks, *_, time = (list(column.cells) for column in table.columns)
    assert step == [each for each in era5_plan.STEPS for _ in range(12)]
    assert nodes == (["1"] * 6 + ["10"] * 6) * 2
    assert stage[:6] == ["climatology", "rows", "solve", "rollouts", "precision", "all: fits"]
    # 37 years of leaves of 24 times, hourly and six-hourly, of which each year is merged.
    assert int(tasks[12]) - int(tasks[0]) > 4 * int(tasks[0])
    assert "?" not in time
