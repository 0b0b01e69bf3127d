"""Update a trained model with new data: merge triangles, solve again with the same settings."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.time_axis import segments
from gfrnn.pipeline.errors import ConfigError, MissingTimesError, RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.missing_times import describe_missing_times, find_missing_times
from gfrnn.pipeline.runs.new_data import check_follows_training, encode_new_data, open_new_data
from gfrnn.pipeline.runs.record import StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.sphere_patches import patch_area_weights
from gfrnn.pipeline.storage import check_writable
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import (
    LatestUpdate,
    ModelNotes,
    TriangleLocation,
    Updates,
)
from gfrnn.pipeline.training.selection.candidates import Candidate, FittedCandidates, FoldTriangle
from gfrnn.pipeline.training.selection.choose_model import solve_candidate
from gfrnn.pipeline.training.triangles import Factors

Array = NDArray[Any]

_LOGGER = logging.getLogger(__name__)

_SUMMARY, _MERGED = "merged", "train/merged"
"""Name of the summary and of the fold that hold the triangle of all rows so far."""


@dataclass(frozen=True)
class Update:
    """An update of a model; all is checked that needs no fields.

    Attributes
    ----------
    source : Run
        Run whose model is updated.
    experiment : Experiment
        Experiment of the updated run.
    folder : Path
        Folder of the updated run: the folder of the source or another.
    fields : Fields
        New data.
    forget : float
        Weight of the earlier rows.
    model : ForecastModel
        Model of the source.
    store : Path
        Store of the triangles of the source.
    fitted : FittedCandidates
        Candidates of the source.
    done : bool
        Whether this very update was finished before, so that nothing is left to compute.
    """

    source: Run
    experiment: Experiment
    folder: Path
    fields: Fields
    forget: float
    model: ForecastModel
    store: Path
    fitted: FittedCandidates
    done: bool = False

    @classmethod
    def prepare(
        cls,
        folder: Path,
        paths: Sequence[str],
        output: Path | None = None,
        *,
        forget: float = 1.0,
        period: Period | None = None,
    ) -> Update:
        """Check new data against a trained model.

        An update that was killed may be repeated, also if it had replaced the model already.

        Parameters
        ----------
        folder : Path
            Folder of a run with a finished fit.
        paths : sequence of str
            New data, see :func:`gfrnn.pipeline.runs.new_data.open_new_data`.
        output : Path, optional
            New folder for the updated run; by default the run is updated in place. It may hold
            what this same update has left there when it was killed.
        forget : float
            Weight of all earlier rows, within (0, 1].
        period : Period, optional
            Part of the new data to use.

        Raises
        ------
        ConfigError
            If an argument is out of range, or the paths do not match the sources of the run.
        DataError
            If the new data do not match the model, or do not follow its training data.
        RunError
            If the run has no finished fit, or `output` holds anything else.
        """
        if not 0 < forget <= 1:
            raise ConfigError(
                f"--forget: {forget} is not above 0 and at most 1; 1 keeps the full weight of "
                "earlier data"
            )
        source = Run.reopen(folder)
        model = source.load_model()
        store, fitted = source.load_candidates(model)
        experiment = source.experiment
        if output is not None:
            _check_output(output, source)
            check_writable(output)
            tree = to_tree(experiment) | {"output": str(output)}
            experiment = checked(Experiment, tree, "update")
        fields = open_new_data(experiment.data, paths, model, period)
        where = RunFolder(output or folder).folder
        work = cls(source, experiment, where, fields, forget, model, store, fitted)
        if work._is_done():
            return replace(work, done=True)
        if output is not None and RunFolder(output).read_record().external_model:
            raise RunError(
                f"{output}: holds another update; choose another --output, or leave it out to "
                "update in place"
            )
        check_follows_training(fields.time, fitted.last, model.step)
        return work

    def _is_done(self) -> bool:
        """Whether the folder holds the product of this update."""
        run = RunFolder(self.folder)
        done, notes = run.read_record().fit, ModelNotes.read(run.model)
        if done is None or not done.finished or notes is None or notes.updated is None:
            return False
        latest = notes.updated.latest
        if (latest.forget, latest.data) != (self.forget, self._data):
            return False
        there, own = (
            replace(each, rows=0, kept=None, updated=None) for each in (notes, self.model.notes)
        )
        return self.folder == self.source.folder or there == own

    @cached_property
    def _data(self) -> str:
        """Fingerprint of the new data."""
        return fingerprint(self.fields.ds)

    def run(self, progress: Progress | None = None) -> Run:
        """Fold the new rows and solve; the earlier model stays until the new one is complete.

        Raises
        ------
        DataError
            If fields are implausibly far from the climatology; nothing is written then.
        RunError
            If another process is working in the folder, or has updated the model meanwhile.
        """
        begun = time.perf_counter()
        if self.done:
            return self._finished()
        with self.source.lock():
            if self.source.load_model().notes.kept != self.model.notes.kept:
                raise RunError(
                    f"{self.source.folder}: another process has updated the model since this "
                    "update was checked; run the command again"
                )
            for candidate in self._used.values():
                candidate.check_memory("fold")
            new_states = self._new_states(progress)
            folding = [
                (
                    new_states,
                    candidate,
                    Checkpoints(self.store),
                    self._folds(candidate),
                    self.forget,
                )
                for candidate in self._used.values()
            ]
            found = run_tasks("fold", _fold, folding, progress)
            factors: dict[int, Factors] = dict(zip(self._used, found, strict=True))
            target = self.source
            if self.folder != self.source.folder:
                target = Run(self.experiment, self.folder, progress)
            with target.lock():
                if target is not self.source:
                    target.take_missing_times(self.source)
                    target.begin_model(StageRecord(command=_command(self.source, self.folder)))
                self._store(target, new_states, factors, progress, begun)
        return target

    def _finished(self) -> Run:
        """Return the updated run, without the triangles that it does not need any more."""
        run = Run(self.experiment, self.folder)
        store, fitted = run.load_candidates(run.load_model())
        kept = run.load_model().notes.kept
        if store == run.updates and kept is not None:
            with run.lock():
                Checkpoints(store).keep_only(fitted.checkpoints_in_use(kept.key))
        return run

    def _store(
        self,
        target: Run,
        new_states: NewStates,
        factors: dict[int, Factors],
        progress: Progress | None,
        begun: float,
    ) -> None:
        """Write the triangles, solve, and write the model into the folder of ``target``."""
        checkpoints = Checkpoints(target.updates)
        fitted = self._save_triangles(new_states, factors, checkpoints)
        key = fitted.save(checkpoints)
        model = self._solved(new_states, fitted, checkpoints, factors, progress)
        place = TriangleLocation(store=target.updates.name, key=key)
        model = replace(model, notes=replace(model.notes, kept=place))
        seconds = round(time.perf_counter() - begun, 3)
        target.store_model(model, StageRecord(seconds=seconds, updated=model.notes.updated))
        checkpoints.keep_only(fitted.checkpoints_in_use(key))

    @cached_property
    def _used(self) -> dict[int, Candidate]:
        """Candidates that the model uses, by index."""
        indices = dict.fromkeys(each.candidate for each in self.model.notes.all_solves)
        return {index: self.fitted.candidates[index] for index in indices}

    def _folds(self, candidate: Candidate) -> list[str]:
        return candidate.solved_folds(self.experiment.fit)

    def _new_states(self, progress: Progress | None) -> NewStates:
        """Return the new states in gapless series; the first may continue the earlier states."""
        fields, states = self._encoded(progress)
        time, step = fields.time, self.model.step
        series = [(time[part], states[part]) for part in segments(time, step)]
        consecutive = bool(time[0] == step.after(self.fitted.last))
        repeated = len(self.fitted.tail) if consecutive else 0
        if repeated:
            before = step.after(self.fitted.last, -np.arange(repeated)[::-1])
            series[0] = (
                np.concatenate([before, series[0][0]]),
                np.concatenate([self.fitted.tail, series[0][1]]),
            )
        missing = len(self.fields.time) - len(time)
        grid = self.model.layout.scaling.grid
        return NewStates(series, repeated, consecutive, missing, self.model.forcing, grid)

    def _encoded(self, progress: Progress | None) -> tuple[Fields, Array]:
        """Return the fields without the times at which a channel has no value, and their states."""
        fields, chunk = self.fields, self.experiment.data.chunk
        try:
            return fields, encode_new_data(fields, self.model, chunk, progress)
        except MissingTimesError:
            every = np.ones(len(fields.time), dtype=bool)
            missing = find_missing_times(fields.ds, every, chunk, progress)
            if not missing:
                raise
            _LOGGER.warning("NEW_DATA: %s", describe_missing_times(missing))
            lost = np.isin(fields.time, np.array(list(missing), dtype=fields.time.dtype))
            fields = fields.at(np.flatnonzero(~lost))
            return fields, encode_new_data(fields, self.model, chunk, progress)

    def _save_triangles(
        self, new_states: NewStates, factors: dict[int, Factors], checkpoints: Checkpoints
    ) -> FittedCandidates:
        """Write the triangles, and return the candidates that the next update needs."""
        previous = self.model.notes.kept
        assert previous is not None  # self.fitted was loaded by it
        origin = asdict(previous), self.forget, self._data
        candidates = []
        for index, candidate in enumerate(self.fitted.candidates):
            folds = {}
            if index in factors:
                factor, key = factors[index], content_key(*origin, index)
                checkpoints.save(_SUMMARY, key, factor.arrays())
                folds[_MERGED] = FoldTriangle(key, factor.rows)
            candidates.append(replace(candidate, summary=_SUMMARY, folds=folds, prefix=""))
        overlap = max(candidate.network.overlap for candidate in self._used.values())
        return FittedCandidates(
            tuple(candidates), new_states.series[-1][1][-overlap:], new_states.last
        )

    def _solved(
        self,
        new_states: NewStates,
        fitted: FittedCandidates,
        checkpoints: Checkpoints,
        factors: dict[int, Factors],
        progress: Progress | None,
    ) -> ForecastModel:
        """Return the model with outer weights of all rows, at the same ridge, balance and width."""
        solving = [
            (fitted.candidates[each.candidate], checkpoints, [each], [_MERGED])
            for each in self.model.notes.all_solves
        ]
        solved = list(chain.from_iterable(run_tasks("solve", solve_candidate, solving, progress)))
        count = len(self.model.networks)
        linear, quadratic = (*solved[count:], None)[:2]
        assert linear is not None  # networks with candidates have one
        index, candidate = next(iter(self._used.items()))
        rows = factors[index].rows - candidate.rows(self._folds(candidate))
        notes, time = self.model.notes, self.fields.time
        before = (0, 0) if notes.updated is None else (notes.updated.updates, notes.updated.rows)
        updated = Updates(
            last=str(pd.Timestamp(new_states.last)),
            updates=before[0] + 1,
            rows=before[1] + rows,
            latest=LatestUpdate(
                first=str(pd.Timestamp(new_states.first)),
                times=len(time),
                rows=rows,
                consecutive=new_states.consecutive,
                missing=new_states.missing,
                gaps=len(new_states.series) - 1,
                previous=str(pd.Timestamp(self.fitted.last)),
                forget=self.forget,
                data=self._data,
            ),
        )
        return replace(
            self.model,
            networks=tuple(solved[:count]),
            linear=linear,
            quadratic=quadratic,
            notes=replace(notes, rows=notes.rows + rows, updated=updated),
        )


@dataclass(frozen=True)
class NewStates:
    """New states in gapless series.

    Attributes
    ----------
    series : list of (time, states)
        Shapes (times,) and (times, modes).
    repeated : int
        Number of times at the start of the first series that earlier data contain.
    consecutive : bool
        Whether the first new time follows the earlier times without a gap.
    missing : int
        Number of new times that were left out, as a channel has no value there.
    forcing : Forcing
        Inputs of the network.
    grid : Grid
    """

    series: list[tuple[Array, Array]]
    repeated: int
    consecutive: bool
    missing: int
    forcing: Forcing
    grid: Grid

    @property
    def first(self) -> np.datetime64:
        """Earliest of the new times."""
        found: np.datetime64 = self.series[0][0][self.repeated]
        return found

    @property
    def last(self) -> np.datetime64:
        """Latest of the new times."""
        found: np.datetime64 = self.series[-1][0][-1]
        return found

    def rows(self, candidate: Candidate) -> Factors | None:
        """Return the triangle of the rows with a new target, or None if there are none."""
        network, pairs = candidate.network, []
        for number, (when, states) in enumerate(self.series):
            # A candidate with fewer delays needs fewer repeated states: more would repeat rows.
            first = max(0, self.repeated - network.overlap) if number == 0 else 0
            if len(states) - first > network.overlap:
                pairs.append((states[first:, : network.state_size], when[first:]))
        if not pairs:
            return None
        given = [values for _, when in pairs if (values := self.forcing(when)) is not None]
        weights = None
        if network.patches is not None:
            weights = patch_area_weights(self.grid, network.patches)
        series = [states for states, _ in pairs]
        return Factors.of_series(network, series, given or None, weights=weights)


def _fold(
    new_states: NewStates,
    candidate: Candidate,
    checkpoints: Checkpoints,
    names: list[str],
    forget: float,
) -> Factors:
    """Run one task: merge the earlier rows, weighted by ``forget``, and the new rows."""
    merged = candidate.factor(checkpoints, names)
    if forget < 1:
        merged = merged.scale(float(np.sqrt(forget)))
    rows = new_states.rows(candidate)
    return merged if rows is None else merged.merge(rows)


def _check_output(output: Path, source: Run) -> None:
    """Check that a folder is free, or that this update may have been killed there.

    Raises
    ------
    RunError
        If it holds anything else.
    """
    there = RunFolder(output)
    if there.free:
        return
    begun = there.read_record().fit
    if begun is not None and there.folder != source.folder:
        ours = begun.command == _command(source, output)
        if ours or begun.updated is not None:
            return
    raise RunError(f"{output}: exists; choose another --output, or leave it out to update in place")


def _command(source: Run, output: Path) -> str:
    place = str(RunFolder(output).folder)
    words = ["gfrnn", "update", str(source.folder), "NEW_DATA", "--output", place]
    return f"`{shlex.join(words)}`"


def update(
    folder: Path,
    paths: Sequence[str],
    output: Path | None = None,
    *,
    forget: float = 1.0,
    period: Period | None = None,
    progress: Progress | None = None,
) -> Run:
    """Fold new times into a trained model and solve again with the same settings.

    See :meth:`Update.prepare` for the parameters. Climatology, EOFs, hidden weights, the
    calibration and the covariances of damped persistence do not change.
    """
    return Update.prepare(folder, paths, output, forget=forget, period=period).run(progress)
