"""The pass of a fit that computes the calibration of its forecasts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.lead_regression import LeadSums
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.calibration.rollout_summary import RolloutSummary
from gfrnn.pipeline.training.field_passes import FieldPasses
from gfrnn.pipeline.training.network_arrays import solved_arrays, solved_options
from gfrnn.pipeline.training.pass_costs import NO_READS
from gfrnn.pipeline.training.passes import Passes, ReductionPass
from gfrnn.pipeline.training.rows import FieldStates, States
from gfrnn.pipeline.training.state_series import joined_stretches
from gfrnn.pipeline.training.stretches import known_times, leaf_length, row_stretches, steps

Array = NDArray[Any]

# Least and largest number of initial times, and the operations that all rollouts may take if there
# are more than the least.
_LEAST_STARTS, _MOST_STARTS, _OPERATIONS = 60, 400, 2e10

# As far as their states fit into memory, a leaf has at least so many initial times, or as many as
# take these operations if they are more: below, the fixed costs of a leaf exceed its operations.
_STARTS_OF_LEAF, _OPERATIONS_OF_LEAF = 16, 2e9


@dataclass(frozen=True)
class Calibration:
    """Factors of forecasts by lead, and the errors of rollouts that they were computed from.

    Attributes
    ----------
    factors : dict of ndarray, shape (leads, groups)
        Factors of the forecasts, of the linear model and, if there is one, of the quadratic
        reference, by system.
    errors : dict of ndarray
        Mean squared errors of a state in the validation period: ``rollout_errors`` and
        ``calibrated_errors``, shape (systems, leads), of the same systems, and
        ``climatology_errors``, shape (leads,).
    """

    factors: dict[str, Array]
    errors: dict[str, Array]

    @classmethod
    def of_sums(
        cls, sums: dict[str, LeadSums], regressed: Sequence[int], spacing: int
    ) -> Calibration:
        """Return the calibration of all systems; see :meth:`LeadSums.coefficients`."""
        factors = {name: own.coefficients(regressed, spacing) for name, own in sums.items()}
        calibrated = [own.errors(factors[name]) for name, own in sums.items()]
        errors = {
            "rollout_errors": np.stack([own.errors() for own in sums.values()]),
            "calibrated_errors": np.stack(calibrated),
            "climatology_errors": sums["linear"].variance(),
        }
        return cls(factors, errors)


def calibration_passes(
    training: FieldPasses, rollouts: NetworkRollouts, states: States
) -> Passes[Calibration | None]:
    """Yield the pass over rollouts of the validation period; return the calibration.

    Parameters
    ----------
    training : FieldPasses
        Fit that the pass belongs to.
    rollouts : NetworkRollouts
        Solved networks; while a fit is only planned, networks of the same sizes.
    states : States
        Source of the states of the validation period and the times before it.

    Returns
    -------
    Calibration or None
        None if the experiment does without it.
    """
    experiment, time = training.experiment, training.fields.time
    if not experiment.fit.calibration:
        return None
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step_of(time))
    size = rollouts.layout.size
    length = leaf_length(size, experiment.data.chunk)
    runs = joined_stretches(
        row_stretches(
            time,
            experiment.periods.validation,
            "validation",
            known_times(time, experiment.periods.train, experiment.periods.validation),
            delays=rollouts.delays,
            reach=1,
            length=len(time),
        )
    )
    # The quadratic reference decides neither on initial times nor on leaves: forecasts do not
    # depend on it.
    operations = replace(rollouts, quadratic=None).walk_flops(horizon)
    count = min(max(_LEAST_STARTS, int(_OPERATIONS / operations)), _MOST_STARTS)
    starts, ends, spacing = calibration_starts(runs, horizon, count)
    together = starts_of_leaf(operations, 1 + (length - horizon) // spacing)
    summary = RolloutSummary(
        rollouts,
        states,
        time,
        starts,
        ends,
        horizon,
        block=min(horizon, max(1, length - (together - 1) * spacing)),
    )
    leaves = cut_starts(ends, together)

    def key() -> str:
        own = training.rows_key(experiment, experiment.search, horizon, summary.block)
        return content_key(own, networks_key(rollouts), starts.tolist())

    reads = isinstance(states, FieldStates)
    found: Calibration = yield ReductionPass(
        summary=summary,
        stretches=leaves,
        key=key,
        windows=np.array([summary.reach(part) for part in leaves]) if reads else NO_READS,
        finish=lambda root: Calibration.of_sums(
            summary.finish(root), rollouts.linear.leads, spacing
        ),
        joined=True,
    )
    return found


def calibration_starts(runs: list[Stretch], horizon: int, most: int) -> tuple[Array, Array, int]:
    """Return evenly spaced initial times of rollouts.

    Parameters
    ----------
    runs : list of Stretch
        Possible initial times, in runs without a gap; the next time also has a truth.
    horizon : int
        Number of leads.
    most : int
        Largest number of initial times.

    Returns
    -------
    starts, ends : ndarray of int, shape (starts,)
        Initial times, and the time after the last one of the run that has a truth. Leads of all
        starts of a run that is long enough lie in it.
    spacing : int
        Odd number of steps between initial times, so that they have different hours of the day.
    """
    lasts = [
        run.stop - horizon + 1 if run.stop - run.start >= 2 * horizon else run.stop for run in runs
    ]
    count = sum(last - run.start for run, last in zip(runs, lasts, strict=True))
    spacing = -(-count // most)
    spacing += 1 - spacing % 2
    chosen = [np.arange(run.start, last, spacing) for run, last in zip(runs, lasts, strict=True)]
    ends = [np.full(len(own), run.stop + 1) for own, run in zip(chosen, runs, strict=True)]
    return np.concatenate(chosen), np.concatenate(ends), spacing


def starts_of_leaf(operations: float, fitting: int) -> int:
    """Return the number of initial times of a leaf, at least 1.

    Parameters
    ----------
    operations : float
        Operations of the rollouts from one initial time, about.
    fitting : int
        Number of initial times whose states are in memory together.
    """
    worthwhile = max(_STARTS_OF_LEAF, int(_OPERATIONS_OF_LEAF / operations))
    return max(1, min(fitting, worthwhile))


def cut_starts(ends: Array, together: int) -> list[Stretch]:
    """Cut initial times into leaves of at most ``together``, none of which crosses a gap."""
    gaps = np.flatnonzero(np.diff(ends)) + 1
    edges = [0, *gaps.tolist(), len(ends)]
    return [
        Stretch("validation", first, min(first + together, stop))
        for begin, stop in pairwise(edges)
        for first in range(begin, stop, together)
    ]


def networks_key(rollouts: NetworkRollouts) -> str:
    """Return a hash of all that determines the rollouts of solved networks."""
    digest = hashlib.sha256()
    networks = *rollouts.networks, *rollouts.references.values()
    for network in networks:
        for name, values in sorted(solved_arrays(network).items()):
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(rollouts.mixture).data)
    options = [solved_options(network) for network in networks]
    return content_key(digest.hexdigest(), options, rollouts.layout.attributes())


def calibration_factors(calibration: Calibration | None) -> dict[str, Array]:
    """Return the attributes of a model that hold its calibration."""
    names = {
        "forecast": "calibration",
        "linear": "linear_calibration",
        "quadratic": "quadratic_calibration",
    }
    factors = {} if calibration is None else calibration.factors
    return {names[system]: own for system, own in factors.items()}


def calibration_errors(calibration: Calibration | None) -> dict[str, Array]:
    """Return the entries of a model's selection that belong to its calibration."""
    return {} if calibration is None else calibration.errors
