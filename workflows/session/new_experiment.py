"""Work of ``gfrnn new`` and ``gfrnn inspect``: open data, ask for choices, write an experiment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
import xarray as xr
from rich.console import Console

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.config.yaml_tree import parse_tree
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.inspection.describe import describe_dataset, describe_files
from gfrnn.pipeline.data.inspection.starting_experiment import (
    StartingChoices,
    proposed_horizon,
    proposed_periods,
    starting_experiment,
)
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.data.variables.file_variables import file_variables, source_variables
from gfrnn.pipeline.errors import ConfigError, DataError, RunError, without_passwords
from gfrnn.pipeline.storage import check_writable_file, write_text
from gfrnn.pipeline.training.checks import check_fit
from gfrnn.pipeline.training.stretches import steps
from gfrnn.pipeline.verification.checks import check_verification
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.printed_lines import print_product

_KEYS = "data.sources are keys of an experiment file, which `gfrnn fit FILE --plan` checks"
_LEVEL = "; --level 500 sets the level (hPa) of all files, --level z500.nc=500 that of one of DATA"

Source = str | dict[str, Any]


def open_given(
    paths: Sequence[str],
    levels: Sequence[str],
    console: Console,
    region: Sequence[float] | None = None,
) -> tuple[xr.Dataset, list[Source]]:
    """Open data given on the command line.

    Parameters
    ----------
    paths : sequence of str
    levels : sequence of str
        Levels in hPa of files whose names alone contain them: one for all, or words such as
        ``z500.nc=500`` for some of the paths.
    console : Console
        Where files are described that cannot be used as they are.
    region : sequence of float or None
        South, north, west and east in degrees.

    Returns
    -------
    xarray.Dataset
        The canonical Dataset.
    list
        Entries of ``data.sources``.

    Raises
    ------
    DataError
        Also if keys of an experiment file are needed.
    """
    known = _levels_of(levels, paths)
    sources: list[Source] = [
        {"path": path, "level": known[path]} if path in known else path for path in paths
    ]
    tree: dict[str, Any] = {"sources": list(sources)}
    if region is not None:
        tree["region"] = {"latitude": list(region[:2]), "longitude": list(region[2:])}
    config = checked(DataConfig, tree, "DATA")
    try:
        return open_source(config), sources
    except DataError as error:
        if "data.sources" not in str(error):
            raise
        hint = _KEYS + (_LEVEL if ".level" in str(error) else "")
        _describe_files(config, console)
        raise DataError(f"{error}\n{hint}") from None


def _levels_of(words: Sequence[str], paths: Sequence[str]) -> dict[str, float]:
    """Return the level of each path that has one.

    Raises
    ------
    ConfigError
        If a word is no level, or names none of the paths.
    """
    found: dict[str, float] = {}
    for word in words:
        path, equals, text = word.rpartition("=")
        try:
            level = float(text)
        except ValueError:
            level = 0.0
        if not level > 0:
            raise ConfigError(
                f"--level: {word!r} is no level in hPa; write for example 500, or z500.nc=500"
            )
        if equals and path not in paths:
            raise ConfigError(
                f"--level: {path!r} is not one of DATA; write it as there: {', '.join(paths)}"
            )
        if not equals and len(words) > 1:
            raise ConfigError(
                f"--level: {word} is for all of DATA; where levels differ, write {paths[0]}={word} "
                "and so on"
            )
        found |= dict.fromkeys([path] if equals else paths, level)
    return found


def _describe_files(config: DataConfig, console: Console) -> None:
    """Print what files hold that cannot be used as they are, if they can be opened."""
    try:
        found = source_variables(config.sources, "data.sources", file_variables)
    except DataError:  # the error that is shown says why
        return
    variables = [each for parts in found.values() for each in parts]
    console.print(without_passwords(describe_files(variables)), highlight=False, markup=False)


def check_new(file: Path) -> None:
    """Check that an experiment file does not exist yet, and can be written."""
    if file.exists():
        raise RunError(f"--save: {file} exists already; choose another name, or remove it")
    check_writable_file(file, "--save")


def write_new(file: Path, text: str) -> None:
    """Write an experiment file that does not exist yet; it is private if it has passwords."""
    check_new(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text, private=text != without_passwords(text))
    add_results(experiment_file=file)


def new_experiment(
    paths: Sequence[str],
    levels: Sequence[str],
    name: str | None,
    file: Path | None,
    given: StartingChoices,
    console: Console,
    *,
    asks: bool,
) -> None:
    """Write an experiment file for data, after asking for what is not given.

    Parameters
    ----------
    paths : sequence of str
        Data; they are asked for if there are none.
    levels : sequence of str
        As for :func:`open_given`.
    name : str or None
        Name of the experiment; by default that of the file, or of the data.
    file : Path or None
        File to write; by default ``NAME.yaml``.
    given : StartingChoices
    console : Console
    asks : bool
        Whether to ask; otherwise what is not given is derived from the data.

    Raises
    ------
    ConfigError, DataError, RunError
        If a fit would refuse the experiment; nothing is written then.
    """
    if not paths and not asks:
        raise ConfigError("DATA: missing; give files, zarr stores, globs or URLs")
    if file is not None:
        check_new(file)
    if paths:
        ds, sources = open_given(paths, levels, console, given.region)
    else:
        ds, sources = _ask(
            "Data (file, zarr store, glob or URL)", None, _opened(levels, console, given.region)
        )
    console.print(without_passwords(describe_dataset(ds)), highlight=False, markup=False)
    if asks:
        given = _ask_choices(ds, given)
    if name is None:
        name = proposed_name(file, sources[0])
        if asks:
            name = _ask("Name of the experiment", name, checked_name)
    else:
        checked_name(name, "--name: ")
    file = file or Path(f"{name}.yaml")
    text = starting_experiment(ds, sources, name, audit(ds), given)
    # There are no lines to be named, as the file is not written yet.
    experiment = checked(Experiment, dict(parse_tree(text, name)), f"{file} (not written)")
    ds = open_source(experiment.data)
    check_fit(experiment, ds)
    check_verification(experiment, ds)
    write_new(file, text)
    print_product(console, "experiment file", file)
    shown = shlex.quote(str(file))
    print_product(console, "next", f"gfrnn fit {shown} --plan; gfrnn run {shown}")


def _ask_choices(ds: xr.Dataset, given: StartingChoices) -> StartingChoices:
    """Ask for the choices that are not given."""
    names = list(map(str, ds.data_vars))

    def variables(text: str) -> list[str]:
        chosen = [each for each in re.split(r"[,\s]+", text) if each]
        if wrong := [each for each in chosen if each not in names]:
            raise ConfigError(f"{wrong[0]!r} is not in the data; allowed: {', '.join(names)}")
        return chosen or names

    def members(text: str) -> int | None:
        if not text.isdigit() or int(text) == 1:
            raise ConfigError(f"{text!r} is not 0 (one forecast) or the number of members, e.g. 20")
        return int(text) or None

    if given.variables is None and len(names) > 1:
        given = replace(given, variables=_ask("Variables to forecast", ", ".join(names), variables))
    time = ds["time"].values
    periods = given.periods or {
        name: _ask(f"Period for {_PURPOSES[name]}", " ".join(proposed), _period)
        for name, proposed in proposed_periods(time).items()
    }
    given = replace(given, periods=periods)
    if given.horizon is None:
        proposed = str(proposed_horizon(time, periods))
        horizon = _ask("Length of the forecasts", proposed, _duration(step_of(time)))
        given = replace(given, horizon=horizon)
    if given.members is None:
        question = "Members of an ensemble (0: one forecast)"
        given = replace(given, members=_ask(question, "0", members))
    return given


_PURPOSES = {
    "train": "training",
    "validation": "choosing settings (validation)",
    "test": "forecasts and scores (test)",
}


def _ask(question: str, default: str | None, parse: Callable[[str], Any]) -> Any:
    """Ask until the answer can be parsed."""
    while True:
        answer = typer.prompt(question, default=default, err=True)
        try:
            return parse(str(answer).strip())
        except (ConfigError, DataError) as error:
            typer.echo(f"  {error}", err=True)


def _opened(
    levels: Sequence[str], console: Console, region: Sequence[float] | None
) -> Callable[[str], tuple[xr.Dataset, list[Source]]]:
    return lambda text: open_given(text.split(), levels, console, region)


def _period(text: str) -> list[str]:
    dates = text.split()
    if len(dates) != 2:
        raise ConfigError(f"{text!r} is not a first and a last date, e.g. 2001-01-01 2003-12-31")
    checked(Period, dates, "period")
    return dates


def _duration(step: Duration) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            duration = Duration.parse(text)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        steps("forecast.horizon", duration, step)
        return text

    return parse


def checked_name(name: str, where: str = "") -> str:
    """Return the name of an experiment; ``where`` precedes the message about another one.

    Raises
    ------
    ConfigError
        If it cannot be the name of a folder everywhere.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise ConfigError(
            f"{where}{name!r} is not a name; use at most 100 letters, digits, ., _ and -, the "
            "first of them a letter or digit"
        )
    return name


def proposed_name(file: Path | None, source: str | Mapping[str, Any]) -> str:
    """Return a name for an experiment: that of its file, or of its data or their folder."""
    path = file or Path(str(source if isinstance(source, str) else source["path"]).rstrip("/"))
    words = (
        re.sub(r"[^A-Za-z0-9-]+", "_", each).strip("_-") for each in (path.stem, path.parent.name)
    )
    plain = [word[:100] for word in words if word]
    if any(sign in path.name for sign in "*?[{") and len(plain) > 1:
        plain.reverse()
    return plain[0] if plain else "experiment"
