"""Call the command ``gfrnn`` as users do, in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]

SMALL: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-10"]},
    "forecast": {"horizon": "4d"},
    "cluster": {"workers": 1, "dashboard": ":0"},
}
"""Sections of an experiment with little work."""


def gfrnn(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process."""
    command = [*GFRNN, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


class Answer:
    """Output and exit code of the command in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def complaint(answer: Answer) -> str:
    """Return the message of an error, which must be one that users can correct."""
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err + answer.out
    return answer.err.removeprefix("error: ").strip()
