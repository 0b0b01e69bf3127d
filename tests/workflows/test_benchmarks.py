"""Benchmarks run and say what they measured; how fast is for the machine at hand."""

import re

import pytest
from typer.testing import CliRunner

from pipeline.errors import ConfigError
from workflows.benchmarks import BENCHMARKS, perturbation
from workflows.cli import app

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
    least = perturbation._least([lambda: calls.append(0), lambda: calls.append(1)], rounds=3)
    # Once each to warm up, then turn by turn.
    assert calls == [0, 1] * 4
    assert all(value > 0 for value in least)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "nothing"], "no benchmark 'nothing'; there is perturbation"),
        (["bench", "perturbation", "--sizes", "0"], "'0' is not a list of positive integers"),
        (["bench", "perturbation", "--sizes", "a,1"], "'a,1' is not a list"),
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
    assert set(BENCHMARKS) == {"perturbation"}
