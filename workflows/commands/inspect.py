"""The command ``gfrnn inspect``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gfrnn.pipeline.errors import ConfigError, DataError, without_passwords
from gfrnn.workflows.commands.console import console, print_findings
from gfrnn.workflows.session.command_output import add_results

DATA_HAVE_CHANGED = 1
"""Exit code where data of a run are not those that it was computed from."""


def inspect(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Files, zarr stores, globs or URLs of one data set, or the folder of a run.",
            metavar="DATA...",
        ),
    ],
    level: Annotated[
        list[str] | None,
        typer.Option(
            help="Pressure level in hPa, if only the name of the file contains it, e.g. 500, or "
            "z500.nc=500 for one of DATA. Repeatable.",
            metavar="[DATA=]HPA",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name for the generated experiment, e.g. my_region. Default: that of the file "
            "(--save) or of the data."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write the generated experiment file here, e.g. my.yaml."),
    ] = None,
) -> None:
    """Describe data, list their problems, and generate an experiment file to start from.

    The experiment file is printed if --save is not given.

    With the folder of a run, compare the data of each year with the record of
    those that the run was computed from; the exit code is 1 if some are changed or
    missing.

    Examples: [bold]gfrnn inspect 'era5/*.nc' --save my.yaml[/bold];
    [bold]gfrnn inspect runs/my[/bold]
    """
    if runs := [path for path in data if (Path(path) / "experiment.yaml").is_file()]:
        if len(data) > 1 or save is not None or level or name is not None:
            raise ConfigError(
                f"{runs[0]}: is the folder of a run, whose data are compared with its record; give "
                "it alone, without --save, --level and --name"
            )
        _compare_data(Path(runs[0]))
        return
    from gfrnn.pipeline.data.inspection.audit import audit
    from gfrnn.pipeline.data.inspection.describe import dataset_facts, describe_dataset
    from gfrnn.pipeline.data.inspection.starting_experiment import starting_experiment
    from gfrnn.workflows.session.new_experiment import (
        check_new,
        checked_name,
        open_given,
        proposed_name,
        write_new,
    )

    if save is not None:
        check_new(save)
    if name is not None:
        checked_name(name, "--name: ")
    for path in data:
        if Path(path).suffix in (".yaml", ".yml"):
            raise ConfigError(
                f"DATA: {path} is an experiment file, and not data; give files of data, or check "
                f"the experiment with `gfrnn fit {shlex.quote(path)} --plan`"
            )
    ds, sources = open_given(data, level or (), console)
    console.print(
        without_passwords(describe_dataset(ds, notes=False)), highlight=False, markup=False
    )
    findings = audit(ds)
    add_results(
        **dataset_facts(ds),
        findings=[
            {"severity": each.severity, "subject": each.variable, "message": each.message}
            for each in findings
        ],
    )
    print_findings(
        (finding.severity, finding.variable or "", finding.message) for finding in findings
    )
    try:
        text = starting_experiment(ds, sources, name or proposed_name(save, data[0]), findings)
    except DataError as error:
        if save is not None:
            raise
        console.print(
            f"\n# no experiment file to start from: {error}", highlight=False, markup=False
        )
        return
    add_results(experiment=text)
    if save is None:
        console.print("\n# experiment file to start from", highlight=False)
        console.print(without_passwords(text), highlight=False, markup=False)
        return
    write_new(save, text)
    console.print(f"experiment file: {save}", highlight=False)


def _compare_data(folder: Path) -> None:
    """Print which data of a run are still those that it was computed from.

    Raises
    ------
    typer.Exit
        If some are not.
    """
    from gfrnn.pipeline import Run
    from gfrnn.pipeline.runs.stage_data import UNCHANGED

    run = Run.reopen(folder)
    states = run.compare_data()
    add_results(data=states)
    for part, state in states.items():
        style = "dim" if state == UNCHANGED else "yellow"
        console.print(f"{state:<9}", style=style, end=" ")
        console.print(part, highlight=False)
    if run.record.external_model:
        what = "added by updates" if run.updated else "of the run whose model was copied"
        console.print(f"not compared: the data {what}", highlight=False)
    differing = sum(state != UNCHANGED for state in states.values())
    if not differing:
        console.print("the data are those that the run was computed from", highlight=False)
        return
    console.print(
        f"{differing} of {len(states)} parts of the data are not those that the run was computed "
        "from; `gfrnn run` repeats the stages that they decide",
        highlight=False,
    )
    raise typer.Exit(DATA_HAVE_CHANGED)
