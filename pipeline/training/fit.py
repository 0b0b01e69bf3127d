"""Fit a model: climatology, states and triangles of every candidate, then choose the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.dask_client import thread_memory
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.training.checks import check_fit, training_fields
from gfrnn.pipeline.training.eof_training import EofTraining
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.pass_costs import check_pass_memory
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
    checkpoints, fields = Checkpoints(folder / "summaries.zarr"), training_fields(experiment, ds)
    training = training_of(experiment, fields, checkpoints)
    costs = cost_of_passes(training.passes())
    check_pass_memory(costs, fields, thread_memory())
    for cost in costs:
        if progress:
            progress(ProgressUpdate(cost.name, 0, cost.plan.leaves, announced=True))
    found: Any = run_passes(training.passes(), checkpoints, progress)
    return training.model(found)


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
