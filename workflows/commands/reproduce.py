"""What ``gfrnn reproduce`` does: list the cases, choose settings, run one."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gfrnn.cluster import open_cluster
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import case_names, load_case
from gfrnn.workflows.commands.options import ClusterFile, Place, Workers
from gfrnn.workflows.reproduce.result_table import sentence, terminal_table
from gfrnn.workflows.reproduce.run_case import reproduce, write_files
from gfrnn.workflows.reproduce.settings_file import dump, load_settings
from gfrnn.workflows.reproduce.settings_search import SettingsChoice, choice_table, choose, searches
from gfrnn.workflows.session.progress import show_progress


def add_cases(app: typer.Typer, console: Callable[[], Console]) -> None:
    """Give the app the command ``reproduce``, which prints on its console."""

    @app.command()
    def reproduce(
        name: Annotated[
            str | None,
            typer.Argument(help="The case; without one, all are listed.", metavar="[NAME]"),
        ] = None,
        seeds: Annotated[int, typer.Option(min=1, help="Seeds of the hidden weights.")] = 5,
        quick: Annotated[
            bool, typer.Option("--quick", help="Smaller, in under a minute; the same code.")
        ] = False,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="Folder; default runs/reproduce/NAME[-quick]."),
        ] = None,
        settings: Annotated[
            Path | None, typer.Option(help="YAML file laid over the settings of the case.")
        ] = None,
        choose: Annotated[
            bool,
            typer.Option(
                "--choose",
                help="Only choose settings, on validation trajectories: every combination of the "
                "candidates in the settings file, or as many random ones as it says.",
            ),
        ] = False,
        task: Annotated[
            str | None, typer.Option(help="For a case of several tasks: which one, e.g. weather.")
        ] = None,
        rules: Annotated[
            str | None,
            typer.Option(help="For a case of several rules: which ones, e.g. danp,bptt."),
        ] = None,
        workers: Workers = None,
        cluster: ClusterFile = None,
        listing: Annotated[bool, typer.Option("--list", help="List the cases.")] = False,
    ) -> None:
        """Rerun a case of the papers: a table, a figure and a page that shows them.

        Examples: [bold]gfrnn reproduce[/bold] (lists the cases);
        [bold]gfrnn reproduce lorenz63 --quick[/bold];
        [bold]gfrnn reproduce lorenz63 --choose[/bold], then
        [bold]gfrnn reproduce lorenz63 --settings runs/reproduce/lorenz63/chosen.yaml[/bold];
        [bold]gfrnn reproduce perturbation --task weather --rules danp,bptt --workers 2[/bold]
        """
        if name is None or listing:
            list_cases(console())
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
            "place": Place(cluster, workers),
        }
        if choose:
            choose_settings(name, console(), **common)
        else:
            run_case(name, console(), seeds=seeds, **common)


def list_cases(console: Console) -> None:
    """Names and summaries of all cases."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in case_names():
        table.add_row(f"[bold]{name}[/bold]", load_case(name).summary)
    console.print(table)


def run_case(
    name: str,
    console: Console,
    *,
    seeds: int,
    file: Path | None = None,
    quick: bool = False,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    place: Place,
) -> None:
    """Run a case, write its folder, print its table.

    Parameters
    ----------
    name : str
    console : Console
    seeds : int
    file : Path, optional
        Laid over the settings of the case.
    quick : bool
    output : Path, optional
    options : mapping of str to value, optional
        Settings that are options of the command, such as ``task``.
    place : Place
        The cluster to open; none where it is empty.

    Raises
    ------
    ConfigError
        If there is no such case, its settings are not allowed, or workers have nothing to do.
    ClusterError
        If the cluster does not start.
    """
    case = load_case(name)
    options = options or {}
    loaded = load_settings(case, file, quick=quick, options=options)
    if place.words and not case.parallel:
        raise ConfigError(
            f"{place.words[0]}: the case {name} runs in one process; leave it out, or add --choose"
        )
    folder = _folder(name, quick, output, options)
    command = _command(
        name, seeds=seeds, file=file, quick=quick, output=output, options=options, place=place
    )
    with _cluster(place, console), show_progress(console) as progress:
        result = reproduce(case, loaded, range(seeds), folder, progress, command)
    console.print(terminal_table(result))
    for verdict in result.verdicts():
        style = {True: "green", False: "red", None: "dim"}[verdict.reached]
        console.print(sentence(verdict), style=style, highlight=False, markup=False)
    for note in result.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    console.print(f"[bold]page[/bold]: {folder / 'index.html'}", highlight=False)


def choose_settings(
    name: str,
    console: Console,
    *,
    file: Path | None = None,
    quick: bool = False,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    place: Place,
) -> None:
    """Choose settings on validation trajectories; write ``chosen.yaml`` and ``candidates.csv``.

    Parameters are those of :func:`run_case`.

    Raises
    ------
    ConfigError
        If there is no such case, or its settings or candidates are not allowed.
    ClusterError
        If the cluster does not start.
    """
    case = load_case(name)
    loaded = load_settings(case, file, quick=quick, options=options)
    searches(case, loaded)
    folder = _folder(name, quick, output, options or {})
    with _cluster(place, console), show_progress(console) as progress:
        chosen, choices = choose(case, loaded, progress)
    for choice in choices:
        console.print(choice_table(choice))
    head = f"# Settings of the case {name}, chosen on its validation trajectories.\n"
    path = folder / "chosen.yaml"
    write_files(
        folder, {"candidates.csv": _csv(choices), "chosen.yaml": head + dump(chosen.values)}
    )
    console.print(f"[bold]chosen[/bold]: {path}; pass it to --settings", highlight=False)


@contextmanager
def _cluster(place: Place, console: Console) -> Iterator[None]:
    """A cluster while the block runs; where no option asks for one, none."""
    if not place.words:
        yield
        return
    with open_cluster(place.config({}, "options")) as cluster:
        console.print(f"dashboard: {cluster.dashboard}", highlight=False)
        yield


def _folder(name: str, quick: bool, output: Path | None, options: Mapping[str, Any]) -> Path:
    # Two tasks of one case are two results.
    words = [
        name,
        *([str(options["task"])] if "task" in options else []),
        *(["quick"] if quick else []),
    ]
    folder = output or Path("runs") / "reproduce" / "-".join(words)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--output: {folder} is a file; name a folder")
    return folder


def _command(
    name: str,
    *,
    seeds: int,
    file: Path | None,
    quick: bool,
    output: Path | None,
    options: Mapping[str, Any],
    place: Place,
) -> str:
    words = ["gfrnn", "reproduce", name, "--seeds", str(seeds)]
    words += ["--quick"] if quick else []
    for key, value in options.items():
        words += [f"--{key}", ",".join(value) if isinstance(value, list) else str(value)]
    words += ["--settings", str(file)] if file is not None else []
    words += ["--output", str(output)] if output is not None else []
    return shlex.join(words + place.words)


def _csv(choices: list[SettingsChoice]) -> str:
    """Long form: validation, trial, key, value; the score is a key too."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["validation", "trial", "key", "value"])
    for choice in choices:
        for number, trial in enumerate(choice.trials):
            for key, value in trial.values.items():
                writer.writerow([choice.name, number, key, value])
            writer.writerow([choice.name, number, choice.validation.score.key, trial.score])
    return buffer.getvalue()
