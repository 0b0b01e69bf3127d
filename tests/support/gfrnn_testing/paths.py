"""Folders of the project that tests read files from."""

from pathlib import Path

SUPPORT = Path(__file__).parents[1]
"""The folder that makes ``gfrnn_testing`` importable."""

ROOT = SUPPORT.parents[1]
"""The top folder of the project."""
