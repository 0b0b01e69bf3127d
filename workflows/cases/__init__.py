"""Cases of the papers that anyone can rerun: ``gfrnn reproduce NAME``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.table import Table

from workflows.cases import lorenz63

Case = Callable[[Iterable[int]], Table]

CASES: dict[str, Case] = {"lorenz63": lorenz63.run}
"""Name: what computes its table for some seeds."""
