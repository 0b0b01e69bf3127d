"""Compare integrators with closed solutions, and test how long their paths can be trusted."""

import numpy as np
import pytest

from gfrnn_core.systems import LORENZ63
from gfrnn_core.systems.integration import integrate, runge_kutta_step, trusted_time


def test_integrator_follows_a_damped_oscillator():
    omega, gamma = 2.0, 0.1
    matrix = np.array([[0.0, 1.0], [-(omega**2 + gamma**2), -2 * gamma]])
    path = integrate(lambda state: matrix @ state, [1.0, -gamma], dt=0.1, steps=200)
    times = np.arange(201) * 0.1
    assert path.shape == (201, 2)
    np.testing.assert_allclose(
        path[:, 0], np.exp(-gamma * times) * np.cos(omega * times), atol=1e-9
    )


def test_integrator_samples_at_multiples_of_dt_from_the_initial_state():
    path = integrate(lambda state: np.ones_like(state), [3.0], dt=0.25, steps=4)
    np.testing.assert_allclose(path[:, 0], [3.0, 3.25, 3.5, 3.75, 4.0])
    np.testing.assert_array_equal(integrate(lambda state: state, [1.0, 2.0], 0.1, 0), [[1.0, 2.0]])


def test_integrator_says_when_the_solution_leaves():
    with pytest.raises(ArithmeticError, match="stopped early"):
        integrate(lambda state: state**2, [1.0], dt=0.5, steps=4)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"dt": 0.0}, "dt"),
        ({"dt": np.inf}, "dt"),
        ({"steps": -1}, "steps"),
        ({"initial": [np.nan]}, "initial"),
        ({"initial": [[1.0]]}, "initial"),
    ],
)
def test_integrator_names_a_bad_argument(change, name):
    good = {"tendency": lambda state: state, "initial": [1.0], "dt": 0.1, "steps": 1}
    with pytest.raises(ValueError, match=f"^{name}: "):
        integrate(**(good | change))


# --- steps of Runge and Kutta -----------------------------------------------------------------


def test_runge_kutta_is_of_fourth_order_and_steps_states_as_if_alone():
    starts = LORENZ63.trajectory(1.0, 3, spinup=5)
    error = []
    for count in (50, 100):
        states = starts
        for _ in range(count):
            states = runge_kutta_step(LORENZ63.tendency, states, 0.5 / count)
        truth = [integrate(LORENZ63.tendency, start, 0.5, 1)[1] for start in starts]
        error.append(np.abs(states - truth).max())
    assert 3.7 < np.log2(error[0] / error[1]) < 4.6
    assert error[1] < 1e-3


# --- trusted time -----------------------------------------------------------------------------


def lorenz(tolerance):
    return integrate(LORENZ63.tendency, LORENZ63.initial, 0.1, 250, tolerance, tolerance)


def test_trust_grows_with_precision_at_the_lyapunov_exponent():
    times = [trusted_time(lorenz, level, level / 100, 0.1, 1e-2) for level in (1e-5, 1e-7, 1e-9)]
    assert 2 < times[0] < times[1] < times[2] < 25
    # Four digits are worth 4 ln(10) / exponent, 10.2, if the error follows the tolerance.
    assert 5 < times[2] - times[0] < 16


def test_trust_grows_with_what_is_tolerated():
    strict, loose = (trusted_time(lorenz, 1e-7, 1e-9, 0.1, limit) for limit in (1e-4, 0.3))
    assert strict + 2 < loose


def test_trust_ends_at_the_sample_before_the_paths_part():
    def path(slope):
        late = np.maximum(np.arange(11) - np.array([[2], [6]]), 0)
        return np.stack([slope * late, np.zeros((2, 11))], axis=-1)

    # The distance is slope / sqrt(2) a sample, over a scale of 2, from samples 2 and 6 on.
    times = trusted_time(path, 1.0, 0.0, 0.5, tolerance=0.36, scale=[2.0, 1.0])
    np.testing.assert_allclose(times, [0.5 * 3, 0.5 * 7])
    np.testing.assert_allclose(trusted_time(path, 0.0, 0.0, 0.5, 1e-9, scale=1.0), 5.0)


def test_default_scale_is_that_of_the_fine_path():
    def path(error):
        return np.array([[0.0], [4.0], [0.0], [4.0 + error]])

    # Standard deviation 2.
    assert trusted_time(path, 0.2, 0.0, 1.0, tolerance=0.101) == 3
    assert trusted_time(path, 0.2, 0.0, 1.0, tolerance=0.099) == 2


@pytest.mark.parametrize("shape", [(5,), (1, 2)])
def test_a_path_without_a_step_is_named(shape):
    with pytest.raises(ValueError, match="^path: found shapes"):
        trusted_time(lambda _: np.zeros(shape), 1, 2, 0.1, 0.1)
