"""Limit BLAS to one thread, for tasks of which several run in parallel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread."""
    # Environment variables would not reach workers without a nanny.
    limits: AbstractContextManager[Any] = _thread_pools().limit(limits=1)
    return limits


def single_threaded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with one BLAS thread."""
    with one_blas_thread():
        return function(*arguments)


@cache
def _thread_pools() -> ThreadpoolController:
    # Cached, as finding them takes milliseconds; numpy and scipy have loaded theirs by now.
    return ThreadpoolController()
