"""Checks and concatenation of gapless series: one, several, or a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Series = Array | Iterable[Array]
Pair = tuple[Array, Array | None]


def paired(states: Series, inputs: Series | None) -> Iterator[Pair]:
    """Yield each series of states with its inputs, checked when it is read.

    Parameters
    ----------
    states : ndarray, shape (times, d), or iterable of them
    inputs : ndarray, shape (times, p) or (times, places, p), or iterable of them, or None

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, or inputs and states differ in number or
        length.
    """
    single = hasattr(states, "ndim")
    if inputs is not None and single != hasattr(inputs, "ndim"):
        raise ValueError("inputs: give one array for one series of states, or one for each series")
    many: Iterable[Array] = [states] if single else states  # type: ignore[list-item]
    forcings: Iterable[Array | None] = repeat(None)
    if inputs is not None:
        forcings = [inputs] if single else inputs  # type: ignore[list-item]
    size = kind = None
    others = iter(forcings)
    for index, one in enumerate(many):
        name = "" if single else f"series {index}: "
        series = _checked(f"states: {name}", one)
        if size not in (None, series.shape[1]):
            raise ValueError(
                f"states: {name}{series.shape[1]} coordinates, but earlier series have {size}"
            )
        size = series.shape[1]
        try:
            forcing = next(others)
        except StopIteration:
            raise ValueError(
                f"inputs: {index} series, but there are more series of states"
            ) from None
        if inputs is not None:
            forcing = np.asarray(unmasked(forcing), dtype=float)
            if forcing.ndim not in (2, 3) or len(forcing) != len(series) or 0 in forcing.shape[1:]:
                shape = f"({len(series)}, inputs)"
                raise ValueError(f"inputs: {name}shape {forcing.shape} is not {shape}")
            if kind not in (None, forcing.shape[1:]):
                raise ValueError(
                    f"inputs: {name}{forcing.shape[1:]} per time, but earlier series have {kind}"
                )
            kind = forcing.shape[1:]
            if not np.isfinite(forcing).all():
                time, *_, number = np.argwhere(~np.isfinite(forcing))[0]
                raise ValueError(f"inputs: {name}time {time}, input {number} is not finite")
        yield series, forcing
    if inputs is not None and next(others, None) is not None:
        raise ValueError("inputs: more series of inputs than of states")


def gapless(pairs: Iterable[Pair], overlap: int) -> Iterator[tuple[Array, Array | None, int]]:
    """Yield each series, its inputs and the number of repeated times at its start.

    The last ``overlap`` times of each series are put in front of the next one.
    """
    before: Pair | None = None
    for states, inputs in pairs:
        repeated = 0
        if before is not None:
            repeated = len(before[0])
            states = np.concatenate([before[0], states])
            if inputs is not None and before[1] is not None:
                inputs = np.concatenate([before[1], inputs])
        yield states, inputs, repeated
        if overlap:
            # Copied: a stream may write its next block over this one.
            kept = None if inputs is None else inputs[-overlap:].copy()
            before = states[-overlap:].copy(), kept


def unmasked(values: Any) -> Array:
    """Return an array with NaN where a masked array has no value, whatever it has there instead."""
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values.astype(float), np.nan))
    return np.asarray(values)


def _checked(name: str, values: Any) -> Array:
    series = np.asarray(unmasked(values), dtype=float)
    if series.ndim != 2 or not series.shape[1]:
        raise ValueError(f"{name}shape {series.shape} is not (times, coordinates)")
    # A sum is not finite if any term is not, and needs no temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(series.sum())
    if suspicious and len(bad := np.argwhere(~np.isfinite(series))):
        time, coordinate = bad[0]
        raise ValueError(f"{name}time {time}, coordinate {coordinate} is not finite")
    return series
