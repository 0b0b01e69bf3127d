"""What jobs and commands had to say before they failed."""

from __future__ import annotations

import re
from pathlib import Path

_LINES = 12
"""Of a log."""


def log_ends(folder: Path, job: str) -> list[str]:
    """The last lines of each log of a job, each after the log's name."""
    lines = []
    for log in _logs(folder, job):
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if said:
            lines += [f"{log}:", *(f"  {line}" for line in said[-_LINES:])]
    return lines


def _logs(folder: Path, job: str) -> list[Path]:
    # Batch systems differ in how they name them, but the job's number is in all names.
    number = re.compile(rf"(?<!\d){re.escape(job.split('.')[0])}(?!\d)")
    return sorted(path for path in folder.iterdir() if path.is_file() and number.search(path.name))


def complaint(error: Exception) -> str:
    """What a command said, without what the library that called it says about it."""
    if isinstance(error, FileNotFoundError):
        return f"there is no command {error.filename} on this machine"
    text = str(error)
    _, found, said = text.partition("stderr:\n")
    return " ".join((said if found else text).split())
