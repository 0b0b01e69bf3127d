"""Base of the programs that forecast a chaotic system step by step, and their data."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.program import Program, Setting, best_setting
from gfrnn.workflows.cases.shared.trajectories import Truth
from gfrnn_core.metrics import ErrorNorm

Array = NDArray[Any]

HISTORY = 100
"""Number of true states up to the initial one, from which networks with a memory start."""


@dataclass(frozen=True)
class ForecastStarts:
    """Histories, and the truth after them.

    Attributes
    ----------
    history : ndarray, shape (starts, HISTORY, d)
        True states up to the initial state.
    truth : Truth
    """

    history: Array
    truth: Truth

    def save(self, path: Path) -> None:
        """Write the arrays."""
        np.savez(path, history=self.history, **asdict(self.truth))

    @classmethod
    def load(cls, path: Path) -> ForecastStarts:
        """Read the arrays."""
        with np.load(path) as found:
            truth = Truth(found["starts"], found["states"], found["trusted_time"])
            return cls(found["history"], truth)


@dataclass(frozen=True)
class ValidTimes:
    """Definition of the valid prediction time.

    Attributes
    ----------
    dt : float
    exponent : float
        Largest Lyapunov exponent per unit of time.
    threshold : float
    norm : str
        Norm of errors, see :func:`gfrnn_core.metrics.forecast_error`.
    homogeneous : bool
        Whether all variables have the same statistics: one mean and one standard deviation then
        scale all of them.
    """

    dt: float
    exponent: float
    threshold: float
    norm: ErrorNorm
    homogeneous: bool = False

    def of(self, forecast: Array, truth: Truth, scale: Array) -> Array:
        """Return the valid prediction time of each forecast in Lyapunov times."""
        divisor = scale if self.norm == "nrmse" else None
        finite = np.where(np.isfinite(forecast).all(axis=-1, keepdims=True), forecast, np.nan)
        return truth.valid_times(finite, self.dt, self.exponent, self.threshold, self.norm, divisor)


class ChaosProgram(Program):
    """A model of the next state, iterated.

    The folder holds ``train.npy``, the training series, ``validation.npz`` and ``test.npz``.
    Series are standardised by their mean and standard deviation before training.
    """

    valid: ValidTimes

    def load(self) -> None:
        train = np.load(self.folder / "train.npy")
        self.valid = ValidTimes(**self.options["valid"])
        sample = train.reshape(-1, 1) if self.valid.homogeneous else train
        self.mean, self.deviation = sample.mean(axis=0), sample.std(axis=0)
        self.series = (train - self.mean) / self.deviation
        self.validation, self.test = (
            ForecastStarts.load(self.folder / f"{name}.npz") for name in ("validation", "test")
        )

    def search(self) -> Setting:
        """Choose the setting with the longest mean valid prediction time on validation starts."""

        def error(setting: Setting) -> float:
            try:
                model = self.trial(setting)
            except ArithmeticError:  # such as a singular regression
                return np.inf
            return -float(self._valid(model, self.validation).mean())

        return best_setting(self.settings(), error)

    def trial(self, setting: Setting) -> Any:
        """Return a model that is trained for the search."""
        return self.fit(setting, 0)

    def forecast(self, model: Any) -> Array:
        return self._forecast(model, self.test)

    def score(self, forecast: Array) -> dict[str, float]:
        times = self.valid.of(forecast, self.test.truth, self.deviation)
        return {"mean": float(times.mean()), "median": float(np.median(times))}

    def _valid(self, model: Any, starts: ForecastStarts) -> Array:
        return self.valid.of(self._forecast(model, starts), starts.truth, self.deviation)

    def _forecast(self, model: Any, starts: ForecastStarts) -> Array:
        history = (starts.history - self.mean) / self.deviation
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.roll_out(model, history, starts.truth.states.shape[1])
            return np.asarray(found * self.deviation + self.mean)

    @abstractmethod
    def settings(self) -> list[Setting]:
        """Return the settings to try."""

    @abstractmethod
    def roll_out(self, model: Any, history: Array, steps: int) -> Array:
        """Forecast standardised states from histories, shape (starts, steps, d)."""
