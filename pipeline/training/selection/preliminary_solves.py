"""Solves on which later passes depend: linear models as inputs, and the spectrum of errors.

They use the default settings of ``fit``: all training years and the validation period, whatever
the experiment chooses, as hidden weights do. A refit with other settings then keeps its triangles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.choose_model import select_for_candidate
from gfrnn.pipeline.training.selection.ridge import squared_errors

Array = NDArray[Any]

DEFAULT_FIT = FitConfig()
"""Settings of these solves."""


def solve_linear_model(
    candidate: Candidate, checkpoints: Checkpoints, progress: Progress | None
) -> Array:
    """Return the outer weights of one step of a linear model: shape (features, targets).

    Its ridge has the least error on the validation period.
    """
    candidate.check_memory("linear solve")
    solving = [(candidate, checkpoints, DEFAULT_FIT)]
    (found,) = run_tasks("linear solve", select_for_candidate, solving, progress)
    return np.asarray(found.linear.network.outer[0])


def residual_spectra(
    candidates: Sequence[Candidate], checkpoints: Checkpoints, progress: Progress | None
) -> list[Array]:
    """Return the root mean square one-step errors on the validation period, by target.

    Parameters
    ----------
    candidates : sequence of Candidate
        Candidates without noise; ridge and width have the least error on the validation period.

    Returns
    -------
    list of ndarray, shape (targets,)
        Errors of each candidate, in the units of its states.
    """
    for candidate in candidates:
        candidate.check_memory("noise solve")
    measuring = [(candidate, checkpoints) for candidate in candidates]
    return list(run_tasks("noise solve", _one_step_errors, measuring, progress))


def _one_step_errors(candidate: Candidate, checkpoints: Checkpoints) -> Array:
    """Run one task: solve a candidate and measure its errors, from its triangles on disk."""
    network = select_for_candidate(candidate, checkpoints, DEFAULT_FIT).best.network
    validation = candidate.factor(checkpoints, candidate.names("validation"))
    squares = squared_errors(network, validation, candidate.size)[0]
    return np.asarray(np.sqrt(squares / validation.rows))
