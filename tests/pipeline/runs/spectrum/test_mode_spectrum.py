"""Test the modes of runs on weather of a known law, and the store that they are written to."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.mode_spectrum import ModeSpectrum, mode_spectrum
from gfrnn.pipeline.runs.spectrum.spectrum_store import write_spectrum
from gfrnn.pipeline.states.harmonics import year_phase
from gfrnn_testing.weather import Weather, experiment, make_weather, tree
from gfrnn_testing.zonal_weather import write_zonal_weather, zonal_experiment

PERIODS, DAMPING = (9.3, 14.1, 23.7), 0.95
LONG = {
    "periods": {
        "train": ["2001-01-01", "2006-12-31"],
        "validation": ["2007-01-01", "2010-12-31"],
        "test": ["2011-01-01", "2011-02-28"],
    },
    "model": {"width": 4, "leads": ["1d", "3d"]},
}


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=DAMPING, noise=0.3, times=3720, periods=PERIODS)


def fitted(weather: Weather, folder: Path, **sections: Any) -> Run:
    merged = {name: dict(keys) for name, keys in LONG.items()}
    for name, keys in sections.items():
        merged[name] = merged.get(name, {}) | keys
    run = Run(experiment(weather.path, **merged), folder)
    run.fit()
    return run


@pytest.fixture(scope="module")
def run(weather, tmp_path_factory) -> Run:
    return fitted(weather, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def spectrum(run) -> ModeSpectrum:
    return mode_spectrum(run)


def check_law(found: ModeSpectrum, modes: int = 3) -> None:
    """Check that the leading modes are those of the law, and confirmed."""
    np.testing.assert_allclose(np.sort(found.periods[:modes]), PERIODS, rtol=0.05)
    np.testing.assert_allclose(found.e_folding_times[:modes], -1 / np.log(DAMPING), rtol=0.25)
    assert found.confirmed[:modes].all()
    np.testing.assert_allclose(
        found.residuals[:modes], np.sqrt(1 - DAMPING**2), rtol=0.1, err_msg="noise alone"
    )


def test_the_modes_are_those_of_the_law(spectrum):
    check_law(spectrum)
    assert len(spectrum.eigenvalues) == 3
    assert spectrum.error == pytest.approx(1 - DAMPING**2, rel=0.1)
    assert (np.diff(spectrum.contributions) <= 0).all()
    # Leads of three days; validation rows start from the last day before; the mean is removed.
    assert (spectrum.rows, spectrum.held_out) == (2191 - 3 - 1, 1461 - 2 - 1)


def test_the_maps_of_a_mode_are_the_patterns_that_turn(weather, spectrum):
    """The two maps span the two patterns of the mode, in the ratio of its own turning."""
    names = [channel.variable for channel in spectrum.layout.scaling.grid.channels]
    assert names[0] == "geopotential"
    fields = weather.ds["geopotential"].sel(level=500).values.reshape(len(weather.states), -1)
    patterns = np.linalg.lstsq(weather.states, fields - fields.mean(axis=0), rcond=None)[0]
    maps = spectrum.maps(3)[:, :, 0].reshape(2, 3, -1)
    for mode, period in enumerate(spectrum.periods):
        pair = int(np.abs(np.subtract(PERIODS, period)).argmin())
        own = patterns[2 * pair : 2 * pair + 2]
        rest = maps[:, mode] - maps[:, mode] @ np.linalg.pinv(own) @ own
        assert np.linalg.norm(rest) < 0.1 * np.linalg.norm(maps[:, mode])
        # z turns by the angle of its eigenvalue: states of the law have a mean square of
        # noise^2 / (1 - damping^2) in each of two coordinates, and z has one of 1.
        size = np.sqrt(np.square(maps[:, mode]).sum() / np.square(own).sum())
        assert size == pytest.approx(np.sqrt(2 * 0.3**2 / (1 - DAMPING**2)), rel=0.15)


def test_real_and_imaginary_part_are_orthogonal_and_the_real_one_is_larger(spectrum):
    real, imaginary = spectrum.patterns.real, spectrum.patterns.imag
    np.testing.assert_allclose((real * imaginary).sum(axis=1), 0, atol=1e-12)
    assert (np.linalg.norm(real, axis=1) >= np.linalg.norm(imaginary, axis=1)).all()
    assert (real.max(axis=1) >= -real.min(axis=1)).all()


@pytest.mark.parametrize(
    "keys",
    [
        {"state": {"delays": 3}, "model": {"target": "increment"}},
        {"model": {"inputs": ["day_of_year"]}},
        {
            "state": {"delays": 2},
            "model": {"inputs": ["day_of_year"], "joint_inputs": True, "season_terms": True},
        },
    ],
    ids=["increments", "inputs", "seasons"],
)
def test_the_triangle_gives_what_regression_on_all_rows_gives(weather, tmp_path, keys):
    run = fitted(weather, tmp_path / "run", **keys)
    found = mode_spectrum(run)
    check_law(found)
    states = zarr.open_array(run.summaries / "series", mode="r")[:]
    delays, size = found.delays, 6
    time = run.ds["time"].values.astype("datetime64[D]")
    phase = 2 * np.pi * year_phase(time)
    inputs = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    blocks = []
    for first, last in (("2001-01-01", "2006-12-31"), ("2007-01-01", "2010-12-31")):
        begin, end = (int(np.flatnonzero(time == np.datetime64(day))[0]) for day in (first, last))
        # The first row of the validation period starts from the last day before.
        present = np.arange(begin - 1 if begin else delays - 1, end + 1 - 3)
        now = np.hstack([states[present - j] for j in range(delays)])
        mean = np.ones((len(present), 1))
        if "inputs" in keys["model"]:
            mean = np.hstack([mean, inputs[present + 1]])
        both = np.hstack([now, states[present + 1]])
        blocks.append(both - mean @ np.linalg.lstsq(mean, both, rcond=None)[0])
    settings = run.load_model().notes.linear_solve
    assert settings is not None
    train, held_out = blocks
    now = train[:, : delays * size]
    ridge = settings.ridge[0] * np.linalg.norm(now, 2)
    weights = np.linalg.lstsq(
        np.vstack([now, ridge * np.eye(delays * size)]),
        np.vstack([train[:, -size:], np.zeros((delays * size, size))]),
        rcond=None,
    )[0]
    companion = np.eye(delays * size, k=size)
    companion[:, :size] = weights
    values, vectors = np.linalg.eig(companion)
    now = held_out[:, : delays * size]
    later = np.hstack([held_out[:, -size:], now[:, : (delays - 1) * size]])
    error = np.linalg.norm(later @ vectors - now @ vectors * values, axis=0)
    residuals = error / np.linalg.norm(now @ vectors, axis=0)
    for value, residual in zip(found.eigenvalues[:3], found.residuals[:3], strict=True):
        nearest = np.abs(values - value).argmin()
        assert values[nearest] == pytest.approx(value, abs=1e-7)
        assert residuals[nearest] == pytest.approx(residual, rel=1e-6)
    forecast = np.square(held_out[:, -size:] - now @ weights).sum()
    assert found.error == pytest.approx(forecast / np.square(held_out[:, -size:]).sum(), rel=1e-6)


def test_modes_of_fewer_eofs_than_the_layout_has(weather, tmp_path, monkeypatch):
    """A search may choose fewer EOFs; maps are then those of the leading ones."""
    run = fitted(weather, tmp_path / "run", search={"state.modes": [4, 6]})
    model = run.load_model()
    assert model.notes.linear_solve is not None
    fewer = replace(model.notes, linear_solve=replace(model.notes.linear_solve, candidate=0))
    monkeypatch.setattr(run, "load_model", lambda: replace(model, notes=fewer))
    found = mode_spectrum(run)
    assert found.patterns.shape[1] == 6
    assert not found.patterns[:, 4:].any()
    assert found.maps(2).shape == (2, 2, 4, 5, 8)


def test_a_refit_leaves_years_out_of_the_operator(run, spectrum, tmp_path):
    again = refit(run.folder, tmp_path / "refit", without=[2003])
    found = mode_spectrum(again)
    assert found.rows < spectrum.rows - 300
    assert found.held_out == spectrum.held_out
    check_law(found)


def test_the_store_holds_modes_and_maps_with_units(run, spectrum):
    write_spectrum(run, 2)
    with xr.open_zarr(run.spectrum, chunks=None) as ds:
        ds.load()
    assert dict(ds.sizes) == {"mode": 2, "eigenvalue": 3, "level": 2, "latitude": 5, "longitude": 8}
    np.testing.assert_allclose(ds["period"], spectrum.periods[:2])
    assert ds["period"].attrs["units"] == ds["e_folding_time"].attrs["units"] == "d"
    assert ds["confirmed"].values.tolist() == [1, 1]
    assert ds["confirmed"].attrs["flag_meanings"].split() == ["not_confirmed", "confirmed"]
    z = ds["geopotential_real"]
    assert z.dims == ("mode", "level", "latitude", "longitude")
    assert z.attrs["units"] == "m2 s-2"
    assert ds["mean_sea_level_pressure_imag"].dims == ("mode", "latitude", "longitude")
    maps = spectrum.maps(2)
    np.testing.assert_allclose(z.sel(level=850), maps[0][:, 1], rtol=1e-6)
    # Temperature is at one of the two levels only.
    assert np.isnan(ds["temperature_imag"].sel(level=500)).all()
    np.testing.assert_allclose(ds["temperature_imag"].sel(level=850), maps[1][:, 2], rtol=1e-5)
    np.testing.assert_allclose(
        ds["all_eigenvalues_real"] + 1j * ds["all_eigenvalues_imag"], spectrum.eigenvalues
    )
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert ds.attrs["time_step"] == "1d"


def test_more_modes_than_there_are(run):
    write_spectrum(run, 50)
    with xr.open_zarr(run.spectrum, chunks=None) as ds:
        assert ds.sizes["mode"] == 3


def test_periods_and_decay_are_in_days_or_months(spectrum):
    values = np.array([1j, 0.5, 1.0, -0.5, 2.0, 0.0])
    six = replace(spectrum, eigenvalues=values, step=Duration.parse("6h"))
    np.testing.assert_allclose(six.periods, [1, np.inf, np.inf, 0.5, np.inf, np.inf])
    half = 0.25 / np.log(2)
    np.testing.assert_allclose(six.e_folding_times, [np.inf, half, np.inf, half, -half, 0])
    months = replace(spectrum, eigenvalues=values, step=Duration.parse("3mo"))
    np.testing.assert_allclose(months.periods[[0, 3]], [12, 6])


# Refused


def test_a_run_without_a_finished_fit_is_refused(weather, tmp_path):
    run = Run(experiment(weather.path, **LONG), tmp_path / "run")
    with pytest.raises(RunError, match="holds no finished fit of its experiment; run `gfrnn fit`"):
        mode_spectrum(run)


def test_missing_triangles_are_named(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    shutil.rmtree(copy / "summaries.zarr")
    with pytest.raises(RunError, match="a checkpoint of .* is missing or damaged; run `gfrnn fit`"):
        mode_spectrum(Run.reopen(copy))


@pytest.mark.parametrize("layout", ["zonal", "local"])
def test_layouts_without_one_operator_are_refused(weather, tmp_path, layout):
    if layout == "zonal":
        chosen = zonal_experiment(write_zonal_weather(tmp_path / "zonal.zarr"))
    else:
        plain = tree(weather.path)
        plain["state"] = {"layout": "local", "patch": [1, 2]}
        chosen = parse_experiment(yaml.safe_dump(plain))
    with pytest.raises(RunError, match=f"state.layout: {layout} has no spectrum.*layout: eof"):
        mode_spectrum(Run(chosen, tmp_path / "run"))


def test_an_updated_run_is_refused(weather, tmp_path):
    from gfrnn.pipeline.runs.update import update

    run = fitted(weather, tmp_path / "run")
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        later = ds.sel(time=slice("2007-01-01", "2007-03-01")).load()
    for array in later.variables.values():
        array.encoding = {}
    later.to_zarr(tmp_path / "later.zarr", zarr_format=3, consolidated=False)
    updated = update(run.folder, [str(tmp_path / "later.zarr")], tmp_path / "updated")
    with pytest.raises(RunError, match="was updated to 2007-03-01.*take a run that was not"):
        mode_spectrum(updated)
