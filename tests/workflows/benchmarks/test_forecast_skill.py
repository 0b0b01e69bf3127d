"""Test the scores that are computed from stores alone, and their bars."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.benchmarks.forecast_skill import bar_checks, run, score_run
from gfrnn_testing.weather import experiment, finish, make_weather


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("skill")
    weather = make_weather(folder / "w.zarr", damping=0.95, noise=0.3, times=700, cycle=True)
    return finish(Run(experiment(weather.path, climatology={"annual": 1}), folder / "run"))


def test_both_ways_to_score_agree(finished):
    scores = score_run(finished)
    with xr.open_zarr(finished.score_store, consolidated=False, decode_timedelta=True) as stored:
        stored.load()
    for channel in range(stored.sizes["channel"]):
        variable, level = (stored[each].values[channel] for each in ("variable", "level"))
        for kind, metric, system in (
            ("rmse", "rmse", "forecast"),
            ("climatology", "rmse", "climatology"),
            ("acc", "acc", "forecast"),
        ):
            ours = scores[f"{variable}_{kind}"]
            ours = ours.sel(level=level) if "level" in ours.dims else ours
            theirs = stored[metric].sel(system=system).isel(channel=channel)
            np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6, err_msg=str(variable))


def test_the_table_tells_how_far_both_are_apart(finished):
    (table,) = run([finished.folder])
    cells = [list(column.cells) for column in table.columns]
    row = cells[0].index("largest relative difference from scores.zarr")
    assert float(cells[1][row]) < 1e-6
    assert cells[3][row] == "met"


def made_up(correlation: float) -> xr.Dataset:
    lead = np.arange(0.25, 10.25, 0.25)
    dims = ("lead", "level")
    return xr.Dataset(
        {
            "geopotential_rmse": (dims, 100 * np.stack([lead, lead], 1)),
            "geopotential_climatology": (dims, np.full((40, 2), 900.0)),
            "geopotential_acc": (dims, np.stack([1 - correlation * lead] * 2, 1)),
        },
        {"lead": lead, "level": [250.0, 750.0]},
    )


def test_bars_of_the_nature_run():
    checks = {check.quantity: check for check in bar_checks("nature", made_up(0.05))}
    assert checks["geopotential 250, RMSE at 0.5 d"].measured == 50
    assert not checks["geopotential 250, RMSE at 0.5 d"].met
    assert checks["geopotential 250, RMSE at 1 d"].met
    below = checks["anomaly correlation below 0.6 at"]
    assert (below.measured, below.met) == (8.25, True)
    assert checks["largest RMSE / climatology"].measured == pytest.approx(1000 / 900)
    assert not checks["largest RMSE / climatology"].met
    assert (
        next(
            check for check in bar_checks("nature", made_up(0.0)) if "0.6" in check.quantity
        ).measured
        == np.inf
    )


def test_other_experiments_have_no_bars():
    assert not list(bar_checks("mine", made_up(0.1)))
