"""Test the tables of comparisons and of scored files, from made-up scores."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

from gfrnn.workflows.comparison.score_tables import comparison_table, source_table

RUNS = ["first", "second", "linear"]
SIX_HOURLY = pd.to_timedelta(6, "h") * np.arange(1, 41)


def compared(leads: pd.TimedeltaIndex = SIX_HOURLY, runs: list[str] = RUNS) -> xr.Dataset:
    """Return a comparison of two runs and a reference: the second is 14.2 % and 0.04 % worse."""
    count = len(leads)
    change = np.full((3, 1, count), 0.142)
    change[:, :, -1] = 4e-4
    change[0] = np.nan
    dims = ("run", "channel", "prediction_timedelta")
    return xr.Dataset(
        {
            "rmse": (dims, np.full((3, 1, count), 10.1)),
            "rmse_change": (dims, change),
            "rmse_change_low": (dims, change - 1e-4),
            "rmse_change_high": (dims, change + 1e-4),
            "pairs": ("prediction_timedelta", np.full(count, 30)),
        },
        {
            "run": runs,
            "reference": ("run", [False, False, True]),
            "channel": ["geopotential_500"],
            "units": ("channel", ["dam"]),
            "prediction_timedelta": leads,
        },
    )


def lines(scores: xr.Dataset, width: int, table=comparison_table) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=True)
    console.print(table(scores, console))
    return out.getvalue().replace("\N{NO-BREAK SPACE}", " ").splitlines()


def row(found: list[str], label: str) -> list[str]:
    """Return the cells of the first line that begins with a label."""
    rows = ([cell.strip() for cell in line.strip("│┃").split("│")] for line in found)
    return next(cells[1:] for cells in rows if cells[0] == label)


def test_leads_numbers_and_changes_are_those_of_a_run():
    found = lines(compared(), 120)
    heads = [head.strip() for head in found[2].strip("┃").split("┃")][1:]
    assert heads == ["+12 h", "+1 d", "+2 d", "+3 d", "+5 d", "+10 d"]
    assert row(found, "first") == ["10.10"] * 6
    assert row(found, "change, %") == ["+14*"] * 5 + ["0.0"]


def test_a_lead_of_zero_has_no_column_beside_others():
    for leads in (pd.to_timedelta(np.arange(24), "h"), pd.to_timedelta(np.arange(6), "D")):
        assert "+0 d" not in lines(compared(leads), 120)[2]
    assert "+0 d" in lines(compared(pd.to_timedelta([0])), 120)[2]


@pytest.mark.parametrize("width", [40, 50, 60, 80])
@pytest.mark.parametrize("name", ["second", "a_run_with_a_name_that_is_longer_than_others"])
def test_no_cell_is_cut(width, name):
    found = lines(compared(runs=["first", name, "linear"]), width)
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in found)
    assert row(found, "first")[-1] == "10.10"


def test_the_table_of_scored_files_fits_and_has_four_digits():
    scores = compared().rename(run="system").drop_vars("reference")
    scores["acc"] = -0.3 * scores["rmse"] / 10.1
    found = lines(scores.assign_coords(system=["forecast", "b", "c"]), 60, source_table)
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in found)
    assert row(found, "forecast")[-1] == "10.10"
    assert row(found, "anomaly correlation")[-1] == "\N{MINUS SIGN}0.3000"
