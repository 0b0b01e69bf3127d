"""Networks on patches with features of a lattice: laws with advection, rows, leaves, poles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import Patches, SampledRNN
from gfrnn_core.local_features import GridFeatures, Lattice, LatticeFeatures

STREAM, TRACER = 0, 1
EAST, NORTH = 0, 1


def kinds(jacobians=(), winds=(), products=(), channels=2):
    """Return features with unit scales."""
    none = GridFeatures.none(np.ones((channels, 6)))
    return replace(
        none,
        jacobians=np.array(jacobians, dtype=int).reshape(-1, 3),
        winds=np.array(winds, dtype=int).reshape(-1, 4),
        products=np.array(products, dtype=int).reshape(-1, 2),
    )


def globe(rows=6, columns=8, channels=2, turned=(), poles="between", **cut):
    """Return the patches and the lattice of a globe."""
    spacing = 180 / (rows - (poles == "row"))
    first = -90 + (poles == "between") * spacing / 2
    keys = {"halo": ((0, 0), (0, 0)), "poles": (poles, poles), "turned": turned, **cut}
    patches = Patches((rows, columns), periodic=(False, True), channels=channels, **keys)
    longitude = 360 / columns * np.arange(columns)
    return patches, Lattice(first + spacing * np.arange(rows), longitude, patches)


def region(channels=2, **cut):
    """Return the patches and the lattice of a region across Greenwich."""
    keys = {"halo": ((0, 0), (0, 0)), **cut}
    patches = Patches((5, 7), periodic=False, channels=channels, **keys)
    return patches, Lattice(np.linspace(30, 50, 5), np.linspace(-15, 15, 7), patches)


def smooth_noise(times, size, seed=0):
    return np.random.default_rng(seed).standard_normal((times, size))


def network_of(features, extra=0, **options):
    patches = features.lattice.patches
    keys = {"sampling": "normal", "standardise": False, "ridge": 1e-14, **options}
    return SampledRNN(features.columns + extra, patches=patches, lattice_features=features, **keys)


@pytest.mark.parametrize("grid", [globe, region])
@pytest.mark.parametrize("law", ["jacobian", "winds", "product"])
def test_a_law_with_advection_is_learnt_to_rounding_and_not_by_a_linear_model(grid, law):
    """Each state is random, its next one adds the term; so a series has a break at every pair."""
    turned = (0, 1) if law == "winds" and grid is globe else ()
    options = {"turned": turned} if turned else {}
    patches, lattice = grid(channels=3, **options)
    term = {
        "jacobian": {"jacobians": [(0, 2, 0)]},
        "winds": {"winds": [(0, 1, 2, 0)]},
        "product": {"products": [(0, 6 + 1)]},
    }[law]
    features = LatticeFeatures(kinds(**term, channels=3), lattice)
    now = smooth_noise(60, patches.cells)
    base = lattice.base_fields(now)
    if law == "jacobian":
        sine = np.sin(np.deg2rad(lattice.latitude))
        added = base[:, 0, 1] * base[:, 2, 2] - base[:, 0, 2] * base[:, 2, 1]
        added /= sine[:, None]
    elif law == "winds":
        added = base[:, 0, 0] * base[:, 2, 1] + base[:, 1, 0] * base[:, 2, 2]
    else:
        added = base[:, 0, 0] * base[:, 1, 1]
    later = now.reshape(60, *patches.shape, 3).copy()
    later[..., 2] += 0.01 * added
    pairs = list(np.stack([now, later.reshape(60, -1)], axis=1))
    solved = network_of(features).fit(pairs)
    linear = SampledRNN(0, patches=patches, standardise=False).fit(pairs)

    def error(network):
        found = np.stack([network.predict(pair)[0] for pair in pairs[-5:]])
        return np.abs(found - later[-5:].reshape(5, -1)).max()

    assert error(solved) < 1e-10 < 1e-3 < error(linear)
    # Without its features on the grid it is the linear model.
    assert solved.narrowed(0).lattice_features is None
    rolled = solved.rollout(now[-1:, None], 1)[0, 0]
    np.testing.assert_allclose(rolled, later[-1].reshape(-1), atol=1e-10)


@pytest.mark.parametrize("inner", [None, ((1, 0), (0, 1))])
@pytest.mark.parametrize("poles", ["between", "row"])
def test_rows_and_steps_have_the_features_of_the_cells_of_a_patch(inner, poles):
    patches, lattice = globe(
        6, 8, 3, (0, 1), poles, size=(2, 4), halo=((2, 1), (1, 1)), inner=inner
    )
    background = smooth_noise(1, patches.cells, 7)[0]
    grid = kinds([(2, 1, 0), (2, 2, 1)], [(0, 1, 2, 0), (0, 1, 1, 1)], [(1, 14)], 3)
    features = LatticeFeatures(grid, lattice, background)
    network = network_of(features, extra=3, delays=2, joint=True, ridge=1e-3, scale=0.1)
    states, inputs = smooth_noise(50, patches.cells), smooth_noise(50, 2, 1)
    network = network.fit(states, inputs)
    own = grid(lattice.base_fields(states[8:9] + background))[0]
    sine = np.sin(np.deg2rad(lattice.latitude))
    own[:2] *= np.where(np.abs(sine) > 0.2, 1 / np.where(sine, sine, 1), sine)[:, None]
    before, beside = (0, 0) if inner is None else (inner[0][0], inner[1][1])
    state = np.empty(patches.cells)
    for place in range(patches.places):
        row, column = np.divmod(place, patches.counts[1])
        values = []
        for i in range(2 * row - before, 2 * row + 2):
            for j in range(4 * column, 4 * column + 4 + beside):
                mirrored = i if i >= 0 else (0 if poles == "between" else 1)
                there = own[:, mirrored, (j + 4 * (i < 0)) % 8].copy()
                if i < 0:  # advected components turn, as one factor of the product does
                    there[[0, 3, 4]] *= -1
                values.extend(there)
        window = np.concatenate([patches.windows(states[t])[place] for t in (8, 7)])
        seen = np.concatenate([window, inputs[9]])
        hidden = np.tanh(seen @ network.hidden.weights + network.hidden.biases)
        assert len(values) == features.columns
        predicted = np.concatenate([seen, [1.0], values, hidden]) @ network.outer[0]
        state[patches.own[place]] = states[8][patches.own[place]] + predicted
    np.testing.assert_allclose(network.predict(states, inputs)[7], state, rtol=1e-9)
    rolled = network.rollout(states[None, 7:9], 1, inputs[None, 9:10])[0, 0]
    np.testing.assert_allclose(rolled, state, rtol=1e-9)


@settings(max_examples=15)
@given(cut=st.integers(4, 26), share=st.sampled_from([1.0, 0.5]), noise=st.sampled_from([0, 0.1]))
def test_any_cut_of_a_series_gives_the_same_triangle(cut, share, noise):
    patches, lattice = globe(size=(3, 4))
    features = LatticeFeatures(kinds([(0, 1, 0), (0, 1, 1)]), lattice)
    network = network_of(features, extra=2, noise=noise, share=share).prepare(
        smooth_noise(30, patches.cells)
    )
    states = smooth_noise(30, patches.cells)
    whole = network.factorise(states)
    parts = network.factorise(states[: cut + 1]).merge(network.factorise(states[cut:], first=cut))
    assert parts.rows == whole.rows
    np.testing.assert_allclose(
        parts.triangle.T @ parts.triangle, whole.triangle.T @ whole.triangle, rtol=1e-9, atol=1e-7
    )


def test_features_do_not_depend_on_how_many_times_are_computed_together():
    _, lattice = globe(40, 64)
    features = LatticeFeatures(kinds([(0, 1, 0)], products=[(3, 4)]), lattice)
    states = smooth_noise(9, 2 * lattice.cells)
    assert features.times_together < len(states)
    one_by_one = np.concatenate([features(state[None]) for state in states])
    np.testing.assert_array_equal(features(states), one_by_one)


def test_a_rotated_globe_has_rotated_features():
    """Neither Greenwich nor a pole is special."""
    patches, lattice = globe(7, 12, 3, (0, 1), "row")
    features = LatticeFeatures(kinds([(2, 1, 0)], [(0, 1, 2, 0)], [(0, 8)], 3), lattice)
    states = smooth_noise(1, patches.cells).reshape(7, 12, 3)
    found = features(states.reshape(1, -1)).reshape(7, 12, 3)
    turned = features(np.roll(states, 5, axis=1).reshape(1, -1)).reshape(7, 12, 3)
    np.testing.assert_allclose(turned, np.roll(found, 5, axis=1), rtol=1e-9, atol=1e-9)


def test_a_jacobian_with_a_streamfunction_of_solid_rotation_turns_a_field():
    """A geopotential sin(latitude)^2 gives, over f, a solid rotation: 2 d/d longitude."""
    _, lattice = globe(60, 120)
    phi, lam = np.deg2rad(lattice.latitude)[:, None], np.deg2rad(lattice.longitude)
    stream, tracer = np.sin(phi) ** 2 + 0 * lam, np.cos(phi) ** 2 * np.sin(2 * lam)
    states = np.stack([stream, tracer], axis=-1).reshape(1, -1)
    found = LatticeFeatures(kinds([(0, 1, 0)]), lattice)(states).reshape(60, 120)
    outside = np.abs(lattice.latitude) > 12
    # J = -(1/cos) 2 sin cos 2 cos(2 lam) cos^2 / sin at each latitude.
    expected = -4 * np.cos(phi) ** 2 * np.cos(2 * lam)
    np.testing.assert_allclose(found[outside], expected[outside], atol=0.03)
    assert np.isfinite(found).all()


def test_features_of_the_grid_stay_together_in_narrower_networks():
    patches, lattice = globe(size=(3, 4))
    features = LatticeFeatures(kinds([(0, 1, 0)]), lattice)
    assert features.columns == 12
    network = network_of(features, extra=5).fit(smooth_noise(40, patches.cells))
    assert network.hidden.width == 5
    assert network.columns(patches.cells).hidden == network.width == 17
    narrow = network.narrowed(14)
    assert narrow.hidden.width == 2
    assert narrow.lattice_features is features
    with pytest.raises(ValueError, match=r"width: 11 is not within 12..17 or 0"):
        network.narrowed(11)


def test_float32_rows_and_rollouts():
    patches, lattice = globe(size=(3, 4))
    features = LatticeFeatures(kinds([(0, 1, 0)]), lattice)
    states = 0.1 * smooth_noise(60, patches.cells)
    exact = network_of(features, ridge=1e-3).fit(states).predict(states)
    rough = network_of(features, ridge=1e-3, precision="float32").fit(states).predict(states)
    np.testing.assert_allclose(rough, exact, atol=1e-4)


def test_features_that_do_not_fit_a_network_are_refused():
    patches, lattice = globe()
    features = LatticeFeatures(kinds([(0, 1, 0)]), lattice)
    with pytest.raises(ValueError, match="lattice_features: are of other patches"):
        SampledRNN(5, patches=replace(patches, size=2), lattice_features=features)
    with pytest.raises(ValueError, match="lattice_features: are of other patches"):
        SampledRNN(5, lattice_features=features)
    with pytest.raises(ValueError, match="width: 0 is less than the 1 features of a patch"):
        SampledRNN(0, patches=patches, lattice_features=features)
    with pytest.raises(ValueError, match="features: of 3 channels, but the lattice has 2"):
        LatticeFeatures(kinds(channels=3), lattice)
    active = replace(kinds(), weights=np.ones((12, 1)), biases=np.ones(1))
    with pytest.raises(ValueError, match="activated ones are not allowed"):
        LatticeFeatures(active, lattice)
