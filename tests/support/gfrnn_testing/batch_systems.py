"""Clusters on the Slurm of the tests."""

from __future__ import annotations

import os
from typing import Any

import psutil

from gfrnn.cluster import ClusterConfig


def batch(**keys: Any) -> ClusterConfig:
    """Return the configuration of one worker on Slurm, reached by the loopback interface."""
    common = {
        "kind": "slurm",
        "workers": 1,
        "memory": "600MiB",
        "interface": "lo",
        "walltime": "10min",
        "dashboard": ":0",
        "timeout": 180,
    }
    return ClusterConfig(**common | keys)


def watchdogs() -> list[psutil.Process]:
    """Return the watchdogs that were started here and still run."""
    return [
        child
        for child in psutil.Process(os.getpid()).children()
        if any("watchdog.py" in word for word in child.cmdline())
    ]
