"""What ``gfrnn inspect`` says of data."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import DataConfig
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.inspection.describe import describe_dataset
from gfrnn.pipeline.data.inspection.starting_experiment import starting_experiment
from gfrnn.pipeline.errors import RunError


def show_data(
    data: list[str], console: Console, *, level: float | None, name: str, save: Path | None
) -> None:
    """Print what is in the data and what is wrong with them; print or write a starting experiment.

    Raises
    ------
    ConfigError, DataError, RunError
    """
    sources = [{"path": path} | ({"level": level} if level else {}) for path in data]
    ds = open_source(checked(DataConfig, {"sources": sources}, "inspect"))
    console.print(describe_dataset(ds), highlight=False, markup=False)
    findings = audit(ds)
    for finding in findings:
        style = {"error": "red", "warning": "yellow"}.get(finding.severity, "dim")
        about = f"{finding.variable}: " if finding.variable else ""
        console.print(f"[{style}]{finding.severity}[/{style}]", end=" ")
        console.print(f"{about}{finding.message}", highlight=False, markup=False)
    if not findings:
        console.print("nothing wrong was found")
    text = starting_experiment(ds, data, name)
    if save is None:
        console.print("\n# a starting experiment file", highlight=False)
        console.print(text, highlight=False, markup=False)
        return
    if save.exists():
        raise RunError(f"{save}: exists; choose another name for --save")
    save.write_text(text, encoding="utf-8")
    console.print(f"starting experiment: {save}", highlight=False)
