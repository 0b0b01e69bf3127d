"""Keys of an experiment about the solve, the choice of a model, and the forecasts."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import MOST, Section


class FitConfig(Section):
    """Settings of the regression for the outer weights, and of the choice of a model."""

    ridge: list[Annotated[float, Field(ge=1e-20, le=100)]] = Field(
        [float(f"{r:.3g}") for r in 10 ** np.arange(-8, 0.01, 0.25)],
        min_length=1,
        description="ridge strengths to try, in units of the largest singular value of R_ff",
    )
    widths: list[Annotated[int, Field(ge=0, le=MOST)]] = Field(
        [], description="numbers of hidden features to try; none means model.width alone"
    )
    without: list[Annotated[int, Field(ge=1, le=9999)]] = Field(
        [], description="training years whose rows are left out of the regression"
    )
    balance: list[Annotated[float, Field(ge=1e-6, le=1e6)]] = Field(
        [1.0],
        min_length=1,
        description="weights of hidden features relative to linear terms to try at each lead",
    )
    choice: Literal["validation", "years"] = Field(
        "validation",
        description="errors that decide: on the validation period, or on each year left out",
    )
    refit: Literal["none", "all"] = Field(
        "none", description="all: solve again, with the validation period, once all is chosen"
    )
    average: int = Field(
        1, gt=0, le=MOST, description="number of candidates that are averaged at each lead"
    )
    finalists: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="number of candidates with all features, the best of a first round; none: all",
    )
    first_width: int = Field(
        250,
        gt=0,
        le=MOST,
        description="number of hidden features of the candidates in the first round",
    )
    pool: int = Field(
        2000, ge=2, le=MOST, description="number of training states to draw pairs from"
    )
    rows: int | None = Field(None, gt=0, le=MOST, description="number of rows of a leaf")
    share: float = Field(1.0, ge=1e-6, le=1, description="share of rows that is used")
    calibration: bool = Field(
        True,
        description="damp the forecast at each lead by a regression on rollouts of the validation "
        "period",
    )

    @property
    def mixed(self) -> bool:
        """Whether rollouts of the validation period decide on the shares of averaged networks."""
        return self.average > 1 and self.calibration


class ForecastConfig(Section):
    """Initial times and length of the forecasts."""

    horizon: Duration = Duration.parse("10d")
    every: Duration | None = Field(None, description="time between initial times")
    batch: int = Field(32, gt=0, le=MOST, description="number of initial times of a task")
    members: int | None = Field(
        None, ge=2, le=1000, description="number of members of an ensemble; none: one forecast"
    )
    seed: int = Field(0, ge=0, description="seed of the draws of members")
    store: bool = Field(
        True, description="false: score forecasts while they are made and keep no fields"
    )
