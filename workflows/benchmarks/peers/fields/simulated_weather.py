"""Experiments on weather that a nature run simulates, and smaller versions of experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gfrnn.pipeline import Experiment, load_experiment
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.workflows.nature_run import write_nature

EXPERIMENTS = Path(__file__).parents[3] / "experiments"

_LEVELS = (250.0, 750.0)
_DAYS = 150  # of the quick version
_QUICK_PERIODS = {
    "periods.train": ["2001-01-01", "2001-04-15"],
    "periods.validation": ["2001-04-16", "2001-05-07"],
    "periods.test": ["2001-05-08", "2001-05-30"],
}


def simulate(folder: Path, quick: bool) -> None:
    """Write eight years of simulated weather every six hours, or some months if ``quick``."""
    shorter: dict[str, Any] = {"days": _DAYS, "spinup_days": 5} if quick else {}
    write_nature(_store(folder), years=8, levels=_LEVELS, **shorter)


def nature(folder: Path, quick: bool) -> Experiment:
    """Return the example ``nature.yaml``, which forecasts from all times of the test period."""
    values: dict[str, Any] = {
        "data.sources": [str(_store(folder))],
        "forecast.horizon": "5d",
        "forecast.every": "6h",
    }
    shipped = load_experiment(EXPERIMENTS / "nature.yaml")
    return shipped.with_values(values | (_QUICK_PERIODS if quick else {}))


def nature_eofs(folder: Path, quick: bool) -> Experiment:
    """Return an experiment on EOFs of the same data.

    It is that on ERA-Interim without its calendar, with leads of its own.
    """
    model = ModelConfig(
        width=1000,
        hidden_modes=30,
        hidden_delays=1,
        hidden_inputs=("state", "linear"),
        scale=0.3,
        leads=tuple(map(Duration.parse, ("6h", "1d", "2d", "3d", "4d", "5d"))),
        combine_leads="longest",  # the smaller error of calibrated rollouts in the validation year
    )
    update = {
        "name": "nature_eofs",
        "state": StateConfig(modes=80),
        "model": model,
        "search": {"state.delays": [2, 3], "model.sampling": ["normal", "quadratic"]},
    }
    experiment = nature(folder, quick).model_copy(update=update)
    return smaller(experiment) if quick else experiment


def smaller(experiment: Experiment) -> Experiment:
    """Return an experiment with few modes and features, and two candidates."""
    model = {"width": 50, "hidden_modes": None}
    update = {
        "state": experiment.state.model_copy(update={"modes": 10}),
        "model": experiment.model.model_copy(update=model),
        "fit": experiment.fit.model_copy(update={"average": 2}),
        "search": {"model.seed": [0, 1]},
    }
    return experiment.model_copy(update=update)


def _store(folder: Path) -> Path:
    return folder / "nature.zarr"


SIMULATED: dict[str, Callable[[Path, bool], Experiment]] = {
    "nature": nature,
    "nature_eofs": nature_eofs,
}
"""Experiments by name, as functions of the folder of the data and of ``quick``."""
