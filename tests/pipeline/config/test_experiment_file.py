"""Test the experiment file: defaults, rejected values, and the messages about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import (
    Experiment,
    dump_experiment,
    load_experiment,
    parse_experiment,
)
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError
from gfrnn_testing.paths import ROOT

MINIMAL: dict[str, Any] = {
    "name": "small",
    "data": {"sources": "era5.zarr"},
    "periods": {
        "train": ["2001-01-01", "2005-12-31"],
        "validation": ["2006-01-01", "2006-12-31"],
        "test": ["2007-01-01", "2007-12-31"],
    },
}


def parsed(**sections: Any) -> Experiment:
    return parse_experiment(yaml.safe_dump(MINIMAL | sections))


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(text, "my.yaml")
    return str(caught.value)


def complaint(**sections: Any) -> str:
    """Return the message about an experiment with these sections."""
    return refused(yaml.safe_dump(MINIMAL | sections))


def periods(**changed: Any) -> dict[str, Any]:
    return MINIMAL["periods"] | changed


# What is filled in


def test_defaults():
    experiment = parsed()
    assert [source.path for source in experiment.data.sources] == ["era5.zarr"]
    assert experiment.data.static == []
    assert experiment.data.variables is None
    assert experiment.data.region is None
    assert experiment.data.step is None
    assert experiment.climatology.cycles(Duration.parse("6h")) == (2, 1)
    assert experiment.climatology.cycles(Duration.parse("1d")) == (2, 0)
    assert experiment.climatology.cycles(Duration.parse("1mo")) == ("month", 0)
    assert (experiment.state.layout, experiment.state.modes, experiment.state.delays) == (
        "eof", 80, 2,
    )  # fmt: skip
    model = experiment.model
    assert (model.width, model.activation, model.sampling) == (1000, "tanh", "normal")
    assert (model.scale, model.hidden_scale, model.target, model.seed) == (None, 0.15, "state", 0)
    assert (model.leads, model.inputs, model.hidden_delays, model.hidden_modes) == (
        [], [], None, None,
    )  # fmt: skip
    fit = experiment.fit
    assert (fit.widths, fit.without, fit.balance, fit.average) == ([], [], [1.0], 1)
    assert (fit.pool, fit.rows) == (2000, None)
    assert len(fit.ridge) == 33
    assert (fit.ridge[0], fit.ridge[-1]) == (1e-8, 1.0)
    assert np.all(np.diff(fit.ridge) > 0)
    assert experiment.forecast.horizon == Duration.parse("10d")
    assert experiment.forecast.every is None
    assert experiment.search == {}
    assert experiment.cluster == {}
    assert experiment.output is None


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {
            "description": "Größe: 'quoted', # no comment",
            "output": "runs/elsewhere",
            "data": {
                "sources": [
                    {"path": ["a.nc", "b.nc"], "level": 500, "rename": {"x": "geopotential"}},
                    "store.zarr",
                ],
                "static": ["land.nc", {"path": "z.nc", "units": {"z": "m2 s-2"}}],
                "variables": {"geopotential": [500, 850], "2m_temperature": None},
                "region": {"latitude": [35, 60], "longitude": [-12.5, 30]},
                "step": "6h",
                "chunk": 40,
            },
            "periods": periods(train=["2001-01-01 06:00", "2005-12-30 18:00"]),
            "model": {"leads": ["1d", "90min", "6h"], "inputs": ["hour", "day_of_year"]},
            "fit": {"ridge": [1e-3, 0.1], "average": 2, "balance": [1, 0.5]},
            "search": {"model.seed": [0, 1], "model.activation": ["tanh", "relu"]},
            "forecast": {"horizon": "5d", "every": "12h"},
            "cluster": {"workers": 2, "memory": "2GiB"},
        },
    ],
)
def test_a_dumped_experiment_parses_to_the_same(sections):
    experiment = parsed(**sections)
    text = dump_experiment(experiment)
    assert parse_experiment(text) == experiment
    assert dump_experiment(parse_experiment(text)) == text


def test_the_example_experiments_are_valid():
    folder = ROOT / "workflows" / "experiments"
    files = sorted(folder.glob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        assert load_experiment(file).name == file.stem


def test_leads_are_sorted():
    leads = parsed(model={"leads": ["2d", "6h"]}).model.leads
    assert leads == [Duration.parse("6h"), Duration.parse("2d")]


@pytest.mark.parametrize("text", ["1d", "36h", "6h", "30min", "10d", "90min", "1500ms", "3mo"])
def test_durations_are_spelled_as_they_are_read(text):
    horizon = parsed(forecast={"horizon": text}).forecast.horizon
    assert Duration.parse(str(horizon)) == horizon
    assert horizon.monthly or horizon.length == pd.Timedelta(text.replace("d", "D"))
    assert not horizon.monthly or horizon.length == np.timedelta64(3, "M")


def test_the_last_day_of_a_period_is_included():
    time = pd.date_range("2001-01-01", "2001-01-05", freq="6h").to_numpy()
    whole = Period.model_validate(["2001-01-02", "2001-01-03"])
    assert whole.mask(time).sum() == 8
    assert time[whole.mask(time)][-1] == np.datetime64("2001-01-03T18")
    # With an hour it ends at that hour.
    exact = Period.model_validate(["2001-01-02", "2001-01-03 06:00"])
    assert time[exact.mask(time)][-1] == np.datetime64("2001-01-03T06")
    midnight = Period.model_validate(["2001-01-02", "2001-01-03 00:00"])
    assert time[midnight.mask(time)][-1] == np.datetime64("2001-01-03T00")


@pytest.mark.parametrize(
    ("pair", "first", "last"),
    [
        (["2000", "2001"], "2000-01-01", "2001-12-31"),
        (["2000-02", "2000-02"], "2000-02-01", "2000-02-29"),
        (["2000-03-05", "2000-12 "], "2000-03-05", "2000-12-31"),
        (["2000", "20010704"], "2000-01-01", "2001-07-04"),
        (["2261", "2261"], "2261-01-01", "2261-12-31"),
    ],
)
def test_an_end_without_a_day_means_the_whole_month_or_year(pair, first, last):
    period = Period.model_validate(pair)
    assert period == Period.model_validate([first, last])
    assert Period.model_validate(period.as_pair()) == period


@pytest.mark.parametrize("pair", [["2001-01-02", "2001-01-03"], ["2001-01-02 06:00", "2001-01-03"]])
def test_periods_are_dumped_as_they_are_read(pair):
    period = Period.model_validate(pair)
    assert Period.model_validate(period.as_pair()) == period


# The candidates of a search


def test_candidates_are_every_combination_in_order():
    experiment = parsed(
        search={"model.scale": [0.1, 0.2], "state.modes": [10, 20, 30]}, fit={"average": 6}
    )
    candidates = experiment.candidates()
    assert [values for values, _ in candidates] == [
        {"model.scale": scale, "state.modes": modes}
        for scale in (0.1, 0.2)
        for modes in (10, 20, 30)
    ]
    for values, variant in candidates:
        assert variant.model.scale == values["model.scale"]
        assert variant.state.modes == values["state.modes"]
        # Nothing else differs, and a candidate searches no more itself.
        assert variant.search == {}
        assert variant.model.width == experiment.model.width
        assert variant.periods == experiment.periods


def test_without_search_the_experiment_is_the_one_candidate():
    experiment = parsed()
    assert experiment.candidates() == [({}, experiment)]


# What is refused


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"modle": {}}, "my.yaml: modle: unknown key; did you mean model?"),
        ({"zzz": 1}, "my.yaml: zzz: unknown key; allowed: name, description, output, data,"),
        ({"model": {"widht": 5}}, "my.yaml: model.widht: unknown key; did you mean width?"),
        (
            {"data": {"sources": [{"path": "a", "levle": 5}]}},
            "my.yaml: data.sources[0].levle: unknown key; did you mean level?",
        ),
        (
            {"data": {"sources": "a", "region": {"lattitude": [0, 1], "longitude": [0, 1]}}},
            "data.region.lattitude: unknown key; did you mean latitude?",
        ),
        ({"model": {"width": "many"}}, "model.width: 'many' is not allowed; it must be a whole"),
        ({"model": {"width": -1}}, "my.yaml: model.width: -1 is not allowed; it must be 0 or more"),
        ({"model": {"width": 1.5}}, "model.width: 1.5 is not allowed"),
        ({"state": {"modes": 0}}, "state.modes: 0 is not allowed; it must be above 0"),
        ({"model": {"activation": "gelu"}}, "model.activation: 'gelu' is not allowed; it must be"),
        ({"fit": {"ridge": [0.1, 0]}}, "fit.ridge[1]: 0 is not allowed"),
        ({"fit": {"ridge": []}}, "fit.ridge: [] is not allowed"),
        ({"name": "a/b"}, "name: 'a/b' is not allowed"),
        ({"data": {"sources": []}}, "data.sources: [] is not allowed"),
        ({"data": {"sources": 3}}, "data.sources[0]: 3 is not allowed"),
        ({"data": {"sources": "a", "static": [{"unit": "m"}]}},
         "data.static[0].unit: unknown key; did you mean units?"),
        ({"model": {"inputs": ["hour", "insolation"]}},
         "model.inputs: insolation is allowed with state.layout: local only"),
        ({"data": {}}, "my.yaml: data.sources: missing; it has no default and must be given"),
        ({"data": {"sources": "a", "region": {"latitude": [60, 35], "longitude": [0, 9]}}},
         "data.region.latitude: [60.0, 35.0] is not [south, north] within -90..90"),
        # Dates
        ({"periods": periods(train=["2001-13-01", "2002-01-01"])},
         "my.yaml: periods.train: '2001-13-01' is not a date; write for example 2008-12-31"),
        ({"periods": periods(train=["soon", "2002-01-01"])}, "'soon' is not a date"),
        ({"periods": periods(train=[2001, 2005])}, "periods.train: 2001 is not a date"),
        ({"periods": periods(train=["2001-01-01T00:00+01:00", "2002-01-01"])},
         "'2001-01-01T00:00+01:00' has a time zone; times are UTC"),
        ({"periods": periods(train="2001")}, "periods.train: '2001' is not a pair of dates"),
        ({"periods": periods(train=["2001-01-01"])},
         "periods.train: ['2001-01-01'] is not a pair of dates"),
        ({"periods": periods(train=["NaT", "2001-01-01"])}, "'NaT' is not a date"),
        ({"periods": periods(train=["2005-12-31", "2001-01-01"])},
         "periods.train: the period ends (2001-01-01) before it starts (2005-12-31)"),
        ({"periods": periods(train=["2001-01-01", "2006-01-01"])},
         "periods: train (2001-01-01..2006-01-01) and validation (2006-01-01..2006-12-31) overlap"),
        ({"periods": periods(test=["2006-12-31", "2007-12-31"])},
         "periods: validation (2006-01-01..2006-12-31) and test (2006-12-31..2007-12-31) overlap"),
        ({"periods": {"train": ["2001-01-01", "2005-12-31"]}},
         "periods.validation: missing; it has no default and must be given"),
        # Variables
        ({"data": {"sources": ["a"], "variables": {}}},
         "my.yaml: data.variables: names no variable; leave the key out"),
        ({"data": {"sources": ["a"], "variables": {"geopotential": []}}},
         "my.yaml: data.variables: geopotential: lists no level; write nothing"),
        # Durations
        ({"forecast": {"horizon": "fast"}},
         "my.yaml: forecast.horizon: 'fast' is not a duration; write for example 6h, 1d or"),
        ({"forecast": {"horizon": 10}}, "forecast.horizon: 10 is not a duration"),
        ({"forecast": {"horizon": "-1d"}}, "forecast.horizon: '-1d' is not a positive duration"),
        ({"forecast": {"every": "0h"}}, "forecast.every: '0h' is not a positive duration"),
        ({"model": {"leads": ["1d", "24h"]}}, "model.leads: the same lead is given twice"),
        # Search
        ({"search": {"model.width": [10, 20]}},
         "my.yaml: search.model.width: cannot be searched; allowed: state.modes, state.delays,"),
        ({"search": {"model.seed": []}}, "search.model.seed: has no candidates"),
        ({"search": {"model.scale": [0.1, -1]}},
         "my.yaml: search.model.scale[1]: -1 is not allowed; it must be 1e-09 or more"),
        ({"state": {"modes": 5}, "search": {"model.hidden_modes": [3, 6], "model.seed": [0, 1]}},
         "my.yaml: search.model.hidden_modes[1]: 6 is more than state.modes: 5; give at most 5"),
        ({"model": {"hidden_modes": 5}, "search": {"state.modes": [4], "model.seed": [7]}},
         "my.yaml: search: the candidate model.seed: 7, state.modes: 4 is not allowed: "
         "model.hidden_modes: 5 is more than state.modes: 4"),
        ({"fit": {"average": 3}, "search": {"model.seed": [0, 1]}},
         "my.yaml: fit.average: 3 is more than the 2 candidates of search"),
        ({"fit": {"average": 2}}, "fit.average: 2 is more than the 1 candidates of search"),
        ({"fit": {"finalists": 3}, "search": {"model.seed": [0, 1]}},
         "fit.finalists: 3 is not within fit.average: 1 and the 2 candidates of search"),
        ({"fit": {"finalists": 1, "average": 2}, "search": {"model.seed": [0, 1]}},
         "fit.finalists: 1 is not within fit.average: 2 and the 2 candidates of search"),
        ({"fit": {"finalists": 1, "first_width": 50}, "model": {"width": 50},
          "search": {"model.seed": [0, 1]}},
         "fit.first_width: 50 is not below model.width: 50; give less"),
        ({"state": {"delays": 2}, "model": {"hidden_delays": 3}},
         "my.yaml: model.hidden_delays: 3 is more than state.delays: 2"),
        ({"state": {"modes": 5}, "model": {"hidden_modes": 6}},
         "my.yaml: model.hidden_modes: 6 is more than state.modes: 5"),
        ({"state": {"delays": 2}, "search": {"model.hidden_delays": [1, 3]}},
         "search.model.hidden_delays[1]: 3 is more than state.delays: 2"),
        ({"model": {"hidden_inputs": []}}, "model.hidden_inputs: [] is not allowed"),
        ({"model": {"hidden_inputs": ["state", "state"]}},
         "model.hidden_inputs: ['state', 'state'] names an input twice; give each once"),
        ({"model": {"hidden_inputs": ["season"]}},
         "model.hidden_inputs[0]: 'season' is not allowed"),
        ({"state": {"layout": "local"}, "model": {"hidden_inputs": ["state", "linear"]}},
         "model.hidden_inputs: linear is allowed with state.layout: eof only"),
        ({"model": {"sampling": "centres", "activation": "relu"}},
         "model.activation: relu does not apply to model.sampling: centres"),
        ({"model": {"sampling": "quadratic", "activation": "relu"}},
         "model.activation: relu does not apply to model.sampling: quadratic, whose features are"),
        ({"state": {"layout": "local"}, "model": {"sampling": "quadratic"}},
         "model.sampling: quadratic is allowed with state.layout: eof only"),
        ({"state": {"layout": "local"}, "search": {"model.sampling": ["normal", "quadratic"]}},
         "model.sampling: quadratic is allowed with state.layout: eof only"),
        ({"model": {"sampling": "centres", "width": 3000}},
         "model.width: 3000 centres are more than fit.pool, 2000; give at most 2000"),
        ({"model": {"width": 300}, "fit": {"pool": 200},
          "search": {"model.sampling": ["normal", "centres"]}},
         "model.width: 300 centres are more than fit.pool, 200"),
        ({"model": {"noise": -1}}, "model.noise: -1 is not allowed; give a number from 0 to 1e+06"),
        ({"model": {"noise": "white"}}, "model.noise: 'white' is not allowed; give a number"),
        ({"model": {"noise": float("inf")}}, "model.noise: inf is not allowed"),
        ({"model": {"noise": 0.1, "noise_factor": 3}},
         "model.noise_factor: 3 is allowed with model.noise: residual only, but the noise is 0.1"),
        ({"model": {"noise": "residual", "noise_factor": 0}},
         "model.noise_factor: 0 is not allowed; it must be above 0"),
        ({"model": {"noise": "residual", "noise_factor": float("inf")}},
         "model.noise_factor: inf is not allowed"),
        ({"fit": {"choice": "folds"}}, "fit.choice: 'folds' is not allowed; it must be"),
        ({"fit": {"refit": "validation"}}, "fit.refit: 'validation' is not allowed"),
        ({"model": {"hidden_delays": 2}, "search": {"state.delays": [1, 2]}},
         "model.hidden_delays: 2 is more than state.delays: 1"),
        ({"verification": {"regions": {"north": {"field": "latitude", "at_least": 45}}}},
         "verification.regions.north: latitude is no field of a file; set latitude: [south,"),
        # True and false are no numbers
        ({"data": {"sources": [{"path": "a", "select": {"number": True}}]}},
         "my.yaml: data.sources[0].select: true is neither a number nor text"),
        ({"data": {"sources": "a", "variables": {"z": [False]}}},
         "my.yaml: data.variables: false is neither a number nor text"),
        ({"model": {"width": True}}, "my.yaml: model.width: true is neither a number nor text"),
        ({"fit": {"ridge": [1e-3, True]}}, "my.yaml: fit.ridge: true is neither a number"),
        ({"name": True}, "my.yaml: name: true is neither a number nor text"),
        # Errors of two keys of a section have its name once
        ({"data": {"sources": "a", "aggregate": "mean"}},
         "my.yaml: data.aggregate: given without data.step"),
        # Lists, and values of several kinds
        ({"data": {"sources": "a", "allow": "range"}},
         "my.yaml: data.allow: 'range' is not allowed; it must be a list, such as [range]"),
        ({"data": {"sources": [{"path": "a", "missing": -99}]}},
         "data.sources[0].missing: -99 is not allowed; it must be a list, such as [-99]"),
        ({"data": {"sources": [{"path": 3}]}},
         "my.yaml: data.sources[0].path: 3 is not allowed; it must be text or a list, such as [3]"),
        ({"data": {"sources": [{"path": ["a", 3]}]}},
         "my.yaml: data.sources[0].path[1]: 3 is not allowed; it must be text"),
        ({"verification": {"thresholds": {"t": ["Q90"]}}},
         "my.yaml: verification.thresholds.t[0]: 'Q90' is neither a number nor a quantile of the"),
        ({"verification": {"thresholds": {"t": [[1]]}}},
         "my.yaml: verification.thresholds.t[0]: [1] is not allowed; it must be a number or text"),
    ],
)  # fmt: skip
def test_bad_values_are_named(sections, message):
    assert message in complaint(**sections)


def test_every_error_has_its_own_line():
    lines = complaint(model={"widht": 5}, state={"modes": 0}).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("my.yaml: ") for line in lines)


@pytest.mark.parametrize("date", ["2002-13-31", "2002-02-30", "2002-1-99"])
def test_an_impossible_date_is_named_with_its_key(date):
    message = refused(
        f"periods: {{train: [2000-01-01, {date}], validation: [2003-01-01, 2003-12-31], "
        "test: [2004-01-01, 2004-12-31]}"
    )
    assert f"periods.train: {date!r} is not a date; write for example 2008-12-31" in message


def test_invalid_yaml_is_refused():
    message = refused("name: [unclosed\nmodel: {")
    assert message.startswith("my.yaml: not valid YAML: ")
    assert "line" in message


@pytest.mark.parametrize(
    ("text", "found"), [("", "no content"), ("- a\n- b", "a list"), ("a", "a single value")]
)
def test_text_without_keys_is_refused(text, found):
    assert refused(text).startswith(f"my.yaml: found {found}; write keys and values")


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    for part in (f"{path}: cannot be read", "No such file or directory", "check the path"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment(tmp_path)  # a folder


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"model\.yaml: is not UTF-8 text"):
        load_experiment(path)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"modle": {}}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: modle: unknown key"):
        load_experiment(path)


# Seasons and indices


def test_keys_of_the_season_need_their_inputs():
    assert "model.joint_inputs: true, but model.inputs is empty" in complaint(
        model={"joint_inputs": True}
    )
    words = complaint(model={"season_terms": True, "inputs": ["hour"]})
    assert "model.season_terms: needs day_of_year among model.inputs, found ['hour']" in words
    words = complaint(search={"model.season_terms": [False, True]})
    assert "needs day_of_year" in words
    model = {"season_terms": True, "inputs": ["day_of_year"]}
    words = complaint(state={"layout": "zonal"}, model=model)
    assert "model.season_terms is allowed with state.layout: eof and local only" in words


def test_well_known_indices_have_defaults():
    found = parsed(verification={"indices": ["nino34", "nino4"]}).verification.indices
    assert list(found) == ["nino34", "nino4"]
    assert found["nino34"].variable == "sea_surface_temperature"
    assert (found["nino34"].latitude, found["nino34"].longitude) == ((-5, 5), (190, 240))
    skin = {"nino34": {"variable": "skin_temperature"}, "nino3": None}
    mixed = parsed(verification={"indices": skin}).verification.indices
    assert mixed["nino34"] == found["nino34"].model_copy(update={"variable": "skin_temperature"})
    assert mixed["nino3"].longitude == (210, 270)
    assert (
        parsed(verification={"indices": skin}).verification
        == parse_experiment(dump_experiment(parsed(verification={"indices": skin}))).verification
    )


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (["enso"], "enso is not a well-known index (nino12, nino3, nino34, nino4); give its var"),
        ({"nino34": {"latitude": [5, -5]}}, "nino34.latitude: [5.0, -5.0] is not [south, north]"),
        ({"nino34": {"latitud": [-5, 5]}}, "nino34.latitud: unknown key; did you mean latitude?"),
        ({"box": {"variable": "sst", "latitude": [0, 5]}}, "box.longitude: missing"),
        ({"a b": {}}, "a b"),
        ("nino34", "verification.indices: 'nino34' is not allowed"),
        ({"nino34": 5}, "nino34"),
    ],
)
def test_wrong_indices_are_named(indices, words):
    assert words in complaint(verification={"indices": indices})


def test_a_value_of_several_kinds_has_one_line_of_errors():
    message = complaint(verification={"thresholds": {"t": ["Q90"]}})
    assert len(message.splitlines()) == 1
    assert "constrained" not in message
