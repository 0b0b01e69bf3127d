"""Tables of the leading modes of a run: for a terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from gfrnn.pipeline.runs.spectrum.mode_spectrum import ModeSpectrum
from gfrnn.workflows.report.labels import number

_NO_BREAK = "\N{NO-BREAK SPACE}"
_DAYS_A_YEAR = 365.2425
_LEAST_YEARS = 2  # periods above are also given in years


@dataclass(frozen=True)
class ModeRow:
    """The cells of a mode in a table.

    Attributes
    ----------
    number : int
        Counted from 1.
    period, e_folding_time, residual, noise_floor, contribution : str
    confirmed : bool
    """

    number: int
    period: str
    e_folding_time: str
    residual: str
    noise_floor: str
    contribution: str
    confirmed: bool


def mode_rows(spectrum: ModeSpectrum, count: int) -> list[ModeRow]:
    """Return the cells of the leading modes."""
    monthly = spectrum.step.monthly
    return [
        ModeRow(
            index + 1,
            time_label(spectrum.periods[index], monthly),
            time_label(spectrum.e_folding_times[index], monthly),
            f"{spectrum.residuals[index]:.2f}",
            f"{spectrum.noise_floor[index]:.2f}",
            f"{100 * spectrum.contributions[index]:.1f}{_NO_BREAK}%",
            bool(spectrum.confirmed[index]),
        )
        for index in range(min(count, len(spectrum.eigenvalues)))
    ]


def mode_records(spectrum: ModeSpectrum, count: int) -> list[dict[str, Any]]:
    """Return the leading modes as numbers; times are in days, or in months for monthly data."""
    unit = "months" if spectrum.step.monthly else "days"
    return [
        {
            "mode": index + 1,
            "period": spectrum.periods[index],
            "e_folding_time": spectrum.e_folding_times[index],
            "unit": unit,
            "residual": spectrum.residuals[index],
            "noise_floor": spectrum.noise_floor[index],
            "contribution": spectrum.contributions[index],
            "confirmed": bool(spectrum.confirmed[index]),
        }
        for index in range(min(count, len(spectrum.eigenvalues)))
    ]


def time_label(length: float, monthly: bool) -> str:
    """Write a time in days or months, long ones in years too: ``45.8 mo (3.8 y)``."""
    if not np.isfinite(length):
        return number(length)
    years = length / (12 if monthly else _DAYS_A_YEAR)
    text = f"{number(length)}{_NO_BREAK}{'mo' if monthly else 'd'}"
    return text if years < _LEAST_YEARS else f"{text} ({years:.1f}{_NO_BREAK}y)"


def mode_terminal_table(spectrum: ModeSpectrum, count: int) -> Table:
    """Return a table of the leading modes for a terminal."""
    table = Table(title="Modes of the linear dynamics", title_justify="left")
    names = ("mode", "period", "e-folding\ntime", "residual", "noise\nalone", "contri-\nbution")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("con-\nfirmed", no_wrap=True)
    for row in mode_rows(spectrum, count):
        table.add_row(
            str(row.number),
            row.period,
            row.e_folding_time,
            row.residual,
            row.noise_floor,
            row.contribution,
            "yes" if row.confirmed else Text("no", "dim"),
        )
    return table
