"""Reanalysis in, forecasts out: xarray, zarr and Dask around the core.

It uses whichever Dask client is current, and works in this process where there is none. A name is
imported from its module when it is first used, so that a command imports only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from gfrnn.pipeline.config.experiment import Experiment, load_experiment, parse_experiment
    from gfrnn.pipeline.data.dataset import open_source
    from gfrnn.pipeline.forecasting.forecast import forecast
    from gfrnn.pipeline.runs.refit import refit
    from gfrnn.pipeline.runs.run import Run
    from gfrnn.pipeline.runs.update import update
    from gfrnn.pipeline.training.fit import fit
    from gfrnn.pipeline.verification.verify import verify
else:
    _MODULES = {
        **dict.fromkeys(("Experiment", "load_experiment", "parse_experiment"), "config.experiment"),
        "Run": "runs.run",
        "fit": "training.fit",
        "forecast": "forecasting.forecast",
        "open_source": "data.dataset",
        "refit": "runs.refit",
        "update": "runs.update",
        "verify": "verification.verify",
    }

    def __getattr__(name):
        """Import a public name from its module (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
