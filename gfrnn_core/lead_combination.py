"""Weights with which predictions of several leads are combined into the state at a lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LeadCombination = Literal["mean", "longest"]
"""Rules by which a rollout combines predictions, see :func:`prediction_weights`."""


@dataclass(frozen=True)
class WeightedPrediction:
    """One of the predictions that are made from a state of a rollout.

    Attributes
    ----------
    index : int
        Index of the outer weights among all leads that have their own.
    lead : int
        Lead of the predicted state, in steps after the start.
    weight : float
        Weight of the prediction in that state.
    """

    index: int
    lead: int
    weight: float


def prediction_weights(
    leads: Sequence[int], lead: int, combination: LeadCombination
) -> dict[int, float]:
    """Return the weights of the predictions that make the state at a lead.

    The prediction of a lead j with outer weights of its own starts from the state j steps before.
    ``longest`` uses the longest j alone. Up to the longest lead with outer weights of its own,
    ``mean`` is half of that prediction, which is the most direct one, and half of the mean of
    all shorter ones, which are iterated: their errors differ, so that the mean has smaller ones
    (Bates and Granger 1969, Operational Research Quarterly 20, 451). Beyond, both are the same.

    Parameters
    ----------
    leads : sequence of int
        Leads with outer weights of their own, ascending from 1.
    lead : int
        Lead of the state, 1 or more.
    combination : {"mean", "longest"}

    Returns
    -------
    dict from int to float
        Weights by index into ``leads``, all above 0, with the sum 1.
    """
    longest = sum(own <= lead for own in leads) - 1
    if combination == "longest" or lead > leads[-1] or not longest:
        return {longest: 1.0}
    return dict.fromkeys(range(longest), 0.5 / longest) | {longest: 0.5}


def predictions_from(
    leads: Sequence[int], step: int, steps: int, combination: LeadCombination
) -> list[WeightedPrediction]:
    """Return the predictions that a rollout makes from its state at a step.

    Parameters
    ----------
    leads, combination
        Parameters of :func:`prediction_weights`.
    step : int
        Steps from the start to the state, 0 at the start itself.
    steps : int
        Number of steps of the rollout; later states are not predicted.
    """
    return [
        WeightedPrediction(index, step + own, weights[index])
        for index, own in enumerate(leads)
        if step + own <= steps
        and index in (weights := prediction_weights(leads, step + own, combination))
    ]
