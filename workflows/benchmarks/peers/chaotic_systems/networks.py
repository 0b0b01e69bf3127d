"""Sampled, gated and echo state networks, and quadratic features, on chaotic systems."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.chaotic_systems.chaotic_system_program import (
    HISTORY,
    ChaosProgram,
)
from gfrnn.workflows.benchmarks.peers.echo_networks import train_xesn
from gfrnn.workflows.benchmarks.peers.gated_networks import (
    GatedSettings,
    Windows,
    build,
    predict,
    train,
)
from gfrnn.workflows.benchmarks.peers.program import Setting, grid_of
from gfrnn.workflows.cases.shared.field_forecasts import FieldModel, FieldNetwork
from gfrnn.workflows.cases.shared.field_forecasts import train as train_shared
from gfrnn.workflows.cases.shared.reservoir import Reservoir, train_reservoirpy
from gfrnn.workflows.cases.shared.trajectories import divergence_allowed
from gfrnn_core import SampledRNN
from gfrnn_core.sampling import products_of

Array = NDArray[Any]


class SampledRollouts(ChaosProgram):
    """The sampled network; options ``width`` and ``scales``, the scales to try."""

    def settings(self) -> list[Setting]:
        return grid_of(scale=self.options["scales"], ridge=[1e-15, 1e-14])

    def fit(self, setting: Setting, seed: int) -> Any:
        width = 100 if self.quick else self.options["width"]
        return SampledRNN(width, sampling="normal", seed=seed, **setting).fit(self.series)

    def roll_out(self, model: Any, history: Array, steps: int) -> Array:
        with divergence_allowed():
            return np.asarray(model.rollout(history, steps))


class QuadraticRollouts(SampledRollouts):
    """Products of all pairs of the latest states, as in next-generation reservoir computing.

    Option ``delays``, numbers of states to try.
    """

    def settings(self) -> list[Setting]:
        return grid_of(delays=self.options["delays"], ridge=[1e-15, 1e-12, 1e-9, 1e-6])

    def fit(self, setting: Setting, seed: int) -> Any:
        width = products_of(self.series.shape[1] * setting["delays"])
        return SampledRNN(width, sampling="quadratic", seed=seed, **setting).fit(self.series)


class LinearRollouts(QuadraticRollouts):
    """Ridge regression of the next state on the latest states."""

    def fit(self, setting: Setting, seed: int) -> Any:
        return SampledRNN(0, seed=seed, **setting).fit(self.series)


class PatchRollouts(SampledRollouts):
    """One sampled network for all places of a homogeneous circle.

    Options are those of :class:`SampledRollouts`.
    """

    def fit(self, setting: Setting, seed: int) -> Any:
        window = (6, 3)
        rows = 20_000 if self.quick else 80_000
        network = FieldNetwork(size=1, halo=window, inner=window, rows=rows, **setting)
        width = 100 if self.quick else self.options["width"]
        return train_shared(network, FieldModel(width=width, noise=0.0), seed, self.series)


class GatedRollouts(ChaosProgram):
    """A gated network of PyTorch that is trained on forecasts of one or several steps.

    Options: ``cell``; ``window``, number of states that it sees in training; ``hidden``, numbers of
    units to try; ``epochs``.
    """

    def load(self) -> None:
        super().load()
        first = {"hidden": 4, "steps": 1, "rate": 1e-3, "epochs": 1}
        rows = self._windows(first, slice(2 * self.options["window"]))
        train(self._network(first), rows, 0)  # the first training loads parts of the library

    def settings(self) -> list[Setting]:
        grid = {"hidden": self.options["hidden"], "steps": [1, 8], "rate": [3e-3, 1e-3]}
        return grid_of(**grid, epochs=[self.options["epochs"]])

    def fit(self, setting: Setting, seed: int) -> Any:
        model, _, _ = train(self._network(setting), self._windows(setting, slice(None)), seed)
        return setting, model

    def roll_out(self, model: Any, history: Array, steps: int) -> Array:
        setting, trained = model
        size = history.shape[2]
        longer = build(self._network(setting), size, steps, size)
        longer.load_state_dict(trained.state_dict())
        unknown = np.zeros((len(history), steps, 0))
        return predict(longer, Windows(history, unknown, unknown)).astype(float)

    def _network(self, setting: Setting) -> GatedSettings:
        chosen = GatedSettings(
            self.options["cell"],
            "rollout",
            hidden=setting["hidden"],
            rate=setting["rate"],
            epochs=setting["epochs"],
            schedule="cosine",
        )
        return replace(chosen, epochs=min(chosen.epochs, 10)) if self.quick else chosen

    def _windows(self, setting: Setting, part: slice) -> Windows:
        series, back, steps = self.series[part], self.options["window"], setting["steps"]
        starts = np.arange(back - 1, len(series) - steps)
        inputs = series[starts[:, None] - np.arange(back - 1, -1, -1)]
        targets = series[starts[:, None] + np.arange(1, steps + 1)]
        return Windows(inputs, targets, targets[..., :0])


class EchoRollouts(ChaosProgram):
    """An echo state network whose settings are drawn at random; it forecasts the next state.

    Options: ``library``, "reservoirpy" or "xesn"; ``units``; ``search_units``, with which settings
    are compared; ``draws``.
    """

    def load(self) -> None:
        super().load()
        import_module(self.options["library"])

    def settings(self) -> list[Setting]:
        generator = np.random.default_rng(0)

        def logarithmic(low: float, high: float) -> float:
            return float(f"{np.exp(generator.uniform(np.log(low), np.log(high))):.3g}")

        return [
            {
                "spectral_radius": round(float(generator.uniform(0.05, 1.3)), 3),
                "leak": round(float(generator.uniform(0.1, 1.0)), 3),
                "scale": logarithmic(1e-3, 1e3),
                "bias": logarithmic(0.01, 2.0),
                "ridge": logarithmic(1e-14, 1e-2),
            }
            for _ in range(3 if self.quick else self.options["draws"])
        ]

    def trial(self, setting: Setting) -> Reservoir:
        return self._train(setting, 0, self.options["search_units"])

    def fit(self, setting: Setting, seed: int) -> Reservoir:
        return self._train(setting, seed, self.options["units"])

    def _train(self, setting: Setting, seed: int, units: int) -> Reservoir:
        chosen = {name: value for name, value in setting.items() if name != "scale"}
        chosen["units"] = 50 if self.quick else units
        with warnings.catch_warnings():  # the search also tries ill-conditioned readouts
            warnings.simplefilter("ignore")
            try:
                if self.options["library"] == "xesn":
                    chosen["input_factor"] = setting["scale"]
                    return train_xesn(self.series, HISTORY, seed, **chosen)
                chosen["input_scaling"] = setting["scale"]
                now, later = self.series[:-1], self.series[1:]
                return train_reservoirpy([now], [later], HISTORY, seed, **chosen)
            except np.linalg.LinAlgError as error:
                raise ArithmeticError(str(error)) from error

    def roll_out(self, model: Reservoir, history: Array, steps: int) -> Array:
        units = np.zeros((len(model.biases), len(history)))
        for time in range(history.shape[1]):
            units = model.step(units, history[:, time])
        return model.roll_out(units.T, steps)
