"""Tables of results for the terminal and for documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from gfrnn.workflows.benchmarks.benchmark_tables import bar_table, plain_table
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, ErrorColumn
from gfrnn.workflows.benchmarks.peers.results import ComparisonResult, PeerResult

_ERRORS_OF_TABLE = 4
"""Most columns of errors of a table for the terminal, which is narrow."""

_COSTS = ("fit (s)", "search (s)", "memory (MiB)")


def result_tables(comparison: Comparison, result: ComparisonResult) -> Iterator[Table]:
    """Yield tables of a comparison for the terminal: errors, costs, and bars if there are any."""
    title = f"{comparison.title}{' (quick)' if result.quick else ''}"
    count, text = len(comparison.columns), ("model", "versions")
    for first in range(0, count, _ERRORS_OF_TABLE):
        part = slice(first, min(first + _ERRORS_OF_TABLE, count))
        labels = [column.label for column in comparison.columns[part]]
        table = plain_table(title, "model", *labels, text=text)
        for row in measured_rows(result).values():
            table.add_row(row.name, *row_cells(comparison, row)[1:][part])
        yield table
    table = plain_table(title, "model", *_COSTS, "versions", text=text)
    for row in result.rows:
        *costs, _, versions = row_cells(comparison, row)[1 + count :]
        table.add_row(row.name, *costs, versions)
    yield table
    checks = list(comparison.bars(measured_rows(result)))
    if checks:
        yield bar_table(checks, full=not result.quick)


def measured_rows(result: ComparisonResult) -> dict[str, PeerResult]:
    """Return the rows without a gap by name."""
    return {row.name: row for row in result.rows if not row.gap}


def row_cells(comparison: Comparison, row: PeerResult) -> list[str]:
    """Return the cells of a row: name, errors, costs, setting, versions."""
    versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
    if row.gap:
        blank = [""] * (len(comparison.columns) + len(_COSTS))
        return [row.name, *blank, "", row.gap]
    errors = [_error(column, row.errors) for column in comparison.columns]
    memory = "" if row.memory is None else f"{row.memory / 2**20:.0f}"
    costs = [_seconds(row.fit_seconds), _seconds(row.search_seconds), memory]
    return [row.name, *errors, *costs, _setting(row.setting), versions]


def _error(column: ErrorColumn, errors: Mapping[str, float]) -> str:
    if column.key not in errors:
        return ""
    text = f"{errors[column.key]:#.{column.digits}g}".rstrip(".")
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa.rstrip('.')}e{exponent}" if exponent else text


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:#.2g}".rstrip(".")


def _setting(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in setting.items())


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def markdown(comparison: Comparison, result: ComparisonResult) -> str:
    """Return the section of a comparison: table, settings and bars; the best errors are bold."""
    best = _best(comparison, result)
    columns = comparison.columns
    headings = ["model", *(column.label for column in columns), *_COSTS]
    lines = [f"## {comparison.title}", "", comparison.about, ""]
    lines += [_line(headings), _line(["---", *["---:"] * (len(headings) - 1)])]
    for row in result.rows:
        name, *cells = row_cells(comparison, row)[: len(headings)]
        for place, column in enumerate(columns):
            if row.name in best.get(column.key, ()):
                cells[place] = f"**{cells[place]}**"
        lines.append(_line([name, *cells]))
    lines.append("")
    lines += _details(comparison, result)
    checks = list(comparison.bars(measured_rows(result)))
    if checks:
        lines += [_line(["quantity", "measured", "bar", ""]), _line(["---", "---:", "---:", "---"])]
        for check in checks:
            bar = f"{'<=' if check.at_most else '>='} {check.bar:g}{check.unit}"
            found = f"{check.measured:.3g}{check.unit}"
            lines.append(_line([check.quantity, found, bar, "met" if check.met else "missed"]))
        lines.append("")
    quick = " These are results of `--quick`, which are not comparable." if result.quick else ""
    lines.append(f"Measured {result.date} on {result.machine}.{quick}")
    return "\n".join(lines) + "\n"


def _details(comparison: Comparison, result: ComparisonResult) -> list[str]:
    """Return the list of settings, versions and gaps."""
    lines = []
    for row in result.rows:
        *_, setting, versions = row_cells(comparison, row)
        found = [part for part in (setting, versions) if part]
        if found and not row.name.endswith("forecasts"):
            lines.append(f"- {row.name}: {'; '.join(found)}")
    return [*lines, ""] if lines else []


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _best(comparison: Comparison, result: ComparisonResult) -> dict[str, set[str]]:
    """Return the names of the rows whose errors look the best in the table, by key."""
    found: dict[str, set[str]] = {}
    rows = measured_rows(result)
    for column in comparison.columns:
        known = {
            name: row.errors[column.key] for name, row in rows.items() if column.key in row.errors
        }
        if known:
            pick = min if column.better == "lower" else max
            shown = _error(column, {column.key: pick(known.values())})
            found[column.key] = {
                name
                for name, value in known.items()
                if _error(column, {column.key: value}) == shown
            }
    return found
