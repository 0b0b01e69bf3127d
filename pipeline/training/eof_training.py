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
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.reduction.checkpoints import Arrays, content_digest, content_key
from gfrnn.pipeline.reduction.reduce import fold_keys
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Scaling
from gfrnn.pipeline.states.eof_states import EofLayout, EofSummary
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.pass_costs import (
    NO_READS,
    PassCost,
    precision_cost,
    read_windows,
    solve_cost,
)
from gfrnn.pipeline.training.passes import FunctionPass, Passes, ReductionPass
from gfrnn.pipeline.training.rows import RowSummary, StoredStates
from gfrnn.pipeline.training.selection.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.selection.first_round import SearchRound
from gfrnn.pipeline.training.selection.preliminary_solves import (
    DEFAULT_FIT,
    residual_spectra,
    solve_linear_model,
)
from gfrnn.pipeline.training.state_series import (
    draw_pool,
    lagged_covariance,
    last_states,
    save_series,
    times_of,
)
from gfrnn.pipeline.training.stretches import known_times
from gfrnn.pipeline.training.training import (
    STATE_RANGE,
    Candidates,
    Training,
    TrainingRows,
    placeholder_pool,
    precision_leaf,
)
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
            key=lambda: content_key(key(), content_digest(layout.vectors), self.fingerprint),
            windows=read_windows(validation),
            finish=save_states,
            joined=True,
        )
        return layout

    @cached_property
    def _states_digest(self) -> str:
        """Digest of the states, which changes when EOFs are computed anew with other signs."""
        known = known_times(
            self.fields.time, self.experiment.periods.train, self.experiment.periods.validation
        )
        return content_digest(self.states[known])

    @property
    def series(self) -> Path:
        """Path of the states of all times, (times, modes); NaN outside training and validation."""
        return self.checkpoints.path / "series"

    @cached_property
    def states(self) -> Array:
        """The states of all times, read from :attr:`series`."""
        return np.asarray(zarr.open_array(self.series, mode="r")[...])

    def _stored_states(self, modes: int) -> StoredStates:
        """Return one source for all candidates, as it keeps the states where they are small."""
        return self._sources.setdefault(modes, StoredStates(self.series, modes))

    @cached_property
    def _sources(self) -> dict[int, StoredStates]:
        return {}

    def forcing(self) -> Forcing:
        return Forcing.calendar(self.experiment.model.inputs)

    def rows(
        self, variant: Experiment, network: SampledRNN, name: str = RowSummary.name
    ) -> RowSummary:
        """Return the summary that makes the triangles of one candidate."""
        states = self._stored_states(variant.state.modes)
        return RowSummary(network, states, self.forcing(), self.fields.time, name=name)

    def network_passes(self, layout: EofLayout, candidates: Candidates) -> Passes[list[SampledRNN]]:
        """Yield the passes of the linear models whose forecasts hidden features see."""
        variants = [variant for _, variant in candidates]
        linear = yield from self._linear_models(variants)
        networks = []
        for variant, weights in zip(variants, linear, strict=True):
            limit = self._limit(layout, variant)
            sampled = yield FunctionPass(
                run=partial(self._sample_network, variant, weights, limit),
                placeholder=self._placeholder_network(variant),
            )
            networks.append(sampled)
        return networks

    def row_passes(
        self,
        layout: EofLayout,
        candidates: Candidates,
        networks: list[SampledRNN],
        round_: SearchRound,
    ) -> Passes[list[TrainingRows]]:
        """Yield one pass over the states for each candidate, and those that measure its noise."""
        variants = [variant for _, variant in candidates]
        networks = yield from self._add_residual_noise(variants, networks, round_)
        found = []
        for (values, variant), network in zip(candidates, networks, strict=True):
            rows = self.rows(variant, network, f"{round_.prefix}{RowSummary.name}")
            candidate = yield self._row_pass(rows, variant, values, *round_.key)
            leaf = precision_leaf(rows, row_leaves(variant, self.fields, "train"))
            found.append(TrainingRows(rows, leaf, variant.state.modes, candidate))
        return found

    def _limit(self, layout: EofLayout, variant: Experiment) -> Array | None:
        """Return the magnitude to which rollouts limit each mode."""
        bound = variant.model.bound
        if bound is None:
            return None
        sizes = layout.singular_values[: variant.state.modes] / np.sqrt(layout.times)
        return np.asarray(bound * sizes / layout.state_scale)

    def _row_pass(
        self, rows: RowSummary, variant: Experiment, values: dict[str, Any], *parts: str
    ) -> ReductionPass:
        """Return the pass that makes the triangles of a candidate; its result is the candidate.

        Parameters
        ----------
        parts : str
            Parts of the checkpoint key besides the settings of the candidate.
        """
        train, validation = (
            row_leaves(variant, self.fields, name) for name in ("train", "validation")
        )

        def key() -> str:
            return self.rows_key(variant, self._states_digest, *parts)

        return ReductionPass(
            summary=rows,
            stretches=train + validation,
            key=key,
            windows=NO_READS,
            finish=partial(self._candidate, values, rows, key, train, validation),
        )

    def _linear_models(self, variants: list[Experiment]) -> Passes[list[Array | None]]:
        """Yield the passes of the linear models whose forecasts hidden features see.

        Returns
        -------
        list of ndarray, shape (features, modes), or None
            Outer weights of one step by candidate; None where hidden features see states only.
            Candidates of the same linear model share one pass.
        """
        solved: dict[str, Array] = {}
        found: list[Array | None] = []
        for variant in variants:
            if "linear" not in variant.model.hidden_inputs:
                found.append(None)
                continue
            linear = linear_variant(variant)
            name = linear.model_dump_json()
            if name not in solved:
                network = self._placeholder_network(linear)
                rows = self.rows(linear, replace(network, leads=(1,)), "linear")
                candidate = yield self._row_pass(rows, linear, {}, "one step")
                modes = linear.state.modes
                solved[name] = yield FunctionPass(
                    run=partial(solve_linear_model, candidate),
                    cost=partial(
                        solve_cost,
                        [rows],
                        DEFAULT_FIT,
                        [modes],
                        self.training_folds,
                        name="linear solve",
                    ),
                    placeholder=np.zeros((rows.features, modes)),
                )
            found.append(solved[name])
        return found

    def _add_residual_noise(
        self, variants: list[Experiment], networks: list[SampledRNN], round_: SearchRound
    ) -> Passes[list[SampledRNN]]:
        """Yield the passes that measure one-step errors; return the networks with their noise."""
        found = []
        for variant, network in zip(variants, networks, strict=True):
            if variant.model.noise != "residual":
                found.append(network)
                continue
            rows = self.rows(variant, replace(network, leads=(1,)), "noise")
            candidate = yield self._row_pass(rows, variant, {}, "without noise", *round_.key)
            modes = variant.state.modes
            (errors,) = yield FunctionPass(
                run=partial(residual_spectra, [candidate]),
                cost=partial(
                    solve_cost,
                    [rows],
                    DEFAULT_FIT,
                    [modes],
                    self.training_folds,
                    name="noise solve",
                ),
                placeholder=[np.ones(modes)],
            )
            found.append(replace(network, noise=variant.model.noise_factor * errors))
        return found

    def _sample_network(
        self, variant: Experiment, linear: Array | None, limit: Array | None, *_: Any
    ) -> SampledRNN:
        """Return the network of a candidate, its hidden weights drawn from training states."""
        model, modes = variant.model, variant.state.modes
        network = replace(
            self.network(variant),
            inputs=self.forcing().count,
            limit=limit,
            # The first mode has a standard deviation of 1, all others of less.
            low=np.array(-STATE_RANGE) if limit is None else None,
            high=np.array(STATE_RANGE) if limit is None else None,
        )
        states = self.states[:, :modes]
        forcing = self.forcing()(self.fields.time) if network.joint else None
        train = row_leaves(variant, self.fields, "train")
        by_mode = network.sampling == "quadratic"
        seed = 0 if by_mode else model.seed  # nothing about products is drawn
        pool = draw_pool(states, train, network.delays, variant.fit.pool, seed, forcing)
        seen = np.zeros((network.delays, modes), dtype=bool)
        seen[: model.hidden_delays, : model.hidden_modes] = True
        joined = np.ones(self._joined(variant), dtype=bool)
        entries = np.concatenate([seen.reshape(-1), joined])
        if linear is None and not by_mode:
            return network.sample(*pool, entries)
        each = np.eye(len(entries))
        present, inputs = each[:, : seen.size][:, seen.reshape(-1)], each[:, seen.size :]
        parts = {"state": present}
        if linear is not None:
            # Other rows of the linear model, such as the constant, would only shift the features.
            weights = linear[: len(entries), : model.hidden_modes].copy()
            if network.target == "increment":
                weights[: weights.shape[1]] += np.eye(weights.shape[1])
            parts["linear"] = weights
        combined = equal_spreads(pool[0], [parts[name] for name in model.hidden_inputs], present)
        if by_mode:
            # Products of inputs and leading modes come first, of whatever delay or forecast.
            order = np.arange(combined.shape[1]).reshape(-1, model.hidden_modes or modes).T
            return network.sample(
                *pool, np.concatenate([inputs, combined[:, order.reshape(-1)]], axis=1)
            )
        return network.sample(*pool, np.concatenate([combined, inputs], axis=1))

    def _placeholder_network(self, variant: Experiment) -> SampledRNN:
        """Return a network of the same size, for estimates."""
        network = replace(self.network(variant), inputs=self.forcing().count)
        seen = variant.state.delays * variant.state.modes + self._joined(variant)
        pool = placeholder_pool(network, seen)
        return network.sample(pool, pool)

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
        scored = train + validation if self.experiment.fit.choice == "years" else validation
        targets = times_of(scored)[:, None] + np.asarray(network.leads)
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
        sizes = [each.size for each in rows]
        return precision_cost(
            [each.rows for each in rows], sizes, self.experiment.fit, leaf, NO_READS
        )

    def states_of(self, layout: EofLayout) -> StoredStates:
        return self._stored_states(layout.modes)

    def tail(self, layout: EofLayout, last: int, count: int) -> Array:
        return last_states(self.states, self.fields.time, last, count)

    def lagged(self, layout: EofLayout, candidate: Candidate, horizon: int) -> Array:
        variant = self.experiment.with_values(candidate.values)
        train = row_leaves(variant, self.fields, "train")
        return lagged_covariance(self.states, train, horizon)

    def notes(self, layout: EofLayout) -> tuple[dict[str, Array], dict[str, Any]]:
        variance = np.square(layout.singular_values) / layout.total
        return {"eof_variance": variance}, {
            "variance_kept": layout.variance_kept,
            "climatology_error": self._climatology_error(layout),
        }

    def _climatology_error(self, layout: EofLayout) -> float:
        """Return the RMSE of the climatology over that of the training mean, on validation."""
        scaling, time = layout.scaling, self.fields.time
        train, validation = (times_of(self.reads(name)) for name in ("train", "validation"))
        # States are anomalies from the climatology; the mean is that of the climatology at the
        # training times, as residuals of least squares with a constant have none.
        cycle = layout.project(scaling.climatology.coefficients * scaling.weights)
        design = scaling.climatology.design_matrix
        states = self.states[validation, : layout.modes]
        from_mean = states + (design(time[validation]) - design(time[train]).mean(axis=0)) @ cycle
        return float(np.sqrt(np.square(states).sum() / np.square(from_mean).sum()))


def linear_variant(variant: Experiment) -> Experiment:
    """Return the experiment of the linear model whose forecast hidden features see.

    It has the keys only that decide a linear model, so that candidates of one linear model are
    found to be alike. It is the same in all seasons, whatever ``model.season_terms`` says.
    """
    model = variant.model
    noise = 0.0 if model.noise == "residual" else model.noise
    names = ("target", "leads", "inputs", "joint_inputs", "precision")
    kept = {name: getattr(model, name) for name in names}
    return variant.model_copy(
        update={"model": ModelConfig(width=0, noise=noise, **kept), "fit": DEFAULT_FIT}
    )


def equal_spreads(pool: Array, parts: list[Array], reference: Array) -> Array:
    """Join linear combinations of delayed states, each group scaled to the spread of the states.

    Parameters
    ----------
    pool : ndarray, shape (states, inputs)
        Delayed states.
    parts : list of ndarray, shape (inputs, values)
        Weights of the combinations.
    reference : ndarray, shape (inputs, values)
        Weights of the combinations whose spread, the root mean square distance from the mean,
        all groups are scaled to.

    Returns
    -------
    ndarray, shape (inputs, values of all groups)
    """

    def spread(weights: Array) -> float:
        values = pool @ weights
        return float(np.sqrt(np.square(values - values.mean(axis=0)).sum()))

    wanted = spread(reference)
    return np.concatenate([part * (wanted / spread(part)) for part in parts], axis=1)
