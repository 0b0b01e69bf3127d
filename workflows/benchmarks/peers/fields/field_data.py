"""States, truth and periods of gridded data, prepared once for all contenders."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline import Experiment, Run, load_experiment
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Grid, region_cells
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.pipeline.training.checks import training_fields
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.stretches import steps
from gfrnn.workflows.benchmarks.peers.fields.simulated_weather import (
    EXPERIMENTS,
    SIMULATED,
    simulate,
    smaller,
)

Array = NDArray[Any]

NINO34 = ((-5.0, 5.0), (190.0, 240.0))
"""Latitudes and longitudes of the index Nino 3.4."""

_STORE = "fields.npz"
_RUN = "states"


@dataclass(frozen=True)
class StateData:
    """States of all times, and what forecasts of them are scored against.

    Attributes
    ----------
    states : ndarray, shape (times, modes)
        Principal components of the scaled anomalies over the standard deviation of the first.
    season : ndarray, shape (times, 2)
        Cosine and sine of the phase of the year.
    train, validation, test : ndarray of bool, shape (times,)
    fitted : ndarray of bool, shape (times,)
        Times that the final fit may use: those of training, and of validation where the experiment
        adds them.
    leads : ndarray of int, shape (leads,)
        Leads that are scored, in steps.
    patterns : ndarray, shape (modes, cells)
        Anomalies in units of the variables for each state variable.
    truth : ndarray, shape (times, cells)
        Anomalies in units of the variables; 0 in the mask.
    weights : ndarray, shape (channels, cells)
        Weights of the cells in the mean of each channel, which sum to 1.
    index : ndarray, shape (cells,)
        Weights of the index Nino 3.4; 0 everywhere where the grid does not hold it.
    """

    states: Array
    season: Array
    train: Array
    validation: Array
    test: Array
    fitted: Array
    leads: Array
    patterns: Array
    truth: Array
    weights: Array
    index: Array

    @classmethod
    def load(cls, folder: Path) -> StateData:
        """Read the data that :func:`prepare` has written into a folder."""
        with np.load(folder / _STORE) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def save(self, folder: Path) -> None:
        """Write the data into a folder."""
        np.savez(folder / _STORE, **{each.name: getattr(self, each.name) for each in fields(self)})

    @property
    def starts(self) -> Array:
        """Indices of the initial times of the test period."""
        return np.flatnonzero(self.test)

    def pairs(self, inside: Array, lead: int, before: int = 0) -> Array:
        """Return the indices of initial times that are inside with their targets.

        Parameters
        ----------
        inside : ndarray of bool, shape (times,)
        lead : int
            Steps from an initial time to its target.
        before : int
            Number of times before the initial time that must be inside too.
        """
        ends = [inside, np.roll(inside, -lead), *(np.roll(inside, k + 1) for k in range(before))]
        found = np.flatnonzero(np.all(ends, axis=0))
        return np.asarray(found[(found >= before) & (found < len(inside) - lead)])

    def validation_error(self, forecast: Array) -> float:
        """Return the mean squared error of states over their mean square, mean over leads.

        Parameters
        ----------
        forecast : ndarray, shape (validation times, leads, modes)
            Forecasts from all times of the validation period; further modes count as 0.
        """
        starts = np.flatnonzero(self.validation)
        shares = []
        for column, lead in enumerate(self.leads):
            inside = np.isin(starts, self.pairs(self.validation, int(lead)))
            real = self.states[starts[inside] + lead]
            error = real.copy()
            error[:, : forecast.shape[2]] -= forecast[inside, column]
            shares.append(np.square(error).sum() / np.square(real).sum())
        return float(np.mean(shares))

    def decode(self, states: Array) -> Array:
        """Return anomalies (..., cells) of states (..., modes); further modes are 0."""
        return np.asarray(states @ self.patterns[: states.shape[-1]])

    def score(self, forecast: Array) -> dict[str, float]:
        """Return the errors of forecasts of the test period.

        Parameters
        ----------
        forecast : ndarray, shape (test times, leads, cells)
            Anomalies.

        Returns
        -------
        dict of str to float
            ``rmse_CHANNEL_LEAD`` in the unit of the channel, ``share_CHANNEL_LEAD``, the RMSE over
            that of the climatology, and ``index_LEAD``, the correlation of the index Nino 3.4.

        Raises
        ------
        ArithmeticError
            If a forecast whose target is known is not finite.
        """
        found: dict[str, float] = {}
        for column, lead in enumerate(self.leads):
            starts = self.pairs(self.test, int(lead))
            given = forecast[np.isin(self.starts, starts), column].astype(float)
            if not np.isfinite(given).all():
                raise ArithmeticError(f"a forecast {lead} steps ahead is not finite")
            real = self.truth[starts + lead]
            for channel, weights in enumerate(self.weights):
                error = np.sqrt((np.square(given - real) @ weights).mean())
                normal = np.sqrt((np.square(real) @ weights).mean())
                found[f"rmse_{channel}_{lead}"] = float(error)
                found[f"share_{channel}_{lead}"] = float(error / normal)
            if self.index.any():
                pair = (given @ self.index, real @ self.index)
                found[f"index_{lead}"] = float(np.corrcoef(*pair)[0, 1])
        return found


def experiment_of(name: str, quick: bool, folder: Path) -> Experiment:
    """Return an experiment, with few modes and features if ``quick``.

    Parameters
    ----------
    name : str
        Name of an experiment of this package, or of one on data that are simulated into the folder.
    quick : bool
    folder : Path
    """
    if name in SIMULATED:
        return SIMULATED[name](folder, quick)
    experiment = load_experiment(EXPERIMENTS / f"{name}.yaml")
    return smaller(experiment) if quick else experiment


def prepare(folder: Path, quick: bool, *, experiment: str, leads: list[str]) -> None:
    """Compute climatology, EOFs and states of an experiment, and its data if they are simulated.

    They are those of the experiment's fit. A run with a small network computes them; its folder
    is kept, so that fits of the comparison find them there.

    Parameters
    ----------
    folder : Path
    quick : bool
    experiment : str
        Parameter of :func:`experiment_of`.
    leads : list of str
        Leads that are scored, such as ``3d`` or ``6mo``.
    """
    if experiment in SIMULATED:
        simulate(folder, quick)
    chosen = experiment_of(experiment, quick, folder)
    run = Run(chosen.with_values({"model.width": 1, "model.hidden_modes": None}), folder / _RUN)
    run.fit()
    layout = ForecastModel.load(run.model).layout
    assert isinstance(layout, EofLayout)
    source = training_fields(chosen, run.ds)
    time = source.time
    truth = layout.scaling.climatology.subtract_from(source.read(0, len(time)), time)
    if source.mask is not None:
        truth[:, source.mask] = 0.0
    periods = chosen.periods
    train, validation, test = (
        period.mask(time) for period in (periods.train, periods.validation, periods.test)
    )
    step = step_of(time)
    StateData(
        states=layout.project(truth * layout.scaling.weights),
        season=harmonics(time, 1, 0)[:, 1:],
        train=train,
        validation=validation,
        test=test,
        fitted=train | validation if chosen.fit.refit == "all" else train,
        leads=np.array([steps("leads", Duration.parse(lead), step) for lead in leads]),
        patterns=layout.anomalies(np.eye(layout.modes)),
        truth=truth,
        weights=channel_weights(source.grid),
        index=index_weights(source.grid),
    ).save(folder)


def prepared_summaries(folder: Path) -> Path:
    """Return the store with climatology, EOFs and states that :func:`prepare` has computed."""
    return folder / _RUN / "summaries.zarr"


def channel_weights(grid: Grid) -> Array:
    """Return the area weights of each channel, shape (channels, cells), each with the sum 1."""
    areas = grid.area_weights.reshape(len(grid.channels), -1)
    weights = np.zeros((len(areas), len(areas), areas.shape[1]))
    for channel, area in enumerate(areas):
        weights[channel, channel] = area / area.sum()
    return weights.reshape(len(areas), -1)


def index_weights(grid: Grid) -> Array:
    """Return the weights of the index Nino 3.4 in the first channel; 0 where it is not covered."""
    rows, columns = region_cells(grid.latitude, grid.longitude, *NINO34)
    inside = np.zeros(grid.shape)
    inside[0][np.ix_(rows, columns)] = grid.area_weights[0][np.ix_(rows, columns)]
    total = inside.sum()
    return np.asarray(inside.reshape(-1) / total if total else inside.reshape(-1))
