"""The recurrent network that learns by perturbation: its weights, and running it.

    z_t = W0 u_t + R x^_t-1,    x_t = tanh(z_t),    x^_t = D x_t,    y_t = W1 x^_t

No biases. D decorrelates the units' activity; the decorrelated state feeds the recurrence and the
readout. Source: Garcia Fernandez, Keemink and van Gerven, 'Gradient-free training of recurrent
neural networks using random perturbations', arXiv 2405.08967.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Weights:
    """The matrices of a network; training changes them in place.

    Attributes
    ----------
    inputs : ndarray, shape (units, inputs)
        W0.
    recurrent : ndarray, shape (units, units)
        R.
    readout : ndarray, shape (outputs, units)
        W1.
    decorrelation : ndarray, shape (units, units)
        D, the identity at the start.
    """

    inputs: Array
    recurrent: Array
    readout: Array
    decorrelation: Array

    @classmethod
    def initial(
        cls, inputs: int, units: int, outputs: int, seed: int = 0, dtype: Any = np.float32
    ) -> Weights:
        """Xavier normal weights: variance ``2 / (fan in + fan out)``.

        Source: Glorot and Bengio (2010), AISTATS 9, 249-256.

        Raises
        ------
        ValueError
            If a size is not positive.
        """
        for name, size in (("inputs", inputs), ("units", units), ("outputs", outputs)):
            if size < 1:
                raise ValueError(f"{name}: {size} is not a positive integer")
        rng = np.random.default_rng(seed)

        def xavier(rows: int, columns: int) -> Array:
            spread = np.sqrt(2.0 / (rows + columns))
            return np.asarray(spread * rng.standard_normal((rows, columns)), dtype)

        return cls(
            xavier(units, inputs),
            xavier(units, units),
            xavier(outputs, units),
            np.eye(units, dtype=dtype),
        )

    @property
    def units(self) -> int:
        """Number of hidden units."""
        return int(self.recurrent.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return np.dtype(self.recurrent.dtype)

    def trained(self) -> Iterator[Array]:
        """The matrices that rules update: W0, R and W1."""
        yield from (self.inputs, self.recurrent, self.readout)

    def copy(self) -> Weights:
        """Weights of their own memory."""
        return Weights(*(matrix.copy() for matrix in (*self.trained(), self.decorrelation)))

    def run(self, inputs: Array, state: Array | None = None) -> tuple[Array, Array]:
        """Forward without noise.

        Parameters
        ----------
        inputs : ndarray, shape (steps, batch, inputs)
            Time first.
        state : ndarray, shape (batch, units), optional
            x before the first step; zero by default.

        Returns
        -------
        outputs : ndarray, shape (steps, batch, outputs)
        states : ndarray, shape (steps, batch, units)
            x after each step.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        inputs = self.checked(inputs)
        steps, batch, _ = inputs.shape
        now = np.zeros((batch, self.units), self.dtype) if state is None else state
        if now.shape != (batch, self.units):
            raise ValueError(f"state: shape {now.shape} is not ({batch}, {self.units})")
        drive = inputs @ self.inputs.T
        onward = self.onward()
        states = np.empty((steps, batch, self.units), self.dtype)
        for t in range(steps):
            now = np.dot(now, onward, out=states[t])
            now += drive[t]
            np.tanh(now, out=now)
        return states @ self.outward(), states

    def onward(self) -> Array:
        """``(R D)^T``: the decorrelated state is not needed in the loop, so one product a step."""
        return np.ascontiguousarray((self.recurrent @ self.decorrelation).T)

    def outward(self) -> Array:
        """``(W1 D)^T``, from x to the outputs."""
        return np.asarray((self.readout @ self.decorrelation).T)

    def decorrelated(self, states: Array) -> Array:
        """``D x`` of each state: shape (..., units)."""
        return np.asarray(states @ self.decorrelation.T)

    def checked(self, inputs: Array) -> Array:
        """Inputs as :meth:`run` takes them, in the weights' precision."""
        inputs = np.asarray(inputs, self.dtype)
        if inputs.ndim != 3 or inputs.shape[2] != self.inputs.shape[1]:
            raise ValueError(
                f"inputs: shape {inputs.shape} is not (steps, batch, {self.inputs.shape[1]})"
            )
        return inputs
