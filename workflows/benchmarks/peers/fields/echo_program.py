"""Echo state networks that forecast states."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.echo_networks import draws, train_xesn
from gfrnn.workflows.benchmarks.peers.fields.state_program import StateProgram
from gfrnn.workflows.benchmarks.peers.program import Setting
from gfrnn.workflows.cases.shared.reservoir import Reservoir, train_reservoirpy

Array = NDArray[Any]


class EchoProgram(StateProgram):
    """An echo state network that runs along the series, with settings drawn at random.

    Options: ``units``; ``draws``, number of settings; ``warmup``, number of first times that the
    regression leaves out; ``modes``, numbers of modes to draw from.
    """

    def settings(self) -> list[Setting]:
        count, most = self.options["draws"], self.data.states.shape[1]
        modes = [each for each in self.options["modes"] if each <= most] or [most]
        generator = np.random.default_rng(1)
        found: list[Setting] = [
            {"modes": int(generator.choice(modes)), **self._choices(generator), **one}
            for one in draws(count, 0, (1e-3, 1e3))
        ]
        return found

    @property
    def units(self) -> int:
        """Number of units."""
        return 50 if self.quick else int(self.options["units"])

    def _choices(self, generator: np.random.Generator) -> Setting:
        """Draw further settings."""
        return {}

    def predict(self, model: Any, starts: Array) -> Array:
        setting, network = model
        series = self.data.states[: starts.max() + 1, : setting["modes"]]
        units = network.drive(series)[starts]
        leads = self.data.leads
        if setting.get("head") == "direct":
            return np.asarray(network.read(units).reshape(len(starts), len(leads), -1))
        return np.asarray(network.roll_out(units, int(leads.max()))[:, leads - 1])

    def train(self, setting: Setting, seed: int, inside: Array) -> Any:
        first, last = np.flatnonzero(inside)[[0, -1]]
        series = self.data.states[first : last + 1, : setting["modes"]]
        return setting, self._train(setting, seed, series)

    @abstractmethod
    def _train(self, setting: Setting, seed: int, series: Array) -> Reservoir:
        """Train on a series without gaps."""


class ReservoirPyProgram(EchoProgram):
    """reservoirpy: its default densities; readouts of the next state, or of all leads at once."""

    def _choices(self, generator: np.random.Generator) -> Setting:
        return {"head": str(generator.choice(["rollout", "direct"]))}

    def _train(self, setting: Setting, seed: int, series: Array) -> Reservoir:
        leads = self.data.leads if setting["head"] == "direct" else np.array([1])
        known = len(series) - int(leads.max())
        targets = np.concatenate([series[lead : known + lead] for lead in leads], axis=1)
        return train_reservoirpy(
            [series[:known]],
            [targets],
            self.options["warmup"],
            seed,
            units=self.units,
            spectral_radius=setting["spectral_radius"],
            leak=setting["leak"],
            input_scaling=setting["scale"],
            bias=setting["bias"],
            ridge=setting["ridge"],
        )


class XesnProgram(EchoProgram):
    """xesn: its default matrices; a readout of the next state."""

    def _train(self, setting: Setting, seed: int, series: Array) -> Reservoir:
        return train_xesn(
            series,
            self.options["warmup"],
            seed,
            units=self.units,
            spectral_radius=setting["spectral_radius"],
            leak=setting["leak"],
            input_factor=setting["scale"],
            bias=setting["bias"],
            ridge=setting["ridge"],
        )
