"""Work of ``gfrnn new`` and ``gfrnn inspect``: open data, ask for choices, write an experiment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

import typer
import xarray as xr
from rich.console import Console

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.config.yaml_tree import parse_tree
from gfrnn.pipeline.data.files.find_files import find_files
from gfrnn.pipeline.data.files.raw_file import is_url
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

_GLOB = "*?[{"
"""Characters of patterns."""

_MOST_SHOWN = 10
"""Files of DATA that a message lists."""

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
        ``z500.nc=500`` for some of the paths, or of the files of a glob, by name or path.
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
    sources = sources_of(paths, levels)
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


def sources_of(paths: Sequence[str], levels: Sequence[str]) -> list[Source]:
    """Return the entries of ``data.sources`` for paths and the levels of some of them.

    Where a level is given for a file of a glob, the files of the glob are listed instead of it,
    those of one level in one entry.

    Raises
    ------
    ConfigError
        If a word is no level, or names none of the paths and files, or several.
    """
    files: dict[str, list[str]] = {}
    found: dict[tuple[str, str], float] = {}
    for word in levels:
        path, equals, text = word.rpartition("=")
        try:
            level = float(text)
        except ValueError:
            level = 0.0
        if not level > 0:
            raise ConfigError(
                f"--level: {word!r} is no level in hPa; write for example 500, or z500.nc=500"
            )
        if not equals and len(levels) > 1:
            raise ConfigError(
                f"--level: {word} is for all of DATA; where levels differ, write {paths[0]}={word} "
                "and so on"
            )
        if not equals or path in paths:
            found |= {(each, each): level for each in ([path] if equals else paths)}
            continue
        files = files or {each: _files_of(each) for each in paths}
        found[_place_of(path, files)] = level
    return [entry for path in paths for entry in _entries(path, files.get(path, [path]), found)]


def _files_of(path: str) -> list[str]:
    """Return the files that a glob stands for; another path is returned as it is."""
    if not any(sign in path for sign in _GLOB):
        return [path]
    # As they are written: what a link leads to may be another file later.
    if matches := sorted(glob(path, recursive=True)):
        return matches
    found = find_files(checked(SourceConfig, {"path": path}, "DATA"), "DATA")
    here = Path.cwd()
    files = []
    for each in found:
        # Members of a zip archive, and variables of a GRIB file, are of one file.
        file = each.path.rpartition("::")[2]
        if not is_url(file) and not Path(path).is_absolute() and Path(file).is_relative_to(here):
            file = str(Path(file).relative_to(here))
        files.append(f"{file}/{each.group}" if each.group and each.engine == "netcdf4" else file)
    return list(dict.fromkeys(files))


def _place_of(name: str, files: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Return the only one of DATA, and the file in it, with a name or path."""
    places = [(path, file) for path, own in files.items() for file in own]
    exact = [place for place in places if Path(place[1]).absolute() == Path(name).absolute()]
    matching = exact or [place for place in places if Path(place[1]).name == name]
    if len(matching) == 1:
        return matching[0]
    shown = [file for _, file in matching or places][:_MOST_SHOWN]
    listed = ", ".join(shown) + ", ..." * (len(matching or places) > len(shown))
    if matching:
        raise ConfigError(f"--level: {name!r} is several of DATA; write one of {listed}")
    raise ConfigError(f"--level: {name!r} is not one of DATA; write one of {listed}")


def _entries(
    path: str, files: Sequence[str], levels: Mapping[tuple[str, str], float]
) -> Iterator[Source]:
    """Yield the sources for one of DATA: one for each level of its files."""
    common = levels.get((path, path))
    if not any((path, file) in levels for file in files):
        yield path if common is None else {"path": path, "level": common}
        return
    by_level: dict[float | None, list[str]] = {}
    for file in files:
        by_level.setdefault(levels.get((path, file), common), []).append(file)
    for level, own in by_level.items():
        named: str | list[str] = own[0] if len(own) == 1 else own
        if level is not None:
            yield {"path": named, "level": level}
        else:
            yield named if isinstance(named, str) else {"path": named}


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
        paths, ds, sources = _ask(
            "Data (file, zarr store, glob or URL)", None, _opened(levels, console, given.region)
        )
    console.print(without_passwords(describe_dataset(ds)), highlight=False, markup=False)
    if asks:
        given = _ask_choices(ds, given)
    if name is None:
        name = proposed_name(file, paths[0])
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
) -> Callable[[str], tuple[list[str], xr.Dataset, list[Source]]]:
    def opened(text: str) -> tuple[list[str], xr.Dataset, list[Source]]:
        paths = text.split()
        return paths, *open_given(paths, levels, console, region)

    return opened


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


def proposed_name(file: Path | None, data: str) -> str:
    """Return a name for an experiment: that of its file, or of its data or their folder."""
    path = file or Path(data.rstrip("/"))
    words = (
        re.sub(r"[^A-Za-z0-9-]+", "_", each).strip("_-") for each in (path.stem, path.parent.name)
    )
    plain = [word[:100] for word in words if word]
    if any(sign in path.name for sign in _GLOB) and len(plain) > 1:
        plain.reverse()
    return plain[0] if plain else "experiment"
