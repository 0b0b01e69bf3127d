"""The case of the forced Van der Pol oscillator: the control problem, and that bars hold."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from gfrnn.workflows.cases.control.control_problem import ControlProblem
from gfrnn.workflows.cases.control.regulators import design, training_runs, uncontrolled
from gfrnn.workflows.cases.van_der_pol_control_case import (
    CASE,
    LIFTED,
    LIFTED_MEAN,
    NO_CONTROL,
    TRUE_LQR,
    validation_cost,
)
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn_core.systems import van_der_pol_tendency


@pytest.fixture(scope="module")
def settings():
    return load_settings(CASE, quick=True).settings


@pytest.fixture(scope="module")
def problem(settings):
    return ControlProblem.make(settings, 1)


@pytest.fixture(scope="module")
def result(settings):
    return CASE.run(settings, [0, 1], lambda advance: None)


def scores(result, name):
    return next(entry for entry in result.entries if entry.name == name).scores


def test_a_step_solves_the_equation_with_constant_input(problem):
    states, inputs = np.array([[1.5, -2.0], [0.1, 0.3]]), np.array([[0.7], [-1.0]])
    exact = [
        solve_ivp(
            lambda _, h, u=u: van_der_pol_tendency(h, u),
            (0, problem.settings.dt),
            h,
            rtol=1e-12,
            atol=1e-12,
        ).y[:, -1]
        for h, u in zip(states, inputs, strict=True)
    ]
    np.testing.assert_allclose(problem.step(states, inputs), exact, atol=1e-7)


def test_no_other_linear_gain_is_cheaper_near_rest(problem):
    gain = problem.true_gain()
    tiny = ControlProblem(problem.settings, 1e-2 * problem.starts)

    def cost(F):
        return tiny.costs(lambda h: -h @ F.T)[1]

    for change in ([[0.1, 0]], [[-0.1, 0]], [[0, 0.1]], [[0, -0.1]]):
        assert cost(gain + change) > cost(gain)


def test_inputs_of_training_runs_lead_to_their_states(problem):
    states, inputs = training_runs(problem, 0)
    np.testing.assert_allclose(states[:, 5], problem.step(states[:, 4], inputs[:, 5]), atol=0)
    again, _ = training_runs(problem, 0)
    other, _ = training_runs(problem, 1)
    assert (states == again).all()
    assert (states != other).any()


def test_the_bars_are_reached(result):
    assert [verdict.reached for verdict in result.verdicts()] == [True, True, True]
    ours, mean, true = (scores(result, name) for name in (LIFTED, LIFTED_MEAN, TRUE_LQR))
    # Each seed reaches the bar, not only the median.
    assert max(ours["relative"]) < 1.05
    assert max(ours["near"]) < 1.05
    # No regulator can beat the optimum near rest.
    assert min(ours["near"]) > 0.999
    assert np.median(mean["near"]) > np.median(ours["near"])
    assert true["relative"] == [1.0]
    assert true["near"] == [1.0]
    assert scores(result, NO_CONTROL)["share"] == [1.0]
    np.testing.assert_allclose(ours["cost"], np.multiply(ours["relative"], true["cost"][0]))


def test_the_same_seed_gives_the_same_scores(result, settings):
    again = CASE.run(settings, [1], lambda advance: None)
    assert scores(again, LIFTED)["cost"] == scores(result, LIFTED)["cost"][1:]


def test_the_figure_is_drawn(result):
    figure = Figure()
    result.draw(figure)
    plane, forces = figure.axes
    assert [text.get_text() for text in forces.get_legend().get_texts()] == [
        NO_CONTROL,
        TRUE_LQR,
        LIFTED,
    ]
    # Runs from four starts under three policies, the starts, and rest.
    assert len(plane.lines) == 14


def test_validation_has_other_starts_than_the_test(settings, problem, monkeypatch):
    seen = []
    kept = ControlProblem.costs

    def spied(self, policy):
        seen.append(self.starts)
        return kept(self, policy)

    monkeypatch.setattr(ControlProblem, "costs", spied)
    found = validation_cost(settings, 0)
    assert 0.9 < found < 1.05
    assert seen
    for starts in seen:
        assert not np.isin(starts, problem.starts).any()


def test_diverged_and_missing_regulators_have_infinite_cost(settings, problem):
    assert problem.costs(None) == (np.inf, np.inf)
    assert problem.costs(lambda h: 50 * h[..., :1])[0] == np.inf
    # Runs that only move outwards look like growing modes that no input reaches.
    poor = settings.model_copy(
        update={"data": settings.data.model_copy(update={"times": 1, "reach": 0.5, "push": 0.1})}
    )
    short = ControlProblem(poor, problem.starts)
    assert design(short, training_runs(short, 0), 0, 60) is None
    assert uncontrolled(problem.starts).shape == (len(problem.starts), 1)
