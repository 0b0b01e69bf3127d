"""The console on which all commands print."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from gfrnn.pipeline.errors import without_passwords

# Without markup and emoji, names and paths with brackets are printed as they are.
console = Console(soft_wrap=True, markup=False, emoji=False)

_STYLES = {"error": "red", "warning": "yellow"}


def print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Print the problems that a check has found.

    Parameters
    ----------
    findings : iterable of (str, str, str)
        Severity, subject (may be empty) and message of each.
    """
    none = True
    for severity, subject, message in findings:
        none = False
        console.print(severity, style=_STYLES.get(severity, "dim"), end=" ")
        about = f"{subject}: " if subject else ""
        console.print(without_passwords(f"{about}{message}"), highlight=False, markup=False)
    if none:
        console.print("no problems found")
