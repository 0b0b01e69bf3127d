"""Fit a model: climatology, states and triangles of every candidate, then choose the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any

import xarray as xr
from dask.utils import format_bytes

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.rechunking.fields_copy import FieldsCopy
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.dask_client import thread_memory
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.training.checks import check_fit, training_fields
from gfrnn.pipeline.training.eof_training import EofTraining
from gfrnn.pipeline.training.field_passes import fields_copy, order_key
from gfrnn.pipeline.training.input_folds import training_digests, with_digests
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.pass_costs import check_pass_memory, copy_cost
from gfrnn.pipeline.training.passes import cost_of_passes, run_passes
from gfrnn.pipeline.training.patch_training import LocalTraining
from gfrnn.pipeline.training.zonal.zonal_training import ZonalTraining


def fit(
    experiment: Experiment,
    ds: xr.Dataset,
    folder: Path,
    progress: Progress | None = None,
    *,
    checked: bool = False,
) -> ForecastModel:
    """Fit a model to the training period and choose it on the validation period.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        Data as opened by :func:`gfrnn.pipeline.open_source` for ``experiment.data``.
    folder : Path
        Folder of the run; checkpoints in its ``summaries.zarr`` let a killed fit resume.
    progress : callable, optional
    checked : bool
        Whether the caller has called :func:`gfrnn.pipeline.training.checks.check_fit` already,
        which looks for all files of the store.

    Returns
    -------
    ForecastModel

    Raises
    ------
    ConfigError, DataError, ResourceError
        Before work starts wherever the cause can be found then.
    """
    if not checked:
        check_fit(experiment, ds)
    checkpoints = Checkpoints(folder / "summaries.zarr")
    copy = fields_copy(experiment, ds, checkpoints)
    if copy:
        ds = _written(copy, experiment, checkpoints, progress)
    fields = training_fields(experiment, ds)
    training = training_of(experiment, fields, checkpoints)
    costs = cost_of_passes(training.passes())
    check_pass_memory(costs, fields, thread_memory())
    for cost in costs:
        if progress:
            progress(ProgressUpdate(cost.name, 0, cost.plan.leaves, announced=True))
    found: Any = run_passes(training.passes(), checkpoints, progress, costs)
    model = training.model(found)
    if copy:
        rmtree(copy.path)
    return model


def check_fit_memory(experiment: Experiment, ds: xr.Dataset, limit: int) -> None:
    """Refuse a fit that will exceed the memory of a worker's thread, before there are workers.

    Parameters
    ----------
    experiment, ds
        As for :func:`fit`, checked.
    limit : int
        Bytes of memory that a thread will have.

    Raises
    ------
    ResourceError
        Naming the first such stage and the key to change.
    """
    checkpoints = Checkpoints(Path())
    copy = fields_copy(experiment, ds, checkpoints)
    fields = copy.planned_fields() if copy else training_fields(experiment, ds)
    costs = [copy_cost(copy)] if copy else []
    costs += cost_of_passes(training_of(experiment, fields, checkpoints).passes())
    check_pass_memory(costs, fields, limit)


def _written(
    copy: FieldsCopy, experiment: Experiment, checkpoints: Checkpoints, progress: Progress | None
) -> xr.Dataset:
    """Copy the fields, unless a copy exists, and return the Dataset that reads the copy.

    Raises
    ------
    ResourceError
        Before anything is copied, if a task of the fit exceeds the memory of a worker's thread, or
        the copy the free space on the disk.
    """
    planned = copy.planned_fields()
    costs = [copy_cost(copy)]
    costs += cost_of_passes(training_of(experiment, planned, checkpoints).passes())
    check_pass_memory(costs, planned, thread_memory())
    for cost in costs:
        if progress:
            progress(ProgressUpdate(cost.name, 0, cost.plan.leaves, announced=True))
    stated = training_digests(experiment, copy.ds)
    order = order_key(copy.ds)
    key = content_key(stated, copy.windows.tolist(), copy.length, copy.tile_shapes, *order)
    copy = replace(copy, path=copy.path / key)
    # Without summaries.zarr a run is not begun, so that its keys may still be changed.
    folder = next(path for path in copy.path.parents if path.exists())
    free = disk_usage(folder).free
    if not copy.path.exists() and copy.kept_bytes > free:
        raise ResourceError(
            f"rechunk: the copy of the fields needs up to {format_bytes(copy.kept_bytes)}, but "
            f"{folder} has {format_bytes(free)} left; free some, choose another folder for the "
            "run, or set data.rechunk: false"
        )
    copy.write(progress)
    return with_digests(copy.dataset(), stated)


_CLASSES: dict[str, type[EofTraining] | type[LocalTraining] | type[ZonalTraining]] = {
    "eof": EofTraining,
    "local": LocalTraining,
    "zonal": ZonalTraining,
}


def training_of(
    experiment: Experiment, fields: Fields, checkpoints: Checkpoints
) -> EofTraining | LocalTraining | ZonalTraining:
    """Return the fit of the experiment's layout."""
    return _CLASSES[experiment.state.layout](experiment, fields, checkpoints)
