"""Test the command ``gfrnn spectrum``: its table, its page and its errors."""

from __future__ import annotations

import re
import shutil
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.mode_spectrum import ModeSpectrum, mode_spectrum
from gfrnn.pipeline.runs.spectrum.spectrum_store import write_spectrum
from gfrnn.workflows.commands.main import main
from gfrnn.workflows.report.display_units import DisplayUnit
from gfrnn.workflows.spectrum.mode_figures import eigenvalue_picture, mode_maps
from gfrnn.workflows.spectrum.mode_table import mode_rows, time_label
from gfrnn.workflows.spectrum.spectrum_page import write_spectrum_page
from gfrnn_testing.weather import experiment, make_weather

KELVINS = defaultdict(lambda: DisplayUnit("K", 1.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("spectrum")
    weather = make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=1500)
    run = Run(experiment(weather.path), folder / "run")
    run.fit()
    return run


@pytest.fixture(scope="module")
def spectrum(run) -> ModeSpectrum:
    return mode_spectrum(run)


@pytest.fixture
def said(monkeypatch, capsys):
    """Call ``gfrnn spectrum`` and return exit code, output and errors."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gfrnn", "spectrum", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


def test_the_command_prints_a_table_and_writes_store_and_page(run, spectrum, said):
    code, out, err = said(run.folder, "--modes", 2)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if re.match(r"│\s+\d", line)]
    assert [row[1] for row in rows] == ["1", "2"]
    for row, period in zip(rows, spectrum.periods, strict=False):
        assert float(row[3].split()[0]) == pytest.approx(period, rel=0.01)
    assert f"{spectrum.confirmed.sum()} of 3 modes are confirmed" in out
    with xr.open_zarr(run.spectrum, chunks=None) as ds:
        assert ds.sizes["mode"] == 2
    assert str(run.spectrum_page) in out
    assert run.spectrum_page.exists()


def test_the_page_is_self_contained_and_holds_a_map_of_each_confirmed_mode(run, spectrum):
    text = write_spectrum_page(run, spectrum, 3).read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    images = re.findall(r"<img src=\"data:image/(\w+)[^\"]*\" \s*alt=\"([^\"]*)\"", text)
    assert [kind for kind, _ in images] == ["svg"] + ["png"] * int(spectrum.confirmed.sum())
    assert all(len(alt) > 20 for _, alt in images)
    assert len(text) < 5e6
    for row in mode_rows(spectrum, 3):
        assert f"<td>{row.period}</td>" in text


def test_cells_without_values_stay_without_them(masked):
    masked.fit()
    found = write_spectrum(masked, 3)
    with xr.open_zarr(masked.spectrum, chunks=None) as ds:
        temperature, pressure = ds["2m_temperature_real"], ds["mean_sea_level_pressure_real"]
        assert temperature.isnull()[:, :4, 2:6].all()
        assert temperature.isnull().sum() == 3 * 16
        assert pressure.notnull().all()
    assert "<img" in write_spectrum_page(masked, found, 3).read_text(encoding="utf-8")


def test_a_page_without_confirmed_modes_says_so(run, spectrum, tmp_path):
    none = replace(spectrum, contributions=np.zeros(3))
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    text = write_spectrum_page(Run.reopen(folder), none, 3).read_text(encoding="utf-8")
    assert "none of the modes of the table is confirmed" in text
    assert text.count("<img") == 1
    assert "0 modes are confirmed; none is confirmed" in text


def test_figures_of_any_spectrum_are_drawn(spectrum):
    """Eigenvalues at zero, on and outside the circle have no point in the plot of damping."""
    values = np.array([0.0, 1.0, 1.1, -0.5, 0.5, 0.3 + 0.3j])
    six = replace(
        spectrum,
        eigenvalues=values.astype(complex),
        residuals=np.array([0.1, 0.2, np.nan, 0.4, 0.9, 0.7]),
        noise_floor=np.sqrt(np.maximum(0, 1 - np.abs(values) ** 2)),
        contributions=np.array([0.5, 0.4, 0.3, 0.2, 0.1, -0.1]),
        patterns=np.ones((6, 6), dtype=complex),
    )
    for step in ("6h", "1mo"):
        assert eigenvalue_picture(replace(six, step=Duration.parse(step))).uri.startswith("data:")
    maps = six.maps(6)
    for mode in (1, 5):
        assert "Maps of mode" in mode_maps(six, mode, maps[:, mode], KELVINS).picture.alt
    assert [row.confirmed for row in mode_rows(six, 6)][2] is False


def test_maps_of_wide_and_of_narrow_domains_fit_the_page(spectrum):
    def drawn(**keys: np.ndarray) -> float:
        layout = spectrum.layout
        grid = replace(layout.scaling.grid, **keys)
        changed = replace(layout, scaling=replace(layout.scaling, grid=grid))
        found = mode_maps(replace(spectrum, layout=changed), 0, spectrum.maps(1)[:, 0], KELVINS)
        return found.share

    wide = drawn(latitude=np.linspace(-10, 10, 5), longitude=np.arange(8) * 20.0)
    narrow = drawn(latitude=np.linspace(30, 60, 5), longitude=np.arange(8) * 3.0)
    assert wide == narrow == 1.0


@pytest.mark.parametrize(
    ("length", "monthly", "text"),
    [
        (45.83, True, "45.8 mo (3.8 y)"),
        (14.4, True, "14.4 mo"),
        (0.93, False, "0.930 d"),
        (1461.0, False, "1461 d (4.0 y)"),
        (-8.0, False, "\N{MINUS SIGN}8.00 d"),
        (np.inf, True, "\N{EN DASH}"),
    ],
)
def test_times_have_units_and_long_ones_years(length, monthly, text):
    assert time_label(length, monthly).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_new_model_has_no_spectrum_of_the_old_one(run, tmp_path):
    again = Run.reopen(Path(shutil.copytree(run.folder, tmp_path / "run")))
    write_spectrum(again, 1)
    again.spectrum_page.touch()
    assert again.spectrum.exists()
    again.fit()
    assert again.spectrum.exists(), "the fit was done"
    again.fit(force=True)
    assert not again.spectrum.exists()
    assert not again.spectrum_page.exists()


def test_a_folder_without_a_run_or_a_fit_is_named(run, said, tmp_path):
    code, _, err = said(tmp_path / "none")
    assert code == 2
    assert "not a run's folder" in err
    unfinished = tmp_path / "unfinished"
    with Run(run.experiment, unfinished).lock():
        pass  # the folder is made when something is written into it
    code, _, err = said(unfinished)
    assert code == 2
    assert "holds no finished fit of its experiment; run `gfrnn fit` first" in err
    assert not list(Path(unfinished).glob("spectrum*"))
