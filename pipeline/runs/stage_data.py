"""The data that each stage of a run reads, and their digests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fingerprint import fold_digests
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.forecasting.forecast import initial_times, times_read
from gfrnn.pipeline.training.input_folds import digest_of, training_digests
from gfrnn.pipeline.training.stretches import known_times, steps

Array = NDArray[Any]

UNCHANGED, CHANGED, MISSING = "unchanged", "changed", "missing"
"""States of the data of a fold against the record of a run."""

_PERIODS = {
    "fit": ("train", "validation"),
    "forecast": ("train", "validation", "test"),
    "verify": ("train", "validation", "test", "truth"),
}


class StageData:
    """The data of an experiment as each stage reads them.

    A digest is computed when a stage needs it, and kept: it takes many reads.

    Parameters
    ----------
    experiment : Experiment
    ds : Dataset
        Opened with ``open_source``.
    """

    def __init__(self, experiment: Experiment, ds: xr.Dataset) -> None:
        self._experiment = experiment
        self._ds = ds

    def digests(self, stage: str, *, trained: bool = True) -> dict[str, str]:
        """Return the digest of each fold that decides the product of a stage.

        Parameters
        ----------
        stage : {"fit", "forecast", "verify"}
        trained : bool
            Whether the model is trained on these data, and not copied or updated.

        Returns
        -------
        dict
            By name of the fold: ``train/2001``, ``validation/2008``, ``test/2009`` (fields that
            forecasts start from), ``truth/2009`` (fields that they are compared with).
        """
        found = dict(self.training) if trained else {}
        if stage != "fit":
            found |= self._starts
        return found | self._truth if stage == "verify" else found

    def fingerprint(self, stage: str, *, trained: bool = True) -> str:
        """Return one digest of all data that decide the product of a stage."""
        return digest_of(self._ds, self.digests(stage, trained=trained), *_PERIODS[stage])

    def compare(self, recorded: Mapping[str, str]) -> dict[str, str]:
        """Compare the data with the digests in the record of a run.

        Parameters
        ----------
        recorded : mapping of str
            Digest of each fold, as :meth:`digests` returned it when a stage was computed.

        Returns
        -------
        dict
            For each of these folds ``unchanged``, ``changed``, or ``missing`` where the data have
            no time of the fold any more.
        """
        periods = {fold.split("/")[0] for fold in recorded}
        found: dict[str, str] = {}
        if periods & {"train", "validation"}:
            found |= self.training
        with suppress(ConfigError):  # no forecast can start any more, so all its folds are missing
            found |= self._starts if "test" in periods else {}
            found |= self._truth if "truth" in periods else {}
        return {
            fold: MISSING if fold not in found else UNCHANGED if found[fold] == digest else CHANGED
            for fold, digest in recorded.items()
        }

    def used(self, *, trained: bool = True) -> Array:
        """Return which times any stage reads: bool, shape (times,).

        Parameters
        ----------
        trained : bool
            Whether the model is trained on these data, and not copied or updated.
        """
        mask = np.zeros(len(self._time), dtype=bool)
        if trained:
            mask = known_times(self._time, *(period for _, period in self._experiment.periods))
        read = times_read(self._experiment, self._time)
        mask[read.start : self._truth_times[-1] + 1] = True
        return mask

    @cached_property
    def training(self) -> dict[str, str]:
        """Digests of the folds of the training and the validation period."""
        return training_digests(self._experiment, self._ds)

    @cached_property
    def _starts(self) -> dict[str, str]:
        read = times_read(self._experiment, self._time)
        return fold_digests(self._ds, self._by_year("test", np.arange(read.start, read.stop)))

    @cached_property
    def _truth(self) -> dict[str, str]:
        """Digests of the fields that forecasts are compared with; later ones may be added."""
        return fold_digests(self._ds, self._by_year("truth", self._truth_times))

    @property
    def _truth_times(self) -> Array:
        starts, step = initial_times(self._experiment, self._time), step_of(self._time)
        last = steps("forecast.horizon", self._experiment.forecast.horizon, step)
        return np.arange(int(starts[0]), min(int(starts[-1]) + last + 1, len(self._time)))

    @property
    def _time(self) -> Array:
        return np.asarray(self._ds["time"].values)

    def _by_year(self, name: str, index: Array) -> dict[str, Array]:
        years = pd.DatetimeIndex(self._time[index]).year.to_numpy()
        return {f"{name}/{year}": index[years == year] for year in np.unique(years)}
