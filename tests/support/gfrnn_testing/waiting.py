"""Wait until a condition holds."""

from __future__ import annotations

import time
from collections.abc import Callable

_PATIENCE = 180.0  # seconds; what takes a second on an idle machine may take a minute on a busy one


def eventually(true: Callable[[], bool]) -> bool:
    """Return whether a condition holds in time; processes and jobs take a while to start or end."""
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
