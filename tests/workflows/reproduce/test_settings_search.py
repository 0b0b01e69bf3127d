"""Choice of settings on validation trajectories."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest
from rich.console import Console

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.settings_search import choice_table, choose, searches
from gfrnn_testing.case_toys import CASE, LONG, SILENT, Inner, Toy, loaded, toy_run


def test_every_combination_is_tried_and_the_best_kept():
    keys = {"inner.power": [1.0, 2.5, 9.0], "size": [2, 4]}
    chosen, (choice,) = choose(CASE, loaded(near={"keys": keys, "seeds": 3}), SILENT)
    assert [trial.score for trial in choice.trials] == [3.0, 3.0, 1.5, 1.5, 7.0, 7.0]
    assert chosen.settings == Toy(size=2, inner=Inner(power=2.5))  # the first of equals
    assert chosen.values == {"size": 2, "inner": {"power": 2.5}}


def test_higher_may_be_better_and_a_later_validation_sees_the_earlier_choice():
    tree = loaded(near={"keys": {"inner.power": [1.0, 3.0]}}, big={"keys": {"size": [1, 5, 2]}})
    chosen, choices = choose(CASE, tree, SILENT)
    assert [trial.score for trial in choices[1].trials] == [3.0, 15.0, 6.0]
    assert chosen.settings == Toy(size=5, inner=Inner(power=3.0))


def test_nan_is_never_chosen():
    case = Case("toy", "", Toy, toy_run, {"root": Validation(LONG, lambda s, seed: _root(s))})
    tree = loaded(root={"keys": {"inner.power": [-1.0, 4.0, -2.0]}})
    chosen, (choice,) = choose(case, tree, SILENT)
    assert chosen.settings.inner.power == 4.0
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(choice_table(choice))
    assert re.search(r"4 │ +2\.00 │ best", console.export_text())


def _root(settings):
    power = settings.inner.power
    return math.sqrt(power) if power >= 0 else math.nan


def test_random_search_stays_within_its_ranges_and_is_reproducible():
    keys = {"inner.power": {"log": [0.01, 10.0]}, "size": [1, 2, 3]}
    search = searches(CASE, loaded(near={"keys": keys, "trials": 200}))["near"]
    draws = list(search.combinations())
    powers = np.array([draw["inner.power"] for draw in draws])
    assert draws == list(search.combinations())
    assert powers.min() >= 0.01
    assert powers.max() <= 10
    # Half of them below the geometric middle: 200 draws, four standard deviations of the count.
    assert abs((powers < math.sqrt(0.1)).sum() - 100) < 4 * math.sqrt(50)
    assert {draw["size"] for draw in draws} == {1, 2, 3}


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({}, "missing; there is nothing to choose"),
        ({"far": {"keys": {"size": [1]}}}, "far: unknown validation; allowed: near, big"),
        ({"near": {"keys": {"inner.powr": [1]}}}, "inner.powr: the settings have no such key"),
        ({"near": {"keys": {"size": [1, 0]}}}, "size: 0 is not allowed"),
        ({"near": {"keys": {"inner.power": {"log": [1, 2]}}}}, "trials: missing"),
        ({"near": {"keys": {"inner.power": {"log": [0, 2]}}, "trials": 1}}, "low and a high"),
        ({"near": {"keys": {}}}, "keys"),
        ({"near": {"keys": {"size": []}}}, "keys"),
    ],
)
def test_candidates_that_are_refused(candidates, message):
    with pytest.raises(ConfigError, match=message):
        searches(CASE, loaded(**candidates))
