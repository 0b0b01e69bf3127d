"""A fit on EOFs: the states of all times are stored, and the training pass reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.reduction.checkpoints import Arrays, content_key
from gfrnn.pipeline.reduction.reduce import fold_keys
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Scaling
from gfrnn.pipeline.states.eof_states import EofLayout, EofSummary
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.pass_costs import NO_READS, PassCost, precision_cost, read_windows
from gfrnn.pipeline.training.passes import FunctionPass, Passes, ReductionPass
from gfrnn.pipeline.training.rows import RowSummary, StoredStates
from gfrnn.pipeline.training.selection.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.state_series import (
    draw_pool,
    lagged_covariance,
    last_states,
    save_series,
    times_of,
)
from gfrnn.pipeline.training.training import Training, TrainingRows, precision_leaf
from gfrnn_core import SampledRNN

Array = NDArray[Any]


class EofTraining(Training):
    """A fit on EOFs: passes for climatology, EOFs and states, then one pass per candidate."""

    @property
    def modes(self) -> int:
        """Number of EOFs that the candidates need."""
        return max(variant.state.modes for _, variant in self.experiment.candidates())

    def layout_passes(self) -> Passes[EofLayout]:
        """Yield climatology, EOFs and states; the states of all times in use go to disk."""
        fields, modes = self.fields, self.modes
        train, validation = self.reads("train"), self.reads("validation")
        scaling = Scaling(fields.grid, (yield self.climatology_pass()))

        def key() -> str:
            cuts = [(part.start, part.stop) for part in train]
            return content_key(self.climatology_key, modes, cuts)

        # Twice the modes: truncation in a leaf then hardly affects the modes that are kept.
        svd = EofSummary(fields, scaling, rank=2 * modes)
        vectors = np.zeros((modes, fields.grid.size))
        planned = EofLayout(scaling, vectors, np.ones(modes), 1.0, len(fields.time))
        layout, states = yield ReductionPass(
            summary=svd,
            stretches=train,
            key=key,
            windows=read_windows(train),
            finish=lambda root: svd.finish(root, modes),
            placeholder=(planned, None),
            joined=True,
        )

        def save_states(root: Arrays) -> None:
            series = np.full((len(fields.time), modes), np.nan)
            series[times_of(train)] = states
            series[times_of(validation)] = root["states"]
            save_series(self.series, series)

        yield ReductionPass(
            summary=StateSummary(fields, layout),
            stretches=validation,
            key=key,
            windows=read_windows(validation),
            finish=save_states,
            joined=True,
        )
        return layout

    @property
    def series(self) -> Path:
        """Path of the states of all times, (times, modes); NaN outside training and validation."""
        return self.checkpoints.path / "series"

    @cached_property
    def states(self) -> Array:
        """The states of all times, read from :attr:`series`."""
        return np.asarray(zarr.open_array(self.series, mode="r")[...])

    def forcing(self) -> Forcing:
        return Forcing.calendar(self.experiment.model.inputs)

    def rows(self, variant: Experiment, network: SampledRNN) -> RowSummary:
        """Return the summary that makes the triangles of one candidate."""
        states = StoredStates(self.series, variant.state.modes)
        return RowSummary(network, states, self.forcing(), self.fields.time)

    def row_passes(self, layout: EofLayout) -> Passes[list[TrainingRows]]:
        """Yield one pass over the states for each candidate."""
        found = []
        for values, variant in self.experiment.candidates():
            train, validation = (
                row_leaves(variant, self.fields, name) for name in ("train", "validation")
            )
            network = yield FunctionPass(
                run=partial(self._sample_network, variant, train),
                placeholder=self._placeholder_network(variant),
            )
            rows = self.rows(variant, network)

            def key(variant: Experiment = variant) -> str:
                return self.rows_key(variant, self.states.shape)

            candidate = yield ReductionPass(
                summary=rows,
                stretches=train + validation,
                key=key,
                windows=NO_READS,
                finish=partial(self._candidate, values, rows, key, train, validation),
            )
            leaf = precision_leaf(rows, train)
            found.append(TrainingRows(rows, leaf, variant.state.modes, candidate))
        return found

    def _sample_network(self, variant: Experiment, train: list[Stretch], *_: Any) -> SampledRNN:
        """Return the network of a candidate, its hidden weights drawn from training states."""
        model, modes = variant.model, variant.state.modes
        network = replace(self.network(variant), inputs=self.forcing().count)
        states = self.states[:, :modes]
        forcing = self.forcing()(self.fields.time) if network.joint else None
        pool = draw_pool(states, train, network.delays, variant.fit.pool, model.seed, forcing)
        seen = np.zeros((network.delays, modes), dtype=bool)
        seen[: model.hidden_delays, : model.hidden_modes] = True
        joined = np.ones(self._joined(variant), dtype=bool)
        return network.sample(*pool, np.concatenate([seen.reshape(-1), joined]))

    def _placeholder_network(self, variant: Experiment) -> SampledRNN:
        """Return a network of the same size, for estimates."""
        network = replace(self.network(variant), sampling="normal", inputs=self.forcing().count)
        seen = variant.state.delays * variant.state.modes + self._joined(variant)
        return network.sample(np.zeros((1, seen)))

    def network(self, variant: Experiment) -> SampledRNN:
        return replace(super().network(variant), joint=self._joined(variant) > 0)

    def _joined(self, variant: Experiment) -> int:
        """Return the number of inputs that hidden features see."""
        return self.forcing().count if variant.model.joint_inputs else 0

    def _candidate(
        self,
        values: dict[str, Any],
        rows: RowSummary,
        key: Callable[[], str],
        train: list[Stretch],
        validation: list[Stretch],
        found: dict[str, Arrays],
    ) -> Candidate:
        """Describe the triangles of a candidate, which are among the checkpoints."""
        network, modes = rows.network, rows.states.size
        keys = fold_keys(rows.name, key(), train + validation)
        targets = times_of(validation)[:, None] + np.asarray(network.leads)
        squares = np.square(self.states[targets]).mean(axis=0)
        return Candidate(
            values=values,
            network=network,
            size=modes,
            summary=rows.name,
            folds={
                fold: FoldTriangle(keys[fold], int(found[fold]["rows"].sum())) for fold in found
            },
            variance=squares.sum(axis=1),
            truncated_variance=squares[:, modes:].sum(axis=1),
        )

    def sample_cost(self, rows: list[TrainingRows]) -> PassCost:
        leaf = max((each.leaf for each in rows), key=lambda part: part.stop - part.start)
        return precision_cost([each.rows for each in rows], leaf, NO_READS)

    def tail(self, layout: EofLayout, last: int, count: int) -> Array:
        return last_states(self.states, self.fields.time, last, count)

    def lagged(self, layout: EofLayout, best: int, candidate: Candidate, horizon: int) -> Array:
        _, variant = self.experiment.candidates()[best]
        train = row_leaves(variant, self.fields, "train")
        return lagged_covariance(self.states, train, horizon)

    def notes(self, layout: EofLayout) -> tuple[dict[str, Array], dict[str, Any]]:
        variance = np.square(layout.singular_values) / layout.total
        return {"eof_variance": variance}, {"variance_kept": layout.variance_kept}
