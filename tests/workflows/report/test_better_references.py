"""Where a reference is better than the forecast, from made-up scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.workflows.report.better_references import better_on_validation, better_references
from gfrnn_testing.models import make_model

SYSTEMS = ["forecast", "linear", "quadratic", "climatology"]


def experiment(**sections: Any) -> Experiment:
    """Return an experiment of defaults and the sections that are given."""
    periods = {
        name: [f"{year}-01-01", f"{year}-12-31"]
        for year, name in enumerate(("train", "validation", "test"), 2001)
    }
    tree = {"name": "test", "data": {"sources": ["data.zarr"]}, "periods": periods}
    return checked(Experiment, tree | sections, "test")


def scores(low: float | None = None) -> xr.Dataset:
    """Return scores of two channels at four leads; ``low`` is the end of all intervals."""
    z = [[1.0, 2.0, 3.0, 4.04], [1.1, 1.9, 3.1, 4.1], [1.2, 1.95, 3.2, np.nan], [4, 4, 4, 4]]
    t = [[1.0, 2.0, 3.0, 3.5], [1.1, 2.1, 3.1, 3.6], [1.1, 2.1, 3.1, 3.6], [4, 4, 4, 4]]
    dims = ("channel", "system", "prediction_timedelta")
    found = xr.Dataset(
        {"rmse": (dims, [z, t])},
        {
            "system": SYSTEMS,
            "channel": ["geopotential_500", "temperature_850"],
            "prediction_timedelta": pd.to_timedelta([1, 2, 3, 4], "D"),
        },
    )
    if low is not None:
        ends = {"rmse_change_low": low, "rmse_change_high": low + 0.1}
        found = found.assign({n: xr.full_like(found["rmse"], v) for n, v in ends.items()})
    return found


def test_the_best_reference_of_each_lead_is_named_with_the_forecasts_excess():
    lines = better_references(scores(), experiment())
    found = [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
    assert found[:2] + found[3:5] == [
        "the best reference is linear (its RMSE is smaller than the forecast's):",
        "  geopotential_500: at +2 d by 5.3 %",
        "the best reference is climatology (its RMSE is smaller than the forecast's):",
        "  geopotential_500: at +4 d by 1.0 %",
    ]
    assert "fit.widths" in lines[2]
    assert "forecast.horizon" in lines[5]


def test_many_channels_are_counted():
    own = xr.concat([scores().sel(channel="geopotential_500")] * 9, "channel")
    own["channel"] = [f"geopotential_{level}" for level in range(100, 1000, 100)]
    lines = better_references(own.sel(system=["forecast", "linear"]), experiment())
    assert lines[7] == "  and 3 more channels"
    assert len(lines) == 9


@pytest.mark.parametrize(("low", "mark"), [(0.01, "*"), (-0.01, "")])
def test_an_interval_that_excludes_zero_is_marked(low, mark):
    assert better_references(scores(low), experiment())[1].endswith(f"by 5.3 %{mark}")


@pytest.mark.parametrize("layout", ["eof", "local", "zonal"])
def test_every_reference_has_a_remedy_in_every_layout(layout):
    names = ["linear", "quadratic", "linear inverse", "damped persistence", "persistence"]
    for name in [*names, "climatology"]:
        own = scores().sel(system=["forecast", "linear"]).assign_coords(system=["forecast", name])
        given = experiment(state={"layout": layout})
        assert better_references(own, given)[2].startswith("  to try: ")


WIDTHS = "fit.widths: [0, 1000], with which the linear model may be chosen"
LEADS = "model.leads up to +2 d"
MEAN = "several different candidates in search with fit.average"


@pytest.mark.parametrize(
    ("sections", "remedies"),
    [
        ({}, [WIDTHS, LEADS, MEAN]),
        ({"fit": {"widths": [50, 100]}}, [WIDTHS.replace("1000", "50, 100"), LEADS, MEAN]),
        ({"fit": {"widths": [0, 50]}}, [LEADS, MEAN]),
        ({"model": {"width": 0}}, [LEADS, MEAN]),
        ({"model": {"leads": ["2d"]}}, [WIDTHS, MEAN]),
        ({"fit": {"average": 2}, "search": {"model.seed": [0, 1]}}, [WIDTHS, LEADS]),
        (
            {
                "fit": {"average": 2, "widths": [0, 1000]},
                "model": {"leads": ["1d", "3d"]},
                "search": {"model.seed": [0, 1]},
            },
            ["more years of training", "a longer validation period"],
        ),
        # The network without hidden features has those on the grid.
        ({"state": {"layout": "local"}, "model": {"features": ["advection"]}}, [LEADS, MEAN]),
    ],
)
def test_what_the_experiment_has_is_not_to_be_tried_against_the_linear_model(sections, remedies):
    own = scores().sel(system=["forecast", "linear"], channel=["geopotential_500"])
    own = own.isel(prediction_timedelta=[0, 1])
    line = better_references(own, experiment(**sections))[2].replace("\N{NO-BREAK SPACE}", " ")
    assert line == f"  to try: {', or '.join(remedies)}"


def test_one_step_needs_no_leads_of_its_own():
    own = scores().sel(system=["forecast", "linear"]).isel(prediction_timedelta=[1])
    assert "model.leads" not in better_references(own, experiment())[2]
    months = own.assign_coords(prediction_timedelta=[2])
    found = better_references(months, experiment())
    assert "at +2 mo by" in found[1].replace("\N{NO-BREAK SPACE}", " ")


def test_a_longer_validation_period_or_the_calibration_is_advised():
    lines = [better_references(scores(), experiment(fit={"calibration": on}))[5] for on in (1, 0)]
    assert "with a longer validation period," in lines[0]
    assert "with fit.calibration: true," in lines[1]


def test_a_forecast_that_is_best_everywhere_needs_no_line():
    own = scores().isel(prediction_timedelta=[0, 2])
    assert better_references(own, experiment()) == []


def test_a_linear_forecast_is_not_worse_than_the_linear_model():
    own = scores(low=1e-6).sel(system=["forecast", "linear"])
    own["rmse"].loc[{"system": "linear"}] = own["rmse"].sel(system="forecast") * (1 - 1e-6)
    assert better_references(own, experiment()) == []
    ours = np.array([1.0, 4.0])
    selection = {
        "rollout_errors": np.stack([ours, ours]),
        "calibrated_errors": np.stack([ours, ours * (1 - 1e-6)]),
        "climatology_errors": np.array([5.0, 5.0]),
    }
    model = replace(make_model(), step=Duration.parse("1d"), selection=selection)
    assert better_on_validation(model, experiment()) == []


def test_a_diverged_forecast_is_no_worse_than_anything():
    own = scores()
    own["rmse"].loc[{"system": "forecast"}] = np.nan
    assert better_references(own, experiment()) == []


def test_successive_leads_are_a_range_on_the_validation_period():
    forecast, linear = np.array([1.0, 4.0, 4.0, 9.0]), np.array([1.1, 1.0, 1.0, 10.0])
    selection = {
        "rollout_errors": np.stack([forecast, linear]),
        "calibrated_errors": np.stack([forecast, linear]),
        "climatology_errors": np.array([5.0, 5.0, 5.0, 5.0]),
    }
    model = replace(make_model(), step=Duration.parse("1d"), selection=selection)
    lines = [
        line.replace("\N{NO-BREAK SPACE}", " ")
        for line in better_on_validation(model, experiment())
    ]
    wanted = (
        "on the validation period, the best reference is linear (its RMSE of states is smaller "
        "than the forecast's)"
    )
    assert lines[0] == f"{wanted}: at +2 d to +3 d by up to 100.0 %"
    assert lines[2] == f"{wanted.replace('linear', 'climatology')}: at +4 d by 34.2 %"
    assert better_on_validation(replace(model, selection={}), experiment()) == []


@pytest.mark.parametrize(("rule", "said"), [("mean", True), ("longest", False)])
def test_own_leads_that_iterated_predictions_make_worse_than_the_climatology(rule, said):
    """The first lead, of one prediction, and the last, without own weights, are as bad."""
    calibrated, raw = np.array([4.9, 3.0, 4.9, 4.9]), np.array([9.0, 3.0, 9.0, 9.0])
    selection = {
        "rollout_errors": np.stack([raw, raw]),
        "calibrated_errors": np.stack([calibrated, calibrated]),
        "climatology_errors": np.full(4, 5.0),
    }
    model = make_model()
    linear = replace(
        model.linear, leads=(1, 2, 3), outer=np.zeros((3, *model.linear.outer.shape[1:]))
    )
    model = replace(model, step=Duration.parse("1d"), linear=linear, selection=selection)
    chosen = experiment(model={"leads": ["1d", "2d", "3d"], "combine_leads": rule})
    lines = [
        each.replace("\N{NO-BREAK SPACE}", " ") for each in better_on_validation(model, chosen)
    ]
    assert bool(lines) == said
    if said:
        assert "of the model.leads +3 d were worse than the climatology" in lines[0]
        assert lines[1] == "  to try: model.combine_leads: longest"
