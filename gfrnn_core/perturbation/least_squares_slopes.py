"""Solve for the slopes of activity-based node perturbation from all draws at once.

One draw of ANP, ``g = dL d / |d|^2`` with d the change of the activations, is the shortest g with
``d . g = dL``. Several draws give the least-squares problem ``d_k . g = dL_k``: its solution needs
no factor and has no bias once there are more draws than units, whereas a mean over draws is
restricted to the few slow directions along which the activity changes.

Over time, the losses from step t on change by

    dL_t + dL_t+1 + ... = dL_t + g_t+1 . (d_t+1 - xi_t+1)

with ``xi_t+1`` the known noise that step t + 1 added: once it is subtracted, later noise adds no
variance, and the rest is linear in ``d_t``. Solved from the last step to the first, g_t is the
gradient of backpropagation through time up to the size of the noise, from forward passes alone.
This needs one draw per unit: with fewer, g_t is the part of the gradient that the draws span.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def solved_slopes(
    hidden: Array, hidden_noise: Array, output: Array, output_noise: Array, worse: Array
) -> tuple[Array, Array]:
    """Solve for the slopes of each sequence's loss with respect to pre-activations and outputs.

    Parameters
    ----------
    hidden, hidden_noise : ndarray, shape (steps, draws, batch, units)
        Change of the pre-activations, and the noise of the step that it contains.
    output, output_noise : ndarray, shape (steps, draws, batch, outputs)
        Change of the outputs, and the noise of the step that it contains.
    worse : ndarray, shape (steps, draws, batch)
        Change of each step's loss.

    Returns
    -------
    hidden : ndarray, shape (steps, batch, units)
    readout : ndarray, shape (steps, batch, outputs)
    """
    by_hidden, by_output = (np.empty_like(change[:, 0]) for change in (hidden, output))
    to_come = np.zeros_like(worse[0])
    for t in range(len(worse) - 1, -1, -1):
        by_output[t] = _shortest(output[t], worse[t])
        to_come += worse[t] - _along(output_noise[t], by_output[t])
        by_hidden[t] = _shortest(hidden[t], to_come)
        to_come = _along(hidden[t] - hidden_noise[t], by_hidden[t])
    return by_hidden, by_output


def _along(change: Array, slope: Array) -> Array:
    """Return the inner products: shapes (draws, batch, n) and (batch, n) to (draws, batch)."""
    return np.asarray(np.einsum("dbn,bn->db", change, slope))


def _shortest(change: Array, worse: Array) -> Array:
    """Return the least-squares solution of least norm of each sequence, shape (batch, n)."""
    rows, wanted = change.transpose(1, 0, 2), worse.T[..., None]
    draws, size = rows.shape[1:]
    columns = rows.transpose(0, 2, 1)
    # Each draw has noise in all directions, so the smaller product is far from singular. The added
    # diagonal keeps it regular where noise is lost to rounding because activations diverged.
    square = rows @ columns if draws <= size else columns @ rows
    diagonal = np.arange(min(draws, size))
    limits = np.finfo(change.dtype)
    square[:, diagonal, diagonal] *= 1 + 8 * limits.eps
    square[:, diagonal, diagonal] += limits.tiny
    if draws <= size:
        return np.asarray((columns @ np.linalg.solve(square, wanted))[..., 0])
    return np.asarray(np.linalg.solve(square, columns @ wanted)[..., 0])
