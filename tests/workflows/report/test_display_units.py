"""Test the units in which scores and fields are shown: heights in dam, pressure in hPa."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.workflows.report.display_units import channel_unit, display_unit, displayed_scores
from gfrnn.workflows.report.run_contents import RunContents

CHANNELS = ["geopotential_500", "mean_sea_level_pressure", "temperature_850"]


def scores() -> xr.Dataset:
    """Return scores of three channels at two leads, of an index and of an event."""
    coords = {
        "channel": CHANNELS,
        "units": ("channel", ["m2 s-2", "Pa", "K"]),
        "index": ["low"],
        "index_channel": ("index", ["mean_sea_level_pressure"]),
        "index_units": ("index", ["Pa"]),
        "event": ["mean_sea_level_pressure >= 100000"],
        "event_channel": ("event", ["mean_sea_level_pressure"]),
        "threshold": ("event", [1e5]),
    }
    each = xr.DataArray(np.full((3, 2), 980.665), dims=("channel", "prediction_timedelta"))
    power = xr.DataArray(np.full((4, 3), 980.665**2), dims=("wavenumber", "channel"))
    variables = {"rmse": each, "acc": each, "rmse_change": each, "truth_power": power}
    variables["index_rmse"] = xr.DataArray(np.full(1, 250.0), dims="index")
    return xr.Dataset(variables, coords)


def test_scores_are_converted_and_shares_are_not():
    found = displayed_scores(scores())
    assert found["units"].values.tolist() == ["dam", "hPa", "K"]
    # 980.665 m2 s-2 are 100 m, which are 10 dam.
    np.testing.assert_allclose(found["rmse"].isel(prediction_timedelta=0), [10, 9.80665, 980.665])
    np.testing.assert_allclose(found["truth_power"].isel(wavenumber=0) ** 0.5,
                               [10, 9.80665, 980.665])  # fmt: skip
    assert found["truth_power"].dims == ("wavenumber", "channel")
    assert found["index_units"].item() == "hPa"
    assert found["index_rmse"].item() == 2.5
    assert found["threshold"].item() == 1000
    for name in ("acc", "rmse_change"):
        xr.testing.assert_equal(found[name].variable, scores()[name].variable)
    xr.testing.assert_identical(displayed_scores(found), found)


def test_one_channel_has_the_unit_of_all():
    assert display_unit("geopotential", "m2 s-2") == display_unit("geopotential_500", "m2 s-2")
    assert display_unit("convective_available_potential_energy", "m2 s-2") == ("m2 s-2", 1.0)


def test_scores_of_a_run_are_converted_once(finished):
    stored = open_scores(finished.score_store)
    contents = RunContents.open(finished)
    msl = {"channel": "mean_sea_level_pressure"}
    np.testing.assert_allclose(contents.scores["rmse"].sel(msl), stored["rmse"].sel(msl) / 100)
    subsets = open_score_subsets(finished.score_store)
    np.testing.assert_allclose(
        contents.score_subsets["bias"].sel(msl), subsets["bias"].sel(msl) / 100
    )
    assert contents.units(Channel("mean_sea_level_pressure")) == "hPa"
    assert channel_unit(Channel("mean_sea_level_pressure"), finished.ds).factor == 0.01
    assert contents.units(Channel("2m_temperature")) == "K"
    with pytest.raises(KeyError):
        contents.units(Channel("geopotential", 500))
