"""Small networks and windows that the tests of perturbation learning share."""

import numpy as np

from gfrnn_core.perturbation import Weights, Window
from gfrnn_core.perturbation.losses import step_losses


def network(inputs=2, units=5, outputs=3, seed=0, dtype=np.float64):
    """Return a network whose D is far from the identity."""
    weights = Weights.initial(inputs, units, outputs, seed, dtype)
    rng = np.random.default_rng(seed + 1000)
    weights.decorrelation += (0.4 * rng.standard_normal((units, units))).astype(dtype)
    return weights


def window(steps=6, batch=2, inputs=2, outputs=3, loss="squared", counted=None, seed=0):
    rng = np.random.default_rng(seed)
    if loss == "squared":
        targets = rng.standard_normal((steps, batch, outputs))
    else:
        targets = rng.dirichlet(np.ones(outputs), (steps, batch))
    counted = np.ones(steps, bool) if counted is None else np.asarray(counted, bool)
    return Window(rng.standard_normal((steps, batch, inputs)), targets, counted, loss)


def start(weights, batch=2, seed=5):
    return 0.5 * np.random.default_rng(seed).standard_normal((batch, weights.units))


def plain_run(weights, inputs, state, noise=None):
    """Return z, x, x^ and y of every step, computed by the formulas of the paper."""
    steps, batch, _ = inputs.shape
    noise = np.zeros((steps, batch, weights.units)) if noise is None else noise
    found = {name: [] for name in ("z", "x", "hat", "y")}
    hat = np.array([weights.decorrelation @ x for x in state])
    for t in range(steps):
        z = np.array(
            [
                weights.inputs @ inputs[t, b] + weights.recurrent @ hat[b] + noise[t, b]
                for b in range(batch)
            ]
        )
        x = np.tanh(z)
        hat = np.array([weights.decorrelation @ one for one in x])
        y = np.array([weights.readout @ one for one in hat])
        for name, value in (("z", z), ("x", x), ("hat", hat), ("y", y)):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


def plain_loss(weights, part, state):
    outputs = plain_run(weights, part.inputs, state)["y"]
    return step_losses(outputs, part.targets, part.loss)[part.counted].mean()


def numerical_gradient(weights, loss, step=1e-6):
    """Return central differences of ``loss()`` in every trained weight."""
    gradient = []
    for matrix in weights.trained():
        slope = np.empty_like(matrix)
        for place in np.ndindex(matrix.shape):
            kept = matrix[place]
            matrix[place] = kept + step
            above = loss()
            matrix[place] = kept - step
            slope[place] = (above - loss()) / (2 * step)
            matrix[place] = kept
        gradient.append(slope)
    return gradient


class EveryDirection:
    """A replacement of a generator: draw d is ``sqrt(draws)`` times the d-th unit vector.

    The mean of ``xi xi^T`` over its draws is the identity exactly, as that of true noise is in the
    limit of many draws; so means over draws can be compared without a statistical error.

    Parameters
    ----------
    sizes : sequence of int
        Perturbed values of each array that is asked for, in order.
    draw_axis : int
        Axis of the draws: 0 of noise on matrices, 1 of noise on each step.
    """

    def __init__(self, sizes, draw_axis):
        self.sizes, self.draw_axis = list(sizes), draw_axis
        self.draws, self.calls, self.drawn = sum(sizes), 0, 0

    def standard_normal(self, shape, dtype):
        place = self.calls % len(self.sizes)
        self.calls += 1
        first = sum(self.sizes[:place])
        noise = np.zeros(shape, dtype)
        if self.draw_axis == 0:
            # Shape (some of the draws, rows, columns).
            here = self.drawn + np.arange(shape[0])
            own = (here >= first) & (here < first + self.sizes[place])
            noise.reshape(shape[0], -1)[own, here[own] - first] = np.sqrt(self.draws)
            self.drawn += shape[0] if place == len(self.sizes) - 1 else 0
            return noise
        # Shape (steps, draws, batch, values): each sequence of a batch has its own loss, so all
        # share the direction.
        steps, _, _, values = shape
        for value in range(steps * values):
            noise[value // values, first + value, :, value % values] = np.sqrt(self.draws)
        return noise
