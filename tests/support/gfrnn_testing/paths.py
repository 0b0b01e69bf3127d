"""Folders of the project that tests read files from."""

from __future__ import annotations

import os
from pathlib import Path

SUPPORT = Path(__file__).parents[1]
"""The folder that makes ``gfrnn_testing`` importable."""

ROOT = SUPPORT.parents[1]
"""The top folder of the project."""


def with_support() -> dict[str, str]:
    """Return the environment of a Python process that can import ``gfrnn_testing``."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(SUPPORT), *([inherited] if inherited else [])])
    return os.environ | {"PYTHONPATH": path}
