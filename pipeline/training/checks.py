"""Check an experiment against its data before work starts."""

from __future__ import annotations

import calendar
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.static_fields import open_static
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.forcing import Forcing, input_width, season_columns
from gfrnn.pipeline.states.harmonics import calendar_months
from gfrnn.pipeline.states.sampled_features import unfitted_patch_features
from gfrnn.pipeline.states.sphere_patches import (
    cut_patches,
    owned_cells,
    patch_area_weights,
    weight_groups,
)
from gfrnn.pipeline.training.ensembles.held_out_starts import held_out_starts
from gfrnn.pipeline.training.stretches import (
    check_periods,
    climatology_cycles,
    known_times,
    leaf_length,
    row_stretches,
    stated_times,
    steps,
)
from gfrnn.pipeline.training.zonal.zonal_features import unfitted_network
from gfrnn.pipeline.training.zonal.zonal_rows import blocks_of_share
from gfrnn_core.sampling import products_of

Array = NDArray[Any]

_LOGGER = logging.getLogger(__name__)

# Rows per column in one leaf of the training pass: enough that its last Cholesky factor and its
# merge, which cost as much as a row and a half per column, are cheap.
ROWS_PER_COLUMN = 20

# The same for the zonal layout, whose leaf holds the rows of all wavenumbers at once.
_ZONAL_ROWS_PER_COLUMN = 8

POOL_TIMES = 64
"""Largest number of training times from whose patches the hidden weights are drawn."""


def check_fit(experiment: Experiment, ds: xr.Dataset) -> None:
    """Check the experiment against the data's metadata and the files of the store.

    Raises
    ------
    ConfigError, DataError
        Naming the key, what was found and what is allowed.
    """
    check_settings(experiment, ds)
    time = ds["time"].values
    check_chunks(ds, known_times(time, *(period for _, period in experiment.periods)))


def check_settings(experiment: Experiment, ds: xr.Dataset) -> None:
    """Check the experiment against the data's metadata, without looking at the store's files.

    Raises
    ------
    ConfigError, DataError
        Naming the key, what was found and what is allowed.
    """
    fields = Fields(ds)
    check_periods(stated_times(ds), iter(experiment.periods))
    _check_calendar(experiment, fields.time)
    index_weights(experiment.verification.indices, fields.grid)
    steps("forecast.horizon", experiment.forecast.horizon, step_of(fields.time))
    cells = fields.grid.size
    times = int(experiment.periods.train.mask(fields.time).sum())
    for _, variant in experiment.candidates():
        if variant.state.layout == "eof":
            _check_modes(variant, cells, times)
        leads = model_leads(variant, fields.time)
        for name in ("train", "validation"):
            if not row_leaves(variant, fields, name):
                raise ConfigError(
                    f"periods.{name}: no part without a gap is long enough for "
                    f"{variant.state.delays} delays and a lead of {max(leads)} steps; choose a "
                    "longer period, fewer state.delays or shorter model.leads"
                )
        _check_rows(variant, fields)
    if experiment.state.layout == "local":
        local_forcing(experiment, fields.grid)
    if experiment.forecast.members is not None:
        delays = max(variant.state.delays for _, variant in experiment.candidates())
        held_out_starts(experiment, fields.time, delays)


def _check_calendar(experiment: Experiment, time: Array) -> None:
    """Refuse settings of the annual and diurnal cycle that the times of the data cannot give."""
    step = step_of(time)
    annual, diurnal = climatology_cycles(experiment, time)
    if experiment.climatology.annual is None and annual in (0, 1):
        _LOGGER.warning(
            "climatology.annual: %d, as %s (periods.train) does not determine two harmonics of the "
            "annual cycle; set the key to choose another number",
            annual,
            experiment.periods.train,
        )
    if annual == "month":
        periods = dict(iter(experiment.periods))
        trained = set(calendar_months(time[periods["train"].mask(time)]).tolist())
        every = set(calendar_months(time[known_times(time, *periods.values())]).tolist())
        if absent := sorted(every - trained):
            raise ConfigError(
                f"periods.train: {periods['train']} contains no {calendar.month_name[absent[0]]}, "
                "of which the climatology needs a mean; choose a longer period, or a number of "
                "harmonics (climatology.annual)"
            )
    if not step.monthly:
        return
    # Twelve months a year determine a constant and five pairs of cosine and sine.
    if annual != "month" and annual > 5:
        raise ConfigError(
            f"climatology.annual: {annual} harmonics cannot be told apart by twelve months a year; "
            "choose at most 5, or month"
        )
    if diurnal:
        raise ConfigError(
            f"climatology.diurnal: {diurnal} is not allowed with data of a step of {step}, which "
            "have no diurnal cycle; leave the key out"
        )
    if daily := [name for name in experiment.model.inputs if name in ("hour", "insolation")]:
        raise ConfigError(
            f"model.inputs: {daily[0]} is not allowed with data of a step of {step}, as it changes "
            "within a day; leave it out, or use day_of_year"
        )


def _check_rows(experiment: Experiment, fields: Fields) -> None:
    """Refuse more weights than the training period has rows to determine."""
    state = experiment.state
    if state.layout == "zonal":
        _check_zonal_rows(experiment, fields)
        return
    seen, places = state.delays * state.modes, 1
    if state.layout == "local":
        patches = cut_patches(state, fields.grid)
        groups = weight_groups(state, fields.grid, patches)
        exists = patch_area_weights(fields.grid, patches) > 0
        each = np.bincount(np.zeros(len(exists), int) if groups is None else groups, exists)
        seen, places = state.delays * patches.window, int(each.min())
    always = seen + 1 + sum(map(input_width, experiment.model.inputs)) + len(state.static)
    if experiment.model.season_terms:
        always += seen // state.delays * len(season_columns(experiment.model.inputs))
    if state.layout == "local":
        features = unfitted_patch_features(experiment.model, fields.grid, patches)
        always += 0 if features is None else features.columns
    train = fold_rows(row_leaves(experiment, fields, "train"), places)
    rows = {int(fold.removeprefix("train/")): count for fold, count in train.items()}
    if state.layout == "local" and state.weights != "shared" and always > sum(rows.values()):
        raise ConfigError(
            f"state.weights: {state.weights} leaves {sum(rows.values())} rows of the training "
            f"period for one set of weights, fewer than its {always} linear terms and inputs; "
            "choose shared weights, fewer bands (state.bands), a smaller state.halo or fewer "
            "state.delays"
        )
    validation = fold_rows(row_leaves(experiment, fields, "validation"), places)
    check_solve(experiment, rows, always, list(validation.values()))
    _check_centres(experiment, fields, places)
    _check_products(experiment)


def fold_rows(leaves: Sequence[Stretch], places: int) -> dict[str, int]:
    """Return the number of rows of each fold, for a number of places with a row at each time."""
    rows: dict[str, int] = {}
    for part in leaves:
        rows[part.fold] = rows.get(part.fold, 0) + (part.stop - part.start) * places
    return rows


def _check_centres(experiment: Experiment, fields: Fields, places: int) -> None:
    """Refuse more centres than the states that they are drawn from."""
    model, fit = experiment.model, experiment.fit
    times = sum(part.stop - part.start for part in row_leaves(experiment, fields, "train"))
    if experiment.state.layout == "local":
        times = min(times, POOL_TIMES) * places
    if model.sampling == "centres" and model.width > min(times, fit.pool):
        raise ConfigError(
            f"model.width: {model.width} centres are more than the {min(times, fit.pool)} states "
            "that they are drawn from; give at most as many, or a longer periods.train"
        )


def _check_products(experiment: Experiment) -> None:
    """Refuse more quadratic features than the values that they see have products."""
    state, model = experiment.state, experiment.model
    if model.sampling != "quadratic":
        return
    states = (model.hidden_delays or state.delays) * ("state" in model.hidden_inputs)
    modes = model.hidden_modes or state.modes
    seen = modes * (states + ("linear" in model.hidden_inputs))
    if model.joint_inputs:
        seen += sum(map(input_width, model.inputs))
    if model.width > products_of(seen):
        raise ConfigError(
            f"model.width: {model.width} is more than the {products_of(seen)} products of pairs of "
            f"the {seen} values that hidden features see, with model.sampling: quadratic and "
            f"{modes} modes; give at most {products_of(seen)}, or a larger model.hidden_modes"
        )


def _check_zonal_rows(experiment: Experiment, fields: Fields) -> None:
    """Refuse more columns of a wavenumber than the training period has rows.

    Raises
    ------
    ConfigError
        If there are too few rows, ``fit.without`` leaves out a year that is not there, or the grid
        is not one of zonal waves.
    """
    rows: dict[int, int] = {}
    for part in row_leaves(experiment, fields, "train"):
        year = int(part.fold.removeprefix("train/"))
        blocks = blocks_of_share(part, experiment.fit.share)
        rows[year] = rows.get(year, 0) + sum(stop - start for start, stop in blocks)
    columns = zonal_columns(experiment, fields.grid)
    check_years(experiment, rows)
    kept = sum(count for year, count in rows.items() if year not in experiment.fit.without)
    if columns > kept:
        raise ConfigError(
            f"state.functions: the rows of a wavenumber have {columns} columns, but the training "
            f"period has {kept} rows; choose fewer functions, "
            "state.delays or model.hidden_delays, fewer features (model.features, model.width), a "
            "larger fit.share or a longer period"
        )


def zonal_columns(experiment: Experiment, grid: Grid) -> int:
    """Return the largest number of columns in use of a wavenumber of the last stage."""
    network = unfitted_network(experiment, grid)
    used = network.used_columns(experiment.model.stages - 1)
    return int((used.sum(axis=1) + network.basis.used.sum(axis=1)).max())


def local_forcing(experiment: Experiment, grid: Grid) -> Forcing:
    """Return the inputs of the places of a local layout.

    Raises
    ------
    DataError
        If a static field is missing or equal at all places.
    """
    static, patches = experiment.state.static, cut_patches(experiment.state, grid)
    fields = open_static(experiment.data, grid, static)
    return Forcing.from_grid(
        experiment.model.inputs, static, fields, grid, owned_cells(grid, patches)
    )


def check_chunks(ds: xr.Dataset, used: Array | None = None) -> None:
    """Refuse a store that lacks chunks of the times in use.

    Parameters
    ----------
    used : ndarray of bool, shape (times,), optional
        Times in use; by default all.

    Raises
    ------
    DataError
        Naming the missing chunks.
    """
    if missing := missing_chunks(ds, used):
        raise DataError(
            "\n".join(missing) + "\ncopy the store again or choose periods without these chunks; "
            "if they hold only the fill value on purpose, write them with zarr's "
            "write_empty_chunks"
        )


def check_solve(
    experiment: Experiment, rows: Mapping[int, int], always: int, validation: Sequence[int]
) -> None:
    """Check ``fit.without`` and the widths against the years, columns and rows of the triangles.

    Parameters
    ----------
    rows : mapping of int
        Number of rows by training year.
    always : int
        Number of features that are not hidden.
    validation : sequence of int
        Number of rows by year of the validation period.

    Raises
    ------
    ConfigError
        If a year is unknown or none remains, or a width exceeds the hidden columns or the rows.
    """
    fit, width = experiment.fit, experiment.model.width
    left = check_years(experiment, rows)
    if wide := [each for each in fit.widths if each > width]:
        raise ConfigError(
            f"fit.widths: {wide[0]} is more than model.width, {width}; give at most {width}"
        )
    count, which = sum(left.values()), "of the training period"
    if fit.choice == "years":
        folds = [*left.values(), *validation]
        count, which = min(count, sum(folds) - max(folds)), "that are left without the longest year"
    if always + max(fit.widths, default=width) > count:
        raise ConfigError(
            f"model.width: {max(fit.widths, default=width)} hidden and {always} other features are "
            f"more than the {count} rows {which}; choose a width of at "
            f"most {max(0, count - always)}, or a longer period"
        )


def check_years(experiment: Experiment, rows: Mapping[int, int]) -> dict[int, int]:
    """Check ``fit.without`` against the training years; return the rows of the years that remain.

    Raises
    ------
    ConfigError
        If a year is unknown, or none remains.
    """
    fit = experiment.fit
    if absent := [year for year in fit.without if year not in rows]:
        raise ConfigError(
            f"fit.without: {absent[0]} is not among the training years, "
            f"{', '.join(map(str, sorted(rows)))}; choose from these"
        )
    left = {year: count for year, count in rows.items() if year not in fit.without}
    if not left:
        raise ConfigError(
            f"fit.without: leaves out all training years, {', '.join(map(str, sorted(rows)))}; "
            "keep at least one"
        )
    return left


def training_fields(experiment: Experiment, ds: xr.Dataset) -> Fields:
    """Return the data with the mask found at the first and last training time, the only two read.

    Raises
    ------
    ConfigError, DataError
        If different cells are missing at the two times, too few cells are left, or none in the
        box of an index.
    """
    whole = Fields(ds)
    train = np.flatnonzero(experiment.periods.train.mask(whole.time))
    fields = whole.with_mask(int(train[0]), int(train[-1]))
    index_weights(experiment.verification.indices, fields.grid)
    for _, variant in experiment.candidates():
        if variant.state.layout == "eof":
            _check_modes(variant, int(fields.grid.valid.sum()), len(train))
        elif fields.mask is not None:
            _check_rows(variant, fields)  # which also refuses masks where they are not allowed
    return fields


def _check_modes(experiment: Experiment, cells: int, times: int) -> None:
    if experiment.state.modes > min(cells, times):
        raise ConfigError(
            f"state.modes: {experiment.state.modes} EOFs, but the training period has {times} "
            f"times of {cells} grid cells; choose at most {min(cells, times)}"
        )


def model_leads(experiment: Experiment, time: Array) -> tuple[int, ...]:
    """Return the leads with outer weights of their own, in steps, always including one step."""
    step = step_of(time)
    return tuple(
        sorted({1, *(steps("model.leads", lead, step) for lead in experiment.model.leads)})
    )


def row_leaves(experiment: Experiment, fields: Fields, name: str) -> list[Stretch]:
    """Return the leaves of the training pass over the train or validation period."""
    state, periods, time = experiment.state, experiment.periods, fields.time
    leads = model_leads(experiment, time)
    delays, grain, phase = state.delays, 1, 0
    if state.layout == "eof":
        seasonal = 2 * experiment.model.season_terms
        columns = experiment.model.width + (delays + seasonal + len(leads)) * state.modes
        length = experiment.fit.rows or ROWS_PER_COLUMN * columns
    elif state.layout == "zonal":
        columns = zonal_columns(experiment, fields.grid)
        rows = experiment.fit.rows or _ZONAL_ROWS_PER_COLUMN * columns
        length = max(1, round(rows / experiment.fit.share))
    else:
        # Rows are made from the fields during reading, for all candidates at once: cut at chunks.
        delays = max(variant.state.delays for _, variant in experiment.candidates())
        grain, phase = fields.ds.attrs["time_chunk"], fields.ds.attrs["time_chunk_start"]
        length = leaf_length(fields.grid.size, experiment.data.chunk, grain)
        if experiment.fit.rows is not None:
            places = cut_patches(state, fields.grid).places
            length = min(length, max(1, experiment.fit.rows // places))
    return row_stretches(
        time,
        getattr(periods, name),
        name,
        known_times(time, periods.train, periods.validation),
        delays=delays,
        reach=max(leads),
        length=length,
        grain=grain if grain <= length else 1,
        phase=phase,
        within_years=experiment.fit.choice == "years",
    )
