"""What ``gfrnn fit --plan`` says: what a fit will do and take, before anything runs."""

from __future__ import annotations

import json
import sys

from rich import box
from rich.console import Console
from rich.table import Table

from gfrnn.cluster import ClusterConfig, open_cluster, planned_cluster_size
from gfrnn.pipeline import Experiment, open_source
from gfrnn.pipeline.planning.estimate import Projection, StageProjection, Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit


def show_plan(
    experiment: Experiment, config: ClusterConfig, console: Console, *, as_json: bool = False
) -> bool:
    """Print the plan of a fit; whether it fits into the workers.

    Raises
    ------
    ConfigError, DataError, ClusterError
    """
    found = plan_fit(experiment, open_source(experiment.data), foreseen(config))
    if as_json:
        json.dump(found.as_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_plan(found, console)
    return found.refusal is None


def foreseen(config: ClusterConfig) -> Workforce:
    """What a cluster will have; one that runs already is asked."""
    if expected := planned_cluster_size(config):
        return Workforce(*expected)
    with open_cluster(config):
        return Workforce.current()


def print_plan(found: Projection, console: Console) -> None:
    """The table, what it rests on, advice, and whether it fits."""
    console.print(plan_table(found))
    work, rates = found.workforce, found.rates
    memory = "no limit" if work.memory is None else size(work.memory)
    reading = "not measured" if rates.reading is None else f"{size(rates.reading)}/s"
    products = ", ".join(f"{rate / 1e9:.0f} {name}" for name, rate in rates.products.items())
    lines = [
        f"{work.threads} threads, {memory} of memory each; peak memory is of one task",
        f"one thread, measured now: decoding {reading}, matrix products (Gflop/s) {products}",
    ]
    if found.seconds is None:
        lines.append("no time where fields are read: the store has no chunk to time reading with")
    for line in [*lines, *found.advice]:
        console.print(line, highlight=False, markup=False)
    if found.refusal is None:
        console.print("[bold green]fits[/bold green]: `gfrnn fit` can start", highlight=False)
    else:
        console.print("[bold red]does not fit[/bold red]", end=": ")
        console.print(found.refusal, highlight=False, markup=False)


def plan_table(found: Projection) -> Table:
    """A column a stage, and the totals: figures one under another fit into narrow terminals."""
    table = Table(
        title="what the fit will do",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for stage in found.stages:
        candidates = f"\nx {stage.parts}" if stage.parts > 1 else ""
        table.add_column(f"{stage.name}{candidates}", justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    for label, *cells in zip(_LABELS, *map(_cells, found.stages), _totals(found), strict=True):
        table.add_row(label, *(cell.replace(" ", "") for cell in cells))
    return table


_LABELS = (
    "leaves",
    "merges",
    "chunks read",
    "times each",
    "decoded",
    "Gflop",
    "leaf peak",
    "merge peak",
    "driver peak",
    "on disk",
    "time",
)


def _cells(stage: StageProjection) -> list[str]:
    often = stage.chunks / stage.parts / stage.different if stage.different else 0
    return [
        f"{stage.leaves}",
        f"{stage.merges}",
        f"{stage.chunks}",
        f"{often:.2f}" if often else "",
        size(stage.decoded_bytes),
        figure(stage.operations / 1e9),
        size(stage.leaf_bytes),
        size(stage.merge_bytes),
        size(stage.driver_bytes),
        size(stage.kept_bytes),
        duration(stage.seconds),
    ]


def _totals(found: Projection) -> list[str]:
    stages = found.stages
    return [
        f"{sum(stage.leaves for stage in stages)}",
        f"{sum(stage.merges for stage in stages)}",
        f"{sum(stage.chunks for stage in stages)}",
        "",
        size(sum(stage.decoded_bytes for stage in stages)),
        figure(sum(stage.operations for stage in stages) / 1e9),
        size(max(stage.leaf_bytes for stage in stages)),
        size(max(stage.merge_bytes for stage in stages)),
        size(max(stage.driver_bytes for stage in stages)),
        size(sum(stage.kept_bytes for stage in stages)),
        duration(found.seconds),
    ]


def figure(value: float) -> str:
    """Two digits at least, without an exponent."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def size(count: float) -> str:
    """Bytes as people read them; nothing for none."""
    for unit, one in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= one:
            return f"{figure(count / one)} {unit}"
    return f"{count:.0f} B" if count else ""


def duration(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return "?"
    for unit, one in (("d", 2 * 86400), ("h", 2 * 3600), ("min", 120)):
        if seconds >= one:
            return f"{seconds / (one / 2):.1f} {unit}"
    return f"{seconds:.1f} s"
