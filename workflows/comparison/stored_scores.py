"""Work of ``gfrnn verify FORECAST TRUTH`` and of ``gfrnn compare``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from gfrnn.cluster.human_units import human_duration
from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.forecasting.store_sums import check_sums
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.source_verification import SourceVerification, finished_scores
from gfrnn.pipeline.storage import check_writable_file
from gfrnn.pipeline.verification.compare import compare
from gfrnn.workflows.commands.options import ClusterOptions
from gfrnn.workflows.comparison.score_records import score_records
from gfrnn.workflows.comparison.score_tables import comparison_table, source_table
from gfrnn.workflows.report.display_units import displayed_scores
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.given_paths import YAML_NAMES, folder_of_run
from gfrnn.workflows.session.printed_lines import print_product
from gfrnn.workflows.session.run_session import open_monitored_cluster

ERA5_UNITS = "era5"
"""Value of the option ``--units`` for forecasts that state no unit, and hold those of ERA5."""


@dataclass(frozen=True)
class SourceOptions:
    """Options of ``gfrnn verify FORECAST TRUTH`` as they are given.

    Attributes
    ----------
    climatology : tuple of str, or None
        Ends of a period of the truth.
    regions, channels : sequence of str
    rename, units : sequence of str
        Pairs such as ``z500=m2 s-2``.
    initial_time : str or None
    """

    climatology: tuple[str, str] | None = None
    regions: Sequence[str] = ()
    channels: Sequence[str] = ()
    rename: Sequence[str] = ()
    units: Sequence[str] = ()
    initial_time: str | None = None


def verify_source(
    forecast: str,
    truth: Sequence[str],
    output: Path | None,
    force: bool,
    given: SourceOptions,
    options: ClusterOptions,
    console: Console,
) -> None:
    """Score forecasts of a store or of files against truth, and print the scores."""
    if Path(forecast).suffix in YAML_NAMES:
        forecast = str(folder_of_run(Path(forecast)))
    folder = output or Path("runs") / f"verify-{_name(forecast)}"
    units = [each for each in given.units if each != ERA5_UNITS]
    source = checked(
        SourceConfig,
        {
            "path": _store(forecast),
            "rename": _pairs(given.rename, "--rename", "ERA5_NAME"),
            "units": _pairs(units, "--units", f"UNIT, or --units {ERA5_UNITS}"),
        },
        "forecast",
    )
    config = checked(VerificationConfig, {"regions": list(given.regions)}, "--region")
    period = given.climatology
    prepare = partial(
        SourceVerification.prepare,
        source,
        _truth(truth),
        folder,
        config=config,
        climatology=None if period is None else checked(Period, period, "--climatology"),
        channels=given.channels,
        initial_time=_initial_time(given.initial_time),
        era5_units=ERA5_UNITS in given.units,
        force=force,
    )
    cluster = options.config({}, "verify")
    # Check before the cluster starts. In an allocation, only the driver's process may do so.
    work = None if cluster.in_allocation else prepare()
    if work is None or force or not work.done:
        with open_monitored_cluster(cluster, console, folder.name, folder) as (_, progress):
            work = work or prepare()
            seconds = work.score(progress, force=force)
        how = human_duration(seconds)
    else:
        how = "done before, skipped"
    print_product(console, "verify", f"{work.folder.score_store} ({how})")
    scores, notes = finished_scores(work.folder.folder)
    add_results(
        folder=work.folder.folder, scores=score_records(scores, "channel", "system"), notes=notes
    )
    for note in notes:
        console.print(note, highlight=False, markup=False)
    console.print(source_table(displayed_scores(scores), console))


def compare_folders(
    folders: Sequence[Path], channels: Sequence[str], output: Path | None, console: Console
) -> None:
    """Compare the scores in several folders, print a table and write a page."""
    if len(folders) < 2:
        raise ConfigError("compare: needs two folders of verified forecasts or more")
    if output is not None:
        check_writable_file(output)
    named = {name: RunFolder(folder) for name, folder in _named(folders).items()}
    for own in named.values():
        if own.holds_run:  # others are verifications of forecasts without a run
            own.check_verified()
    stores = {name: own.statistics for name, own in named.items()}
    found = compare(stores, channels)
    add_results(
        changes=score_records(found, "run", "channel"),
        references=found["run"].values[found["reference"].values],
        notes=found.attrs["notes"],
    )
    compared = displayed_scores(found)
    for note in compared.attrs["notes"]:
        console.print(note, highlight=False, markup=False)
    console.print(comparison_table(compared, console))
    if output is not None:
        # Matplotlib takes a second to import: only once there is something to draw.
        from gfrnn.workflows.comparison.comparison_page import write_page

        write_page(compared, output)
        add_results(page=output)
        print_product(console, "page", output)


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders by their names, or by their paths where names are alike.

    Raises
    ------
    RunError
        If a folder does not exist, or is given twice.
    """
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise RunError(
            f"compare: no folder {missing[0]}; give folders of verified runs, or of `gfrnn verify "
            "FORECAST TRUTH`"
        )
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise RunError("compare: a folder is given twice; give each once")
    names = [path.name for path in paths]
    unique = len(set(names)) == len(names)
    return {
        name if unique else str(folder): path
        for name, folder, path in zip(names, folders, paths, strict=True)
    }


def _truth(paths: Sequence[str]) -> DataConfig:
    """Return the sources of the truth: files, or the section ``data`` of an experiment."""
    first = Path(paths[0])
    if len(paths) == 1 and first.suffix in (".yaml", ".yml"):
        return load_experiment(first).data
    RunFolder(first).refuse_lost_experiment()
    if len(paths) == 1 and RunFolder(first).experiment_file.exists():
        return RunFolder(first).stored_experiment().data
    return checked(DataConfig, {"sources": [{"path": path} for path in paths]}, "truth")


def _store(forecast: str) -> str:
    """Return the path of forecasts; that of the store in it for the folder of a run.

    Raises
    ------
    RunError
        If the folder of a run has no forecasts, or damaged ones.
    """
    own = RunFolder(Path(forecast))
    own.refuse_lost_experiment()
    if not own.experiment_file.exists():
        return forecast
    open_forecasts(own.forecast_store).close()
    check_sums(own.forecast_store)
    return str(own.forecast_store)


def _name(forecast: str) -> str:
    """Return a name for forecasts; that of the folder for ``NAME/forecast.zarr`` or ``NAME/*``."""
    path = Path(forecast.rstrip("/"))
    names = [re.sub(r"[^\w.-]+", "_", each).strip("_") for each in (path.stem, path.parent.name)]
    return next((name for name in names if name not in ("", "forecast", ".")), "forecast")


def _pairs(words: Sequence[str], option: str, value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, given = word.partition("=")
        if not (name and equals and given):
            raise ConfigError(f"{option}: found {word!r}, allowed: NAME={value}")
        found[name] = given
    return found


def _initial_time(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return np.datetime64(pd.Timestamp(text), "ns")
    except ValueError:
        raise ConfigError(
            f"--initial-time: {text!r} is not a date; write for example 2020-01-01T00"
        ) from None
