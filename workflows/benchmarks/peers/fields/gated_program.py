"""LSTM and GRU networks that forecast states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.fields.state_program import StateProgram
from gfrnn.workflows.benchmarks.peers.gated_networks import GatedSettings, Windows, predict, train
from gfrnn.workflows.benchmarks.peers.program import Setting, grid_of

Array = NDArray[Any]


class GatedProgram(StateProgram):
    """A gated network on windows of the states and the season.

    Options: ``cell``, "LSTM" or "GRU"; ``window``, number of times that it sees; ``most_epochs``.
    """

    def load(self) -> None:
        super().load()
        import torch

        torch.zeros(1).sum()  # the first operation loads kernels

    def settings(self) -> list[Setting]:
        return grid_of(head=["direct", "rollout"], hidden=[64, 192], dropout=[0.2, 0.5])

    def _network(self, setting: Setting) -> GatedSettings:
        chosen = GatedSettings(self.options["cell"], **setting)
        most = 3 if self.quick else self.options.get("most_epochs", 100)
        return replace(chosen, epochs=min(chosen.epochs, most))

    def _windows(self, setting: Setting, starts: Array) -> Windows:
        """Return the windows that end at some times; targets after the last time are 0."""
        data, leads = self.data, self.data.leads
        ahead = leads if setting["head"] == "direct" else np.arange(1, leads.max() + 1)
        back = np.arange(self.options["window"] - 1, -1, -1)
        series = np.concatenate([data.states, data.season], axis=1)
        later = np.minimum(starts[:, None] + ahead, len(series) - 1)
        return Windows(series[starts[:, None] - back], data.states[later], data.season[later])

    def _rows(self, setting: Setting, inside: Array) -> Windows:
        """Return the windows that are inside with their longest target."""
        longest, before = int(self.data.leads.max()), self.options["window"] - 1
        return self._windows(setting, self.data.pairs(inside, longest, before))

    def trial(self, setting: Setting) -> dict[str, Any]:
        data, network = self.data, self._network(setting)
        held_out = data.pairs(data.validation, int(data.leads.max()))
        validation = self._windows(setting, held_out)
        windows = self._rows(setting, data.train)
        model, epochs, _ = train(network, windows, 0, validation)
        forecast = self.predict((setting, model), np.flatnonzero(data.validation))
        return {"error": data.validation_error(forecast), "epochs": epochs}

    def train(self, setting: Setting, seed: int, inside: Array) -> Any:
        model, _, _ = train(self._network(setting), self._rows(setting, inside), seed)
        return setting, model

    def predict(self, model: Any, starts: Array) -> Array:
        setting, network = model
        forecast = predict(network, self._windows(setting, starts)).astype(float)
        return forecast if setting["head"] == "direct" else forecast[:, self.data.leads - 1]
