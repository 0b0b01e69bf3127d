"""A run's folder and its stages in order, each idempotent."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from gfrnn.pipeline.runs.new_data import check_forecast
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.config.experiment import Experiment, load_experiment
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.folder import (
    APART_FROM_MODEL,
    adopt,
    essence,
    exclusive,
    now,
    settled_in,
    updated_in,
)
from gfrnn.pipeline.forecasting.forecast import forecast, initial_times, times_seen
from gfrnn.pipeline.training.candidates import FittedCandidates, gone
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.stretches import steps
from gfrnn.pipeline.training.checks import check_fit
from gfrnn.pipeline.forecasting.store import open_forecasts
from gfrnn.pipeline.data.sources import fingerprint, open_source
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.runs.provenance import surroundings
from gfrnn.pipeline.reduction.tasks import Progress
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.training.fit import fit
from gfrnn.pipeline.verification.verify import verify

_LIBRARIES = ("gfrnn", "numpy", "scipy", "xarray", "zarr", "dask", "distributed")


@dataclass(frozen=True)
class StageOutcome:
    """What became of a stage.

    Attributes
    ----------
    stage : str
    skipped : bool
        It was done before, with the same experiment and data.
    seconds : float
        Wall time, of the earlier run where it was skipped.
    product : Path
    """

    stage: str
    skipped: bool
    seconds: float
    product: Path


class Run:
    """An experiment and the folder that holds what came of it.

    Parameters
    ----------
    experiment : Experiment
    folder : Path
        Made where it is missing.
    progress : callable, optional

    Raises
    ------
    RunError
        If the folder belongs to another experiment, or is something else.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        progress: Progress | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.experiment = experiment
        self.folder = folder.absolute()  # workers may have another working directory
        self.progress = progress
        self._checked: set[bool] = set()
        stores = self._summaries, self.model, self.forecasts
        self._record = adopt(self.folder, experiment, stores, force=force)

    @classmethod
    def reopen(cls, folder: Path, progress: Progress | None = None) -> Run:
        """The run that a folder holds.

        Raises
        ------
        RunError
            If it holds none.
        """
        path = folder / "experiment.yaml"
        if not path.exists():
            raise RunError(f"{folder}: not a run's folder (it has no experiment.yaml)")
        return cls(load_experiment(path), folder, progress)

    @property
    def updates(self) -> Path:
        """The merged triangles of a model that was updated."""
        return self.folder / "updates.zarr"

    @property
    def _summaries(self) -> Path:
        return self.folder / "summaries.zarr"

    @property
    def model(self) -> Path:
        return self.folder / "model.zarr"

    @property
    def forecasts(self) -> Path:
        return self.folder / "forecast.zarr"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.zarr"

    @cached_property
    def ds(self) -> xr.Dataset:
        """The data, opened once."""
        return open_source(self.experiment.data)

    @cached_property
    def fingerprint(self) -> str:
        """Of the data."""
        return fingerprint(self.ds)

    def check(self, *, force: bool = False) -> None:
        """Refuse what cannot work before anything is computed.

        Parameters
        ----------
        force : bool
            The model will be trained anew, whatever is there.

        Raises
        ------
        ConfigError, DataError
        """
        trains = force or not self.settled
        if trains in self._checked:  # what a command has checked, its stages need not check again
            return
        axis = self.ds["time"].values
        if not trains:
            check_forecast(self.experiment, self.ds, self.model, self.updated)
        else:
            check_fit(self.experiment, self.ds)
        steps("forecast.horizon", self.experiment.forecast.horizon, step_of(axis))
        initial_times(self.experiment, axis)
        self._checked.add(trains)

    # Stages

    def fit(self, *, force: bool = False) -> StageOutcome:
        """Train; the product is ``model.zarr``."""
        self.check(force=force)

        def work() -> None:
            if force:
                Checkpoints(self._summaries).clear()
            trained = fit(self.experiment, self.ds, self.folder, self.progress, checked=True)
            trained.save(self.model)
            Checkpoints(self.updates).clear()

        return self._stage("fit", self.model, work, force)

    def forecast(self, *, force: bool = False) -> StageOutcome:
        """Forecast the test period; the product is ``forecast.zarr``."""

        def work() -> None:
            self._require("fit", self.model)
            if self.settled:
                self.check()
            key = self._key_for("forecast")
            if force or self._record["stages"].get("forecast", {}).get("key") != key:
                shutil.rmtree(self.forecasts, ignore_errors=True)
                self._note("forecast", {"key": key})
            forecast(self.experiment, self.ds, self.model, self.forecasts, self.progress)

        return self._stage("forecast", self.forecasts, work, force)

    def verify(self, *, force: bool = False) -> StageOutcome:
        """Score the forecasts; the product is ``scores.zarr``."""

        def work() -> None:
            open_forecasts(self.forecasts)
            self._require("forecast", self.forecasts)
            verify(self.ds, self.model, self.forecasts, self.scores, self.progress)

        return self._stage("verify", self.scores, work, force)

    # The record

    @cached_property
    def _key(self) -> str:
        return self._key_of(self.fingerprint)

    def _key_of(self, fingerprint: str) -> str:
        return content_key(essence(self.experiment), fingerprint)

    @property
    def _key_of_model(self) -> str:
        return content_key(essence(self.experiment, APART_FROM_MODEL))

    def _key_for(self, stage: str) -> str:
        """Of everything that decides the product of a stage."""
        if self.settled and stage == "fit":
            return self._key_of_model
        if self.settled and stage == "forecast":
            # Not of later times: these come, and are what the forecasts will be scored with.
            seen = times_seen(self.experiment, self.ds["time"].values)
            return self._key_of(fingerprint(self.ds.isel(time=seen)))
        return self._key

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return self._record

    @property
    def updated(self) -> dict[str, Any] | None:
        """What was folded into the model after its fit, or None."""
        return updated_in(self._record)

    @property
    def settled(self) -> bool:
        """Whether the model came about without the data of this folder."""
        return settled_in(self._record)

    def finished(self, stage: str) -> bool:
        """Whether a stage is done, with this experiment and these data."""
        done = self._record["stages"].get(stage, {})
        if not done.get("finished"):
            return False
        return bool(done["key"] == self._key_for(stage))

    def trained(self) -> ForecastModel:
        """The model of a finished fit, whether its data are still there or not.

        Raises
        ------
        RunError
            If there is none.
        """
        done = self._record["stages"].get("fit", {})
        key = self._key_of_model
        if not self.settled:
            key = self._key_of(self._record.get("fingerprint", ""))
        if not done.get("finished") or done["key"] != key or not self.model.exists():
            raise RunError(
                f"{self.folder}: holds no finished fit of its experiment; run `gfrnn fit` first"
            )
        return ForecastModel.load(self.model)

    def kept(self, model: ForecastModel) -> tuple[Path, FittedCandidates]:
        """What the fit of this run's model left, and the store that its triangles are in.

        Raises
        ------
        RunError
            If it is gone or damaged.
        """
        if "kept" not in model.notes:
            raise gone(self._summaries, "kept")
        store = self.folder / model.notes["kept"]["store"]
        return store, FittedCandidates.load(Checkpoints(store), model.notes["kept"]["key"])

    def take(self, model: ForecastModel, entry: dict[str, Any]) -> None:
        """Take a model that follows from an earlier fit as the product of the stage fit.

        The caller holds the folder. The record comes first: killed between the two, an update may
        be done again, while no forecast of the earlier model passes for the new one's.

        Parameters
        ----------
        entry : dict
            Of ``run.json``: ``seconds``, and ``refit``, ``updated`` or ``taken``.
        """
        fingerprint = model.notes["fingerprint"]
        settled = "updated" in entry or "taken" in entry
        key = self._key_of_model if settled else self._key_of(fingerprint)
        self._forget_after("fit")
        self._record |= {"fingerprint": fingerprint, **surroundings(_LIBRARIES)}
        self._record["stages"]["fit"] = {"key": key, "finished": now(), **entry}
        self._save()
        model.save(self.model)

    def _require(self, stage: str, product: Path) -> None:
        """Refuse what an earlier stage left for another experiment, other data, or half done."""
        if product.exists() and not self.finished(stage):
            raise RunError(
                f"{product}: not finished, or not of these data and this experiment; run "
                f"`gfrnn {stage}` first"
            )

    def describe_cluster(self, description: dict[str, Any]) -> None:
        """Note where the run is computed."""
        self._record["cluster"] = description
        self._save()

    def _stage(self, stage: str, product: Path, work: Callable[[], None], force: bool) -> StageOutcome:
        if not force and self.finished(stage) and product.exists():
            return StageOutcome(stage, True, self._record["stages"][stage]["seconds"], product)
        with exclusive(self.folder):
            begun = time.perf_counter()
            self._outdate(stage)
            work()
            seconds = time.perf_counter() - begun
        self._note(
            stage,
            {
                "key": self._key_for(stage),
                "seconds": round(seconds, 3),
                "finished": now(),
            },
        )
        return StageOutcome(stage, False, seconds, product)

    def _outdate(self, stage: str) -> None:
        """A stage that is done again, and what follows from it, is not done any more."""
        for mark in ("finished", "updated", "refit", "taken"):
            self._record["stages"].get(stage, {}).pop(mark, None)
        self._forget_after(stage)
        self._save()

    def _forget_after(self, stage: str) -> None:
        order = ("fit", "forecast", "verify")
        for later in order[order.index(stage) + 1 :]:
            self._record["stages"].pop(later, None)

    def _note(self, stage: str, entry: dict[str, Any]) -> None:
        self._record["stages"][stage] = entry
        self._record |= {"fingerprint": self.fingerprint, **surroundings(_LIBRARIES)}
        self._save()

    def _save(self) -> None:
        write_text(self.folder / "run.json", json.dumps(self._record, indent=2) + "\n")
