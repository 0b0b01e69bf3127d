"""Run the experiments on sea surface temperature of the Pacific, and score Nino 3.4 here too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.spectrum_store import write_spectrum
from gfrnn_testing.archives import DATA, ROOT, real
from gfrnn_testing.weather import finish

pytestmark = [real, pytest.mark.slow]
LEADS = [3, 6, 9, 12]


def computed(name: str, folder: Path) -> Run:
    """Compute an experiment with its data from the folder of the real data."""
    experiment = load_experiment(ROOT / "workflows" / "experiments" / f"{name}.yaml")
    sources = [
        source.model_copy(update={"path": str(DATA.resolve() / str(source.path))})
        for source in experiment.data.sources
    ]
    data = experiment.data.model_copy(update={"sources": sources})
    return finish(Run(experiment.model_copy(update={"data": data}), folder / name))


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None, decode_timedelta=True, consolidated=False)


@pytest.fixture(scope="module")
def enso(tmp_path_factory) -> Run:
    return computed("enso", tmp_path_factory.mktemp("enso"))


def test_the_correlation_of_nino_34(enso):
    """The linear inverse model is the usual reference for these forecasts."""
    scores = opened(enso.score_store).sel(prediction_timedelta=LEADS)
    found = scores["index_correlation"].sel(index="nino34")
    assert (found.sel(system="forecast") >= [0.82, 0.63, 0.42, 0.33]).all()
    assert (found.sel(system="forecast") > found.sel(system="linear inverse")).all()
    assert (found.sel(system="forecast") > found.sel(system="persistence")).all()


def test_the_field_half_a_year_ahead(enso):
    rmse = opened(enso.score_store)["rmse"].sel(prediction_timedelta=6).squeeze("channel")
    assert rmse.sel(system="forecast") <= 0.83 * rmse.sel(system="climatology")
    assert rmse.sel(system="forecast") < rmse.sel(system="linear inverse")


def test_scores_equal_those_of_plain_numpy(enso):
    """Score the stores from the file of the data, without the code of this project."""
    with xr.open_dataset(DATA / "pacific_sst_slp_monthly_1856_2014/sst.nc") as ds:
        sst, months = ds["sst"].values.astype(float), ds["time"].values.astype("datetime64[M]")
        latitude, longitude = ds["lat"].values, ds["lon"].values
    calendar, years = months.astype(int) % 12, months.astype("datetime64[Y]").astype(int) + 1970
    train = (years >= 1900) & (years <= 1964)
    means = np.stack([sst[train & (calendar == month)].mean(axis=0) for month in range(12)])
    anomalies = sst - means[calendar]
    area = np.cos(np.deg2rad(latitude))[:, None] * np.isfinite(sst[0])
    box = (np.abs(latitude) <= 5)[:, None] & ((longitude >= 190) & (longitude <= 240))
    forecasts, scores = opened(enso.forecast_store), opened(enso.score_store)
    assert str(forecasts["time"].values[0])[:7] == "1985-01"
    for lead in LEADS:
        valid = forecasts["valid_time"].values[:, lead - 1].astype("datetime64[M]")
        initial = forecasts["time"].values.astype("datetime64[M]")
        np.testing.assert_array_equal(valid - initial, np.timedelta64(lead, "M"))
        known = valid <= months[-1]
        place = np.searchsorted(months, valid[known])
        ours = forecasts["sea_surface_temperature"].values[known, lead - 1] - means[calendar[place]]
        error = np.nansum(np.square(ours - anomalies[place]) * area, axis=(1, 2)) / area.sum()
        own = scores.sel(system="forecast", prediction_timedelta=lead)
        np.testing.assert_allclose(own["rmse"].item(), np.sqrt(error.mean()), rtol=1e-4)
        pair = (
            np.average(field[:, box], axis=1, weights=area[box])
            for field in (ours, anomalies[place])
        )
        np.testing.assert_allclose(
            own["index_correlation"].item(), np.corrcoef(*pair)[0, 1], rtol=1e-4
        )


def test_pressure_joins_the_temperature(tmp_path):
    run = computed("enso_slp", tmp_path)
    scores = opened(run.score_store)
    assert scores["channel"].values.tolist() == [
        "mean_sea_level_pressure",
        "sea_surface_temperature",
    ]
    rmse = scores["rmse"].sel(prediction_timedelta=[3, 6])
    assert (rmse.sel(system="forecast") < rmse.sel(system="climatology")).all()
    assert (rmse.sel(system="forecast") < rmse.sel(system="persistence")).all()
    pressure = opened(run.forecast_store)["mean_sea_level_pressure"][0, 0]
    assert np.isnan(pressure).sum() == 64  # the outermost cells


def test_the_leading_mode_is_el_nino(enso):
    """A damped oscillation of 3 to 5 years, with one sign along the equator."""
    write_spectrum(enso, 5)
    with xr.open_zarr(enso.spectrum, chunks=None) as ds:
        mode = ds.sel(mode=1).load()
    assert mode["period"].attrs["units"] == mode["e_folding_time"].attrs["units"] == "months"
    assert 36 < mode["period"] < 60
    assert 3 < mode["e_folding_time"] < 24
    assert mode["confirmed"] == 1
    assert mode["contribution"] > 0.3
    # The anomaly in the box of Nino 3.4, its standard deviation about 0.8 K, peaks there.
    real = mode["sea_surface_temperature_real"]
    box = real.sel(latitude=slice(-5, 5), longitude=slice(190, 240))
    assert np.sign(box).min() == np.sign(box).max()
    assert 0.5 < abs(box).mean() < 2
    off = real.sel(latitude=slice(15, 30), longitude=slice(190, 240))
    assert abs(box).mean() > 3 * abs(off.mean())
    later = mode["sea_surface_temperature_imag"]
    later = later.sel(latitude=slice(-5, 5), longitude=slice(190, 240))
    assert abs(later.mean()) < 0.3 * abs(box.mean())
