"""Test that strange experiments are accepted, or refused at once with one line for each error."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, parse_experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn_testing.strange_experiments import VALID, strange_experiment


def parsed(tree: object) -> Experiment:
    experiment = parse_experiment(yaml.safe_dump(tree, allow_unicode=True), "my.yaml")
    checked(ClusterConfig, experiment.cluster, "my.yaml: cluster")
    return experiment


def test_the_unchanged_experiment_is_valid():
    assert parsed(VALID).name == "small"


@given(st.integers(0, 10**9))
def test_it_is_accepted_or_refused_with_its_keys(seed):
    tree = strange_experiment(random.Random(seed))
    try:
        experiment = parsed(tree)
    except ConfigError as error:
        refusal = str(error)
    else:
        assert parse_experiment(dump_experiment(experiment)) == experiment
        return
    for line in refusal.splitlines():
        assert line.startswith("my.yaml: ")
        assert len(line) < 700


def refusal(**sections: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(VALID | sections)
    return str(caught.value)


def data(**keys: object) -> dict[str, object]:
    return {"sources": [{"path": "a.nc"} | keys]}


def periods(**keys: object) -> dict[str, object]:
    return VALID["periods"] | keys


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"name": "a" * 300}, "name: "),
        ({"periods": periods(train=[["2001-01-01"], "2002"])}, "periods.train: ['2001-01-01'] is"),
        ({"periods": periods(train=[{"a": 1}, "2002"])}, "periods.train: {'a': 1} is not a date"),
        ({"periods": periods(test=["9999-01-01", "9999-12-31"])},
         "periods.test: '9999-01-01' is not within the years 1678 to 2261"),
        ({"periods": periods(train=["1500-01-01", "2002"])}, "periods.train: '1500-01-01' is not"),
        ({"periods": periods(train=["today", "2002"])}, "periods.train: 'today' is not a date"),
        ({"periods": periods(train=["01/02/2001", "2002"])}, "'01/02/2001' is not a date"),
        ({"forecast": {"horizon": ["1d"]}}, "forecast.horizon: ['1d'] is not a duration"),
        ({"forecast": {"horizon": {"days": 1}}}, "forecast.horizon: {'days': 1} is not a duration"),
        ({"forecast": {"horizon": "9" * 30 + "d"}}, "forecast.horizon: "),
        ({"data": data(path=[])}, "data.sources[0].path: [] names no file; give a file, a store"),
        ({"data": data(path="")}, "data.sources[0].path: '' names no file; give a file, a store"),
        ({"data": data(rename={"x": "../../x"})}, "data.sources[0].rename.x: '../../x' is not"),
        ({"data": data(rename={"x": "a b"})}, "data.sources[0].rename.x: 'a b' is not allowed"),
        ({"data": data(rename={"x": "a" * 300})}, "data.sources[0].rename.x: "),
        ({"data": data(level=float("nan"))}, "data.sources[0].level: nan is not allowed"),
        ({"model": {"scale": float("inf")}}, "model.scale: inf is not allowed"),
        ({"model": {"width": 10**12}}, "model.width: 1000000000000 is not allowed"),
        ({"fit": {"share": 1e-300}}, "fit.share: 1e-300 is not allowed"),
        ({"fit": {"ridge": [1e-300]}}, "fit.ridge[0]: 1e-300 is not allowed"),
        ({"search": {"model.seed": list(range(100)), "model.noise": [0.1 * k for k in range(100)],
                     "state.modes": list(range(1, 101))}},
         "search: has 1000000 combinations, of which each is trained; give fewer"),
        ({"cluster": {"memory": "-5GiB"}}, "cluster.memory: '-5GiB' is not a size"),
        ({"cluster": {"memory": "1e40GiB"}}, "cluster.memory: '1e40GiB' is not a size"),
        ({"cluster": {"workers": 10**12}}, "cluster.workers: 1000000000000 is not allowed"),
        ({"cluster": {"timeout": float("inf")}}, "cluster.timeout: inf is not allowed"),
        ({"model": {"leads": "a\nb"}}, "model.leads: 'a\\nb' is not allowed; it must be a list"),
        ({"data": VALID["data"] | {"x\u2028y": 3}}, "data.x\\u2028y: unknown key"),
        ({"a\nb": 1}, "a\\nb: unknown key"),
        ({"search": {"a\nb": [2]}}, "search.a\\nb: cannot be searched"),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_named(sections, message):
    found = refusal(**sections).replace("my.yaml: cluster: ", "my.yaml: cluster.")
    assert message in found
    assert len(found.splitlines()) == 1


def test_many_errors_are_counted():
    found = refusal(data={"sources": [{"path": None}] * 100}).splitlines()
    assert len(found) == 21
    assert found[-1].endswith(" more errors")
