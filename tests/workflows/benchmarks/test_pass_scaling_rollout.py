"""Test that benchmarks of pass, scaling and rollouts do the same work as their references."""

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from gfrnn.pipeline.training.triangles import Factors
from gfrnn.workflows.benchmarks import (
    dask_array_regression,
    pass_speed,
    worker_measurement,
    worker_scaling,
)
from gfrnn.workflows.benchmarks import rollout_speed as rollout
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table
from gfrnn.workflows.benchmarks.field_reading import BenchmarkArchive, FieldReading
from gfrnn.workflows.benchmarks.training_pass import PassSize, TrainingPass
from gfrnn.workflows.commands.main import app
from gfrnn_core import RFactor
from gfrnn_core.lifting import lift

runner = CliRunner()
SMALL = PassSize(rows=460, states=3, features=12)


def columns(table):
    return [list(column.cells) for column in table.columns]


def triangle_of(arrays):
    (part,) = Factors.from_arrays(arrays).parts
    return part.triangle


@pytest.fixture
def training_pass(tmp_path) -> TrainingPass:
    return TrainingPass.create(tmp_path / "states", SMALL)


# The pass and its references


def test_useful_operations_are_those_of_the_products_and_of_the_reflections():
    """Entries of the lift, and the columns that each reflection changes, are counted one by one."""
    size = PassSize(rows=400, states=5, features=40)
    products = sum(2 * size.states for _ in range(size.rows) for _ in range(size.hidden))
    reflections = sum(
        4 * (size.rows - pivot) * (size.columns - pivot) for pivot in range(size.columns)
    )
    assert size.hidden == 34
    assert size.columns == 45
    # What is of lower order, such as scaling the reflectors, is not counted.
    np.testing.assert_allclose(size.operations, products + reflections, rtol=0.03)
    doubled = PassSize(rows=800, states=5, features=40)
    np.testing.assert_allclose(
        doubled.operations - size.operations, 2 * 400 * (5 * 34 + 45**2), rtol=1e-12
    )


def test_the_pass_gives_the_triangle_of_all_rows(training_pass):
    states = zarr.open_array(training_pass.path, mode="r")[...]
    rows = np.hstack([lift(states[:-1], None, training_pass.network().hidden), states[1:]])
    root = training_pass.run()
    assert int(root["rows"].sum()) == len(rows) == SMALL.rows
    assert rows.shape[1] == SMALL.columns
    np.testing.assert_allclose(triangle_of(root), RFactor.from_rows(rows).triangle, atol=1e-9)
    assert len(training_pass.stretches()) > 1
    some = training_pass.run(rows=50)
    np.testing.assert_allclose(triangle_of(some), RFactor.from_rows(rows[:50]).triangle, atol=1e-9)


def test_float32_is_the_same_pass_rounded(training_pass):
    double, single = (
        triangle_of(training_pass.run(precision)) for precision in ("float64", "float32")
    )
    np.testing.assert_allclose(single, double, atol=1e-3)
    assert not np.array_equal(single, double)


@pytest.mark.parametrize(
    "peer", [dask_array_regression.least_squares, dask_array_regression.normal_equations]
)
def test_peers_solve_the_regression_of_the_pass(training_pass, peer, monkeypatch):
    monkeypatch.setattr(dask_array_regression, "CHUNK_BYTES", 8 * SMALL.features * 60)
    root = triangle_of(training_pass.run())
    features = SMALL.features
    expected = np.linalg.solve(root[:features, :features], root[:features, features:])
    np.testing.assert_allclose(peer(training_pass), expected, atol=1e-9)
    lazy, targets = dask_array_regression.features_and_targets(training_pass)
    assert lazy.chunks[0] == targets.chunks[0] == (*[60] * 7, 40)


def test_both_ways_of_reading_see_the_same_chunks(tmp_path, monkeypatch):
    reading = FieldReading(tmp_path / "fields")
    BenchmarkArchive(times=50, latitudes=5, longitudes=8).write(reading.path)
    fields = reading.summary.states.fields
    assert fields.read(0, 50).shape == (50, 7 * 5 * 8)
    assert fields.ds.attrs["time_chunk"] == 1
    assert [(part.start, part.stop) for part in reading.stretches] == [(0, 49)]
    assert reading.summary.network.patches.places == 4
    reading.run()
    seen = []
    monkeypatch.setattr(
        "gfrnn.workflows.benchmarks.field_reading._decode",
        lambda _, start, stop: seen.append((start, stop)),
    )
    reading.decode()
    assert seen == [(0, 49)]


# How it is measured


def test_of_some_rounds_the_fastest_counts_and_the_most_memory():
    rounds = [
        worker_measurement.WorkMeasurement(2.0, 30, 8, "a"),
        worker_measurement.WorkMeasurement(1.0, 20, 9, "b"),
    ]
    assert worker_measurement.fastest_round(rounds) == worker_measurement.WorkMeasurement(
        1.0, 30, 9, "b"
    )


def test_the_speed_of_products_is_a_median():
    products = worker_measurement.MatmulThroughput(client=None, size=1, seconds=0.0)
    products.found["float64"] = [1e9, 5e9, 3e9]
    assert products.rate("float64") == 3e9
    assert products.describe("float64") == "3.0 GFLOP/s (1.0 to 5.0)"
    assert worker_measurement.multiply(4, 0.0, "float32") > 0


@pytest.mark.parametrize(
    ("at_most", "found", "met"), [(False, 0.9, True), (False, 0.7, False), (True, 0.9, False)]
)
def test_figures_are_held_to_their_bars(at_most, found, met):
    check = BarCheck("share", found, 0.8, at_most, " ms")
    what, measured, bar, verdict = columns(bar_table([check], full=True))
    assert (what, measured) == (["share"], [f"{found} ms"])
    assert bar == ["<= 0.8 ms" if at_most else ">= 0.8 ms"]
    assert verdict == ["met" if met else "missed"]


def test_a_bar_itself_is_met():
    assert BarCheck("", 1.0, 1.0).met
    assert BarCheck("", 1.0, 1.0, at_most=True).met


def test_overhead_is_what_is_left_of_the_time_of_all_workers():
    measured = worker_measurement.WorkMeasurement(4.0, 1, 1, {"seconds": np.array(6.0)})
    assert worker_scaling.ScalingPass(2, 10, 1, measured, "").overhead == 0.25


def test_seconds_of_leaves_and_merges_are_added_up(training_pass):
    timed = worker_scaling.TimedSummary(training_pass.summary())
    root = worker_scaling.reduced(timed, training_pass.stretches())
    plain = training_pass.run()
    assert root.pop("seconds") > 0
    assert set(root) == set(plain)
    np.testing.assert_array_equal(root["triangles"], plain["triangles"])
    left, right = ({"seconds": np.array(value), **plain} for value in (10.0, 20.0))
    assert 30 < timed.merge(left, right)["seconds"] < 40


# The commands


def tiny_rollout():
    return rollout.run(rollout.RolloutSize(places=2, hidden=5, steps=3), rounds=1)


def test_a_rollout_is_measured_beside_its_references():
    table, bars = tiny_rollout()
    what, milliseconds = columns(table)
    assert len(what) == 8
    assert [name.split(",")[0] for name in what[:4]] == [
        "rollout",
        "rollout",
        "arithmetic alone",
        "patch after patch in Python",
    ]
    assert all(float(value) > 0 for value in milliseconds)
    assert columns(bars)[0] == [f"{name}, ms a step" for name in what[:2]]


def test_the_plain_loop_over_patches_makes_the_same_steps():
    rnn = rollout.network(rollout.RolloutSize(places=2, hidden=5, steps=1), "float64")
    start = np.random.default_rng(3).standard_normal((1, 1, rnn.state_size))
    own = rollout.own_weights(rnn)
    np.testing.assert_allclose(own.rollout(start, 3), rnn.rollout(start, 3), atol=1e-12)
    later = rollout.plain_step(own)(rnn.scaled(start[:, 0])[0])
    np.testing.assert_allclose(rnn.unscaled(later), rnn.rollout(start, 1)[0, 0], atol=1e-12)


@pytest.mark.slow
@pytest.mark.cluster
def test_the_pass_is_measured_beside_its_references():
    settings = pass_speed.PassSpeedSettings(SMALL, BenchmarkArchive(3, 4, 8))
    table, bars = pass_speed.run(settings, rounds=1)
    what, seconds, share, memory = columns(table)
    assert what == [*pass_speed.METHODS, pass_speed.DECODING, pass_speed.TINY]
    assert all(float(value) > 0 for value in seconds)
    assert [bool(value) for value in share] == [True, True, False, False, False, False]
    # Useful operations take longer than bare products; so small a pass may round to 0.00.
    assert all(float(value) < 1 for value in share[:2])
    assert [column.header for column in table.columns][1:] == [
        "seconds", "of the products' speed", "memory (MiB)",
    ]  # fmt: skip
    assert all(value.replace(",", "").isdigit() for value in memory)
    assert len(columns(bars)[0]) == 6
    assert "full size" in bars.title


def test_shares_and_ratios_of_a_pass_follow_from_its_measurements():
    """A pass that takes twice as long as products of as many operations has the share 0.5."""
    size = PassSize(rows=460, states=3, features=12)
    settings = pass_speed.PassSpeedSettings(size, BenchmarkArchive(3, 4, 8))
    speed = worker_measurement.MatmulThroughput(client=None, size=1, seconds=0.0)
    rate = size.operations
    speed.found = {"float64": [rate, rate, 9 * rate], "float32": [2 * rate]}
    took = {
        pass_speed.PASS: (2.0, 10),
        pass_speed.PASS_32: (1.0, 5),
        pass_speed.NORMAL: (1.0, 20),
        pass_speed.LEAST_SQUARES: (9.0, 40),
        pass_speed.DECODING: (3.0, 1),
        pass_speed.TINY: (4.0, 1),
    }
    found = {
        name: worker_measurement.WorkMeasurement(seconds, memory * 2**20, 0, None)
        for name, (seconds, memory) in took.items()
    }
    result = pass_speed.PassSpeedResult(settings, found, speed)
    _, seconds, share, memory = columns(result.table())
    assert share == ["0.50", "0.50", "", "", "", ""]
    assert seconds == ["2", "1", "1", "9", "3", "4"]
    assert memory == ["10", "5", "20", "40", "1", "1"]
    checks = result.bar_checks()
    assert [check.measured for check in checks] == [0.5, 4.5, 0.25, 0.5, 2.0, 0.75]
    assert [check.met for check in checks] == [False, True, True, False, True, False]


@pytest.mark.slow
@pytest.mark.cluster
def test_scaling_is_measured_with_one_worker_and_two():
    table, bars = worker_scaling.run(worker_scaling.WorkerScalingSettings(SMALL, SMALL), rounds=1)
    count, rows, leaves, seconds, *_ = columns(table)
    assert count == ["1", "2", "2", "2"]
    assert rows == ["1,380", "1,380", "57", "460"]
    assert leaves == ["12", "12", "1", "2"]
    assert all(float(value) > 0 for value in seconds)
    assert len(columns(bars)[0]) == 3


@pytest.mark.parametrize(
    ("command", "module"), [("pass", pass_speed), ("scaling", worker_scaling), ("rollout", rollout)]
)
def test_commands_take_the_full_size_or_the_quick_one(command, module, monkeypatch):
    calls = []
    monkeypatch.setattr(
        module, "run", lambda *given: calls.append(given) or [bar_table([], full=True)]
    )
    for words in ([], ["--quick", "--rounds", "3"]):
        result = runner.invoke(app, ["bench", command, *words])
        assert result.exit_code == 0, result.output
        assert "values and bars" in result.output
    assert [given[0] for given in calls] == [module.FULL, module.QUICK]
    assert calls[1][1] == 3
