"""Test report page and printed lines of a run on patches, and of diverged forecasts."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from rich.console import Console

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.session.run_session import (
    diverged_note,
    limited_note,
    print_stage,
    unstable_note,
)
from gfrnn_testing.models import scale_weights
from gfrnn_testing.waves import make_source


def local_run(folder: Path, bound: float | None = 5.0, **state: Any) -> Run:
    """Return a run of waves on a box across Greenwich, on patches, with no stage done."""
    tree = {
        "name": "patches",
        "data": {"sources": [str(make_source(folder / "waves.nc"))]},
        "periods": {
            "train": ["2001-01-01", "2001-09-30"],
            "validation": ["2001-10-01", "2001-11-30"],
            "test": ["2001-12-01", "2002-01-31"],
        },
        "state": {"layout": "local", "patch": [3, 4], "halo": [1, 2], "delays": 2, **state},
        "model": {"width": 10, "leads": ["1d", "2d"], "bound": bound},
        "fit": {"ridge": [1e-3, 1e-2]},
        "forecast": {"horizon": "3d", "every": "3d"},
    }
    return Run(parse_experiment(yaml.safe_dump(tree)), folder / "run")


def lines(run: Run, outcome: Any) -> str:
    console = Console(width=400, file=io.StringIO())
    print_stage(run, outcome, console)
    return console.file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, ["shared by all"]),
        ({"weights": "bands", "bands": 2}, ["2 sets", "the first set of outer weights"]),
    ],
)
def test_the_page_describes_patches_halo_and_weights(tmp_path, state, said):
    run = local_run(tmp_path, **state)
    run.fit()
    said_by_command = lines(run, run.forecast())
    assert "warning" not in said_by_command
    assert "model.bound" not in said_by_command
    run.verify()
    text = write_report(run).read_text(encoding="utf-8")
    text = re.sub(r"base64,[^\"]*", "", text)  # any word may be in an image
    # 2 fields: 5 x 8 cells twice, a constant, 10 hidden features, two leads of 12 cells.
    assert "4 patches of 3 x 4 cells, forecast from 5 x 8 cells, 2 successive states" in text
    assert f"{270 * 4} rows of {2 * 2 * 5 * 8 + 1 + 10 + 2 * 2 * 12} columns" in text
    for words in said:
        assert words in text
    assert "EOFs" not in text.split("The experiment with all defaults")[0]
    assert "diverged" not in text


@pytest.mark.slow
def test_diverged_forecasts_are_counted_on_the_page_and_by_the_command(tmp_path):
    run = local_run(tmp_path, bound=None)
    run.fit()
    scale_weights(run.model, 1e3)
    said = lines(run, run.forecast())
    count = open_forecasts(run.forecast_store).sizes["time"]
    note = f"{count} of {count} forecasts diverged and are NaN from there on"
    assert f"warning: {note}" in said
    for key in ("fit.ridge", "model.noise", "model.scale"):
        assert key in said
    assert diverged_note(open_forecasts(run.forecast_store)).startswith(note)
    run.verify()
    text = write_report(run).read_text(encoding="utf-8")
    assert note in text
    table = text.split('id="skill"')[1].split("</section>")[0]
    assert "nan" not in table.lower()  # a dash stands for it
    assert "\N{EN DASH}" in table


@pytest.mark.slow
def test_values_that_the_bound_has_limited_are_counted_on_the_page_and_by_the_command(tmp_path):
    run = local_run(tmp_path)
    run.fit()
    scale_weights(run.model, 1e3)
    said = lines(run, run.forecast())
    count = open_forecasts(run.forecast_store).sizes["time"]
    note = f"he bound (model.bound) has limited values of {count} of {count} forecasts"
    assert note in said
    unstable = "of the values at leads up to +1\N{NO-BREAK SPACE}d, so the forecasts are unstable"
    assert said.split("warning: ")[1].count(unstable) == 1
    run.verify()
    text = write_report(run).read_text(encoding="utf-8")
    assert unstable in text.split('class="notice"')[1].split("</p>")[0]
    assert note in text.split('class="note"')[1].split("</p>")[0]


DAYS = pd.to_timedelta([6, 12, 24, 48], "h").to_numpy()


def forecasts(shares: list[list[float]], leads: Any = DAYS) -> xr.Dataset:
    """Return the shares of limited values of some forecasts at four leads."""
    dims = ("time", "prediction_timedelta")
    return xr.Dataset({"limited": (dims, shares)}, {"prediction_timedelta": leads})


def test_shares_of_limited_values_are_percentages():
    assert limited_note(forecasts([[0.0] * 4])) == ""
    note = limited_note(forecasts([[0, 0, 0.1, 0.2], [0, 0, 0, 0.076], [0, 0, 0, 0]]))
    assert "limited values of 2 of 3 forecasts" in note
    assert "3.1 % of all values, from +1\N{NO-BREAK SPACE}d on, and at most 20 % of" in note
    assert "less than 0.1 % of all values" in limited_note(forecasts([[0, 0, 0, 1e-5]]))
    assert "100 % of all values" in limited_note(forecasts([[1, 1, 1, 1]]))


def test_a_model_is_called_unstable_for_values_limited_within_a_day():
    shares = [[0.0, 0.1, 0.53, 0.9]]
    note = unstable_note(forecasts(shares))
    assert "21 % of the values at leads up to +1\N{NO-BREAK SPACE}d" in note
    assert "fit.ridge" in note
    assert "model.noise" in note
    assert unstable_note(forecasts([[0.0, 0.1, 0.5, 1.0]])) == ""  # 20 % within a day
    assert unstable_note(forecasts([[np.nan] * 4])) == ""
    longer = np.arange(2, 6).astype("timedelta64[D]").astype("timedelta64[ns]")
    for leads in (np.arange(1, 5), longer):  # the first alone
        assert unstable_note(forecasts(shares, leads)) == ""
        assert unstable_note(forecasts([[0.3, 0.0, 0.0, 0.0]], leads))
