"""Output of ``gfrnn fit --plan``: the estimated tasks, reads, memory, disk and time of a fit."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from gfrnn.cluster import ClusterConfig, open_cluster, planned_cluster_size
from gfrnn.cluster.human_units import human_bytes, human_duration
from gfrnn.pipeline import Experiment, open_source
from gfrnn.pipeline.data.dataset import log_losses
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.planning.fit_estimate import FitEstimate, StageEstimate, Workforce
from gfrnn.pipeline.planning.forecast_estimate import ForecastEstimate
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.session.command_output import add_results


def show_plan(experiment: Experiment, config: ClusterConfig) -> bool:
    """Print the plan of a fit and return whether it fits into the workers.

    Raises
    ------
    ConfigError, DataError, ClusterError
    """
    ds = open_source(experiment.data)
    log_losses(ds)
    found = plan_fit(experiment, ds, expected_workforce(config))
    add_results(**found.as_dict())
    print_plan(found)
    return found.refusal is None


def expected_workforce(config: ClusterConfig) -> Workforce:
    """Return threads and memory of a cluster; a running scheduler is queried for them.

    Raises
    ------
    ConfigError
        If the cluster consists of the processes of an allocation.
    """
    if config.in_allocation:
        raise ConfigError(
            f"--plan: not available for cluster.kind: {config.kind}, as only the allocation "
            "decides the number of its workers; plan the same number of local ones: give "
            "--cluster FILE with kind: local, --workers N and --memory SIZE"
        )
    if expected := planned_cluster_size(config):
        return Workforce(*expected)
    with open_cluster(config):
        return Workforce.current()


def print_plan(found: FitEstimate) -> None:
    """Print the table, the measured rates, advice, and whether the fit can start."""
    console.print(plan_table(found, units_below=console.width < _WIDE))
    work, rates = found.workforce, found.rates
    memory = "no limit" if work.memory is None else human_bytes(work.memory)
    reading = "not measured" if rates.reading is None else f"{human_bytes(rates.reading)}/s"
    products = ", ".join(f"{rate / 1e9:.0f} {name}" for name, rate in rates.products.items())
    threads = f"{work.threads} thread{'s' if work.threads > 1 else ''}"
    lines = [
        f"{threads}, {memory} of memory each; peak memory is that of one task",
        f"one thread, measured now: decoding {reading}, matrix products (Gflop/s) {products}",
        "times are those of the tasks, without the start of the workers and some seconds of "
        "overhead, which are most of the time of a small fit",
    ]
    if found.seconds is None:
        lines.append("time of reading unknown: the store has no chunk to measure it with")
    lines.append(_forecast_line(found.forecasts))
    for line in [*lines, *found.advice]:
        console.print(line, highlight=False, markup=False)
    if found.refusal is None:
        console.print(Text.assemble(("fits", "bold green"), ": `gfrnn fit` can start"))
    else:
        console.print("does not fit", style="bold red", end=": ")
        console.print(found.refusal, highlight=False, markup=False)


def _forecast_line(found: ForecastEstimate) -> str:
    """Describe the forecasts that follow the fit."""
    members = "" if found.members is None else f" of {found.members} members"
    size = human_bytes(found.field_bytes)
    kept = f"up to {size} on disk" if found.kept_bytes else f"{size} of fields are not kept"
    return (
        f"then {found.starts} forecasts of {found.leads} leads{members}: {kept}, peak memory of a "
        f"task {human_bytes(found.task_bytes)}"
    )


def plan_table(found: FitEstimate, *, units_below: bool = False) -> Table:
    """Return a table with a column for each stage and one for the totals.

    Where the terminal is too narrow, names of stages are broken.

    Parameters
    ----------
    found : FitEstimate
    units_below : bool
        Put units of bytes below their numbers, as suits a narrow terminal.
    """
    table = Table(
        title="plan of the fit",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,  # the box has a column of space between two cells
    )
    table.add_column("", no_wrap=True)
    for stage in found.stages:
        candidates = f"\nx {stage.parts}" if stage.parts > 1 else ""
        table.add_column(f"{stage.name}{candidates}", justify="right", overflow="fold")
    table.add_column("all", justify="right", overflow="fold")
    for label, *cells in zip(_LABELS, *map(_cells, found.stages), _totals(found), strict=True):
        below = units_below and label in _BYTES
        table.add_row(label, *(cell.replace(" ", "\n") if below else cell for cell in cells))
    return table


_LABELS = (
    "leaves",
    "merges",
    "chunks read",
    "times each",
    "decoded",
    "leaf peak",
    "merge peak",
    "driver peak",
    "on disk",
    "time",
)
_BYTES = {"decoded", "leaf peak", "merge peak", "driver peak", "on disk"}

_WIDE = 120
"""Columns of a terminal that hold the table of a fit with units beside all numbers."""


def _cells(stage: StageEstimate) -> list[str]:
    repeats = stage.chunks / stage.parts / stage.different if stage.different else 0
    return [
        f"{stage.leaves}",
        f"{stage.merges}",
        f"{stage.chunks}",
        f"{repeats:.2f}" if repeats else "",
        human_bytes(stage.decoded_bytes),
        human_bytes(stage.leaf_bytes),
        human_bytes(stage.merge_bytes),
        human_bytes(stage.driver_bytes),
        human_bytes(stage.kept_bytes),
        human_duration(stage.seconds),
    ]


def _totals(found: FitEstimate) -> list[str]:
    stages = found.stages
    return [
        f"{sum(stage.leaves for stage in stages)}",
        f"{sum(stage.merges for stage in stages)}",
        f"{sum(stage.chunks for stage in stages)}",
        "",
        human_bytes(sum(stage.decoded_bytes for stage in stages)),
        human_bytes(max(stage.leaf_bytes for stage in stages)),
        human_bytes(max(stage.merge_bytes for stage in stages)),
        human_bytes(max(stage.driver_bytes for stage in stages)),
        human_bytes(sum(stage.kept_bytes for stage in stages)),
        human_duration(found.seconds),
    ]
