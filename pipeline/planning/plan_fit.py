"""Plan a fit: estimate its reads, operations, memory and disk space."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.planning.estimate import Projection, Workforce, project
from gfrnn.pipeline.planning.machine_rates import Rates
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.training.checks import check_settings
from gfrnn.pipeline.training.fit import training_class


def plan_fit(
    experiment: Experiment, ds: xr.Dataset, workforce: Workforce, rates: Rates | None = None
) -> Projection:
    """Estimate the cost of a fit. Nothing is written.

    Parameters
    ----------
    experiment, ds
        As in :func:`gfrnn.pipeline.fit`; only the metadata of the data are read, and some chunks
        to time the reading.
    workforce : Workforce
        Workers that the fit will run on.
    rates : Rates, optional
        Speed of a worker; by default that of this machine, measured now.

    Raises
    ------
    ConfigError, DataError
        If the fit would raise them before it starts.
    """
    check_settings(experiment, ds)
    training = training_class(experiment)(experiment, Fields(ds), Checkpoints(Path()), None)
    return project(training, workforce, rates)
