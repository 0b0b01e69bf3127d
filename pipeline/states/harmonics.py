"""Functions of the calendar: harmonics of the year and of the day, and calendar months."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Days after which weather is about independent of what it was.
_INDEPENDENT_DAYS = 10

AnnualCycle = int | Literal["month"]
"""Number of harmonics of the annual cycle, or ``month``: a mean of each calendar month."""


def calendar_months(time: Array) -> Array:
    """Return the calendar month of each time, 1 to 12: shape (n,)."""
    return time.astype("datetime64[M]").astype(int) % 12 + 1


def _fourier_terms(phase: Array, count: int) -> list[Array]:
    """Return cos and sin of multiples 1 to ``count`` of a phase in turns."""
    angle = 2.0 * np.pi * phase
    return [function(k * angle) for k in range(1, count + 1) for function in (np.cos, np.sin)]


def year_phase(time: Array) -> Array:
    """Return the elapsed fraction of the calendar year at each time: shape (n,), in [0, 1)."""
    year, day = time.astype("datetime64[Y]"), time.astype("datetime64[D]")
    first, after = (each.astype("datetime64[D]") for each in (year, year + 1))
    elapsed, length = ((end - first).astype(float) for end in (day, after))
    return np.asarray((elapsed + day_phase(time)) / length)


def day_phase(time: Array) -> Array:
    """Return the elapsed fraction of the UTC day at each time: shape (n,), in [0, 1)."""
    return np.asarray((time - time.astype("datetime64[D]")) / np.timedelta64(1, "D"))


def term_count(annual: AnnualCycle, diurnal: int) -> int:
    """Return the number of columns of :func:`harmonics`."""
    return (12 if annual == "month" else 1 + 2 * annual) + 2 * diurnal


def harmonics(time: Array, annual: AnnualCycle, diurnal: int) -> Array:
    """Return the design matrix of the climatology: a constant, annual and diurnal harmonics.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
    annual : int or "month"
        Number of harmonics; ``month`` replaces them and the constant by 12 columns that are 1 in
        one calendar month and 0 in the others.
    diurnal : int
        Number of harmonics.

    Returns
    -------
    ndarray, shape (n, term_count(annual, diurnal))
    """
    if annual == "month":
        months = calendar_months(time)
        columns = [(months == month).astype(float) for month in range(1, 13)]
    else:
        columns = [np.ones(len(time)), *_fourier_terms(year_phase(time), annual)]
    return np.stack([*columns, *_fourier_terms(day_phase(time), diurnal)], axis=1)


def supported_harmonics(trained: Array, used: Array, most: int = 2) -> int:
    """Return how many harmonics of the annual cycle a record determines, at most ``most``.

    The regression on k harmonics has, at a time with the design vector h, the error variance
    ``h' (H' H)^-1 h`` in units of the variance of independent weather; that of ten days counts
    as independent of the next. The number is the largest for which this is at most a half at all
    times: with more, the fit follows the weather of a short record, or runs away outside of the
    part of the year that the record holds.

    Parameters
    ----------
    trained : ndarray of datetime64, shape (n,)
        Times that the regression is made from.
    used : ndarray of datetime64, shape (m,)
        Times at which it is used.
    """
    days = np.unique(trained.astype("datetime64[D]"))
    independent = len(np.unique(days.astype(int) // _INDEPENDENT_DAYS))
    for count in range(most if independent else 0, 0, -1):
        rows = harmonics(days, count, 0)
        inverse = np.linalg.pinv(rows.T @ rows / len(rows), rcond=1e-12, hermitian=True)
        at = harmonics(np.unique(used.astype("datetime64[D]")), count, 0)
        if np.einsum("ij,jk,ik->i", at, inverse, at).max() <= 0.5 * independent:
            return count
    return 0


def calendar_inputs(time: Array, names: Sequence[str]) -> Array | None:
    """Return the inputs psi(x) that depend on the calendar only.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
    names : sequence of {"day_of_year", "hour"}

    Returns
    -------
    ndarray, shape (n, 2 len(names)), or None without names
    """
    phases = {"day_of_year": year_phase, "hour": day_phase}
    columns = [term for name in names for term in _fourier_terms(phases[name](time), 1)]
    return np.stack(columns, axis=1) if columns else None
