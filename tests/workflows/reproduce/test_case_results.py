"""Test the framework of the cases: results, tables, settings, choices, files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import PositiveInt
from rich.console import Console

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.tasks import Advance
from gfrnn.workflows.cases import case_names, load_case
from gfrnn.workflows.reproduce import run_case as reproducing
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn.workflows.reproduce.result_table import csv_text, json_tree, sentence, terminal_table
from gfrnn.workflows.reproduce.settings_file import LoadedSettings, dump, load_settings, overlaid
from gfrnn.workflows.reproduce.settings_search import choice_table, choose, searches
from gfrnn.workflows.reproduce.timing import timed

LONG = Score("long", "how long", "days", "higher")
ERROR = Score("error", "error <&>")
SILENT = lambda advance: None  # noqa: E731


class Inner(Section):
    power: float = 1.0


class Toy(Section):
    size: PositiveInt
    inner: Inner = Inner()


def draw(figure):
    figure.subplots().plot([0, 1], [1, 0])


def result(**changes):
    parts = {
        "title": "A <toy>",
        "about": ["About it & more."],
        "scores": [LONG, ERROR],
        "entries": [
            Entry("mine", "ours", {"long": [3.0, 1.0, 2.0], "error": [0.5, 0.5, 0.5]}, [1, 2, 9]),
            Entry("theirs", "peer", {"long": [1.0, 1.5, 9.0], "error": [math.inf] * 3}, [3, 4, 5]),
            Entry("plain", "reference", {"error": [0.7]}),
        ],
        "bars": [Bar("long", "mine", 2.0), Bar("training", "mine", against="theirs")],
        "notes": ["Noted."],
        "draw": draw,
        "caption": "A line that falls.",
    }
    return CaseResult(**(parts | changes))


def toy_run(settings, seeds, progress):
    progress(Advance("toys", len(seeds), len(seeds)))
    return result()


def distance(settings, seed):
    return abs(settings.inner.power - 3.0) + seed


CASE = Case(
    "toy", "A toy.", Toy, toy_run,
    {"near": Validation(ERROR, distance),
     "big": Validation(LONG, lambda settings, seed: settings.size * settings.inner.power)},
)  # fmt: skip


def loaded(**candidates):
    settings = Toy(size=2)
    return LoadedSettings(settings, settings.model_dump(mode="json"), candidates, "toy.yaml")


# Results


def test_quartiles_are_over_seeds():
    mine, theirs, plain = result().entries
    assert mine.quartiles("long") == (1.5, 2.0, 2.5)
    assert mine.quartiles("training") == (1.5, 2.0, 5.5)
    assert plain.quartiles("long") is None
    assert theirs.quartiles("error") == (math.inf,) * 3
    some = Entry("some", "ours", {"error": [1.0, 2.0, math.inf]})
    assert some.quartiles("error")[1] == 2.0
    assert all(map(math.isnan, Entry("x", "ours", {"error": [1.0, math.nan]}).quartiles("error")))


@pytest.mark.parametrize(
    ("bar", "reached"),
    [
        (Bar("long", "mine", 2.0), True),
        (Bar("long", "mine", 2.0, strict=True), False),
        (Bar("long", "mine", 2.1), False),
        (Bar("error", "mine", 0.5), True),
        (Bar("error", "mine", 0.4), False),
        (Bar("error", "mine", 0.5, strict=True), False),
        (Bar("long", "mine", against="theirs"), True),
        (Bar("error", "mine", against="theirs"), True),
        (Bar("error", "theirs", against="mine"), False),
        (Bar("error", "mine", against="mine"), False),
        (Bar("training", "mine", against="theirs"), True),
        (Bar("long", "mine", against="plain"), None),
        (Bar("long", "mine", against="not installed"), None),
        (Bar("long", "plain", 1.0), None),
    ],
)
def test_bars(bar, reached):
    assert result(bars=[bar]).verdicts()[0].reached is reached


def test_a_diverged_reference_never_wins():
    away = Entry("away", "peer", {"error": [math.nan]})
    entries = [*result().entries, away]
    bars = [Bar("error", "mine", against="away"), Bar("error", "away", against="mine")]
    assert [v.reached for v in result(entries=entries, bars=bars).verdicts()] == [True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": [Bar("wide", "mine", 1.0)]}, "no score 'wide'"),
        ({"bars": [Bar("long", "nobody", 1.0)]}, "no entry 'nobody'"),
        ({"scores": [LONG, LONG]}, "score: 'long' is there twice"),
        ({"scores": [LONG]}, "entry 'mine': no score 'error'"),
    ],
)
def test_results_with_unknown_names_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        result(**changes)


@pytest.mark.parametrize("given", [{}, {"value": 1.0, "against": "theirs"}])
def test_a_bar_is_a_value_or_a_rival(given):
    with pytest.raises(ValueError, match="either value or against"):
        Bar("long", "mine", **given)


def test_sentences_of_bars():
    said = [sentence(verdict) for verdict in result().verdicts()]
    assert said == [
        "mine: how long 2.00 days, wanted at least 2.00 days: reached",
        "mine: training 2.00 s, wanted below 4.00 s of theirs: reached",
    ]


# Tables


def test_the_csv_has_every_value_once():
    rows = list(csv.DictReader(io.StringIO(csv_text(result(), [4, 5, 6]))))
    found = {(row["entry"], row["score"], row["seed"]): float(row["value"]) for row in rows}
    assert found["mine", "long", "5"] == 1.0
    assert found["theirs", "error", "6"] == math.inf
    assert found["mine", "training", "6"] == 9.0
    assert found["plain", "error", ""] == 0.7
    assert len(rows) == len(found) == 6 + 6 + 1 + 6


def test_the_json_is_json():
    tree = json.loads(json.dumps(json_tree(result()), allow_nan=False))
    assert tree["entries"][0]["scores"]["long"] == {"median": 2.0, "quartiles": [1.5, 2.5]}
    assert tree["entries"][1]["scores"]["error"]["median"] == "inf"
    assert "long" not in tree["entries"][2]["scores"]
    assert [bar["verdict"] for bar in tree["bars"]] == ["reached", "reached"]


def test_the_terminal_table_fits_a_narrow_one():
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(terminal_table(result()))
    text = console.export_text()
    assert re.search(r"mine +│ +2\.00 │ +1\.50 to 2\.50", text)
    assert "∞" in text
    assert text.count("plain") == 1  # only where it was measured


# Settings


def test_mappings_are_overlaid_and_all_else_replaced():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 3}
    assert overlaid(below, {"a": {"y": [5]}}) == {"a": {"x": 1, "y": [5]}, "b": 3}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 3}


def test_a_file_goes_over_quick_and_quick_over_the_case(tmp_path):
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
    # What is written into a folder gives the same settings again.
    again = case.settings.model_validate(yaml.safe_load(dump(found.values)))
    assert again == found.settings
    assert searches(case, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht: 3", "unknown key; did you mean width?"),
        ("data: {starts: 0}", "data.starts: 0 is not allowed"),
        ("[1]", "found list, allowed: keys with values"),
        ("quick: 3", "quick: 3 is not allowed"),
        ("a: [", "not a YAML file"),
    ],
)
def test_wrong_settings_are_refused(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_settings(load_case("van-der-pol"), file)
    assert "mine.yaml" in str(caught.value)


def test_a_missing_settings_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(load_case("van-der-pol"), tmp_path / "none.yaml")


# Choices


def test_every_combination_is_tried_and_the_best_kept():
    keys = {"inner.power": [1.0, 2.5, 9.0], "size": [2, 4]}
    chosen, (choice,) = choose(CASE, loaded(near={"keys": keys, "seeds": 3}), SILENT)
    assert [trial.score for trial in choice.trials] == [3.0, 3.0, 1.5, 1.5, 7.0, 7.0]
    assert chosen.settings == Toy(size=2, inner=Inner(power=2.5))  # the first of equals
    assert chosen.values == {"size": 2, "inner": {"power": 2.5}}


def test_higher_may_be_better_and_a_later_validation_sees_the_earlier_choice():
    tree = loaded(near={"keys": {"inner.power": [1.0, 3.0]}}, big={"keys": {"size": [1, 5, 2]}})
    chosen, choices = choose(CASE, tree, SILENT)
    assert [trial.score for trial in choices[1].trials] == [3.0, 15.0, 6.0]
    assert chosen.settings == Toy(size=5, inner=Inner(power=3.0))


def test_settings_with_nan_scores_are_never_chosen():
    case = Case("toy", "", Toy, toy_run, {"root": Validation(LONG, lambda s, seed: _root(s))})
    tree = loaded(root={"keys": {"inner.power": [-1.0, 4.0, -2.0]}})
    chosen, (choice,) = choose(case, tree, SILENT)
    assert chosen.settings.inner.power == 4.0
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(choice_table(choice))
    assert re.search(r"4 │ +2\.00 │ best", console.export_text())


def _root(settings):
    power = settings.inner.power
    return math.sqrt(power) if power >= 0 else math.nan


def test_random_search_stays_within_its_ranges_and_is_the_same_again():
    keys = {"inner.power": {"log": [0.01, 10.0]}, "size": [1, 2, 3]}
    search = searches(CASE, loaded(near={"keys": keys, "trials": 200}))["near"]
    draws = list(search.combinations())
    powers = np.array([draw["inner.power"] for draw in draws])
    assert draws == list(search.combinations())
    assert powers.min() >= 0.01
    assert powers.max() <= 10
    # Half of them below the geometric middle: 200 draws, four standard deviations of the count.
    assert abs((powers < math.sqrt(0.1)).sum() - 100) < 4 * math.sqrt(50)
    assert {draw["size"] for draw in draws} == {1, 2, 3}


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({}, "missing; there is nothing to choose"),
        ({"far": {"keys": {"size": [1]}}}, "far: unknown validation; allowed: near, big"),
        ({"near": {"keys": {"inner.powr": [1]}}}, "inner.powr: the settings have no such key"),
        ({"near": {"keys": {"size": [1, 0]}}}, "size: 0 is not allowed"),
        ({"near": {"keys": {"inner.power": {"log": [1, 2]}}}}, "trials: missing"),
        ({"near": {"keys": {"inner.power": {"log": [0, 2]}}, "trials": 1}}, "low and a high"),
        ({"near": {"keys": {}}}, "keys"),
        ({"near": {"keys": {"size": []}}}, "keys"),
    ],
)
def test_wrong_candidates_are_refused(candidates, message):
    with pytest.raises(ConfigError, match=message):
        searches(CASE, loaded(**candidates))


# Files


@pytest.fixture
def folder(tmp_path):
    reproducing.reproduce(CASE, loaded(), [0, 1, 2], tmp_path / "out", SILENT, "gfrnn me & you")
    return tmp_path / "out"


def test_the_folder_holds_the_result_and_nothing_else(folder):
    names = {"settings.yaml", "table.csv", "result.json", "figure.svg", "index.html"}
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "result.json").read_text())
    assert record["seeds"] == [0, 1, 2]
    assert record["versions"]["numpy"] == np.__version__
    assert record["machine"]["cores"] >= 1
    assert "openblas" in record["machine"]["blas"] or record["machine"]["blas"]
    assert yaml.safe_load((folder / "settings.yaml").read_text()) == loaded().values


def test_the_page_needs_nothing_else_and_escapes(folder):
    page = (folder / "index.html").read_text()
    assert "A &lt;toy&gt;" in page
    assert "<toy>" not in page
    assert "gfrnn me &amp; you" in page
    for text in (
        "Noted.",
        "reached",
        "1.50 to 2.50",
        "About it &amp; more.",
        "error &lt;&amp;&gt;",
    ):
        assert text in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    ElementTree.parse(folder / "figure.svg")


def test_a_failed_case_leaves_the_earlier_result(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "mine.txt").write_text("keep")
    monkeypatch.setattr(
        Path, "write_text", partial(_fail_at, Path.write_text, "index.html"), raising=True
    )
    with pytest.raises(OSError, match="no space"):
        reproducing.write_files(folder, dict.fromkeys(before, "new"))
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == before | {"mine.txt": b"keep"}


def _fail_at(write, name, text, **options):
    raise OSError("no space left")


def test_same_result_same_figure():
    assert reproducing.draw(result()) == reproducing.draw(result())


def test_training_is_timed_on_one_thread():
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    threads, seconds = timed(
        lambda: [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    )
    assert threads
    assert set(threads) == {1}
    assert 0 < seconds < 5
