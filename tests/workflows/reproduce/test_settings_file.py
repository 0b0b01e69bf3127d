"""Settings files of cases: precedence, resolved settings and refused files."""

from __future__ import annotations

import re

import pytest
import yaml

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import case_names, load_case
from gfrnn.workflows.reproduce.settings_file import dump, load_settings, overlaid
from gfrnn.workflows.reproduce.settings_search import searches


def test_mappings_are_merged_and_other_values_replaced():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 3}
    assert overlaid(below, {"a": {"y": [5]}}) == {"a": {"x": 1, "y": [5]}, "b": 3}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 3}


def test_a_users_file_precedes_quick_settings_and_these_precede_the_case(tmp_path):
    case = load_case("van-der-pol")
    own, quick = load_settings(case), load_settings(case, quick=True)
    assert quick.settings.width < own.settings.width
    file = tmp_path / "mine.yaml"
    file.write_text("width: 7\nquick: {data: {starts: 2}}\n")
    assert load_settings(case, file, quick=True).settings.width == 7
    assert load_settings(case, file, quick=True).settings.data.starts == 2
    assert load_settings(case, file).settings.data.starts == own.settings.data.starts


@pytest.mark.parametrize("name", case_names())
@pytest.mark.parametrize("quick", [False, True])
def test_every_case_can_be_loaded(name, quick):
    case = load_case(name)
    assert case.name == name
    assert "\n" not in case.summary
    found = load_settings(case, quick=quick)
    # The written settings give the same settings when they are loaded.
    again = case.settings.model_validate(yaml.safe_load(dump(found.values)))
    assert again == found.settings
    assert searches(case, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht: 3", "unknown key; did you mean width?"),
        ("data: {starts: 0}", "data.starts: 0 is not allowed"),
        ("[1]", "found a list; write keys and values"),
        ("quick: 3", "quick: 3 is not allowed"),
        ("a: [", "not valid YAML: line 1"),
    ],
)
def test_settings_that_are_refused(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_settings(load_case("van-der-pol"), file)
    assert "mine.yaml" in str(caught.value)


def test_a_missing_settings_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(load_case("van-der-pol"), tmp_path / "none.yaml")
