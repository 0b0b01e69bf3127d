"""A fit of a zonal network: states are stored, and each stage is one pass over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import Arrays, content_key
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Scaling
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.states.zonal_states import ZonalLayout, zonal_layout
from gfrnn.pipeline.training.calibration.calibration_pass import (
    Calibration,
    calibration_errors,
    calibration_factors,
    calibration_passes,
)
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.ensembles.error_archive import ErrorArchive
from gfrnn.pipeline.training.ensembles.error_passes import error_passes
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import CandidateScore, ModelNotes
from gfrnn.pipeline.training.pass_costs import NO_READS, PassCost, call_cost, read_windows
from gfrnn.pipeline.training.passes import FunctionPass, Passes, ReductionPass
from gfrnn.pipeline.training.rows import StoredStates
from gfrnn.pipeline.training.state_series import joined_stretches, save_series, times_of
from gfrnn.pipeline.training.stretches import steps
from gfrnn.pipeline.training.triangles import solve_bytes
from gfrnn.pipeline.training.zonal.zonal_features import placeholder_network, scaled_network
from gfrnn.pipeline.training.zonal.zonal_rows import ZonalRowSummary
from gfrnn.pipeline.training.zonal.zonal_solve import (
    SolvedStage,
    ZonalSolve,
    by_wavenumber,
    planned_stage,
    solve_stages,
)
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

# Noise of the first of two fits with noise: residual, relative to the changes in a step. Without
# noise, the residuals of products are too small a measure of what a rollout meets.
_FIRST_NOISE = 0.05

# Training rows of that first fit for each column of a row, which are enough for an estimate of the
# errors: they grow by about half the inverse of this number.
_FIRST_ROWS_PER_COLUMN = 8

# Least number of its rows, so that several blocks of times have some.
_FIRST_ROWS = 256

# Numbers of training times from which the scales of features and lagged covariances are computed.
_SCALE_TIMES = 200
_RUNS, _RUN_TIMES = 6, 2000

# Largest noise, relative to the standard deviation of a coefficient.
_LARGEST_NOISE = 0.7


@dataclass(frozen=True)
class ZonalResults:
    """The results of all passes of a fit.

    Attributes
    ----------
    layout : ZonalLayout
    stages : tuple of SolvedStage
        The stages of the network in order, each with the stages before it.
    linear : SolvedStage
        Reference without features.
    calibration : Calibration or None
    errors : ErrorArchive or None
        Errors of forecasts of the validation period, if there are ensembles.
    """

    layout: ZonalLayout
    stages: tuple[SolvedStage, ...]
    linear: SolvedStage
    calibration: Calibration | None = None
    errors: ErrorArchive | None = None


class ZonalTraining(FieldPasses):
    """A fit on zonal waves: climatology, states, then one pass over the states a stage."""

    def passes(self) -> Passes[ZonalResults]:
        """Yield all passes of the fit; return their results."""
        layout = yield from self._layout_passes()
        network: ZonalNetwork = yield FunctionPass(
            run=lambda *_: self._sample_network(layout),
            placeholder=placeholder_network(self.experiment, layout),
        )
        own = self.experiment.fit.share
        residual = self.experiment.model.noise == "residual"
        share = min(own, self._first_share(network)) if residual else own
        stages, linear = yield from self._stage_passes(layout, network, "first", share)
        if residual:
            again = replace(network, noise=self._residual_noise(stages[-1]))
            stages, other = yield from self._stage_passes(layout, again, "residual", own)
            linear = min(linear, other, key=lambda each: each.error)
        rollouts = NetworkRollouts(
            layout,
            (replace(stages[-1].network, noise=None),),
            np.ones((1, 1)),
            replace(linear.network, noise=None),
            step_of(self.fields.time),
            self.forcing(),
        )
        states = StoredStates(self.series, layout.size)
        calibration = yield from calibration_passes(self, rollouts, states)
        errors = yield from error_passes(self, rollouts, calibration)
        return ZonalResults(layout, stages, linear, calibration, errors)

    def _first_share(self, network: ZonalNetwork) -> float:
        """Return the share of training rows of a fit that only estimates errors."""
        left_out = {f"train/{year}" for year in self.experiment.fit.without}
        kept = [part for part in self._leaves("train") if part.fold not in left_out]
        rows = sum(part.stop - part.start for part in kept)
        used = network.used_columns(self.experiment.model.stages - 1).sum(axis=1)
        columns = int((used + network.basis.used.sum(axis=1)).max())
        return min(1.0, max(_FIRST_ROWS_PER_COLUMN * columns, _FIRST_ROWS) / rows)

    def _layout_passes(self) -> Passes[ZonalLayout]:
        """Yield climatology and states; the states of all times in use go to disk."""
        train, validation = self.reads("train"), self.reads("validation")
        climatology = yield self.climatology_pass()
        scaling = Scaling(self.fields.grid, climatology, area_weighted=False)
        layout = zonal_layout(self.experiment.state, scaling)

        def save_states(root: Arrays) -> None:
            series = np.full((len(self.fields.time), layout.size), np.nan)
            series[times_of(train + validation)] = root["states"]
            save_series(self.series, series)

        yield ReductionPass(
            summary=StateSummary(self.fields, layout),
            stretches=train + validation,
            key=lambda: content_key(self.climatology_key, self.fingerprint, layout.attributes()),
            windows=read_windows(train + validation),
            finish=save_states,
            joined=True,
        )
        return layout

    @property
    def series(self) -> Path:
        """Path of the states of all times, (times, size); NaN outside training and validation."""
        return self.checkpoints.path / "series"

    def _read_states(self, times: Array) -> Array:
        """Return the states of some times: shape (len(times), size)."""
        return np.asarray(zarr.open_array(self.series, mode="r").oindex[times])

    def forcing(self) -> Forcing:
        """Return the inputs of the network."""
        return Forcing.calendar(self.experiment.model.inputs)

    def _leaves(self, name: str) -> list[Stretch]:
        return row_leaves(self.experiment, self.fields, name)

    def _sample_network(self, layout: ZonalLayout) -> ZonalNetwork:
        """Return the network without stages; features have the scales of drawn training states."""
        times = times_of(self._leaves("train"))
        model = self.experiment.model
        rng = np.random.default_rng(model.seed)
        count = min(len(times), self.experiment.fit.pool)
        drawn = np.sort(rng.choice(times, count, replace=False))
        few = drawn[:: -(-count // _SCALE_TIMES)]
        network = scaled_network(
            self.experiment, layout, self._read_states(few), self.fields.time[few]
        )
        relative = _FIRST_NOISE if model.noise == "residual" else float(model.noise)
        if not relative:
            return network
        changes = self._read_states(drawn + 1) - self._read_states(drawn)
        return replace(network, noise=relative * np.sqrt(np.square(changes).mean(axis=0)))

    def _residual_noise(self, stage: SolvedStage) -> Array:
        """Return noise of the spectrum of a network's errors, for each entry of a state."""
        basis = stage.network.basis
        # A wave's variance is shared by its real and its imaginary part.
        waves = (np.arange(basis.wavenumbers) > 0)[:, None]
        share = np.where(waves, np.sqrt(0.5), 1.0) * (1 + 1j)
        noise = basis.pack((share * np.sqrt(stage.errors))[:, None])[0]
        largest = basis.pack((share * stage.network.state_sizes)[:, None])[0]
        return np.minimum(self.experiment.model.noise_factor * noise, _LARGEST_NOISE * largest)

    def _stage_passes(
        self, layout: ZonalLayout, network: ZonalNetwork, fit: str, share: float
    ) -> Passes[tuple[tuple[SolvedStage, ...], SolvedStage]]:
        """Yield a pass over the states and a solve for each stage; return these and the linear one.

        Parameters
        ----------
        layout : ZonalLayout
        network : ZonalNetwork
            Network without stages, with its noise.
        fit : str
            Name of the fit, for the keys of its checkpoints.
        share : float
            Share of the training rows that is used.
        """
        stages: list[SolvedStage] = []
        linear: SolvedStage | None = None
        while len(stages) < self.experiment.model.stages:
            rows = ZonalRowSummary(
                network,
                StoredStates(self.series, network.state_size),
                layout.scaling.climatology,
                self.forcing(),
                self.fields.time,
                share,
            )
            folds = yield self._row_pass(rows, fit)
            solved = yield self._solve_pass(
                rows, [network] if stages else [network, network.without_features()], folds
            )
            if linear is None:
                linear = solved[1]
            stages.append(solved[0])
            network = solved[0].network
        assert linear is not None  # there is at least one stage
        return tuple(stages), linear

    def _row_pass(self, rows: ZonalRowSummary, fit: str) -> ReductionPass:
        """Return the pass that makes the triangles of a stage."""
        own = self.experiment.fit
        # Later stages and fits depend on how the earlier ones were solved.
        later = [own.ridge, own.without] if rows.stage or fit != "first" else []
        share = [rows.share] if rows.share != own.share else []
        parts = fit, rows.stage, rows.network.columns(rows.stage), *later, *share
        return ReductionPass(
            summary=rows,
            stretches=self._leaves("train") + self._leaves("validation"),
            key=lambda: self.rows_key(self.experiment, *parts),
            windows=NO_READS,
            finish=lambda folds: folds,
            part="pass",
        )

    def _solve_pass(
        self,
        rows: ZonalRowSummary,
        networks: list[ZonalNetwork],
        folds: dict[str, Arrays] | None,
    ) -> FunctionPass:
        """Return the solves of the next stage of networks from the triangles of the same rows.

        Parameters
        ----------
        rows : ZonalRowSummary
        networks : list of ZonalNetwork
            The network of the rows, and others whose columns are the leading ones of theirs.
        folds : dict or None
            Arrays of the triangles by fold; None while a fit is only planned.
        """
        fit = self.experiment.fit
        return FunctionPass(
            run=lambda _, progress: solve_stages(networks, folds or {}, fit, progress),
            cost=lambda: self._solve_cost(rows, networks),
            placeholder=[planned_stage(network) for network in networks],
        )

    def _solve_cost(self, rows: ZonalRowSummary, networks: list[ZonalNetwork]) -> PassCost:
        """Estimate the solves of all wavenumbers."""
        columns = int(rows.columns.max())
        used = [network.used_columns(len(network.stages)).sum(axis=1) for network in networks]
        years = len({part.fold for part in self._leaves("train") + self._leaves("validation")})
        needed = (years + 2) * 16 * columns**2 + 2 * solve_bytes(1, int(np.max(used)))
        solves = ZonalSolve(np.array(used), rows.columns, years, self.experiment.fit.ridge)
        cost = call_cost("solve", solves.features.shape[1], needed, rows.remedy, subject=solves)
        # The driver has the triangles packed, as the pass returns them, and unpacked.
        unpacked = 16 * int(np.square(rows.columns.astype(int)).sum())
        return replace(
            cost, sizes=solves.sizes, driver_bytes=years * (rows.result_bytes(0) + unpacked)
        )

    def model(self, found: ZonalResults) -> ForecastModel:
        """Return the model that the results of all passes make."""
        layout, stages, linear = found.layout, found.stages, found.linear
        step = step_of(self.fields.time)
        horizon = steps("forecast.horizon", self.experiment.forecast.horizon, step)
        changes = self._validation_changes(layout)
        basis, network = layout.basis, stages[-1].network
        errors = np.stack([by_wavenumber(each.errors) for each in stages])
        selection = {
            "wavenumber_changes": changes,
            "wavenumber_errors": errors,
            "linear_wavenumber_errors": by_wavenumber(linear.errors),
        }
        return ForecastModel(
            layout=layout,
            networks=(replace(network, noise=None),),
            mixture=np.ones((1, 1)),
            linear=replace(linear.network, noise=None),
            quadratic=None,
            lagged=layout.lagged_covariance(self._sampled_runs(horizon), horizon),
            step=step,
            forcing=self.forcing(),
            selection=selection | calibration_errors(found.calibration),
            notes=ModelNotes(
                width=network.features.count,
                modes=basis.size,
                delays=network.delays,
                chosen={},
                candidates=[
                    CandidateScore(
                        values={},
                        score=float(errors[-1].sum() / changes.sum()),
                        linear=float(linear.error / changes.sum()),
                        shares=[1.0],
                    )
                ],
                solves=[],
                rows=stages[-1].rows,
                columns=stages[-1].columns,
                fingerprint=self.fingerprint,
                sums=self.fields.ds.attrs["sums"] or None,
                precision={"chosen": network.precision},
            ),
            **calibration_factors(found.calibration),
            errors=found.errors,
        )

    def _validation_changes(self, layout: ZonalLayout) -> Array:
        """Return the mean square change in a step of the validation period: (wavenumbers,)."""
        times = times_of(self._leaves("validation"))
        change = self._read_states(times + 1) - self._read_states(times)
        coefficients = layout.basis.unpack(change)
        return by_wavenumber(np.square(np.abs(coefficients)).mean(axis=1))

    def _sampled_runs(self, horizon: int) -> list[Array]:
        """Return the states of some parts of the training period without a gap, evenly spread."""
        length = max(_RUN_TIMES, 4 * horizon)
        runs = [
            (first, min(first + length, part.stop))
            for part in joined_stretches(self._leaves("train"))
            for first in range(part.start, part.stop, length)
        ]
        chosen = np.unique(np.linspace(0, len(runs) - 1, _RUNS).round().astype(int))
        return [self._read_states(np.arange(*runs[index])) for index in chosen]
