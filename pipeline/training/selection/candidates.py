"""The candidates of a fit on disk: the places of their triangles, and the last training states.

With these, a refit or an update needs neither the archive nor the layout of the states.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints, content_key
from gfrnn.pipeline.reduction.task_memory import check_call
from gfrnn.pipeline.training.model_checks.consistency import check_numbers
from gfrnn.pipeline.training.network_arrays import network_arrays, network_options, rebuild_network
from gfrnn.pipeline.training.triangles import Factors, group_count, merge_factors, solve_bytes
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import Columns

Array = NDArray[Any]

_CHECKPOINT_NAME = "kept"


@dataclass(frozen=True)
class FoldTriangle:
    """The checkpoint key of one fold's triangle, and its number of rows."""

    key: str
    rows: int


@dataclass(frozen=True)
class Candidate:
    """A candidate and the results of its training pass.

    Attributes
    ----------
    values : dict
        Values of the searched keys.
    network : SampledRNN
        Network with hidden weights, not solved.
    size : int
        Number of values that a row predicts at each lead.
    summary : str
        Name of the summary that made the triangles.
    folds : dict of FoldTriangle
        Triangles by fold: ``train/2003``, ``validation/2008``, ...
    variance, truncated_variance : ndarray, shape (leads,)
        Mean squares of the states that decide, those of the validation period or of all years;
        see :func:`gfrnn.pipeline.training.selection.ridge.select_ridge_and_width`.
    prefix : str
        Prefix of the names of its arrays in a summary that it shares with other candidates.
    """

    values: dict[str, Any]
    network: SampledRNN
    size: int
    summary: str
    folds: dict[str, FoldTriangle]
    variance: Array
    truncated_variance: Array
    prefix: str = ""

    def names(self, period: str, without: Iterable[int] = ()) -> list[str]:
        """Return the folds of a period except those of some years."""
        left_out = {f"{period}/{year}" for year in without}
        return [n for n in self.folds if n.startswith(f"{period}/") and n not in left_out]

    def solved_folds(self, fit: FitConfig) -> list[str]:
        """Return the folds whose rows the outer weights of the model are solved from."""
        names = self.names("train", fit.without)
        return names + self.names("validation") if fit.refit == "all" else names

    @property
    def linear_features(self) -> int:
        """Number of features that are not hidden: linear terms, the constant and inputs."""
        return self._columns.linear_features

    @property
    def _columns(self) -> Columns:
        return self.network.columns(self.size, self.network.inputs or 0)

    def check_memory(self, name: str, left_out: int = 0) -> None:
        """Refuse work on the triangle that exceeds the memory of a worker's thread.

        Parameters
        ----------
        name : str
            Name of the work.
        left_out : int
            Number of folds of which each is left out once.

        Raises
        ------
        ResourceError
            If the solve needs more than the usable share of it.
        """
        needed = solve_bytes(group_count(self.network), self._columns.total, left_out)
        check_call(name, needed, "model.width")

    def rows(self, names: Iterable[str]) -> int:
        """Return the number of rows of some folds together."""
        return sum(self.folds[name].rows for name in names)

    def least_rows(self, name: str) -> int:
        """Return the number of rows of the smallest group of places in a fold."""
        groups = self.network.groups
        share = 1.0 if groups is None else np.bincount(groups).min() / len(groups)
        return round(self.folds[name].rows * share)

    def factor(self, checkpoints: Checkpoints, names: Iterable[str]) -> Factors:
        """Return the merged triangles of some folds.

        Raises
        ------
        RunError
            If one of them is missing or damaged.
        """
        return merge_factors(self.load_folds(checkpoints, names))

    def load_folds(self, checkpoints: Checkpoints, names: Iterable[str]) -> SavedFolds:
        """Return the triangles of some folds, which are loaded whenever they are iterated over."""
        return SavedFolds(self, checkpoints, tuple(names))

    def load(self, checkpoints: Checkpoints, name: str) -> Factors:
        """Return the triangles of a fold.

        Raises
        ------
        RunError
            If they are missing or damaged.
        """
        arrays = checkpoints.load(self.summary, self.folds[name].key)
        if arrays is None:
            raise missing_checkpoint(checkpoints.path, self.summary)
        try:
            return self._checked(arrays)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{checkpoints.path}: a triangle of {name} does not fit the candidate that it is "
                f"of ({error}); run `gfrnn fit --force` again"
            ) from error

    def _checked(self, arrays: Arrays) -> Factors:
        """Return triangles of the candidate's columns; no larger array is made before."""
        columns, groups = self._columns.total, group_count(self.network)
        stated = arrays.get(f"{self.prefix}columns")
        if stated is not None and not (stated == columns).all():
            raise ValueError(f"it has {stated.tolist()[:3]} columns, not {columns}")
        factors = Factors.from_arrays(arrays, self.prefix)
        if len(factors.parts) != groups or factors.columns != columns:
            raise ValueError(f"it has other columns than {columns}, or not {groups} parts")
        for part in factors.parts:
            check_numbers("triangle", part.triangle)
        return factors


@dataclass(frozen=True)
class SavedFolds:
    """The triangles of some folds of a candidate on disk, of which one is in memory at a time."""

    candidate: Candidate
    checkpoints: Checkpoints
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Factors]:
        return (self.candidate.load(self.checkpoints, name) for name in self.names)


@dataclass(frozen=True)
class FittedCandidates:
    """The candidates of a fit, and the last states of their training period.

    Attributes
    ----------
    candidates : tuple of Candidate
    tail : ndarray, shape (times, modes)
        The last states without a gap, as many as the first row of an update needs.
    last : numpy.datetime64
        Time of the last of them, which is the latest in the training triangles.
    """

    candidates: tuple[Candidate, ...]
    tail: Array
    last: np.datetime64

    def checkpoints_in_use(self, key: str) -> list[tuple[str, str]]:
        """Return names and keys of the checkpoints of the candidates, saved under a key."""
        triangles = [(c.summary, fold.key) for c in self.candidates for fold in c.folds.values()]
        return [(_CHECKPOINT_NAME, key), *triangles]

    def save(self, checkpoints: Checkpoints) -> str:
        """Save the candidates beside their triangles and return the checkpoint key."""
        about: dict[str, Any] = {"last": str(self.last), "candidates": []}
        arrays: Arrays = {"tail": self.tail}
        for index, candidate in enumerate(self.candidates):
            about["candidates"].append(
                {
                    "values": candidate.values,
                    "network": network_options(candidate.network),
                    "size": candidate.size,
                    "prefix": candidate.prefix,
                    "summary": candidate.summary,
                    "folds": {name: [f.key, f.rows] for name, f in candidate.folds.items()},
                }
            )
            own = network_arrays(candidate.network)
            own |= {"variance": candidate.variance, "beyond": candidate.truncated_variance}
            arrays |= {f"{index}/{name}": values for name, values in own.items()}
        text = json.dumps(about)
        arrays["about"] = np.frombuffer(text.encode(), dtype=np.uint8)
        key = content_key(text)
        checkpoints.save(_CHECKPOINT_NAME, key, arrays)
        return key

    @classmethod
    def load(cls, checkpoints: Checkpoints, key: str) -> FittedCandidates:
        """Load the candidates saved under a key.

        Raises
        ------
        RunError
            If they are missing or damaged.
        """
        arrays = checkpoints.load(_CHECKPOINT_NAME, key)
        if arrays is None:
            raise missing_checkpoint(checkpoints.path, "the candidates")
        try:
            return cls._parse(arrays)
        except Exception as error:  # the run may be anybody's
            raise RunError(
                f"{checkpoints.path}: the candidates of the fit are damaged, or written by another "
                f"version ({type(error).__name__}: {error}); run `gfrnn fit --force` again"
            ) from error

    @classmethod
    def _parse(cls, arrays: Arrays) -> FittedCandidates:
        for name, values in arrays.items():
            check_numbers(name, values)
        about = json.loads(arrays["about"].tobytes())

        def candidate(index: int, entry: dict[str, Any]) -> Candidate:
            start = f"{index}/"
            own = {n.removeprefix(start): v for n, v in arrays.items() if n.startswith(start)}
            return Candidate(
                values=entry["values"],
                variance=own.pop("variance"),
                truncated_variance=own.pop("beyond"),
                network=rebuild_network(entry["network"], own),
                size=entry["size"],
                prefix=entry["prefix"],
                summary=entry["summary"],
                folds={name: FoldTriangle(*fold) for name, fold in entry["folds"].items()},
            )

        candidates = tuple(candidate(i, entry) for i, entry in enumerate(about["candidates"]))
        return cls(candidates, arrays["tail"], np.datetime64(about["last"], "ns"))


def missing_checkpoint(path: Path, name: str) -> RunError:
    """Return the error for a checkpoint that is needed but missing or damaged."""
    return RunError(
        f"{path}: a checkpoint of {name} is missing or damaged; run `gfrnn fit` again, with "
        "--force if it reports the fit as done before"
    )
