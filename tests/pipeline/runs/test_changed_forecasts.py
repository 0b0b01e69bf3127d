"""Change the horizon, the batch or the members of a finished run: what was fitted is used again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.errors import RunError, Stopped
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts, written
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import contents, experiment, stamps

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-09"]},
    "model": {"width": 8, "leads": ["1d", "3d"]},
    "fit": {"ridge": [1e-3]},
    "forecast": {"horizon": "3d", "batch": 3, "members": 4},
}


@pytest.fixture
def copy(fitted, tmp_path) -> Path:
    shutil.copytree(fitted.folder, tmp_path / "run")
    return tmp_path / "run"


def changed(weather: Any, **forecast: Any) -> Any:
    return experiment(weather.path, **PARTS | {"forecast": PARTS["forecast"] | forecast})


def triangles(folder: Path) -> dict[str, int]:
    found = stamps(folder / "summaries.zarr")
    return {name: when for name, when in found.items() if "rows" in name or "train" in name}


@pytest.mark.parametrize("key", [{"batch": 2}, {"members": 6}])
def test_another_batch_or_number_of_members_needs_no_fit(weather, copy, key):
    run = Run(changed(weather, **key), copy)
    assert run.fit().skipped
    run.forecast()
    assert open_forecasts(run.forecast_store).sizes["number"] == key.get("members", 4)


def test_a_longer_horizon_reads_the_triangles_of_the_fit(weather, copy, tmp_path):
    before = triangles(copy)
    assert before
    run = Run(changed(weather, horizon="5d"), copy)
    assert not run.fit().skipped
    assert triangles(copy) == before
    run.forecast()
    whole = Run(changed(weather, horizon="5d"), tmp_path / "whole")
    whole.fit()
    whole.forecast()
    np.testing.assert_array_equal(
        open_forecasts(run.forecast_store)["geopotential"],
        open_forecasts(whole.forecast_store)["geopotential"],
    )


def test_finished_forecasts_are_kept_when_only_the_batch_changes(weather, copy):
    run = Run(changed(weather), copy)
    run.forecast()
    assert Run(changed(weather, batch=5), copy).forecast().skipped


def test_unfinished_forecasts_are_continued_in_batches_of_another_size(weather, copy, tmp_path):
    def stop(update: ProgressUpdate) -> None:
        if update.done == 1:
            raise Stopped

    run = Run(changed(weather), copy, stop)
    with pytest.raises(Stopped):
        run.forecast()
    done = written(run.forecast_store)
    assert done is not None
    assert 0 < done.sum() < 9
    again = Run(changed(weather, batch=1), copy)
    begun = stamps(again.forecast_store)
    again.forecast()
    kept = [name for name, when in stamps(again.forecast_store).items() if begun.get(name) == when]
    assert len(kept) >= 3 * done.sum()  # the variables of what was written
    shutil.copytree(run.folder, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "forecast.zarr")
    whole = Run(changed(weather), tmp_path / "whole")
    whole.forecast()
    for name in ("geopotential", "temperature", "mean_sea_level_pressure"):
        one, other = (open_forecasts(each.forecast_store)[name].values for each in (again, whole))
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_refitted_model_is_kept_when_the_horizon_changes(weather, copy, tmp_path):
    run = refit(copy, tmp_path / "refit", ridge=[1e-2])
    before = contents(run.model)
    longer = changed(weather, horizon="4d", members=None).forecast
    own = run.experiment.model_copy(update={"forecast": longer})
    again = Run(own, run.folder)
    assert again.fit().skipped
    assert contents(again.model) == before
    again.forecast()
    assert len(open_forecasts(again.forecast_store)["prediction_timedelta"]) == 4


def test_a_refused_experiment_is_not_told_to_throw_the_run_away(weather, copy):
    other = experiment(weather.path, **PARTS | {"model": {"width": 9}})
    with pytest.raises(RunError, match="choose another --output .*would replace the run"):
        Run(other, copy)
