"""Losses of a step, and their gradients with respect to the outputs."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Loss = Literal["squared", "cross_entropy"]


def check_loss(loss: str) -> None:
    """Refuse the name of a loss that does not exist.

    Raises
    ------
    ValueError
    """
    if loss not in get_args(Loss):
        raise ValueError(f"loss: {loss!r} is not one of {', '.join(get_args(Loss))}")


def step_losses(outputs: Array, targets: Array, loss: Loss) -> Array:
    """The loss of each step and sample: shape (..., outputs) to (...).

    ``squared``: mean over outputs of the squared error. ``cross_entropy``: of the softmax of the
    outputs with targets that sum to 1, in nats.
    """
    if loss == "squared":
        return np.asarray(np.square(outputs - targets).mean(axis=-1))
    return np.asarray(-(targets * _log_softmax(outputs)).sum(axis=-1))


def output_gradient(outputs: Array, targets: Array, loss: Loss) -> Array:
    """Derivative of :func:`step_losses` with respect to the outputs, shape (..., outputs)."""
    if loss == "squared":
        return np.asarray((outputs - targets) * (2.0 / outputs.shape[-1]), outputs.dtype)
    return np.asarray(np.exp(_log_softmax(outputs)) - targets)


def _log_softmax(outputs: Array) -> Array:
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
