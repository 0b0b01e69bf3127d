"""Ridge and width, chosen on the validation period from triangles alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import RFactor, RidgePath, SampledRNN

Array = NDArray[Any]


@dataclass(frozen=True)
class Path:
    """Validation error against ridge, for one width.

    Attributes
    ----------
    network : SampledRNN
        Solved at the best ridge of each lead.
    errors : ndarray, shape (ridges, leads)
        Mean squared error of the states, relative to their variance about the climatology.
    ridge : ndarray, shape (leads,)
        The best ridge of each lead.
    spectrum : ndarray
        Singular values of R_ff.
    """

    network: SampledRNN
    errors: Array
    ridge: Array
    spectrum: Array

    @property
    def score(self) -> float:
        """Mean over leads at the best ridges: what widths and candidates are compared by."""
        return float(self.errors.min(axis=0).mean())


@dataclass(frozen=True)
class Choice:
    """The path of every width, the best of them, and the linear model's.

    Attributes
    ----------
    paths : tuple of Path
        In the order of the widths.
    linear : Path
    """

    paths: tuple[Path, ...]
    linear: Path

    @property
    def best(self) -> Path:
        """The path with the least validation error."""
        return min(self.paths, key=lambda path: path.score)


def choose(
    network: SampledRNN,
    train: RFactor,
    validation: RFactor,
    *,
    size: int,
    widths: Sequence[int],
    ridges: Sequence[float],
    variance: Array,
    beyond: Array,
) -> Choice:
    """Follow the ridge path of each width.

    Parameters
    ----------
    network : SampledRNN
        With hidden weights, not solved.
    train, validation : RFactor
        Of the same columns.
    size : int
        Length of a state.
    widths : sequence of int
        Numbers of leading hidden features to try.
    ridges : sequence of float
        Relative to the largest singular value.
    variance : ndarray, shape (leads,)
        Mean square of the validation states, all modes.
    beyond : ndarray, shape (leads,)
        The part of it in modes that the network does not have: models with fewer modes must
        answer for what they leave out.
    """
    leads = len(network.leads)
    always = train.columns - leads * size - network.width
    strengths = np.asarray(ridges, dtype=float)

    def follow(width: int) -> Path:
        path = RidgePath.from_factor(train, always + width, leads * size)
        squares = path.errors(validation, strengths).reshape(len(strengths), leads, size)
        errors = (squares.sum(axis=2) / validation.rows + beyond) / variance
        ridge = strengths[errors.argmin(axis=0)]
        solved = network.narrowed(width).with_weights(path, ridge)
        return Path(solved, errors, ridge, path.singular_values)

    paths = tuple(follow(width) for width in widths if width > 0)
    linear = follow(0)
    return Choice(paths or (linear,), linear)
