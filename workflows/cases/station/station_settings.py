"""Settings of a station: its data, network and leads."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Period, Section
from gfrnn.workflows.cases.station.station_model import StationPredictors


class StationData(Section):
    """File of a station, and the periods of training, validation and test."""

    path: str
    train: Period
    validation: tuple[Period, ...] = Field(min_length=1)
    test: Period


class StationNetwork(Section):
    """Settings of the hidden layer and of its predictors, see :class:`StationPredictors`."""

    width: PositiveInt
    scale: PositiveFloat
    lags: tuple[NonNegativeInt, ...] = Field(min_length=1)
    means: tuple[PositiveInt, ...]
    decay: NonNegativeFloat
    mean_weight: NonNegativeFloat
    calendar_weight: NonNegativeFloat
    annual: NonNegativeInt
    diurnal: NonNegativeInt

    @property
    def predictors(self) -> StationPredictors:
        """Predictors of the network."""
        return StationPredictors(**self.model_dump(exclude={"width", "scale"}))

    @property
    def linear_predictors(self) -> StationPredictors:
        """Predictors of the linear model: the last 24 hours, and the harmonics of the network."""
        return StationPredictors(tuple(range(24)), (), annual=self.annual, diurnal=self.diurnal)


class LeadSettings(Section):
    """Lead and the regularisation of its outer weights.

    Attributes
    ----------
    hours : int
        Lead in hours.
    ridge : float
        Ridge relative to the largest singular value.
    balance : float
        Factor on the hidden features, to which the same ridge applies as to the others.
    """

    hours: PositiveInt
    ridge: PositiveFloat
    balance: PositiveFloat


class StationLeads(Section):
    """Leads by name; leads that are null are not forecast."""

    hour: LeadSettings | None = None
    day: LeadSettings | None = None
    two_days: LeadSettings | None = None
    week: LeadSettings | None = None

    @property
    def named(self) -> dict[str, LeadSettings]:
        """Settings of the leads that are forecast, by name."""
        every = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: lead for name, lead in every.items() if lead is not None}

    @property
    def hours(self) -> tuple[int, ...]:
        """Leads that are forecast, in hours."""
        return tuple(lead.hours for lead in self.named.values())

    @property
    def ridges(self) -> list[float]:
        """Ridge of each lead."""
        return [lead.ridge for lead in self.named.values()]

    @property
    def balances(self) -> list[float]:
        """Balance of each lead."""
        return [lead.balance for lead in self.named.values()]


class StationSettings(Section):
    """Settings of one station."""

    data: StationData
    network: StationNetwork
    leads: StationLeads
