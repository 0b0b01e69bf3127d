"""Benchmarks run and say what they measured; how fast is for the machine at hand."""

import re

import pytest
from typer.testing import CliRunner

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.benchmarks import era5_plan
from gfrnn.workflows.benchmarks import perturbation_speed as perturbation
from gfrnn.workflows.benchmarks import plan_accuracy as plan
from gfrnn.workflows.benchmarks.era5_plan import make_metadata
from gfrnn.workflows.benchmarks.plan_accuracy import make_archive
from gfrnn.workflows.commands.main import app

runner = CliRunner()


def test_every_contestant_is_measured_for_every_size():
    table = perturbation.run([4, 8], rounds=1)
    units, what, seconds, share = (list(column.cells) for column in table.columns)
    # Without PyTorch two lines a size, with it three.
    each = len(units) // 2
    assert each in (2, 3)
    assert units == ["4"] * each + ["8"] * each
    assert what[:each] == what[each:]
    assert all(float(value) > 0 for value in seconds)
    assert all(value == "PyTorch is not installed" or float(value) > 0 for value in share)


def test_the_least_of_all_rounds_counts():
    calls = []
    least = perturbation.least_seconds([lambda: calls.append(0), lambda: calls.append(1)], rounds=3)
    # Once each to warm up, then turn by turn.
    assert calls == [0, 1] * 4
    assert all(value > 0 for value in least)


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


@pytest.mark.cluster
def test_every_stage_is_planned_and_measured(monkeypatch):
    monkeypatch.setattr(plan, "LEAVES", 20)
    monkeypatch.setattr(
        plan, "make_archive", lambda path: make_archive(path, years=2, shape=(6, 12))
    )
    table = plan.run([30], rounds=1)
    layout, _, stage, planned, measured, _ = (list(column.cells) for column in table.columns)
    found = list(zip(layout, stage, strict=True))
    eof = ["climatology", "eofs", "states", "rows", "solve", "precision", "all"]
    local = ["climatology", "rows", "solve", "precision", "all"]
    assert found[1:] == [("eof", name) for name in eof] + [("local", name) for name in local]
    assert all(float(value) >= 0 for value in planned[1:])
    assert all(float(value) >= 0 for value in measured)


def test_an_archive_too_large_for_this_machine_is_planned(monkeypatch):
    monkeypatch.setattr(
        era5_plan, "make_metadata", lambda path: make_metadata(path, shape=(91, 180))
    )
    table = era5_plan.run([1, 10], rounds=1)
    step, nodes, stage, tasks, *_, time = (list(column.cells) for column in table.columns)
    assert step == [each for each in era5_plan.STEPS for _ in range(10)]
    assert nodes == (["1"] * 5 + ["10"] * 5) * 2
    assert stage[:5] == ["climatology", "rows", "solve", "precision", "all: fits"]
    # 37 years of leaves of 24 times, hourly and six-hourly, of which each year is merged.
    assert int(tasks[10]) - int(tasks[0]) > 4 * int(tasks[0])
    assert "?" not in time
