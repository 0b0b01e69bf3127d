"""The pass of a fit that makes the archive of errors for ensembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.calibration_pass import (
    Calibration,
    calibration_factors,
    networks_key,
)
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS, ErrorArchive
from gfrnn.pipeline.training.ensembles.error_summary import ErrorSummary
from gfrnn.pipeline.training.ensembles.held_out_starts import held_out_starts
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn.pipeline.training.pass_costs import PassCost, reduction_cost
from gfrnn.pipeline.training.passes import Passes
from gfrnn.pipeline.training.stretches import steps

Array = NDArray[Any]

ERRORS = "errors"
"""Folder of the archives of errors among the checkpoints."""

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
    starts = held_out_starts(experiment, time, rollouts.delays)
    length = max(1, min(_LEAF_STARTS, _LEAF_BYTES // (4 * horizon * fields.grid.size)))
    factors = calibration_factors(calibration)
    summary = ErrorSummary(
        replace(rollouts, quadratic=None),  # members are made for the forecasts and few references
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
    parts = [None if each is None else each.tolist() for each in summary.factors]

    def key() -> str:
        own = training.rows_key(experiment, experiment.search, horizon)
        return content_key(own, networks_key(summary.rollouts), starts.tolist(), parts, "means")

    found: ErrorArchive = yield ErrorPass(
        summary=summary,
        stretches=leaves,
        key=key,
        valid=step.after(time[starts][:, None], np.arange(1, horizon + 1)),
    )
    return found


@dataclass(frozen=True)
class ErrorPass:
    """The pass that writes the errors of forecasts; its result is their archive.

    Attributes
    ----------
    summary : ErrorSummary
        Summary without an archive.
    stretches : list of Stretch
        Leaves, ranges of initial times.
    key : callable
        Returns the key of everything but the stretches that determines the errors.
    valid : ndarray of datetime64, shape (starts, leads)
        Times that the forecasts are for.
    """

    summary: ErrorSummary
    stretches: list[Stretch]
    key: Callable[[], str]
    valid: Array
    placeholder: Any = None

    def cost(self) -> PassCost:
        windows = np.array([self.summary.reach(part) for part in self.stretches])
        cost = reduction_cost(self.summary, self.stretches, windows)
        errors = len(SYSTEMS) * 2 * self.valid.size * self.summary.fields.grid.size
        return replace(cost, kept_bytes=cost.kept_bytes + errors, kept_by_workers=True)

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> ErrorArchive:
        key, grid = self.key(), self.summary.fields.grid
        archive = ErrorArchive(checkpoints.path / ERRORS / key)
        if not archive.exists:
            unit = self.summary.rollouts.layout.scaling.climatology.std
            together = max(part.stop - part.start for part in self.stretches)
            archive.create(self.valid, unit, grid.size // len(grid.channels), together)
        # Without the errors on disk, their squares among the checkpoints are of no use.
        own = content_key(key, archive.identity)
        found = reduce_stretches(
            replace(self.summary, archive=archive),
            self.stretches,
            key=own,
            checkpoints=checkpoints,
            progress=progress,
        )
        (sums,) = found.values()
        archive.finish(
            *(
                {system: sums[f"{system}/{kind}"] for system in SYSTEMS}
                for kind in ("square", "mean")
            )
        )
        return archive
