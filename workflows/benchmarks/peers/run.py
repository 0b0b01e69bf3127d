"""Measure comparisons, and write the tables of all that were measured so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.benchmarks.peers.catalogue import COMPARISONS
from gfrnn.workflows.benchmarks.peers.measure import measure
from gfrnn.workflows.benchmarks.peers.results import (
    ComparisonResult,
    read_results,
    write_results,
)
from gfrnn.workflows.benchmarks.peers.tables import markdown, result_tables

RESULTS, DOCUMENT = "peers.json", "peers.md"


def chosen_names(text: str | None) -> list[str]:
    """Parse a list of comparisons such as ``era-interim,lorenz63``; all if it is None.

    Raises
    ------
    ConfigError
        If a name is unknown.
    """
    if text is None:
        return list(COMPARISONS)
    names = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [name for name in names if name not in COMPARISONS]
    if unknown or not names:
        raise ConfigError(
            f"--rows: {unknown[0] if unknown else text!r} is not a comparison; choose of "
            f"{', '.join(COMPARISONS)}"
        )
    return names


def run(
    names: Sequence[str], quick: bool, rounds: int, folder: Path, report: Callable[[str], None]
) -> Iterator[tuple[ComparisonResult, list[Table]]]:
    """Measure some comparisons; yield each result and its tables.

    After each comparison, the files in the folder are written again with its results and those of
    earlier measurements of the others.

    Parameters
    ----------
    names : sequence of str
    quick : bool
    rounds : int
        Least number of fits of each contender.
    folder : Path
        Folder of ``peers.json`` and ``peers.md``.
    report : callable
        Called with a line of text before each piece of work.
    """
    path = folder / RESULTS
    read_results(path)  # a file that cannot be used is refused before the work
    for name in names:
        result = measure(COMPARISONS[name], quick, rounds, report)
        known = read_results(path) | {name: result}
        ordered = {key: known[key] for key in COMPARISONS if key in known}
        write_results(path, ordered)
        parts = [markdown(COMPARISONS[key], one) for key, one in ordered.items()]
        (folder / DOCUMENT).write_text("\n".join(parts), encoding="utf-8")
        yield result, list(result_tables(COMPARISONS[name], result))
