"""Test linear terms that are products of states with inputs, such as the season."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN
from gfrnn_core.perturbation.rollout_gradient import lead_weights

RING = Patches((6,), ((1, 1),), size=2, channels=2)


def season(times, period=12):
    angle = 2 * np.pi * np.arange(times) / period
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def cyclostationary(times, seed=0, noise=0.0):
    """Return states x' = (A + B cos + C sin) x + noise, the season at the later time; and A, B, C.

    The matrices rotate and shrink, so that states stay of order one for a while.
    """
    rng = np.random.default_rng(seed)
    mean = 0.98 * np.linalg.qr(rng.standard_normal((3, 3)))[0]
    cos, sin = 0.05 * rng.standard_normal((2, 3, 3))
    inputs, path = season(times), [rng.standard_normal(3)]
    for now in inputs[1:]:
        step = mean + cos * now[0] + sin * now[1]
        path.append(step @ path[-1] + noise * rng.standard_normal(3))
    return np.array(path), inputs, (mean, cos, sin)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("width", [0, 7])
def test_a_linear_system_with_seasons_is_learnt_exactly(joint, width):
    states, inputs, matrices = cyclostationary(160)
    network = SampledRNN(width, target="state", joint=joint, modulators=(0, 1), standardise=False)
    network = network.fit(states[:100], inputs[:100])
    if not width:
        weights = network.outer[0]
        for order, matrix in enumerate(matrices):
            # The rows are the state, the inputs and the constant in some order, and the products.
            start = 0 if order == 0 else 3 + 2 + 1 + 3 * (order - 1)
            np.testing.assert_allclose(weights[start : start + 3].T, matrix, atol=1e-10)
    path = network.rollout(states[None, 100:101], 40, inputs[None, 101:141])[0]
    np.testing.assert_allclose(path, states[101:141], atol=1e-8)


def test_without_products_the_season_of_the_dynamics_is_not_learnt():
    states, inputs, _ = cyclostationary(160)
    plain = SampledRNN(0, standardise=False).fit(states[:100], inputs[:100])
    seasonal = replace(plain, modulators=(0, 1), hidden=None).fit(states[:100], inputs[:100])
    errors = [
        np.abs(network.predict(states, inputs) - states[1:]).max() for network in (plain, seasonal)
    ]
    assert errors[1] < 1e-9 < 1e-3 < errors[0]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_the_columns_of_rows_and_of_rollouts_are_the_same(joint, local):
    rng = np.random.default_rng(3)
    states, inputs = rng.standard_normal((80, RING.cells)).cumsum(axis=0) / 10, season(80)
    if local:  # inputs of each place
        inputs = inputs[:, None] * rng.uniform(0.5, 1.5, (RING.places, 1))
    network = SampledRNN(
        5, delays=2, leads=(1, 3), patches=RING, joint=joint, modulators=(1,), sampling="normal"
    )
    network = replace(network, combine_leads="longest")
    network = network.fit(states, inputs)
    hidden, scaled = network.hidden, network.scaled(states)
    window = RING.window
    for time in (1, 40):
        predicted = np.empty((2, RING.cells))
        for place in range(RING.places):
            given = inputs[time + 1] if inputs.ndim == 2 else inputs[time + 1, place]
            seen = np.concatenate([scaled[time - j][RING.seen[place]] for j in (0, 1)])
            products = given[1] * seen[:window]
            linear = [*seen, *given, 1.0] if joint else [*seen, 1.0, *given]
            of_hidden = np.concatenate([seen, given]) if joint else seen
            row = [*linear, *products, *np.tanh(of_hidden @ hidden.weights + hidden.biases)]
            own = RING.own[place]
            predicted[:, own] = scaled[time][own] + np.array(row) @ network.outer
        found = network.rollout(
            states[None, time - 1 : time + 1], 3, inputs[None, time + 1 :][:, :3]
        )
        np.testing.assert_allclose(network.scaled(found[0])[0], predicted[0], rtol=1e-9)
        np.testing.assert_allclose(network.scaled(found[0])[2], predicted[1], rtol=1e-9)
    columns = network.columns(RING.cells, 2)
    assert columns.products == window
    assert columns.features == network.outer.shape[1]


def test_a_triangle_of_parts_narrows_and_grows_with_products():
    states, inputs, _ = cyclostationary(200, noise=0.1)
    network = SampledRNN(6, modulators=(0, 1), sampling="normal", ridge=1e-3)
    whole = network.fit(states, inputs)
    halves = [states[:120], states[120:]], [inputs[:120], inputs[120:]]
    prepared = network.prepare(states, inputs)
    parts = prepared.partial_fit(halves[0][0], halves[1][0], consecutive=True)
    overlap = parts.overlap
    later = parts.partial_fit(states[120 - overlap :], inputs[120 - overlap :])
    np.testing.assert_allclose(later.outer, whole.outer, rtol=1e-8, atol=1e-10)
    narrow = prepared.narrowed(2)
    factor = narrow.factorise(narrow.scaled(states), inputs)
    assert factor.columns == 3 + 1 + 2 + 6 + 2 + 3
    assert narrow.solve(factor).outer.shape == (1, 14, 3)


def test_wrong_modulators_are_named():
    states, inputs, _ = cyclostationary(60)
    with pytest.raises(ValueError, match=r"modulators: \(0, 0\) are not different"):
        SampledRNN(modulators=(0, 0))
    with pytest.raises(ValueError, match=r"modulators: .* 'lifted'"):
        SampledRNN(modulators=(0,), target="lifted")
    with pytest.raises(ValueError, match=r"modulators: \(2,\) are not all among the 2 inputs"):
        SampledRNN(0, modulators=(2,)).fit(states, inputs)
    with pytest.raises(ValueError, match="inputs: none, but the network needs some"):
        SampledRNN(0, modulators=(0,)).fit(states)
    with pytest.raises(ValueError, match="has modulators, which cannot be polished"):
        lead_weights(SampledRNN(0, modulators=(0,)).fit(states, inputs))
