"""The output of a command: its results as JSON, and the amount of messages.

With ``--json``, the results are the only text on the standard output; all else that a command
prints goes to the standard error. The modules that compute results pass them to
:func:`add_results`, whether JSON was asked for or not.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from gfrnn.pipeline.errors import without_passwords

if TYPE_CHECKING:
    from rich.table import Table

_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
_OWN = ("gfrnn", "gfrnn_core")

_results: ContextVar[dict[str, Any] | None] = ContextVar("results", default=None)


def add_results(**found: Any) -> None:
    """Add results of the present command; those of the same name are replaced.

    Mappings are merged, one level deep.
    """
    results = _results.get()
    if results is None:
        return
    for name, value in found.items():
        known = results.get(name)
        if isinstance(known, dict) and isinstance(value, Mapping):
            value = known | dict(value)
        results[name] = value


def show_table(console: Console, table: Table) -> None:
    """Print a table, and add it to the results as titles, columns and rows of text."""
    console.print(table)
    results = _results.get()
    if results is not None:
        columns = [Text.from_markup(str(each.header)).plain for each in table.columns]
        cells = [[_plain(cell) for cell in each.cells] for each in table.columns]
        title = _plain(table.title) if table.title else ""
        rows = [list(row) for row in zip(*cells, strict=True)]
        results.setdefault("tables", []).append({"title": title, "columns": columns, "rows": rows})


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain


@contextmanager
def command_output(console: Console, *, as_json: bool, verbosity: int) -> Iterator[None]:
    """Choose what a command prints, and print its results as JSON when it ends without an error.

    Parameters
    ----------
    console : Console
        Console on which all commands print.
    as_json : bool
    verbosity : int
        -1 for errors only, 0 by default, 1 for what is being done, 2 for details.
    """
    before = console.stderr, console.quiet
    console.stderr, console.quiet = before[0] or as_json, before[1] or verbosity < 0
    token = _results.set({})
    try:
        with _log_messages(max(-1, min(2, verbosity))):
            yield
        if as_json:
            print_json(_results.get())
    finally:
        console.stderr, console.quiet = before
        _results.reset(token)


def print_json(tree: Any) -> None:
    """Print results as JSON on the standard output; numbers that are not finite are null."""
    json.dump(_encodable(tree), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _encodable(value: Any) -> Any:
    """Return a value of JSON's types: no NaN, arrays as lists, absolute paths, times as text."""
    if isinstance(value, Mapping):
        return {str(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, str) or value is None:
        return value if value is None else without_passwords(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy
        kind = getattr(value, "dtype", None)
        return _encodable(
            value.astype(str).tolist() if kind and kind.kind in "mM" else value.tolist()
        )
    if isinstance(value, (list, tuple, set)):
        return [_encodable(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        value = value.absolute()
    if is_dataclass(value) and not isinstance(value, type):
        return _encodable(asdict(value))
    return value if isinstance(value, (bool, int)) else without_passwords(str(value))


class _ErrorStream(logging.Handler):
    """Handler that prints messages on the standard error, above bars of progress."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(_LEVELS[verbosity])
        self.detailed = verbosity > 0
        self.console = Console(stderr=True, soft_wrap=True, emoji=False, markup=False)

    def emit(self, record: logging.LogRecord) -> None:
        message = without_passwords(record.getMessage())
        if self.detailed:
            where = record.name.removeprefix("gfrnn.")
            when = time.strftime("%H:%M:%S", time.localtime(record.created))
            message = f"{when} {record.levelname.lower()} {where}: {message}"
        elif record.levelno >= logging.WARNING:
            message = f"{record.levelname.lower()}: {message}"
        self.console.print(message, highlight=False)


@contextmanager
def _log_messages(verbosity: int) -> Iterator[None]:
    """Print messages of loggers on the standard error, from a level on."""
    root, handler = logging.getLogger(), _ErrorStream(verbosity)
    own = [logging.getLogger(name) for name in _OWN]
    levels = [logger.level for logger in own]
    root.addHandler(handler)
    for logger in own:
        logger.setLevel(_LEVELS[verbosity])
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in zip(own, levels, strict=True):
            logger.setLevel(level)
