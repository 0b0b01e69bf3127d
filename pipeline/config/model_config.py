"""Keys of an experiment about its network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import MOST, Section

WIDTH, WIDTH_OF_POINT = 1000, 16
"""Numbers of hidden features by default: of a state or patch, and of a grid point."""

_MOST_NOISE = 1e6


class ModelConfig(Section):
    """The sampled recurrent network."""

    width: int = Field(
        WIDTH,
        ge=0,
        le=MOST,
        description="number of hidden features; 0 is the linear model. In the zonal layout: of "
        "sampled features at a grid point, advection not counted; default 16, or 0 with advection "
        "alone",
    )
    features: list[Literal["advection", "products", "tanh", "relu"]] = Field(
        [],
        description="kinds of features, computed on the grid; default: advection in the zonal "
        "layout, none elsewhere",
    )
    products: int = Field(
        WIDTH_OF_POINT,
        gt=0,
        le=1000,
        description="number of products of a cell in the local layout",
    )
    wind: Literal["geostrophic", "components"] | None = Field(
        None,
        description="wind of advection: of the geopotential, or the wind components; default: the "
        "components where the data have them",
    )
    stages: int = Field(
        1, gt=0, le=1000, description="number of stages, each of which corrects the one before"
    )
    hidden_delays: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="number of latest states that hidden features use; default: all",
    )
    hidden_modes: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="number of leading EOFs that hidden features use; default: all",
    )
    activation: Literal["tanh", "relu"] = "tanh"
    hidden_inputs: list[Literal["state", "linear"]] = Field(
        ["state"],
        min_length=1,
        description="what hidden features see: states, and the linear model's next state",
    )
    sampling: Literal["pairs", "uniform_pairs", "normal", "centres", "quadratic"] = "normal"
    scale: float | None = Field(
        None,
        ge=1e-9,
        le=1e9,
        description="standard deviation of normal weights or factor of quadratic features, "
        "default 0.15, or relative length of features around centres, default 1",
    )
    target: Literal["state", "increment"] = "state"
    leads: list[Duration] = Field(
        [], description="leads with their own outer weights, besides one step"
    )
    combine_leads: Literal["mean", "longest"] = Field(
        "mean",
        description="how predictions of several leads make a forecast: half the longest and half "
        "the mean of the shorter ones, or the longest alone",
    )
    inputs: list[Literal["day_of_year", "hour", "insolation"]] = Field(
        [], description="inputs from the calendar and, for each place, the insolation"
    )
    joint_inputs: bool | None = Field(
        None, description="whether hidden features see the inputs; default: with patches only"
    )
    season_terms: bool = Field(
        False, description="whether linear terms depend on the season: state times cos and sin"
    )
    noise: float | Literal["residual"] = Field(
        0.0,
        description="standard deviation of noise on input states; in the zonal layout relative to "
        "the changes in a step; residual: the spectrum of the model's own errors in a step",
    )
    noise_factor: float = Field(
        2.0,
        gt=0,
        le=1e6,
        description="factor on the model's own errors with noise: residual",
    )
    bound: float | None = Field(
        None,
        gt=1,
        le=1e6,
        description="multiple of its root mean square in training at which a rollout is held",
    )
    precision: Literal["float64", "float32"] = Field(
        "float64", description="precision of rows, of products with them, and of rollouts"
    )
    seed: int = Field(0, ge=0, description="seed of the hidden weights")

    @model_validator(mode="after")
    def _factor_of_residual_noise(self) -> ModelConfig:
        if (
            self.noise != "residual"
            and self.noise_factor != type(self).model_fields["noise_factor"].default
        ):
            raise ValueError(
                f"model.noise_factor: {self.noise_factor:g} is allowed with model.noise: residual "
                f"only, but the noise is {self.noise}; leave the key out"
            )
        return self

    @field_validator("leads")
    @classmethod
    def _sorted(cls, value: list[Duration]) -> list[Duration]:
        if len(set(value)) != len(value):
            raise ValueError("the same lead is given twice; give each lead once")
        return sorted(value)

    @field_validator("hidden_inputs")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError(f"{value} names an input twice; give each once")
        return value

    @field_validator("noise", mode="before")
    @classmethod
    def _number_or_residual(cls, value: Any) -> Any:
        if value == "residual":
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not 0 <= number <= _MOST_NOISE:
            raise ValueError(
                f"{value!r} is not allowed; give a number from 0 to {_MOST_NOISE:g}, or residual"
            )
        return number

    @model_validator(mode="after")
    def _activation_that_applies(self) -> ModelConfig:
        kinds = {"centres": "Gaussian", "quadratic": "squares"}
        if self.sampling in kinds and self.activation != "tanh":
            raise ValueError(
                f"model.activation: {self.activation} does not apply to model.sampling: "
                f"{self.sampling}, whose features are {kinds[self.sampling]}; leave "
                "model.activation out"
            )
        return self

    @property
    def hidden_scale(self) -> float:
        """Scale of the hidden weights, also where the key has no value."""
        return self.scale or (1.0 if self.sampling == "centres" else 0.15)

    @model_validator(mode="after")
    def _inputs_in_use(self) -> ModelConfig:
        if self.joint_inputs and not self.inputs:
            raise ValueError(
                "model.joint_inputs: true, but model.inputs is empty; list inputs, for example "
                "inputs: [day_of_year], or leave model.joint_inputs out"
            )
        if self.season_terms and "day_of_year" not in self.inputs:
            raise ValueError(
                f"model.season_terms: needs day_of_year among model.inputs, found {self.inputs}; "
                "add it, or leave model.season_terms out"
            )
        return self
