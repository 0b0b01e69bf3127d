"""The first round of a search: compare all candidates with few hidden features.

Few features tell which settings are better at a fraction of the cost, which grows with the square
to the cube of the width; the best candidates alone are then trained with all of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.training.model_notes import CandidateScore
from gfrnn.pipeline.training.pass_costs import solve_cost
from gfrnn.pipeline.training.passes import FunctionPass
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.choose_model import select_for_candidate
from gfrnn.pipeline.training.selection.preliminary_solves import DEFAULT_FIT


@dataclass(frozen=True)
class SearchRound:
    """A round of the search for the best candidates.

    Attributes
    ----------
    prefix : str
        Prefix of the names of its passes.
    width : int or None
        Number of hidden features of its networks; None means all of them.
    """

    prefix: str = ""
    width: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """Parts of the keys of its checkpoints."""
        return () if self.width is None else (f"first {self.width}",)


FULL_WIDTH = SearchRound()
"""The round in which networks have all hidden features."""


def first_solve_pass(
    rows: Sequence[RowSummary], candidates: Sequence[Candidate], sizes: Sequence[int], folds: int
) -> FunctionPass:
    """Return the solve of the first round; its results are the scores of the candidates.

    Parameters
    ----------
    rows : sequence of RowSummary
    candidates : sequence of Candidate
        Candidates with their triangles; None while a fit is only planned.
    sizes : sequence of int
        Number of values that a row predicts at each lead, by candidate.
    folds : int
        Number of triangles of the training period of each candidate.
    """
    # A plan takes the candidates of the most columns, which cost most.
    planned = [CandidateScore({}, -float(part.columns), 0.0, []) for part in rows]
    return FunctionPass(
        run=partial(_scores, candidates),
        cost=partial(solve_cost, rows, DEFAULT_FIT, sizes, folds, name="first solve"),
        placeholder=planned,
    )


def _scores(
    candidates: Sequence[Candidate], checkpoints: Checkpoints, progress: Progress | None
) -> list[CandidateScore]:
    """Return the errors of the candidates on the validation period."""
    for candidate in candidates:
        candidate.check_memory("first solve")
    solving = [(candidate, checkpoints) for candidate in candidates]
    found = run_tasks("first solve", _errors, solving, progress)
    return [
        CandidateScore(values=candidate.values, score=score, linear=linear, shares=[])
        for candidate, (score, linear) in zip(candidates, found, strict=True)
    ]


def _errors(candidate: Candidate, checkpoints: Checkpoints) -> tuple[float, float]:
    """Run one task: return the mean errors over leads of a candidate and its linear model."""
    choice = select_for_candidate(candidate, checkpoints, DEFAULT_FIT)
    return choice.best.score, choice.linear.score


def finalists(scores: Sequence[CandidateScore], count: int) -> list[int]:
    """Return the indices of the candidates with the least errors, in the order of the search."""
    order = np.argsort([each.score for each in scores], kind="stable")
    return sorted(order[:count].tolist())
