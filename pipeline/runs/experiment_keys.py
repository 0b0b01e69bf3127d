"""Find the keys of an experiment that decide its result, and compare two experiments by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.hidden_values import hide_secrets
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.runs.record import StageRecord

# Keys that do not decide a forecast may differ when a run is resumed; those of the verification
# decide the scores alone.
_INCIDENTAL = ("cluster", "output", "description", "verification")

# Keys that only decide whether work starts.
_PERMISSIONS = ("data.allow",)

MODEL_INDEPENDENT_KEYS = (
    "data.sources",
    "data.chunk",
    "periods.test",
    "forecast.every",
    "forecast.batch",
    "forecast.horizon",
    "forecast.members",
)
"""Keys that do not affect a model; they may change before an updated or copied model forecasts."""

FORECAST_KEYS = ("forecast.horizon", "forecast.batch", "forecast.members")
"""Keys that may change after a fit: what the fit has computed from the data is used again."""

# Forecasts in batches of another size are the same.
_SIZES = ("forecast.batch",)


def deciding_keys(experiment: Experiment, free: Sequence[str] = ()) -> dict[str, Any]:
    """Return the part of an experiment that decides its results, without the ``free`` keys."""
    tree = hide_secrets(to_tree(experiment))  # renewed credentials are the same experiment
    for source in (*tree["data"]["sources"], *tree["data"]["static"]):
        source.pop("storage_options")
    for key in _INCIDENTAL:
        tree.pop(key)
    tree["forecast"].pop("store")  # decides what is kept of forecasts, not their values
    for key in (*_PERMISSIONS, *free):
        section, name = key.split(".")
        tree[section].pop(name)
    if tree["data"]["variables"] is not None:
        # Mappings compare equal in any order, but variables must have the order of the columns.
        tree["data"]["variables"] = list(map(list, tree["data"]["variables"].items()))
    return tree


def experiment_key(experiment: Experiment) -> str:
    """Return the key of everything in an experiment that decides its results."""
    return content_key(deciding_keys(experiment))


def fit_keys(experiment: Experiment, *, refitted: bool = False) -> dict[str, Any]:
    """Return the part of an experiment that decides a model trained on its data.

    The calibration and the errors of ensembles have the leads of the forecasts. Those of a refitted
    model are those of the run that it was refitted from.
    """
    tree = deciding_keys(experiment)
    forecast = tree.pop("forecast")
    if not refitted:
        ensembles = forecast["members"] is not None
        tree["forecast"] = {"horizon": forecast["horizon"], "ensembles": ensembles}
    return tree


def fit_key(experiment: Experiment, entry: StageRecord | None, data: str) -> str:
    """Return the key of a model from its experiment and the fingerprint of its data.

    The data of a run do not decide a model that was copied or updated.

    Parameters
    ----------
    experiment : Experiment
    entry : StageRecord or None
        Record of the stage ``fit``, which tells where the model comes from.
    data : str
    """
    if entry is not None and entry.external:
        return content_key(deciding_keys(experiment, MODEL_INDEPENDENT_KEYS))
    refitted = entry is not None and entry.refit is not None
    return content_key(fit_keys(experiment, refitted=refitted), data)


def forecast_keys(experiment: Experiment) -> dict[str, Any]:
    """Return the part of an experiment that decides its forecasts."""
    return deciding_keys(experiment, _SIZES)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return one line for each key that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    if _are_lists_of_mappings(old, new) and len(old) == len(new):  # such as data.sources
        return [
            line
            for place, pair in enumerate(zip(old, new, strict=True))
            for line in differences(*pair, f"{where}[{place}]")
        ]
    return [] if old == new else [f"{where}: {old!r} there, {new!r} here"]


def _are_lists_of_mappings(*values: Any) -> bool:
    return all(
        isinstance(value, list) and all(isinstance(each, dict) for each in value)
        for value in values
    )
