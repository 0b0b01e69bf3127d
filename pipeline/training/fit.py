"""Fit a model: what comes before the rows, a triangle for each candidate, a choice."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.planning.estimate import Projection, Workforce, project
from gfrnn.pipeline.planning.machine_rates import Rates
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tasks import Progress
from gfrnn.pipeline.training.checks import check_fit, check_settings, training_fields
from gfrnn.pipeline.training.eof_training import EofTraining
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.patch_training import LocalTraining
from gfrnn.pipeline.training.training import Training


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
        As :func:`gfrnn.pipeline.open_source` gives it for ``experiment.data``.
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
    training.announce()
    return training.run()


def prepare(
    experiment: Experiment, ds: xr.Dataset, folder: Path, progress: Progress | None = None
) -> Training:
    """A fit, checked and not begun; parameters and errors as of :func:`fit`."""
    check_fit(experiment, ds)
    checkpoints = Checkpoints(folder / "summaries.zarr")
    return _kind(experiment)(experiment, training_fields(experiment, ds), checkpoints, progress)


def plan_fit(
    experiment: Experiment, ds: xr.Dataset, workforce: Workforce, rates: Rates | None = None
) -> Projection:
    """What a fit will do and take. Nothing is written.

    Parameters
    ----------
    experiment, ds
        As in :func:`fit`; of the data only metadata are read, and some chunks to time it.
    workforce : Workforce
        What it will run on.
    rates : Rates, optional
        By default this machine's, measured now.

    Raises
    ------
    ConfigError, DataError
        If the fit would.
    """
    check_settings(experiment, ds)
    training = _kind(experiment)(experiment, Fields(ds), Checkpoints(Path()), None)
    return project(training, workforce, rates)


def _kind(experiment: Experiment) -> type[EofTraining] | type[LocalTraining]:
    return LocalTraining if experiment.state.layout == "local" else EofTraining
