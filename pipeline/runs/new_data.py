"""Open new data for a trained model, check that they match it, and encode them as states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.dataset import log_losses, open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import format_extent, same_coordinates
from gfrnn.pipeline.data.time_axis import format_minute, step_of
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.layouts import Layout
from gfrnn.pipeline.training.checks import check_chunks
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import Updates
from gfrnn.pipeline.training.stretches import (
    check_periods,
    known_times,
    leaf_length,
    split,
    stated_times,
)

Array = NDArray[Any]

# Keys of the section data with which messages on files begin.
_KEY = re.compile(
    r"^data\.(?:variables|transform|aggregate|sources)(?:\[\d+\])?\.?(\w*): ", re.MULTILINE
)

# Root mean square anomaly over all cells and times, in standard deviations of the channel. It is
# about 1 for weather, and 10 or more for anomalies, another quantity or another unit.
_IMPLAUSIBLE = 10.0


def open_new_data(
    data: DataConfig, paths: Sequence[str], model: ForecastModel, period: Period | None = None
) -> Fields:
    """Open new data like the data of the run, with the model's variables and levels.

    Parameters
    ----------
    data : DataConfig
        Data section of the run: region, step, and the names, units and levels of its sources.
    paths : sequence of str
        Any number of paths if all sources of the run have equal settings; otherwise one path for
        each source, in their order.
    period : Period, optional
        Times to select; all by default.

    Raises
    ------
    ConfigError, DataError
        If the data are missing or not readable, or differ from the model in grid or step.
    """
    ds = open_given_data(with_new_sources(data, paths, model), "NEW_DATA")
    log_losses(ds, "NEW_DATA")
    check_matches_model(ds, model)
    inside = np.ones(ds.sizes["time"], dtype=bool)
    if period is not None:
        inside = period.mask(ds["time"].values)
    if not inside.any():
        first, last = (format_minute(ds["time"].values[place]) for place in (0, -1))
        raise DataError(
            f"--period: {period} contains no time of NEW_DATA, which go from {first} to {last}; "
            "choose dates within them"
        )
    check_chunks(ds, inside)
    return model.fields(ds.isel(time=slice(inside.argmax(), len(inside) - inside[::-1].argmax())))


def open_given_data(data: DataConfig, where: str) -> xr.Dataset:
    """Open data that an argument or option gives in place of those of a run.

    Parameters
    ----------
    data : DataConfig
        From :func:`with_new_sources`.
    where : str
        Argument or option of the paths; messages name it, as no experiment file has these data.

    Raises
    ------
    DataError
    """
    try:
        return open_source(data)
    except DataError as error:
        named = _KEY.sub(lambda key: f"{where}: {key[1]}{': ' * bool(key[1])}", str(error))
        raise DataError(named) from None


def with_new_sources(
    data: DataConfig, paths: Sequence[str], model: ForecastModel, where: str = "NEW_DATA"
) -> DataConfig:
    """Return the data section of a run with other paths, and the model's variables and levels.

    Parameters
    ----------
    data, paths, model
        As for :func:`open_new_data`.
    where : str
        Argument or option of the paths, for error messages.

    Raises
    ------
    ConfigError
        If the number of paths does not suit the sources of the run.
    """
    variables: dict[str, list[float] | None] = {}
    for channel in model.layout.scaling.grid.channels:
        levels = variables.setdefault(channel.variable, None if channel.level is None else [])
        if levels is not None and channel.level is not None:
            levels.append(channel.level)
    given: dict[str, Any] = {
        "sources": _new_sources(data.sources, paths, where),
        "variables": variables,
    }
    sums = model.notes.sums or {}
    if model.step.monthly or sums:  # one new time alone does not show its step
        given["step"] = model.step
    # Few new times do not show either when their sums begin anew.
    known = {name: Duration.parse(period) for name, (period, _) in sums.items()}
    given["sources"] = [
        source.model_copy(update={"accumulated": known | source.accumulated})
        for source in given["sources"]
    ]
    return data.model_copy(update=given)


def _new_sources(
    sources: list[SourceConfig], paths: Sequence[str], where: str
) -> list[SourceConfig]:
    """Return sources with the new paths and all other settings of the run's sources."""
    if len(paths) != len(sources):
        if any(_with_path(source, "") != _with_path(sources[0], "") for source in sources):
            raise ConfigError(
                f"{where}: {len(paths)} given, but the run has {len(sources)} data.sources that "
                "differ in level, rename, units or storage_options; give one for each, in their "
                "order"
            )
        sources = [sources[0]] * len(paths)
    return [_with_path(source, path) for source, path in zip(sources, paths, strict=True)]


def _with_path(source: SourceConfig, path: str) -> SourceConfig:
    return source.model_copy(update={"path": path})


def check_matches_model(ds: xr.Dataset, model: ForecastModel) -> None:
    """Check that data have the grid, channels and step of the model, and sums like its own.

    Raises
    ------
    DataError
        If one of them differs.
    """
    found, own = Fields(ds).grid, model.layout.scaling.grid
    if found.channels != own.channels:
        there, wanted = ([channel.name for channel in g.channels] for g in (found, own))
        what = f"the data have the channels {there}, the model has {wanted}"
        if sorted(there) == sorted(wanted):
            raise DataError(
                f"{what}, in another order; write data.variables in the order of the model, or fit "
                "it again with `gfrnn fit --force`"
            )
        raise DataError(f"{what}; give data with the model's variables and levels")
    for name in ("latitude", "longitude"):
        a, b = getattr(found, name), getattr(own, name)
        if not same_coordinates(a, b):
            raise DataError(
                f"the data have the {name}s {format_extent(a)}, the model has {format_extent(b)}; "
                "give data of the model's grid, or interpolate them to it"
            )
    time = ds["time"].values
    if len(time) > 1 and step_of(time) != model.step:
        raise DataError(
            f"the data have a step of {step_of(time)}, the model of {model.step}; give data with "
            "the model's step, or a shorter one and data.step"
        )
    for name, trained in (model.notes.sums or {}).items():
        stored = ds.attrs["sums"].get(name)
        if not _like_sums(stored, trained):
            raise DataError(
                f"{name}: the data have {_describe_sums(stored)}, but the model was trained on "
                f"{_describe_sums(trained)}; give data like these, or leave a wrong "
                "data.sources.accumulated out"
            )


def _like_sums(found: tuple[str, str] | None, wanted: tuple[str, str]) -> bool:
    """Return whether stored sums begin anew alike: with each step of the files, or later."""
    if found is None or found[0] != wanted[0]:
        return False
    return found == wanted or (found[0] != found[1] and wanted[0] != wanted[1])


def _describe_sums(sums: tuple[str, str] | None) -> str:
    if sums is None:
        return "values that are no sums over time"
    period, step = sums
    return f"sums over {step}" if period == step else f"sums that begin anew every {period}"


def check_follows_training(time: Array, last: np.datetime64, step: Duration) -> None:
    """Check that new times follow those of the training, by whole steps.

    Raises
    ------
    DataError
        If the model was trained with a time, or a time is not a whole number of steps later.
    """
    first, end = format_minute(time[0]), format_minute(last)
    if time[0] <= last:
        raise DataError(
            f"NEW_DATA: begin at {first}, but the model was trained with data up to {end}; give "
            f"later times only (--period START END takes a part of NEW_DATA)"
        )
    if off := np.flatnonzero(step.after(last, step.count(last, time)) != time).tolist():
        raise DataError(
            f"NEW_DATA: {format_minute(time[off[0]])} is not a whole number of steps "
            f"({step}) after {end}, the last time that the model "
            "was trained with; give times at the model's steps"
        )


def check_forecast_data(
    experiment: Experiment, ds: xr.Dataset, model: Path, updated: Updates | None
) -> None:
    """Check that data match the model, and that no update trained it with times to be scored.

    Parameters
    ----------
    updated : Updates or None
        Updates of the model.

    Raises
    ------
    ConfigError
        If the test period begins before the end of the updates, or an index has no cells.
    DataError
        If the data differ from the model in grid, channels or step.
    """
    trained = ForecastModel.load(model)
    check_matches_model(ds, trained)
    index_weights(experiment.verification.indices, trained.layout.scaling.grid)
    time, test = ds["time"].values, experiment.periods.test
    check_periods(stated_times(ds), [("test", test)])
    used = known_times(time, test)
    last = None if updated is None else np.datetime64(updated.last)
    if last is not None and time[used][0] < last:
        raise ConfigError(
            f"periods.test: {test} begins before {format_minute(last)}, up to which the model was "
            "trained by an update; scores at times of the training would be too good; "
            "choose a test period that begins then or later"
        )
    check_chunks(ds, used)


@dataclass(frozen=True)
class NewStateSummary:
    """Summary of new times: their states, and the distance of their fields from the climatology.

    ``squares`` is, per channel, the sum over cells and times of the squared anomaly in units of the
    channel's variance.
    """

    fields: Fields
    layout: Layout
    name: str = "new states"
    remedy: str = "data.chunk"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        scaled = self.layout.scaling.scaled_anomalies(values, time)
        squares = np.square(scaled).sum(axis=0).reshape(len(self.fields.grid.channels), -1)
        return {"states": self.layout.project(scaled), "squares": squares.sum(axis=1)}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {
            "states": np.concatenate([left["states"], right["states"]]),
            "squares": left["squares"] + right["squares"],
        }

    def leaf_bytes(self, stretch: Stretch) -> int:
        times = stretch.stop - stretch.start
        # Anomalies overwrite the fields; beside them there are their squares, or copies as states.
        scaling = 3 * 8 * times * self.fields.grid.size
        return max(self.fields.read_bytes(times), scaling)

    def merge_bytes(self) -> int:
        return 2 * 8 * len(self.fields.time) * self.layout.size


def encode_new_data(
    fields: Fields, model: ForecastModel, chunk: int | None, progress: Progress | None
) -> Array:
    """Return the states of all new times: shape (times, modes).

    Raises
    ------
    DataError
        If a value is missing, or a channel is implausibly far from the model's climatology.
    """
    length = leaf_length(fields.grid.size, chunk)
    pieces = split(Stretch("new", 0, len(fields.time)), length)
    summary = NewStateSummary(fields, model.layout)
    (root,) = reduce_stretches(summary, pieces, key="", progress=progress).values()
    cells = fields.grid.valid.sum(axis=(1, 2))
    distance = np.sqrt(root["squares"] / (cells * len(fields.time)))
    std = model.layout.scaling.climatology.std
    for channel, far, unit in zip(fields.grid.channels, distance, std, strict=True):
        if far > _IMPLAUSIBLE:
            raise DataError(
                f"NEW_DATA: {channel.name} differs from the model's climatology by {far:.3g} "
                f"standard deviations of {unit:.3g} (root mean square); about 1 is usual, at most "
                f"{_IMPLAUSIBLE:g} is allowed; check that it is the same quantity, not an anomaly, "
                "and in the unit that the file states"
            )
    return np.asarray(root["states"])
