"""A trained model: what it takes to forecast, as zarr arrays and attributes, never pickled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn_core import SampledRNN
from pipeline.errors import RunError
from pipeline.fields import Fields, Grid
from pipeline.harmonics import calendar_inputs
from pipeline.networks import network_arrays, network_options, rebuild_network
from pipeline.sources import Channel
from pipeline.state import Climatology, EofLayout, Scaling
from pipeline.storage import array_in, write_whole

Array = NDArray[Any]

FORMAT = "gfrnn-model"
VERSION = 1

# Of a standard deviation, what rounding leaves of one that is zero.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class ForecastModel:
    """Fields in, fields out.

    Attributes
    ----------
    layout : EofLayout
        Fields <-> states.
    networks : tuple of SampledRNN
        A network of fewer modes than the layout works on the leading ones.
    mixture : ndarray, shape (networks, leads)
        Share of each network in the forecast at each of the leads with weights of their own; a
        lead between two of them uses the shares of the shorter.
    linear : SampledRNN
        The model without hidden features, from the same triangle: a reference.
    lagged : ndarray, shape (leads + 1, modes, modes)
        Covariance of the training states with those some steps later: damped persistence.
    step : numpy.timedelta64
    inputs : tuple of str
        Calendar inputs.
    selection : dict of ndarray
        How ridge and width were chosen: ``ridges``, ``widths``, ``errors`` (widths, ridges,
        leads), ``linear_errors`` (ridges, leads), ``spectrum``.
    notes : dict
        What was chosen and searched, in plain values.
    """

    layout: EofLayout
    networks: tuple[SampledRNN, ...]
    mixture: Array
    linear: SampledRNN
    lagged: Array
    step: np.timedelta64
    inputs: tuple[str, ...]
    selection: dict[str, Array]
    notes: dict[str, Any]

    @property
    def delays(self) -> int:
        """Successive states that forecasts and references start from."""
        return max(network.delays for network in (*self.networks, self.linear))

    def fields(self, ds: xr.Dataset) -> Fields:
        """Data as the model reads them, held against its mask."""
        return Fields(ds, self.layout.scaling.grid.mask)

    def rollout(self, history: Array, initial: Array, steps: int) -> Array:
        """The forecast: the networks' rollouts, mixed at each lead.

        Parameters
        ----------
        history : ndarray, shape (starts, delays, modes)
            States up to the initial time, oldest first.
        initial : ndarray of datetime64, shape (starts,)
        steps : int

        Returns
        -------
        ndarray, shape (starts, steps, modes)
        """
        own = np.asarray(self.linear.leads)
        shares = self.mixture[:, np.searchsorted(own, np.arange(1, steps + 1), side="right") - 1]
        mixed: Array = np.zeros((len(history), steps, self.layout.modes))
        for network, share in zip(self.networks, shares, strict=True):
            mixed += share[:, None] * self._rollout(network, history, initial, steps)
        return mixed

    def linear_rollout(self, history: Array, initial: Array, steps: int) -> Array:
        """The same of the linear model."""
        return self._rollout(self.linear, history, initial, steps)

    def _rollout(self, network: SampledRNN, history: Array, initial: Array, steps: int) -> Array:
        later = initial[:, None] + self.step * np.arange(1, steps + 1)
        inputs = calendar_inputs(later.reshape(-1), self.inputs)
        if inputs is not None:
            inputs = inputs.reshape(len(initial), steps, -1)
        modes = _modes(network)
        states = network.rollout(history[:, -network.delays :, :modes], steps, inputs)
        return np.pad(states, ((0, 0), (0, 0), (0, self.layout.modes - modes)))

    def damping(self, lead: int) -> Array:
        """Autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        From the EOFs: the lagged covariance of a cell is ``v^T A_lead v`` with v its column of
        the EOFs. A cell that did not vary has none: 0.
        """
        variance, later = self._variance, self._covariance(lead)
        # Rounding alone leaves a variance that is not quite zero.
        varies = variance > _ROUNDING**2 * variance.max()
        return np.divide(later, variance, out=np.zeros_like(later), where=varies)

    @cached_property
    def _variance(self) -> Array:
        return self._covariance(0)

    def _covariance(self, lead: int) -> Array:
        vectors = self.layout.vectors
        return np.asarray(np.einsum("kg,kg->g", vectors, self.lagged[lead] @ vectors))

    def save(self, path: Path) -> None:
        """Write the model; it appears under its name only when it is whole."""
        write_whole(path, self._write)

    def _write(self, path: Path) -> None:
        group = zarr.create_group(path)
        scaling, climatology = self.layout.scaling, self.layout.scaling.climatology
        grid = scaling.grid
        group.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "channels": [[channel.variable, channel.level] for channel in grid.channels],
                "annual": climatology.annual,
                "diurnal": climatology.diurnal,
                "total": self.layout.total,
                "times": self.layout.times,
                "step_seconds": int(self.step / np.timedelta64(1, "s")),
                "inputs": list(self.inputs),
                "networks": [network_options(network) for network in self.networks],
                "linear": network_options(self.linear),
                "selection": list(self.selection),
                "notes": self.notes,
            }
        )
        arrays = {
            "latitude": grid.latitude,
            "longitude": grid.longitude,
            "climatology": climatology.coefficients,
            "spread": climatology.spread,
            "eofs": self.layout.vectors,
            "singular_values": self.layout.singular_values,
            "lagged": self.lagged,
            "mixture": self.mixture,
        }
        places = {f"networks/{index}": network for index, network in enumerate(self.networks)}
        for place, network in {**places, "linear": self.linear}.items():
            own = {"outer": np.asarray(network.outer), **network_arrays(network)}
            arrays |= {f"{place}/{name}": values for name, values in own.items()}
        if grid.mask is not None:
            arrays["mask"] = grid.mask
        arrays |= {f"selection/{name}": values for name, values in self.selection.items()}
        for name, values in arrays.items():
            group.create_array(name, data=np.asarray(values))

    @classmethod
    def load(cls, path: Path) -> ForecastModel:
        """Read a model. Nothing in it is executed.

        Raises
        ------
        RunError
            If there is no model, or one of another format.
        """
        try:
            group = zarr.open_group(path, mode="r")
        except FileNotFoundError:
            raise RunError(f"{path}: no trained model there; run `gfrnn fit` first") from None
        attrs: dict[str, Any] = dict(group.attrs)
        if attrs.get("format") != FORMAT or attrs.get("version") != VERSION:
            raise RunError(
                f"{path}: format {attrs.get('format')!r} version {attrs.get('version')!r}, but "
                f"this program reads {FORMAT!r} version {VERSION}; fit the model again"
            )

        def array(name: str) -> Array:
            return np.asarray(array_in(group, name)[...])

        grid = Grid(
            tuple(Channel(variable, level) for variable, level in attrs["channels"]),
            array("latitude"),
            array("longitude"),
            array("mask") if "mask" in group else None,
        )
        climatology = Climatology(
            attrs["annual"], attrs["diurnal"], array("climatology"), array("spread")
        )
        layout = EofLayout(
            Scaling(grid, climatology),
            array("eofs"),
            array("singular_values"),
            attrs["total"],
            attrs["times"],
        )

        def network(place: str, options: dict[str, Any]) -> SampledRNN:
            outer = array(f"{place}/outer")
            names = ("weights", "biases", "groups")
            own = {name: array(f"{place}/{name}") for name in names if f"{place}/{name}" in group}
            return replace(rebuild_network(options, own), outer=outer)

        return cls(
            layout=layout,
            networks=tuple(
                network(f"networks/{index}", options)
                for index, options in enumerate(attrs["networks"])
            ),
            mixture=array("mixture"),
            linear=network("linear", attrs["linear"]),
            lagged=array("lagged"),
            step=np.timedelta64(attrs["step_seconds"], "s").astype("timedelta64[ns]"),
            inputs=tuple(attrs["inputs"]),
            selection={name: array(f"selection/{name}") for name in attrs["selection"]},
            notes=attrs["notes"],
        )

    @property
    def leads(self) -> list[pd.Timedelta]:
        """Leads with outer weights of their own."""
        return [pd.Timedelta(self.step) * lead for lead in self.linear.leads]


def _modes(network: SampledRNN) -> int:
    """Length of a network's state."""
    assert network.outer is not None, "a model holds solved networks only"
    return int(network.outer.shape[2])
