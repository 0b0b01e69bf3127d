"""Forecast from every initial time of the test period, each into its own region of the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.fit_config import ForecastConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.time_axis import segments, step_of
from gfrnn.pipeline.data.transforms import Transform
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting.divergence import DecodedLead, departures
from gfrnn.pipeline.forecasting.ensemble_members import EnsembleMembers
from gfrnn.pipeline.forecasting.forecast_store import (
    create_forecast_store,
    finish_forecast_store,
    mark_batches,
    written,
)
from gfrnn.pipeline.forecasting.forecast_writer import (
    member_writing_bytes,
    shard_buffer_bytes,
    write_forecasts,
    writing_bytes,
)
from gfrnn.pipeline.forecasting.initial_states import history_bytes, read_history
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.task_memory import check_call
from gfrnn.pipeline.states.sampled_features import unfitted_patch_features
from gfrnn.pipeline.states.sphere_patches import cut_patches
from gfrnn.pipeline.training.checks import model_leads
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.stretches import steps
from gfrnn.pipeline.training.zonal.zonal_features import unfitted_network, zonal_walk_bytes

Array = NDArray[Any]


def most_delays(experiment: Experiment) -> int:
    """Return the largest number of successive states that a network of any candidate sees."""
    return max(variant.state.delays for _, variant in experiment.candidates())


def initial_times(experiment: Experiment, time: Array) -> Array:
    """Return the indices on the time axis at which forecasts start: shape (starts,).

    They lie in the test period, ``forecast.every`` apart, and the earlier states that the network
    sees precede them without a gap.

    Raises
    ------
    ConfigError
        If no such index exists.
    """
    delays = most_delays(experiment)
    starts: Array = np.concatenate(
        [np.arange(part.start + delays - 1, part.stop) for part in segments(time)]
    )
    starts = starts[experiment.periods.test.mask(time[starts])]
    if experiment.forecast.every is not None and len(starts):
        step = step_of(time)
        every = steps("forecast.every", experiment.forecast.every, step)
        elapsed = step.count(time[starts[0]], time[starts])
        starts = starts[elapsed % every == 0]
    if not len(starts):
        raise ConfigError(
            f"periods.test: no time in {experiment.periods.test} has the {delays} successive "
            "states (state.delays) that a forecast starts from; choose a longer period, or one "
            "without gaps"
        )
    return starts


def times_read(experiment: Experiment, time: Array) -> slice:
    """Return the part of the time axis that forecasts read."""
    starts = initial_times(experiment, time)
    delays = most_delays(experiment)
    return slice(int(starts[0]) - delays + 1, int(starts[-1]) + 1)


def forecast(
    experiment: Experiment,
    ds: xr.Dataset,
    model: Path,
    path: Path,
    progress: Progress | None = None,
) -> None:
    """Write the forecasts of the test period.

    Forecasts in an unfinished store are kept; a resumed run computes only the missing ones.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        Data from :func:`gfrnn.pipeline.open_source`.
    model : Path
        Store of the model, ``model.zarr``.
    path : Path
        Store to write, ``forecast.zarr``.
    progress : callable, optional
        Callback that counts batches of initial times.

    Raises
    ------
    ConfigError
        If the horizon is not a multiple of the data's step, or there is no initial time.
    ResourceError
        If a batch does not fit into a worker.
    """
    fields = Fields(ds)
    step = step_of(fields.time)
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step)
    starts = initial_times(experiment, fields.time)
    check_call("forecast", batch_bytes(experiment, fields, horizon), "forecast.batch")
    trained = ForecastModel.load(model)
    check_members(trained, experiment.forecast)
    done = written(path)
    if done is None or len(done) != len(starts):
        create_forecast_store(
            path,
            fields.grid,
            fields.time[starts],
            step,
            horizon,
            _described(ds),
            {
                "title": f"Forecasts of the experiment {experiment.name}",
                "source": f"GFRNN sampled recurrent network, {trained.notes.width} features",
                "trained_on": describe_origins(ds.attrs["origins"]),
                "history": f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ} written by gfrnn",
            },
            experiment.forecast.batch,
            experiment.forecast.members,
        )
        done = np.zeros(len(starts), dtype=bool)
    else:
        mark_batches(path, experiment.forecast.batch)
    batches = [
        (first, starts[first : first + experiment.forecast.batch])
        for first in range(0, len(starts), experiment.forecast.batch)
    ]
    missing = [batch for batch in batches if not done[batch[0] : batch[0] + len(batch[1])].all()]
    run_tasks(
        "forecast",
        _forecast_batch,
        [
            (ds, str(model), str(path), horizon, first, chosen, experiment.forecast)
            for first, chosen in missing
        ],
        progress,
    )
    finish_forecast_store(path, fields.grid)


def describe_origins(origins: Sequence[Mapping[str, str]]) -> str:
    """Return the statements of sources about themselves, without those that say nothing."""
    stated = (
        ", ".join(text for text in origin.values() if text.strip().lower() not in ("", "none"))
        for origin in origins
    )
    return "; ".join(text for text in stated if text)


def check_members(model: ForecastModel, config: ForecastConfig) -> None:
    """Check that a model can make the members of ensembles, if any are wanted.

    Raises
    ------
    ConfigError
        If the horizon is not a multiple of the model's step.
    RunError
        If the model has no errors of held-out forecasts, or none up to the horizon.
    """
    if config.members is None:
        return
    if model.errors is None:
        raise RunError(
            "forecast.members: the model has no errors of held-out forecasts, of which members are "
            "made; fit it with forecast.members (any number), or leave the key out"
        )
    horizon = steps("forecast.horizon", config.horizon, model.step)
    if model.errors.leads < horizon:
        raise RunError(
            f"forecast.members: the model has errors of {model.errors.leads} leads, but "
            f"forecast.horizon has {horizon}; choose a shorter horizon, or fit with the longer one"
        )


def batch_bytes(experiment: Experiment, fields: Fields, horizon: int) -> int:
    """Return the peak memory of forecasting one batch of initial times."""
    batch, delays = experiment.forecast.batch, most_delays(experiment)
    starts = initial_times(experiment, fields.time)
    reading = history_bytes(fields, starts, batch, delays)
    rollout = rollout_bytes(experiment, fields, batch) + batch * shard_buffer_bytes(
        fields.grid, horizon
    )
    members = experiment.forecast.members
    if members is None:
        rollout += writing_bytes(fields.grid, horizon, batch)
    else:
        rollout += member_writing_bytes(fields.grid, horizon, members, batch)
    return max(reading, rollout)


def rollout_bytes(experiment: Experiment, fields: Fields, batch: int) -> int:
    """Return the memory in bytes of a number of forecasts lead by lead, once states are read."""
    rollout = batch * _forecast_bytes(experiment, fields)
    if experiment.state.layout == "zonal":
        network = unfitted_network(experiment, fields.grid)
        rollout += zonal_walk_bytes(network, experiment.model.stages, batch)
    if experiment.state.layout == "local":
        rollout += max(
            _lattice_bytes(variant, fields, batch) for _, variant in experiment.candidates()
        )
    return rollout


def _forecast_bytes(experiment: Experiment, fields: Fields) -> int:
    """Return the working memory in bytes of one forecast of a batch, once its fields are read."""
    delays = most_delays(experiment)
    leads = model_leads(experiment, fields.time)
    # Fields and states; forecasts are computed and decoded lead by lead.
    values = 4 * (2 + delays) * fields.grid.size
    if experiment.state.layout == "local":
        # The delayed states of each network, stacked, its sums of predictions by lead, the
        # predictions that are made at once, and the states of the lead before.
        states = 2 * delays + max(leads) + 3 + len(leads)
        values += experiment.fit.average * states * fields.grid.size
    return 8 * values


def _lattice_bytes(variant: Experiment, fields: Fields, batch: int) -> int:
    """Return the memory in bytes of the features on the grid of a batch."""
    patches = cut_patches(variant.state, fields.grid)
    features = unfitted_patch_features(variant.model, fields.grid, patches)
    if features is None:
        return 0
    # The features and their copy by cell.
    on_grid = 2 * 8 * batch * features.lattice.cells * features.features.count
    return on_grid + min(batch, features.times_together) * features.time_bytes


def _described(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the attributes of each variable of the forecasts."""
    described = {}
    kept = ("standard_name", "long_name", "units", "cell_methods")
    whole_steps = any("cell_methods" in array.attrs for array in ds.data_vars.values())
    for name, array in ds.data_vars.items():
        own = {key: array.attrs[key] for key in kept if key in array.attrs}
        if whole_steps:
            own.setdefault("cell_methods", "time: point")
        if transform := Transform.of(array):
            own["comment"] = (
                f"forecast as {transform}, so that single forecasts are near the median"
            )
        described[str(name)] = own
    return described


def _forecast_batch(
    ds: xr.Dataset,
    model: str,
    path: str,
    horizon: int,
    first: int,
    starts: Array,
    config: ForecastConfig,
) -> None:
    """Run one task: read the latest states, roll out, write lead by lead."""
    trained = load_model(model)
    fields = trained.fields(ds)
    members = members_of(trained, fields.time[starts], horizon, config)
    decoded = decoded_forecasts(trained, fields, starts, horizon)
    write_forecasts(Path(path), fields.grid, first, decoded, members, fields.transforms)


def decoded_forecasts(
    trained: ForecastModel, fields: Fields, starts: Array, horizon: int
) -> Iterator[DecodedLead]:
    """Read the states that forecasts start from; compute the forecasts lead by lead.

    Parameters
    ----------
    trained : ForecastModel
    fields : Fields
    starts : ndarray of int, shape (starts,)
        Ascending indices of the initial times on the time axis.
    horizon : int
        Number of leads.

    Yields
    ------
    DecodedLead
    """
    initial = fields.time[starts]
    history = read_history(fields, trained, starts)
    before = history[:, -1]
    for lead, (state, limited) in enumerate(trained.walk(history, initial, horizon), 1):
        fields_then = trained.layout.decode(state, trained.step.after(initial, lead))
        yield DecodedLead(fields_then, limited, departures(before, state, trained.layout))
        before = state


def members_of(
    trained: ForecastModel, initial: Array, horizon: int, config: ForecastConfig
) -> EnsembleMembers | None:
    """Draw the members of forecasts; None if no ensembles are wanted.

    Parameters
    ----------
    trained : ForecastModel
        Model that :func:`check_members` accepts.
    initial : ndarray of datetime64, shape (starts,)
    horizon : int
        Number of leads.
    config : ForecastConfig
    """
    if config.members is None:
        return None
    assert trained.errors is not None, "checked before the tasks"
    valid = trained.step.after(initial[:, None], np.arange(1, horizon + 1))
    return EnsembleMembers.of(trained.errors, initial, valid, config.members, config.seed)


def load_model(path: str) -> ForecastModel:
    """Load a model once per process, and again when its store was replaced."""
    try:
        state = (Path(path) / "zarr.json").stat()
    except OSError:
        return ForecastModel.load(Path(path))  # it raises the error
    return _load_model(path, (state.st_ino, state.st_mtime_ns))


@lru_cache(maxsize=1)
def _load_model(path: str, stamp: tuple[int, int]) -> ForecastModel:
    return ForecastModel.load(Path(path))
