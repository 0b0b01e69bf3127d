"""The pass of a fit that makes the archive of errors for ensembles."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Arrays, content_key
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.calibration_pass import (
    Calibration,
    calibration_factors,
    initial_times,
    networks_key,
)
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS, ErrorArchive
from gfrnn.pipeline.training.ensembles.error_summary import ErrorSummary
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn.pipeline.training.passes import Passes, ReductionPass
from gfrnn.pipeline.training.state_series import joined_stretches
from gfrnn.pipeline.training.stretches import known_times, row_stretches, steps

Array = NDArray[Any]

# Most initial times of an archive, and the fewest of which members are drawn.
_MOST_STARTS, LEAST_STARTS = 400, 30

# Bytes of the errors (float32) of a leaf, and its most initial times.
_LEAF_BYTES, _LEAF_STARTS = 2**26, 32


def error_passes(
    training: FieldPasses, rollouts: NetworkRollouts, calibration: Calibration | None
) -> Passes[ErrorArchive | None]:
    """Yield the pass over forecasts of the validation period; return the archive of their errors.

    Parameters
    ----------
    training : FieldPasses
        Fit that the pass belongs to.
    rollouts : NetworkRollouts
        Networks that are solved without the validation period; while a fit is only planned,
        networks of the same sizes.
    calibration : Calibration or None

    Returns
    -------
    ErrorArchive or None
        None if the experiment has no ensembles.

    Raises
    ------
    ConfigError
        If the validation period has too few initial times.
    """
    experiment, fields = training.experiment, training.fields
    if experiment.forecast.members is None:
        return None
    step, time = step_of(fields.time), fields.time
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step)
    starts = _starts(training, rollouts.delays, horizon)
    cells = fields.grid.size // len(fields.grid.channels)
    length = max(1, min(_LEAF_STARTS, _LEAF_BYTES // (4 * horizon * fields.grid.size)))
    factors = calibration_factors(calibration)
    summary = ErrorSummary(
        rollouts,
        (factors.get("calibration"), factors.get("linear_calibration")),
        fields,
        starts,
        horizon,
        None,
    )
    leaves = [
        Stretch("validation", first, min(first + length, len(starts)))
        for first in range(0, len(starts), length)
    ]
    valid = step.after(time[starts][:, None], np.arange(1, horizon + 1))
    unit = rollouts.layout.scaling.climatology.std

    def prepare() -> tuple[ErrorArchive, str]:
        """Return the archive, which is created if it is missing, and the key of its errors."""
        own = training.rows_key(experiment, experiment.search, horizon)
        parts = [] if calibration is None else [each.tolist() for each in factors.values()]
        key = content_key(own, networks_key(rollouts), starts.tolist(), parts)
        archive = ErrorArchive(training.checkpoints.path.parent / f"errors-{key}.zarr")
        return archive, key

    found: ErrorArchive = yield _ErrorPass(
        summary=summary,
        stretches=leaves,
        key=lambda: "",
        windows=np.array([summary.reach(part) for part in leaves]),
        finish=lambda root: None,
        joined=True,
    )
    return found
