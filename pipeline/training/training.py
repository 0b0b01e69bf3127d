"""The sequence of passes of a fit, which all layouts of the states share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.forcing import Forcing, season_columns
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.training.calibration.calibration_pass import (
    Calibration,
    calibration_errors,
    calibration_factors,
    calibration_passes,
)
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.checks import model_leads, row_leaves
from gfrnn.pipeline.training.ensembles.error_archive import ErrorArchive
from gfrnn.pipeline.training.ensembles.error_passes import error_passes
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import CandidateScore, ModelNotes, TriangleLocation
from gfrnn.pipeline.training.pass_costs import PassCost, final_solve_cost, solve_cost
from gfrnn.pipeline.training.passes import (
    FunctionPass,
    Passes,
)
from gfrnn.pipeline.training.rows import RowSummary, States
from gfrnn.pipeline.training.selection.candidates import Candidate, FittedCandidates
from gfrnn.pipeline.training.selection.choose_model import (
    SelectedModel,
    choose_model,
    final_solve,
    has_final_solve,
)
from gfrnn.pipeline.training.selection.first_round import (
    FULL_WIDTH,
    SearchRound,
    finalists,
    first_solve_pass,
)
from gfrnn.pipeline.training.selection.precision import PrecisionSample
from gfrnn.pipeline.training.state_series import times_of
from gfrnn.pipeline.training.stretches import steps
from gfrnn_core import SampledRNN

Array = NDArray[Any]
Candidates: TypeAlias = Sequence[tuple[dict[str, Any], Experiment]]
"""Values of the searched keys and the experiment of each candidate."""

# Rows per column in the sample on which the precision of the rows is measured.
_SAMPLE_ROWS_PER_COLUMN = 4

STATE_RANGE = 20.0
"""Magnitude of a value of a state that no weather reaches: standard deviations of a channel of a
cell, or of the first mode. Without a bound, a rollout three times as far from zero has diverged."""


@dataclass(frozen=True)
class TrainingRows:
    """The rows of one candidate, and the candidate with their triangles.

    Attributes
    ----------
    rows : RowSummary
    leaf : Stretch
        Part of the training period on which the precision is measured.
    size : int
        Number of values that a row predicts at each lead.
    candidate : Candidate
        Candidate with the triangles of the rows; None while a fit is only planned.
    """

    rows: RowSummary
    leaf: Stretch
    size: int
    candidate: Candidate


@dataclass(frozen=True)
class TrainingResults:
    """The results of all passes of a fit.

    Attributes
    ----------
    layout : EofLayout or LocalLayout
        Conversion between fields and states.
    candidates : tuple of Candidate
        Candidates with their triangles.
    chosen : SelectedModel
        The part of the model that is computed from the triangles.
    precision : dict
        Precision of the rows, and error and seconds of either precision on a sample of them.
    calibration : Calibration or None
    errors : ErrorArchive or None
        Errors of forecasts of the validation period, if there are ensembles.
    first_round : list of CandidateScore
        Errors of all candidates of a first round of the search, if there is one.
    """

    layout: EofLayout | LocalLayout
    candidates: tuple[Candidate, ...]
    chosen: SelectedModel
    precision: dict[str, Any]
    calibration: Calibration | None
    errors: ErrorArchive | None
    first_round: list[CandidateScore]


@dataclass(frozen=True)
class Training(FieldPasses, ABC):
    """A fit of sampled networks for one layout of the states, as a sequence of passes."""

    # Methods that each layout implements

    @abstractmethod
    def layout_passes(self) -> Passes[Any]:
        """Yield the passes that come before the rows; return the layout."""

    @abstractmethod
    def network_passes(self, layout: Any, candidates: Candidates) -> Passes[list[SampledRNN]]:
        """Yield the passes that hidden weights need; return the network of every candidate."""

    @abstractmethod
    def row_passes(
        self, layout: Any, candidates: Candidates, networks: list[SampledRNN], round_: SearchRound
    ) -> Passes[list[TrainingRows]]:
        """Yield the passes that make the triangles of networks; return their rows."""

    @abstractmethod
    def sample_cost(self, rows: list[TrainingRows]) -> PassCost:
        """Estimate the measurement of the rows' precision for the most expensive candidate."""

    @abstractmethod
    def forcing(self) -> Forcing:
        """Return the inputs of the network."""

    @abstractmethod
    def states_of(self, layout: Any) -> States:
        """Return the source of the states of the training and validation periods."""

    @abstractmethod
    def tail(self, layout: Any, last: int, count: int) -> Array:
        """Return the states of up to ``count`` times that end with ``last``: (times, size)."""

    @abstractmethod
    def lagged(self, layout: Any, candidate: Candidate, horizon: int) -> Array:
        """Return covariances of states with later ones, as the layout's ``damping`` takes them.

        Parameters
        ----------
        candidate : Candidate
            The best candidate.
        """

    @abstractmethod
    def notes(self, layout: Any) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the layout's own entries of the model's selection and notes."""

    # Methods that these layouts share

    def passes(self) -> Passes[TrainingResults]:
        """Yield all passes of the fit; return their results."""
        fit = self.experiment.fit
        layout = yield from self.layout_passes()
        rows, first = yield from self._search_passes(layout)
        candidates = tuple(each.candidate for each in rows)
        sizes = [each.size for each in rows]
        chosen = yield FunctionPass(
            run=lambda checkpoints, progress: choose_model(candidates, checkpoints, fit, progress),
            cost=lambda: solve_cost(
                [each.rows for each in rows],
                fit,
                sizes,
                self.training_folds,
                self.left_out_folds,
            ),
        )
        # Rollouts of the validation period tell most if its rows were not used.
        train_only = fit.model_copy(update={"refit": "none"})
        held_out = fit.calibration or self.experiment.forecast.members is not None
        if has_final_solve(train_only) and (held_out or fit == train_only):
            chosen = yield self._final_solve_pass(chosen, rows, train_only)
        rollouts = self._planned_rollouts(layout, rows)
        if chosen is not None:
            rollouts = replace(
                rollouts,
                networks=chosen.networks,
                mixture=chosen.mixture,
                linear=chosen.linear,
                quadratic=chosen.quadratic,
            )
        calibration = yield from calibration_passes(self, rollouts, self.states_of(layout))
        errors = yield from error_passes(self, rollouts, calibration)
        if fit != train_only:
            chosen = yield self._final_solve_pass(chosen, rows, fit)
        precision = yield FunctionPass(
            run=lambda checkpoints, progress: _measure_precision(
                rows[chosen.best], chosen, checkpoints, progress
            ),
            cost=lambda: self.sample_cost(rows),
        )
        return TrainingResults(layout, candidates, chosen, precision, calibration, errors, first)

    def _search_passes(
        self, layout: Any
    ) -> Passes[tuple[list[TrainingRows], list[CandidateScore]]]:
        """Yield the passes of the first round, if there is one, then those of its best candidates.

        Returns
        -------
        rows : list of TrainingRows
            Rows of the candidates that have all hidden features.
        first : list of CandidateScore
            Errors of all candidates in the first round.
        """
        fit, candidates = self.experiment.fit, self.experiment.candidates()
        networks = yield from self.network_passes(layout, candidates)
        if fit.finalists is None or fit.finalists >= len(candidates):
            every = yield from self.row_passes(layout, candidates, networks, FULL_WIDTH)
            return every, []
        first_round = SearchRound("first ", fit.first_width)
        narrow = [
            network.narrowed(network.lattice_columns + fit.first_width) for network in networks
        ]
        rows = yield from self.row_passes(layout, candidates, narrow, first_round)
        scores = yield first_solve_pass(
            [each.rows for each in rows],
            [each.candidate for each in rows],
            [each.size for each in rows],
            self.training_folds,
        )
        chosen = finalists(scores, fit.finalists)
        found = yield from self.row_passes(
            layout,
            [candidates[index] for index in chosen],
            [networks[index] for index in chosen],
            FULL_WIDTH,
        )
        return found, scores

    def _final_solve_pass(
        self, chosen: SelectedModel, rows: list[TrainingRows], fit: FitConfig
    ) -> FunctionPass:
        """Return the solve of the chosen networks from all rows that some settings select."""
        candidates = tuple(each.candidate for each in rows)
        return FunctionPass(
            run=lambda checkpoints, progress: final_solve(
                chosen, candidates, checkpoints, fit, progress
            ),
            cost=lambda: final_solve_cost(
                [each.rows for each in rows],
                [each.size for each in rows],
                fit,
                self.training_folds,
            ),
        )

    def _planned_rollouts(self, layout: Any, rows: list[TrainingRows]) -> NetworkRollouts:
        """Return rollouts of as many networks as are averaged, of the sizes of the largest."""
        largest = max(rows, key=lambda each: each.rows.columns)
        network = largest.rows.network
        groups = () if network.groups is None else (int(network.groups.max()) + 1,)

        def solved(network: SampledRNN) -> SampledRNN:
            features = replace(largest.rows, network=network).features
            # Zeros take no memory, as their pages are never written.
            outer = np.zeros((*groups, len(network.leads), features, largest.size))
            return replace(network, outer=outer)

        count = self.experiment.fit.average
        quadratic = any(each.rows.network.sampling == "quadratic" for each in rows)
        return NetworkRollouts(
            layout,
            (solved(network),) * count,
            np.full((count, len(network.leads)), 1 / count),
            solved(network.narrowed(0)),
            step_of(self.fields.time),
            self.forcing(),
            solved(network) if quadratic and len(rows) > 1 else None,
        )

    def model(self, found: TrainingResults) -> ForecastModel:
        """Return the model that the results of all passes make, and save the candidates."""
        layout, candidates, chosen = found.layout, found.candidates, found.chosen
        solved = ("train", "validation") if self.experiment.fit.refit == "all" else ("train",)
        last = max(int(times_of(self.reads(name)).max()) for name in solved)
        count = max(candidate.network.overlap for candidate in candidates)
        tail = self.tail(layout, last, count)
        kept = FittedCandidates(candidates, tail, self.fields.time[last])
        step = step_of(self.fields.time)
        horizon = steps("forecast.horizon", self.experiment.forecast.horizon, step)
        selection, notes = self.notes(layout)
        place = TriangleLocation(self.checkpoints.path.name, kept.save(self.checkpoints))
        return ForecastModel(
            layout=layout,
            networks=chosen.networks,
            mixture=chosen.mixture,
            linear=chosen.linear,
            quadratic=chosen.quadratic,
            lagged=self.lagged(layout, candidates[chosen.best], horizon),
            step=step,
            forcing=self.forcing(),
            selection=chosen.selection | selection | calibration_errors(found.calibration),
            notes=ModelNotes(
                **chosen.notes,
                **notes,
                fingerprint=self.fingerprint,
                sums=self.fields.ds.attrs["sums"] or None,
                kept=place,
                precision=found.precision,
                first_round=found.first_round,
            ),
            **calibration_factors(found.calibration),
            errors=found.errors,
        )

    @property
    def left_out_folds(self) -> int:
        """Number of folds of which each is left out once; 0 where the validation period decides."""
        fit = self.experiment.fit
        if fit.choice == "validation":
            return 0
        _, first = self.experiment.candidates()[0]
        leaves = [
            *row_leaves(first, self.fields, "train"),
            *row_leaves(first, self.fields, "validation"),
        ]
        return len({part.fold for part in leaves} - {f"train/{year}" for year in fit.without})

    def network(self, variant: Experiment) -> SampledRNN:
        """Return the network of one candidate, without hidden or outer weights."""
        model = variant.model
        return SampledRNN(
            width=model.width,
            activation=model.activation,
            sampling=model.sampling,
            scale=model.hidden_scale,
            delays=variant.state.delays,
            leads=model_leads(variant, self.fields.time),
            combine_leads=model.combine_leads,
            target=model.target,
            modulators=season_columns(model.inputs) if model.season_terms else (),
            noise=0.0 if model.noise == "residual" else model.noise,
            share=variant.fit.share,
            precision=model.precision,
            standardise=False,
            seed=model.seed,
        )


def _measure_precision(
    rows: TrainingRows, chosen: SelectedModel, checkpoints: Checkpoints, progress: Progress | None
) -> dict[str, Any]:
    """Measure the effect of the rows' precision, see :meth:`PrecisionSample.measure`."""
    sample = PrecisionSample(
        rows.rows,
        rows.leaf,
        rows.candidate,
        chosen.notes["width"],
        chosen.selection["ridge"],
        chosen.selection["balance"],
    )
    (found,) = run_tasks("precision", sample.measure, [(checkpoints,)], progress)
    return {"chosen": rows.candidate.network.precision, **found}


def placeholder_pool(network: SampledRNN, inputs: int) -> Array:
    """Return random states from which hidden weights are drawn for estimates: (states, inputs)."""
    return np.random.default_rng(0).standard_normal((max(2, network.width), inputs))


def precision_leaf(rows: RowSummary, stretches: list[Stretch]) -> Stretch:
    """Return the longest stretch, cut to a few rows per column."""
    longest = max(stretches, key=lambda part: part.stop - part.start)
    times = int(np.ceil(_SAMPLE_ROWS_PER_COLUMN * rows.columns / rows.places))
    return replace(longest, stop=min(longest.stop, longest.start + times))
