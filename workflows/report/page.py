"""Report page of a run: skill, selected settings, an example forecast, and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.cluster.human_units import human_duration
from gfrnn.pipeline.config.experiment import shown_experiment
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.states.sphere_patches import is_periodic
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.workflows.report.example_forecast import example_forecast
from gfrnn.workflows.report.facts import run_facts
from gfrnn.workflows.report.figures import ridge_picture, spectrum_picture, wavenumber_picture
from gfrnn.workflows.report.labels import (
    heading,
    lead_label,
    number,
    relative,
    unit_label,
)
from gfrnn.workflows.report.page_template import render_page
from gfrnn.workflows.report.run_contents import RunContents
from gfrnn.workflows.report.score_figures.month_figure import month_picture
from gfrnn.workflows.report.score_figures.panels import lead_legend, line_legend
from gfrnn.workflows.report.score_figures.probability_sections import (
    ensemble_section,
    ensemble_sentence,
    event_section,
    power_section,
)
from gfrnn.workflows.report.score_figures.scorecard import (
    STEPS,
    main_scorecards,
    subset_scorecards,
)
from gfrnn.workflows.report.score_figures.skill_figures import (
    USEFUL,
    index_pictures,
    skill_pictures,
)
from gfrnn.workflows.report.skill_table import report_index_table, report_table, usual_leads
from gfrnn.workflows.session.run_session import (
    climatology_note,
    diverged_note,
    limited_note,
    linear_note,
    unstable_note,
)

Array = NDArray[Any]

_TABLE_LEADS = (1, 3, 5, 10)  # days
_TABLE_MONTHS = (1, 3, 6, 9, 12)
_CARD_DAYS = (0.25, 0.5, *range(1, 11), 15)
_CARD_MONTHS = tuple(range(1, 13))
_MOST_CARD_LEADS = 12
_DIAGRAM_LEAD = 3  # days or months
_MOST_CHANNELS = 12  # with figures of their own
_OPEN_CHANNELS = 3  # the others are folded


def write_report(run: Run, places: Mapping[str, tuple[float, float]] | None = None) -> Path:
    """Write ``report.html``, one self-contained page, into the folder of a run.

    Parameters
    ----------
    run : Run
        A run with all stages done.
    places : mapping of str to (float, float), optional
        Names, and latitude and longitude in degrees, of places that an ensemble is shown at; the
        default is the middle of the grid.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    ConfigError
        If a place is outside of the grid or masked.
    RunError
        If a stage is missing.
    DataError
        If the data, which the maps show, no longer exist.
    """
    contents = RunContents.open(run)
    page = render_page(__file__, "report.html.j2", **_content(contents, places or {}))
    write_text(run.report, page)
    return run.report


def _content(contents: RunContents, places: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the variables of the template."""
    run, model, scores = contents.run, contents.model, contents.scores
    experiment, notes = run.experiment, model.notes
    leads = [lead.length for lead in model.leads]
    shown = contents.channels[:_MOST_CHANNELS]
    zonal = experiment.state.layout == "zonal"
    card_leads = _card_leads(contents.leads)
    diagram_leads = _diagram_leads(contents)
    first_cards, folded_cards = main_scorecards(scores, contents.channels, card_leads)
    return {
        "experiment": experiment,
        "summary": summary(contents),
        "warnings": [
            note
            for note in (
                climatology_note(notes),
                diverged_note(contents.rollouts),
                unstable_note(contents.rollouts),
            )
            if note
        ],
        "limited": limited_note(contents.rollouts),
        "origins": contents.simulated,
        "facts": run_facts(contents),
        "scorecards": first_cards,
        "scorecard_groups": [
            *folded_cards,
            *subset_scorecards(contents.score_subsets, shown, card_leads, contents.calendar),
        ],
        "steps": STEPS,
        "table": report_table(scores, contents.channels, _table_leads(contents)),
        "index_table": report_index_table(scores, _table_leads(contents)),
        "indices": [
            (name, index_pictures(scores, name)) for name in experiment.verification.indices
        ],
        "systems": list(scores["system"].values),
        "legend": line_legend(scores["system"].values),
        "skill": [(heading(channel), skill_pictures(scores, channel)) for channel in shown],
        "open_channels": _OPEN_CHANNELS,
        "climatology": (
            "means of the calendar months"
            if model.layout.scaling.climatology.annual == "month"
            else "harmonics of the year and the day"
        ),
        "diagram_legend": lead_legend(contents.leads, diagram_leads),
        "ensemble": ensemble_section(scores, shown, diagram_leads, card_leads),
        "events": event_section(scores, contents.channels, diagram_leads),
        "power": power_section(scores, shown, diagram_leads),
        "periodic": is_periodic(contents.grid.longitude),
        "months": [
            month_picture(contents.score_subsets, channel)
            for channel in (shown if model.step.monthly else ())
        ],
        "channels": len(contents.channels),
        "pairs": scores["pairs"].values,
        "wavenumbers": wavenumber_picture(model.selection) if zonal else None,
        "ridge": None if zonal else ridge_picture(model.selection, leads, notes.width),
        "candidates": _candidates(notes, leads),
        "first_round": sorted(map(asdict, notes.first_round), key=lambda each: each["score"]),
        "average": experiment.fit.average,
        "searched": list(experiment.search),
        "spectrum": None if zonal else spectrum_picture(model.selection, leads),
        "example": example_forecast(contents, places),
        "fields_kept": contents.run.experiment.forecast.store,
        "record": run.record,
        "stages": [
            (stage, human_duration(entry.seconds or 0.0), entry.finished)
            for stage, entry in run.record.stages.items()
            if entry.finished
        ],
        "cluster": _cluster(run.record.cluster),
        "resolved": shown_experiment(experiment),
        "performance": [
            (path.stem.removeprefix("performance-"), path.name)
            for path in sorted(run.folder.glob("performance-*.html"))
        ],
        "written": f"{pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC",
    }


# Text and tables


def summary(contents: RunContents) -> list[str]:
    """Summarise the most important scores in sentences."""
    first, leads = contents.channels[0], _table_leads(contents)

    def sentence(channel: Channel, lead: int, *references: str) -> str:
        ours, unit = contents.rmse(channel, "forecast", lead), unit_label(contents.units(channel))
        against = " and ".join(
            f"{relative(ours, contents.rmse(channel, system, lead))} "
            + ("the linear model" if system == "linear" else system)
            for system in references
        )
        when = lead_label(contents.leads[lead])
        return f"{heading(channel)} at {when}: RMSE {number(ours)} {unit}, {against}."

    sentences = [
        sentence(channel, leads[0], "linear", "damped persistence")
        for channel in contents.channels[:3]
    ]
    if len(leads) > 1:
        sentences.append(sentence(first, leads[-1], "linear", "climatology"))
    if note := linear_note(contents.run.experiment, contents.model.notes):
        sentences.insert(0, f"{note[0].upper()}{note[1:]}.")
    sentences += filter(None, [ensemble_sentence(contents.scores, first, leads[0])])
    acc = contents.scores["acc"].sel(channel=first.name, system="forecast").values
    below = np.flatnonzero(~(acc >= USEFUL))
    until = len(acc) if not len(below) else int(below[0])
    reach = f"up to {lead_label(contents.leads[until - 1])}" if until else "at no lead"
    sentences.append(f"Its anomaly correlation is at or above {USEFUL} {reach}.")
    return sentences


def _cluster(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Name the parts of the description of a cluster."""
    names = {"memory_gib": "memory (GiB)"}
    return {names.get(key, key): value for key, value in (found or {}).items()}


def _table_leads(contents: RunContents) -> list[int]:
    leads = _TABLE_MONTHS if contents.model.step.monthly else _TABLE_LEADS
    return list(dict.fromkeys(map(contents.nearest, leads)))


def _card_leads(leads: Array) -> list[int]:
    """Return the indices of the leads of the scorecards: all, or usual ones."""
    if len(leads) <= _MOST_CARD_LEADS:
        return list(range(len(leads)))
    return usual_leads(leads, _CARD_DAYS, _CARD_MONTHS, _MOST_CARD_LEADS)


def _diagram_leads(contents: RunContents) -> list[int]:
    """Return the indices of the leads of diagrams: the first, a usual one and the last."""
    return sorted({0, contents.nearest(_DIAGRAM_LEAD), len(contents.leads) - 1})


def _candidates(notes: ModelNotes, leads: Sequence[np.timedelta64]) -> list[dict[str, Any]]:
    """Return the candidates of the search, best first, with the leads at which each is used."""
    entries = [
        asdict(entry)
        | {
            "chosen": entry.values == notes.chosen,
            "used": ", ".join(
                lead_label(lead) for lead, share in zip(leads, entry.shares, strict=True) if share
            ),
        }
        for entry in notes.candidates
    ]
    return sorted(entries, key=lambda entry: float(entry["score"]))
