"""Test that YAML files are read within bounds, and that errors name the line."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.config.yaml_tree import MOST_BYTES, MOST_LEVELS, parse_tree, read_tree
from gfrnn.pipeline.errors import ConfigError


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_tree(text, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 25)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1, column 6: expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key a is given twice"),
        ("a:\n  b: 1\n  b: 1", "line 3, column 3: the key b is given twice"),
        ("a: " + "[" * 5000, f"line 1, column 33: there are more than {MOST_LEVELS} levels"),
        ("a: " + "{b: " * 5000, f"there are more than {MOST_LEVELS} levels"),
        ("".join("  " * k + "a:\n" for k in range(200)), "more than 30 levels"),
        (BOMB, "line 15, column 6: there are more than 50000 values, with those of aliases"),
        (CHAIN, "more than 30 levels"),
        ("a: &a [*a]", "line 1, column 8: an alias stands for a value that contains it"),
        ("a: &a {b: *a}", "an alias stands for a value that contains it"),
        ("a: *b", "found undefined alias 'b'"),
        ("a: " + "[" + "x, " * 60_000 + "]", "more than 50000 values"),
        ("a: !!binary gIGC", "line 1, column 4: !!binary is not allowed; write text, numbers"),
        ("a: !!timestamp 2001-01-01", "!!timestamp is not allowed"),
        ("a: !!set {b, c}", "!!set is not allowed"),
        ("a: !!python/object/apply:os.system [id]", "!!python/object/apply:os.system is not"),
        ("a: !mine 3", "!mine is not allowed"),
        ("1: x", "line 1, column 1: the key 1 is read as int; quote it"),
        ("a: {no: x}", "line 1, column 5: the key no is read as bool; quote it"),
        ("? [a]\n: b", "a key is a list or a mapping; write a name"),
        ('a: "\\0"', "line 1, column 4: there is a control character, '\\x00'"),
        ('a: "\\e[31m"', "there is a control character, '\\x1b'"),
        ('a: "\\ud800"', "there is half of a character, '\\ud800'"),
        ('"\\0": 1', "there is a control character"),
        ("a: \x00", "not valid YAML: unacceptable character #x0000"),
        ("a: 0x_", "line 1, column 4: '0x_' is not a number"),
        ("a: 9" + "0" * 5000, "'9000000000000000000000000000000000000000' is not a number"),
        ("a: 9223372036854775808", "the number has more than 64 bits"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: 1\n b: 2", "line 2, column 3: mapping values are not allowed here"),
        ("", "found no content"),
        ("[1]", "found a list; write keys and values"),
        ("text", "found a single value"),
        ("<<: 3", "expected a mapping or list of mappings"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text, message):
    assert message in refused(text)


def test_aliases_and_merges_are_read():
    text = "a: &a {x: 1, y: [2, 3]}\nb: *a\nc: {<<: *a, x: 4}"
    assert parse_tree(text, "") == {
        "a": {"x": 1, "y": [2, 3]},
        "b": {"x": 1, "y": [2, 3]},
        "c": {"x": 4, "y": [2, 3]},
    }


def test_dates_are_text():
    assert parse_tree("a: 2001-01-01\nb: =", "") == {"a": "2001-01-01", "b": "="}


def test_a_file_that_is_too_long_is_refused(tmp_path):
    file = tmp_path / "long.yaml"
    file.write_text("a: " + "x" * MOST_BYTES)
    with pytest.raises(ConfigError, match=r"long.yaml: has more than 1 MiB"):
        read_tree(file)


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: \xff\xfe", "is not UTF-8 text"), (None, "cannot be read")]
)
def test_a_file_that_is_no_text_is_refused(content, message, tmp_path):
    file = tmp_path / "my.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_tree(file)


NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)
TEXTS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_plain_values_are_read_as_they_were_written(tree):
    assert parse_tree(yaml.safe_dump(tree, allow_unicode=True), "") == tree


def test_infinity_is_a_number_for_yaml_and_refused_by_the_keys():
    assert math.isinf(parse_tree("a: .inf", "")["a"])


@given(st.text(alphabet="ab01 \n\t:-[]{}&*!?|>%@`'\"#,.~<=\\x", max_size=60))
def test_any_text_is_read_or_refused_with_one_line(text):
    message = "my.yaml: "
    try:
        parse_tree(text, "my.yaml")
    except ConfigError as error:
        message = str(error)
    assert message.startswith("my.yaml: ")
    assert len(message.splitlines()) == 1


def test_the_places_of_keys_are_known():
    text = (
        "name: a\ndata:\n  sources:\n  - {path: b.nc, level: 500}\n  - path: c.nc\n"
        "fit: {ridge: [1, 2]}\n"
    )
    assert parse_tree(text, "a.yaml").places == {
        "name": (1, 1),
        "data": (2, 1),
        "data.sources": (3, 3),
        "data.sources[0]": (4, 5),
        "data.sources[0].path": (4, 6),
        "data.sources[0].level": (4, 18),
        "data.sources[1]": (5, 5),
        "data.sources[1].path": (5, 5),
        "fit": (6, 1),
        "fit.ridge": (6, 7),
        "fit.ridge[0]": (6, 15),
        "fit.ridge[1]": (6, 18),
    }


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ("model:\n  widht: 3\n", "unknown key; did you mean width? (line 7, column 3)"),
        ("model: {width: -3}\n", "it must be 0 or more (line 6, column 9)"),
        ("fit: {ridge: [1, x]}\n", "fit.ridge[1]: 'x' is not allowed; it must be a number "
         "(line 6, column 18)"),
        ("forecast: {horizon: soon}\n", "(line 6, column 12)"),
        ("search: {model.seed: 3}\n", "(line 6, column 10)"),
        ("search:\n  model.scale: [0.1,\n    -1]\n", "(line 8, column 5)"),
        ("search: {model.width: [3]}\n", "(line 6, column 10)"),
        ("data: {sources: b.nc, region: {latitude: [3, 4]}}\n", "given (section in line 2)"),
        ("fit:\n  average: 2\n", "(line 7, column 3)"),
    ],
)  # fmt: skip
def test_errors_of_values_have_their_line_and_column(changed, line, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "name: a\n"
        + changed * changed.startswith("data")
        + "data: {sources: b.nc}\n" * (not changed.startswith("data"))
        + "periods:\n"
        "  {train: [2001-01-01, 2001-12-31], validation: [2002-01-01, 2002-12-31],\n"
        "   test: [2003-01-01, 2003-12-31]}\n" + changed * (not changed.startswith("data"))
    )
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    (found,) = str(caught.value).splitlines()
    assert found.startswith(f"{file}: ")
    assert found.endswith(line)
