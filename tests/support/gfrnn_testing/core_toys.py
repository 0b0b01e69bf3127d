"""Small systems and series that tests of the network share."""

import numpy as np

TURN = 0.3
ROTATION = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
SHIFT = np.array([0.5, -0.2])
COUPLING = np.array([[0.3, 0.0, -1.0], [0.2, 0.7, 0.1]])


def rotating(times, start=(1.0, 2.0)):
    """Return a series of x_t+1 = Q x_t + c, which never decays."""
    states = np.empty((times, 2))
    states[0] = start
    for t in range(1, times):
        states[t] = ROTATION @ states[t - 1] + SHIFT
    return states


def forced(times, seed=0):
    """Return a series of x_t+1 = 0.9 Q x_t + c + B u_t+1, with random inputs u."""
    inputs = np.random.default_rng(seed).standard_normal((times, 3))
    states = np.zeros((times, 2))
    for t in range(1, times):
        states[t] = 0.9 * ROTATION @ states[t - 1] + SHIFT + COUPLING @ inputs[t]
    return states, inputs


def noisy(times=120, size=2, seed=0):
    return np.random.default_rng(seed).standard_normal((times, size)).cumsum(axis=0) / 10
