"""A run's folder and its stages in order, each idempotent."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from pipeline.checkpoints import Checkpoints, content_key
from pipeline.config import Experiment, dump_experiment, load_experiment, to_tree
from pipeline.errors import RunError
from pipeline.forecast import forecast, initial_times
from pipeline.plan import steps
from pipeline.preflight import check_fit
from pipeline.products import open_forecasts
from pipeline.sources import fingerprint, open_source
from pipeline.storage import write_text
from pipeline.surroundings import surroundings
from pipeline.tasks import Progress
from pipeline.times import step_of
from pipeline.train import fit
from pipeline.verify import verify

# What does not decide a result, and so may differ when a run is taken up again.
_INCIDENTAL = ("cluster", "output", "description")

_LIBRARIES = ("gfrnn", "numpy", "scipy", "xarray", "zarr", "dask", "distributed")


@dataclass(frozen=True)
class Outcome:
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
        self._adopt(force)

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

    def check(self) -> None:
        """Refuse what cannot work before anything is computed.

        Raises
        ------
        ConfigError, DataError
        """
        check_fit(self.experiment, self.ds)
        axis = self.ds["time"].values
        steps("forecast.horizon", self.experiment.forecast.horizon, step_of(axis))
        initial_times(self.experiment, axis)

    # Stages

    def fit(self, *, force: bool = False) -> Outcome:
        """Train; the product is ``model.zarr``."""
        self.check()

        def work() -> None:
            if force:
                Checkpoints(self._summaries).clear()
            trained = fit(self.experiment, self.ds, self.folder, self.progress)
            trained.save(self.model)

        return self._stage("fit", self.model, work, force)

    def forecast(self, *, force: bool = False) -> Outcome:
        """Forecast the test period; the product is ``forecast.zarr``."""

        def work() -> None:
            self._require("fit", self.model)
            if force or self._record["stages"].get("forecast", {}).get("key") != self._key:
                shutil.rmtree(self.forecasts, ignore_errors=True)
                self._note("forecast", {"key": self._key})
            forecast(self.experiment, self.ds, self.model, self.forecasts, self.progress)

        return self._stage("forecast", self.forecasts, work, force)

    def verify(self, *, force: bool = False) -> Outcome:
        """Score the forecasts; the product is ``scores.zarr``."""

        def work() -> None:
            open_forecasts(self.forecasts)
            self._require("forecast", self.forecasts)
            verify(self.ds, self.model, self.forecasts, self.scores, self.progress)

        return self._stage("verify", self.scores, work, force)

    # The record

    @cached_property
    def _key(self) -> str:
        return content_key(_essence(self.experiment), self.fingerprint)

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return self._record

    def finished(self, stage: str) -> bool:
        """Whether a stage is done, with this experiment and these data."""
        done = self._record["stages"].get(stage, {})
        return bool(done.get("finished")) and done["key"] == self._key

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

    def _stage(self, stage: str, product: Path, work: Callable[[], None], force: bool) -> Outcome:
        if not force and self.finished(stage) and product.exists():
            return Outcome(stage, True, self._record["stages"][stage]["seconds"], product)
        with _exclusive(self.folder):
            begun = time.perf_counter()
            self._outdate(stage)
            work()
            seconds = time.perf_counter() - begun
        self._note(
            stage,
            {
                "key": self._key,
                "seconds": round(seconds, 3),
                "finished": f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        return Outcome(stage, False, seconds, product)

    def _outdate(self, stage: str) -> None:
        """What follows from a stage that is done again must be done again too."""
        order = ("fit", "forecast", "verify")
        for later in order[order.index(stage) + 1 :]:
            self._record["stages"].pop(later, None)
        self._record["stages"].get(stage, {}).pop("finished", None)
        self._save()

    def _note(self, stage: str, entry: dict[str, Any]) -> None:
        self._record["stages"][stage] = entry
        self._record |= {"fingerprint": self.fingerprint, **surroundings(_LIBRARIES)}
        self._save()

    def _save(self) -> None:
        write_text(self.folder / "run.json", json.dumps(self._record, indent=2) + "\n")

    def _adopt(self, force: bool) -> None:
        """Take the folder, unless it belongs to another experiment."""
        path = self.folder / "experiment.yaml"
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder}: not a folder; choose another --output")
        if path.exists():
            begun = any(store.exists() for store in (self._summaries, self.model, self.forecasts))
            # An experiment that was refused before it computed anything may be mended in place.
            if begun and not force:
                self._compare(path)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise RunError(
                f"{self.folder}: not empty and not a run's folder (it has no experiment.yaml); "
                "choose another --output"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(path, dump_experiment(self.experiment))
        self._record: dict[str, Any] = {"name": self.experiment.name, "stages": {}}
        record = self.folder / "run.json"
        if record.exists():
            self._record = json.loads(record.read_text(encoding="utf-8"))

    def _compare(self, path: Path) -> None:
        differing = _differences(_essence(load_experiment(path)), _essence(self.experiment))
        if differing:
            raise RunError(
                f"{self.folder}: holds a run of another experiment ({'; '.join(differing[:5])}); "
                "choose another --output, or replace it with `gfrnn run --force`"
            )


def _essence(experiment: Experiment) -> dict[str, Any]:
    """The part of an experiment that decides its result."""
    tree = to_tree(experiment)
    for key in _INCIDENTAL:
        tree.pop(key)
    return tree


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    return [] if old == new else [f"{where}: {old!r} there, {new!r} here"]


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep a second process from working in the same folder; the lock ends with the process."""
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: another process is working in it; wait for it, or choose another "
                "--output"
            ) from None
        yield
