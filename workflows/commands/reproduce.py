"""The command ``gfrnn reproduce``: list the cases of the papers, choose settings, run a case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gfrnn.workflows.commands.options import ClusterFile, ClusterOptions, Workers


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of the case, e.g. lorenz63. Default: list all.", metavar="[NAME]"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for the hidden weights.")] = 5,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Run the same code on a smaller case, in less than a minute."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the results. Default: runs/reproduce/NAME[-quick]."
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with settings that replace those of the case, e.g. mine.yaml."
        ),
    ] = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Only choose settings on validation trajectories: try every combination of the "
            "candidates in the settings file, or the number of random ones it states.",
        ),
    ] = False,
    task: Annotated[
        str | None, typer.Option(help="Task of a case that has several, e.g. weather.")
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(help="Learning rules of a case that has several, e.g. danp,bptt."),
    ] = None,
    workers: Workers = None,
    cluster: ClusterFile = None,
    listing: Annotated[bool, typer.Option("--list", help="List the cases.")] = False,
) -> None:
    """Repeat an experiment of the papers; write a table, a figure and a page with both.

    Examples: [bold]gfrnn reproduce[/bold] (lists the cases);
    [bold]gfrnn reproduce lorenz63 --quick[/bold];
    [bold]gfrnn reproduce lorenz63 --choose[/bold], then
    [bold]gfrnn reproduce lorenz63 --settings runs/reproduce/lorenz63/chosen.yaml[/bold];
    [bold]gfrnn reproduce perturbation --task weather --rules danp,bptt --workers 2[/bold]
    """
    from gfrnn.workflows.reproduce import reproduction

    if name is None or listing:
        reproduction.list_cases()
        return
    given = {
        "task": task,
        "rules": None if rules is None else rules.replace(" ", "").split(","),
    }
    common: dict[str, Any] = {
        "file": settings,
        "quick": quick,
        "output": output,
        "options": {key: value for key, value in given.items() if value is not None},
        "cluster": ClusterOptions(cluster, workers),
    }
    if choose:
        reproduction.choose_settings(name, **common)
    else:
        reproduction.run_case(name, seeds=seeds, **common)
