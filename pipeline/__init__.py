"""Reanalysis in, forecasts out: xarray, zarr and Dask around the core.

It uses whichever Dask client is current, and works in this process where there is none.
"""

from pipeline.config import Experiment, load_experiment, parse_experiment
from pipeline.experiment import Run
from pipeline.forecast import forecast
from pipeline.refit import refit
from pipeline.sources import open_source
from pipeline.train import fit
from pipeline.update import update
from pipeline.verify import verify

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
