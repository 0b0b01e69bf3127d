"""Fit a model: what comes before the rows, a triangle for each candidate, a choice."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from pipeline.checkpoints import Checkpoints
from pipeline.config import Experiment
from pipeline.model import ForecastModel
from pipeline.preflight import check_fit, training_fields
from pipeline.tasks import Progress
from pipeline.train_eof import EofTraining
from pipeline.train_local import LocalTraining
from pipeline.training import Training


def fit(
    experiment: Experiment,
    ds: xr.Dataset,
    folder: Path,
    progress: Progress | None = None,
) -> ForecastModel:
    """Train a model.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        As :func:`pipeline.open_source` gives it for ``experiment.data``.
    folder : Path
        Where ``summaries.zarr`` keeps what is finished, so that a killed fit goes on from there.
    progress : callable, optional

    Returns
    -------
    ForecastModel

    Raises
    ------
    ConfigError, DataError, ResourceError
        Before work starts wherever it can be seen then.
    """
    training = prepare(experiment, ds, folder, progress)
    training.check_memory()
    return training.run()


def prepare(
    experiment: Experiment, ds: xr.Dataset, folder: Path, progress: Progress | None = None
) -> Training:
    """A fit, checked and not begun; parameters and errors as of :func:`fit`."""
    check_fit(experiment, ds)
    kind = LocalTraining if experiment.state.layout == "local" else EofTraining
    fields = training_fields(experiment, ds)
    return kind(experiment, fields, Checkpoints(folder / "summaries.zarr"), progress)
