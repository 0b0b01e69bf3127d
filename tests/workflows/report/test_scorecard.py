"""Test scorecards: texts, colours and marks of the changes against references."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.subsets import MONTHS
from gfrnn.workflows.report.score_figures import panels
from gfrnn.workflows.report.score_figures.panels import line_legend
from gfrnn.workflows.report.score_figures.score_change import ScoreChange
from gfrnn.workflows.report.score_figures.scorecard import (
    ScoreCell,
    main_scorecards,
    subset_scorecards,
)
from gfrnn.workflows.report.score_figures.skill_figures import skill_pictures

CHANNEL = Channel("temperature", 850.0)
SYSTEMS = ["forecast", "linear", "damped persistence", "persistence", "climatology"]
LEADS = np.arange(1, 6) * np.timedelta64(1, "D").astype("timedelta64[ns]")

# Changes in % against the linear model, and their intervals.
CHANGES = np.array([-50.0, -2.0, 0.5, 15.0, 0.0])
LOW = np.array([-52.0, -4.5, -0.5, 12.0, np.nan])
HIGH = np.array([-48.0, 0.5, 1.5, 18.0, np.nan])


def made(subsets: list[str] | None = None, regions: list[str] | None = None) -> xr.Dataset:
    """Return scores of one channel: the linear model errs by 2 K, the others by 4 K."""
    rmse = np.full((5, 1, 5), 4.0)
    rmse[0, 0] = 2.0 * (1 + CHANGES / 100)
    rmse[1] = 2.0
    ends = np.full((2, 5, 1, 5), np.nan)
    ends[:, 1, 0] = LOW / 100, HIGH / 100
    dims = ("system", "channel", "prediction_timedelta")
    scores = xr.Dataset(
        {
            "rmse": (dims, rmse),
            "acc": (dims, 1 - rmse / 10),
            "bias": (dims, rmse / 10),
            "rmse_change_low": (dims, ends[0]),
            "rmse_change_high": (dims, ends[1]),
        },
        {
            "system": SYSTEMS,
            "channel": [CHANNEL.name],
            "units": ("channel", ["K"]),
            "prediction_timedelta": LEADS,
        },
    )
    if regions is None or subsets is None:
        return scores
    rest = {"subset": subsets, "region": regions}
    whole = {name: scores[name].expand_dims(rest) for name in ("rmse", "acc", "bias")}
    return scores.expand_dims(region=regions).assign(whole)


def cells(scores: xr.Dataset, card: int = 0) -> list[ScoreCell]:
    """Return the cells of a scorecard that is shown first."""
    first, _ = main_scorecards(scores, [CHANNEL], range(5))
    ((label, found),) = first[card].rows
    assert label == "Temperature 850 hPa"
    return found


def test_cells_have_the_change_its_colour_and_a_star_if_it_is_significant():
    found = [(cell.text.replace("\N{MINUS SIGN}", "-"), cell.kind) for cell in cells(made())]
    assert found == [
        ("-50*", "better s4 sure"),
        ("-2.0", "better s1"),
        ("+0.5", "worse s0"),
        ("+15*", "worse s3 sure"),
        ("0.0", ""),
    ]


def test_titles_have_the_errors_and_the_interval():
    titles = [
        cell.title.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
        for cell in cells(made())
    ]
    assert titles[0] == (
        "Temperature 850 hPa, +1 d: RMSE 1.00 K against 2.00 K; "
        "95 % interval of the change -52.0 to -48.0 %"
    )
    assert titles[4] == "Temperature 850 hPa, +5 d: RMSE 2.00 K against 2.00 K"


@pytest.mark.parametrize("broken", [0, 1])
def test_a_score_that_is_missing_has_neither_number_nor_colour(broken: int):
    scores = made()
    scores["rmse"][broken, 0, 0] = np.nan
    assert (cells(scores)[0].text, cells(scores)[0].kind) == ("\N{EN DASH}", "")
    assert cells(scores)[1].kind == "better s1"


def test_the_linear_model_comes_first_and_persistence_is_folded():
    first, folded = main_scorecards(made(), [CHANNEL], [0, 2])
    assert [card.title for card in first] == ["Against the linear model", "Against climatology"]
    assert [card.title for card in folded[0].cards] == [
        "Against damped persistence", "Against persistence",
    ]  # fmt: skip
    assert [label.replace("\N{NO-BREAK SPACE}", " ") for label in first[0].leads] == [
        "+1 d",
        "+3 d",
    ]
    climatology = cells(made(), 1)
    assert climatology[1].text.replace("\N{MINUS SIGN}", "-") == "-51"  # without an interval


def test_regions_have_intervals_and_parts_of_the_year_and_day_have_none():
    scores = made([WHOLE, "DJF", "JJA", "00:00 UTC", "12:00 UTC"], [WHOLE, "north_atlantic"])
    regions, seasons, hours = subset_scorecards(scores, [CHANNEL], range(5))
    assert [card.title for card in regions.cards] == ["North atlantic"]
    assert [card.title for card in seasons.cards] == ["DJF", "JJA"]
    assert [card.title for card in hours.cards] == ["00:00 UTC", "12:00 UTC"]
    assert [group.intervals for group in (regions, seasons, hours)] == [True, False, False]
    assert regions.cards[0].rows[0][1][0].kind == "better s4 sure"
    for group in (seasons, hours):
        for card in group.cards:
            assert card.rows[0][1][0].kind == "better s4"


def test_data_without_a_calendar_have_no_seasons_and_hours():
    scores = made([WHOLE, "DJF", "JJA", "00:00 UTC", "12:00 UTC"], [WHOLE, "north_atlantic"])
    groups = subset_scorecards(scores, [CHANNEL], range(5), calendar=False)
    assert [group.title for group in groups] == ["By region, against the linear model"]


@pytest.mark.parametrize(("change", "kind"), [(-0.049, ""), (-0.051, "better s0 sure")])
def test_a_change_that_is_written_as_zero_has_no_colour(change, kind):
    scores = made()
    scores["rmse"][0] = scores["rmse"][1] * (1 + change / 100)
    scores["rmse_change_low"][1], scores["rmse_change_high"][1] = -2e-3, -1e-4
    (cell, *_) = cells(scores)
    assert (cell.kind, cell.text) == (kind, "0.0" if not kind else "\N{MINUS SIGN}0.1*")


def test_rounding_errors_are_no_changes_on_the_axis_of_the_picture(monkeypatch):
    axes = []
    monkeypatch.setattr(panels, "embed", lambda figure, alt: axes.append(figure.axes[0]))
    for size in (1e-6, 0.2):
        change = np.array([size, -size])
        panels.change_picture(ScoreChange(change, change, change), LEADS[:2], "RMSE", "a")
    assert axes[0].get_ylim() == (-1, 1)
    assert max(axes[1].get_ylim()) < 0.5


def test_without_regions_and_seasons_there_is_nothing_to_fold():
    assert subset_scorecards(made([WHOLE], [WHOLE]), [CHANNEL], [0]) == []
    monthly = made([WHOLE, *MONTHS], [WHOLE])  # months have a figure of their own
    assert subset_scorecards(monthly, [CHANNEL], [0]) == []


def test_the_picture_of_the_change_gives_its_interval():
    pictures = skill_pictures(made(), CHANNEL)
    assert len(pictures) == 4
    text = pictures[1].alt.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert "-50.0 % at +1 d (95 % interval -52.0 to -48.0 %), 0.0 % at +5 d." in text
    assert "Forecast: 1 at" in pictures[0].alt


def test_the_picture_of_a_single_lead_without_interval_is_drawn():
    one = made().isel(prediction_timedelta=[4])
    assert "interval" not in skill_pictures(one, CHANNEL)[1].alt


def test_every_system_has_a_line_of_its_own_in_the_legend():
    lines = line_legend(np.array([*SYSTEMS, "linear inverse"]))
    assert len({line["color"] for line in lines}) == len(lines)
    assert all(line["color"].startswith("#") for line in lines)
