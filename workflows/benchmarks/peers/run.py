"""Measure comparisons, and write the tables of all that were measured so far."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.storage import check_writable
from gfrnn.workflows.benchmarks.peers.catalogue import COMPARISONS
from gfrnn.workflows.benchmarks.peers.comparison import Comparison
from gfrnn.workflows.benchmarks.peers.measure import measure
from gfrnn.workflows.benchmarks.peers.results import (
    ComparisonResult,
    PeerResult,
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


def narrowed(comparison: Comparison, models: str | None) -> Comparison:
    """Return a comparison of those contenders only whose name contains a text.

    Raises
    ------
    ConfigError
        If there are none.
    """
    if models is None:
        return comparison
    chosen = tuple(one for one in comparison.contenders if models.lower() in one.name.lower())
    if not chosen:
        raise ConfigError(
            f"--models: no model of {comparison.name} has {models!r} in its name; choose of "
            f"{', '.join(one.name for one in comparison.contenders)}"
        )
    return replace(comparison, contenders=chosen)


def with_earlier(
    comparison: Comparison, result: ComparisonResult, earlier: ComparisonResult | None
) -> ComparisonResult:
    """Return a result with the rows of an earlier one of the same size for the other contenders."""
    if earlier is None or earlier.quick != result.quick:
        return result
    order = [one.name for one in comparison.contenders]

    def contender(row: PeerResult) -> str:
        """Return the contender of a row, whose name may go on with that of a mean."""
        return max((name for name in order if row.name.startswith(name)), key=len, default="")

    measured = {contender(row) for row in result.rows}
    kept = [row for row in earlier.rows if contender(row) not in {*measured, ""}]
    rows = sorted([*result.rows, *kept], key=lambda row: order.index(contender(row)))
    return replace(result, rows=rows)


def run(
    names: Sequence[str],
    quick: bool,
    rounds: int,
    folder: Path,
    report: Callable[[str], None],
    models: str | None = None,
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
    models : str, optional
        Measure only contenders with this text in their name; the others keep earlier results.

    Raises
    ------
    RunError
        If the folder cannot be made or written.
    """
    check_writable(folder, "--folder")  # before hours of work
    path = folder / RESULTS
    read_results(path)  # a file that cannot be used is refused before the work
    chosen = {name: narrowed(COMPARISONS[name], models) for name in names}
    for name, comparison in chosen.items():
        # The results are written and shown before thousands of small files are removed.
        with tempfile.TemporaryDirectory(prefix="gfrnn-peers-") as scratch:
            result = measure(comparison, quick, rounds, report, Path(scratch))
            known = read_results(path)
            if models is not None:
                result = with_earlier(COMPARISONS[name], result, known.get(name))
            known[name] = result
            ordered = {key: known[key] for key in COMPARISONS if key in known}
            write_results(path, ordered)
            parts = [markdown(COMPARISONS[key], one) for key, one in ordered.items()]
            (folder / DOCUMENT).write_text("\n".join(parts), encoding="utf-8")
            yield result, list(result_tables(COMPARISONS[name], result))
