"""Test which times of the truth make a climatology, and of how many harmonics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.config.durations import month_middles
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.verification.sources.truth_climatology import climatology_periods, terms


def days(first: str, last: str) -> np.ndarray:
    """Return the days from the first until before the last."""
    return np.arange(first, last, dtype="M8[D]").astype("M8[ns]")


def truth(*parts: np.ndarray) -> Any:
    return SimpleNamespace(time=np.concatenate(parts))


def chosen(fields: Any, valid: np.ndarray, period: Period | None = None) -> list[str]:
    return [str(each) for each in climatology_periods(fields, valid[0], valid, period)]


def test_half_of_the_year_is_no_climatology_of_the_other() -> None:
    fields = truth(days("2017-01-01", "2020-08-01"))
    valid = days("2017-07-01", "2020-01-01")
    assert chosen(fields, valid) == []
    # The same times for forecasts of their own months.
    assert len(chosen(fields, days("2017-07-01", "2017-08-01"))) == 2


def test_months_without_times_are_named_and_few_times_have_fewer_harmonics() -> None:
    valid = days("2018-07-01", "2019-01-01")
    years = [days(f"{year}-01-01", f"{year}-07-01") for year in range(2016, 2019)]
    period = Period.model_validate(["2015-01-01", "2018-06-30"])
    with pytest.raises(ConfigError, match="in the calendar months 7, 8, 9, 10, 11, 12, for which"):
        chosen(truth(*years, valid), valid, period)
    few = [days(f"2015-{month:02}-01", f"2015-{month:02}-03") for month in range(7, 13)]
    fields = truth(*few, *years, valid)
    assert len(chosen(fields, valid, period)) == 1
    assert terms(fields, [period], valid) == (1, 0)


@pytest.mark.parametrize(("length", "annual"), [(365, 2), (330, 2), (290, 1)])
def test_harmonics_are_those_that_the_times_determine(length: int, annual: int) -> None:
    fields = truth(days("2017-01-01", "2019-01-01"))
    end = np.datetime64("2017-01-01") + length
    period = Period.model_validate(["2017-01-01", str(end)])
    assert terms(fields, [period], days("2018-01-01", "2019-01-01")) == (annual, 0)


def test_months_have_a_mean_each() -> None:
    fields = truth(month_middles(np.arange("2010-01", "2013-01", dtype="M8[M]")))
    valid = fields.time[24:]
    (period,) = climatology_periods(fields, valid[0], valid, None)
    assert terms(fields, [period], valid) == ("month", 0)
