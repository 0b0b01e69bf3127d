"""Test the measurement of programs in processes of their own, and its tables and files."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers import catalogue, run
from gfrnn.workflows.benchmarks.peers.comparison import ErrorColumn
from gfrnn.workflows.benchmarks.peers.measure import measure
from gfrnn.workflows.benchmarks.peers.process import measured
from gfrnn.workflows.benchmarks.peers.program import best_setting
from gfrnn.workflows.benchmarks.peers.results import (
    ComparisonResult,
    PeerResult,
    read_results,
    write_results,
)
from gfrnn.workflows.benchmarks.peers.tables import markdown, result_tables
from gfrnn.workflows.commands.main import app
from gfrnn_testing import peer_toys
from gfrnn_testing.peer_toys import comparison, contender

MEBIBYTE = 2**20


@pytest.fixture(autouse=True)
def found_by_processes(monkeypatch):
    """Let processes import the toys."""
    support = str(Path(peer_toys.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([support, os.environ.get("PYTHONPATH", "")]))


def silent(line: str) -> None:
    pass


def test_contenders_are_searched_and_then_fitted_in_turn(tmp_path):
    log = str(tmp_path / "log.txt")
    names = ("ours", "theirs")
    made = comparison(*(contender(name, options={"log": log}) for name in names))
    result = measure(made, quick=False, rounds=2, report=silent, folder=tmp_path)
    assert Path(log).read_text().split("\n")[:-1] == [
        f"{name} {call}" for call in ("search", "fit", "fit") for name in names
    ]
    for row in result.rows:
        assert row.setting == {"offset": 1.0, "epochs": 7}
        assert row.errors == {"mae": 1.0}
        assert row.search_seconds is not None
        assert not row.gap
    assert not result.failed


def test_errors_are_means_over_seeds_and_the_mean_forecast_has_a_row(tmp_path):
    made = comparison(contender("pair", seeds=2, mean=True))
    single, mean = measure(made, quick=False, rounds=1, report=silent, folder=tmp_path).rows
    assert single.errors == {"mae": 1.0}
    assert single.spread == {"mae": 0.0}
    assert mean.name == "pair, mean of 2 forecasts"
    assert mean.errors == {"mae": 0.0}  # the offsets cancel
    assert mean.fit_seconds == pytest.approx(2 * single.fit_seconds)


def test_memory_is_that_of_the_fit(tmp_path):
    sizes = {"small": 0, "large": 300 * MEBIBYTE}
    rows = measure(
        comparison(*(contender(name, options={"memory": size}) for name, size in sizes.items())),
        quick=False,
        rounds=1,
        report=silent,
        folder=tmp_path,
    ).rows
    risen = {row.name: row.memory - row.memory_before for row in rows}
    assert risen["small"] < 50 * MEBIBYTE
    assert 290 * MEBIBYTE <= risen["large"] < 350 * MEBIBYTE


def test_processor_time_is_counted_and_rest_is_not():
    def work() -> None:
        end = os.times().user + 0.2
        while os.times().user < end:
            np.linalg.svd(np.ones((20, 20)))

    _, cost = measured(work)
    assert 0.19 < cost.seconds < 2
    _, idle = measured(lambda: None)
    assert idle.seconds < 0.1


def test_what_is_missing_or_fails_is_named_and_the_others_are_measured(tmp_path):
    made = comparison(
        contender("absent", packages=("no-such-distribution",)),
        contender("broken", options={"fails": "fit"}),
        contender("lost", options={"fails": "search"}),
        contender("sound", packages=("numpy",)),
    )
    result = measure(made, quick=False, rounds=1, report=silent, folder=tmp_path)
    rows = {row.name: row for row in result.rows}
    assert rows["absent"].gap == "not installed: no-such-distribution"
    assert not rows["absent"].failed
    assert rows["broken"].gap == "fit 1 failed: ArithmeticError: fit diverged"
    assert rows["lost"].gap == "search failed: ArithmeticError: search diverged"
    assert rows["broken"].failed
    assert rows["sound"].errors == {"mae": 1.0}
    assert rows["sound"].versions == {"numpy": np.__version__}
    assert result.failed
    page = markdown(made, result)
    for name in ("absent", "broken", "lost"):
        assert rows[name].gap in page


def test_data_that_cannot_be_prepared_are_named(tmp_path):
    made = comparison(contender("one"), prepare=f"{peer_toys.HERE}:fail_to_prepare")
    (row,) = measure(made, quick=False, rounds=1, report=silent, folder=tmp_path).rows
    assert row.failed
    assert row.gap == "the data could not be prepared: FileNotFoundError: archive.nc"


def test_settings_without_a_finite_error_never_win():
    settings = [{"a": 1}, {"a": 2}, {"a": 3}]
    errors = {1: np.nan, 2: 5.0, 3: np.inf}
    assert best_setting(settings, lambda one: errors[one["a"]]) == {"a": 2}
    with pytest.raises(ArithmeticError, match="none of 3 settings"):
        best_setting(settings, lambda one: np.nan)


def made_up(*errors: float) -> ComparisonResult:
    rows = [
        PeerResult(f"model {place}", "peer", fit_seconds=0.123, memory=200 * MEBIBYTE,
                   errors={"mae": error}, setting={"ridge": 0.001}, versions={"numpy": "2"})
        for place, error in enumerate(errors)
    ]  # fmt: skip
    return ComparisonResult("toy", False, "a processor", "2026-01-01", rows)


def test_equal_looking_best_errors_are_bold():
    page = markdown(comparison(), made_up(1.0011, 1.0009, 1.2))
    assert "| model 0 | **1.00** | 0.12 |  | 200 |" in page
    assert "| model 1 | **1.00** |" in page
    assert "| model 2 | 1.20 |" in page
    assert "- model 2: ridge 0.001; numpy 2" in page


def test_bars_compare_results_and_are_left_out_with_them():
    def bars(rows):
        if "model 1" in rows:
            yield BarCheck("error", rows["model 1"].errors["mae"], 1.1, at_most=True)

    made = comparison(bars=bars)
    assert "| error | 1.2 | <= 1.1 | missed |" in markdown(made, made_up(1.0, 1.2))
    assert len(list(result_tables(made, made_up(1.0, 1.2)))) == 3
    assert len(list(result_tables(made, made_up(1.0)))) == 2


def test_results_are_kept_and_other_files_are_refused(tmp_path):
    path = tmp_path / "peers.json"
    assert read_results(path) == {}
    result = made_up(1.0, 2.0)
    write_results(path, {"toy": result})
    assert read_results(path) == {"toy": result}
    path.write_text(json.dumps({"rows": []}))
    with pytest.raises(ConfigError, match="not a file of `gfrnn bench peers`"):
        read_results(path)


def test_the_command_adds_to_earlier_results(tmp_path, monkeypatch):
    made = {"toy": comparison(contender("ours")), "other": comparison(contender("theirs"))}
    monkeypatch.setattr(run, "COMPARISONS", made)
    other = replace(made_up(3.0), name="other")
    write_results(tmp_path / "peers.json", {"other": other})
    arguments = ["bench", "peers", "--rows", "toy", "--folder", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    kept = read_results(tmp_path / "peers.json")
    assert list(kept) == ["toy", "other"]
    assert kept["other"] == other
    page = (tmp_path / "peers.md").read_text()
    assert page.count("## Toys") == 2


def test_results_are_written_before_the_data_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "COMPARISONS", {"toy": comparison(contender("ours"))})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    results = run.run(["toy"], False, 1, tmp_path, silent)
    next(results)
    assert list(read_results(tmp_path / "peers.json")) == ["toy"]
    assert list(scratch.iterdir())
    assert not list(results)
    assert not list(scratch.iterdir())


def test_unknown_rows_are_named():
    with pytest.raises(ConfigError, match=r"--rows: 'nothing' is not a comparison"):
        run.chosen_names("nothing")
    assert run.chosen_names(None) == list(catalogue.COMPARISONS)


def test_columns_have_the_digits_that_they_ask_for():
    columns = (ErrorColumn("mae", "error", digits=4),)
    page = markdown(
        comparison().__class__("t", "T", "", columns, ()), made_up(454.94, 1234.56, 1.5e-9)
    )
    for text in ("454.9", "1235", "1.500e-09"):
        assert text in page


def test_tables_for_the_terminal_are_narrow_and_name_gaps():
    columns = tuple(ErrorColumn(f"mae{place}", f"error {place}") for place in range(6))
    made = comparison().__class__("t", "T", "", columns, ())
    measured_row = PeerResult("one", "peer", errors={f"mae{place}": place for place in range(6)})
    gap = PeerResult("other", "peer", gap="not installed: other")
    tables = list(result_tables(made, ComparisonResult("t", False, "", "", [measured_row, gap])))
    assert [len(table.columns) for table in tables] == [5, 3, 5]
    assert [table.row_count for table in tables] == [1, 1, 2]
    assert "not installed: other" in list(tables[-1].columns[-1].cells)


def test_one_model_may_be_measured_again(tmp_path, monkeypatch):
    made = comparison(contender("ours"), contender("pair", seeds=2, mean=True))
    monkeypatch.setattr(run, "COMPARISONS", {"toy": made})
    stale = [
        PeerResult(name, "peer", errors={"mae": 9.0})
        for name in ("ours", "pair", "pair, mean of 2 forecasts", "no longer there")
    ]
    write_results(tmp_path / "peers.json", {"toy": replace(made_up(), rows=stale)})
    for _ in run.run(["toy"], False, 1, tmp_path, silent, models="OUR"):
        pass
    rows = {
        row.name: row.errors["mae"] for row in read_results(tmp_path / "peers.json")["toy"].rows
    }
    assert rows == {"ours": 1.0, "pair": 9.0, "pair, mean of 2 forecasts": 9.0}
    assert next(iter(rows)) == "ours"
    with pytest.raises(ConfigError, match="--models: no model of toy has 'xesn' in its name"):
        next(run.run(["toy"], False, 1, tmp_path, silent, models="xesn"))
