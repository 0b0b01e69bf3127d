"""Run a case and write its results into a folder."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import xarray as xr
from matplotlib.figure import Figure
from threadpoolctl import threadpool_info

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.provenance import provenance
from gfrnn.pipeline.storage import consolidate, write_whole
from gfrnn.workflows.report.figures import STYLE, WIDTH
from gfrnn.workflows.report.page_template import render_page
from gfrnn.workflows.reproduce.case import Case
from gfrnn.workflows.reproduce.case_result import TRAINING, CaseResult
from gfrnn.workflows.reproduce.result_table import (
    KINDS,
    best_entries,
    csv_text,
    json_tree,
    table_cell,
    verdict_sentence,
    verdict_word,
)
from gfrnn.workflows.reproduce.settings_file import LoadedSettings, dump

_LIBRARIES = ("gfrnn", "numpy", "scipy", "reservoirpy")
_QUICK = "These are the quick settings; the bars apply to the full ones."


def reproduce(
    case: Case[Any],
    loaded: LoadedSettings[Any],
    seeds: Sequence[int],
    folder: Path,
    progress: Progress,
    command: str,
) -> CaseResult:
    """Run a case and write ``settings.yaml``, ``table.csv``, ``result.json``, figure and page.

    A dataset of the result is written to ``result.zarr`` in zarr format 3. Nothing is written
    before the computation has finished. Other files in the folder are kept.

    Parameters
    ----------
    case : Case
    loaded : LoadedSettings
    seeds : sequence of int
    folder : Path
        Created if it does not exist.
    progress : callable
    command : str
        Command line that repeats the run, for the page.

    Returns
    -------
    CaseResult
    """
    begun = datetime.now(UTC)
    result = case.run(loaded.settings, list(seeds), progress)
    if loaded.quick:
        result = replace(result, notes=[*result.notes, _QUICK])
    record = {
        "case": case.name,
        "command": command,
        "seeds": list(seeds),
        "date": begun.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - begun).total_seconds(), 1),
        **machine(),
    }
    picture = draw(result)
    settings = dump(loaded.values)
    files = {
        "settings.yaml": f"# Settings of the case {case.name}, as resolved.\n{settings}",
        "table.csv": csv_text(result, list(seeds)),
        "result.json": json.dumps(record | json_tree(result), indent=1, ensure_ascii=False) + "\n",
        "figure.svg": picture,
        "index.html": _page(result, record, settings, picture),
    }
    if result.dataset is not None:
        _write_dataset(folder / "result.zarr", result.dataset.assign_attrs(
            title=result.title, case=case.name, command=command, date=record["date"],
        ))  # fmt: skip
    write_files(folder, files)
    return result


def _write_dataset(path: Path, dataset: xr.Dataset) -> None:
    def write(partial: Path) -> None:
        dataset.to_zarr(partial, zarr_format=3, consolidated=False)
        consolidate(partial)

    write_whole(path, write)


def machine() -> dict[str, Any]:
    """Return versions of libraries, number of cores and the BLAS."""
    found = provenance(_LIBRARIES)
    blas = sorted(
        {
            f"{library['internal_api']} {library['version']}"
            for library in threadpool_info()
            if library["user_api"] == "blas"
        }
    )
    found["machine"] |= {"blas": ", ".join(blas) or "unknown", "blas_threads_in_training": 1}
    return found


@matplotlib.rc_context({**STYLE, "svg.hashsalt": "gfrnn", "svg.fonttype": "path"})
def draw(result: CaseResult) -> str:
    """Draw the figure of a result and return it as SVG text."""
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    result.draw(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files so that a failure leaves the earlier ones as they were.

    All are written to a temporary folder, then moved to their places in the given order.

    Parameters
    ----------
    folder : Path
    files : dict of str to str
        Text by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        for name, text in files.items():
            (aside / name).write_text(text, encoding="utf-8")
        for name in files:
            os.replace(aside / name, folder / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _page(result: CaseResult, record: dict[str, Any], settings: str, picture: str) -> str:
    best = {score.key: best_entries(result, score) for score in result.columns}
    rows = [
        {
            "name": entry.name,
            "kind": KINDS[entry.kind],
            "cells": [
                (
                    *table_cell(entry, score),
                    score is not TRAINING and entry.name in best[score.key],
                )
                for score in result.columns
            ],
        }
        for entry in result.entries
    ]
    verdicts = [
        {
            "text": verdict_sentence(verdict),
            "source": verdict.bar.text,
            "word": verdict_word(verdict),
        }
        for verdict in result.verdicts()
    ]
    encoded = base64.b64encode(picture.encode()).decode()
    return render_page(
        __file__,
        "case.html",
        result=result,
        record=record,
        settings=settings,
        rows=rows,
        verdicts=verdicts,
        # An SVG in an img element cannot clash with ids and styles of the page.
        picture=f"data:image/svg+xml;base64,{encoded}",
    )
