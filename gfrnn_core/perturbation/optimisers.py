"""Optimisers: plain gradient descent and Adam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.low_rank_products import LowRankProduct, add, dense

Array = NDArray[Any]
OptimiserName = Literal["sgd", "adam"]


@dataclass
class GradientDescent:
    """Plain gradient descent, ``W <- W - rate dW``."""

    rate: float

    def step(self, matrices: tuple[Array, ...], slopes: tuple[Array | LowRankProduct, ...]) -> None:
        """Move the matrices in place."""
        for matrix, slope in zip(matrices, slopes, strict=True):
            add(matrix, -self.rate, slope)


@dataclass
class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) with the constants of its authors."""

    rate: float
    decay: float = 0.9
    square_decay: float = 0.999
    floor: float = 1e-8
    steps: int = 0
    means: list[Array] = field(default_factory=list, repr=False)
    squares: list[Array] = field(default_factory=list, repr=False)

    def step(self, matrices: tuple[Array, ...], slopes: tuple[Array | LowRankProduct, ...]) -> None:
        """Move the matrices in place."""
        if not self.means:
            self.means = [np.zeros_like(matrix) for matrix in matrices]
            self.squares = [np.zeros_like(matrix) for matrix in matrices]
        self.steps += 1
        # Both moments start at zero; this corrects their bias.
        rate = self.rate / (1 - self.decay**self.steps)
        share = 1 / np.sqrt(1 - self.square_decay**self.steps)
        for matrix, slope, mean, square in zip(
            matrices, slopes, self.means, self.squares, strict=True
        ):
            gradient = dense(slope)
            mean += (1 - self.decay) * (gradient - mean)
            square += (1 - self.square_decay) * (np.square(gradient) - square)
            size = np.sqrt(square)
            size *= matrix.dtype.type(share)
            size += self.floor
            matrix -= matrix.dtype.type(rate) * mean / size


def optimiser(name: OptimiserName, rate: float) -> GradientDescent | Adam:
    """Return the optimiser with this name.

    Raises
    ------
    ValueError
        If the name does not exist, or the rate is not positive.
    """
    if name not in get_args(OptimiserName):
        raise ValueError(f"optimiser: {name!r} is not one of sgd, adam")
    if not 0 < rate < np.inf:
        raise ValueError(f"rate: {rate} is not a positive learning rate")
    return GradientDescent(rate) if name == "sgd" else Adam(rate)
