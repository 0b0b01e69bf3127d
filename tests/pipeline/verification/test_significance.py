"""Changes of scores against references, with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.verification.significance import score_changes
from gfrnn.pipeline.verification.statistics.paired_bootstrap import paired_bootstrap

SYSTEMS = ["forecast", "linear", "climatology"]


def statistics(starts: int, seed: int = 0) -> xr.Dataset:
    """Return errors of a forecast that is better at the first lead and as good at the second."""
    rng = np.random.default_rng(seed)
    shape = (1, 2, starts, 2)  # regions, channels, initial times, leads
    linear = 2.0 + rng.gamma(4.0, size=shape)
    forecast = linear * np.array([0.8, 1.0]) + 0.3 * rng.standard_normal(shape)
    climatology = linear + 5.0
    squares = np.stack([forecast, linear, climatology])
    known = np.ones((starts, 2))
    known[-3:, 1] = 0
    squares[..., known == 0] = np.nan
    dims = ("system", "region", "channel", "time", "prediction_timedelta")
    return xr.Dataset(
        {
            "squared_error": (dims, squares),
            "absolute_error": (dims, np.sqrt(squares)),
            "known": (dims[3:], known),
        },
        {"system": SYSTEMS},
    )


def test_changes_are_those_of_the_means():
    ds = statistics(120)
    found = {name: values for name, (_, values, _) in score_changes(ds).items()}
    rmse = np.sqrt(np.nanmean(ds["squared_error"].values, axis=3))
    np.testing.assert_allclose(found["rmse_change"][1:], rmse[0] / rmse[1:] - 1, rtol=1e-12)
    mae = np.nanmean(ds["absolute_error"].values, axis=3)
    np.testing.assert_allclose(found["mae_change"][1:], mae[0] / mae[1:] - 1, rtol=1e-12)
    for values in found.values():
        assert np.isnan(values[0]).all()


def test_only_a_difference_is_significant():
    found = {name: values for name, (_, values, _) in score_changes(statistics(400)).items()}
    low, high = found["rmse_change_low"], found["rmse_change_high"]
    assert (high[1, ..., 0] < 0).all()
    assert (low[1, ..., 1] < 0).all()
    assert (high[1, ..., 1] > 0).all()
    assert (high[2] < 0).all()
    assert ((low < found["rmse_change"]) & (found["rmse_change"] < high))[1:].all()


def test_intervals_are_those_of_the_bootstrap():
    ds = statistics(90)
    found = {name: values for name, (_, values, _) in score_changes(ds).items()}
    ours, linear = ds["squared_error"].values[:2, 0, 1, :, 0]
    expected = paired_bootstrap([ours[:, None]], [linear[:, None]], np.sqrt, relative=True)
    assert found["rmse_change_low"][1, 0, 1, 0] == pytest.approx(expected.low[0], rel=1e-12)
    assert found["rmse_change_block"][1, 0, 1, 0] == expected.block_length[0]


@pytest.mark.parametrize("starts", [1, 4])
def test_few_pairs_have_no_interval(starts):
    found = {name: values for name, (_, values, _) in score_changes(statistics(starts)).items()}
    assert np.isnan(found["rmse_change_low"]).all()
    assert np.isfinite(found["rmse_change"][1:, ..., 0]).all()
