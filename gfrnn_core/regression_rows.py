"""Compute the rows of the regression from a gapless series in blocks, never all in memory.

Random numbers of a row (input noise, selection of rows) are drawn from a seed and the position of
the row in the series, so that any cut of a series into stretches gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.lifting import Columns, lift_into
from gfrnn_core.local_features import LatticeFeatures
from gfrnn_core.patches import Patches
from gfrnn_core.sampling import HiddenWeights
from gfrnn_core.triangles.array_order import copy_rows
from gfrnn_core.triangles.folding import block_rows

Array = NDArray[Any]
Target = Literal["state", "increment", "lifted"]

# Largest numbers of times and of values that share one random generator; values beyond the series
# are drawn in vain.
_DRAW = 256
_DRAWN = 2**20


# Largest number of states that hidden weights are drawn from: more would only take memory.
_POOL = 100_000


def delayed(states: Array, delays: int, start: int, stop: int) -> Array:
    """Stack the delayed states of the times start..stop-1 of a gapless series, present first.

    Parameters
    ----------
    states : ndarray, shape (times, d)
    delays : int
        Number of successive states stacked; ``start >= delays - 1``.

    Returns
    -------
    ndarray, shape (stop - start, delays * d)
    """
    return np.concatenate([states[start - j : stop - j] for j in range(delays)], axis=1)


def row_columns(
    hidden: HiddenWeights,
    inputs: int,
    leads: int,
    own: int,
    target: Target,
    products: int = 0,
    lattice: int = 0,
) -> Columns:
    """Return the columns of a row with this hidden layer, features of a lattice, and targets."""
    targets = hidden.inputs + 1 + hidden.width if target == "lifted" else leads * own
    return Columns(hidden.inputs, inputs, lattice + hidden.width, targets, products)


def row_blocks(
    states: Array,
    inputs: Array | None,
    hidden: HiddenWeights,
    *,
    delays: int = 1,
    leads: tuple[int, ...] = (1,),
    target: Target = "state",
    patches: Patches | None = None,
    joint: bool = False,
    modulators: tuple[int, ...] = (),
    lattice_features: LatticeFeatures | None = None,
    places: Array | None = None,
    weights: Array | None = None,
    noise: float | Array = 0.0,
    share: float = 1.0,
    seed: int = 0,
    first: int = 0,
    dtype: Any = np.float64,
) -> Iterator[Array]:
    """Yield the rows of a gapless series as Fortran-ordered blocks of one reused buffer.

    Working memory is one block of :func:`block_rows` rows.

    Parameters
    ----------
    states : ndarray, shape (times, d)
    inputs : ndarray, shape (times, p) or (times, places, p), or None
        The row of time t holds the inputs of time t + 1.
    hidden : HiddenWeights
    delays : int
    leads : tuple of int
        The targets of time t are the states of times t + lead, in this order.
    target : {"state", "increment", "lifted"}
        ``increment``: differences from the present state; ``lifted``: all linear terms, the
        constant and the hidden features one step on.
    patches : Patches, optional
        Patches with one row per time and place; by default there is one row per time, whose
        features and targets are those of the whole state.
    joint : bool
        Whether inputs are part of the linear terms, where hidden features see them too.
    modulators : tuple of int
        Indices of the inputs whose products with the present state are linear terms.
    lattice_features : LatticeFeatures, optional
        Features of the present state on the grid, which precede the other hidden features. Those of
        all times are in memory.
    places : ndarray of int, optional
        Places that give rows; by default all.
    weights : ndarray, shape (places of the patches,), optional
        Weight of the squared error of the rows of a place; places of weight 0 have no rows.
    noise : float, or ndarray, shape (d,)
        Standard deviation of normal noise on the states that features see. Increments are taken
        from the noisy state to the clean later one, so that the network learns to return to the
        data.
    share : float
        Share of the rows that is used, drawn at random.
    seed : int
        Seed of noise and share.
    first : int
        Index of the first time of the series in the whole record.
    dtype : dtype
        Precision of the blocks, float64 or float32.

    Yields
    ------
    ndarray, shape (rows, columns)
        Block of rows; it is overwritten when the next one is requested.
    """
    times, size = states.shape
    begin, end = delays - 1, times - max(leads)
    if end <= begin:
        return
    everywhere = 1 if patches is None else patches.places
    here = np.arange(everywhere) if places is None else places
    if weights is not None:
        here = here[weights[here] > 0]
    own = size if patches is None else patches.owned
    extra = 0 if inputs is None or joint else inputs.shape[-1]
    window = size if patches is None else patches.window
    lattice = 0 if lattice_features is None else lattice_features.columns
    products = len(modulators) * window
    columns = row_columns(hidden, extra, len(leads), own, target, products, lattice)
    seen = states
    if np.any(noise):
        seen = states + noise * draw_numbers("normal", seed, first, times, size)
    featured = None if lattice_features is None else lattice_features(seen[begin:end])
    chosen = np.arange(begin * len(here), end * len(here))
    if share < 1:
        drawn = draw_numbers("uniform", seed, first + begin, end - begin, everywhere)
        chosen = chosen[drawn[:, here].reshape(-1) < share]
    factors = None if weights is None else np.sqrt(weights).astype(dtype)
    rows = min(block_rows(columns.total, dtype), len(chosen))
    memory = np.empty(rows * columns.total, dtype=dtype)
    for start in range(0, len(chosen), rows or 1):
        time, index = np.divmod(chosen[start : start + rows], len(here))
        place = here[index]
        shape = (len(time), columns.total)
        block = memory[: shape[0] * shape[1]].reshape(shape, order="F")
        forcing = _inputs(inputs, time + 1, place)
        present = _stacked(seen, time, place, delays, patches, forcing if joint else None)
        further = None if joint else forcing
        if modulators and forcing is not None:
            products_here = modulated(present[:, :window], forcing[:, modulators])
            further = products_here if further is None else np.hstack([further, products_here])
        if lattice_features is not None and featured is not None:
            on_grid = lattice_features.windows.windows_at(featured, time - begin, place)
            further = on_grid if further is None else np.hstack([further, on_grid])
        lift_into(block, present, further, hidden)
        if target == "lifted":
            later = _stacked(states, time + 1, place, delays, patches)
            lift_into(block[:, columns.features :], later, None, hidden)
        else:
            base = _own(seen, time, place, patches) if target == "increment" else None
            for order, lead in enumerate(leads):
                column = columns.features + order * own
                values = _own(states, time + lead, place, patches)
                # Subtract before rounding to the block's precision, not after.
                difference = values if base is None else values - base
                copy_rows(difference, block[:, column : column + own])
        if factors is not None:
            block *= factors[place][:, None]
        yield block


def modulated(present: Array, factors: Array) -> Array:
    """Return the products of states (rows, d) with factors (rows, m): shape (rows, m * d)."""
    return np.asarray(factors[:, :, None] * present[:, None]).reshape(len(present), -1)


def pooled(
    series: Sequence[Array],
    delays: int,
    patches: Patches | None,
    seed: int,
    inputs: Sequence[Array] | None = None,
) -> tuple[Array, Array]:
    """Collect the values that features see, with the next states, to draw weights from.

    Parameters
    ----------
    series : sequence of ndarray, shape (times, d)
        Gapless and scaled.
    delays : int
    patches : Patches or None
    seed : int
        Seed of the selection if there are more than 100,000 states.
    inputs : sequence of ndarray, shape (times, p) or (times, places, p), optional
        Joint inputs; hidden features see those of the next time together with a state.

    Returns
    -------
    pool : ndarray, shape (states, delays * window + p)
    following : ndarray, shape (states, own values)
    """
    places = 1 if patches is None else patches.places
    counts = [max(len(states) - delays, 0) * places for states in series]
    chosen = np.arange(sum(counts))
    if len(chosen) > _POOL:
        rng = np.random.default_rng([seed, 4])
        chosen = np.sort(rng.choice(len(chosen), size=_POOL, replace=False))
    borders = np.cumsum([0, *counts])
    pool, following = [], []
    for number, (states, begin, end) in enumerate(
        zip(series, borders[:-1], borders[1:], strict=True)
    ):
        inside = chosen[(chosen >= begin) & (chosen < end)] - begin
        time, place = np.divmod(inside + (delays - 1) * places, places)
        if len(inside):
            forcing = None if inputs is None else _inputs(inputs[number], time + 1, place)
            pool.append(_stacked(states, time, place, delays, patches, forcing))
            following.append(_own(states, time + 1, place, patches))
    return np.concatenate(pool), np.concatenate(following)


def _stacked(
    states: Array,
    time: Array,
    place: Array,
    delays: int,
    patches: Patches | None,
    inputs: Array | None = None,
) -> Array:
    """Return the values that features see, the present ones first: (rows, delays * window).

    Inputs, if there are any, come last.
    """
    parts = [
        _at(states, time - j) if patches is None else patches.windows_at(states, time - j, place)
        for j in range(delays)
    ]
    if inputs is not None:
        parts.append(inputs)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _at(states: Array, time: Array) -> Array:
    """Return states at ascending times, read-only; this is a view if no time is left out."""
    if time[-1] - time[0] == len(time) - 1:
        return states[time[0] : time[-1] + 1]
    return np.asarray(states[time])


def _own(states: Array, time: Array, place: Array, patches: Patches | None) -> Array:
    if patches is None:
        return _at(states, time)
    return np.asarray(states[time[:, None], patches.own[place]])


def _inputs(inputs: Array | None, time: Array, place: Array) -> Array | None:
    if inputs is None:
        return None
    return np.asarray(inputs[time] if inputs.ndim == 2 else inputs[time, place])


def drawn_together(size: int) -> int:
    """Return the number of times that share one random generator, by the numbers per time."""
    return max(1, min(_DRAW, _DRAWN // size))


def draw_numbers(
    kind: Literal["normal", "uniform"], seed: int, first: int, times: int, size: int
) -> Array:
    """Draw the numbers of these times, independently of the cut of the series: (times, size)."""
    parts, together = [], drawn_together(size)
    for block in range(first // together, -(-(first + times) // together)):
        numbers = _drawn_block(kind, seed, block, together, size)
        offset = block * together
        parts.append(numbers[max(first - offset, 0) : first + times - offset])
    return np.concatenate(parts)


# Rows are often made of fewer times than are drawn together.
@lru_cache(maxsize=1)
def _drawn_block(
    kind: Literal["normal", "uniform"], seed: int, block: int, together: int, size: int
) -> Array:
    rng = np.random.default_rng([seed, 1 if kind == "normal" else 2, block])
    shape = (together, size)
    return rng.standard_normal(shape) if kind == "normal" else rng.random(shape)
