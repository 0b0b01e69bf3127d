"""Test the keys of the zonal layout: defaults, and combinations that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, parse_experiment
from gfrnn.pipeline.errors import ConfigError

ZONAL: dict[str, Any] = {
    "name": "zonal",
    "data": {"sources": "era5.zarr"},
    "periods": {
        "train": ["2001-01-01", "2005-12-31"],
        "validation": ["2006-01-01", "2006-12-31"],
        "test": ["2007-01-01", "2007-12-31"],
    },
    "state": {"layout": "zonal"},
}


def parsed(**sections: Any) -> Experiment:
    return parse_experiment(yaml.safe_dump(ZONAL | sections))


def test_defaults_of_the_layout():
    model = parsed().model
    assert (model.features, model.width, model.stages, model.wind) == (["advection"], 0, 1, None)
    assert model.bound == 2.1
    assert model.noise_factor == 2.0
    assert parsed(model={"features": ["advection", "products"]}).model.width == 16
    assert parsed(model={"bound": None}).model.bound is None
    assert parsed(state={"layout": "eof"}).model.width == 1000
    assert parsed(state={"layout": "eof"}).model.bound is None
    assert parsed(state={"layout": "eof"}).model.features == []
    local = parsed(state={"layout": "local"}, model={"features": ["products"]}).model
    assert (local.width, local.products, local.combine_leads) == (1000, 16, "longest")
    assert parsed(state={"layout": "eof"}).model.combine_leads == "mean"
    mean = parsed(state={"layout": "local"}, model={"combine_leads": "mean"}).model
    assert mean.combine_leads == "mean"


def test_an_experiment_that_is_written_with_its_defaults_is_read_again():
    experiment = parsed(model={"noise": "residual", "stages": 2})
    assert parse_experiment(dump_experiment(experiment)) == experiment


@pytest.mark.parametrize(
    ("sections", "parts"),
    [
        ({"state": {"layout": "zonal", "modes": 10}}, ("state.modes", "eof only")),
        ({"state": {"layout": "zonal", "patch": [2, 2]}}, ("state.patch", "local only")),
        ({"state": {"layout": "eof", "wavenumbers": 5}}, ("state.wavenumbers", "zonal only")),
        ({"state": {"layout": "local", "geometry": "channel"}}, ("state.geometry", "zonal only")),
        ({"model": {"leads": ["1d"]}}, ("model.leads", "eof and local only")),
        ({"model": {"hidden_modes": 3}}, ("model.hidden_modes", "eof")),
        ({"model": {"target": "increment"}}, ("model.target", "eof and local only")),
        ({"model": {"precision": "float16"}}, ("model.precision", "float64", "float32")),
        ({"model": {"inputs": ["insolation"]}}, ("insolation", "local only")),
        ({"model": {"hidden_delays": 3}}, ("model.hidden_delays: 3", "state.delays: 2")),
        ({"fit": {"balance": [0.1]}}, ("fit.balance", "eof and local only")),
        ({"fit": {"average": 2}}, ("fit.average",)),
        ({"fit": {"finalists": 1}}, ("fit.finalists", "eof and local only")),
        ({"fit": {"choice": "years"}}, ("fit.choice", "eof and local only")),
        ({"fit": {"refit": "all"}}, ("fit.refit", "eof and local only")),
        ({"model": {"hidden_inputs": ["linear"]}}, ("model.hidden_inputs", "eof only")),
        ({"fit": {"widths": [2]}}, ("fit.widths", "eof and local only")),
        ({"search": {"model.seed": [0, 1]}}, ("search",)),
        ({"state": {"layout": "eof"}, "model": {"stages": 2}}, ("model.stages", "zonal only")),
        (
            {"state": {"layout": "eof"}, "model": {"features": ["tanh"]}},
            ("model.features", "zonal only"),
        ),
        ({"model": {"features": ["tanh", "relu"]}}, ("model.features", "exclude each other")),
        ({"model": {"features": []}}, ("model.features",)),
        (
            {"state": {"layout": "eof"}, "model": {"features": ["advection"]}},
            ("model.features", "local and zonal only", "the layout is eof"),
        ),
        (
            {"state": {"layout": "local"}, "model": {"features": ["products", "relu"]}},
            ("model.features: relu", "zonal only", "model.activation"),
        ),
        ({"model": {"products": 4}}, ("model.products", "local only")),
        ({"state": {"layout": "local"}, "model": {"products": 0}}, ("model.products",)),
        (
            {"model": {"features": ["products", "tanh", "products"], "width": 9}},
            ("model.features", "products", "twice"),
        ),
        ({"model": {"features": ["curl"]}}, ("model.features", "advection")),
        ({"model": {"width": 5}}, ("model.width: 5", "products, tanh or relu")),
        (
            {"model": {"features": ["tanh", "products"], "width": 1}},
            ("model.width: 1", "2 kinds"),
        ),
        ({"model": {"bound": 1.0}}, ("model.bound", "above 1")),
        ({"model": {"bound": float("inf")}}, ("model.bound",)),
        ({"model": {"noise": -0.1}}, ("model.noise: -0.1", "from 0 to 1e+06, or residual")),
        ({"model": {"noise": "resid"}}, ("model.noise: 'resid'", "from 0 to 1e+06, or residual")),
        ({"model": {"noise": [1]}}, ("model.noise: [1]", "from 0 to 1e+06, or residual")),
        ({"model": {"noise_factor": 0}}, ("model.noise_factor",)),
        ({"model": {"noise_factor": 3.0}}, ("model.noise_factor", "noise: residual")),
        ({"model": {"stages": 0}}, ("model.stages",)),
    ],
)
def test_what_is_refused_is_named(sections, parts):
    with pytest.raises(ConfigError) as caught:
        parsed(**sections)
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
