"""Measure the effect of the rows' precision on error and run time, on a sample of rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.ridge import FitRows, solve, squared_errors
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import SampledRNN
from gfrnn_core.recurrent_network import Precision

Array = NDArray[Any]


@dataclass(frozen=True)
class PrecisionSample:
    """The rows of one leaf of the training period, and the settings of their candidate's solve.

    Attributes
    ----------
    rows : RowSummary
        Summary that makes the rows.
    stretch : Stretch
        The leaf.
    candidate : Candidate
    width : int
        Number of hidden features.
    ridge, balance : ndarray, shape (leads,)
    """

    rows: RowSummary
    stretch: Stretch
    candidate: Candidate
    width: int
    ridge: Array
    balance: Array

    def measure(self, checkpoints: Checkpoints) -> dict[str, Any]:
        """Measure run time in both precisions, and the error of a model of these rows alone.

        Returns
        -------
        dict
            ``rows``, and for each precision ``error`` (mean over leads of the mean squared error on
            the validation period, relative to the variance there) and ``seconds`` of lifting and
            factoring. Empty where the leaf has fewer rows than features and cannot be solved.
        """
        candidate, found = self.candidate, {}
        validation = candidate.factor(checkpoints, candidate.names("validation"))
        first, last = self.rows.reach(self.stretch)
        states = self.rows.states.read(first, last)
        for precision in get_args(Precision):
            network = replace(self.rows.network, precision=precision)
            begun = time.perf_counter()
            factors = replace(self.rows, network=network).factors(states, first)
            seconds = time.perf_counter() - begun
            if min(part.rows for part in factors.parts) < candidate.linear_features + self.width:
                return {}
            solved = solve(
                network,
                FitRows([factors]),
                size=candidate.size,
                width=self.width,
                ridge=self.ridge,
                balance=self.balance,
            )
            squares = mean_squared_errors(solved, validation, candidate.size)
            error = float(((squares + candidate.truncated_variance) / candidate.variance).mean())
            found[precision] = {"error": error, "seconds": seconds}
        return {"rows": factors.rows, **found}


def mean_squared_errors(network: SampledRNN, fold: Factors, size: int) -> Array:
    """Return a solved network's mean squared errors on a fold, summed over targets: (leads,).

    Parameters
    ----------
    network : SampledRNN
        Solved network.
    fold : Factors
        Triangles of the fold.
    size : int
        Number of targets at each lead.
    """
    return np.asarray(squared_errors(network, fold, size).sum(axis=1) / fold.rows)
