"""Select a model from the saved triangles of the candidates, and solve it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.training.model_notes import CandidateScore, SolveSettings
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.left_out_years import select_on_left_out_years
from gfrnn.pipeline.training.selection.ridge import (
    FitRows,
    RidgeSelection,
    WidthSelection,
    candidate_shares,
    select_ridge_and_width,
    solve,
)
from gfrnn.pipeline.training.triangles import tried_widths
from gfrnn_core import SampledRNN

Array = NDArray[Any]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SelectedModel:
    """The part of a model that is computed from triangles alone.

    Attributes
    ----------
    best : int
        Index of the candidate with the least error.
    networks, mixture, linear, quadratic, selection, notes
        Attributes of :class:`gfrnn.pipeline.training.model.ForecastModel`.
    """

    best: int
    networks: tuple[SampledRNN, ...]
    mixture: Array
    linear: SampledRNN
    quadratic: SampledRNN | None
    selection: dict[str, Array]
    notes: dict[str, Any]


def choose_model(
    candidates: tuple[Candidate, ...],
    checkpoints: Checkpoints,
    fit: FitConfig,
    progress: Progress | None = None,
) -> SelectedModel:
    """Solve every candidate, compare their errors, average the best at each lead.

    The errors are those on the validation period, or on every year that is left out once
    (``fit.choice``).

    Raises
    ------
    ResourceError
        Before anything runs, if a candidate's solve exceeds a worker's memory.
    RunError
        If a triangle is missing or damaged.
    """
    for candidate in candidates:
        folds = candidate.names("train", fit.without) + candidate.names("validation")
        candidate.check_memory("solve", len(folds) if fit.choice == "years" else 0)
    solving = [(candidate, checkpoints, fit) for candidate in candidates]
    choices: list[WidthSelection] = run_tasks("solve", select_for_candidate, solving, progress)
    best = int(np.argmin([choice.best.score for choice in choices]))
    best_linear = int(np.argmin([choice.linear.score for choice in choices]))
    candidate, choice, linear = candidates[best], choices[best], choices[best_linear].linear
    for tried, chosen in zip(candidates, choices, strict=True):
        _LOGGER.info(
            "candidate %s: error %.5g, of the linear model %.5g",
            tried.values or "without a search",
            chosen.best.score,
            chosen.linear.score,
        )
    shares = candidate_shares(
        np.stack([choice.best.errors.min(axis=0) for choice in choices]), fit.average
    )
    used = np.flatnonzero(shares.any(axis=1))
    solves = [_settings(int(index), choices[index].best) for index in used]
    linear_solve = _settings(best_linear, linear)
    quadratic = _best_quadratic(candidates, choices)
    if quadratic is not None and used.tolist() == [quadratic]:
        quadratic = None  # the forecast itself
    return SelectedModel(
        best=best,
        networks=tuple(choices[index].best.network for index in used),
        mixture=shares[used],
        linear=linear.network,
        quadratic=None if quadratic is None else choices[quadratic].best.network,
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
            "solves": solves,
            "linear_solve": linear_solve,
            "quadratic_solve": (
                None if quadratic is None else _settings(quadratic, choices[quadratic].best)
            ),
            "rows": candidate.rows(candidate.solved_folds(fit)),
            "columns": len(choice.best.spectrum) + len(linear.network.leads) * candidate.size,
        },
    )


def _best_quadratic(
    candidates: tuple[Candidate, ...], choices: Sequence[WidthSelection]
) -> int | None:
    """Return the index of the best candidate with quadratic features; None if there is none."""
    found = [index for index, each in enumerate(candidates) if each.network.sampling == "quadratic"]
    return min(found, key=lambda index: choices[index].best.score, default=None)


def has_final_solve(fit: FitConfig) -> bool:
    """Tell whether the rows of the final weights are others than those that a model is chosen with.

    The validation period may be added (``fit.refit``). Where every year is left out once
    (``fit.choice``), no solve has the rows of all years.
    """
    return fit.refit == "all" or fit.choice == "years"


def final_solve(
    selected: SelectedModel,
    candidates: tuple[Candidate, ...],
    checkpoints: Checkpoints,
    fit: FitConfig,
    progress: Progress | None = None,
) -> SelectedModel:
    """Return the selected model with outer weights of all its rows, at the chosen settings.

    It is returned unchanged where :func:`has_final_solve` says that it has them already. There is
    one task for each candidate, also for those that the model does not use.
    """
    if not has_final_solve(fit):
        return selected
    references = [selected.notes[f"{name}_solve"] for name in ("linear", "quadratic")]
    chosen = [*selected.notes["solves"], *filter(None, references)]
    solving = [
        (
            candidate,
            checkpoints,
            [each for each in chosen if each.candidate == index],
            candidate.solved_folds(fit),
        )
        for index, candidate in enumerate(candidates)
    ]
    found = [iter(each) for each in run_tasks("final solve", solve_candidate, solving, progress)]
    solved = [next(found[each.candidate]) for each in chosen]
    count = len(selected.networks)
    linear, quadratic = (*solved[count:], None)[:2]
    return replace(selected, networks=tuple(solved[:count]), linear=linear, quadratic=quadratic)


def _settings(candidate: int, path: RidgeSelection) -> SolveSettings:
    """Return the settings with which a network was solved, so that an update can repeat it."""
    return SolveSettings(
        candidate=candidate,
        width=path.network.width,
        ridge=path.ridge.tolist(),
        balance=path.balance.tolist(),
    )


def select_for_candidate(
    candidate: Candidate, checkpoints: Checkpoints, fit: FitConfig
) -> WidthSelection:
    """Run one task: select ridge, balance and width of one candidate from its triangles on disk."""
    train, validation = candidate.names("train", fit.without), candidate.names("validation")
    settings: dict[str, Any] = {
        "size": candidate.size,
        "widths": tried_widths(candidate.network, fit.widths),
        "ridges": fit.ridge,
        "balances": fit.balance,
        "variance": candidate.variance,
        "truncated_variance": candidate.truncated_variance,
    }
    if fit.choice == "years":
        folds = list(candidate.load_folds(checkpoints, train + validation))
        return select_on_left_out_years(candidate.network, folds, **settings)
    fitted, checked = (
        candidate.load_folds(checkpoints, train),
        candidate.factor(checkpoints, validation),
    )
    return select_ridge_and_width(candidate.network, fitted, checked, **settings)


def solve_candidate(
    candidate: Candidate,
    checkpoints: Checkpoints,
    settings: Sequence[SolveSettings],
    folds: Sequence[str],
) -> list[SampledRNN]:
    """Run one task: solve networks of a candidate from the triangles of some folds.

    Parameters
    ----------
    settings : sequence of SolveSettings
        Settings of each network; with none, nothing is loaded.
    """
    if not settings:
        return []
    rows = FitRows(candidate.load_folds(checkpoints, folds))  # loaded once for each form
    return [
        solve(
            candidate.network,
            rows,
            size=candidate.size,
            width=each.width,
            ridge=np.asarray(each.ridge),
            balance=np.asarray(each.balance),
        )
        for each in settings
    ]
