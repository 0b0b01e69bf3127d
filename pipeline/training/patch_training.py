"""A fit on patches of the grid: rows are made from the archive's fields in a single pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.data.time_axis import segments
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import fold_keys
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.forcing import Forcing, input_width
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.states.sampled_features import patch_features
from gfrnn.pipeline.states.sphere_patches import cut_patches, patch_area_weights, weight_groups
from gfrnn.pipeline.training.checks import POOL_TIMES, local_forcing, row_leaves
from gfrnn.pipeline.training.pass_costs import (
    PassCost,
    StateCall,
    call_cost,
    precision_cost,
    solve_cost,
)
from gfrnn.pipeline.training.passes import FunctionPass, Passes, ReductionPass
from gfrnn.pipeline.training.rows import FieldStates, RowSummary, SharedRows
from gfrnn.pipeline.training.selection.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.selection.first_round import SearchRound
from gfrnn.pipeline.training.selection.preliminary_solves import DEFAULT_FIT, residual_spectra
from gfrnn.pipeline.training.state_series import times_of
from gfrnn.pipeline.training.training import (
    STATE_RANGE,
    Candidates,
    Training,
    TrainingRows,
    placeholder_pool,
    precision_leaf,
)
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import Patches, RFactor, SampledRNN
from gfrnn_core.local_features import GridFeatures, LatticeFeatures
from gfrnn_core.regression_rows import pooled

Array = NDArray[Any]

# Lower bound of autocorrelations, so that their logarithm is finite.
_LEAST_AUTOCORRELATION = 1e-6


class LocalTraining(Training):
    """A fit on patches: a pass for the climatology, then one over the fields for all candidates."""

    def layout_passes(self) -> Passes[LocalLayout]:
        """Yield the climatology."""
        climatology = yield self.climatology_pass()
        return LocalLayout(Scaling(self.fields.grid, climatology, area_weighted=False))

    @property
    def layout_without_climatology(self) -> LocalLayout:
        """The layout with a climatology of zero, for use before the climatology is known."""
        flat = Climatology.zero(*self.terms, self.fields.grid)
        return LocalLayout(Scaling(self.fields.grid, flat, area_weighted=False))

    @cached_property
    def patches(self) -> Patches:
        """Patches of the first candidate; those of all candidates own the same cells."""
        return cut_patches(self.experiment.candidates()[0][1].state, self.fields.grid)

    @cached_property
    def _forcing(self) -> Forcing:
        return local_forcing(self.experiment, self.fields.grid)

    def forcing(self) -> Forcing:
        return self._forcing

    @cached_property
    def weights(self) -> Array:
        """Weight of a row of each place: shape (places,)."""
        return patch_area_weights(self.fields.grid, self.patches)

    @cached_property
    def stretches(self) -> list[Stretch]:
        """Leaves of the training pass, the same for all candidates."""
        return [
            part
            for name in ("train", "validation")
            for part in row_leaves(self.experiment, self.fields, name)
        ]

    def local_network(self, variant: Experiment) -> SampledRNN:
        """Return the network of one candidate, without hidden or outer weights."""
        patches, bound = cut_patches(variant.state, self.fields.grid), variant.model.bound
        return replace(
            self.network(variant),
            patches=patches,
            groups=weight_groups(variant.state, self.fields.grid, patches),
            joint=self._forcing.count > 0,
            inputs=self._forcing.count,
            # The root mean square of each channel's states in training is 1.
            limit=None if bound is None else np.array(bound),
            low=np.array(-STATE_RANGE) if bound is None else None,
            high=np.array(STATE_RANGE) if bound is None else None,
            mask=self.layout_without_climatology.mask,
        )

    def seen(self, variant: Experiment, network: SampledRNN) -> Array:
        """Return which delayed values and inputs hidden features see: bool, shape (values,)."""
        assert network.patches is not None
        seen = np.tile(network.patches.seen_by_hidden, (network.delays, 1))
        seen[variant.model.hidden_delays or network.delays :] = False
        inputs = np.ones(self._forcing.count, dtype=bool)
        if variant.model.joint_inputs is False:
            inputs[: sum(map(input_width, self._forcing.inputs))] = False  # static fields follow
        return np.concatenate([seen.reshape(-1), inputs])

    def rows(self, layout: LocalLayout, networks: list[SampledRNN]) -> SharedRows:
        """Return the summary that makes the triangles of all candidates."""
        states, time = FieldStates(self.fields, layout), self.fields.time
        return SharedRows(
            tuple(
                RowSummary(network, states, self._forcing, time, self.weights)
                for network in networks
            )
        )

    def network_passes(
        self, layout: LocalLayout, candidates: Candidates
    ) -> Passes[list[SampledRNN]]:
        """Yield the pools of patches from which hidden weights are drawn."""
        scales = yield from self._scale_pass(layout)
        networks = []
        for _, variant in candidates:
            networks.append((yield from self._sample_network(layout, variant, scales)))
        return networks

    def row_passes(
        self,
        layout: LocalLayout,
        candidates: Candidates,
        networks: list[SampledRNN],
        round_: SearchRound,
    ) -> Passes[list[TrainingRows]]:
        """Yield one pass over the fields for all candidates, and one that measures their noise."""
        values, models = (
            [values for values, _ in candidates],
            [each.model for _, each in candidates],
        )
        some = len(candidates) < len(self.experiment.candidates())
        parts = (*round_.key, json.dumps(values)) if some else round_.key
        networks = yield from self._add_residual_noise(layout, models, networks, parts)
        rows = self.rows(layout, networks)
        rows = replace(rows, name=f"{round_.prefix}{rows.name}")
        found = yield self._row_pass(rows, values, *parts)
        train = row_leaves(self.experiment, self.fields, "train")
        return [
            TrainingRows(part, precision_leaf(part, train), self.patches.owned, candidate)
            for part, candidate in zip(rows.parts, found, strict=True)
        ]

    def _row_pass(
        self, rows: SharedRows, values: list[dict[str, Any]], *parts: str
    ) -> ReductionPass:
        """Return the pass that makes the triangles of candidates; its results are the candidates.

        Parameters
        ----------
        values : list of dict
            Values of the searched keys by candidate.
        parts : str
            Parts of the checkpoint key besides the settings of the experiment.
        """

        def key() -> str:
            forcing = hashlib.sha256(self._forcing.values.tobytes()).hexdigest()
            return self.rows_key(self.experiment, self.experiment.search, forcing, *parts)

        def describe(found: dict[str, Arrays]) -> list[Candidate]:
            keys = fold_keys(rows.name, key(), self.stretches)
            return [
                self._candidate(own, part.network, rows, rows.prefix(index), keys, found)
                for index, (part, own) in enumerate(zip(rows.parts, values, strict=True))
            ]

        return ReductionPass(
            summary=rows,
            stretches=self.stretches,
            key=key,
            windows=np.array([rows.reach(part) for part in self.stretches]),
            finish=describe,
            placeholder=[None] * len(values),
        )

    def _add_residual_noise(
        self,
        layout: LocalLayout,
        models: list[ModelConfig],
        networks: list[SampledRNN],
        parts: tuple[str, ...],
    ) -> Passes[list[SampledRNN]]:
        """Yield the passes that measure one-step errors; return the networks with their noise."""
        noisy = [index for index, model in enumerate(models) if model.noise == "residual"]
        if not noisy:
            return networks
        one_step = [replace(networks[index], leads=(1,)) for index in noisy]
        rows = replace(self.rows(layout, one_step), name="noise")
        candidates = yield self._row_pass(rows, [{}] * len(noisy), "without noise", *parts)
        sizes = [self.patches.owned] * len(noisy)
        spectra = yield FunctionPass(
            run=partial(residual_spectra, candidates),
            cost=partial(
                solve_cost, rows.parts, DEFAULT_FIT, sizes, self.training_folds, name="noise solve"
            ),
            placeholder=[np.ones(self.patches.owned)] * len(noisy),
        )
        found = list(networks)
        for index, errors in zip(noisy, spectra, strict=True):
            by_channel = np.square(errors).reshape(-1, self.patches.channels).mean(axis=0)
            noise = models[index].noise_factor * np.sqrt(by_channel)
            found[index] = replace(networks[index], noise=noise)
        return found

    def _candidate(
        self,
        values: dict[str, Any],
        network: SampledRNN,
        rows: SharedRows,
        prefix: str,
        keys: dict[str, str],
        found: dict[str, Arrays],
    ) -> Candidate:
        """Describe the triangles of a candidate, which are among the checkpoints."""
        rows_of = {fold: int(arrays[f"{prefix}rows"].sum()) for fold, arrays in found.items()}
        years = self.experiment.fit.choice == "years"
        # One at a time: a triangle takes twice the memory of a packed one.
        scored = (
            Factors.from_arrays(arrays, prefix)
            for fold, arrays in found.items()
            if years or fold.startswith("validation/")
        )
        return Candidate(
            values=values,
            network=network,
            size=self.patches.owned,
            summary=rows.name,
            folds={fold: FoldTriangle(keys[fold], count) for fold, count in rows_of.items()},
            variance=mean_squares(network, scored),
            truncated_variance=np.zeros(len(network.leads)),
            prefix=prefix,
        )

    def sample_cost(self, rows: list[TrainingRows]) -> PassCost:
        widest = max(rows, key=lambda each: each.rows.columns / each.rows.places)
        windows = np.array([widest.rows.reach(widest.leaf)])
        sizes = [each.size for each in rows]
        return precision_cost(
            [each.rows for each in rows], sizes, self.experiment.fit, widest.leaf, windows
        )

    def _scale_pass(self, layout: LocalLayout) -> Passes[Array | None]:
        """Yield the pass for the scales of base fields; return them, or None if none are used."""
        models = [variant.model for _, variant in self.experiment.candidates()]
        featured = [model for model in models if model.features]
        if not featured:
            return None
        states = FieldStates(self.fields, layout)
        features = patch_features(featured[0], layout, self.patches)
        train = times_of([part for part in self.stretches if part.fold.startswith("train/")])
        times = train[np.linspace(0, len(train) - 1, min(len(train), POOL_TIMES)).astype(int)]
        needed = states.read_bytes(1) + features.time_bytes
        call = StateCall(squares_at_time, states, (features, int(times[0])))

        def run(_: Checkpoints, progress: Progress | None) -> Array:
            arguments = [(states, features, time) for time in times.tolist()]
            return np.sqrt(np.mean(run_tasks("scales", squares_at_time, arguments, progress), 0))

        windows = np.stack([times, times + 1], axis=1)
        scales: Array = yield FunctionPass(
            run=run,
            cost=lambda: call_cost("scales", len(times), needed, "data.region", windows, call),
            placeholder=features.features.scales,
        )
        return scales

    def _sample_network(
        self, layout: LocalLayout, variant: Experiment, scales: Array | None
    ) -> Passes[SampledRNN]:
        """Yield the pass for the pool from which hidden weights are drawn; return the network."""
        network = self.local_network(variant)
        if variant.model.features:
            assert network.patches is not None
            features = patch_features(variant.model, layout, network.patches, scales)
            width = network.width + features.columns
            network = replace(network, width=width, lattice_features=features)
        if network.sampling == "normal":  # drawn without data
            return self._drawn(variant, network)
        train = times_of([part for part in self.stretches if part.fold.startswith("train/")])
        count = min(len(train), variant.fit.pool, POOL_TIMES)

        def draw(_: Checkpoints, progress: Progress | None) -> SampledRNN:
            rng = np.random.default_rng(variant.model.seed)
            times = np.sort(rng.choice(train, count, replace=False))
            each = -(-variant.fit.pool // count)
            seeds = rng.integers(0, 2**32, count)
            states = FieldStates(self.fields, layout)
            arguments = [
                (states, network, self._forcing, time, each, seed)
                for time, seed in zip(times.tolist(), seeds.tolist(), strict=True)
            ]
            found = run_tasks("pool", draw_at_time, arguments, progress)
            pool, following = (np.concatenate(part) for part in zip(*found, strict=True))
            return self._drawn(variant, network, pool, following)

        placeholder = placeholder_pool(network, len(self.seen(variant, network)))
        planned = self._drawn(variant, network, placeholder, placeholder)
        drawn: SampledRNN = yield FunctionPass(
            run=draw,
            cost=lambda: self._pool_cost(
                FieldStates(self.fields, layout),
                planned,
                train,
                count,
                -(-variant.fit.pool // count),
            ),
            placeholder=planned,
        )
        return drawn

    def _pool_cost(
        self, states: FieldStates, network: SampledRNN, train: Array, count: int, each: int
    ) -> PassCost:
        """Estimate the gathering of patches at some training times."""
        # The seed decides the times but not the cost, so evenly spaced times serve.
        times = train[np.linspace(0, len(train) - 1, count).astype(int)]
        windows = np.stack([times - network.delays + 1, times + 2], axis=1)
        assert network.patches is not None
        gathered = network.patches.places * network.delays * network.patches.window
        # Three copies: each delay gathered, the delays joined, and the pool joined over times.
        needed = states.read_bytes(network.delays + 1) + 3 * 8 * gathered
        call = StateCall(draw_at_time, states, (network, self._forcing, int(times[0]), each, 0))
        return call_cost("pool", count, needed, "data.region or state.halo", windows, call)

    def _drawn(
        self,
        variant: Experiment,
        network: SampledRNN,
        pool: Array | None = None,
        following: Array | None = None,
    ) -> SampledRNN:
        """Return the network with hidden weights; normal ones need no pool."""
        seen = self.seen(variant, network)
        return network.sample(np.zeros((1, len(seen))) if pool is None else pool, following, seen)

    def states_of(self, layout: LocalLayout) -> FieldStates:
        return FieldStates(self.fields, layout)

    def tail(self, layout: LocalLayout, last: int, count: int) -> Array:
        time = self.fields.time
        (run,) = [part for part in segments(time) if part.start <= last < part.stop]
        return FieldStates(self.fields, layout).read(max(run.start, last - count + 1), last + 1)

    def lagged(self, layout: LocalLayout, candidate: Candidate, horizon: int) -> Array:
        names = candidate.names("train")
        factors = (candidate.factor(self.checkpoints, [name]) for name in names)
        known = autocorrelation(candidate.network, factors)
        return decaying_autocorrelation(known, candidate.network.leads, horizon)

    def notes(self, layout: LocalLayout) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {"patches": int(np.count_nonzero(self.weights))}


def draw_at_time(
    states: FieldStates, network: SampledRNN, forcing: Forcing, time: int, count: int, seed: int
) -> tuple[Array, Array]:
    """Return delayed values at randomly chosen places of one time, and the next values there."""
    first = time - network.delays + 1
    series = states.read(first, time + 2)
    inputs = forcing(states.fields.time[first : time + 2])
    pool, following = pooled(
        [series], network.delays, network.patches, seed, None if inputs is None else [inputs]
    )
    chosen = np.random.default_rng(seed).choice(len(pool), min(count, len(pool)), replace=False)
    return pool[chosen], following[chosen]


def squares_at_time(states: FieldStates, features: LatticeFeatures, time: int) -> Array:
    """Return the mean squares of the base fields of one time: shape (channels, 6)."""
    base = features.base_fields(states.read(time, time + 1))
    return np.square(GridFeatures.scales_of(base))


def mean_squares(network: SampledRNN, folds: Iterable[Factors]) -> Array:
    """Return the mean over rows of the squared norm of the target states: shape (leads,)."""
    total, rows = np.zeros(len(network.leads)), 0
    for fold in folds:
        for part in fold.parts:
            total += np.square(_targets(network, part)).sum(axis=(0, 2))
        rows += fold.rows
    return total / rows


def autocorrelation(network: SampledRNN, folds: Iterable[Factors]) -> Array:
    """Return each channel's autocorrelation over all cells at a network's leads.

    Returns
    -------
    ndarray, shape (leads, channels)
    """
    assert network.patches is not None
    leads, channels = len(network.leads), network.patches.channels
    products, squares = np.zeros((2, leads, channels))
    for fold in folds:
        for part in fold.parts:
            present, later = part.triangle[:, None, _present(network)], _targets(network, part)
            shape = (len(part.triangle), leads, -1, channels)
            products += (present * later).reshape(shape).sum(axis=(0, 2))
            # Squares of the targets alone, as training noise is added to the present values.
            squares += np.square(later).reshape(shape).sum(axis=(0, 2))
    return products / squares


def decaying_autocorrelation(known: Array, leads: Sequence[int], horizon: int) -> Array:
    """Return the autocorrelation at leads 0 to a horizon: shape (horizon + 1, channels).

    Parameters
    ----------
    known : ndarray, shape (len(leads), channels)
        Autocorrelation at some leads. It is taken to decay exponentially between these, and
        beyond the last at the mean rate up to it.
    leads : sequence of int
        Leads in steps, increasing.
    horizon : int
        Last lead in steps.
    """
    decay = -np.log(np.clip(known, _LEAST_AUTOCORRELATION, 1.0))
    wanted, last = np.arange(horizon + 1), leads[-1]
    decays = [np.interp(wanted, [0, *leads], [0.0, *own]) for own in decay.T]
    beyond = np.maximum(wanted / last, 1.0)[:, None]
    return np.asarray(np.exp(-np.stack(decays, axis=1) * beyond))


def _present(network: SampledRNN) -> Array:
    """Return the columns of the present values of the cells that a patch owns."""
    assert network.patches is not None
    alone = replace(network.patches, inner=((0, 0), (0, 0)))
    return np.flatnonzero(alone.seen_by_hidden)


def _targets(network: SampledRNN, factor: RFactor) -> Array:
    """Return the target columns as states, also for increments: (rows, leads, own values)."""
    assert network.patches is not None
    leads, own = len(network.leads), network.patches.owned
    targets = factor.triangle[:, factor.columns - leads * own :].reshape(-1, leads, own)
    if network.target == "increment":
        targets = targets + factor.triangle[:, None, _present(network)]
    return targets
