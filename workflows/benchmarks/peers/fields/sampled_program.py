"""The sampled network of ``gfrnn_core`` on states in memory, as the other libraries get them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.fields.state_program import RIDGES, StateProgram
from gfrnn.workflows.benchmarks.peers.program import Setting, grid_of
from gfrnn_core import RFactor, RidgePath, SampledRNN
from gfrnn_core.sampling import products_of
from gfrnn_core.triangles.normal_equations import LEAST_RIDGE

Array = NDArray[Any]

_RIDGES = RIDGES[RIDGES >= LEAST_RIDGE]  # for which products of columns suffice


class SampledProgram(StateProgram):
    """A sampled network with outer weights of its own at each lead.

    Options: ``width``; ``delays``, numbers of successive states to try.
    """

    def settings(self) -> list[Setting]:
        return grid_of(
            sampling=["normal", "quadratic"],
            scale=[0.1, 0.2, 0.3],
            delays=self.options["delays"],
        )

    def trial(self, setting: Setting) -> dict[str, Any]:
        """Choose a ridge for each lead from the R factors of both periods; nothing is forecast."""
        network, known = self._factorised(setting, 0, self.data.train)
        # As for the other methods, initial times may have their history before the period.
        later = network.factorise(*self._series(self.data.validation, setting["delays"] - 1))
        leads = len(network.leads)
        targets = leads * self.data.states.shape[1]
        path = RidgePath.from_float32_rows(known, known.columns - targets, targets, _RIDGES)
        errors = path.summed_errors(later, _RIDGES, leads) / later.rows
        shares = (
            errors.min(axis=0) / np.square(self.data.states[self.data.validation]).sum(1).mean()
        )
        scored = np.isin(network.leads, self.data.leads)
        ridges = [float(f"{ridge:.3g}") for ridge in _RIDGES[errors.argmin(axis=0)]]
        return {"error": float(shares[scored].mean()), "ridges": ridges}

    def train(self, setting: Setting, seed: int, inside: Array) -> SampledRNN:
        network, known = self._factorised(setting, seed, inside)
        return network.solve(known, setting["ridges"])

    def predict(self, model: SampledRNN, starts: Array) -> Array:
        data = self.data
        steps = int(data.leads.max())
        history = data.states[starts[:, None] - np.arange(model.delays - 1, -1, -1)]
        later = np.minimum(starts[:, None] + np.arange(1, steps + 1), len(data.states) - 1)
        return model.rollout(history, steps, data.season[later])[:, data.leads - 1]

    def _factorised(self, setting: Setting, seed: int, inside: Array) -> tuple[SampledRNN, RFactor]:
        """Return a network with hidden weights, and the R factor of the rows of some times."""
        states, season = self._series(inside)
        width = 50 if self.quick else self.options["width"]
        if setting["sampling"] == "quadratic":
            seen = setting["delays"] * states[0].shape[1] + season[0].shape[1]
            width = min(width, products_of(seen))
        network = SampledRNN(
            width,
            sampling=setting["sampling"],
            scale=setting["scale"],
            delays=setting["delays"],
            leads=tuple(sorted({1, *self.data.leads.tolist()})),
            combine_leads="longest",
            target="state",
            joint=True,
            precision="float32",
            standardise=False,
            seed=seed,
        ).prepare(states, season)
        return network, network.factorise(states, season)

    def _series(self, inside: Array, before: int = 0) -> tuple[list[Array], list[Array]]:
        """Return states and season of each stretch of times that are inside, and some before it."""
        times = np.flatnonzero(inside)
        found = np.split(times, np.flatnonzero(np.diff(times) > 1) + 1)
        stretches = [np.arange(max(one[0] - before, 0), one[-1] + 1) for one in found]
        data = self.data
        return [data.states[one] for one in stretches], [data.season[one] for one in stretches]
