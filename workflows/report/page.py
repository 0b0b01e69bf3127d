"""The page that says what came of a run: skill, choices, an example, and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import dump_experiment
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.workflows.report.facts import facts
from gfrnn.workflows.report.figures import USEFUL, ridge_picture, skill_picture, spectrum_picture
from gfrnn.workflows.report.labels import (
    duration_label,
    heading,
    lead_label,
    number,
    percent,
    relative,
    unit_label,
)
from gfrnn.workflows.report.maps import MapField, map_pictures
from gfrnn.workflows.report.run_contents import RunContents
from gfrnn.workflows.session.run_session import lost_note

Array = NDArray[Any]

_TABLE_DAYS = (1, 3, 5, 10)
_MAP_DAYS = 3
_MOST_CHANNELS = 12  # with figures of their own
_MOST_MAPS = 4


def write_report(run: Run) -> Path:
    """Write ``report.html``, one page that needs nothing else, into a run's folder.

    Parameters
    ----------
    run : Run
        With all stages done.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunError
        If a stage is missing.
    DataError
        If the data, which the maps show, are not there any more.
    """
    material = RunContents.of(run)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(_content(material))
    path = run.folder / "report.html"
    write_text(path, page)
    return path


def _content(material: RunContents) -> dict[str, Any]:
    """Everything that the template shows."""
    run, model, scores = material.run, material.model, material.scores
    experiment, notes = run.experiment, model.notes
    leads = [lead.to_timedelta64() for lead in model.leads]
    shown = material.channels[:_MOST_CHANNELS]
    return {
        "experiment": experiment,
        "summary": summary(material),
        "lost": lost_note(material.forecasts),
        "origins": [origin for origin in run.ds.attrs.get("origins", []) if _is_model(origin)],
        "facts": facts(material),
        "table": skill_table(material),
        "systems": list(scores["system"].values),
        "skill": [skill_picture(scores, channel) for channel in shown],
        "channels": len(material.channels),
        "pairs": scores["pairs"].values,
        "ridge": ridge_picture(model.selection, leads, notes.width),
        "candidates": _candidates(notes, leads),
        "average": experiment.fit.average,
        "searched": list(experiment.search),
        "spectrum": spectrum_picture(model.selection, leads),
        "maps": _maps(material),
        "record": run.record,
        "stages": [
            (stage, duration_label(entry.seconds or 0.0), entry.finished)
            for stage, entry in run.record.stages.items()
            if entry.finished
        ],
        "cluster": run.record.cluster,
        "resolved": dump_experiment(experiment),
        "performance": [
            (path.stem.removeprefix("performance-"), path.name)
            for path in sorted(run.folder.glob("performance-*.html"))
        ],
        "written": f"{pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC",
    }


# Words and tables


def summary(material: RunContents) -> list[str]:
    """The key numbers in sentences."""
    first, leads = material.channels[0], _table_leads(material)

    def sentence(channel: Channel, lead: int, *references: str) -> str:
        ours, unit = material.rmse(channel, "forecast", lead), unit_label(material.units(channel))
        against = " and ".join(
            f"{relative(ours, material.rmse(channel, system, lead))} "
            + ("the linear model" if system == "linear" else system)
            for system in references
        )
        when = lead_label(material.leads[lead])
        return f"{heading(channel)} at {when}: RMSE {number(ours)} {unit}, {against}."

    sentences = [
        sentence(channel, leads[0], "linear", "damped persistence")
        for channel in material.channels[:3]
    ]
    if len(leads) > 1:
        sentences.append(sentence(first, leads[-1], "linear", "climatology"))
    acc = material.scores["acc"].sel(channel=first.name, system="forecast").values
    lost = np.flatnonzero(~(acc >= USEFUL))
    until = len(acc) if not len(lost) else int(lost[0])
    reach = f"up to {lead_label(material.leads[until - 1])}" if until else "at no lead"
    sentences.append(f"Its anomaly correlation is at or above {USEFUL} {reach}.")
    return sentences


def skill_table(material: RunContents) -> list[dict[str, Any]]:
    """RMSE of every channel and system at a few leads.

    Returns
    -------
    list of dict
        One a channel: ``label``, ``unit`` and ``rows`` (lead, [(text, is best)] of the systems,
        change against the linear model).
    """
    systems = [str(system) for system in material.scores["system"].values]
    table = []
    for channel in material.channels:
        rows = []
        for place in _table_leads(material):
            values = {system: material.rmse(channel, system, place) for system in systems}
            cells = [(number(v), v == min(values.values())) for v in values.values()]
            change = percent(values["forecast"], values["linear"])
            rows.append((lead_label(material.leads[place]), cells, change))
        unit = unit_label(material.units(channel))
        table.append({"label": heading(channel), "unit": unit, "rows": rows})
    return table


def _table_leads(material: RunContents) -> list[int]:
    return list(dict.fromkeys(material.nearest(days) for days in _TABLE_DAYS))


def _candidates(notes: ModelNotes, leads: Sequence[np.timedelta64]) -> list[dict[str, Any]]:
    """The candidates of the search, best first, with the leads that each is used at."""
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


def _is_model(origin: dict[str, Any]) -> bool:
    """Whether a source's global attributes say that one of this project's systems made it."""
    return str(origin.get("source", "")).startswith("gfrnn_core.systems")


# The maps


def _maps(material: RunContents) -> dict[str, Any] | None:
    """One forecast beside what happened: the middle initial time whose truth is known."""
    model, store = material.model, material.forecasts
    fields, grid = model.fields(material.run.ds), model.layout.scaling.grid
    lead = material.nearest(_MAP_DAYS)
    valid = store["time"].values + material.leads[lead]
    known = np.flatnonzero(np.isin(valid, fields.time))
    if not len(known) or min(grid.shape[1:]) < 2:
        return None
    start = int(known[len(known) // 2])
    place = int(np.searchsorted(fields.time, valid[start]))
    when = valid[start : start + 1]
    truth = grid.fill_mask(fields.read(place, place + 1)).reshape(grid.shape)
    climatology = model.layout.scaling.climatology(when).reshape(grid.shape)
    one = store.isel(time=start, prediction_timedelta=lead)

    def drawn(channel: Channel) -> MapField:
        index = grid.channels.index(channel)
        field = one[channel.variable]
        if channel.level is not None:
            field = field.sel(level=channel.level)
        values = field.transpose("latitude", "longitude").values.astype(float)
        return MapField(channel, material.units(channel), values, truth[index], climatology[index])

    drawings = [drawn(channel) for channel in material.channels[:_MOST_MAPS]]
    return {
        "pictures": map_pictures(drawings, grid.latitude, grid.longitude, when[0]),
        "initial": f"{pd.Timestamp(store['time'].values[start]):%Y-%m-%d %H:%M} UTC",
        "valid": f"{pd.Timestamp(when[0]):%Y-%m-%d %H:%M} UTC",
        "lead": lead_label(material.leads[lead]),
    }
