"""Chaotic fields on a periodic line: their systems, training series and true trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.trajectories import TRAIN_SEED, Truth

Array = NDArray[Any]

BATCH = 25
"""Number of starts that are integrated or forecast at once, which limits memory."""


@dataclass(frozen=True)
class FieldSystem:
    """A system on a periodic line, with the published result that it is compared with.

    Attributes
    ----------
    title : str
    description : tuple of str
        Paragraphs about the system.
    cells : int
        Number of grid cells.
    dt : float
        Time from one sample to the next.
    exponent : float
        Largest Lyapunov exponent, per unit of time.
    pair_distance : int
        Distance in cells of the two values whose joint distribution is compared.
    training_series : callable
        (seed, times, progress) to a trajectory on the attractor, shape (times, cells).
    initial_states : callable
        (number, seed) to independent states on the attractor, shape (number, cells).
    follow : callable
        (starts, steps, scale) to the truth after these initial states.
    long_runs : callable
        (number, seed, steps) to trajectories for statistics, shape (number, steps + 1, cells).
    published_method : str
        Name of the published method.
    published_time : float
        Its valid prediction time in Lyapunov times.
    bar : float
        Valid prediction time that the wide network must reach.
    truth_note : str
        Sentence about the computation of the truth.
    """

    title: str
    description: tuple[str, ...]
    cells: int
    dt: float
    exponent: float
    pair_distance: int
    training_series: Callable[[int, int, Progress], Array]
    initial_states: Callable[[int, int], Array]
    follow: Callable[[Array, int, float], Truth]
    long_runs: Callable[[int, int, int], Array]
    published_method: str
    published_time: float
    bar: float
    truth_note: str


@lru_cache(maxsize=1)
def training_states(system: FieldSystem, times: int, progress: Progress) -> Array:
    """Return the training series, shape (times, cells)."""
    return system.training_series(TRAIN_SEED, times, progress)


@lru_cache(maxsize=2)
def true_trajectories(
    system: FieldSystem, starts: int, steps: int, seed: int, scale: float, progress: Progress
) -> Truth:
    """Return the truth after the initial states of a seed."""
    first = system.initial_states(starts, seed)
    parts = []
    progress(ProgressUpdate("truth", 0, starts))
    for begin in range(0, starts, BATCH):
        parts.append(system.follow(first[begin : begin + BATCH], steps, scale))
        progress(ProgressUpdate("truth", min(begin + BATCH, starts), starts))
    return Truth(
        first,
        np.concatenate([part.states for part in parts]),
        np.concatenate([part.trusted_time for part in parts]),
    )
