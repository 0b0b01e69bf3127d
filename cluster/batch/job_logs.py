"""Error output of jobs and of the commands of batch systems."""

from __future__ import annotations

import re
from pathlib import Path

_LINES = 12
"""Lines of a log that are shown."""


def log_tails(folder: Path, job: str) -> list[str]:
    """Return the last lines of each log of a job, indented below the log's name."""
    lines = []
    for log in _logs(folder, job):
        text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if text:
            lines += [f"{log}:", *(f"  {line}" for line in text[-_LINES:])]
    return lines


def log_contains(folder: Path, job: str, text: str) -> bool:
    """Check whether a log of a job contains a text anywhere, also before its last lines."""
    return any(
        text in log.read_text(encoding="utf-8", errors="replace") for log in _logs(folder, job)
    )


def _logs(folder: Path, job: str) -> list[Path]:
    # Batch systems differ in how they name them, but the job's number is in all names.
    number = re.compile(rf"(?<!\d){re.escape(job.split('.')[0])}(?!\d)")
    return sorted(path for path in folder.iterdir() if path.is_file() and number.search(path.name))


def error_output(error: Exception) -> str:
    """Return the error output of a command, without the text that dask-jobqueue puts around it."""
    if isinstance(error, FileNotFoundError):
        return f"there is no command {error.filename} on this machine"
    text = str(error)
    _, found, output = text.partition("stderr:\n")
    return " ".join((output if found else text).split())
