"""Functions of the calendar: harmonics of the year and of the day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]


def _fourier_terms(phase: Array, count: int) -> list[Array]:
    """Return cos and sin of multiples 1 to count of a phase in turns."""
    angle = 2.0 * np.pi * phase
    return [function(k * angle) for k in range(1, count + 1) for function in (np.cos, np.sin)]


def year_phase(time: Array) -> Array:
    """Return the elapsed fraction of the calendar year at each time: shape (n,), in [0, 1)."""
    stamps = pd.DatetimeIndex(time)
    length = np.where(stamps.is_leap_year, 366.0, 365.0)
    return np.asarray((stamps.day_of_year - 1 + day_phase(time)) / length)


def day_phase(time: Array) -> Array:
    """Return the elapsed fraction of the UTC day at each time: shape (n,), in [0, 1)."""
    stamps = pd.DatetimeIndex(time)
    return np.asarray((stamps - stamps.normalize()) / pd.Timedelta(days=1), dtype=float)


def harmonics(time: Array, annual: int, diurnal: int) -> Array:
    """Return the design matrix of the climatology: a constant, annual and diurnal harmonics.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
    annual, diurnal : int
        Number of harmonics.

    Returns
    -------
    ndarray, shape (n, 1 + 2 annual + 2 diurnal)
    """
    columns = [np.ones(len(time)), *_fourier_terms(year_phase(time), annual)]
    return np.stack([*columns, *_fourier_terms(day_phase(time), diurnal)], axis=1)


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
