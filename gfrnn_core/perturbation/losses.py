"""Losses of a step, and their gradients with respect to the outputs."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Loss = Literal["squared", "cross_entropy"]


def check_loss(loss: str) -> None:
    """Check that a loss of this name exists.

    Raises
    ------
    ValueError
        If it does not.
    """
    if loss not in get_args(Loss):
        raise ValueError(f"loss: {loss!r} is not one of {', '.join(get_args(Loss))}")


def step_losses(outputs: Array, targets: Array, loss: Loss) -> Array:
    """Return the loss of each step and sample: shape (..., outputs) to (...).

    ``squared`` is the mean over outputs of the squared error, ``cross_entropy`` that of the softmax
    of the outputs with targets that sum to 1, in nats.
    """
    if loss == "squared":
        return np.asarray(np.square(outputs - targets).mean(axis=-1))
    return np.asarray(-(targets * _log_softmax(outputs)).sum(axis=-1))


def output_gradient(outputs: Array, targets: Array, loss: Loss) -> Array:
    """Return the derivative of :func:`step_losses` by the outputs, shape (..., outputs)."""
    if loss == "squared":
        return np.asarray((outputs - targets) * (2.0 / outputs.shape[-1]), outputs.dtype)
    return np.asarray(np.exp(_log_softmax(outputs)) - targets)


def _log_softmax(outputs: Array) -> Array:
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
