"""Test that a run has the same bytes in this process, on one and two workers, and on Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.batch_systems import batch
from gfrnn_testing.waves import make_run
from gfrnn_testing.weather import contents, finish

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def of_many_leaves(folder: Path) -> Run:
    """Return a run with no stage done, whose passes have about ten leaves each."""
    run = make_run(folder)
    data = run.experiment.data.model_copy(update={"chunk": 30})
    forecast = run.experiment.forecast.model_copy(update={"members": 5, "batch": 7})
    changed = run.experiment.model_copy(update={"data": data, "forecast": forecast})
    return Run(changed, folder / "many")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Return the sums of all files of a run that was computed in this process."""
    return list(sums(finish(of_many_leaves(tmp_path_factory.mktemp("here")))))


def sums(run: Run) -> Iterator[dict[str, str]]:
    """Yield the sums of the files of each product."""
    for store in (run.model, run.forecast_store, run.score_store):
        found = contents(store)
        assert len(found) > 5
        yield found


@pytest.mark.parametrize("workers", [1, 2])
def test_local_workers(wanted, tmp_path, workers):
    run = of_many_leaves(tmp_path)
    config = ClusterConfig(workers=workers, memory="600MiB", dashboard=":0")
    with open_cluster(config):
        finish(run)
    assert list(sums(run)) == wanted


@pytest.mark.slurm
def test_jobs_of_slurm(slurm, wanted, tmp_path):
    run = of_many_leaves(tmp_path)
    with open_cluster(batch(workers=2, threads=2), folder=run.folder) as cluster:
        cluster.client.wait_for_workers(2, timeout=180)
        finish(run)
    assert list(sums(run)) == wanted
