"""Test ``gfrnn fit --plan``: its output and exit code, and that it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from distributed import LocalCluster

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.planning.fit_estimate import Workforce
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.session.fit_plan import expected_workforce
from gfrnn_testing.weather import make_weather, tree


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_weather(tmp_path_factory.mktemp("weather") / "weather.zarr").path


@pytest.fixture
def command(store, monkeypatch, capsys, tmp_path):
    """Call ``gfrnn fit`` on a small experiment; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    Path("turning.yaml").write_text(yaml.safe_dump(tree(store), sort_keys=False))

    def command(*words, width=200):
        monkeypatch.setattr("sys.argv", ["gfrnn", "fit", "turning.yaml", *words])
        monkeypatch.setattr(console, "width", width)
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return command


def test_a_plan_names_every_stage_and_ends_with_whether_it_fits(command):
    code, out, _ = command("--plan", "--workers", "3", "--memory", "1GiB")
    assert code == 0
    for stage in ("climatology", "eofs", "states", "rows", "solve", "precision", "all"):
        assert f" {stage} " in out
    assert "3 threads, 1.00 GiB of memory each" in out
    assert "without the start of the workers and some seconds of overhead" in out
    assert out.splitlines()[-1].startswith("fits")
    assert "then 62 forecasts of 6 leads: up to " in out


def test_a_plan_is_whole_in_a_narrow_terminal(command):
    out = command("--plan", "--memory", "1GiB", width=80)[1]
    assert "…" not in out
    for stage in ("climatology", "rollouts", "precision"):
        assert f" {stage} " in out
    rows = [line.split() for line in out.splitlines() if line.startswith(" leaf peak")]
    assert [len(row) for row in rows] == [2 + 7 + 1]  # numbers of seven stages and the most
    assert all(number.replace(".", "").isdigit() for number in rows[0][2:])


def test_a_plan_that_does_not_fit_ends_with_the_key_and_code_2(command, monkeypatch):
    # The tasks of this small experiment need less than the least memory of a worker.
    monkeypatch.setattr("gfrnn.cluster.worker_memory.LEAST_MEMORY", 2**20)
    code, out, _ = command("--plan", "--memory", "1MiB")
    assert code == 2
    assert out.splitlines()[-1].startswith("does not fit: climatology: a leaf needs")
    assert "cluster.memory" in out.splitlines()[-1]


def test_a_plan_writes_nothing_and_starts_no_cluster(command, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("gfrnn.cluster.local_cluster.SpecCluster", refuse)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert command("--plan")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_plan_is_there_as_json(command):
    code, out, _ = command("--plan", "--json", "--workers", "2")
    found = json.loads(out)
    assert code == 0
    assert found["refusal"] is None
    assert found["workforce"]["threads"] == 2
    names = [stage["name"] for stage in found["stages"]]
    assert names == ["climatology", "eofs", "states", "rows", "solve", "rollouts", "precision"]
    assert found["seconds"] == pytest.approx(sum(stage["seconds"] for stage in found["stages"]))


def test_errors_are_those_of_a_fit(command, store):
    Path("turning.yaml").write_text(yaml.safe_dump(tree(store, state={"modes": 10_000})))
    code, _, errors = command("--plan")
    assert code == 2
    assert "state.modes: 10000 EOFs" in errors


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"verification": {"regions": {"south": {"latitude": [-9, 0], "longitude": [0, 9]}}}},
            "verification.regions.south: latitude",
        ),
        ({"verification": {"thresholds": {"snow": [1]}}}, "verification.thresholds.snow: is not"),
        (
            {"verification": {"thresholds": {"temperature_850": ["q99.9"]}}},
            "verification.thresholds",
        ),
        ({"forecast": {"horizon": "36h"}}, "forecast.horizon: 36h"),
    ],
)
def test_a_plan_refuses_what_could_not_be_verified(command, store, section, message):
    Path("turning.yaml").write_text(yaml.safe_dump(tree(store, **section)))
    code, out, errors = command("--plan")
    assert code == 2
    assert errors.startswith(f"error: {message}")
    assert "plan of the fit" not in out


@pytest.mark.cluster
def test_a_local_cluster_has_the_expected_workforce():
    config = ClusterConfig(workers=1, memory="300MiB", dashboard=":0")
    with open_cluster(config):
        assert Workforce.current() == expected_workforce(config) == Workforce(1, 300 * 2**20)


@pytest.mark.cluster
def test_a_running_cluster_is_queried():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="200MiB", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        there = expected_workforce(ClusterConfig(kind="existing", address=address))
    assert there == Workforce(2, 200 * 2**20)


@pytest.mark.parametrize("kind", ["srun", "mpi"])
def test_the_size_of_an_allocation_is_not_known_outside(command, kind):
    Path("cluster.yaml").write_text(f"kind: {kind}\n")
    code, _, err = command("--plan", "--cluster", "cluster.yaml")
    assert code == 2
    assert f"--plan: not available for cluster.kind: {kind}, as only the allocation" in err
    assert sorted(path.name for path in Path().iterdir()) == ["cluster.yaml", "turning.yaml"]


@pytest.mark.parametrize("words", [("--output", "out"), ("--force",), ("--stop-after", "1h")])
def test_options_that_a_plan_cannot_have_are_refused(command, words):
    code, _, message = command("--plan", *words)
    assert code == 2
    assert f"--plan: computes and writes nothing; leave {words[0]} out" in message
