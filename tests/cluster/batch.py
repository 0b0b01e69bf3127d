"""Clusters on the Slurm of the tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import psutil

from cluster import ClusterConfig


def batch(**keys: Any) -> ClusterConfig:
    """One worker on Slurm, reached by the loopback interface."""
    common = {
        "kind": "slurm",
        "workers": 1,
        "memory": "600MiB",
        "interface": "lo",
        "walltime": "10min",
        "dashboard": ":0",
        "timeout": 30,
    }
    return ClusterConfig(**common | keys)


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something comes true; jobs take a while to start and to end."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def watchdogs() -> list[psutil.Process]:
    """Those that were started here and still run."""
    return [
        child
        for child in psutil.Process(os.getpid()).children()
        if any("watchdog.py" in word for word in child.cmdline())
    ]
