"""Results of cases: quartiles, bars and refused results."""

from __future__ import annotations

import math

import pytest

from gfrnn.workflows.reproduce.case_result import Bar, Entry
from gfrnn.workflows.reproduce.result_table import (
    verdict_sentence,
)
from gfrnn_testing.case_toys import LONG, result


def test_quartiles_are_over_seeds():
    mine, theirs, plain = result().entries
    assert mine.quartiles("long") == (1.5, 2.0, 2.5)
    assert mine.quartiles("training") == (1.5, 2.0, 5.5)
    assert plain.quartiles("long") is None
    assert theirs.quartiles("error") == (math.inf,) * 3
    some = Entry("some", "ours", {"error": [1.0, 2.0, math.inf]})
    assert some.quartiles("error")[1] == 2.0
    assert all(map(math.isnan, Entry("x", "ours", {"error": [1.0, math.nan]}).quartiles("error")))


@pytest.mark.parametrize(
    ("bar", "reached"),
    [
        (Bar("long", "mine", 2.0), True),
        (Bar("long", "mine", 2.0, strict=True), False),
        (Bar("long", "mine", 2.1), False),
        (Bar("error", "mine", 0.5), True),
        (Bar("error", "mine", 0.4), False),
        (Bar("error", "mine", 0.5, strict=True), False),
        (Bar("long", "mine", against="theirs"), True),
        (Bar("error", "mine", against="theirs"), True),
        (Bar("error", "theirs", against="mine"), False),
        (Bar("error", "mine", against="mine"), False),
        (Bar("training", "mine", against="theirs"), True),
        (Bar("long", "mine", against="plain"), None),
        (Bar("long", "mine", against="not installed"), None),
        (Bar("long", "plain", 1.0), None),
    ],
)
def test_bars_are_reached_or_not_or_not_measured(bar, reached):
    assert result(bars=[bar]).verdicts()[0].reached is reached


def test_a_diverged_method_is_beaten_and_never_beats():
    away = Entry("away", "peer", {"error": [math.nan]})
    entries = [*result().entries, away]
    bars = [Bar("error", "mine", against="away"), Bar("error", "away", against="mine")]
    assert [v.reached for v in result(entries=entries, bars=bars).verdicts()] == [True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": [Bar("wide", "mine", 1.0)]}, "no score 'wide'"),
        ({"bars": [Bar("long", "nobody", 1.0)]}, "no entry 'nobody'"),
        ({"scores": [LONG, LONG]}, "score: 'long' occurs twice"),
        ({"scores": [LONG]}, "entry 'mine': no score 'error'"),
    ],
)
def test_results_with_unknown_or_repeated_names_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        result(**changes)


@pytest.mark.parametrize("given", [{}, {"value": 1.0, "against": "theirs"}])
def test_a_bar_is_either_a_value_or_a_method(given):
    with pytest.raises(ValueError, match="either value or against"):
        Bar("long", "mine", **given)


def test_sentences_of_bars():
    said = [verdict_sentence(verdict) for verdict in result().verdicts()]
    assert said == [
        "mine: how long 2.00 days, required at least 2.00 days: reached",
        "mine: training 2.00 s, required below 4.00 s of theirs: reached",
    ]
