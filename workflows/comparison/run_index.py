"""Index page of the runs in a folder: what each is, its scores, and a link to its report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import GfrnnError, RunError
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.source_verification import RECORD
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.workflows.comparison.score_tables import LABELS
from gfrnn.workflows.report.display_units import displayed_scores
from gfrnn.workflows.report.labels import heading, lead_label, number, unit_label
from gfrnn.workflows.report.page_template import render_page
from gfrnn.workflows.report.run_contents import headline_rank
from gfrnn.workflows.report.score_figures.score_change import SCORES, score_change
from gfrnn.workflows.report.skill_table import usual_leads

Array = NDArray[Any]

_DAYS = (0.25, 0.5, 1, 2, 3, 5, 10)
_MONTHS = (1, 3, 6, 9, 12)
_MOST_LEADS = 6
_CHANNELS_OF_RUN = 4
_MOST_DEPTH = 4  # folders below the one given


@dataclass(frozen=True)
class IndexedRun:
    """A run, or a verification of other forecasts, as the index shows it.

    Attributes
    ----------
    name : str
        Path of its folder, relative to the index.
    link : str or None
        Relative address of its report.
    description, period, settings : str
    state : str
        What is finished, or why the folder cannot be read.
    scores : xarray.Dataset or None
        Scores of the whole area and all pairs.
    """

    name: str
    link: str | None
    description: str = ""
    period: str = ""
    settings: str = ""
    state: str = ""
    scores: xr.Dataset | None = None


class IndexCell(NamedTuple):
    """Score of a run at a lead.

    Attributes
    ----------
    value, change : str
        The change against the linear model of the run is in %, with a star if it is significant.
    kind : str
        ``better`` or ``worse`` for a significant change, else empty.
    """

    value: str
    change: str
    kind: str


def write_index(folder: Path) -> tuple[Path, int]:
    """Write ``index.html`` about all runs below a folder into it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        Path of the page.
    int
        Number of runs.

    Raises
    ------
    RunError
        If there is no run below the folder.
    """
    runs = [_indexed(found, folder) for found in run_folders(folder)]
    if not runs:
        raise RunError(
            f"{folder}: not a run's folder (it has no experiment.yaml), and none is below it; give "
            "the folder of a run, such as runs/NAME, or a folder of runs, or make a run with "
            "`gfrnn run FILE`"
        )
    page = render_page(
        __file__,
        "run_index.html.j2",
        folder=folder.absolute().name,
        runs=runs,
        tables=list(_tables(runs)),
        written=f"{pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC",
    )
    path = folder / "index.html"
    write_text(path, page)
    return path, len(runs)


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of runs and of verifications below a folder, by name.

    Folders of a run are not searched for others, and neither are hidden folders, stores and links.
    """
    found = []
    for place, names, files in os.walk(folder):
        here = Path(place)
        depth = len(here.relative_to(folder).parts)
        if depth and {"experiment.yaml", RECORD} & set(files):
            found.append(here)
            names.clear()
            continue
        kept = [name for name in names if not name.startswith(".") and not name.endswith(".zarr")]
        names[:] = sorted(kept) if depth < _MOST_DEPTH else []
    return sorted(found)


def _scores(store: Path) -> xr.Dataset | None:
    return displayed_scores(open_scores(store)) if store.exists() else None


def _indexed(folder: Path, top: Path) -> IndexedRun:
    """Read what the index shows of a run; a folder that cannot be read does not stop the others."""
    own = RunFolder(folder)
    name = folder.relative_to(top).as_posix()
    link = quote(f"{name}/{own.report.name}") if own.report.exists() else None
    try:
        scores = _scores(own.score_store)
        if not own.experiment_file.exists():
            state = "finished: verify" if scores is not None else "not verified"
            about = "Forecasts of a store or files"
            return IndexedRun(name, link, about, _span(scores), "", state, scores)
        experiment, record = own.stored_experiment(), own.read_record()
        done = [stage for stage, entry in record.stages.items() if entry.finished]
        if "verify" not in done:
            scores = None  # those of an earlier state of the run
        return IndexedRun(
            name,
            link,
            experiment.description,
            _span(scores) or _period(experiment.periods.test),
            _settings(experiment),
            f"finished: {', '.join(done)}" if done else "not begun",
            scores,
        )
    except (GfrnnError, OSError, ValueError, KeyError) as error:
        return IndexedRun(name, link, state=f"cannot be read: {str(error).splitlines()[0]}")


def _settings(experiment: Experiment) -> str:
    """Describe the state, the network and the forecasts of an experiment shortly."""
    state, model, forecast = experiment.state, experiment.model, experiment.forecast
    words: list[str] = [state.layout]
    if state.layout == "eof":
        words.append(f"{state.modes} modes")
    words.append(f"width {model.width}")
    if experiment.fit.average > 1:
        words.append(f"{experiment.fit.average} networks")
    if forecast.members:
        words.append(f"{forecast.members} members")
    return ", ".join(words)


def _span(scores: xr.Dataset | None) -> str:
    """Return the first and the last initial time of scores; empty without any."""
    if scores is None:
        return ""
    return f"{scores.attrs['first'][:10]} to {scores.attrs['last'][:10]}"


def _period(period: Period) -> str:
    return f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"


@dataclass(frozen=True)
class IndexTable:
    """Scores of all runs that have a channel.

    Attributes
    ----------
    label, unit : str
    leads : list of str
    rows : list of tuple
        Name of a run, and its cells; None where it has not this lead.
    """

    label: str
    unit: str
    leads: list[str]
    rows: list[tuple[str, list[IndexCell | None]]]


def _tables(runs: Sequence[IndexedRun]) -> Iterator[IndexTable]:
    """Yield tables of each channel, unit and kind of lead, the channels in the usual order.

    Channels are the first of each run; a table has all runs with its channel.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, xr.Dataset]]] = {}
    chosen: dict[str, None] = {}
    for run in runs:
        if run.scores is None:
            continue
        kind = run.scores["prediction_timedelta"].dtype.kind  # months are integers
        channels = list(map(str, run.scores["channel"].values))
        chosen |= dict.fromkeys(sorted(channels, key=headline_rank)[:_CHANNELS_OF_RUN])
        for place, channel in enumerate(channels):
            own = run.scores.isel(channel=place)
            key = channel, str(own["units"].item()), kind
            groups.setdefault(key, []).append((run.name, own))
    for name in sorted(chosen, key=headline_rank):
        for (channel, units, _), members in groups.items():
            if channel == name:
                for score in LABELS:
                    having = [(run, own) for run, own in members if SCORES[score] in own]
                    if having:
                        yield _table(score, units, having)


def _table(score: str, units: str, runs: Sequence[tuple[str, xr.Dataset]]) -> IndexTable:
    axes = [own["prediction_timedelta"].values for _, own in runs]
    every = np.unique(np.concatenate(axes))
    leads = every[usual_leads(every, _DAYS, _MONTHS, _MOST_LEADS)]
    first = runs[0][1]
    level = float(first["level"])
    channel = Channel(str(first["variable"].item()), level if np.isfinite(level) else None)
    return IndexTable(
        f"{heading(channel)}, {LABELS[score]}",
        unit_label(units),
        [lead_label(lead) for lead in leads],
        [(name, list(_cells(own, score, leads))) for name, own in runs],
    )


def _cells(own: xr.Dataset, score: str, leads: Array) -> Iterator[IndexCell | None]:
    axis = own["prediction_timedelta"].values
    values = own[SCORES[score]].sel(system="forecast").values
    compared = "linear" in own["system"].values
    change = score_change(own, "linear", score) if compared else None
    texts = change.cells() if change else []
    for lead in leads:
        places = np.flatnonzero(axis == lead)
        if not places.size:
            yield None
            continue
        place = int(places[0])
        if change is None or not np.isfinite(change.change[place]):
            yield IndexCell(number(values[place]), "", "")
            continue
        side = "better" if change.change[place] < 0 else "worse"
        kind = side if change.significant[place] else ""
        yield IndexCell(number(values[place]), texts[place], kind)
