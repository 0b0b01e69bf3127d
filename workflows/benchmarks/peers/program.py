"""Base class of the programs that a comparison measures."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Setting = dict[str, Any]
"""Names and values that JSON can hold."""


class Program(ABC):
    """A method on the data of one comparison.

    An instance lives in a process of its own. The process calls ``load``, and then measures
    ``search`` or ``fit``; after a fit it calls ``forecast`` and ``score``.

    Parameters
    ----------
    folder : Path
        Folder in which the comparison has prepared its data.
    quick : bool
        Whether to take a small problem, few settings and few steps.
    **options
        Options of the contender.
    """

    def __init__(self, folder: Path, quick: bool, **options: Any) -> None:
        self.folder, self.quick, self.options = folder, quick, options

    def load(self) -> None:  # noqa: B027 - there may be nothing to load
        """Read the data and import the libraries."""

    def search(self) -> Setting:
        """Choose the settings, on validation data only.

        Returns
        -------
        dict
            What ``fit`` takes; the table shows it.
        """
        return {}

    @abstractmethod
    def fit(self, setting: Setting, seed: int) -> Any:
        """Train with a setting and return the trained model."""

    @abstractmethod
    def forecast(self, model: Any) -> Array:
        """Return what is scored on test data, such as forecasts; means of seeds are scored too."""

    @abstractmethod
    def score(self, forecast: Array) -> dict[str, float]:
        """Return errors on test data by key of the comparison."""


def grid_of(**values: list[Any]) -> list[Setting]:
    """Return all combinations of values by name."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def best_setting(
    settings: list[Setting], error: Callable[[Setting], float | Mapping[str, Any]]
) -> Setting:
    """Return the setting with the least error on validation data.

    Parameters
    ----------
    settings : list of dict
    error : callable
        Setting to its error; or to a mapping with the key ``error``, whose other entries (such as a
        number of epochs) are added to the setting. An error that is not finite never wins.

    Raises
    ------
    ArithmeticError
        If no error is finite.
    """
    best, least = None, np.inf
    for setting in settings:
        found = error(setting)
        entries = dict(found) if isinstance(found, Mapping) else {"error": found}
        value = float(entries.pop("error"))
        if value < least:
            best, least = {**setting, **entries}, value
    if best is None:
        raise ArithmeticError(f"none of {len(settings)} settings has a finite validation error")
    return best
