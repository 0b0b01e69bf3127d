"""What can be seen before work starts: whether an experiment fits its data."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.config import Experiment
from pipeline.errors import ConfigError, DataError
from pipeline.fields import Fields
from pipeline.plan import check_periods, known_times, row_stretches, steps
from pipeline.reduce import Stretch
from pipeline.sources import missing_chunks
from pipeline.times import step_of

Array = NDArray[Any]

# Rows of one leaf of the training pass for each column: enough that a merge, which costs as much
# as a third of a row for each column, hardly counts beside the folds.
_ROWS_PER_COLUMN = 8


def check_fit(experiment: Experiment, ds: xr.Dataset) -> None:
    """Refuse what cannot work, before anything is read.

    Raises
    ------
    ConfigError, DataError
        Naming the key, what was found and what is allowed.
    """
    fields = Fields(ds)
    check_periods(fields.time, experiment.periods)
    cells = fields.grid.size
    times = int(experiment.periods.train.mask(fields.time).sum())
    for _, variant in experiment.candidates():
        _check_modes(variant, cells, times)
        modes = variant.state.modes
        leads = model_leads(variant, fields.time)
        for name in ("train", "validation"):
            if not row_leaves(variant, fields.time, name):
                raise ConfigError(
                    f"periods.{name}: no stretch without a gap is long enough for "
                    f"{variant.state.delays} delays and a lead of {max(leads)} steps; "
                    "take a longer period, fewer delays or shorter leads"
                )
        rows = sum(part.stop - part.start for part in row_leaves(variant, fields.time, "train"))
        always = variant.state.delays * modes + 1 + 2 * len(variant.model.inputs)
        if always + variant.model.width > rows:
            raise ConfigError(
                f"model.width: {variant.model.width} hidden and {always} other features are more "
                f"than the {rows} rows of the training period; take a width of at most "
                f"{max(0, rows - always)}, or a longer period"
            )
        if wide := [width for width in variant.fit.widths if width >= variant.model.width]:
            raise ConfigError(
                f"fit.widths: {wide[0]} is not narrower than model.width, {variant.model.width}"
            )
    used = known_times(fields.time, *(period for _, period in experiment.periods))
    if missing := missing_chunks(ds, used):
        raise DataError(
            "\n".join(missing) + "\ncopy the store again or choose periods without these chunks; "
            "if they rightly hold nothing but the fill value, write them (zarr's "
            "write_empty_chunks)"
        )


def training_fields(experiment: Experiment, ds: xr.Dataset) -> Fields:
    """The data with the mask that the ends of the training period show; only these are read.

    Raises
    ------
    ConfigError, DataError
        If they do not agree in what is missing, or too few cells are left.
    """
    whole = Fields(ds)
    train = np.flatnonzero(experiment.periods.train.mask(whole.time))
    fields = whole.masked(int(train[0]), int(train[-1]))
    for _, variant in experiment.candidates():
        _check_modes(variant, int(fields.grid.exists.sum()), len(train))
    return fields


def _check_modes(experiment: Experiment, cells: int, times: int) -> None:
    if experiment.state.modes > min(cells, times):
        raise ConfigError(
            f"state.modes: {experiment.state.modes} EOFs, but the training period has {times} "
            f"times of {cells} grid cells; take at most {min(cells, times)}"
        )


def model_leads(experiment: Experiment, time: Array) -> tuple[int, ...]:
    """Leads with outer weights of their own, in steps; one step always is among them."""
    step = step_of(time)
    return tuple(
        sorted({1, *(steps("model.leads", lead, step) for lead in experiment.model.leads)})
    )


def row_leaves(experiment: Experiment, time: Array, name: str) -> list[Stretch]:
    """Leaves of the training pass over the train or validation period."""
    leads = model_leads(experiment, time)
    state = experiment.state
    columns = experiment.model.width + (state.delays + len(leads)) * state.modes
    periods = experiment.periods
    return row_stretches(
        time,
        getattr(periods, name),
        name,
        known_times(time, periods.train, periods.validation),
        delays=state.delays,
        reach=max(leads),
        length=experiment.fit.rows or _ROWS_PER_COLUMN * columns,
    )
