"""Measurement of training times, common to all methods and cases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from threadpoolctl import threadpool_limits

Value = TypeVar("Value")


def timed(train: Callable[[], Value]) -> tuple[Value, float]:
    """Call ``train`` on one BLAS thread and measure its time.

    ``train`` should do everything from the training series to the trained model, and nothing else:
    it should not make data or forecast.

    Parameters
    ----------
    train : callable
        Function without arguments.

    Returns
    -------
    value
        Return value of ``train``.
    seconds : float
        Wall time.
    """
    with threadpool_limits(limits=1):
        begun = time.perf_counter()
        value = train()
        return value, time.perf_counter() - begun
