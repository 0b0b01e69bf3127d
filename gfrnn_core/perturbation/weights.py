"""Weights and forward pass of the recurrent network that learns by perturbation.

    z_t = W0 u_t + R x^_t-1,    x_t = tanh(z_t),    x^_t = D x_t,    y_t = W1 x^_t

It has no biases. D decorrelates the activity of the units; the decorrelated state feeds the
recurrence and the readout. Source: Garcia Fernandez, Keemink and van Gerven, 'Gradient-free
training of recurrent neural networks using random perturbations', arXiv 2405.08967.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.value_checks import check_count

Array = NDArray[Any]

_UNCOPIED = 1_000_000


@dataclass(frozen=True)
class Passes:
    """Several passes through a network, computed together.

    Attributes
    ----------
    states : ndarray, shape (steps, rows, units)
        x after each step.
    outputs : ndarray, shape (steps, rows, outputs)
        y.
    decorrelated : ndarray, shape (1 + steps, kept, units)
        x^ of the first rows, before the first step and after each.
    onward : ndarray, shape (units, units), or None
        ``R D``, if it was formed.
    """

    states: Array
    outputs: Array
    decorrelated: Array
    onward: Array | None


@dataclass
class Weights:
    """Weight matrices of a network; training changes them in place.

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

    Raises
    ------
    ValueError
        If shapes do not fit each other, or the matrices are not all float32 or all float64.
    """

    inputs: Array
    recurrent: Array
    readout: Array
    decorrelation: Array

    def __post_init__(self) -> None:
        units, outputs = len(self.recurrent), len(self.readout)
        shapes = {
            "inputs": (units, self.inputs.shape[-1]),
            "recurrent": (units, units),
            "readout": (outputs, units),
            "decorrelation": (units, units),
        }
        for name, shape in shapes.items():
            found = getattr(self, name)
            if found.shape != shape:
                raise ValueError(f"{name}: shape {found.shape} is not {shape}")
            if found.dtype != self.dtype or self.dtype not in (np.float32, np.float64):
                raise ValueError(f"{name}: {found.dtype} is not float32 or float64, one for all")

    @classmethod
    def initial(
        cls, inputs: int, units: int, outputs: int, seed: int = 0, dtype: Any = np.float32
    ) -> Weights:
        """Draw Xavier normal weights, of variance ``2 / (fan in + fan out)``.

        Source: Glorot and Bengio (2010), AISTATS 9, 249-256.

        Raises
        ------
        ValueError
            If a size is not positive, or the precision is not float32 or float64.
        """
        for name, size in (("inputs", inputs), ("units", units), ("outputs", outputs)):
            check_count(name, size)
        rng = np.random.default_rng(seed)

        def xavier(rows: int, columns: int) -> Array:
            deviation = np.sqrt(2.0 / (rows + columns))
            return np.asarray(deviation * rng.standard_normal((rows, columns)), dtype)

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
        """Precision of the matrices, float32 or float64."""
        return np.dtype(self.recurrent.dtype)

    def trained(self) -> Iterator[Array]:
        """The matrices that rules update: W0, R and W1."""
        yield from (self.inputs, self.recurrent, self.readout)

    def copy(self) -> Weights:
        """Return a copy with its own memory."""
        return Weights(*(matrix.copy() for matrix in (*self.trained(), self.decorrelation)))

    def run(self, inputs: Array, state: Array | None = None) -> tuple[Array, Array]:
        """Run forward without noise.

        Parameters
        ----------
        inputs : ndarray, shape (steps, batch, inputs)
            Inputs, time first.
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
        batch = inputs.shape[1]
        now = np.zeros((batch, self.units), self.dtype) if state is None else state
        passes = self.propagate(self.driven(inputs), self.checked_state(now, batch))
        return passes.outputs, passes.states

    def propagate(self, force: Array, state: Array, kept: int = 0) -> Passes:
        """Run forward from pre-activations that already hold inputs and noise.

        Parameters
        ----------
        force : ndarray, shape (steps, rows, units)
            ``W0 u_t``, and noise if any. Becomes the pre-activations z_t, in place.
        state : ndarray, shape (rows, units)
            x before the first step.
        kept : int
            Number of leading rows whose x^ is returned.
        """
        steps, rows, units = force.shape
        states = np.empty_like(force)
        # BLAS is fastest with the passes as columns; z and x keep them as rows.
        columns = state.T.copy()
        if self.merges(steps, rows):
            onward = self.recurrent @ self.decorrelation
            times_onward = _Times(onward, rows)
            for z, x in zip(force, states, strict=True):
                z += times_onward(columns).T
                np.tanh(z, out=x)
                columns[:] = x.T
            wanted = np.concatenate([state[None, :kept], states[:, :kept]])
            decorrelated = _by_row(wanted, self.decorrelation)
            return Passes(
                states, _by_row(states, self.readout @ self.decorrelation), decorrelated, onward
            )
        every = np.empty((1 + steps, rows, units), force.dtype)
        times_recurrent = _Times(self.recurrent, rows)
        times_decorrelation = _Times(self.decorrelation, rows)
        hat = times_decorrelation(columns)
        every[0] = hat.T
        for z, x, after in zip(force, states, every[1:], strict=True):
            z += times_recurrent(hat).T
            np.tanh(z, out=x)
            columns[:] = x.T
            hat = times_decorrelation(columns)
            after[:] = hat.T
        return Passes(states, _by_row(every[1:], self.readout), every[:, :kept], None)

    def merges(self, steps: int, rows: int) -> bool:
        """Check whether it is faster to form ``R D`` and have one product per step instead of two.

        The limit was measured with 500 and 1,000 units and 2 and 11 rows.
        """
        return 4 * steps * rows > 3 * self.units

    def driven(self, inputs: Array) -> Array:
        """Return ``W0 u`` of each step, shape (steps, batch, units)."""
        return _by_row(inputs, self.inputs)

    def checked(self, inputs: Array) -> Array:
        """Check inputs, shape (steps, batch, inputs), and return them in the weights' precision.

        Raises
        ------
        ValueError
            If their shape does not fit.
        """
        inputs = np.asarray(inputs, self.dtype)
        if inputs.ndim != 3 or inputs.shape[2] != self.inputs.shape[1]:
            raise ValueError(
                f"inputs: shape {inputs.shape} is not (steps, batch, {self.inputs.shape[1]})"
            )
        return inputs

    def checked_state(self, state: Array, batch: int) -> Array:
        """Check the states x, shape (batch, units), and return them in the weights' precision.

        Raises
        ------
        ValueError
            If its shape does not fit.
        """
        state = np.asarray(state, self.dtype)
        if state.shape != (batch, self.units):
            raise ValueError(f"state: shape {state.shape} is not ({batch}, {self.units})")
        return state


class _Times:
    """Compute ``matrix @ columns`` for a few columns repeatedly, into the same memory.

    OpenBLAS multiplies without first copying the matrix only up to some 10^6 multiplications.
    Larger products with few columns are computed by blocks of rows: 3 times as fast with 1,000
    units.
    """

    def __init__(self, matrix: Array, columns: int) -> None:
        self.out = np.empty((len(matrix), columns), matrix.dtype)
        length = len(matrix)
        if columns > 1:  # for a single column, BLAS copies nothing
            length = max(16, _UNCOPIED // (matrix.shape[1] * columns))
        self.parts = [
            (matrix[begin : begin + length], self.out[begin : begin + length])
            for begin in range(0, len(matrix), length)
        ]

    def __call__(self, columns: Array) -> Array:
        for rows, out in self.parts:
            np.dot(rows, columns, out=out)
        return self.out


def _by_row(rows: Array, matrix: Array) -> Array:
    """Return ``matrix @ row`` of each row, shape (..., n) to (..., m), as one product."""
    product = rows.reshape(-1, rows.shape[-1]) @ matrix.T
    return np.asarray(product.reshape(*rows.shape[:-1], len(matrix)))
