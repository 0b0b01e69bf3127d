"""Reanalysis in, forecasts out: xarray, zarr and Dask around the core.

It uses whichever Dask client is current, and works in this process where there is none.
"""

from gfrnn.pipeline.config.experiment import Experiment, load_experiment, parse_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.forecasting.forecast import forecast
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.fit import fit
from gfrnn.pipeline.verification.verify import verify

__all__ = [
    "Experiment",
    "Run",
    "fit",
    "forecast",
    "load_experiment",
    "open_source",
    "parse_experiment",
    "refit",
    "update",
    "verify",
]
