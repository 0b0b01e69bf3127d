"""Changes of scores against references, with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.verification.significance import (
    rank_histogram_interval,
    score_changes,
    spread_skill_interval,
)
from gfrnn.pipeline.verification.statistics.ensemble_statistics import spread_skill_ratio
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


def ensemble(starts: int, members: int, seed: int = 2) -> xr.Dataset:
    """Return statistics of ensembles of 25 cells: with the right spread, and with half of it."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((1, 1, starts, 2, 25))
    drawn = rng.standard_normal((members, *truth.shape)) * np.array([1.0, 0.5])[:, None]
    dims = ("region", "channel", "time", "prediction_timedelta")
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = drawn.var(axis=0, ddof=1).mean(axis=-1)
    error = ((drawn.mean(axis=0) - truth) ** 2).mean(axis=-1)
    return xr.Dataset(
        {
            "squared_error": (("system", *dims), error[None]),
            "ensemble_variance": (dims, variance),
            "known": (dims[2:], np.ones((starts, 2))),
        },
        {"system": ["forecast"], "rank": np.arange(members + 1)},
    )


def test_the_interval_of_the_spread_skill_ratio_has_1_for_the_right_spread_only():
    ds = ensemble(300, 10)
    found = {name: values[0, 0] for name, (_, values, _) in spread_skill_interval(ds).items()}
    low, high = found["spread_skill_ratio_low"], found["spread_skill_ratio_high"]
    assert low[0] < 1 < high[0]
    assert high[1] < 0.75
    means = ds.mean("time")
    ratio = spread_skill_ratio(
        means["ensemble_variance"].values[0, 0], means["squared_error"].values[0, 0, 0], 10
    )
    assert (low < ratio).all()
    assert (ratio < high).all()
    assert (high - low < 0.1).all()


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize(("starts", "members"), [(5, 10), (300, 1)])
def test_the_spread_skill_ratio_of_few_pairs_or_one_member_has_no_interval(starts, members):
    for _, values, _ in spread_skill_interval(ensemble(starts, members)).values():
        assert np.isnan(values).all()


def ranks_of(ranks: np.ndarray, members: int) -> xr.Dataset:
    """Return statistics of ensembles with these ranks of the truth: shape (starts,)."""
    frequencies = np.eye(members + 1)[ranks].T[:, None, None, :, None]
    dims = ("rank", "region", "channel", "time", "prediction_timedelta")
    known = (("time", "prediction_timedelta"), np.ones((len(ranks), 1)))
    return xr.Dataset({"rank_histogram": (dims, frequencies), "known": known})


def rank_ends(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    found = rank_histogram_interval(ds)
    return tuple(found[f"rank_histogram_{end}"][1][:, 0, 0, 0] for end in ("low", "high"))


def test_intervals_of_a_rank_histogram_are_those_of_binomial_frequencies():
    # Independent ranks: a frequency p of n has the standard error sqrt(p (1 - p) / n).
    members, starts = 4, 400
    ranks = np.random.default_rng(0).integers(members + 1, size=starts)
    ds = ranks_of(ranks, members)
    low, high = rank_ends(ds)
    frequency = ds["rank_histogram"].mean("time").values.squeeze()
    assert (low < frequency).all()
    assert (frequency < high).all()
    expected = 2 * 1.96 * np.sqrt(frequency * (1 - frequency) / starts)
    np.testing.assert_allclose(high - low, expected, rtol=0.4)


def test_intervals_of_a_rank_histogram_are_wider_where_ranks_persist():
    # Each rank stays for ten initial times: a tenth of the pairs is independent.
    members, starts = 4, 400
    drawn = np.random.default_rng(1).integers(members + 1, size=starts // 10)
    low, high = rank_ends(ranks_of(np.repeat(drawn, 10), members))
    alone = rank_ends(ranks_of(np.random.default_rng(1).permutation(np.repeat(drawn, 10)), members))
    assert (high - low > 1.5 * (alone[1] - alone[0])).all()


def test_a_rank_histogram_of_few_pairs_has_no_interval():
    assert np.isnan(rank_ends(ranks_of(np.arange(5), 4))).all()


def test_ranks_that_are_not_known_have_no_interval():
    ds = ranks_of(np.random.default_rng(2).integers(4, size=50), 4)  # the fifth rank is never taken
    low, high = rank_ends(ds)
    assert np.isfinite(low[:4]).all()
    assert np.isnan([low[4], high[4]]).all()
    ds["rank_histogram"][..., 7, :] = np.nan  # a forecast that diverged
    assert np.isnan(rank_ends(ds)).all()
    ds["known"][7] = 0  # a forecast without a truth
    assert np.isfinite(rank_ends(ds)[0][:4]).all()
