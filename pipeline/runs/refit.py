"""Choose a model anew from the triangles of a fit; no field is read."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tasks import Progress
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.record import RefitModel, StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.candidates import FittedCandidates
from gfrnn.pipeline.training.checks import check_solve
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.selection.choose_model import choose_model


@dataclass(frozen=True)
class Refit:
    """A refit that was checked and can start.

    Attributes
    ----------
    source : Run
        The run whose triangles are used.
    experiment : Experiment
        The experiment of the source with the changed keys.
    folder : Path
        Folder of the new run.
    model : ForecastModel
        The model of the source.
    store : Path
        Store of the triangles.
    kept : FittedCandidates
    """

    source: Run
    experiment: Experiment
    folder: Path
    model: ForecastModel
    store: Path
    kept: FittedCandidates

    @classmethod
    def of(
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
        """Check the keys that change against the triangles of a run.

        Parameters
        ----------
        folder : Path
            Folder of a run that is fitted.
        output : Path, optional
            Folder of the new run; by default ``folder`` with ``-refit``.
        without, ridge, widths, balance : sequence, optional
            Keys of ``fit`` in the experiment file; by default as they were.
        force : bool
            Replace another refit in ``output``.

        Raises
        ------
        ConfigError, RunError
        """
        source = Run.reopen(folder)
        model = source.trained()
        if source.updated:
            raise RunError(
                f"{folder}: was updated to {source.updated.last}, and its years are merged for "
                "good; refit a run that was not updated, then update the refitted run"
            )
        store, kept = source.kept(model)
        output = output or folder.with_name(folder.name + "-refit")
        changes = {"without": without, "ridge": ridge, "widths": widths, "balance": balance}
        tree = to_tree(source.experiment)
        tree["fit"] |= {key: list(value) for key, value in changes.items() if value is not None}
        tree["output"] = str(output)
        experiment = checked(Experiment, tree, "refit")
        for candidate in kept.candidates:
            rows = {
                int(name.removeprefix("train/")): candidate.least_rows(name)
                for name in candidate.names("train")
            }
            check_solve(experiment, rows, candidate.always)
        _check_output(output, source, force)
        return cls(source, experiment, output, model, store, kept)

    def run(self, progress: Progress | None = None) -> Run:
        """Solve and choose; the new run's stage ``fit`` is finished."""
        begun = time.perf_counter()
        chosen = choose_model(
            self.kept.candidates, Checkpoints(self.store), self.experiment.fit, progress
        )
        assert self.model.notes.kept is not None  # self.kept was loaded by it
        kept = replace(self.model.notes.kept, store=str(self.store))
        model = replace(
            self.model,
            networks=chosen.networks,
            mixture=chosen.mixture,
            linear=chosen.linear,
            selection=self.model.selection | chosen.selection,
            notes=replace(self.model.notes, **chosen.notes, kept=kept),
        )
        run = Run(self.experiment, self.folder, progress, force=True)
        with run.lock():
            shutil.rmtree(run.model, ignore_errors=True)
            seconds = round(time.perf_counter() - begun, 3)
            origin = RefitModel(str(self.source.folder))
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
    """Choose a model anew from the triangles of a run, into a folder of its own.

    See :meth:`Refit.of` for the parameters. Climatology, EOFs, hidden weights and the covariances
    of damped persistence stay those of the run, whichever years are left out.
    """
    return Refit.of(
        folder, output, without=without, ridge=ridge, widths=widths, balance=balance, force=force
    ).run(progress)


def _check_output(output: Path, source: Run, force: bool) -> None:
    """Refuse a folder that holds anything but a refit that may be replaced."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if output.absolute() == source.folder:
        raise RunError(f"{output}: is the run itself; choose another --output")
    there = RunFolder(output).read_record().fit
    if there is None or there.refit is None:
        raise RunError(f"{output}: exists and is no refit; choose another --output")
    if not force:
        raise RunError(f"{output}: holds a refit; choose another --output, or --force replaces it")
