"""A trained model, which is stored as zarr arrays and attributes and never pickled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.layouts import Layout, restore_layout
from gfrnn.pipeline.states.zonal_states import ZonalLayout
from gfrnn.pipeline.storage import array_in, write_whole
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.pipeline.training.network_arrays import (
    rebuild_network,
    rebuild_zonal_network,
    solved_arrays,
    solved_options,
)
from gfrnn_core import SampledRNN
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

Network = SampledRNN | ZonalNetwork

FORMAT = "gfrnn-model"
VERSION = 3


@dataclass(frozen=True)
class ForecastModel:
    """A trained model that forecasts fields from fields.

    Attributes
    ----------
    layout : EofLayout, LocalLayout or ZonalLayout
        Conversion between fields and states.
    networks : tuple of SampledRNN or ZonalNetwork
        The networks that are averaged; one of fewer modes than the layout uses the leading ones.
    mixture : ndarray, shape (networks, leads)
        Share of each network in the forecast at each lead with weights of its own; a lead between
        two of these uses the shares of the shorter.
    linear : SampledRNN or ZonalNetwork
        Reference model without hidden features, solved from the same triangle.
    lagged : ndarray, shape (leads + 1, ...)
        Covariance of the training states with those 0, 1, ... steps later, for damped
        persistence; its other dimensions depend on the layout.
    step : Duration
        Time step of the data.
    forcing : Forcing
        Inputs of the networks.
    selection : dict of ndarray
        Tried values and validation errors: ``ridges``, ``widths``, ``errors`` (widths, ridges,
        leads), ``linear_errors`` (ridges, leads), ``spectrum``. Of zonal networks: mean squared
        change and errors in a step, ``wavenumber_changes`` (wavenumbers), ``wavenumber_errors``
        (stages, wavenumbers), ``linear_wavenumber_errors`` (wavenumbers).
    notes : ModelNotes
        Record of the choice and origin of the model.
    """

    layout: Layout
    networks: tuple[Network, ...]
    mixture: Array
    linear: Network
    lagged: Array
    step: Duration
    forcing: Forcing
    selection: dict[str, Array]
    notes: ModelNotes

    @property
    def delays(self) -> int:
        """Number of successive states from which forecasts and references start."""
        return max(network.delays for network in (*self.networks, self.linear))

    def fields(self, ds: xr.Dataset) -> Fields:
        """Return the fields of a dataset, to be checked against the mask of the model."""
        return Fields(ds, self.layout.scaling.grid.mask)

    def rollout(self, history: Array, initial: Array, steps: int) -> Array:
        """Return the forecast: the weighted mean of the networks' rollouts at each lead.

        Parameters
        ----------
        history : ndarray, shape (starts, delays, size)
            States up to the initial time, oldest first.
        initial : ndarray of datetime64, shape (starts,)
            Initial times.
        steps : int
            Number of time steps to forecast.

        Returns
        -------
        ndarray, shape (starts, steps, size)
        """
        return np.stack([state for state, _ in self.walk(history, initial, steps)], axis=1)

    def walk(self, history: Array, initial: Array, steps: int) -> Iterator[tuple[Array, Array]]:
        """Yield the forecast lead by lead.

        The parameters are those of :meth:`rollout`; memory does not grow with ``steps``.

        Yields
        ------
        states : ndarray, shape (starts, size)
            A diverged forecast is NaN from then on.
        limited : ndarray, shape (starts,)
            Share of values that the bound of rollouts has limited at this step, the weighted mean
            of the networks.
        """
        own = np.asarray(self.linear.leads)
        walks = [self._walk(network, history, initial, steps) for network in self.networks]
        for lead in range(1, steps + 1):
            shares = self.mixture[:, np.searchsorted(own, lead, side="right") - 1]
            mixed: Array = np.zeros((len(history), self.layout.size))
            limited: Array = np.zeros(len(history))
            for walk, share in zip(walks, shares, strict=True):
                state, held = next(walk)
                if share:  # a diverged state is NaN even times 0
                    mixed += share * state
                    limited += share * held
            yield mixed, limited

    def linear_walk(
        self, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the forecast of the linear model lead by lead, as :meth:`walk` does."""
        yield from self._walk(self.linear, history, initial, steps)

    def inverse_walk(self, history: Array, steps: int) -> Iterator[Array]:
        """Yield the forecast of the linear inverse model lead by lead, shape (starts, size).

        One matrix, G = C(0)^-1 C(1) of the covariances of the training states at lags of 0 and 1
        steps, is applied again at each step (Penland and Sardeshmukh 1995, J. Climate 8, 1999).
        Only the layout ``eof`` has covariances of states.
        """
        propagator = np.linalg.lstsq(self.lagged[0], self.lagged[1])[0]
        state = history[:, -1]
        for _ in range(steps):
            state = state @ propagator
            yield state

    def _walk(
        self, network: Network, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        size = network.state_size

        def times(first: int) -> Iterator[Array]:
            return (self.step.after(initial, lead) for lead in range(first, steps + 1))

        given = (one for time in times(1) if (one := self.forcing(time)) is not None)
        inputs = given if self.forcing.count else None
        if isinstance(network, ZonalNetwork):
            climatology = self.layout.scaling.climatology
            terms = (climatology.design_matrix(time) for time in times(1 - network.delays))
            yield from network.walk(history[:, -network.delays :], steps, terms, inputs)
            return
        walk = network.walk(history[:, -network.delays :, :size], steps, inputs)
        for state, limited in walk:
            yield np.pad(state, ((0, 0), (0, self.layout.size - size))), limited

    def damping(self, lead: int) -> Array:
        """Return the autocorrelation of each grid cell at a lead in steps: shape (grid.size,).

        It is 0 for a cell that did not vary.
        """
        return self.layout.autocorrelation(self.lagged, lead)

    def save(self, path: Path) -> None:
        """Write the model; it appears under its name only when it is complete."""
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
                "layout": self.layout.attributes(),
                "step": str(self.step),
                "inputs": list(self.forcing.inputs),
                "static": list(self.forcing.static),
                "networks": [solved_options(network) for network in self.networks],
                "linear": solved_options(self.linear),
                "selection": list(self.selection),
                "notes": self.notes.as_attributes(),
            }
        )
        arrays = {
            "latitude": grid.latitude,
            "longitude": grid.longitude,
            "climatology": climatology.coefficients,
            "spread": climatology.std,
            "lagged": self.lagged,
            "mixture": self.mixture,
            **{f"layout/{name}": values for name, values in self.layout.arrays().items()},
            **{f"forcing/{name}": values for name, values in self.forcing.arrays().items()},
        }
        places = {f"networks/{index}": network for index, network in enumerate(self.networks)}
        for place, network in {**places, "linear": self.linear}.items():
            own = solved_arrays(network)
            arrays |= {f"{place}/{name}": values for name, values in own.items()}
        if grid.mask is not None:
            arrays["mask"] = grid.mask
        arrays |= {f"selection/{name}": values for name, values in self.selection.items()}
        for name, values in arrays.items():
            group.create_array(name, data=np.asarray(values))

    @classmethod
    def load(cls, path: Path) -> ForecastModel:
        """Read a model; nothing in it is executed.

        Raises
        ------
        RunError
            If there is no model, its format or version differs, or it is damaged.
        """
        try:
            return cls._load(path)
        except FileNotFoundError:
            raise RunError(f"{path}: no trained model there; run `gfrnn fit` first") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{path}: is damaged, or written by another version ({type(error).__name__}: "
                f"{error}); fit the model again"
            ) from error

    @classmethod
    def _load(cls, path: Path) -> ForecastModel:
        group = zarr.open_group(path, mode="r")
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

        def part(name: str) -> dict[str, Array]:
            there = group.get(name)
            names = there.array_keys() if isinstance(there, zarr.Group) else ()
            return {each: array(f"{name}/{each}") for each in names}

        layout = restore_layout(attrs["layout"], grid, climatology, part("layout"))

        def network(place: str, options: dict[str, Any]) -> Network:
            own = part(place)
            if isinstance(layout, ZonalLayout):
                return rebuild_zonal_network(options, own, layout.basis)
            return replace(rebuild_network(options, own), outer=own["outer"])

        return cls(
            layout=layout,
            networks=tuple(
                network(f"networks/{index}", options)
                for index, options in enumerate(attrs["networks"])
            ),
            mixture=array("mixture"),
            linear=network("linear", attrs["linear"]),
            lagged=array("lagged"),
            step=Duration.parse(attrs["step"]),
            forcing=Forcing.from_arrays(attrs["inputs"], attrs["static"], part("forcing")),
            selection={name: array(f"selection/{name}") for name in attrs["selection"]},
            notes=ModelNotes.parse(attrs["notes"]),
        )

    @property
    def leads(self) -> list[Duration]:
        """Leads that have outer weights of their own."""
        return [self.step * lead for lead in self.linear.leads]
