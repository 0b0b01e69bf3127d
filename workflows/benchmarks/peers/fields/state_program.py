"""Base class of programs that forecast states, and the linear ones among them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.fields.field_data import StateData
from gfrnn.workflows.benchmarks.peers.program import (
    Program,
    Setting,
    best_setting,
    grid_of,
)

Array = NDArray[Any]

RIDGES = 10.0 ** np.arange(-5, 0.1, 0.25)
"""Ridges that are tried, relative to the largest singular value of the features."""


class StateProgram(Program):
    """A method that is trained on states of some times and forecasts states at the leads."""

    data: StateData

    def load(self) -> None:
        """Read the states."""
        self.data = StateData.load(self.folder)

    @abstractmethod
    def settings(self) -> list[Setting]:
        """Return the settings that are tried."""

    @abstractmethod
    def train(self, setting: Setting, seed: int, inside: Array) -> Any:
        """Train on the times that are inside, shape (times,)."""

    @abstractmethod
    def predict(self, model: Any, starts: Array) -> Array:
        """Return forecasts from some times, shape (starts, leads, modes)."""

    def trial(self, setting: Setting) -> dict[str, Any]:
        """Train on the training period; return the validation error, and entries of the setting."""
        model = self.train(setting, 0, self.data.train)
        forecast = self.predict(model, np.flatnonzero(self.data.validation))
        return {"error": self.data.validation_error(forecast)}

    def search(self) -> Setting:
        settings = self.settings()
        return best_setting(settings[:3] if self.quick else settings, self.trial)

    def fit(self, setting: Setting, seed: int) -> Any:
        return self.train(setting, seed, self.data.fitted)

    def forecast(self, model: Any) -> Array:
        return self.data.decode(self.predict(model, self.data.starts)).astype(np.float32)

    def score(self, forecast: Array) -> dict[str, float]:
        return self.data.score(forecast)


class DirectRegression(StateProgram):
    """A linear regression for each lead on features of the states up to the initial time."""

    @abstractmethod
    def features(self, setting: Setting, starts: Array) -> Array:
        """Return the features of some initial times, shape (starts, features), without constant."""

    @staticmethod
    def history(setting: Setting) -> int:
        """Return the number of times before the initial time that the features need."""
        return int(setting.get("delays", 1)) - 1

    def train(self, setting: Setting, seed: int, inside: Array) -> Any:
        modes, ridges = setting["modes"], setting.get("ridges", [0.0] * len(self.data.leads))
        weights = []
        for lead, ridge in zip(self.data.leads, ridges, strict=True):
            ((solved,), mean) = self._solve(setting, int(lead), inside, [ridge])
            weights.append((solved, mean))
        return setting, modes, weights

    def _solve(
        self, setting: Setting, lead: int, inside: Array, ridges: list[float]
    ) -> tuple[list[Array], tuple[Array, Array]]:
        """Return weights for each ridge, and the means of features and targets."""
        starts = self.data.pairs(inside, lead, self.history(setting))
        features = self.features(setting, starts)
        targets = self.data.states[starts + lead][:, : setting["modes"]]
        means = features.mean(axis=0), targets.mean(axis=0)
        features -= means[0]
        return ridge_weights(features, targets - means[1], ridges), means

    def predict(self, model: Any, starts: Array) -> Array:
        setting, modes, weights = model
        features = self.features(setting, starts)
        forecast = np.empty((len(starts), len(weights), modes))
        for column, (solved, (middle, offset)) in enumerate(weights):
            forecast[:, column] = (features - middle) @ solved + offset
        return forecast


def ridge_weights(features: Array, targets: Array, ridges: list[float]) -> list[Array]:
    """Solve for weights with each ridge, relative to the largest singular value.

    Weights without a ridge are those of least norm.

    Parameters
    ----------
    features : ndarray, shape (rows, features)
    targets : ndarray, shape (rows, d)
    ridges : list of float
    """
    squares, vectors = scipy.linalg.eigh(features.T @ features)
    projected = vectors.T @ (features.T @ targets)
    largest = squares[-1]
    found = []
    for ridge in ridges:
        kept = squares > len(squares) * np.finfo(float).eps * largest
        inverse = np.divide(
            1.0, squares + ridge**2 * largest, where=kept, out=np.zeros_like(squares)
        )
        found.append(vectors @ (inverse[:, None] * projected))
    return found


class RidgeRegression(DirectRegression):
    """Regression whose ridge is chosen for each lead, from one decomposition for all of them."""

    def trial(self, setting: Setting) -> dict[str, Any]:
        data = self.data
        starts = np.flatnonzero(data.validation)
        features = self.features(setting, starts)
        errors, ridges = [], []
        for lead in data.leads:
            solved, (middle, offset) = self._solve(setting, int(lead), data.train, list(RIDGES))
            inside = np.isin(starts, data.pairs(data.validation, int(lead)))
            real = data.states[starts[inside] + lead]
            tried = []
            for weights in solved:
                error = real.copy()
                error[:, : setting["modes"]] -= (features[inside] - middle) @ weights + offset
                tried.append(np.square(error).sum() / np.square(real).sum())
            errors.append(min(tried))
            ridges.append(float(f"{RIDGES[int(np.argmin(tried))]:.3g}"))
        return {"error": float(np.mean(errors)), "ridges": ridges}


class PropagatorRegression(DirectRegression):
    """Least squares from the present state, with a propagator of its own at each lead."""

    def settings(self) -> list[Setting]:
        most = self.data.states.shape[1]
        return [{"modes": modes} for modes in (5, 10, 15, 20, 30, 40, 60, 80) if modes <= most]

    def features(self, setting: Setting, starts: Array) -> Array:
        return self.data.states[starts][:, : setting["modes"]].copy()


class DelayRegression(RidgeRegression):
    """Ridge regression on the states of several times and on the season."""

    def settings(self) -> list[Setting]:
        most = self.data.states.shape[1]
        modes = [modes for modes in (15, 40, 80) if modes <= most] or [most]
        return grid_of(modes=modes, delays=[1, 3, 6])

    def features(self, setting: Setting, starts: Array) -> Array:
        modes = setting["modes"]
        delayed = [self.data.states[starts - k][:, :modes] for k in range(setting["delays"])]
        return np.concatenate([*delayed, self.data.season[starts]], axis=1)


class QuadraticRegression(DelayRegression):
    """Next generation reservoir computing: delays, and products of the leading states.

    Source: Gauthier, Bollt, Griffith, Barbosa, Nature Communications 12, 5564 (2021).
    """

    def settings(self) -> list[Setting]:
        most = self.data.states.shape[1]
        return grid_of(
            modes=[modes for modes in (15, 80) if modes <= most] or [most],
            delays=[1, 3],
            products=[count for count in (5, 10, 20, 30, 40) if count <= most],
            weight=[0.2, 0.5],
        )

    def features(self, setting: Setting, starts: Array) -> Array:
        leading = self.data.states[starts][:, : setting["products"]]
        season = self.data.season[starts]
        rows, columns = np.triu_indices(leading.shape[1])
        products = leading[:, rows] * leading[:, columns]
        seasonal = (leading[:, :, None] * season[:, None, :]).reshape(len(starts), -1)
        second = setting["weight"] * np.concatenate([products, seasonal], axis=1)
        return np.concatenate([super().features(setting, starts), second], axis=1)
