"""Select a model on the validation period from the saved triangles of the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.training.model_notes import CandidateScore, SolveSettings
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.ridge import (
    RidgeSelection,
    WidthSelection,
    candidate_shares,
    select_ridge_and_width,
)
from gfrnn_core import SampledRNN

Array = NDArray[Any]


@dataclass(frozen=True)
class SelectedModel:
    """The part of a model that is computed from triangles alone.

    Attributes
    ----------
    best : int
        Index of the candidate with the least validation error.
    networks, mixture, linear, selection, notes
        Attributes of :class:`gfrnn.pipeline.training.model.ForecastModel`.
    """

    best: int
    networks: tuple[SampledRNN, ...]
    mixture: Array
    linear: SampledRNN
    selection: dict[str, Array]
    notes: dict[str, Any]


def choose_model(
    candidates: tuple[Candidate, ...],
    checkpoints: Checkpoints,
    fit: FitConfig,
    progress: Progress | None = None,
) -> SelectedModel:
    """Solve every candidate, compare them on the validation period, average the best at each lead.

    Raises
    ------
    ResourceError
        Before anything runs, if a candidate's solve exceeds a worker's memory.
    RunError
        If a triangle is missing or damaged.
    """
    for candidate in candidates:
        candidate.check_memory("solve")
    solving = [(candidate, checkpoints, fit) for candidate in candidates]
    choices: list[WidthSelection] = run_tasks("solve", _select_for_candidate, solving, progress)
    best = int(np.argmin([choice.best.score for choice in choices]))
    best_linear = int(np.argmin([choice.linear.score for choice in choices]))
    candidate, choice, linear = candidates[best], choices[best], choices[best_linear].linear
    shares = candidate_shares(
        np.stack([choice.best.errors.min(axis=0) for choice in choices]), fit.average
    )
    used = np.flatnonzero(shares.any(axis=1))
    return SelectedModel(
        best=best,
        networks=tuple(choices[index].best.network for index in used),
        mixture=shares[used],
        linear=linear.network,
        selection={
            "ridges": np.asarray(fit.ridge),
            "widths": np.asarray([path.network.width for path in choice.paths]),
            "errors": np.stack([path.errors for path in choice.paths]),
            "linear_errors": linear.errors,
            "ridge": choice.best.ridge,
            "balance": choice.best.balance,
            "linear_ridge": linear.ridge,
            "spectrum": choice.best.spectrum,
        },
        notes={
            "width": choice.best.network.width,
            "modes": candidate.size,
            "delays": candidate.network.delays,
            "chosen": candidate.values,
            "candidates": [
                CandidateScore(
                    values=candidate.values,
                    score=chosen.best.score,
                    linear=chosen.linear.score,
                    shares=share.tolist(),
                )
                for candidate, chosen, share in zip(candidates, choices, shares, strict=True)
            ],
            "solves": [_settings(int(index), choices[index].best) for index in used],
            "linear_solve": _settings(best_linear, linear),
            "rows": candidate.rows(candidate.names("train", fit.without)),
            "columns": len(choice.best.spectrum) + len(linear.network.leads) * candidate.size,
        },
    )


def _settings(candidate: int, path: RidgeSelection) -> SolveSettings:
    """Return the settings with which a network was solved, so that an update can repeat it."""
    return SolveSettings(
        candidate=candidate,
        width=path.network.width,
        ridge=path.ridge.tolist(),
        balance=path.balance.tolist(),
    )


def _select_for_candidate(
    candidate: Candidate, checkpoints: Checkpoints, fit: FitConfig
) -> WidthSelection:
    """Run one task: select ridge, balance and width of one candidate from its triangles on disk."""
    return select_ridge_and_width(
        candidate.network,
        candidate.factor(checkpoints, candidate.names("train", fit.without)),
        candidate.factor(checkpoints, candidate.names("validation")),
        size=candidate.size,
        widths=candidate.widths(fit),
        ridges=fit.ridge,
        balances=fit.balance,
        variance=candidate.variance,
        truncated_variance=candidate.truncated_variance,
    )
