"""Compare the tasks and the memory that a plan has with those of a fit."""

from __future__ import annotations

from typing import Any

import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.planning.fit_estimate import StageEstimate, Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.fixed_times import FixedTimer, rates_of
from gfrnn_testing.weather import (
    experiment,
)
from gfrnn_testing.weather_fits import (
    PARTS,
    fit_of,
    model_of,
)

# Plans


def planned(config: Experiment) -> dict[str, StageEstimate]:
    """Return the stages of a plan at given times of tasks."""
    found = plan_fit(config, open_source(config.data), Workforce(), rates_of(), FixedTimer())
    return {stage.name: stage for stage in found.stages}


KEYS: list[dict[str, Any]] = [
    {"fit": {"refit": "all"}},
    {"fit": {"choice": "years"}},
    {"fit": {"finalists": 1, "first_width": 6}},
    {"model": {"hidden_inputs": ["state", "linear"], "noise": "residual"}},
    {"model": {"sampling": "quadratic", "hidden_inputs": ["state", "linear"]}},
    {
        "model": {
            "hidden_inputs": ["linear"], "sampling": "centres", "scale": 1.0,
            "inputs": ["day_of_year"], "joint_inputs": True, "season_terms": True,
        }
    },
]  # fmt: skip


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_a_plan_has_the_tasks_that_a_fit_reports(weather, tmp_path, keys):
    parts = {name: PARTS.get(name, {}) | keys.get(name, {}) for name in PARTS | keys}
    config, seen = experiment(weather.path, **parts), {}

    def progress(advance: ProgressUpdate) -> None:
        seen.setdefault(advance.name, advance.total)

    Run(config, tmp_path / "run", progress).fit()
    stages = planned(config)
    assert {name: stage.leaves // stage.parts for name, stage in stages.items()} == seen


def test_leaving_years_out_costs_a_solve_for_each(weather):
    held, years = (
        planned(experiment(weather.path, **PARTS | {"fit": PARTS["fit"] | {"choice": choice}}))
        for choice in ("validation", "years")
    )
    assert years["solve"].leaf_seconds >= 3 * held["solve"].leaf_seconds
    assert years["solve"].leaf_bytes > held["solve"].leaf_bytes
    assert "final solve" not in held
    assert 0 < years["final solve"].leaf_seconds < held["solve"].leaf_seconds


def test_memory_for_left_out_years_is_checked_before_work(weather, tmp_path, monkeypatch):
    run = fit_of(weather, tmp_path / "run", fit={"choice": "years"})
    _, fitted = run.load_candidates(model_of(run))
    candidate = fitted.candidates[0]
    limit = 20 * 8 * candidate._columns.total**2
    monkeypatch.setattr("gfrnn.pipeline.reduction.task_memory.thread_memory", lambda: limit)
    candidate.check_memory("solve")
    with pytest.raises(ResourceError, match="solve"):
        candidate.check_memory("solve", left_out=3)
