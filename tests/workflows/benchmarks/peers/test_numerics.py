"""Test the programs of the numerical comparisons on small problems with known answers."""

import importlib.util
import json
import pkgutil

import numpy as np
import pytest

from gfrnn.workflows.benchmarks.peers.catalogue import COMPARISONS
from gfrnn.workflows.benchmarks.peers.numerics import eofs, least_squares, oscillations
from gfrnn.workflows.benchmarks.peers.numerics.stored_rows import StoredRows
from gfrnn.workflows.benchmarks.peers.results import PeerResult


def program_of(contender, folder):
    """Return the program of a contender with its data loaded; skip where a package is missing."""
    modules = {"scikit-learn": "sklearn"}
    for package in contender.packages:
        if importlib.util.find_spec(modules.get(package, package)) is None:
            pytest.skip(f"{package} is not installed")
    program = pkgutil.resolve_name(contender.program)(folder, True, **contender.options)
    program.load()
    return program


def contenders(name):
    return [pytest.param(each, id=each.name) for each in COMPARISONS[name].contenders]


def errors_of(contender, folder):
    program = program_of(contender, folder)
    setting = program.search() if contender.searches else contender.setting
    assert json.loads(json.dumps(setting)) == setting
    return program.score(program.forecast(program.fit(setting, 0)))


# Least squares


@pytest.fixture(scope="module")
def rows_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    least_squares.prepare(folder, quick=True)
    return folder


def test_stored_rows_have_their_condition_number(tmp_path):
    rows = StoredRows(tmp_path / "rows", 5000, 1e5, features=40, targets=30)
    rows.write()
    features, targets = rows.load()
    assert features.shape == (5000, 40)
    assert targets.shape == (5000, 30)
    assert np.linalg.cond(features) == pytest.approx(1e5, rel=0.2)
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks())), np.hstack(rows.load()))
    np.testing.assert_array_equal(rows.load(7)[0], features[:7])
    weights, *_ = np.linalg.lstsq(features, targets, rcond=None)
    # Noise of 0.1 % on the targets, estimated with 40 features from 5,000 rows.
    assert rows.error(weights) == pytest.approx(1e-3 * np.sqrt(40 / 5000), rel=0.3)
    assert rows.error(np.zeros_like(weights)) == 1.0
    assert rows.validation_error(weights) < rows.validation_error(0.999 * weights)


@pytest.mark.parametrize("contender", contenders("least-squares"))
def test_solvers_find_the_weights(contender, rows_folder):
    """All reach the error that the noise leaves, but products of ill-conditioned columns do not."""
    errors = errors_of(contender, rows_folder)
    problems = least_squares.problems(rows_folder, True, contender.options["rows"])
    assert set(errors) == {f"{problem.condition:g}" for problem in problems}
    for problem in problems:
        noise = 1e-3 * np.sqrt(problem.features / problem.rows)
        error = errors[f"{problem.condition:g}"]
        if problem.condition <= 1e6:
            assert error == pytest.approx(noise, rel=0.3)
        elif problem.condition == 1e10 and "Gram" in contender.name:
            assert 0.3 < error < 1  # a fifth of the directions, and so of the variance, is lost
        elif problem.condition == 1e10:
            assert error == pytest.approx(noise, rel=0.3)


def test_bars_of_least_squares_compare_sizes_and_solvers():
    def result(solver, rows, seconds, memory, error):
        name = least_squares.row_name(solver, rows)
        errors = {"10": error}
        return name, PeerResult(name, "peer", fit_seconds=seconds, memory=memory, errors=errors)

    ours = least_squares.OURS
    rows = [
        result(ours, 10_000, 1.0, 100, 2.0),
        result(ours, 50_000, 5.0, 105, 2.0),
        result(ours, 200_000, 20.0, 120, 2.0),
        result(least_squares.GRAM, 10_000, 0.5, 100, 1.0),
        result(least_squares.GRAM, 50_000, 2.0, 100, 1.0),
    ]
    checks = list(least_squares.bars(dict(rows)))
    assert [check.measured for check in checks] == [1.2, 2.5, 2.0]
    assert not any(check.met for check in checks)
    assert list(least_squares.bars({})) == []


# EOFs


@pytest.fixture(scope="module")
def archive_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    eofs.prepare(folder, quick=True)
    return folder


@pytest.mark.parametrize("contender", contenders("eofs"))
def test_eofs_are_orthonormal_and_near_the_exact_ones(contender, archive_folder):
    program = program_of(contender, archive_folder)
    found = program.fit(contender.setting, 0)
    np.testing.assert_allclose(found @ found.T, np.eye(len(found)), atol=1e-5)
    errors = program.score(program.forecast(found))
    assert set(errors) == {column.key for column in COMPARISONS["eofs"].columns}
    # Randomised methods err by some degrees.
    assert errors["half"] < (1e-3 if contender.standing == "ours" else 10)


def test_the_largest_angle_is_that_of_the_most_different_direction():
    tilt = np.deg2rad(30)
    found = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)]])
    assert eofs.largest_angle(found, np.eye(3)[:2]) == pytest.approx(30)
    assert eofs.largest_angle(found[:1], np.eye(3)[:1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_exact_eofs_are_the_right_singular_vectors(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    _, _, right = np.linalg.svd(values)
    found = eofs.exact_eofs(values, 3)
    np.testing.assert_allclose(np.abs(found @ right[:3].T), np.eye(3), atol=1e-10)


# Oscillations


@pytest.fixture(scope="module")
def oscillation_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oscillations")
    oscillations.prepare(folder, quick=True)
    return folder


@pytest.mark.parametrize("contender", contenders("oscillations"))
def test_eigenvalues_are_exact_without_noise(contender, oscillation_folder):
    errors = errors_of(contender, oscillation_folder)
    assert errors["0"] < 1e-6
    assert errors["0"] < errors["0.1"] < 0.1


def test_a_field_without_noise_is_continued(oscillation_folder):
    for contender in COMPARISONS["oscillations"].contenders[:2]:
        program = program_of(contender, oscillation_folder)
        field = program.fields[0.0]
        found = program.continued(field[:150], {"delays": 2}, 20)
        np.testing.assert_allclose(found, field[150:170], atol=1e-6)


def test_each_eigenvalue_is_compared_with_another_true_one():
    values = oscillations.eigenvalues()
    assert oscillations.largest_error(values[::-1]) == 0
    one_for_two = np.append(values[1:], values[1])
    assert oscillations.largest_error(one_for_two) > 0.1
