"""Contents of a run's folder for its report."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.forecasting.store_sums import check_sums, naming_damage
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.workflows.report.display_units import DisplayUnit, channel_unit, displayed_scores

Array = NDArray[Any]

# Channels that forecasters look at first.
_HEADLINE = ("geopotential_500", "temperature_850", "2m_temperature", "mean_sea_level_pressure")


def headline_rank(channel: str) -> int:
    """Return the place of a channel, by its name, among those that forecasters look at first."""
    return _HEADLINE.index(channel) if channel in _HEADLINE else len(_HEADLINE)


@dataclass(frozen=True)
class RunContents:
    """Model, forecasts and scores in the folder of a run, each opened once."""

    run: Run
    scores: xr.Dataset

    @classmethod
    def open(cls, run: Run) -> RunContents:
        """Open a run whose forecasts are verified.

        Raises
        ------
        RunError
            If there are no scores, or they belong to an earlier state of the run.
        """
        if not run.finished("verify") or not run.score_store.exists():
            raise RunError(f"{run.score_store}: no scores of this run; run `gfrnn verify` first")
        return cls(run, displayed_scores(open_scores(run.score_store)))

    @cached_property
    def score_subsets(self) -> xr.Dataset:
        """Scores of regions, seasons or months, and hours."""
        return displayed_scores(open_score_subsets(self.run.score_store))

    @cached_property
    def model(self) -> ForecastModel:
        """The trained model."""
        return ForecastModel.load(self.run.model)

    @cached_property
    def rollouts(self) -> xr.Dataset:
        """Initial times and leads of the forecasts, and what happened to them."""
        return self.run.rollouts()

    @cached_property
    def forecasts(self) -> xr.Dataset:
        """The store of forecasts, which exists unless no fields are kept."""
        check_sums(self.run.forecast_store)
        return open_forecasts(self.run.forecast_store)

    def reading_forecasts(self) -> AbstractContextManager[None]:
        """Return a context in which a damaged chunk of the forecasts raises a RunError."""
        return naming_damage(self.run.forecast_store)

    @cached_property
    def truth(self) -> Fields:
        """Fields of the data, in physical units."""
        return self.model.fields(self.run.ds).in_physical_units()

    @property
    def grid(self) -> Grid:
        """Grid of the model."""
        return self.model.layout.scaling.grid

    @property
    def simulated(self) -> list[dict[str, Any]]:
        """Global attributes of the sources that this project has simulated."""
        return [
            origin
            for origin in self.run.ds.attrs.get("origins", [])
            if str(origin.get("source", "")).startswith("gfrnn_core.systems")
        ]

    @property
    def calendar(self) -> bool:
        """Whether the data may have seasons and hours: not with a climatology without cycles."""
        cycles = self.run.experiment.climatology
        return (cycles.annual, cycles.diurnal) != (0, 0)

    @cached_property
    def channels(self) -> list[Channel]:
        """Channels that forecasters look at first, then the others in the order of the grid."""
        return sorted(self.grid.channels, key=lambda channel: headline_rank(channel.name))

    @property
    def leads(self) -> Array:
        """Leads of the scores, timedelta64 or integers (months): shape (leads,)."""
        return np.asarray(self.scores["prediction_timedelta"].values)

    def nearest(self, lead: int) -> int:
        """Return the index of the lead nearest to a number of days, of months for monthly data."""
        wanted = lead if self.model.step.monthly else np.timedelta64(lead, "D")
        return int(np.abs(self.leads - wanted).argmin())

    def rmse(self, channel: Channel, system: str, lead: int) -> float:
        """Return the RMSE of a system (``forecast`` or a reference) at a lead's index."""
        own = self.scores["rmse"].sel(channel=channel.name, system=system)
        return float(own.values[lead])

    def units(self, channel: Channel) -> str:
        """Return the units in which the errors of a channel are shown."""
        return str(self.scores["units"].sel(channel=channel.name).item())

    def display_unit(self, channel: Channel) -> DisplayUnit:
        """Return the unit in which a channel is shown, and the factor from the stored one."""
        return channel_unit(channel, self.run.ds)
