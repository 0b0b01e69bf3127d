"""Compare the Kuramoto-Sivashinsky equation with its properties known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core.systems.integration import trusted_time
from gfrnn_core.systems.kuramoto_sivashinsky import (
    KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT,
    KuramotoSivashinsky,
)

SMALL = KuramotoSivashinsky(length=22.0, points=64, substeps=4)


@pytest.fixture(scope="module")
def chaos():
    """Return two states on the attractor of the small model."""
    return replace(SMALL, substeps=1).step(SMALL.initial(seed=3, shape=(2,)), 800)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def test_small_waves_grow_and_decay_at_their_own_rates():
    number = np.array([1, 2, 3, 5, 8])
    q = 2 * np.pi * number / SMALL.length
    waves = 1e-9 * np.cos(q[:, None] * SMALL.x + 0.3)
    later = SMALL.step(waves, 8)
    np.testing.assert_allclose(
        later, np.exp((q**2 - q**4) * 2.0)[:, None] * waves, rtol=0, atol=1e-9 * 1e-7
    )
    assert relative(later[2], waves[2]) > 0.1


def test_mean_is_conserved_and_only_moves_the_frame(chaos):
    # u + c, moving with c, is the same solution: this fixes sign and factor of the product.
    shift = 6
    speed = shift * SMALL.length / SMALL.points / (4 * SMALL.dt)
    fine = replace(SMALL, substeps=64)
    moved = fine.step(chaos + speed, 4)
    np.testing.assert_allclose(moved.mean(axis=-1), chaos.mean(axis=-1) + speed, atol=1e-12)
    expected = np.roll(fine.step(chaos, 4), shift, axis=-1) + speed
    assert relative(moved, expected) < 1e-6
    assert relative(fine.step(chaos, 4), chaos) > 0.05


def test_mirrored_fields_stay_mirrored(chaos):
    def mirror(u):
        return -np.roll(u[..., ::-1], 1, axis=-1)

    assert relative(SMALL.step(mirror(chaos), 4), mirror(SMALL.step(chaos, 4))) < 1e-10


def test_energy_changes_as_growth_and_damping_say(chaos):
    # d/dt <u^2> / 2 = <u_x^2> - <u_xx^2>: the product only moves energy between waves.
    short = replace(SMALL, dt=1e-3, substeps=1)
    before, after = (0.5 * (u**2).mean(axis=-1) for u in (chaos, short.step(chaos, 2)))
    middle = np.fft.rfft(short.step(chaos))
    power = 2 * np.abs(middle / SMALL.points) ** 2
    rate = (power * (SMALL.wavenumber**2 - SMALL.wavenumber**4)).sum(axis=-1)
    assert np.abs(rate).min() > 1e-3
    np.testing.assert_allclose((after - before) / 2e-3, rate, rtol=1e-3)


def test_time_step_is_of_fourth_order(chaos):
    paths = [replace(SMALL, substeps=n).step(chaos, 8) for n in (8, 16, 128)]
    coarse, fine = (np.abs(path - paths[2]).max() for path in paths[:2])
    assert 3.6 < np.log2(coarse / fine) < 4.4
    assert fine < 1e-5


def test_field_is_resolved_at_the_default_grid():
    model = KuramotoSivashinsky()
    coarse = replace(model, substeps=1)
    state = coarse.step(model.initial(seed=1), 400)
    power = np.abs(np.fft.rfft(state))
    assert power[-20:].max() < 1e-8 * power.max()
    # On a grid twice as fine, the same path.
    double = replace(model, points=1024)
    waves = np.zeros(513, complex)
    waves[:257] = 2 * np.fft.rfft(state)
    finer = double.step(np.fft.irfft(waves), 8)
    assert relative(model.step(state, 8), finer[::2]) < 1e-7


def test_errors_grow_at_the_lyapunov_exponent():
    model = KuramotoSivashinsky(substeps=1, points=256)
    starts = model.step(model.initial(seed=0, shape=(10,)), 500)
    twins = starts + 1e-9 * np.random.default_rng(0).standard_normal(starts.shape)
    pairs = [model.step(np.array([starts, twins]), 120)]
    pairs.append(model.step(pairs[0], 320))
    early, late = (np.linalg.norm(b - a, axis=-1) for a, b in pairs)
    rate = np.log(late / early).mean() / 80
    assert rate == pytest.approx(KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT, rel=0.15)


def test_trust_grows_with_substeps(chaos):
    def path(substeps):
        return replace(SMALL, substeps=substeps).trajectory(chaos, 800)

    times = np.array([trusted_time(path, n, 4 * n, SMALL.dt, 1e-2) for n in (1, 4)])
    assert times.shape == (2, 2)
    assert (times[0] > 5).all()
    assert (times[1] > times[0] + 10).all()


def test_trajectory_is_its_steps_without_the_spinup(chaos):
    path = SMALL.trajectory(chaos, 6)
    assert path.shape == (2, 7, 64)
    np.testing.assert_array_equal(path[:, 0], chaos)
    np.testing.assert_allclose(path[1, 6], SMALL.step(chaos[1], 6), atol=1e-12)
    np.testing.assert_allclose(SMALL.trajectory(chaos, 4, spinup=2), path[:, 2:], atol=1e-12)


def test_initial_states_are_reproducible_smooth_and_without_mean():
    model = KuramotoSivashinsky()
    first, again, other = (model.initial(seed, (3,)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert relative(first, other) > 0.1
    np.testing.assert_allclose(first.mean(axis=-1), 0, atol=1e-14)
    assert 0.5 < first.std() < 2


def test_a_blow_up_is_an_error():
    with pytest.raises(FloatingPointError, match="dt="):
        KuramotoSivashinsky(dt=50.0, substeps=1).trajectory(
            1e3 * KuramotoSivashinsky().initial(), 50
        )


@pytest.mark.parametrize(
    ("change", "name"),
    [({"points": 63}, "points"), ({"dt": 0.0}, "dt"), ({"length": np.inf}, "length")],
)
def test_bad_parameters_are_named(change, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        KuramotoSivashinsky(**change)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"steps": -1}, "steps"), ({"spinup": -1}, "spinup"), ({"initial": np.zeros(63)}, "state")],
)
def test_bad_arguments_are_named(change, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        SMALL.trajectory(**({"initial": np.zeros(64), "steps": 1} | change))
