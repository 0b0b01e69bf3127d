"""The ``gfrnn`` command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr
from rich.console import Console

from gfrnn.cluster import ClusterConfig, ClusterError
from gfrnn.pipeline import Experiment, Run, load_experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import ConfigError, GfrnnError, RunError
from gfrnn.pipeline.reduction.tasks import Advance
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import StageOutcome
from gfrnn.workflows.commands.bench import add_benchmarks
from gfrnn.workflows.commands.cluster import add_cluster
from gfrnn.workflows.commands.fit_plan import show_plan
from gfrnn.workflows.commands.inspect import show_data
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ExperimentFile,
    Folder,
    Force,
    Memory,
    Output,
    PeriodOption,
    Place,
    Scheduler,
    Workers,
)
from gfrnn.workflows.commands.refit_update import add_commands
from gfrnn.workflows.commands.reproduce import add_cases
from gfrnn.workflows.nature_run import write_nature
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.skill_table import skill_on_page, skill_table
from gfrnn.workflows.session.monitor import RunMonitor
from gfrnn.workflows.session.progress import show_progress
from gfrnn.workflows.session.run_session import recorded, say, working
from gfrnn.workflows.session.stopping import (
    StopAfter,
    StopBefore,
    TimeToStop,
    stop_in_time,
    stopping,
)

app = typer.Typer(
    name="gfrnn",
    help="Train recurrent networks for weather without gradients, forecast, verify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(soft_wrap=True)

EMBEDDED = Path(__file__).parents[1] / "experiments" / "nature.yaml"
"""The experiment that needs no data: it makes its own."""


@app.command()
def run(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Do everything: fit, forecast, verify, report.

    What is done is skipped; a killed run goes on where it stopped.

    Examples: [bold]gfrnn run[/bold] (embedded nature run, no data needed);
    [bold]gfrnn run workflows/experiments/era_interim_europe.yaml --workers 4[/bold]
    """
    stop_in_time(stop_before, stop_after)
    experiment, config = _experiment(file, Place(cluster, workers, memory, scheduler))
    folder = _folder(file, experiment, output)
    begin = partial(Run, experiment, folder, force=force)
    with working(begin, experiment, folder, config, console, later=_AFTER_FIT, force=force) as (
        work,
        watch,
    ):
        with recorded(folder, "run", console):
            for stage in (work.fit, work.forecast, work.verify):
                _do(stage, force, watch)
        scores = xr.open_zarr(work.scores, chunks=None)
        watch.show_table(skill_on_page(scores))
        watch(Advance("report", 0, 1))
        page = write_report(work)
        watch(Advance("report", 1, 1))
    console.print(f"[bold]report[/bold]: {page}", highlight=False)
    console.print(skill_table(scores))


_AFTER_FIT = ("forecast", "verify", "report")


def _do(stage: Callable[..., StageOutcome], force: bool, watch: RunMonitor) -> None:
    outcome = stage(force=force)
    say(outcome, console)
    if outcome.skipped:
        watch.skip(outcome.stage)


@app.command()
def fit(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only say what it will do and take, and whether it fits."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: as JSON.")] = False,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Train: climatology, EOFs, the triangles, and the choice of ridge and width.

    Examples: [bold]gfrnn fit workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn fit my.yaml --plan --workers 8 --memory 4GiB[/bold] (writes nothing, starts no
    cluster; the exit code is 2 where it does not fit)
    """
    if as_json and not plan:
        raise ConfigError("--json: belongs to --plan; add that, or leave it out")
    if not plan:
        stop_in_time(stop_before, stop_after)
        _run_stage("fit", file, output, force, Place(cluster, workers, memory, scheduler))
        return
    experiment, config = _experiment(file, Place(cluster, workers, memory, scheduler))
    if not show_plan(experiment, config, console, as_json=as_json):
        raise typer.Exit(2)


@app.command()
def forecast(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    period: PeriodOption = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Forecast every initial time of the test period with a trained model.

    With --period, of another period with the model of a run's folder, into a folder of its own
    (default RUN-YYYYMMDD, the first day), where [bold]gfrnn verify[/bold] and
    [bold]report[/bold] go on.

    Examples: [bold]gfrnn forecast workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn forecast runs/my --period 2021-01-01 2021-12-31 --output runs/my-2021[/bold]
    """
    stop_in_time(stop_before, stop_after)
    place = Place(cluster, workers, memory, scheduler)
    if period is None:
        _run_stage("forecast", file, output, force, place)
        return
    if file is None or not file.is_dir():
        raise ConfigError("--period: takes the model of a run's folder; give that in FILE's place")
    other = NewPeriod.of(file, checked(Period, period, "--period"), output)
    config = place.config(other.experiment.cluster, str(file))
    with (
        working(other.run, other.experiment, other.folder, config, console) as (work, watch),
        recorded(other.folder, "forecast", console),
    ):
        _do(work.forecast, force, watch)


@app.command()
def verify(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Score the forecasts against climatology, persistence and the linear model.

    Example: [bold]gfrnn verify workflows/experiments/era_interim_europe.yaml[/bold]
    """
    stop_in_time(stop_before, stop_after)
    _run_stage("verify", file, output, force, Place(cluster, workers, memory, scheduler))


def _run_stage(
    stage: str, file: Path | None, output: Path | None, force: bool, place: Place
) -> None:
    experiment, config = _experiment(file, place)
    # Only a model that is trained anew may replace another experiment's.
    replace = force and stage == "fit"
    folder = _folder(file, experiment, output)
    begin = partial(Run, experiment, folder, force=replace)
    with (
        working(begin, experiment, folder, config, console, force=replace) as (work, watch),
        recorded(folder, stage, console),
    ):
        _do(getattr(work, stage), force, watch)


@app.command()
def report(folder: Folder) -> None:
    """Write the report page of a finished run anew.

    Example: [bold]gfrnn report runs/era_interim_europe[/bold]
    """
    console.print(write_report(Run.reopen(folder)), highlight=False)


add_commands(app, lambda: console)
add_cluster(app, lambda: console)


@app.command()
def inspect(
    data: Annotated[
        list[str], typer.Argument(help="Files, stores, globs or URLs that belong together.")
    ],
    level: Annotated[
        float | None, typer.Option(help="Level in hPa, where only the file's name has it.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the starting experiment.")] = "experiment",
    save: Annotated[
        Path | None, typer.Option(help="Write the starting experiment file here.")
    ] = None,
) -> None:
    """Say what is in the data, what is wrong with them, and how to start.

    Example: [bold]gfrnn inspect 'era5/*.nc' --save my.yaml[/bold]
    """
    show_data(data, console, level=level, name=name, save=save)


@app.command()
def nature(
    path: Annotated[Path, typer.Argument(help="The zarr store to write.", metavar="OUT.zarr")],
    years: Annotated[int, typer.Option(min=1, help="Calendar years.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another weather.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a store that is there.")] = False,
) -> None:
    """Write a quasi-geostrophic model's weather as an ERA5-like store.

    Example: [bold]gfrnn nature nature.zarr --years 10[/bold]
    """
    _nature(path, years, seed, overwrite=force)


def _nature(path: Path, years: int, seed: int, *, overwrite: bool = False) -> None:
    if path.exists() and not overwrite:
        raise RunError(f"{path}: exists; choose another name, or --force to replace it")
    with show_progress(console) as progress:
        write_nature(
            path,
            years=years,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    console.print(f"[bold]nature run[/bold]: {path} (a model's weather, not the real one)")


add_cases(app, lambda: console)
add_benchmarks(app, lambda: console)


def _experiment(file: Path | None, place: Place) -> tuple[Experiment, ClusterConfig]:
    """The experiment of a file, or the embedded one, whose data are made where missing; and where
    it is computed."""
    if file is not None:
        file = file / "experiment.yaml" if file.is_dir() else file
        experiment = load_experiment(file)
        return experiment, place.config(experiment.cluster, str(file))
    experiment = load_experiment(EMBEDDED)
    config = place.config(experiment.cluster, EMBEDDED.name)
    store = Path(str(experiment.data.sources[0].path))
    if not store.exists():
        years = experiment.periods.test.end.year - experiment.periods.train.start.year + 1
        if config.in_allocation:  # each of its processes would make them
            raise ConfigError(
                f"cluster.kind: {config.kind}: the data are missing; make them before, with "
                f"gfrnn nature {store} --years {years}"
            )
        _nature(store, years, seed=0)
    return experiment, config


def _folder(file: Path | None, experiment: Experiment, output: Path | None) -> Path:
    if file is not None and file.is_dir():
        return output or file
    return output or Path(experiment.output or Path("runs") / experiment.name)


# Mistakes on the command line. Typer may bring a click of its own, where this has no public name.
_UsageError: Any = typer.BadParameter.__mro__[1]


_INTERRUPTED = 130  # as shells have it: 128 and the number of the signal


def main() -> None:
    """Run the command; errors that a user can mend are shown without a traceback."""
    code = 0
    try:
        with stopping():
            code = app(standalone_mode=False)
    except TimeToStop as stop:
        code = stop.code
        console.print(f"stopped {stop}; the same command goes on from what is finished")
    except (GfrnnError, ClusterError) as error:
        _complain(str(error))
    except _UsageError as error:
        message = error.format_message()
        _complain(message) if message else sys.exit(2)  # the help was shown
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        console.print("stopped; the same command goes on from what is finished")
    sys.exit(code)


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print("[red]error:[/red]", message, highlight=False)
    sys.exit(2)
