"""Plan a fit: estimate its reads, memory, disk space and time before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.planning.fit_estimate import FitEstimate, StageEstimate, Workforce
from gfrnn.pipeline.planning.forecast_estimate import estimate_forecasts
from gfrnn.pipeline.planning.machine_rates import MachineRates, measure_rates
from gfrnn.pipeline.planning.task_times import TaskTimer, TaskTimes
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.training.checks import check_settings
from gfrnn.pipeline.training.field_passes import fields_copy
from gfrnn.pipeline.training.fit import training_of
from gfrnn.pipeline.training.pass_costs import PassCost, check_pass_memory, copy_cost
from gfrnn.pipeline.training.passes import cost_of_passes
from gfrnn.pipeline.verification.checks import check_verification

# Overhead of scheduler and driver in seconds per task, measured with a pass of empty leaves on two
# workers of one machine (`gfrnn bench plan` measures it again).
TASK_SECONDS = 3.8e-3

TimedCost = tuple[PassCost, TaskTimes]
"""The cost of a stage, and the seconds of its tasks."""

# Advice is given where stored chunks are decoded more often than this on average.
_REPEATED_READS = 1.5


def plan_fit(
    experiment: Experiment,
    ds: xr.Dataset,
    workforce: Workforce,
    rates: MachineRates | None = None,
    timer: TaskTimer | None = None,
) -> FitEstimate:
    """Estimate the cost of a fit. Nothing is written.

    Parameters
    ----------
    experiment, ds
        Parameters of :func:`gfrnn.pipeline.fit`; only metadata are read, and some chunks
        to time the reading.
    workforce : Workforce
        Workers that the fit will run on.
    rates : MachineRates, optional
        Speed of a worker; by default that of this machine, measured now.
    timer : TaskTimer, optional
        Times of the tasks; by default they are measured now.

    Raises
    ------
    ConfigError, DataError
        If the run would raise them before it starts, for its fit or for its verification.
    """
    check_settings(experiment, ds)
    check_verification(experiment, ds)
    fields = read = Fields(ds)
    copied: list[PassCost] = []
    if copy := fields_copy(experiment, ds, Checkpoints(Path())):
        copied, read = [copy_cost(copy)], copy.planned_fields()
    training = training_of(experiment, read, Checkpoints(Path()))
    stages = copied + cost_of_passes(training.passes())
    rates = rates or measure_rates(fields, stages[0].windows)
    groups: dict[str, list[TimedCost]] = {}
    for timed in zip(stages, (timer or TaskTimer()).times(stages), strict=True):
        groups.setdefault(timed[0].name, []).append(timed)
    found = [
        _estimate_stage(group, fields if group[0][0].kept_by_workers else read, workforce, rates)
        for group in groups.values()
    ]
    return FitEstimate(
        stages=tuple(found),
        refusal=_refusal(stages, read, workforce.memory),
        advice=tuple(_advice(found, read)),
        workforce=workforce,
        rates=rates,
        forecasts=estimate_forecasts(experiment, fields),
    )


def _estimate_stage(
    group: Sequence[TimedCost], fields: Fields, workforce: Workforce, rates: MachineRates
) -> StageEstimate:
    """Add up stages that share a name; they run one after the other."""
    stages, tasks = zip(*group, strict=True)
    reads = [ChunkReads.count(fields.stored_chunks, stage.windows) for stage in stages]
    each = [
        _seconds(stage, times, read, workforce.threads, rates)
        for stage, times, read in zip(stages, tasks, reads, strict=True)
    ]
    return StageEstimate(
        name=stages[0].name,
        parts=len(stages),
        leaves=sum(stage.plan.leaves for stage in stages),
        merges=sum(stage.plan.merges for stage in stages),
        chunks=sum(read.chunks for read in reads),
        different=max(read.distinct for read in reads),
        decoded_bytes=sum(read.decoded_bytes for read in reads),
        leaf_seconds=max(times.leaf(max(stage.sizes)) for stage, times in group),
        merge_seconds=max(times.merge(len(stage.levels)) for stage, times in group),
        leaf_bytes=max(stage.plan.leaf_bytes for stage in stages),
        merge_bytes=max(stage.plan.merge_bytes for stage in stages),
        driver_bytes=max(stage.driver_bytes for stage in stages),
        kept_bytes=sum(stage.kept_bytes for stage in stages),
        seconds=None if None in each else sum(filter(None, each)),
    )


def _seconds(
    stage: PassCost, times: TaskTimes, reads: ChunkReads, threads: int, rates: MachineRates
) -> float | None:
    if reads.chunks and rates.reading is None:
        return None
    reading = reads.decoded_bytes / rates.reading if rates.reading else 0.0
    tasks = stage.plan.leaves + stage.plan.merges
    merges = [times.merge(level) for level in range(len(stage.levels))]
    alone = sum(map(times.leaf, stage.sizes)) + float(np.dot(stage.levels, merges)) + reading
    chain = times.leaf(max(stage.sizes)) + sum(merges) + reading / stage.plan.leaves
    # Upper bound where no thread idles while a task is ready (Brent 1974).
    busy = max(chain + (alone - chain) / threads, tasks * TASK_SECONDS)
    return busy + stage.kept_bytes / rates.keeping / (threads if stage.kept_by_workers else 1)


def _advice(stages: Sequence[StageEstimate], fields: Fields) -> Iterator[str]:
    for stage in stages:
        often = stage.chunks / stage.parts / max(1, stage.different)
        if often > _REPEATED_READS:
            longest = max(each.times for each in fields.stored_chunks)
            yield (
                f"{stage.name}: each stored chunk is decoded {often:.1f} times; raise data.chunk, "
                f"the times that a leaf reads (a stored chunk has {longest}), or let the fit copy "
                "the fields first (data.rechunk: true)"
            )


def _refusal(stages: Sequence[PassCost], fields: Fields, memory: int | None) -> str | None:
    try:
        check_pass_memory(stages, fields, memory)
    except ResourceError as error:
        return str(error)
    return None
