"""Folder of a run: its paths, its lock, its experiment and its record."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, shown_experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.config.yaml_tree import read_tree
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.experiment_keys import (
    FORECAST_KEYS,
    MODEL_INDEPENDENT_KEYS,
    deciding_keys,
    differences,
    experiment_key,
)
from gfrnn.pipeline.runs.record import RunRecord
from gfrnn.pipeline.storage import interrupted, recover, refuse_links, write_text

# The processes of a batch job exchange files here, possibly before the run has written anything.
_CLUSTER = "cluster"

_LOCK = ".lock"

# What a process may leave that was killed before the experiment file was there.
_FIRST_FILES = (_CLUSTER, _LOCK, "experiment.yaml.partial")


class RunFolder:
    """Paths of a run, and the lock that lets one process at a time work on them.

    Parameters
    ----------
    folder : Path
        Folder of the run; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        # Workers may have another working directory. Paths are printed, so "a/../b" becomes "b".
        self.folder = folder.resolve() if ".." in folder.parts else folder.absolute()
        self._locked = False

    @property
    def experiment_file(self) -> Path:
        """File of the experiment with all defaults filled in."""
        return self.folder / "experiment.yaml"

    @property
    def record_file(self) -> Path:
        """File of the record of the stages."""
        return self.folder / "run.json"

    @property
    def summaries(self) -> Path:
        """Folder of the checkpoints of the fit, and of the states of all times."""
        return self.folder / "summaries.zarr"

    @property
    def missing_times(self) -> Path:
        """File of the times at which a variable has no value at all, which count as gaps."""
        return self.folder / "missing_times.json"

    @property
    def updates(self) -> Path:
        """Folder of the merged triangles of an updated model."""
        return self.folder / "updates.zarr"

    @property
    def model(self) -> Path:
        """Store of the model, the product of the stage ``fit``."""
        return self.folder / "model.zarr"

    @property
    def forecast_store(self) -> Path:
        """Store of the forecasts, the product of the stage ``forecast``."""
        return self.folder / "forecast.zarr"

    @property
    def statistics(self) -> Path:
        """Store of the statistics of each pair of forecast and truth, which scores are made of."""
        return self.folder / "statistics.zarr"

    @property
    def score_store(self) -> Path:
        """Store of the scores, the product of the stage ``verify``."""
        return self.folder / "scores.zarr"

    @property
    def spectrum(self) -> Path:
        """Store of the periods, damping and maps of the modes of the linear dynamics."""
        return self.folder / "spectrum.zarr"

    @property
    def spectrum_page(self) -> Path:
        """Page about the modes in the store of the spectrum."""
        return self.folder / "spectrum.html"

    def product(self, stage: str) -> Path:
        """Return the store that a stage writes."""
        return {"fit": self.model, "forecast": self.forecast_store, "verify": self.score_store}[
            stage
        ]

    @property
    def report(self) -> Path:
        """Page of the report."""
        return self.folder / "report.html"

    def read_record(self) -> RunRecord:
        """Read the record of the run; return an empty one if there is none."""
        return RunRecord.read(self.record_file) or RunRecord()

    def check_verified(self) -> None:
        """Check that the scores in the folder are those of the forecasts in it.

        Raises
        ------
        RunError
            If the forecasts are not verified, or were made again after they had been.
        """
        done = self.read_record().stages.get("verify")
        if done is None or not done.finished or not self.score_store.exists():
            raise RunError(f"{self.score_store}: no scores of this run; run `gfrnn verify` first")

    @contextmanager
    def changing_record(self) -> Iterator[RunRecord]:
        """Lock the folder, read the record, and write it atomically when the block ends.

        Nothing that another process has recorded meanwhile is lost. After an error in the block,
        nothing is written.

        Raises
        ------
        RunError
            If another process holds the lock.
        """
        with self.lock():
            record = self.read_record()
            yield record
            record.write(self.record_file)

    def stored_experiment(self) -> Experiment:
        """Read the experiment in the folder.

        Its file has all keys. Runs of versions without ``model.combine_leads`` have the rule that
        these versions knew.

        Raises
        ------
        RunError
            If the folder has no experiment.
        """
        if not self.experiment_file.exists():
            self.refuse_lost_experiment()
            raise RunError(
                f"{self.folder}: not a run's folder (it has no experiment.yaml); give the folder "
                "of a run, such as runs/NAME, or make one with `gfrnn run FILE`"
            )
        tree = read_tree(self.experiment_file)
        model = tree.get("model")
        if isinstance(model, dict) and model.get("leads"):
            model.setdefault("combine_leads", "longest")
        return checked(Experiment, tree, str(self.experiment_file))

    @property
    def holds_run(self) -> bool:
        """Whether the folder has the experiment or the record of a run."""
        if self.experiment_file.exists():
            return True
        with suppress(RunError):  # other programs have files called run.json too
            return RunRecord.read(self.record_file) is not None
        return False

    def refuse_lost_experiment(self) -> None:
        """Refuse a run whose experiment file was removed.

        Raises
        ------
        RunError
            If the folder has the record of a run and no experiment.
        """
        if self.experiment_file.exists() or not self.holds_run:
            return
        done = self.read_record().fit
        if done is not None and (done.taken or done.refit):
            remedy = "repeat the command that made the run, such as `gfrnn refit`, with --force"
        else:
            command = f"gfrnn run FILE --output {shlex.quote(str(self.folder))}"
            remedy = (
                f"`{command}` with the same experiment file writes it again and keeps what is "
                "finished; with another one, --force replaces the run"
            )
        raise RunError(
            f"{self.folder}: is the folder of a run whose experiment.yaml is missing; {remedy}"
        )

    def check_links(self) -> None:
        """Refuse links in the folder and at the top of its stores; the folder itself may be one.

        Raises
        ------
        RunError
            If there is a link, as in the folder of somebody else what it leads to is not ours.
        """
        if self.folder.is_dir():
            refuse_links(*self.folder.iterdir())
            refuse_links(*self.folder.glob("*.zarr*/*"), *self.folder.glob("*.zarr*/*/*"))

    def recover(self) -> None:
        """Finish or undo what a killed process has left, unless a process is working here."""
        stores = [self.model, self.score_store, self.spectrum]
        left = [store for store in stores if interrupted(store)]
        if not left or not os.access(self.folder, os.W_OK):
            return
        with suppress(RunError), self.lock():
            for store in left:
                recover(store)

    @property
    def begun(self) -> bool:
        """Whether anything was computed in the folder."""
        return any(path.exists() for path in (self.summaries, self.model, self.forecast_store))

    @property
    def free(self) -> bool:
        """Whether the folder is missing, empty, or left by a process killed before its record."""
        if not self.folder.is_dir():
            return not self.folder.exists()
        if not self.experiment_file.exists():
            return all(path.name in _FIRST_FILES for path in self.folder.iterdir())
        return not (self.begun or self.updates.exists() or self.record_file.exists())

    def claim(self, experiment: Experiment, *, force: bool) -> None:
        """Claim the folder for an experiment.

        Raises
        ------
        RunError
            If the folder belongs to another experiment, or is not the folder of a run.
        """
        self.check_claim(experiment, force=force)
        text = dump_experiment(experiment)
        private = text != shown_experiment(experiment)
        if not self._holds(text):
            with self.lock():
                # Another process may have claimed the folder before the lock was free.
                self.check_claim(experiment, force=force)
                write_text(self.experiment_file, text, private=private)
        elif private:
            self.experiment_file.chmod(0o600)

    def _holds(self, text: str) -> bool:
        path = self.experiment_file
        return path.exists() and path.read_text(encoding="utf-8") == text

    def check_claim(self, experiment: Experiment, *, force: bool = False) -> None:
        """Check that the folder is free for an experiment, or holds its run.

        Raises
        ------
        RunError
            As for :meth:`claim`.
        """
        folder = self.folder
        if self.free:
            return
        if not folder.is_dir():
            raise RunError(f"{folder}: exists and is not a folder; choose another --output")
        if not self.experiment_file.exists():
            if not self.record_file.exists():
                raise RunError(
                    f"{folder}: not empty and not a run's folder (it has no experiment.yaml); "
                    "choose another --output"
                )
            record = self.read_record()  # a file of this name that is no record is refused
            if not force and record.experiment != experiment_key(experiment):
                self.refuse_lost_experiment()
            return
        # The experiment may be changed as long as nothing was computed with it.
        if force or not self.begun:
            return
        external = self.read_record().external_model
        free = MODEL_INDEPENDENT_KEYS if external else FORECAST_KEYS
        there, here = (deciding_keys(each, free) for each in (self.stored_experiment(), experiment))
        if differing := differences(there, here):
            raise RunError(
                f"{folder}: holds a run of another experiment ({'; '.join(differing[:5])}); "
                "choose another --output (`gfrnn run --force` would replace the run, and train "
                "again)"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder if it is missing, and lock it against other processes.

        A block that holds the lock may contain others. The lock ends with the process.

        Raises
        ------
        RunError
            If another process holds the lock.
        """
        if self._locked:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / _LOCK, "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.folder}: another process is using this folder; wait for it, or "
                    "choose another --output"
                ) from None
            self._locked = True
            try:
                yield
            finally:
                self._locked = False
