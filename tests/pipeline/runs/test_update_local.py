"""Test refit and update of a local network, whose rows come from patches of the fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.states.sphere_patches import patch_area_weights
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.selection.ridge import FitRows, solve
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import contents

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "state": {
        "layout": "local",
        "modes": 80,  # the default, which another layout may have
        "patch": [2, 4],
        "halo": [1, 1],
        "inner": [0, 1],
        "weights": "bands",
        "bands": 2,
        "static": ["latitude"],
    },
    "model": {"width": 12, "inputs": ["day_of_year"]},
    "fit": {"ridge": [1e-3, 1e-2], "widths": [5, 12], "average": 2},
    "search": {"state.delays": [1, 2]},
    "forecast": {"horizon": "3d"},
}


def grams(factors: Factors) -> list[np.ndarray]:
    return [part.triangle.T @ part.triangle for part in factors.parts]


def test_an_update_has_the_rows_of_old_and_new_times(weather, fitted, tmp_path):
    part = period("2002-04-01", "2002-06-30")
    run = update(fitted.folder, [str(weather.path)], tmp_path / "new", period=part)
    model = ForecastModel.load(run.model)
    store, kept = run.load_candidates(model)
    time = run.ds["time"].values
    inside = np.flatnonzero(period("2001-01-01", "2002-06-30").mask(time))
    fields = Fields(run.ds).read(int(inside[0]), int(inside[-1]) + 1)
    states, inputs = model.layout.encode(fields, time[inside]), model.forcing(time[inside])
    settings = [*model.notes.solves, model.notes.linear_solve]
    for each, network in zip(settings, (*model.networks, model.linear), strict=True):
        candidate = kept.candidates[each.candidate]
        weights = patch_area_weights(model.layout.scaling.grid, candidate.network.patches)
        first = 2 - candidate.network.delays  # rows begin together, where two delays allow it
        rows = Factors.of_series(candidate.network, states[first:], inputs[first:], weights=weights)
        found = candidate.factor(Checkpoints(store), ["train/merged"])
        assert (found.rows, len(found.parts)) == (rows.rows, 2)
        for ours, theirs in zip(grams(found), grams(rows), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())
        expected = solve(
            candidate.network, FitRows([rows]), size=candidate.size, width=each.width,
            ridge=np.array(each.ridge), balance=np.array(each.balance),
        )  # fmt: skip
        np.testing.assert_allclose(network.outer, expected.outer, atol=1e-7)


def test_an_updated_run_forecasts_and_is_scored(weather, fitted, tmp_path):
    run = update(
        fitted.folder,
        [str(weather.path)],
        tmp_path / "new",
        period=period("2002-04-01", "2002-06-30"),
    )
    run.forecast()
    run.verify()
    assert run.finished("verify")


def test_a_refit_with_nothing_changed_gives_the_same_model(fitted, tmp_path):
    run = refit(fitted.folder, tmp_path / "same")
    ours, theirs = contents(run.model), contents(fitted.model)
    assert ours == theirs


def test_a_refit_without_a_year_has_the_rows_of_the_others(fitted, tmp_path):
    with pytest.raises(ConfigError, match="196 other features are more than the 176 rows"):
        refit(fitted.folder, tmp_path / "less", without=[2001], widths=[5])
    run = refit(fitted.folder, tmp_path / "less", without=[2002], widths=[5])
    model, whole = ForecastModel.load(run.model), ForecastModel.load(fitted.model)
    assert model.notes.rows < whole.notes.rows
    assert {network.width for network in model.networks} == {5}
    assert not Path(run.folder / "summaries.zarr").exists()
