"""Test the data, the scores and the programs of comparisons on gridded fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.benchmarks.peers.fields import field_data, own_runs
from gfrnn.workflows.benchmarks.peers.fields.comparisons import (
    ERA_INTERIM,
    LSTM,
    NATURE,
    SHIPPED,
    core_name,
    field_bars,
    network_name,
)
from gfrnn.workflows.benchmarks.peers.fields.field_data import (
    StateData,
    channel_weights,
    index_weights,
)
from gfrnn.workflows.benchmarks.peers.fields.own_runs import OwnRun
from gfrnn.workflows.benchmarks.peers.fields.sampled_program import SampledProgram
from gfrnn.workflows.benchmarks.peers.fields.state_program import (
    DelayRegression,
    PropagatorRegression,
    QuadraticRegression,
    ridge_weights,
)
from gfrnn.workflows.benchmarks.peers.program import grid_of
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn_testing.weather import experiment, make_weather


def made(states: np.ndarray, leads=(1, 3)) -> StateData:
    """Return data of some states, whose cells are the states; the last two fifths are held out."""
    times, modes = states.shape
    place = np.arange(times) * 5 // times
    return StateData(
        states=states,
        season=np.zeros((times, 2)),
        train=place < 3,
        validation=place == 3,
        test=place == 4,
        fitted=place < 4,
        leads=np.array(leads),
        patterns=np.eye(modes),
        truth=states,
        weights=np.full((1, modes), 1 / modes),
        index=np.eye(modes)[0],
    )


def truth_of(data: StateData) -> np.ndarray:
    later = np.minimum(data.starts[:, None] + data.leads, len(data.states) - 1)
    return data.truth[later]


@pytest.fixture
def noise() -> StateData:
    return made(np.random.default_rng(0).normal(size=(400, 3)))


def test_pairs_have_start_target_and_history_inside(noise):
    starts = noise.pairs(noise.validation, 3, before=2)
    first, last = np.flatnonzero(noise.validation)[[0, -1]]
    np.testing.assert_array_equal(starts, np.arange(first + 2, last - 2))
    assert noise.pairs(noise.test, 3)[-1] == len(noise.states) - 4  # not from the beginning again


def test_pairs_cross_no_gap(noise):
    inside = noise.train.copy()
    inside[100] = False
    starts = noise.pairs(inside, 2, before=1)
    assert not set(starts) & {98, 100, 101}
    assert {97, 99, 102} <= set(starts)


def test_scores_of_the_truth_and_of_the_climatology(noise):
    perfect, climatology = noise.score(truth_of(noise)), noise.score(0 * truth_of(noise) + 1e-9)
    for lead in (1, 3):
        assert perfect[f"rmse_0_{lead}"] == 0
        assert perfect[f"index_{lead}"] == pytest.approx(1)
        assert climatology[f"share_0_{lead}"] == pytest.approx(1)
        starts = noise.pairs(noise.test, lead)
        normal = np.sqrt(np.square(noise.truth[starts + lead]).mean())
        assert climatology[f"rmse_0_{lead}"] == pytest.approx(normal, rel=1e-6)


def test_a_forecast_that_is_not_finite_is_refused(noise):
    forecast = truth_of(noise)
    forecast[3, 1] = np.nan
    with pytest.raises(ArithmeticError, match="3 steps ahead is not finite"):
        noise.score(forecast)


def test_modes_that_are_not_forecast_count_as_zero(noise):
    starts = np.flatnonzero(noise.validation)
    later = np.minimum(starts[:, None] + noise.leads, 399)
    assert noise.validation_error(noise.states[later]) == 0
    part = noise.validation_error(noise.states[later][..., :2])
    assert part == pytest.approx(1 / 3, abs=0.05)
    assert noise.validation_error(0 * noise.states[later]) == pytest.approx(1)


def test_weights_of_channels_and_of_the_index():
    latitude, longitude = np.array([-5.0, 0.0, 5.0, 60.0]), np.arange(0.0, 360.0, 5.0)
    mask = np.zeros((1, 4, 72), dtype=bool)
    mask[0, 1, 40] = True  # 200 E at the equator
    grid = Grid((Channel("sea_surface_temperature"),), latitude, longitude, mask.reshape(-1))
    (weights,) = channel_weights(grid)
    assert weights.sum() == pytest.approx(1)
    assert weights[72 + 40] == 0
    index = index_weights(grid).reshape(4, 72)
    assert index.sum() == pytest.approx(1)
    assert index[1, 40] == 0
    assert not index[3].any()
    assert np.flatnonzero(index[0]).tolist() == list(range(38, 49))  # 190 to 240 E
    europe = Grid((Channel("geopotential", 500.0),), np.array([40.0, 50.0]), np.array([0.0, 10.0]))
    assert not index_weights(europe).any()


def test_ridge_weights_are_those_of_augmented_least_squares():
    rng = np.random.default_rng(1)
    features, targets = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    largest = np.linalg.svd(features, compute_uv=False)[0]
    plain, damped = ridge_weights(features, targets, [0.0, 0.3])
    np.testing.assert_allclose(plain, np.linalg.lstsq(features, targets, rcond=None)[0], rtol=1e-9)
    rows = np.concatenate([features, 0.3 * largest * np.eye(4)])
    expected = np.linalg.lstsq(rows, np.concatenate([targets, np.zeros((4, 2))]), rcond=None)[0]
    np.testing.assert_allclose(damped, expected, rtol=1e-9)


def prepared(program, data: StateData, folder, **options):
    data.save(folder)
    one = program(folder, False, **options)
    one.load()
    return one


def rotation(times=400) -> np.ndarray:
    t = 0.3 * np.arange(times)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


@pytest.mark.parametrize("program", [PropagatorRegression, DelayRegression])
def test_linear_programs_forecast_a_rotation(program, tmp_path):
    one = prepared(program, made(rotation()), tmp_path)
    setting = {"modes": 2, "delays": 1, "ridges": [1e-9, 1e-9]}
    errors = one.score(one.forecast(one.fit(setting, 0)))
    assert errors["rmse_0_1"] < 1e-6
    assert errors["rmse_0_3"] < 1e-6


def test_quadratic_features_forecast_the_logistic_map_and_linear_ones_do_not(tmp_path):
    data = made(logistic_map(), leads=(1,))
    quadratic = prepared(QuadraticRegression, data, tmp_path)
    setting = {"modes": 1, "delays": 1, "products": 1, "weight": 1.0, "ridges": [1e-9]}
    assert quadratic.score(quadratic.forecast(quadratic.fit(setting, 0)))["share_0_1"] < 1e-6
    linear = prepared(DelayRegression, data, tmp_path)
    assert linear.score(linear.forecast(linear.fit(setting, 0)))["share_0_1"] > 0.5


def logistic_map() -> np.ndarray:
    states = np.empty((500, 1))
    states[0] = 0.3
    for t in range(1, 500):
        states[t] = 3.9 * states[t - 1] * (1 - states[t - 1])
    return states - states.mean()


def test_the_sampled_network_forecasts_the_logistic_map(tmp_path):
    one = prepared(SampledProgram, made(logistic_map(), leads=(1,)), tmp_path, width=3, delays=[1])
    chosen = one.search()
    assert chosen["sampling"] == "quadratic"
    assert one.score(one.forecast(one.fit(chosen, 0)))["share_0_1"] < 1e-3


def test_the_errors_of_the_search_are_those_of_its_forecasts(tmp_path):
    season, noise = np.random.default_rng(5).normal(scale=0.3, size=(2, *rotation().shape))
    states = rotation() + season + noise  # the season of a row is that of its first target
    data = replace(made(states, leads=(1, 3)), season=season)
    one = prepared(SampledProgram, data, tmp_path, width=20, delays=[4])
    setting = one.settings()[0]
    found = one.trial(setting)
    model = one.train({**setting, "ridges": found["ridges"]}, 0, data.train)
    # Rows have all targets in the period, and their history also before it.
    starts = data.pairs(data.validation, 3)
    forecast = one.predict(model, starts)
    truth = states[starts[:, None] + data.leads]
    expected = np.square(forecast - truth).sum(axis=2).mean(axis=0)
    expected /= np.square(states[data.validation]).sum(axis=1).mean()
    assert found["error"] == pytest.approx(expected.mean(), rel=1e-4)


def test_the_rows_of_a_sampled_network_cross_no_gap(tmp_path):
    data = made(rotation())
    data.train[100] = False
    one = prepared(SampledProgram, data, tmp_path, width=5, delays=[2])
    setting = {"sampling": "normal", "scale": 0.2, "delays": 2, "ridges": [1e-3, 1e-3]}
    _, factor = one._factorised(setting, 0, data.train)
    assert factor.rows == data.train.sum() - 2 * (1 + 3)  # one state before a row, three after it


def test_the_search_takes_the_least_validation_error(tmp_path):
    states = np.random.default_rng(2).normal(size=(600, 3))
    for t in range(1, 600):
        states[t, :2] = 0.9 * rotation(2)[1, 0] * states[t - 1, :2] + 0.1 * states[t, :2]
    one = prepared(DelayRegression, made(states), tmp_path)
    chosen = one.search()
    errors = {str(setting): one.trial(setting)["error"] for setting in one.settings()}
    assert one.trial({k: chosen[k] for k in ("modes", "delays")})["error"] == min(errors.values())
    assert len(chosen["ridges"]) == 2


def test_the_final_fit_uses_more_times_than_the_search_where_the_experiment_does(tmp_path):
    data = made(np.random.default_rng(3).normal(size=(300, 2)))
    more = prepared(PropagatorRegression, data, tmp_path)
    setting = {"modes": 2}
    ((all_weights, _), *_) = more.fit(setting, 0)[2]
    less = prepared(PropagatorRegression, replace(data, fitted=data.train), tmp_path)
    ((weights, _), *_) = less.fit(setting, 0)[2]
    assert np.abs(all_weights - weights).max() > 1e-3


def test_grids_have_all_combinations():
    assert grid_of(a=[1, 2], b=["x"]) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]


def test_scores_of_a_run_are_those_of_its_own_verification(tmp_path, monkeypatch):
    weather = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3, times=580)
    # Its verification also scores forecasts whose target is after the test period.
    end = str(weather.time[-1].date())
    chosen = experiment(weather.path, periods={"test": ["2002-07-01", end]})
    for module in (field_data, own_runs):
        monkeypatch.setattr(module, "experiment_of", lambda *_: chosen)
    field_data.prepare(tmp_path, False, experiment="weather", leads=["1d", "3d"])
    one = OwnRun(tmp_path, False, experiment="weather")
    one.load()
    run = one.fit({}, 0)
    errors = one.score(one.forecast(run))
    run.verify()
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as stored:
        for name, system in (("rmse", "forecast"), ("climatology", "climatology")):
            rmse = stored["rmse"].sel(system=system)
            for channel in range(rmse.sizes["channel"]):
                for lead in (1, 3):
                    lead_time = np.timedelta64(lead, "D")
                    theirs = float(rmse.sel(prediction_timedelta=lead_time).isel(channel=channel))
                    ours = errors[f"rmse_{channel}_{lead}"]
                    if name == "climatology":
                        ours /= errors[f"share_{channel}_{lead}"]
                    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_fit_finds_the_prepared_states(tmp_path, monkeypatch):
    weather = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3)
    chosen = experiment(weather.path)
    for module in (field_data, own_runs):
        monkeypatch.setattr(module, "experiment_of", lambda *_: chosen)
    field_data.prepare(tmp_path, False, experiment="weather", leads=["1d"])
    one = OwnRun(tmp_path, False, experiment="weather", width=20)
    one.load()
    updates = []
    plain = Run.__init__

    def watched(self, *arguments, **keywords):
        plain(self, *arguments, **keywords)
        self.progress = updates.append

    monkeypatch.setattr(Run, "__init__", watched)
    one.fit({"model.width": 20}, 1)
    computed = {update.name for update in updates if update.saved}
    assert "rows" in computed
    assert not {"climatology", "eofs", "states"} & computed


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nature")
    field_data.prepare(folder, True, **NATURE.options)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_own_runs_forecast_the_simulated_weather(simulated, place):
    """The first is the example as shipped, whose states are others than those of the second."""
    contender = NATURE.contenders[place]
    one = OwnRun(simulated, True, **contender.options)
    one.load()
    errors = one.score(one.forecast(one.fit(one.search() if contender.searches else {}, 0)))
    assert {column.key for column in NATURE.columns} <= set(errors)
    assert errors["share_0_4"] < 1
    assert errors["share_1_4"] < 1


def result(name: str, standing: str, error: float, fit: float, search: float) -> PeerResult:
    errors = {column.key: error for column in ERA_INTERIM.columns}
    return PeerResult(
        name, standing, errors=errors, fit_seconds=fit, search_seconds=search, memory=1
    )


def test_bars_of_errors_and_times():
    wide, core = network_name(1000), core_name(250)
    rows = {
        SHIPPED: result(SHIPPED, "ours", 0.97, 10.0, 0.0),
        wide: result(wide, "ours", 0.99, 2.0, 10.0),
        core: result(core, "ours", 0.99, 1.0, 3.0),
        LSTM: result(LSTM, "peer", 1.0, 30.0, 300.0),
    }
    checks = {check.quantity: check for check in field_bars(ERA_INTERIM.columns, "_1", rows)}
    worst, early, fit, search, core_fit, core_search = checks.values()
    assert worst.measured == early.measured == pytest.approx(0.97)
    assert worst.met
    assert early.met
    assert fit.measured == pytest.approx(15)
    assert not fit.met
    assert search.measured == pytest.approx(30)
    assert core_fit.measured == pytest.approx(30)
    assert core_search.measured == pytest.approx(100)
    assert not list(field_bars(ERA_INTERIM.columns, "_1", {SHIPPED: rows[SHIPPED]}))
