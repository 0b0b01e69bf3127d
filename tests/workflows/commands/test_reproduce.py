"""Test ``gfrnn reproduce`` as users call it."""

from __future__ import annotations

import re

import pytest
import yaml

TINY = "width: 10\ndata: {series: 4, samples: 60, starts: 2, steps: 20}\n"


@pytest.mark.parametrize("words", [[], ["--list"]])
def test_cases_are_listed(words, call):
    code, out, _ = call(*words)
    assert code == 0
    for name in ("lorenz63", "rossler", "van-der-pol", "van-der-pol-delays"):
        assert f"{name} " in out


def test_a_case_runs_and_its_settings_run_again(call, tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    code, out, err = call("van-der-pol", "--seeds", 2, "--settings", "tiny.yaml", "--quick")
    assert code == 0, err
    first = tmp_path / "runs" / "reproduce" / "van-der-pol-quick"
    assert out.rstrip().endswith(f"page: {first.relative_to(tmp_path) / 'index.html'}")
    assert "quick settings" in out
    again = ["van-der-pol", "--seeds", 2, "--settings", first / "settings.yaml", "-o", "again"]
    assert call(*again)[0] == 0
    tables = [
        [line for line in (where / "table.csv").read_text().split() if "training" not in line]
        for where in (first, tmp_path / "again")
    ]
    assert tables[0] == tables[1]  # same settings and seeds, same scores


def test_choosing_writes_settings_and_runs_nothing_else(call, tmp_path):
    candidates = "candidates: {linear: {keys: {linear_ridge: [0.5, 0.0]}}}\n"
    (tmp_path / "tiny.yaml").write_text(TINY + candidates)
    code, out, err = call("van-der-pol", "--choose", "--settings", "tiny.yaml", "-o", "out")
    assert code == 0, err
    assert re.search("0 │ +\N{MINUS SIGN}?\\d.* best", out)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "chosen.yaml",
        "candidates.csv",
    }
    assert yaml.safe_load((tmp_path / "out" / "chosen.yaml").read_text())["linear_ridge"] == 0.0


def test_an_output_that_is_a_file_is_refused(call, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = call("van-der-pol", "-o", "taken")
    assert code == 2
    assert "taken: is a file; give --output the name of a folder" in err
