"""Table of a case in a terminal, as long-form CSV and as JSON."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from rich.table import Table
from rich.text import Text

from gfrnn.workflows.report.labels import number
from gfrnn.workflows.reproduce.case_result import TRAINING, CaseResult, Entry, Score, Verdict

KINDS = {"ours": "this project", "peer": "published method", "reference": "reference"}
"""Text for each kind of entry."""


def number_text(value: float) -> str:
    """Format a number with three digits; NaN (diverged) becomes ``undefined``."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return number(value)


def table_cell(entry: Entry, score: Score) -> tuple[str, str]:
    """Format median and quartiles over seeds.

    Both texts are empty if nothing was measured; the quartiles are also empty for a single value.
    """
    quartiles = entry.quartiles(score.key)
    if quartiles is None:
        return "", ""
    low, middle, high = map(number_text, quartiles)
    return middle, f"{low} to {high}" if len(entry.values(score.key)) > 1 else ""


def best_entries(result: CaseResult, score: Score) -> set[str]:
    """Return the names of the entries with the best median if at least two were measured."""
    medians = {
        entry.name: quartiles[1]
        for entry in result.entries
        if (quartiles := entry.quartiles(score.key)) is not None and not math.isnan(quartiles[1])
    }
    if len(medians) < 2:
        return set()
    best = (max if score.better == "higher" else min)(medians.values())
    return {name for name, median in medians.items() if median == best}


def verdict_sentence(verdict: Verdict) -> str:
    """Describe a verdict: ``R factor: valid time 24.5, required at least 20: reached``."""
    bar, score = verdict.bar, verdict.score
    unit = f" {score.unit}" if score.unit else ""
    if verdict.wanted is None:
        goal = f"better than {bar.against}"
    else:
        strict = bar.strict or bar.against is not None
        words = {
            ("higher", True): "above", ("higher", False): "at least",
            ("lower", True): "below", ("lower", False): "at most",
        }  # fmt: skip
        goal = f"{words[score.better, strict]} {number_text(verdict.wanted)}{unit}"
        if bar.against is not None:
            goal += f" of {bar.against}"
    found = "not measured" if verdict.found is None else number_text(verdict.found) + unit
    return f"{bar.entry}: {score.label} {found}, required {goal}: {verdict_word(verdict)}"


def verdict_word(verdict: Verdict) -> str:
    """Return ``reached``, ``not reached`` or ``not measured``."""
    return {True: "reached", False: "not reached", None: "not measured"}[verdict.reached]


def terminal_table(result: CaseResult) -> Table:
    """Return a table with a section for each score and a line for each entry."""
    table = Table(title=result.title, title_justify="left")
    table.add_column("")
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("quartiles", justify="right", no_wrap=True)
    for score in result.columns:
        unit = f" ({score.unit})" if score.unit else ""
        table.add_row(Text.assemble((score.label, "bold"), f"{unit}, {score.better} is better"))
        best = best_entries(result, score)
        for entry in result.entries:
            median, quartiles = table_cell(entry, score)
            if median:
                strong = entry.name in best and score is not TRAINING
                shown = Text(median, "bold" if strong else "")
                table.add_row(f"  {entry.name}", shown, quartiles)
        table.add_section()
    return table


def csv_text(result: CaseResult, seeds: list[int]) -> str:
    """Return all values in long form: ``entry, kind, score, unit, seed, value``.

    Training times are included. The seed is empty for values that do not depend on one.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["entry", "kind", "score", "unit", "seed", "value"])
    for entry in result.entries:
        for score in result.columns:
            values = entry.values(score.key)
            known = seeds if len(values) == len(seeds) and entry.kind != "reference" else None
            for place, value in enumerate(values):
                seed = "" if known is None else known[place]
                writer.writerow(
                    [entry.name, entry.kind, score.key, score.unit, seed, repr(float(value))]
                )
    return buffer.getvalue()


def json_tree(result: CaseResult) -> dict[str, Any]:
    """Return scores, entries and bars for JSON; numbers that are not finite become text."""
    entries = []
    for entry in result.entries:
        summary = {}
        for score in result.columns:
            quartiles = entry.quartiles(score.key)
            if quartiles is not None:
                low, middle, high = map(_jsonable, quartiles)
                summary[score.key] = {"median": middle, "quartiles": [low, high]}
        entries.append({"name": entry.name, "kind": entry.kind, "scores": summary})
    bars = [
        {
            "score": verdict.bar.score,
            "entry": verdict.bar.entry,
            "against": verdict.bar.against,
            "wanted": _jsonable(verdict.wanted),
            "found": _jsonable(verdict.found),
            "verdict": verdict_word(verdict),
            "text": verdict.bar.text,
        }
        for verdict in result.verdicts()
    ]
    scores = [
        {"key": score.key, "label": score.label, "unit": score.unit, "better": score.better}
        for score in result.columns
    ]
    return {
        "title": result.title,
        "scores": scores,
        "entries": entries,
        "bars": bars,
        "notes": list(result.notes),
    }


def _jsonable(value: float | None) -> float | str | None:
    """Return the text of infinity and NaN, which JSON does not have, and other values as given."""
    return value if value is None or math.isfinite(value) else repr(value)
