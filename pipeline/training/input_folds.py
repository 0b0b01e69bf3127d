"""The data that decide a model: the folds of its periods, and their digests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fingerprint import description_digest, fold_digests
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.training.stretches import folds

Array = NDArray[Any]

_STATED = "fold_digests"


def training_digests(experiment: Experiment, ds: xr.Dataset) -> dict[str, str]:
    """Return the digests of the folds of the training and the validation period.

    A copy of the data states those of the original, see :func:`with_digests`.
    """
    if (stated := ds.attrs.get(_STATED)) is not None:
        return dict(stated)
    return period_digests(experiment, ds, "train", "validation")


def period_digests(experiment: Experiment, ds: xr.Dataset, *names: str) -> dict[str, str]:
    """Return the digests of the folds, ``train/2001`` and so on, of some periods."""
    time = ds["time"].values
    times: dict[str, list[Array]] = {}
    for name in names:
        for part in folds(time, getattr(experiment.periods, name), name):
            times.setdefault(part.fold, []).append(np.arange(part.start, part.stop))
    return fold_digests(ds, {fold: np.concatenate(parts) for fold, parts in times.items()})


def with_digests(ds: xr.Dataset, digests: Mapping[str, str]) -> xr.Dataset:
    """Return a Dataset that states the digests of its training and validation folds."""
    return ds.assign_attrs({_STATED: dict(digests)})


def digest_of(ds: xr.Dataset, digests: Mapping[str, str], *names: str) -> str:
    """Return one digest of the description of the data and of the folds of some periods."""
    own = {fold: each for fold, each in digests.items() if fold.split("/")[0] in names}
    return content_key(description_digest(ds), own)


def changed_folds(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the folds whose data differ, of those that both know."""
    return [fold for fold, digest in now.items() if before.get(fold, digest) != digest]
