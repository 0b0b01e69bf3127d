"""Compare verified forecasts on their common pairs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.store_sums import add_sums
from gfrnn.pipeline.runs.source_verification import SourceVerification
from gfrnn.pipeline.verification.compare import compare
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.forecast_layouts import (
    CHANNELS,
    make_forecasts,
    make_truth,
    write_weatherbench2,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
]

STARTS = pd.date_range("2019-01-10", periods=44, freq="12h")


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    """Verify forecasts that differ in one thing each."""
    folder = tmp_path_factory.mktemp("compared")
    truth = make_truth(days=60)
    other = truth.copy(deep=True)
    other["2m_temperature"] = other["2m_temperature"] + np.random.default_rng(3).normal(
        size=other["2m_temperature"].shape
    )
    other["2m_temperature"].attrs = truth["2m_temperature"].attrs
    for name, ds in (("truth", truth), ("other", other)):
        ds.to_zarr(folder / f"{name}.zarr", consolidated=False)
    good = make_forecasts(truth, STARTS)
    made = {
        "good": good,
        "again": good.isel(time=slice(4, None)),
        "bad": make_forecasts(truth, STARTS[:40], error=1.5, seed=2),
        "ensemble": make_forecasts(truth, STARTS, members=3, seed=3),
        "few": good.isel(time=slice(0, 5)),
        "late": make_forecasts(truth, STARTS + pd.Timedelta("6h")),
        "first_lead": good.isel(prediction_timedelta=slice(0, 1)),
        "other_leads": good.isel(prediction_timedelta=slice(1, None)),
        "one_channel": good[["2m_temperature"]],
        "other_truth": good,
    }
    for name, ds in made.items():
        path = write_weatherbench2(ds, folder / f"forecasts_{name}.zarr")
        real = folder / ("other.zarr" if name == "other_truth" else "truth.zarr")
        source, data = SourceConfig(path=str(path)), DataConfig(sources=[str(real)])
        SourceVerification.prepare(source, data, folder / name).score()
    return {name: folder / name / "statistics.zarr" for name in made}


def of(stores: dict[str, Path], *names: str, **options) -> xr.Dataset:
    return compare({name: stores[name] for name in names}, **options)


def rmse(store: Path, times: np.ndarray) -> np.ndarray:
    with open_statistics(store) as ds:
        own = ds["squared_error"].sel(system="forecast", region="all", channel=CHANNELS)
        return np.sqrt(own.sel(time=times).mean("time").values)


def test_scores_are_those_of_the_common_pairs(stores) -> None:
    found = of(stores, "good", "bad", "again")
    times = STARTS[4:40].to_numpy()
    assert (found["pairs"] == 36).all()
    ours = {name: rmse(stores[name], times) for name in ("good", "bad", "again")}
    for name, values in ours.items():
        own = found.sel(run=name, channel=CHANNELS)
        np.testing.assert_allclose(own["rmse"], values, rtol=1e-10)
        if name != "good":
            change = values / ours["good"] - 1
            np.testing.assert_allclose(own["rmse_change"], change, rtol=1e-9, atol=1e-12)
    assert "crps" not in found
    assert "36 common initial times and 3 leads, 36 pairs a lead" in found.attrs["notes"][0]
    assert "good: 8 initial times and 0 leads" in found.attrs["notes"][0]


def test_references_are_compared_on_the_same_pairs(stores) -> None:
    found = of(stores, "good", "ensemble", "again")
    times = STARTS[4:].to_numpy()
    assert not found["reference"][:3].any()
    assert found["reference"][3:].all()
    assert found["run"].values[3:].tolist() == ["persistence"]
    with open_statistics(stores["good"]) as ds:
        own = ds.sel(region="all", channel=CHANNELS, time=times)
        for system in ("persistence",):
            errors = own["squared_error"].sel(system=system).mean("time")
            theirs = found["rmse"].sel(run=system, channel=CHANNELS)
            np.testing.assert_allclose(theirs, np.sqrt(errors), rtol=1e-10)
        absolute = own["absolute_error"].sel(system="persistence").mean("time")
    np.testing.assert_allclose(found["crps"].sel(run="persistence", channel=CHANNELS), absolute)
    assert "references of good: persistence" in found.attrs["notes"]


def test_larger_errors_are_significant_and_equal_ones_are_not(stores) -> None:
    found = of(stores, "good", "bad", "again")
    bad, again = found.sel(run="bad"), found.sel(run="again")
    assert (bad["rmse_change_low"] > 0.1).all()
    assert (bad["rmse_change_low"] < bad["rmse_change"]).all()
    assert (bad["rmse_change"] < bad["rmse_change_high"]).all()
    assert (again["rmse_change"] == 0).all()
    assert not ((again["rmse_change_low"] > 0) | (again["rmse_change_high"] < 0)).any()
    assert np.isnan(found.sel(run="good")["rmse_change_low"]).all()


def test_ensembles_and_single_forecasts(stores) -> None:
    found = of(stores, "good", "ensemble")
    for name, statistic in (("good", "absolute_error"), ("ensemble", "fair_crps")):
        with open_statistics(stores[name]) as ds:
            own = ds[statistic].sel(system="forecast", region="all", channel=CHANNELS)
            wanted = own.mean("time").values
        np.testing.assert_allclose(found["crps"].sel(run=name, channel=CHANNELS), wanted)
    assert "CRPS of single forecasts is the mean absolute error: good" in found.attrs["notes"]


def test_fewer_starts_than_a_block_have_no_interval(stores) -> None:
    found = of(stores, "good", "few")
    assert np.isfinite(found["rmse_change"].sel(run="few")).all()
    assert np.isnan(found["rmse_change_low"]).all()
    assert "rmse: no interval for 9 of 9 changes: fewer than 10 pairs" in found.attrs["notes"]


def test_what_cannot_be_compared_is_refused(stores, tmp_path) -> None:
    with pytest.raises(RunError, match=r"no common initial time: 2019-01-10T\d\d:00 to .*"):
        of(stores, "good", "late")
    with pytest.raises(RunError, match=r"no common lead: (\w+) to \1, and \d+[hd] to \d+[hd];"):
        of(stores, "first_lead", "other_leads")
    with pytest.raises(RunError, match="good and one_channel have different channels") as caught:
        of(stores, "good", "one_channel")
    assert "name common ones, such as --channel 2m_temperature" in str(caught.value)
    found = of(stores, "good", "one_channel", channels=["2m_temperature"])
    assert found["channel"].values.tolist() == ["2m_temperature"]
    with pytest.raises(RunError, match="--channel: geopotential_500 is not in all of good, one_ch"):
        of(stores, "good", "one_channel", channels=["geopotential_500"])
    with pytest.raises(RunError, match="good and other_truth were scored against different truths"):
        of(stores, "good", "other_truth")
    with pytest.raises(RunError, match="no statistics of forecasts there"):
        compare({"good": stores["good"], "nothing": tmp_path / "statistics.zarr"})


def test_rounding_of_a_pair_without_error_is_no_other_truth(stores, tmp_path) -> None:
    paths = {}
    for name, share in (("good", 1e-7), ("copy", 3e-7)):
        paths[name] = Path(shutil.copytree(stores["good"], tmp_path / name / "statistics.zarr"))
        with open_statistics(paths[name]) as ds:
            place = ds["squared_error"].get_index("system").get_loc("persistence")
            axis = ds["squared_error"].dims.index("system")
        array = zarr.open_group(paths[name], mode="r+", use_consolidated=False)["squared_error"]
        values = np.moveaxis(array[...], axis, 0)
        values[place].flat[np.flatnonzero(np.isfinite(values[place]))[:5]] *= share
        array[...] = np.moveaxis(values, 0, axis)
        add_sums(paths[name])
    assert {"good", "copy"} <= set(compare(paths)["run"].values)


def test_other_truths_of_small_units_are_found(tmp_path) -> None:
    """Squared errors of humidity or vorticity are far below 1, as is every difference of them."""
    truth = make_truth(days=60)[["2m_temperature"]] * np.float32(1e-6)
    noise = np.random.default_rng(3).normal(0, 1e-7, truth["2m_temperature"].shape)
    stores = {}
    for name, factor in (("own", 0), ("other", 1)):
        ds = (truth + factor * noise).rename({"2m_temperature": "tracer"})
        ds["tracer"].attrs = {"units": "s-1"}
        ds.to_zarr(tmp_path / f"{name}.zarr", consolidated=False)
        forecasts = make_forecasts(make_truth(days=60), STARTS)[["2m_temperature"]] * 1e-6
        forecasts = forecasts.rename({"2m_temperature": "tracer"})
        forecasts["tracer"].attrs = {"units": "s-1"}
        path = write_weatherbench2(forecasts, tmp_path / f"forecasts_{name}.zarr")
        source, data = SourceConfig(path=str(path)), DataConfig(sources=[f"{tmp_path}/{name}.zarr"])
        SourceVerification.prepare(source, data, tmp_path / name).score()
        stores[name] = tmp_path / name / "statistics.zarr"
    with pytest.raises(RunError, match="own and other were scored against different truths"):
        compare(stores)
