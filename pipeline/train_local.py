"""A fit on patches of the grid: rows straight from the archive's fields, read once for all."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import Patches, SampledRNN
from pipeline.config import Experiment
from pipeline.factors import Factors
from pipeline.forcing import Forcing
from pipeline.geometry import groups_of, importance, patches_of
from pipeline.kept import Candidate, Fold
from pipeline.local import LocalLayout
from pipeline.preflight import local_leaves
from pipeline.reduce import Stretch, check_call, check_memory
from pipeline.rows import FieldStates, RowSummary, SharedRows
from pipeline.state import Climatology, Scaling
from pipeline.static import open_static
from pipeline.tasks import run_tasks
from pipeline.training import Training

Array = NDArray[Any]

# Training times whose patches the hidden weights are drawn from, at most.
_POOL_TIMES = 64


class LocalTraining(Training):
    """Climatology; then one pass over the fields for all candidates together."""

    def check_memory(self) -> None:
        super().check_memory()
        spread = np.ones(len(self.fields.grid.channels))
        layout = LocalLayout(Scaling(self.fields.grid, Climatology(0, 0, np.empty(0), spread), False))
        networks = []
        for _, variant in self.experiment.candidates():
            network = replace(self.local_network(variant), sampling="normal")
            networks.append(network.sample(np.zeros((1, self.seen(variant, network).size))))
        rows = self.rows(layout, networks)
        check_memory(rows, self.stretches)
        for part in rows.parts:
            # The triangles, their weighted copies, and the SVD of one with its working memory.
            check_call("solve", (3 * part.groups + 10) * 8 * part.columns**2, part.remedy)

    def layout(self) -> LocalLayout:
        return LocalLayout(Scaling(self.fields.grid, self.climatology(), by_area=False))

    @cached_property
    def patches(self) -> Patches:
        """Of the first candidate; all candidates own the same cells."""
        return patches_of(self.experiment.candidates()[0][1].state, self.fields.grid)

    @cached_property
    def _forcing(self) -> Forcing:
        names, grid = self.experiment.state.static, self.fields.grid
        fields = open_static(self.experiment.data, grid, names)
        return Forcing.of(
            self.experiment.model.inputs, names, fields, grid, self.patches.own_cells
        )

    def forcing(self) -> Forcing:
        return self._forcing

    @cached_property
    def weights(self) -> Array:
        """What a row of each place counts: shape (places,)."""
        return importance(self.fields.grid, self.patches)

    @cached_property
    def stretches(self) -> list[Stretch]:
        """Leaves of the training pass, the same for all candidates."""
        fields = self.fields
        return [
            part
            for name in ("train", "validation")
            for part in local_leaves(self.experiment, fields, name)
        ]

    def local_network(self, variant: Experiment) -> SampledRNN:
        """The network of one candidate, nothing drawn or solved."""
        patches = patches_of(variant.state, self.fields.grid)
        return replace(
            self.network(variant),
            patches=patches,
            groups=groups_of(variant.state, patches),
            joint=self._forcing.count > 0,
            inputs=self._forcing.count,
        )

    def seen(self, variant: Experiment, network: SampledRNN) -> Array:
        """What hidden features see of delayed windows and inputs: bool."""
        assert network.patches is not None
        seen = np.tile(network.patches.seen_by_hidden, (network.delays, 1))
        seen[variant.model.hidden_delays or network.delays :] = False
        inputs = np.ones(self._forcing.count, dtype=bool)
        return np.concatenate([seen.reshape(-1), inputs])

    def rows(self, layout: LocalLayout, networks: list[SampledRNN]) -> SharedRows:
        """The training pass of all candidates."""
        states, time = FieldStates(self.fields, layout), self.fields.time
        return SharedRows(
            tuple(
                RowSummary(network, states, self._forcing, time, self.weights)
                for network in networks
            )
        )

    def candidates(self, layout: LocalLayout) -> tuple[Candidate, ...]:
        variants = self.experiment.candidates()
        networks = [self._sampled(layout, variant) for _, variant in variants]
        rows = self.rows(layout, networks)
        key = self.rows_key(self.experiment, self.experiment.search)
        found = self.reduce(rows, self.stretches, key)
        # Each candidate's triangles under a key of their own, as every layout has them.
        folds: list[dict[str, Fold]] = [{} for _ in networks]
        for fold, arrays in found.items():
            for index, factors in enumerate(rows.split(arrays)):
                own = self.rows_key(variants[index][1], fold, [
                    (part.start, part.stop) for part in self.stretches if part.fold == fold
                ])
                if self.checkpoints.load(rows.parts[index].name, own) is None:
                    self.checkpoints.save(rows.parts[index].name, own, factors.arrays())
                folds[index][fold] = Fold(own, factors.rows)
        return tuple(
            Candidate(
                values=values,
                network=network,
                size=self.patches.owned,
                summary=rows.parts[index].name,
                folds=folds[index],
                variance=_variance(network, _validation(rows.split, found, index)),
                beyond=np.zeros(len(network.leads)),
            )
            for index, ((values, _), network) in enumerate(zip(variants, networks, strict=True))
        )
