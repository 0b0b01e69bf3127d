"""Paths on the command line: experiment files, folders of runs, and data given in place of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gfrnn.pipeline import Experiment, load_experiment
from gfrnn.pipeline.data.files.file_formats import ZARR_MARKS
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.runs.folder import RunFolder

# A URL as a path has lost a slash.
_URL = re.compile(r"^(\w+):/(?!/)")

YAML_NAMES = (".yaml", ".yml")
_DATA_NAMES = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".grib", ".grb", ".grib2", ".grb2", ".zarr")


def default_folder(experiment: Experiment) -> Path:
    """Return the folder of an experiment's run if no other one is given."""
    return Path(experiment.output or Path("runs") / experiment.name)


def folder_for(path: Path, experiment: Experiment) -> Path:
    """Return the folder that a path stands for: a folder of a run, or an experiment file.

    The file ``experiment.yaml`` in the folder of a run stands for this folder.
    """
    if path.is_dir():
        return path
    return path.parent if _is_of_run(path) else default_folder(experiment)


def _is_of_run(path: Path) -> bool:
    folder = RunFolder(path.parent)
    return path.name == folder.experiment_file.name and folder.record_file.exists()


def given_experiment(path: Path) -> Experiment:
    """Load an experiment file, or the experiment of the run in a folder.

    Raises
    ------
    ConfigError, RunError
        If it cannot be read, or is data and not an experiment.
    """
    _check_no_data(path)
    return RunFolder(path).stored_experiment() if path.is_dir() else load_experiment(path)


def folder_of_run(path: Path, *, stores: bool = False) -> Path:
    """Return the folder of a run, given itself or its experiment file.

    Parameters
    ----------
    path : Path
    stores : bool
        Whether stores are allowed too, and returned as they are.

    Raises
    ------
    ConfigError
        If the file cannot be read, or the path is that of data.
    RunError
        If the experiment of the file has no run, or its folder holds that of another experiment.
    """
    if not stores:
        _check_no_data(path)
    if path.is_dir() or path.suffix not in YAML_NAMES:
        return path
    experiment = load_experiment(path)
    folder = folder_for(path, experiment)
    run = RunFolder(folder)
    if not run.experiment_file.exists():
        run.refuse_lost_experiment()
        raise RunError(
            f"{path}: its run is not in {folder}; give the folder of the run (--output of "
            "`gfrnn run`), or make it with `gfrnn run`"
        )
    run.check_claim(experiment)
    return folder


def _check_no_data(path: Path) -> None:
    """Refuse data in place of an experiment file or of the folder of a run."""
    if path.is_dir() and _holds_results(path):
        return
    store = path.is_dir() and any((path / mark).exists() for mark in ZARR_MARKS)
    if store and RunFolder(path.parent).experiment_file.exists():
        raise ConfigError(
            f"{path}: is a store of the run in {path.parent}; give {path.parent} instead"
        )
    data = _URL.sub(r"\1://", str(path))
    files = path.is_dir() and any(next(path.glob(f"*{each}"), None) for each in _DATA_NAMES)
    if files and not store:
        data += "/*"
    if store or files or path.suffix in _DATA_NAMES:
        raise ConfigError(
            f"{path}: is data, and neither an experiment file nor the folder of a run; "
            f"`gfrnn new {shlex.quote(data)} --save my.yaml` writes an experiment file for it"
        )


def _holds_results(folder: Path) -> bool:
    """Return whether a folder is that of a run or of a verification, or holds such folders."""
    places = map(RunFolder, [folder, *(each for each in folder.iterdir() if each.is_dir())])
    return any(
        place.holds_run
        or place.score_store.exists()
        or (place.record_file.exists() and place.model.exists())  # a damaged record
        for place in places
    )
