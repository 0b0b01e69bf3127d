"""Compare runs with quadratic features with their definition and with fits by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.checks import check_settings
from gfrnn.pipeline.training.selection.ridge import FitRows, solve
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.scoring_memory import statistics_bytes
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import contents, experiment, finish, uncalibrated_contents
from gfrnn_testing.weather_fits import (
    PARTS,
    TRAIN,
    VALIDATION,
    fit_of,
    model_of,
    rows_in,
    states_of,
    times_in,
)

BOTH = {
    "model": {"sampling": "quadratic"},
    "search": {"model.seed": [0], "model.sampling": ["normal", "quadratic"]},
    "fit": {"average": 2},
}


@pytest.fixture(scope="module")
def mixed(weather, tmp_path_factory) -> Run:
    """Fit normal and quadratic features, and average both; tests do not change the result."""
    return finish(fit_of(weather, tmp_path_factory.mktemp("mixed") / "run", **BOTH))


def quadratic_of(run: Run) -> SampledRNN:
    (network,) = [each for each in model_of(run).networks if each.sampling == "quadratic"]
    return network


def test_features_are_products_of_leading_modes_of_all_delays(mixed):
    """With two delays, 15 products are those of five values, which are 2.5 modes."""
    network, states = quadratic_of(mixed), states_of(mixed)
    first, *_, last = times_in(mixed, *TRAIN)
    seen = delayed(states[first : last + 1], 2, 1, last + 1 - first)
    features = lift(seen, None, network.hidden)[:, 11:]
    leading = seen[:, [0, 5, 1, 6, 2]]  # by mode, the present before the past
    i, j = np.triu_indices(5)
    products = leading[:, i] * leading[:, j]
    weights = np.linalg.lstsq(features, products, rcond=None)[0]
    np.testing.assert_allclose(features @ weights, products, atol=1e-9)
    x, y = leading[:, 0], leading[:, 1]
    squares = np.stack([x**2, y**2, (x + y) ** 2], axis=1)
    np.testing.assert_allclose(features[:, :3], 0.4 * squares, rtol=1e-12)


def test_the_outer_weights_are_those_of_the_stored_settings(mixed):
    model = model_of(mixed)
    settings = [each for each in model.notes.solves if each.candidate == 1]
    network = quadratic_of(mixed)
    rows = rows_in(mixed, network, 5, TRAIN)
    (each,) = settings
    expected = solve(
        network, FitRows([rows]), size=5, width=each.width,
        ridge=np.array(each.ridge), balance=np.array(each.balance),
    )  # fmt: skip
    np.testing.assert_allclose(network.outer, expected.outer, atol=1e-8)


def test_a_stored_mixture_forecasts(mixed):
    model = model_of(mixed)
    assert {each.hidden.activation for each in model.networks} == {"tanh", "square"}
    forecasts = open_forecasts(mixed.forecast_store)
    assert np.isfinite(forecasts["geopotential"]).all()
    assert not (forecasts["limited"] > 0).any()


def test_no_seed_matters(weather, tmp_path):
    """A pool of a part of the training states does not either."""
    model = {
        "sampling": "quadratic", "hidden_inputs": ["state", "linear"], "inputs": ["day_of_year"],
        "joint_inputs": True, "hidden_delays": 1,
    }  # fmt: skip
    runs = [
        fit_of(
            weather,
            tmp_path / str(seed),
            model=model | {"seed": seed},
            search={"model.seed": [seed]},
            fit={"pool": 50},
        )
        for seed in (0, 1)
    ]
    first, second = (model_of(run).networks[0] for run in runs)
    np.testing.assert_array_equal(first.hidden.weights, second.hidden.weights)
    np.testing.assert_array_equal(first.outer, second.outer)
    # Squares of the season come first, then those of the first mode and its forecast.
    hidden, seen = first.hidden, np.flatnonzero
    assert [list(seen(hidden.weights[:, column])) for column in (0, 1, 2)] == [[10], [11], [10, 11]]
    assert list(seen(hidden.weights[:, 3])) == [0]
    assert seen(hidden.weights[:, 6]).size == 12  # the linear model of all values


def test_a_refit_of_fewer_features_is_the_fit_of_the_changed_experiment(weather, mixed, tmp_path):
    ours = refit(mixed.folder, tmp_path / "refit", widths=[6])
    theirs = fit_of(weather, tmp_path / "whole", **BOTH | {"fit": {"average": 2, "widths": [6]}})
    assert uncalibrated_contents(ours.model) == uncalibrated_contents(theirs.model)
    assert quadratic_of(ours).hidden.width == 6
    np.testing.assert_array_equal(model_of(ours).quadratic.outer, model_of(theirs).quadratic.outer)


def test_an_update_adds_the_rows_of_new_times(weather, mixed, tmp_path):
    before = contents(mixed.model)
    part = period(*VALIDATION)
    run = update(mixed.folder, [str(weather.path)], tmp_path / "new", period=part)
    network = quadratic_of(run)
    np.testing.assert_array_equal(network.hidden.weights, quadratic_of(mixed).hidden.weights)
    (each,) = [each for each in model_of(run).notes.solves if each.candidate == 1]
    # The basis is that of the run, and so are the states of both periods.
    rows = rows_in(mixed, network, 5, (TRAIN[0], VALIDATION[1]))
    expected = solve(
        network, FitRows([rows]), size=5, width=each.width,
        ridge=np.array(each.ridge), balance=np.array(each.balance),
    )  # fmt: skip
    np.testing.assert_allclose(network.outer, expected.outer, atol=1e-6)
    np.testing.assert_array_equal(model_of(run).quadratic.outer, network.outer)
    assert contents(mixed.model) == before


@pytest.mark.parametrize(
    ("model", "values", "products"),
    [
        ({}, 10, 55),
        ({"hidden_delays": 1}, 5, 15),
        ({"hidden_modes": 2}, 4, 10),
        ({"hidden_modes": 2, "hidden_inputs": ["linear"]}, 2, 3),
        ({"hidden_modes": 2, "hidden_inputs": ["state", "linear"]}, 6, 21),
        ({"hidden_modes": 2, "inputs": ["day_of_year"], "joint_inputs": True}, 6, 21),
    ],
)
def test_more_features_than_products_are_refused_before_work(
    weather, tmp_path, model, values, products
):
    def checked(width):
        keys = PARTS["model"] | model | {"sampling": "quadratic", "width": width}
        config = experiment(weather.path, **PARTS | {"model": keys})
        check_settings(config, open_source(config.data))

    checked(products)
    with pytest.raises(ConfigError, match=rf"{products + 1} is more than the {products} products "
                       rf"of pairs of the {values} values"):  # fmt: skip
        checked(products + 1)


@pytest.mark.parametrize("refit", ["none", "all"])
def test_the_reference_is_the_forecast_of_a_run_with_quadratic_features_alone(
    weather, mixed, tmp_path, refit
):
    alone = finish(
        fit_of(weather, tmp_path / "alone", model={"sampling": "quadratic"}, fit={"refit": refit})
    )
    assert model_of(alone).quadratic is None
    run = mixed
    if refit == "all":
        parts = BOTH | {"fit": BOTH["fit"] | {"refit": "all"}}
        run = finish(fit_of(weather, tmp_path / "both", **parts))
    ours, theirs = open_scores(run.score_store), open_scores(alone.score_store)
    assert list(ours["system"].values[:4]) == ["forecast", "linear", "quadratic", "linear inverse"]
    assert "quadratic" not in theirs["system"].values
    for metric in ("rmse", "acc"):
        np.testing.assert_allclose(
            ours[metric].sel(system="quadratic").values,
            theirs[metric].sel(system="forecast").values,
            rtol=1e-5,
        )
    assert (ours["rmse_change_block"].sel(system="quadratic") >= 1).all()


def test_the_reference_does_not_change_the_forecast(weather, mixed, tmp_path):
    """With one network at each lead, the better one of either kind, the other is not needed."""
    both = BOTH | {"fit": {"average": 1}}
    model = model_of(fit_of(weather, tmp_path / "best", **both))
    kinds = {each.sampling for each in model.networks}
    assert (model.quadratic is None) == (kinds == {"quadratic"})
    normal = model_of(fit_of(weather, tmp_path / "normal"))
    if kinds == {"normal"}:
        np.testing.assert_array_equal(model.calibration, normal.calibration)


def test_scoring_of_the_reference_needs_more_memory(mixed, tmp_path, monkeypatch):
    """The lifted rows and the states of its walk are counted, and its statistics."""
    model = model_of(mixed)
    replace(model, quadratic=None, quadratic_calibration=None).save(tmp_path / "model.zarr")
    fields = model.fields(mixed.ds)
    monkeypatch.setattr(type(fields), "read_bytes", lambda *_: 0)  # the largest part here
    forecasts = StoredForecasts(mixed.forecast_store, fields.grid)
    with_it, without = (
        statistics_bytes(PairScoring(fields, forecasts, mixed.experiment.verification, path), 0, 8)
        for path in (mixed.model, tmp_path / "model.zarr")
    )
    walk = replace(model.rollouts, networks=(), linear=model.quadratic, quadratic=None)
    assert with_it - without > sum(walk.walk_bytes(8))


def test_combinations_that_are_one_model_are_trained_once(weather, tmp_path):
    search = {"model.seed": [0, 1], "model.sampling": ["normal", "quadratic"]}
    run = fit_of(weather, tmp_path / "run", search=search, fit={"average": 4})
    shares = {
        (each.values["model.sampling"], each.values["model.seed"]): each.shares
        for each in model_of(run).notes.candidates
    }
    third = pytest.approx([1 / 3, 1 / 3])
    assert ("quadratic", 1) not in shares
    assert all(share == third for share in shares.values())
    assert len(model_of(run).networks) == len(shares) == 3
