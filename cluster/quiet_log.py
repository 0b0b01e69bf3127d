"""Silence a logger of Dask where the caller reports the error itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_log(name: str) -> Iterator[None]:
    """Let a logger print nothing but critical messages while the block runs.

    Parameters
    ----------
    name : str
        Name of the logger, such as ``distributed.core``.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
