"""Test that no cluster starts for work that can be refused, and who works in an allocation."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from distributed import Client

from gfrnn.cluster import Cluster, ClusterConfig
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.main import main
from gfrnn_testing.weather import Weather, experiment, finish, make_weather, tree

PARTS = {
    "periods": {"test": ["2002-07-01", "2002-07-10"]},
    "forecast": {"horizon": "4d"},
    "cluster": {"workers": 1, "dashboard": ":0"},
}
OPENERS = (
    "gfrnn.workflows.session.run_session.open_cluster",
    "gfrnn.workflows.reproduce.reproduction.open_cluster",
    "gfrnn.workflows.cluster_check.check.open_cluster",
)


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture(scope="module")
def runs(weather, tmp_path_factory) -> dict[str, Path]:
    """Runs in folders: without a fit, with a model only, and with all stages."""
    place = tmp_path_factory.mktemp("runs")
    finish(Run(experiment(weather.path, **PARTS), place / "finished"))
    with Run(experiment(weather.path, **PARTS), place / "empty").lock():
        pass  # the folder is made when something is written into it
    shutil.copytree(place / "finished", place / "fitted")
    for store in ("forecast.zarr", "statistics.zarr", "scores.zarr"):
        shutil.rmtree(place / "fitted" / store)
    (place / "my.yaml").write_text(yaml.safe_dump(tree(weather.path, **PARTS), sort_keys=False))
    (place / "settings.yaml").write_text("widht: 3\n")
    return {path.stem: path for path in place.iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["forecast", "{empty}"], "run `gfrnn fit` first"),
        (["verify", "{empty}"], "run `gfrnn forecast` first"),
        (["verify", "{fitted}"], "run `gfrnn forecast` first"),
        (["report", "{fitted}"], "run `gfrnn verify` first"),
        (["fit", "{my}", "--output", "{settings}"], "exists and is not a folder"),
        (["forecast", "{fitted}", "--period", "2001-02-01", "2001-02-09"], "overlap"),
        (["forecast", "{fitted}", "--init", "2003-01-01"], "the data, which go from"),
        (["forecast", "{fitted}", "--init", "latest", "--data", "new.nc"], "new.nc not found"),
        (["forecast", "{fitted}", "--init", "latest", "--members", "9"], "forecast.members"),
        (["verify", "{finished}", "truth.nc"], "truth.nc not found"),
        (["verify", "{fitted}", "truth.nc"], "run `gfrnn forecast` first"),
        (["refit", "{empty}"], "run `gfrnn fit` first"),
        (["refit", "{fitted}", "--width", "5000"], "is more than model.width"),
        (["update", "{fitted}", "new.nc"], "new.nc not found"),
        (["spectrum", "{empty}"], "gfrnn fit"),
        (["reproduce", "lorenz63", "--output", "{settings}"], "is a file; give --output the name"),
        (["bench", "chaos", "--folder", "{settings}"], "is a file; give --folder the name"),
        (
            ["bench", "peers", "--folder", "{settings}/a"],
            "is not a folder; choose another --folder",
        ),
        (["reproduce", "lorenz36", "--workers", "2"], "no case 'lorenz36'"),
        (
            ["reproduce", "perturbation", "--settings", "{settings}", "--workers", "2"],
            "widht: unknown key",
        ),
        (["cluster", "check", "--output", "{settings}"], "{settings}: is a file"),
    ],
)
def test_what_can_be_refused_before_starts_no_cluster(
    words, message, runs, monkeypatch, capsys, tmp_path
):
    started = []
    for opener in OPENERS:
        monkeypatch.setattr(opener, lambda *_, **__: started.append(words))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gfrnn", *(word.format(**runs) for word in words)])
    with pytest.raises(SystemExit) as caught:
        main()
    err = capsys.readouterr().err
    assert started == []
    assert message.format(**runs) in err
    assert caught.value.code == 2
    assert "Traceback" not in err


# In an allocation, all processes run the command, but only the driver's gets past the cluster.

WORDS_OF_CHANGES = [
    ["refit", "{finished}", "--output", "refitted", "--ridge", "0.1"],
    ["update", "{finished}", "new.nc"],
    ["forecast", "{finished}", "--period", "2002-08-01", "2002-08-03", "--output", "august"],
    ["forecast", "{finished}", "--init", "2002-08-01", "--output", "once"],
]


@pytest.fixture
def allocated(runs, monkeypatch, tmp_path):
    """Return what runs a command in an allocation, with a given way to open its cluster."""
    (tmp_path / "srun.yaml").write_text("kind: srun\n")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.chdir(tmp_path)

    def call(words, opener) -> int:
        monkeypatch.setattr("gfrnn.workflows.session.run_session.open_cluster", opener)
        given = [word.format(**runs) for word in words]
        monkeypatch.setattr(sys, "argv", ["gfrnn", *given, "--cluster", "srun.yaml"])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0

    return call


@pytest.mark.parametrize("words", WORDS_OF_CHANGES, ids=lambda words: "-".join(words[:3:2]))
def test_only_the_driver_of_an_allocation_prepares_prints_and_writes(
    words, allocated, runs, monkeypatch, capsys, tmp_path
):
    def serve(config, *, folder, report):
        opened.append(folder)
        sys.exit(0)  # as all processes but the driver do in the end

    opened: list[Path] = []
    reopened: list[Path] = []
    monkeypatch.setattr(Run, "reopen", classmethod(lambda _, folder: reopened.append(folder)))
    before = sorted(runs["finished"].iterdir())
    assert allocated(words, serve) == 0
    assert opened == [runs["finished"]]  # the same for all processes, which meet there
    assert reopened == []
    assert capsys.readouterr() == ("", "")
    assert sorted(runs["finished"].iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["srun.yaml"]


def test_the_driver_of_an_allocation_does_the_work(allocated, capsys, tmp_path):
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as here:

        @contextmanager
        def lend(config, *, folder, report):
            yield Cluster(here, ClusterConfig(kind="existing", address="inproc://here"))

        for words in WORDS_OF_CHANGES[0], WORDS_OF_CHANGES[0], WORDS_OF_CHANGES[3]:
            assert allocated(words, lend) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert printed.count("refit: ") == 2
    assert "model.zarr (done before, skipped)" in printed
    assert "initial time: 2002-08-01T00:00" in printed
    assert printed.count("initial time") == 1
    for path in ("refitted/performance-refit.html", "once/performance-forecast.html"):
        assert (tmp_path / path).exists()


@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_fit_without_enough_memory_starts_no_cluster(
    command, weather, runs, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(
        "gfrnn.workflows.session.run_session.planned_cluster_size", lambda _: (2, 2**16)
    )
    monkeypatch.setattr("gfrnn.workflows.session.run_session.open_cluster", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gfrnn", command, str(runs["my"])])
    with pytest.raises(SystemExit) as caught:
        main()
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert "MiB, but a worker's thread has 0 MiB for it" in err
    assert "give the workers more (cluster.memory) or " in err
