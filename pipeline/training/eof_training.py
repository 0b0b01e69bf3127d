"""A fit on EOFs: the states of all times are kept, and the training pass runs on them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.reduction.reduce import Stretch, fold_keys
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout, EofStateSummary, EofSummary
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.pass_costs import (
    NOTHING,
    PassCost,
    reduction,
    sampled,
    solves,
    windows_of,
)
from gfrnn.pipeline.training.rows import RowSummary, StoredStates
from gfrnn.pipeline.training.state_series import draw_pool, lagged_covariance, last_states, times_of
from gfrnn.pipeline.training.training import Training, sample_of
from gfrnn_core import SampledRNN

Array = NDArray[Any]


class EofTraining(Training):
    """Climatology, EOFs and states; then a pass over the states for each candidate."""

    def stages(self) -> list[PassCost]:
        fields, time = self.fields, self.fields.time
        train, validation = self.reads("train"), self.reads("validation")
        scaling = Scaling(fields.grid, Climatology.zero(*self.terms, fields.grid))
        svd = EofSummary(fields, scaling, rank=2 * self.modes)
        vectors = np.zeros((self.modes, fields.grid.size))
        layout = EofLayout(scaling, vectors, np.ones(self.modes), 1.0, len(time))
        states = EofStateSummary(fields, layout)
        found = [
            *super().stages(),
            reduction(svd, train, windows_of(train), joined=True),
            reduction(states, validation, windows_of(validation), joined=True),
        ]
        variants = [variant for _, variant in self.experiment.candidates()]
        passes: list[RowSummary] = []
        samples: list[Stretch] = []
        for variant in variants:
            size = variant.state.delays * variant.state.modes
            network = replace(self.network(variant), sampling="normal")
            passes.append(self.rows(variant, network.sample(np.zeros((1, size)))))
            leaves = [
                part
                for name in ("train", "validation")
                for part in row_leaves(variant, fields, name)
            ]
            found.append(reduction(passes[-1], leaves, NOTHING))
            samples.append(sample_of(passes[-1], row_leaves(variant, fields, "train")))
        sizes = [variant.state.modes for variant in variants]
        return [
            *found,
            solves(passes, self.experiment.fit, sizes),
            sampled(passes, max(samples, key=lambda part: part.stop - part.start), NOTHING),
        ]

    @property
    def modes(self) -> int:
        """EOFs that the candidates need."""
        return max(variant.state.modes for _, variant in self.experiment.candidates())

    def layout(self) -> EofLayout:
        """Climatology and EOFs; the states of training and validation times go to disk."""
        train, validation = self.reads("train"), self.reads("validation")
        scaling = Scaling(self.fields.grid, self.climatology())
        modes = self.modes
        # Twice the modes: what a leaf cuts off then hardly touches the modes kept.
        svd = EofSummary(self.fields, scaling, rank=2 * modes)
        key = content_key(self.climatology_key, modes, [(part.start, part.stop) for part in train])
        layout, states = svd.finish(self.merged(svd, train, key), modes)
        rest = self.merged(EofStateSummary(self.fields, layout), validation, key)
        series = np.full((len(self.fields.time), modes), np.nan)
        series[times_of(train)] = states
        series[times_of(validation)] = rest["states"]
        zarr.create_array(
            self.series,
            data=series,
            chunks=(min(len(series), 4096), modes),
            overwrite=True,
        )
        return layout

    @property
    def series(self) -> Path:
        """The states of all training and validation times: (times, modes), else NaN."""
        return self.checkpoints.path / "series"

    @cached_property
    def states(self) -> Array:
        """The same, read."""
        return np.asarray(zarr.open_array(self.series, mode="r")[...])

    def forcing(self) -> Forcing:
        return Forcing.calendar(self.experiment.model.inputs)

    def rows(self, variant: Experiment, network: SampledRNN) -> RowSummary:
        """The training pass of one candidate."""
        states = StoredStates(self.series, variant.state.modes)
        return RowSummary(network, states, self.forcing(), self.fields.time)

    def candidates(self, layout: EofLayout) -> tuple[Candidate, ...]:
        return tuple(self._candidate(*pair) for pair in self.experiment.candidates())

    def _candidate(self, values: dict[str, Any], variant: Experiment) -> Candidate:
        model, modes = variant.model, variant.state.modes
        states = self.states
        network = replace(self.network(variant), inputs=self.forcing().count)
        train, validation = (
            row_leaves(variant, self.fields, name) for name in ("train", "validation")
        )
        pool = draw_pool(states[:, :modes], train, network.delays, variant.fit.pool, model.seed)
        seen = np.zeros((network.delays, modes), dtype=bool)
        seen[: model.hidden_delays, : model.hidden_modes] = True
        network = network.sample(*pool, seen.reshape(-1))
        rows, key = self.rows(variant, network), self.rows_key(variant, states.shape)
        found = self.reduce(rows, train + validation, key)
        keys = fold_keys(rows.name, key, train + validation)
        targets = times_of(validation)[:, None] + np.asarray(network.leads)
        squares = np.square(states[targets]).mean(axis=0)
        return Candidate(
            values=values,
            network=network,
            size=modes,
            summary=rows.name,
            folds={
                fold: FoldTriangle(keys[fold], int(found[fold]["rows"].sum())) for fold in found
            },
            variance=squares.sum(axis=1),
            beyond=squares[:, modes:].sum(axis=1),
        )

    def tail(self, layout: EofLayout, last: int, count: int) -> Array:
        return last_states(self.states, self.fields.time, last, count)

    def lagged(self, layout: EofLayout, best: int, candidate: Candidate, horizon: int) -> Array:
        _, variant = self.experiment.candidates()[best]
        train = row_leaves(variant, self.fields, "train")
        return lagged_covariance(self.states, train, horizon)

    def sample(
        self, layout: EofLayout, best: int, candidate: Candidate
    ) -> tuple[RowSummary, Stretch]:
        _, variant = self.experiment.candidates()[best]
        rows = self.rows(variant, candidate.network)
        return rows, sample_of(rows, row_leaves(variant, self.fields, "train"))

    def notes(self, layout: EofLayout) -> tuple[dict[str, Array], dict[str, Any]]:
        variance = np.square(layout.singular_values) / layout.total
        return {"eof_variance": variance}, {"variance_kept": layout.variance_kept}
