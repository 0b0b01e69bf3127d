"""Compare the Mackey-Glass equation with solutions computed interval by interval."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gfrnn_core.systems.mackey_glass import MACKEY_GLASS_LYAPUNOV_EXPONENT, MackeyGlass

MODEL = MackeyGlass()


def test_it_rests_at_its_equilibria():
    # beta / (1 + x^n) = gamma at x = 1, and x = 0.
    np.testing.assert_allclose(
        MODEL.trajectory(50, initial=[1.0, 0.0])[..., 0], [[1] * 51, [0] * 51]
    )
    other = MackeyGlass(beta=0.9, power=4.0, delay=3.0)
    np.testing.assert_allclose(other.trajectory(20, initial=8**0.25), 8**0.25)


def test_first_two_delays_are_solved_by_hand_and_by_an_ordinary_equation():
    # A constant past makes the first delay a plain decay, known in closed form; that is the delayed
    # term of the second.
    level = 0.2 * 1.2 / (1 + 1.2**10) / 0.1

    def first(time):
        return level + (1.2 - level) * np.exp(-0.1 * time)

    def second(time, x):
        delayed = first(time - 17)
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    path = MODEL.trajectory(34, initial=1.2)
    assert path.shape == (35, 1)
    np.testing.assert_allclose(path[:18, 0], first(np.arange(18)), rtol=1e-9)
    late = solve_ivp(
        second, (17, 34), [first(17)], t_eval=np.arange(17, 35), rtol=1e-11, atol=1e-12
    ).y[0]
    np.testing.assert_allclose(path[17:, 0], late, rtol=1e-7)


def test_time_step_is_of_fourth_order():
    paths = [replace(MODEL, substeps=n).trajectory(100, spinup=20) for n in (2, 4, 32)]
    coarse, fine = (np.abs(path - paths[2]).max() for path in paths[:2])
    assert 3.6 < np.log2(coarse / fine) < 4.6


def test_spinup_and_starts_are_kept_apart():
    starts = np.array([[1.2, 0.9], [0.5, 1.1]])
    together = MODEL.trajectory(30, starts, spinup=20)
    assert together.shape == (2, 2, 31, 1)
    alone = MODEL.trajectory(50, 0.5)
    np.testing.assert_array_equal(together[1, 0], alone[20:])
    assert alone[0, 0] == 0.5


def growth_rate(model):
    """Return the mean growth rate of small errors of the series over 1,000 units of time."""
    starts = np.random.default_rng(0).uniform(0.5, 1.3, 60)
    pair = model.trajectory(1050, [starts, starts + 1e-9], spinup=300)[..., 0]
    # The error oscillates with the series: its root mean square over about one cycle.
    square = (pair[1] - pair[0]) ** 2
    early, late = square[:, :50].mean(axis=-1), square[:, -50:].mean(axis=-1)
    return 0.5 * np.log(late / early).mean() / 1000


def test_a_long_delay_is_chaotic_and_a_short_one_is_not():
    coarse = replace(MODEL, substeps=2)
    assert growth_rate(coarse) == pytest.approx(MACKEY_GLASS_LYAPUNOV_EXPONENT, rel=0.15)
    assert abs(growth_rate(replace(coarse, delay=10.0))) < 5e-4


def test_benchmark_series_stays_in_its_known_range():
    series = MODEL.trajectory(1000, spinup=300)
    assert 0.2 < series.min() < 0.6
    assert 1.2 < series.max() < 1.4


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"delay": 17.03}, "delay"),
        ({"delay": 1.0, "substeps": 1}, "delay"),
        ({"substeps": 0}, "substeps"),
        ({"gamma": np.nan}, "gamma"),
    ],
)
def test_bad_parameters_are_named(change, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        MackeyGlass(**change)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"steps": -1}, "steps"), ({"spinup": -1}, "spinup"), ({"initial": [1.0, -0.1]}, "initial")],
)
def test_bad_arguments_are_named(change, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        MODEL.trajectory(**({"steps": 1} | change))
