"""The commands ``gfrnn run``, ``fit``, ``forecast``, ``verify``, ``compare`` and ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.nature import run_demo
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    DataOption,
    EveryOption,
    ExperimentFile,
    Force,
    HorizonOption,
    InitOption,
    MembersOption,
    Memory,
    Output,
    PeriodOption,
    Scheduler,
    StopAfter,
    StopBefore,
    Strict,
    Workers,
    places_of,
)
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.graceful_stop import set_time_limit

PLAN_DOES_NOT_FIT = 2
"""Exit code of ``gfrnn fit --plan`` if the fit does not fit into the workers."""


def run(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    strict: Strict = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
    example: Annotated[
        bool, typer.Option("--demo", help="Run the example of `gfrnn demo`, which needs no FILE.")
    ] = False,
) -> None:
    """Run all stages of an experiment: fit, forecast, verify and report.

    Finished stages are skipped, and a run that was killed resumes from its
    checkpoints.

    Examples: [bold]gfrnn run my.yaml[/bold];
    [bold]gfrnn run workflows/experiments/era_interim_europe.yaml --workers 4[/bold]
    """
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if example:
        if file is not None:
            raise ConfigError(f"--demo: not allowed with FILE ({file}); leave one of them out")
        run_demo(output, force, options, strict)
        return
    from gfrnn.workflows.commands import run_stages

    run_stages.run_all(file, output, force, options, strict)


def fit(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    strict: Strict = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Only estimate tasks, reads, memory, disk and time of the fit, and check whether "
            "the workers have enough memory.",
        ),
    ] = False,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Train a model: climatology, EOFs, triangles, and selection of ridge and width.

    With --plan, no cluster is started and nothing is written; the exit code is
    2 if the workers have too little memory for the fit.

    Examples: [bold]gfrnn fit workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn fit my.yaml --plan --workers 8 --memory 4GiB[/bold]
    """
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if not plan:
        from gfrnn.workflows.commands import run_stages

        set_time_limit(stop_before, stop_after)
        run_stages.run_one("fit", file, output, force, options, strict)
        return
    given = {
        "--output": output,
        "--force": force,
        "--strict": strict,
        "--stop-before": stop_before,
        "--stop-after": stop_after,
    }
    if other := next((name for name, value in given.items() if value), None):
        raise ConfigError(f"--plan: computes and writes nothing; leave {other} out")
    from gfrnn.workflows.commands.run_stages import load_given
    from gfrnn.workflows.session.fit_plan import show_plan

    experiment, config, _ = load_given(file, options)
    if not show_plan(experiment, config):
        raise typer.Exit(PLAN_DOES_NOT_FIT)


def forecast(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    period: PeriodOption = None,
    init: InitOption = None,
    every: EveryOption = None,
    horizon: HorizonOption = None,
    members: MembersOption = None,
    data: DataOption = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Forecast from every initial time of the test period with a trained model.

    With --period, forecast another period with the model of an earlier run. The
    result is a new folder, by default RUN-YYYYMMDD with the first day of the
    period, which [bold]gfrnn verify[/bold] and [bold]gfrnn report[/bold] accept.
    With --init, forecast from one time, into RUN-YYYYMMDDTHH. With --data, the
    initial states come from other data than those of the run.

    Examples: [bold]gfrnn forecast workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn forecast runs/my --period 2021-01-01 2021-12-31 --output runs/my-2021[/bold];
    [bold]gfrnn forecast runs/my --init latest --horizon 15d --members 50[/bold];
    [bold]gfrnn forecast runs/my --data 'era5/2021-*.nc' --init latest[/bold]
    """
    from gfrnn.workflows.commands import run_stages

    _check_forecast_options(
        period, init, every, {"horizon": horizon, "members": members, "data": data}
    )
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if init is not None:
        run_stages.forecast_once(file, init, output, force, options, horizon, members, data or ())
    elif period is not None:
        run_stages.forecast_period(
            file, period, output, force, options, every, horizon, members, data or ()
        )
    else:
        run_stages.run_one("forecast", file, output, force, options)


def _check_forecast_options(
    period: tuple[str, str] | None,
    init: str | None,
    every: str | None,
    of_both: Mapping[str, object],
) -> None:
    """Refuse options of ``gfrnn forecast`` that do not go together."""
    if init is not None and period is not None:
        raise ConfigError("--init: not allowed with --period; leave one of them out")
    if every is not None and period is None:
        raise ConfigError(
            "--every: allowed with --period only; without it, set forecast.every in the experiment"
        )
    for name, given in of_both.items():
        if given is not None and period is None and init is None:
            key = "data.sources" if name == "data" else f"forecast.{name}"
            raise ConfigError(
                f"--{name}: allowed with --period or --init only; without them, set {key} in the "
                "experiment"
            )


def verify(
    file: Annotated[
        str | None,
        typer.Argument(
            help="Experiment file or folder of a run; with TRUTH, forecasts: a zarr store, netCDF "
            "file, glob in quotes, or URL.",
            metavar="FORECAST",
        ),
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, zarr stores, globs or URLs of the truth, or an experiment file or run "
            "with these data.",
            metavar="[TRUTH...]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the results. Default: runs/NAME, with TRUTH runs/verify-NAME.",
        ),
    ] = None,
    force: Force = False,
    climatology: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Period of TRUTH for the climatology, e.g. 1990-01-01 2019-12-31. Default: times "
            "outside of the verified ones, if they are a year or more.",
            metavar="START END",
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Also score this well-known region, e.g. europe. Repeatable."),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(help="Score this channel only, e.g. geopotential_500. Repeatable."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="ERA5 name of a variable of FORECAST, e.g. var129=geopotential. Repeatable.",
            metavar="NAME=ERA5_NAME",
        ),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            help="Unit of a variable of FORECAST that states none, e.g. 'z500=m2 s-2'; or era5: "
            "those of ERA5 for all that state none. Repeatable.",
            metavar="NAME=UNIT",
        ),
    ] = None,
    initial_time: Annotated[
        str | None,
        typer.Option(
            help="Initial time of a FORECAST that is one file of one forecast and states no "
            "leads, e.g. 2020-01-01T00.",
            metavar="TIME",
        ),
    ] = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Score the forecasts of a run, or forecasts of any model against TRUTH.

    The references are climatology and persistence; for a run also damped
    persistence and the linear model, and with state.layout eof the linear inverse
    model and, if the search has them, quadratic features. With TRUTH, no run is
    needed.

    Examples: [bold]gfrnn verify workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn verify graphcast.zarr era5.zarr --region europe[/bold]
    """
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if truth:
        from gfrnn.workflows.comparison.stored_scores import SourceOptions, verify_source

        given = SourceOptions(
            climatology, region or (), channel or (), rename or (), units or (), initial_time
        )
        verify_source(str(file), truth, output, force, given, options, console)
        return
    named = {
        "--climatology": climatology,
        "--region": region,
        "--channel": channel,
        "--rename": rename,
        "--units": units,
        "--initial-time": initial_time,
    }
    if misplaced := [name for name, value in named.items() if value]:
        raise ConfigError(
            f"{misplaced[0]}: allowed with TRUTH only; give the truth after the forecasts (for a "
            "run, set verification.regions and climatology in its experiment file)"
        )
    from gfrnn.workflows.commands import run_stages

    path = None if file is None else Path(file)
    run_stages.print_scores(run_stages.run_one("verify", path, output, force, options))


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of verified runs, or of gfrnn verify FORECAST TRUTH. The others are "
            "compared with the first.",
            metavar="RUN RUN...",
        ),
    ],
    channel: Annotated[
        list[str] | None,
        typer.Option(help="Compare this channel only, e.g. geopotential_500. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write a page, e.g. comparison.html."),
    ] = None,
) -> None:
    """Compare RMSE and CRPS of several forecasts on their common pairs, with significance.

    Example: [bold]gfrnn compare runs/my runs/verify-graphcast --output page.html[/bold]
    """
    from gfrnn.workflows.comparison.stored_scores import compare_folders
    from gfrnn.workflows.session.given_paths import folder_of_run

    compare_folders([folder_of_run(each) for each in runs], channel or (), output, console)


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of a verified run, its experiment file, or a folder with runs in it, "
            "e.g. runs.",
            metavar="FOLDER",
        ),
    ],
    place: Annotated[
        list[str] | None,
        typer.Option(
            help="Place to show the members of an ensemble at, e.g. Madrid=40.4,-3.7. Repeatable. "
            "Default: the middle of the grid.",
            metavar="NAME=LAT,LON",
        ),
    ] = None,
) -> None:
    """Write the page report.html into the folder of a verified run again.

    For a folder with runs in it, write index.html: what each run is, its scores, and a link to its
    report.

    Examples: [bold]gfrnn report runs/era_interim_europe[/bold], [bold]gfrnn report runs[/bold]
    """
    from gfrnn.pipeline.runs.folder import RunFolder
    from gfrnn.workflows.session.given_paths import folder_of_run

    places = places_of(place or ())
    folder = folder_of_run(folder)
    RunFolder(folder).refuse_lost_experiment()
    if not RunFolder(folder).experiment_file.exists():
        if places:
            raise ConfigError("--place: allowed with the folder of a run only; leave it out")
        from gfrnn.workflows.comparison.run_index import write_index

        path, count = write_index(folder)
        add_results(index=path, runs=count)
        console.print(f"{path}: {count} run{'s' * (count > 1)}", highlight=False)
        return
    from gfrnn.pipeline import Run
    from gfrnn.workflows.report.page import write_report

    page = write_report(Run.reopen(folder), places)
    add_results(report=page)
    console.print(page, highlight=False)
