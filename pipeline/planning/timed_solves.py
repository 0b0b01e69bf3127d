"""Time real solves on triangles of noise, smaller than those of a fit where these are large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.planning.machine_rates import least_seconds
from gfrnn.pipeline.training.pass_costs import RidgeSolve
from gfrnn.pipeline.training.selection.ridge import select_ridge_and_width
from gfrnn.pipeline.training.triangles import Factors, tried_widths
from gfrnn.pipeline.training.zonal.zonal_solve import ZonalSolve, solve_networks_of_wavenumber
from gfrnn_core import RFactor, SampledRNN

Array = NDArray[Any]

# Columns of the triangles that are solved; the time of larger ones grows with their cube.
_COLUMNS = 1000


def ridge_solve_seconds(solve: RidgeSolve) -> float:
    """Return the seconds that a solve takes on one thread for each unit of its size."""
    rows, fit = solve.rows, solve.fit
    leads = rows.network.leads
    shrink = min(1.0, _COLUMNS / rows.columns)
    linear, width, targets = (
        int(np.ceil(shrink * count))
        for count in (solve.linear_features, rows.network.width, solve.targets)
    )
    widths = [int(shrink * each) for each in tried_widths(rows.network, fit.widths)]
    rng = np.random.default_rng(0)
    # The features that are not hidden are a state, a constant, and inputs in place of all others.
    inputs = max(0, linear - targets - 1)
    network = SampledRNN(width=width, leads=leads, sampling="normal", inputs=inputs)
    network = network.sample(np.zeros((1, targets)))
    linear = network.columns(targets, inputs).features - width
    columns = linear + width + len(leads) * targets
    triangle = Factors((RFactor.from_rows(rng.standard_normal((2 * columns, columns))),))
    seconds = least_seconds(
        lambda: select_ridge_and_width(
            network,
            [triangle] * solve.folds,
            triangle,
            size=targets,
            widths=widths,
            ridges=fit.ridge,
            balances=fit.balance,
            variance=np.ones(len(leads)),
            truncated_variance=np.zeros(len(leads)),
        )
    )
    tried = [each for each in widths if each for _ in fit.balance]
    return seconds / sum((linear + each) ** 3 for each in (0, *tried))


def zonal_solve_seconds(solve: ZonalSolve) -> float:
    """Return the seconds of the solve of a wavenumber for each unit of its size."""
    widest = int(solve.columns.argmax())
    shrink = min(1.0, _COLUMNS / solve.columns[widest])
    columns = int(np.ceil(shrink * solve.columns[widest]))
    features = [int(shrink * count) for count in solve.features[:, widest]]
    real, imaginary = np.random.default_rng(0).standard_normal((2, 2 * columns, columns))
    triangle = RFactor.from_rows(real + 1j * imaginary)
    arguments = (
        [triangle] * solve.folds,
        [triangle],
        [np.ones(count) for count in features],
        columns - max(features),
        solve.ridges,
    )
    return least_seconds(lambda: solve_networks_of_wavenumber(*arguments)) / columns**3
