"""Work of ``gfrnn reproduce``: list the cases of the papers, choose settings, run a case."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gfrnn.cluster import open_cluster
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.storage import check_writable
from gfrnn.workflows.cases import case_names, load_case
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import ClusterOptions
from gfrnn.workflows.reproduce.result_table import json_tree, terminal_table, verdict_sentence
from gfrnn.workflows.reproduce.run_case import reproduce as reproduce_case
from gfrnn.workflows.reproduce.run_case import write_files
from gfrnn.workflows.reproduce.settings_file import dump, load_settings
from gfrnn.workflows.reproduce.settings_search import SettingsChoice, choice_table, searches
from gfrnn.workflows.reproduce.settings_search import choose as choose_best
from gfrnn.workflows.session.command_output import add_results, show_table
from gfrnn.workflows.session.printed_lines import print_dashboard, print_product
from gfrnn.workflows.session.progress_display import show_progress


def list_cases() -> None:
    """Print the names and summaries of all cases."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in case_names():
        table.add_row(Text(name, "bold"), load_case(name).summary)
    show_table(console, table)


def run_case(
    name: str,
    *,
    seeds: int,
    file: Path | None = None,
    quick: bool = False,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    cluster: ClusterOptions,
) -> None:
    """Run a case, write its results into a folder, and print its table.

    Parameters
    ----------
    name : str
    seeds : int
    file : Path, optional
        Settings that replace those of the case.
    quick : bool
    output : Path, optional
    options : mapping of str to value, optional
        Settings that are options of the command, such as ``task``.
    cluster : ClusterOptions
        The cluster to open; without options, none is opened.

    Raises
    ------
    ConfigError
        If there is no such case, its settings are not allowed, or it cannot use workers.
    ClusterError
        If the cluster does not start.
    """
    case = load_case(name)
    options = options or {}
    loaded = load_settings(case, file, quick=quick, options=options)
    if cluster.arguments and not case.parallel:
        raise ConfigError(
            f"{cluster.arguments[0]}: the case {name} runs in one process; leave the option out, "
            "or add --choose, which uses workers"
        )
    folder = _folder(name, quick, output, options)
    command = _command(
        name, seeds=seeds, file=file, quick=quick, output=output, options=options, cluster=cluster
    )
    with _open_cluster(cluster), show_progress(console) as progress:
        result = reproduce_case(case, loaded, range(seeds), folder, progress, command)
    show_table(console, terminal_table(result))
    for verdict in result.verdicts():
        style = {True: "green", False: "red", None: "dim"}[verdict.reached]
        console.print(verdict_sentence(verdict), style=style, highlight=False, markup=False)
    for note in result.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    add_results(result=json_tree(result), page=folder / "index.html")
    print_product(console, "page", folder / "index.html")


def choose_settings(
    name: str,
    *,
    file: Path | None = None,
    quick: bool = False,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    cluster: ClusterOptions,
) -> None:
    """Choose settings on validation trajectories; write ``chosen.yaml`` and ``candidates.csv``.

    For the parameters see :func:`run_case`.

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
    with _open_cluster(cluster), show_progress(console) as progress:
        chosen, choices = choose_best(case, loaded, progress)
    for choice in choices:
        show_table(console, choice_table(choice))
    head = f"# Settings of the case {name}, chosen on its validation trajectories.\n"
    path = folder / "chosen.yaml"
    write_files(
        folder, {"candidates.csv": _csv(choices), "chosen.yaml": head + dump(chosen.values)}
    )
    add_results(chosen=path)
    print_product(console, "chosen", f"{path}; pass it to --settings")


@contextmanager
def _open_cluster(options: ClusterOptions) -> Iterator[None]:
    """Open a cluster for the block if an option asks for one."""
    if not options.arguments:
        yield
        return
    with open_cluster(options.config({}, "options")) as cluster:
        print_dashboard(console, cluster.dashboard)
        yield


def _folder(name: str, quick: bool, output: Path | None, options: Mapping[str, Any]) -> Path:
    # Tasks of one case have separate results.
    words = [
        name,
        *([str(options["task"])] if "task" in options else []),
        *(["quick"] if quick else []),
    ]
    folder = output or Path("runs") / "reproduce" / "-".join(words)
    check_writable(folder)
    return folder


def _command(
    name: str,
    *,
    seeds: int,
    file: Path | None,
    quick: bool,
    output: Path | None,
    options: Mapping[str, Any],
    cluster: ClusterOptions,
) -> str:
    words = ["gfrnn", "reproduce", name, "--seeds", str(seeds)]
    words += ["--quick"] if quick else []
    for key, value in options.items():
        words += [f"--{key}", ",".join(value) if isinstance(value, list) else str(value)]
    words += ["--settings", str(file)] if file is not None else []
    words += ["--output", str(output)] if output is not None else []
    return shlex.join(words + cluster.arguments)


def _csv(choices: list[SettingsChoice]) -> str:
    """Write the trials in long form: validation, trial, key, value; the score is a key too."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["validation", "trial", "key", "value"])
    for choice in choices:
        for number, trial in enumerate(choice.trials):
            for key, value in trial.values.items():
                writer.writerow([choice.name, number, key, value])
            writer.writerow([choice.name, number, choice.validation.score.key, trial.score])
    return buffer.getvalue()
