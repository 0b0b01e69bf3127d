"""Tables of benchmarks, and of measured values with their bars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class BarCheck:
    """A measured value and the bar that it must reach.

    Attributes
    ----------
    quantity : str
        Name of what is measured.
    measured, bar : float
    at_most : bool
        Whether the bar is an upper limit; otherwise it is a lower limit.
    unit : str
        Appended to both numbers, with its leading space.
    """

    quantity: str
    measured: float
    bar: float
    at_most: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar is reached; a value equal to the bar is enough."""
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar


def bar_table(checks: Iterable[BarCheck], full: bool) -> Table:
    """Return a table with one line for each check.

    Parameters
    ----------
    checks : iterable of BarCheck
    full : bool
        Whether the full sizes were measured; otherwise the title states that they were not.
    """
    title = "values and bars" if full else "values and bars (bars are for the full size)"
    table = plain_table(title, "quantity", "measured", "bar", "", text=("quantity",))
    for check in checks:
        sign = "<=" if check.at_most else ">="
        table.add_row(
            check.quantity,
            f"{check.measured:.3g}{check.unit}",
            f"{sign} {check.bar:g}{check.unit}",
            "met" if check.met else "missed",
        )
    return table


def plain_table(title: str, *columns: str, text: tuple[str, ...]) -> Table:
    """Return an empty table with headings.

    Parameters
    ----------
    title : str
    *columns : str
        Headings.
    text : tuple of str
        Headings of the columns that hold text; the others hold numbers, aligned to the right.
    """
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in text else "right")
    return table
