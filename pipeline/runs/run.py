"""Run the stages of an experiment in order: fit, forecast, verify; finished ones are skipped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gfrnn.pipeline.data.inspection.audit import check_sample
from gfrnn.pipeline.errors import MissingTimesError, RunError
from gfrnn.pipeline.forecasting.divergence import rollout_counts
from gfrnn.pipeline.forecasting.forecast import check_members, forecast, load_model
from gfrnn.pipeline.forecasting.forecast_store import (
    LIMITED,
    is_unfinished,
    open_forecasts,
    written,
)
from gfrnn.pipeline.forecasting.store_sums import check_sums
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.missing_times import (
    find_missing_times,
    read_missing_times,
    write_missing_times,
)
from gfrnn.pipeline.runs.new_data import check_forecast_data, check_matches_model
from gfrnn.pipeline.runs.record import RunRecord, StageRecord, now
from gfrnn.pipeline.runs.run_products import RunProducts
from gfrnn.pipeline.runs.stage_checks import check_online, check_truth, require_statistics
from gfrnn.pipeline.storage import remove_partial_files, remove_store
from gfrnn.pipeline.training.checks import check_fit
from gfrnn.pipeline.training.fit import check_fit_memory, fit
from gfrnn.pipeline.training.input_folds import with_digests
from gfrnn.pipeline.training.stretches import known_times
from gfrnn.pipeline.verification.checks import check_verification
from gfrnn.pipeline.verification.online.verify_online import verify_online
from gfrnn.pipeline.verification.verify import compute_scores, verify

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageOutcome:
    """Result of a stage.

    Attributes
    ----------
    stage : str
    skipped : bool
        Whether the stage was done before, with the same experiment and data.
    seconds : float
        Wall time; that of the earlier run if the stage was skipped.
    product : Path
        Store that the stage writes.
    """

    stage: str
    skipped: bool
    seconds: float
    product: Path


class Run(RunProducts):
    """An experiment, its stages, and the folder of their products.

    Parameters
    ----------
    experiment : Experiment, str or Path
        An experiment, or the path of an experiment file, which is read as by
        :func:`gfrnn.pipeline.load_experiment`.
    folder : str or Path
        Folder of the run; if it is missing, it is created when something is written into it.
    progress : callable, optional
    force : bool
        Whether to replace the run of another experiment.
    strict : bool
        Whether to refuse to continue a stage with other library versions or BLAS kernels than its
        finished parts were computed with.

    Raises
    ------
    ConfigError
        If the experiment file cannot be read, or is none.
    RunError
        If the folder belongs to another experiment, or is not the folder of a run.
    TypeError
        If the experiment or the folder is something else.
    """

    def check(self, *, force: bool = False, forecast_again: bool = False) -> None:
        """Check the experiment and the data before anything is computed.

        Parameters
        ----------
        force : bool
            Whether the model will be trained again even if it exists.
        forecast_again : bool
            Whether forecasts of the same model will be made again and replace stored ones.

        Raises
        ------
        ConfigError, DataError
            If the experiment cannot be computed with these data.
        RunError
            If the model comes from another run, and the model or its origin is missing.
        """
        trains = force or not self.record.external_model
        if trains in self._checked:  # a command and its stages need one check
            return
        if not force:
            self._check_external_model()
        axis = self.ds["time"].values
        if not trains:
            check_forecast_data(self.experiment, self.ds, self.model, self.updated)
        else:
            check_fit(self.experiment, self.ds)
        check_verification(self.experiment, self.ds, self._region_masks)
        again = force or forecast_again
        check_online(self.experiment, self.ds, self.forecast_store, force=again)
        if trains and (force or not self.is_done("fit")):
            periods = (period for _, period in self.experiment.periods)
            check_sample(self.ds, known_times(axis, *periods), self.experiment.data.allow)
        self._checked.add(trains)

    def check_ready(self, stage: str) -> None:
        """Check that there is what a stage needs from those before it; no cluster is needed.

        Raises
        ------
        ConfigError
            If the horizon of ensembles is not a multiple of the model's step.
        DataError
            If no forecast to be scored has a truth.
        RunError
            If the model or the forecasts are missing, not finished, or not of this experiment and
            these data, or the model cannot make the members.
        """
        self._check_external_model()
        if stage == "forecast":
            self._require("fit", self.model)
            trained = load_model(str(self.model))
            check_matches_model(self.ds, trained)
            check_members(trained, self.experiment.forecast)
        elif stage == "verify" and self.experiment.forecast.store:
            valid = open_forecasts(self.forecast_store)["valid_time"].values
            self._require("forecast", self.forecast_store)
            remedy = "run `gfrnn verify` again when they have been extended"
            check_truth(str(self.forecast_store), valid, self.ds["time"].values, remedy)
        elif stage == "verify":
            require_statistics(self.statistics, self.finished("forecast"))

    def check_memory(self, limit: int) -> None:
        """Check that the tasks of a fit that is to come fit into the memory of a worker's thread.

        Parameters
        ----------
        limit : int
            Bytes of memory that a thread will have.

        Raises
        ------
        ResourceError
        """
        if True in self._checked and not self.is_done("fit"):
            check_fit_memory(self.experiment, self.ds, limit)

    # Stages

    def fit(self, *, force: bool = False) -> StageOutcome:
        """Train the model; the product is ``model.zarr``."""
        self.check(force=force)
        skipped = not force and self.is_done("fit")
        if not skipped:
            with self._computing("fit"):
                if force:
                    Checkpoints(self.summaries).clear()
                    self.missing_times.unlink(missing_ok=True)
                self._with_gaps(self._train)
                Checkpoints(self.updates).clear()
        return self.outcome("fit", skipped)

    def _train(self) -> None:
        # A run whose model is only used has other checks than a fit.
        checked = True in self._checked
        # The digests take many reads, so they are computed once.
        ds = with_digests(self.ds, self.data.training)
        trained = fit(self.experiment, ds, self.folder, self.progress, checked=checked)
        self._save_model(trained)

    def _with_gaps(self, compute: Callable[[], None]) -> None:
        """Compute a stage; if times without any value stop it, once more without these times.

        Raises
        ------
        DataError
            If values are missing in other ways.
        """
        try:
            compute()
        except MissingTimesError:
            used = self.data.used(trained=not self.record.external_model)
            missing = find_missing_times(self.ds, used, self.experiment.data.chunk, self.progress)
            if not missing:
                raise
            known = read_missing_times(self.missing_times)
            write_missing_times(self.missing_times, dict(sorted((known | missing).items())))
            for name in ("ds", "data", "_region_masks"):
                self.__dict__.pop(name, None)
            self._checked.clear()
            self.check()
            compute()

    def forecast(self, *, force: bool = False) -> StageOutcome:
        """Forecast the test period.

        The product is ``forecast.zarr``, or ``statistics.zarr`` where no fields are kept
        (``forecast.store: false``).
        """
        skipped = not force and self.is_done("forecast")
        if not skipped:
            with self._computing("forecast"):
                self.check_ready("forecast")
                if self.record.external_model:
                    self.check(forecast_again=force)
                if self.experiment.forecast.store:
                    self._with_gaps(partial(self._write_forecasts, force))
                else:
                    self._with_gaps(partial(self._score_while_forecasting, force))
        return self.outcome("forecast", skipped)

    def _write_forecasts(self, force: bool) -> None:
        """Write the forecasts; those of an unfinished store with the same key are kept."""
        key, begun = self._key_for("forecast"), self.record.stages.get("forecast")
        if force or begun is None or begun.key != key:
            if not force and is_unfinished(self.forecast_store):
                _LOGGER.warning(
                    "%s: unfinished forecasts of other settings, data or another version are "
                    "replaced; all forecasts are made anew",
                    self.forecast_store,
                )
            remove_store(self.forecast_store)
            self._note("forecast", StageRecord(key=key))
        forecast(self.experiment, self.ds, self.model, self.forecast_store, self.progress)

    def verify(self, *, force: bool = False) -> StageOutcome:
        """Score the forecasts; the product is ``scores.zarr``."""
        skipped = not force and self.is_done("verify")
        if not skipped:
            with self._computing("verify"):
                self.check_ready("verify")
                if self.experiment.forecast.store:
                    self._with_gaps(partial(self._score_forecasts, force))
                else:
                    compute_scores(self.statistics, self.score_store)
        return self.outcome("verify", skipped)

    def _score_while_forecasting(self, force: bool) -> None:
        """Compute the statistics of forecasts of which no fields are kept."""
        if force:
            remove_store(self.forecast_store)
        self._keep_statistics_of("forecast", force)
        verify_online(
            self.experiment,
            self.ds,
            self.model,
            self.statistics,
            self.progress,
            self._key_for("forecast"),
            self._region_masks,
        )

    def _score_forecasts(self, force: bool) -> None:
        """Compute the statistics and the scores of stored forecasts."""
        check_sums(self.forecast_store)
        self._keep_statistics_of("verify", force)
        verify(
            self.ds,
            self.model,
            self.forecast_store,
            self.statistics,
            self.score_store,
            self.experiment.verification,
            self.progress,
            self._key_for("verify"),
            self.experiment.forecast.seed,
            self._region_masks,
            self.experiment.forecast.batch,
            (self.experiment.periods.train,),
        )

    def _keep_statistics_of(self, stage: str, force: bool) -> None:
        """Remove statistics, finished or not, unless this stage has begun them with its key.

        The record of a stage is dropped when the model or the forecasts are made again.
        """
        key, begun = self._key_for(stage), self.record.stages.get(stage)
        if force or begun is None or begun.key != key:
            remove_store(self.statistics)
            self._note(stage, StageRecord(key=key))

    def is_done(self, stage: str) -> bool:
        """Check whether a stage is finished and its product is in the folder."""
        # Scores of earlier versions have no statistics beside them.
        complete = stage != "verify" or self.statistics.exists()
        return complete and self.finished(stage) and self.product(stage).exists()

    @contextmanager
    def _computing(self, stage: str) -> Iterator[None]:
        """Hold the lock while a stage is computed, and record its time once it is finished."""
        with self.lock():
            begun = time.perf_counter()
            for store in (self.forecast_store, self.statistics):
                remove_partial_files(store)  # left by a process that was killed
            self._warn_of_changed_data(stage)
            with self.changing_record() as record:
                self._use_software(record, stage)
                record.reopen_stage(stage)
            yield
            seconds = time.perf_counter() - begun
            entry = StageRecord(key=self._key_for(stage), seconds=round(seconds, 3), finished=now())
            if stage == "forecast":
                made = self.rollouts()
                entry = replace(entry, rollouts=rollout_counts(made, made[LIMITED].values))
            self._note(stage, entry)

    def _has_parts(self, stage: str) -> bool:
        """Whether an unfinished stage has left parts that are used again."""
        if stage == "fit":
            return self.summaries.exists()
        return stage == "forecast" and written(self.forecast_store) is not None

    def _use_software(self, record: RunRecord, stage: str) -> None:
        """Record the software that computes a stage, and warn if other software has begun it.

        Raises
        ------
        RunError
            If other software has begun it, and ``strict`` is set.
        """
        done = record.stages.get(stage)
        resumes = done is not None and not done.finished and self._has_parts(stage)
        if changed := record.use_software(stage, resumes=resumes):
            what = f"{self.folder}: parts of {stage} were computed with other software"
            if self.strict:
                raise RunError(
                    f"{what} ({'; '.join(changed)}), which --strict does not allow; use the same, "
                    "or leave --strict out"
                )
            _LOGGER.warning("%s, so last digits may differ: %s", what, "; ".join(changed))

    def outcome(self, stage: str, skipped: bool) -> StageOutcome:
        """Return the result of a finished stage."""
        seconds = self.record.stages[stage].seconds or 0.0
        return StageOutcome(stage, skipped, seconds, self.product(stage))

    def _require(self, stage: str, product: Path) -> None:
        """Refuse a product that is unfinished, or of another experiment or other data."""
        if product.exists() and not self.finished(stage):
            raise RunError(
                f"{product}: not finished, or not of these data and this experiment; run "
                f"`gfrnn {stage}` first"
            )
