"""Test ``gfrnn verify FORECAST TRUTH`` and ``gfrnn compare`` as users call them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from gfrnn.workflows.commands import main as commands
from gfrnn.workflows.commands import run as run_commands
from gfrnn_testing.forecast_layouts import (
    make_forecasts,
    make_truth,
    write_earth2studio,
    write_weatherbench2,
)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")

STARTS = pd.date_range("2019-01-10", periods=30, freq="12h")
ONE = ("--cluster", "one.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Write a truth, and forecasts in two layouts."""
    folder = tmp_path_factory.mktemp("stores")
    truth = make_truth(days=60)
    truth.to_zarr(folder / "truth.zarr", consolidated=False)
    (folder / "one.yaml").write_text("workers: 1\ndashboard: ':0'\n")
    write_weatherbench2(make_forecasts(truth, STARTS, members=2), folder / "ens.zarr")
    write_earth2studio(make_forecasts(truth, STARTS, error=3.0), folder / "single.zarr")
    return folder


@pytest.fixture
def said(folder, monkeypatch, capsys):
    """Call the command in the folder of the stores; return its exit code and what it printed."""
    monkeypatch.chdir(folder)
    wide = Console(width=200)
    monkeypatch.setattr(run_commands, "console", wide)

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gfrnn", *words])
        with pytest.raises(SystemExit) as caught:
            commands.main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out + printed.err

    return call


def test_options_of_files_are_refused_without_truth(said) -> None:
    code, text = said("verify", "ens.zarr", "--region", "europe")
    assert code == 2
    assert "--region: allowed with TRUTH only" in text


def test_wrong_options_are_named(said) -> None:
    stores = ("verify", "single.zarr", "truth.zarr")
    for words, message in (  # before the folder is made
        ((), "z500 (geopotential) states no unit, which cannot be converted to m2 s-2; give"),
        (("--units", "z500"), "--units: found 'z500', allowed: NAME=UNIT, or --units era5"),
        (("--rename", "=x"), "--rename: found '=x', allowed: NAME=ERA5_NAME"),
        (("--region", "atlantis"), "--region: regions: atlantis is not a well-known region"),
        (("--initial-time", "never"), "--initial-time: 'never' is not a date"),
        (("--climatology", "2019-02-01", "2019-01-01"), "--climatology: "),
    ):
        code, text = said(*stores, *words)
        assert code == 2
        assert message in text
    assert (
        not Path("runs/verify-single").exists() or Path("runs/verify-single/scores.zarr").exists()
    )


def test_compare_refuses_folders_that_are_missing_empty_or_given_twice(said, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    for words, message in (
        ((one,), "needs two folders of verified forecasts or more"),
        ((one, f"{two}/../one"), "a folder is given twice"),
        ((one, two), "no statistics of forecasts there"),
        ((one, tmp_path / "three"), f"no folder {tmp_path / 'three'}; give folders of verified"),
    ):
        code, text = said("compare", *map(str, words))
        assert code == 2
        assert message in text


@pytest.mark.slow
@pytest.mark.cluster
def test_verify_and_compare(folder, said) -> None:
    code, text = said("verify", "ens.zarr", "truth.zarr", "--region", "europe", *ONE)
    assert code == 0, text
    assert re.search(r"dashboard: http://127.0.0.1:\d+/gfrnn\?token=", text)
    for part in ("2m_temperature, K", "persistence", "fair CRPS", "spread / error", "no climatol"):
        assert part in text
    code, text = said("verify", "ens.zarr", "truth.zarr", "--region", "europe", *ONE)
    assert "(done before, skipped)" in text
    assert "2m_temperature, K" in text
    code, text = said("verify", "ens.zarr", "truth.zarr", *ONE)
    assert code == 2
    assert "holds the scores of other forecasts, truth or options" in text
    code, text = said("verify", "single.zarr", "truth.zarr", "--units", "era5", *ONE)
    assert code == 0, text
    code, text = said(
        "compare", "runs/verify-ens", "runs/verify-single", "--output", "pages/page.html"
    )
    assert code == 0, text
    assert "30 common initial times and 3 leads, 30 pairs a lead" in text
    assert re.search(r"change, %.*\+\d+(\.\d)?\*", text)
    page = (folder / "pages" / "page.html").read_text()
    assert 'class="worse"' in page
    assert "verify-single" in page
    for place in (text, page):
        assert place.count("persistence") > 1  # a note, and a row of each channel
    # The page needs nothing else.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
