"""Test the tables and figures of area indices, and the ratio to the climatology."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console
from rich.table import Table

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.report.labels import number, table_number
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.score_figures.score_change import ScoreChange
from gfrnn.workflows.report.score_figures.skill_figures import index_pictures
from gfrnn.workflows.report.skill_table import (
    dashboard_table,
    index_table,
    report_index_table,
    report_table,
    terminal_table,
)

SYSTEMS = ["forecast", "linear", "damped persistence", "persistence", "climatology"]
LEADS = 12
WIDE = Console(width=120)


def made(indices: bool = True) -> xr.Dataset:
    """Return scores of twelve leads; the forecast is the best at all but the last."""
    lead = np.arange(1, LEADS + 1)
    worse = np.arange(5)[:, None] / 10
    rmse = 0.1 * lead / LEADS + 0.2 + worse
    rmse[0, -1] = 9.0
    correlation = 0.95 - 0.05 * lead - worse
    correlation[4] = 0.0
    dims = ("system", "channel", "prediction_timedelta")
    scores = xr.Dataset(
        {"rmse": (dims, rmse[:, None])},
        {
            "system": SYSTEMS,
            "channel": ["sst"],
            "units": ("channel", ["K"]),
            "prediction_timedelta": lead * np.timedelta64(1, "D").astype("timedelta64[ns]"),
        },
    )
    if not indices:
        return scores
    dims = ("system", "index", "prediction_timedelta")
    return scores.assign(
        index_correlation=(dims, correlation[:, None]), index_rmse=(dims, rmse[:, None])
    ).assign_coords(index=["nino34"], index_units=("index", ["K"]))


def printed(table: Table) -> list[list[str]]:
    """Return the cells of each line of a table as it is printed."""
    out = io.StringIO()
    Console(file=out, width=120, no_color=True).print(table)
    return [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]
        for line in out.getvalue().splitlines()
    ]


def test_the_index_table_has_the_first_lead_and_quarters_of_the_horizon():
    table = index_table(made())
    lines = printed(table)
    heads = next(line for line in lines if line[0] == "system")
    assert [head.replace("\N{NO-BREAK SPACE}", " ") for head in heads[1:]] == [
        "+1 d", "+3 d", "+6 d", "+9 d", "+12 d",
    ]  # fmt: skip
    assert ["forecast", "0.900", "0.800", "0.650", "0.500", "0.350"] in lines
    assert ["nino34, correlation"] in [line[:1] for line in lines]
    assert ["nino34, RMSE, K"] in [line[:1] for line in lines]
    # The climatology has an error but no correlation.
    assert [line[0] for line in lines].count("climatology") == 1


def test_without_indices_there_is_no_table():
    assert index_table(made(indices=False)) is None
    assert report_index_table(made(indices=False), [0]) == []


def test_tables_have_the_ratio_to_the_climatology():
    row = next(line for line in printed(terminal_table(made(), WIDE)) if "/ clim" in line[0])
    rmse = made()["rmse"].isel(channel=0)
    ratio = (rmse.sel(system="forecast") / rmse.sel(system="climatology")).values
    shown = [0, 1, 2, 4, 9, 11]  # 1, 2, 3, 5, 10 and 12 days
    assert row == ["forecast / climatology", *(f"{ratio[lead]:.3f}" for lead in shown)]
    assert tuple(row) in dashboard_table(made()).rows


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_the_table_fits_the_terminal_with_all_cells_whole(width):
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=True)
    scores = made().assign_coords(channel=["sea_surface_temperature"])
    table = terminal_table(scores, console)
    console.print(table)
    assert "\N{HORIZONTAL ELLIPSIS}" not in out.getvalue()
    heads = printed(table)[2]
    assert heads[1].endswith("1\N{NO-BREAK SPACE}d")
    assert heads[-1].endswith("12\N{NO-BREAK SPACE}d")


def test_tables_mark_what_differs_significantly_from_the_linear_model():
    scores = made()
    dims = ("system", "channel", "prediction_timedelta")
    ends = np.full((2, 5, 1, LEADS), np.nan)
    ends[:, 1] = [[[-0.5] * LEADS], [[-0.01] * 6 + [0.01] * 6]]
    scores = scores.assign(rmse_change_low=(dims, ends[0]), rmse_change_high=(dims, ends[1]))
    table = terminal_table(scores, WIDE)
    row = next(line for line in printed(table) if line[0] == "forecast / linear, %")
    ours, linear = scores["rmse"].values[:2, 0]
    changes = [f"{100 * (ours[k] / linear[k] - 1):+.0f}" for k in (0, 1, 2, 4, 9, 11)]
    assert [cell.replace("\N{MINUS SIGN}", "-").rstrip("*") for cell in row[1:]] == changes
    assert [cell.endswith("*") for cell in row[1:]] == [True] * 4 + [False] * 2
    assert "* the 95 % interval excludes 0" in str(table.caption)
    assert tuple(row) in dashboard_table(scores).rows


def test_a_forecast_that_is_the_linear_model_but_for_rounding_is_not_marked():
    change = np.array([1e-6, -0.04, 0.06])
    found = ScoreChange(change, change - 0.01, change + 0.01)
    assert found.significant.tolist() == [False, False, True]
    assert found.cells() == ["0.0", "0.0", "+0.1*"]
    assert [text.split("\N{NO-BREAK SPACE}")[0] for text in found.percents()] == [
        "0.0", "0.0", "+0.1",
    ]  # fmt: skip


def test_equal_numbers_are_all_bold_or_none():
    scores = made()
    for name in ("rmse", "index_rmse"):
        scores[name][1] = scores[name].values[0] * (1 + 1e-7)
    (rows,) = report_table(scores, [Channel("sst")], [0, 11])
    _, index_rows = report_index_table(scores, [0, 11])
    for own in (rows, index_rows):
        best = [[marked for _, marked in cells] for _, cells, _ in own["rows"]]
        assert best == [[True, True, False, False, False], [False, False, True, False, False]]
    for table in (terminal_table(scores, WIDE), index_table(scores)):
        cells = list(table.columns[1].cells)
        places = [place for place, cell in enumerate(cells) if getattr(cell, "style", "") == "bold"]
        assert len({str(cells[place]) for place in places[-2:]}) == 1
        assert places[-1] - places[-2] == 1


def test_numbers_of_a_table_have_four_digits_and_the_minus_sign_of_people():
    numbers = [10.1, 13.0, 0.46, 12.274, 1234.5, 99999.0, 999.96, -0.25, 0.0]
    assert [table_number(value) for value in numbers] == [
        "10.10", "13.00", "0.4600", "12.27", "1234", "99999", "1000", "\N{MINUS SIGN}0.2500",
        "0.000",
    ]  # fmt: skip
    assert table_number(np.nan) == "\N{EN DASH}"
    assert number(-0.36) == "\N{MINUS SIGN}0.360"
    scores = made()
    scores["index_correlation"][0, 0, 0] = -0.036
    assert "\N{MINUS SIGN}0.036" in next(
        line for line in printed(index_table(scores)) if line[0] == "forecast"
    )


def test_rows_on_the_page_mark_the_best_and_compare_with_the_linear_model():
    correlation, rmse = report_index_table(made(), [0, 11])
    assert (correlation["label"], correlation["unit"]) == ("nino34, correlation", "")
    assert (rmse["label"], rmse["unit"]) == ("nino34, RMSE", "K")
    _, cells, change = correlation["rows"][0]
    assert cells == [
        ("0.90", True), ("0.80", False), ("0.70", False), ("0.60", False),
        ("\N{EN DASH}", False),
    ]  # fmt: skip
    assert change == "+0.10"
    _, cells, change = rmse["rows"][1]
    assert [best for _, best in cells] == [False, True, False, False, False]
    assert change.startswith("+2")


def test_leads_without_truth_and_references_without_a_score_leave_the_best_of_the_others(
    recwarn,
):
    scores = made(indices=False)
    scores["rmse"][0, :, 0] = np.nan  # the first system, which decides Python's min
    scores["rmse"][:, :, 11] = np.nan
    (row,) = report_table(scores, [Channel("sst")], [0, 11])
    first, last = (cells for _, cells, _ in row["rows"])
    assert [best for _, best in first] == [False, True, False, False, False]
    assert not any(best for _, best in last)
    assert terminal_table(scores, WIDE).row_count
    assert not recwarn.list


def test_the_picture_is_described():
    correlation, rmse = (
        picture.alt.replace("\N{NO-BREAK SPACE}", " ")
        for picture in index_pictures(made(), "nino34")
    )
    assert correlation.startswith("Correlation of index nino34 against lead. Forecast: 0.9 at +1 d")
    assert rmse.startswith("RMSE (K) of index nino34")


@pytest.mark.slow
def test_the_page_shows_the_indices_of_a_run(untouched: Run, tmp_path: Path):
    box = {"variable": "2m_temperature", "latitude": [-90, 90], "longitude": [0, 360]}
    tree = to_tree(untouched.experiment) | {"verification": {"indices": {"everywhere": box}}}
    run = Run(checked(Experiment, tree, "test"), tmp_path / "run")
    run.fit(), run.forecast(), run.verify()
    text = write_report(run).read_text(encoding="utf-8")
    assert "everywhere, correlation" in text
    assert "of index everywhere against lead" in text
    assert "persistence</em> is that of the anomaly" in text


@pytest.mark.parametrize(
    ("step", "count", "labels"),
    [
        ("6h", 40, ["+12 h", "+1 d", "+2 d", "+3 d", "+5 d", "+10 d"]),
        ("1D", 30, ["+1 d", "+2 d", "+3 d", "+5 d", "+10 d", "+30 d"]),
        ("6h", 60, ["+1 d", "+2 d", "+3 d", "+5 d", "+10 d", "+15 d"]),
        ("1h", 24, ["+1 h", "+2 h", "+4 h", "+7 h", "+13 h", "+1 d"]),  # few usual ones
        ("1D", 1, ["+1 d"]),
    ],
)
def test_the_table_has_usual_leads_and_the_last(step, count, labels):
    leads = pd.to_timedelta(step) * np.arange(1, count + 1)
    values = np.ones((3, 1, count))
    dims = ("system", "channel", "prediction_timedelta")
    scores = xr.Dataset(
        {"rmse": (dims, values)},
        {
            "system": ["forecast", "linear", "climatology"],
            "channel": ["a"],
            "units": ("channel", ["K"]),
            "prediction_timedelta": leads,
        },
    )
    heads = next(line for line in printed(terminal_table(scores, WIDE)) if line[0] == "system")
    assert [head.replace("\N{NO-BREAK SPACE}", " ") for head in heads[1:]] == labels
