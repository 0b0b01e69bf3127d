"""Runs of learning rules: settings, divergence and validation losses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gfrnn.workflows.cases.perturbation.learning_run import learn, validation_loss
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    LearningRule,
    MackeyGlassData,
    PerturbationNetwork,
)
from gfrnn.workflows.cases.perturbation.task_data import make_task
from gfrnn_core.perturbation import (
    Backpropagation,
    Learning,
    Perturbation,
    Weights,
    mean_loss,
)

MACKEY = MackeyGlassData(steps=600, ahead=15, test=100, validation=120)
SMALL = PerturbationNetwork(units=8, epochs=3, window=20)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("wp", "wp"), ("dwp", "wp"), ("np", "np"), ("dnp", "np"), ("anp", "anp"), ("danp", "anp")],
)
def test_rule_names_give_the_method(name, kind):
    rule = LearningRule(rate=0.1, sigma=0.5, draws=3, credit=None, scaling="unbiased")
    assert rule.method(name) == Perturbation(kind, 0.5, 3, None, "unbiased")
    assert rule.method("bptt") == Backpropagation()


def test_a_job_gives_the_losses_of_the_core():
    rule = LearningRule(rate=0.01, decorrelation=1e-3, draws=2)
    found = learn(MACKEY, 15, SMALL, "danp", rule, 4)
    task = make_task(MACKEY, 15, validation=False)
    weights = Weights.initial(1, 8, 1, 4)
    method = Perturbation("anp", draws=2)
    learning = Learning(method, 0.01, decorrelation=1e-3, window=20, epochs=3, seed=4)
    assert found.train.tolist() == list(learning.losses(weights, task.train))
    assert found.final == found.test[-1] == mean_loss(weights, task.test)
    assert (np.diff(found.seconds) > 0).all()
    assert found.total == found.seconds[-1] == pytest.approx(3 * found.epoch_seconds)


def test_backpropagation_beats_persistence():
    network = PerturbationNetwork(units=20, epochs=10, window=50)
    found = learn(MACKEY, 15, network, "bptt", LearningRule(rate=0.01, optimiser="adam"), 0)
    assert found.final < 0.5 * make_task(MACKEY, 15, validation=False).references["persistence"]
    assert found.test[-1] < found.test[0]


def test_the_loss_of_a_diverged_run_is_infinite():
    found = learn(MACKEY, 15, SMALL, "bptt", LearningRule(rate=1e9), 0)
    assert found.final == math.inf
    assert "epoch" in found.diverged
    assert math.isinf(validation_loss(MACKEY, [15], SMALL, "bptt", LearningRule(rate=1e9), 0))


def test_the_validation_loss_is_a_mean_over_horizons(station):
    rule = LearningRule(rate=0.01, optimiser="adam")
    both = validation_loss(station, [1, 6], SMALL, "bptt", rule, 0)
    each = [learn(station, ahead, SMALL, "bptt", rule, 0, True).final for ahead in (1, 6)]
    assert both == pytest.approx(np.mean(np.log10(each)))
