"""Compare the network with its equations written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core.perturbation import Weights
from gfrnn_testing.perturbation_toys import network, plain_run, start, window

FEW = st.integers(1, 4)


@settings(max_examples=40)
@given(steps=st.integers(1, 12), batch=FEW, inputs=FEW, units=st.integers(1, 40), outputs=FEW)
def test_the_network_follows_its_equations(steps, batch, inputs, units, outputs):
    # The sizes lie on both sides of the choice whether R D is formed.
    weights = network(inputs, units, outputs)
    weights.decorrelation /= units
    part, state = window(steps, batch, inputs, outputs), start(weights, batch)
    expected = plain_run(weights, part.inputs, state)
    y, x = weights.run(part.inputs, state)
    np.testing.assert_allclose(x, expected["x"], atol=1e-12)
    np.testing.assert_allclose(y, expected["y"], atol=1e-12)
    np.testing.assert_array_equal(state, start(weights, batch))


@pytest.mark.parametrize(("steps", "merged"), [(2, False), (40, True)])
def test_passes_side_by_side_are_those_run_alone(steps, merged):
    weights = network(units=30)
    assert weights.merges(steps, 3) is merged
    part, state = window(steps, 3), start(weights, 3)
    noise = np.random.default_rng(1).standard_normal((steps, 3, 30))
    force = weights.driven(part.inputs) + noise
    passes = weights.propagate(force, state, kept=2)
    expected = plain_run(weights, part.inputs, state, noise)
    assert (passes.onward is not None) is merged
    np.testing.assert_allclose(force, expected["z"], atol=1e-10)
    np.testing.assert_allclose(passes.states, expected["x"], atol=1e-10)
    np.testing.assert_allclose(passes.outputs, expected["y"], atol=1e-10)
    np.testing.assert_allclose(passes.decorrelated[1:], expected["hat"][:, :2], atol=1e-10)
    np.testing.assert_allclose(passes.decorrelated[0], state[:2] @ weights.decorrelation.T)


def test_state_is_zero_at_first_and_carries_on():
    weights, part = network(), window(9)
    y, x = weights.run(part.inputs)
    zero = np.zeros((2, weights.units))
    np.testing.assert_array_equal(y, weights.run(part.inputs, zero)[0])
    early, state = weights.run(part.inputs[:4])
    late, _ = weights.run(part.inputs[4:], state[-1])
    np.testing.assert_allclose(np.concatenate([early, late]), y, atol=1e-14)
    assert x.shape == (9, 2, 5)


def test_initial_weights_are_xavier_normal_and_come_from_the_seed():
    weights = Weights.initial(300, 500, 200, seed=3)
    sizes = ((500, 300), (500, 500), (200, 500))
    for matrix, size in zip(weights.trained(), sizes, strict=True):
        assert matrix.shape == size
        assert matrix.dtype == np.float32
        assert matrix.mean() == pytest.approx(0, abs=1e-3)
        assert matrix.var() == pytest.approx(2 / sum(size), rel=0.02)
    np.testing.assert_array_equal(weights.decorrelation, np.eye(500))
    same, other = (Weights.initial(300, 500, 200, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(weights.recurrent, same.recurrent)
    assert not np.isclose(weights.recurrent, other.recurrent).any(axis=1).all()


def test_a_copy_has_its_own_memory():
    weights = network()
    copied = weights.copy()
    copied.recurrent += 1
    copied.decorrelation += 1
    assert not (weights.recurrent == copied.recurrent).any()
    assert not (weights.decorrelation == copied.decorrelation).any()


@pytest.mark.parametrize("name", ["inputs", "units", "outputs"])
@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_invalid_sizes_are_refused(name, size):
    sizes = {"inputs": 1, "units": 4, "outputs": 1, name: size}
    with pytest.raises(ValueError, match=f"{name}: {size} is not a positive integer"):
        Weights.initial(**sizes)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("inputs", (4, 2), r"inputs: shape \(4, 2\) is not \(5, 2\)"),
        ("recurrent", (5, 4), r"recurrent: shape \(5, 4\) is not \(5, 5\)"),
        ("readout", (3, 4), r"readout: shape \(3, 4\) is not \(3, 5\)"),
        ("decorrelation", (4, 4), r"decorrelation: shape \(4, 4\) is not \(5, 5\)"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(name, shape, message):
    matrices = vars(network()) | {name: np.zeros(shape)}
    with pytest.raises(ValueError, match=message):
        Weights(**matrices)


def test_other_precisions_and_mixed_ones_are_refused():
    with pytest.raises(ValueError, match="float16 is not float32 or float64"):
        Weights.initial(1, 3, 1, dtype=np.float16)
    matrices = vars(network()) | {"readout": np.zeros((3, 5), np.float32)}
    with pytest.raises(ValueError, match="readout: float32 is not float32 or float64, one for all"):
        Weights(**matrices)


@pytest.mark.parametrize("shape", [(6, 2), (6, 2, 3), (6, 2, 2, 1)])
def test_inputs_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"inputs: shape .* is not \(steps, batch, 2\)"):
        network().run(np.zeros(shape))


def test_a_state_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"state: shape \(1, 5\) is not \(2, 5\)"):
        network().run(window().inputs, np.zeros((1, 5)))


def test_products_too_large_for_one_block_are_whole():
    # 700 units and 3 passes: three blocks, the last a short one.
    weights, part = network(units=700), window(2, 3)
    weights.decorrelation /= 700
    y, _ = weights.run(part.inputs)
    expected = plain_run(weights, part.inputs, np.zeros((3, 700)))["y"]
    np.testing.assert_allclose(y, expected, atol=1e-12)
