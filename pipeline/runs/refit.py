"""Select a model again from the triangles of a fit, without reading fields."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.experiment_keys import deciding_keys
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.record import RefitModel, StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.storage import check_writable
from gfrnn.pipeline.training.checks import check_solve
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import TriangleLocation
from gfrnn.pipeline.training.selection.candidates import FittedCandidates
from gfrnn.pipeline.training.selection.choose_model import choose_model, final_solve

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refit:
    """A refit that has passed its checks and can start.

    Attributes
    ----------
    source : Run
        Run whose triangles are used.
    experiment : Experiment
        Experiment of the source with the changed keys.
    folder : Path
        Folder of the new run.
    model : ForecastModel
        Model of the source.
    store : Path
        Store of the triangles.
    fitted : FittedCandidates
        Candidates of the source.
    done : bool
        Whether this very refit was finished before, so that nothing is left to compute.
    """

    source: Run
    experiment: Experiment
    folder: Path
    model: ForecastModel
    store: Path
    fitted: FittedCandidates
    done: bool = False

    @classmethod
    def prepare(
        cls,
        folder: Path,
        output: Path | None = None,
        *,
        without: Sequence[int] | None = None,
        ridge: Sequence[float] | None = None,
        widths: Sequence[int] | None = None,
        balance: Sequence[float] | None = None,
        force: bool = False,
    ) -> Refit:
        """Check the changed keys against the triangles of a run.

        Parameters
        ----------
        folder : Path
            Folder of a run with a finished fit.
        output : Path, optional
            Folder of the new run; by default ``folder`` with the suffix ``-refit``.
        without, ridge, widths, balance : sequence, optional
            Keys of ``fit`` in the experiment file; unchanged by default.
        force : bool
            Whether to replace another refit in ``output``.

        Raises
        ------
        ConfigError
            If a changed key does not fit the triangles.
        RunError
            If the run cannot be refitted, or `output` cannot be used.
        """
        source = Run.reopen(folder)
        model = source.load_model()
        if source.updated:
            raise RunError(
                f"{folder}: was updated to {format_minute(np.datetime64(source.updated.last))}, "
                "which merged the triangles of "
                "its years; refit a run that was not updated, then update the refitted run"
            )
        store, fitted = source.load_candidates(model)
        output = output or folder.with_name(folder.name + "-refit")
        changes = {"without": without, "ridge": ridge, "widths": widths, "balance": balance}
        tree = to_tree(source.experiment)
        tree["fit"] |= {key: list(value) for key, value in changes.items() if value is not None}
        tree["output"] = str(output)
        if model.errors is not None:
            # The errors of which members are made are those of the networks of the run.
            _LOGGER.warning(
                "%s: the run has errors of its own networks for forecast.members, which do not fit "
                "others; the refitted run makes single forecasts. For ensembles, change the "
                "experiment and run `gfrnn fit`",
                folder,
            )
            model = replace(model, errors=None)
            tree["forecast"]["members"] = None
        experiment = checked(Experiment, tree, "refit")
        for candidate in fitted.candidates:
            rows = {
                int(name.removeprefix("train/")): candidate.least_rows(name)
                for name in candidate.names("train")
            }
            validation = [candidate.least_rows(name) for name in candidate.names("validation")]
            always = candidate.linear_features + candidate.network.lattice_columns
            check_solve(experiment, rows, always, validation)
        check_writable(output)
        work = cls(source, experiment, output, model, store, fitted)
        if not force and work._is_done():
            return replace(work, done=True)
        _check_output(output, source, force)
        return work

    def _is_done(self) -> bool:
        """Whether the folder holds the product of this refit."""
        there = RunFolder(self.folder)
        done = there.read_record().fit
        if done is None or not done.finished or done.refit != RefitModel(str(self.source.folder)):
            return False
        if not there.experiment_file.exists():
            return False
        if deciding_keys(there.stored_experiment()) != deciding_keys(self.experiment):
            return False
        run = Run.reopen(self.folder)
        return run.load_model().notes.kept == self._kept

    @property
    def _kept(self) -> TriangleLocation:
        """Place of the triangles of the source, as the refitted model states it."""
        assert self.model.notes.kept is not None  # self.fitted was loaded by it
        return replace(self.model.notes.kept, store=str(self.store))

    def run(self, progress: Progress | None = None) -> Run:
        """Solve and select; return the new run with a finished stage ``fit``."""
        begun = time.perf_counter()
        if self.done:
            return Run.reopen(self.folder, progress)
        settings = self.fitted.candidates, Checkpoints(self.store), self.experiment.fit
        chosen = choose_model(*settings, progress)
        chosen = final_solve(chosen, *settings, progress)
        model = replace(
            self.model,
            networks=chosen.networks,
            mixture=chosen.mixture,
            linear=chosen.linear,
            quadratic=chosen.quadratic,
            selection=self.model.selection | chosen.selection,
            notes=replace(self.model.notes, **chosen.notes, kept=self._kept),
        )
        run = Run(self.experiment, self.folder, progress, force=True)
        origin = RefitModel(str(self.source.folder))
        with run.lock():
            run.take_missing_times(self.source)
            run.begin_model(StageRecord(refit=origin, command=_command(self.source, self.folder)))
            seconds = round(time.perf_counter() - begun, 3)
            run.store_model(model, StageRecord(seconds=seconds, refit=origin))
        return run


def refit(
    folder: Path,
    output: Path | None = None,
    *,
    without: Sequence[int] | None = None,
    ridge: Sequence[float] | None = None,
    widths: Sequence[int] | None = None,
    balance: Sequence[float] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Select a model again from the triangles of a run, and write it into another folder.

    See :meth:`Refit.prepare` for the parameters. Climatology, EOFs, hidden weights, the calibration
    and the covariances of damped persistence stay those of the run, even if years are left out.
    A refit of a run with ensembles makes single forecasts: its networks have other errors.
    """
    return Refit.prepare(
        folder, output, without=without, ridge=ridge, widths=widths, balance=balance, force=force
    ).run(progress)


def _check_output(output: Path, source: Run, force: bool) -> None:
    """Check that a folder does not exist, or holds a refit that may be replaced."""
    folder = RunFolder(output)
    if folder.free:
        return
    if folder.folder == source.folder:
        raise RunError(f"{output}: is the folder of the run itself; choose another --output")
    there = folder.read_record().fit
    if there is None or there.refit is None:
        raise RunError(f"{output}: exists and is not a refit; choose another --output")
    if not there.finished and there.command == _command(source, output):
        return  # killed before its model was complete
    if not force:
        raise RunError(
            f"{output}: holds a refit; choose another --output, or replace it with --force"
        )


def _command(source: Run, output: Path) -> str:
    words = ["gfrnn", "refit", str(source.folder), "--output", str(RunFolder(output).folder)]
    return f"`{shlex.join(words)}`"
