"""From an update direction to a step: plain descent, or Adam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
OptimiserName = Literal["sgd", "adam"]


@dataclass
class Descent:
    """``W <- W - rate dW``."""

    rate: float

    def step(self, matrices: tuple[Array, ...], gradient: tuple[Array, ...]) -> None:
        """Move the matrices in place."""
        for matrix, slope in zip(matrices, gradient, strict=True):
            matrix -= matrix.dtype.type(self.rate) * slope


@dataclass
class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980), with its authors' constants."""

    rate: float
    decay: float = 0.9
    square_decay: float = 0.999
    floor: float = 1e-8
    steps: int = 0
    means: list[Array] = field(default_factory=list, repr=False)
    squares: list[Array] = field(default_factory=list, repr=False)

    def step(self, matrices: tuple[Array, ...], gradient: tuple[Array, ...]) -> None:
        """Move the matrices in place."""
        if not self.means:
            self.means = [np.zeros_like(matrix) for matrix in matrices]
            self.squares = [np.zeros_like(matrix) for matrix in matrices]
        self.steps += 1
        # Both moments start at zero: this takes their bias off.
        rate = self.rate * np.sqrt(1 - self.square_decay**self.steps)
        rate /= 1 - self.decay**self.steps
        for matrix, slope, mean, square in zip(
            matrices, gradient, self.means, self.squares, strict=True
        ):
            mean += (1 - self.decay) * (slope - mean)
            square += (1 - self.square_decay) * (np.square(slope) - square)
            matrix -= matrix.dtype.type(rate) * mean / (np.sqrt(square) + self.floor)


def optimiser(name: OptimiserName, rate: float) -> Descent | Adam:
    """The optimiser of a name.

    Raises
    ------
    ValueError
        For a name that does not exist, or a rate that is not positive.
    """
    if name not in ("sgd", "adam"):
        raise ValueError(f"optimiser: {name!r} is not one of sgd, adam")
    if not 0 < rate < np.inf:
        raise ValueError(f"rate: {rate} is not a positive learning rate")
    return Descent(rate) if name == "sgd" else Adam(rate)
