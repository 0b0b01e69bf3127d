"""Figures beside the bars that they are held to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class BarCheck:
    """One figure and its bar.

    Attributes
    ----------
    what : str
    found, bar : float
    at_most : bool
        Whether less is better.
    unit : str
        Behind both numbers.
    """

    what: str
    found: float
    bar: float
    at_most: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        return self.found <= self.bar if self.at_most else self.found >= self.bar


def bar_table(bar_checks: Iterable[BarCheck], full: bool) -> Table:
    """One line a figure; bars are for the full sizes."""
    title = "figures and bars" if full else "figures and bars (bars are for the full size)"
    table = plain_table(title, "figure", "measured", "bar", "")
    for check in bar_checks:
        sign = "<=" if check.at_most else ">="
        table.add_row(
            check.what,
            f"{check.found:.3g}{check.unit}",
            f"{sign} {check.bar:g}{check.unit}",
            "met" if check.met else "missed",
        )
    return table


def plain_table(title: str, first: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
