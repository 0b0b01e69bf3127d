"""An experiment and what its folder holds: data, record, model, and what decides each stage."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment, load_experiment
from gfrnn.pipeline.data.dataset import log_losses, open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_digest, content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.experiment_keys import experiment_key, fit_key, forecast_keys
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.missing_times import (
    describe_missing_times,
    read_missing_times,
    still_missing,
    write_missing_times,
)
from gfrnn.pipeline.runs.record import RunRecord, StageRecord, now
from gfrnn.pipeline.runs.stage_checks import check_external_model
from gfrnn.pipeline.runs.stage_data import CHANGED, UNCHANGED, StageData
from gfrnn.pipeline.storage import check_writable
from gfrnn.pipeline.training.input_folds import changed_folds
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import ModelNotes, Updates
from gfrnn.pipeline.training.selection.candidates import FittedCandidates
from gfrnn.pipeline.verification.region_masks import region_masks

_LOGGER = logging.getLogger(__name__)

_DESCRIPTION = "variables, units and grid"


class StoredRun(RunFolder):
    """An experiment with its data, its record and its model.

    Parameters and errors are those of :class:`gfrnn.pipeline.runs.run.Run`, which adds the stages.
    """

    def __init__(
        self,
        experiment: Experiment | str | os.PathLike[str],
        folder: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        force: bool = False,
        strict: bool = False,
    ) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"folder: found {type(folder).__name__}, expected a path")
        if isinstance(experiment, (str, os.PathLike)):
            experiment = load_experiment(Path(experiment))
        elif not isinstance(experiment, Experiment):
            raise TypeError(
                f"experiment: found {type(experiment).__name__}, expected an Experiment or the "
                "path of an experiment file"
            )
        super().__init__(Path(folder))
        self.strict = strict
        self.experiment = experiment
        self.progress = progress
        self._checked: set[bool] = set()
        self.check_links()
        self._force = force
        self._claimed = False
        self._opened = False
        self.check_claim(experiment, force=force)
        if self.folder.exists():
            self._claim_once()
        else:  # the folder is made when something is written into it
            check_writable(self.folder)
        self.read_record()  # a damaged one is refused at once
        self.recover()

    def _claim_once(self) -> None:
        if not self._claimed:
            self._claimed = True
            try:
                self.claim(self.experiment, force=self._force)
            except BaseException:
                self._claimed = False
                raise

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Claim the folder for the experiment, and lock it against other processes.

        Raises
        ------
        RunError
            If another process holds the lock, or another experiment has claimed the folder.
        """
        self._claim_once()
        with super().lock():
            yield

    @property
    def record(self) -> RunRecord:
        """Record of the stages as it is in the folder now; other processes may change it."""
        return self._named(self.read_record())

    @contextmanager
    def changing_record(self) -> Iterator[RunRecord]:
        """Lock the folder, read the record, and write it atomically when the block ends."""
        with super().changing_record() as record:
            yield self._named(record)

    def _named(self, record: RunRecord) -> RunRecord:
        record.name = record.name or self.experiment.name
        record.experiment = experiment_key(self.experiment)
        return record

    @classmethod
    def reopen(cls, folder: str | os.PathLike[str], progress: Progress | None = None) -> Self:
        """Open the run in a folder.

        Raises
        ------
        RunError
            If the folder holds no run.
        """
        return cls(RunFolder(Path(folder)).stored_experiment(), folder, progress)

    @cached_property
    def ds(self) -> xr.Dataset:
        """Canonical Dataset of the data, opened once, without the times that count as gaps."""
        ds = open_source(self.experiment.data)
        if not self._opened:  # again without times that count as gaps
            log_losses(ds)
        self._opened = True
        return self.without_missing_times(ds)

    def without_missing_times(self, ds: xr.Dataset) -> xr.Dataset:
        """Return the data of the run, opened already, without the times that count as gaps."""
        missing = read_missing_times(self.missing_times)
        if not missing or not still_missing(ds, missing):
            return ds
        _LOGGER.warning("%s: %s", self.folder, describe_missing_times(missing))
        return open_source(
            self.experiment.data, without=[np.datetime64(stamp) for stamp in missing]
        )

    def take_missing_times(self, source: RunFolder) -> None:
        """Count the times as gaps that count as gaps in the run whose model is used.

        The model is of the data without them. The caller holds the lock.
        """
        if missing := read_missing_times(source.missing_times):
            write_missing_times(self.missing_times, missing)
        else:
            self.missing_times.unlink(missing_ok=True)
        for name in ("ds", "data", "_region_masks"):
            self.__dict__.pop(name, None)

    @cached_property
    def data(self) -> StageData:
        """The data that each stage reads."""
        return StageData(self.experiment, self.ds)

    def compare_data(self) -> dict[str, str]:
        """Compare the data with the record of those that the stages were computed from.

        Returns
        -------
        dict
            ``unchanged``, ``changed`` or ``missing`` for each fold, such as ``train/2001``, and,
            where no fold of the fit differs, for ``variables, units and grid``.

        Raises
        ------
        RunError
            If the run has no record of its data.
        DataError
            If the data cannot be opened.
        """
        record = self.record
        if not record.folds:
            raise RunError(
                f"{self.folder}: has no record of the data of each year, as no stage has read them "
                "for it yet, or an earlier version did; run `gfrnn run` first"
            )
        found = self.data.compare(record.folds)
        fit = record.fit
        if fit is None or fit.external or fit.refit is not None:
            return found
        decisive = [found[fold] for fold in found if _period_of(fold) in ("train", "validation")]
        if all(state == UNCHANGED for state in decisive):
            same = self.data.fingerprint("fit") == record.fingerprint
            found[_DESCRIPTION] = UNCHANGED if same else CHANGED
        return found

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data of the model, or of the forecasts of a copied model."""
        external = self.record.external_model
        return self.data.fingerprint("forecast" if external else "fit", trained=not external)

    @cached_property
    def _region_masks(self) -> dict[str, NDArray[Any]]:
        """Cells of the regions with a static field, read once."""
        regions = self.experiment.verification.regions
        return region_masks(self.experiment.data, Fields(self.ds).grid, regions)

    def product(self, stage: str) -> Path:
        if stage == "forecast" and not self.experiment.forecast.store:
            return self.statistics
        return super().product(stage)

    def finished(self, stage: str) -> bool:
        """Check whether a stage is done, with this experiment and these data."""
        done = self.record.stages.get(stage)
        return done is not None and bool(done.finished) and done.key == self._key_for(stage)

    # The model

    @property
    def updated(self) -> Updates | None:
        """Updates of the model after its fit; None if there were none."""
        done = self.record.fit
        return None if done is None else done.updated

    def load_model(self) -> ForecastModel:
        """Load the model of a finished fit; the data need not exist any more.

        Raises
        ------
        RunError
            If the run has no finished fit.
        """
        self._check_external_model()
        record = self.record
        done = record.fit
        key = fit_key(self.experiment, done, record.fingerprint or "")
        if done is None or not done.finished or done.key != key or not self.model.exists():
            raise RunError(
                f"{self.folder}: holds no finished fit of its experiment; run `gfrnn fit` first"
            )
        return ForecastModel.load(self.model)

    def load_candidates(self, model: ForecastModel) -> tuple[Path, FittedCandidates]:
        """Load the candidates of this run's model, and the path of the store of their triangles.

        Raises
        ------
        RunError
            If the candidates are missing or damaged, or the layout has none.
        """
        if self.experiment.state.layout == "zonal":
            raise RunError(
                f"{self.folder}: state.layout: zonal cannot be refitted or updated from its "
                "triangles, as the rows of a stage depend on the weights of the one before; "
                "run the changed experiment, or that with more data, into a new folder: `gfrnn fit "
                "FILE --output FOLDER`"
            )
        if model.notes.kept is None:
            raise RunError(
                f"{self.model}: has no record of the triangles that it was solved from; run "
                "`gfrnn fit --force` again"
            )
        store = self.folder / model.notes.kept.store
        return store, FittedCandidates.load(Checkpoints(store), model.notes.kept.key)

    def _check_external_model(self) -> None:
        check_external_model(self, self.record, self.experiment)

    def recover(self) -> None:
        """Finish or undo what a killed process has left, unless a process is working here."""
        super().recover()
        done = self.record.fit
        if done is None or not done.finished or not self.updates.exists():
            return
        notes = ModelNotes.read(self.model)
        if notes is None or notes.updated in (None, done.updated):
            return
        # The process was killed after it had replaced the model and before it recorded that.
        with suppress(RunError), self.lock():
            self._note_model(notes, StageRecord(updated=notes.updated))

    def begin_model(self, entry: StageRecord) -> None:
        """Record that a model is being derived from an earlier fit, and what makes it.

        A model in the folder is not used from then on, until :meth:`store_model` has replaced it.
        """
        with self.changing_record() as record:
            record.drop_later("fit")
            record.stages["fit"] = replace(entry, finished=None)

    def store_model(self, model: ForecastModel, entry: StageRecord) -> None:
        """Save a model that was derived from an earlier fit as the product of the stage ``fit``.

        The caller holds the lock. Forecasts of the earlier model are dropped from the record before
        the model is replaced. A process that is killed after that leaves a model with notes that
        the record lacks; :meth:`recover` adds them.

        Parameters
        ----------
        entry : StageRecord
            Entry with ``seconds`` and ``refit``, ``updated`` or ``taken``; key and time of the end
            are set here.
        """
        with self.changing_record() as record:
            record.drop_later("fit")
        self._save_model(model)
        self._note_model(model.notes, entry)

    def _note_model(self, notes: ModelNotes, entry: StageRecord) -> None:
        data = notes.fingerprint
        key = fit_key(self.experiment, entry, data)
        with self.changing_record() as record:
            record.drop_later("fit")
            record.note("fit", replace(entry, key=key, finished=now()), data)

    def _save_model(self, model: ForecastModel) -> None:
        """Save the model, and remove the spectrum of an earlier one, which nothing else marks."""
        shutil.rmtree(self.spectrum, ignore_errors=True)
        self.spectrum_page.unlink(missing_ok=True)
        model.save(self.model)

    # Keys and the record

    def _key_for(self, stage: str) -> str:
        """Return the key of everything that decides the product of a stage."""
        record = self.record
        external = record.external_model
        online = stage == "forecast" and not self.experiment.forecast.store
        if stage == "fit":
            data = "" if external else self.data.fingerprint("fit")
            return fit_key(self.experiment, record.fit, data)
        # Later times may be added to the data, and forecasts must then be scored with them.
        data = self.data.fingerprint(stage, trained=not external)
        key = content_key(forecast_keys(self.experiment), data)
        if stage == "verify":
            cells = {name: content_digest(own) for name, own in self._region_masks.items()}
            return content_key(key, self.experiment.verification.model_dump(mode="json"), cells)
        return content_key(key, "online", self._key_for("verify")) if online else key

    def describe_cluster(self, description: dict[str, Any]) -> None:
        """Record the cluster on which the run is computed."""
        with self.changing_record() as record:
            record.cluster = description

    def _note(self, stage: str, entry: StageRecord) -> None:
        data, digests = self.fingerprint, self._digests(stage)
        periods = {_period_of(fold) for fold in digests}
        with self.changing_record() as record:
            record.note(stage, entry, data)
            # Another horizon or other dates may leave folds of the same periods unused.
            others = {
                fold: digest
                for fold, digest in (record.folds or {}).items()
                if _period_of(fold) not in periods
            }
            record.folds = others | digests

    def _digests(self, stage: str) -> dict[str, str]:
        return self.data.digests(stage, trained=not self.record.external_model)

    def _warn_of_changed_data(self, stage: str) -> None:
        """Log which data of a finished stage have changed."""
        record = self.record
        done = record.stages.get(stage)
        if done is None or not done.finished or not record.folds:
            return
        if changed := changed_folds(record.folds, self._digests(stage)):
            _LOGGER.warning(
                "%s: the data of %s have changed since `gfrnn %s` was run, which is repeated",
                self.folder,
                ", ".join(changed),
                stage,
            )


def _period_of(fold: str) -> str:
    """Return the period of a fold, such as ``train`` of ``train/2001``."""
    return fold.split("/")[0]
