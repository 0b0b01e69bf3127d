"""A trained model, which is stored as zarr arrays and attributes and never pickled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
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
from gfrnn.pipeline.reduction.checkpoints import content_digest, content_key
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.layouts import Layout, restore_layout
from gfrnn.pipeline.states.zonal_states import ZonalLayout
from gfrnn.pipeline.storage import array_in, write_whole
from gfrnn.pipeline.training.calibration.network_rollouts import (
    Network,
    NetworkRollouts,
    calibrated,
)
from gfrnn.pipeline.training.ensembles.error_archive import ErrorArchive
from gfrnn.pipeline.training.model_checks.consistency import (
    check_fields,
    check_layout,
    check_model,
    check_numbers,
)
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.pipeline.training.network_arrays import (
    rebuild_network,
    rebuild_zonal_network,
    solved_arrays,
    solved_options,
)
from gfrnn.pipeline.untrusted_store import UntrustedStoreError, check_store

Array = NDArray[Any]

ERRORS = "errors"
"""Name of the group with the errors of forecasts of held-out data."""

FORMAT = "gfrnn-model"
VERSION = 3

SUMS, ATTRIBUTES = "sha256", "attributes"
"""Attribute with the sum of each array, and the name of the sum of the other attributes."""

# What to do about a damaged model.
_AGAIN = (
    "restore it from a copy, or remove it and fit the model again: `gfrnn fit` makes it from its "
    "checkpoints (a model of another command by that command)"
)

DAMPING_BYTES = 2**26
"""Bytes of the factors of damped persistence that a model keeps in memory."""


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
    quadratic : SampledRNN or None
        Reference network of quadratic features, the best candidate with
        ``model.sampling: quadratic``; None without one, or if the forecast is this network.
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
    calibration, linear_calibration, quadratic_calibration : ndarray or None
        Factors of the forecasts and of the reference networks at each lead, for each of the
        layout's ``regression_groups``, shape (leads, groups); the last ones also apply to later
        leads. None does without.
    errors : ErrorArchive or None
        Errors of forecasts of held-out data, for ensembles.
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
    calibration: Array | None = None
    linear_calibration: Array | None = None
    quadratic: Network | None = None
    quadratic_calibration: Array | None = None
    errors: ErrorArchive | None = None

    def __repr__(self) -> str:
        grid, count = self.layout.scaling.grid, len(self.networks)
        networks = "1 network" if count == 1 else f"{count} networks"
        return (
            f"<ForecastModel: {', '.join(channel.name for channel in grid.channels)} on "
            f"{len(grid.latitude)} x {len(grid.longitude)} points, step {self.step}, {networks} of "
            f"{self.notes.width} hidden features>"
        )

    @property
    def rollouts(self) -> NetworkRollouts:
        """Rollouts of the networks, before the calibration."""
        return NetworkRollouts(
            self.layout,
            self.networks,
            self.mixture,
            self.linear,
            self.step,
            self.forcing,
            self.quadratic,
        )

    @property
    def delays(self) -> int:
        """Number of successive states from which forecasts and references start."""
        return self.rollouts.delays

    def fields(self, ds: xr.Dataset) -> Fields:
        """Return the fields of a dataset, to be checked against the mask of the model."""
        return Fields(ds, self.layout.scaling.grid.mask)

    def rollout(self, history: Array, initial: Array, steps: int) -> Array:
        """Return the forecast at all leads.

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
        """Yield the forecast lead by lead: the mean of the networks' rollouts, calibrated.

        Rollouts continue from the states before the calibration. The parameters are those of
        :meth:`rollout`; memory does not grow with ``steps``.

        Yields
        ------
        states : ndarray, shape (starts, size)
            A diverged forecast is NaN from then on.
        limited : ndarray, shape (starts,)
            Share of values that the bound of rollouts has limited at this step, the weighted mean
            of the networks.
        """
        walk = self.rollouts.walk(history, initial, steps)
        yield from calibrated(walk, self.calibration, self.layout)

    def linear_walk(
        self, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the forecast of the linear model lead by lead, as :meth:`walk` does."""
        walk = self.rollouts.reference_walk("linear", history, initial, steps)
        yield from calibrated(walk, self.linear_calibration, self.layout)

    def quadratic_walk(
        self, history: Array, initial: Array, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the forecast of the quadratic reference lead by lead, as :meth:`walk` does."""
        walk = self.rollouts.reference_walk("quadratic", history, initial, steps)
        yield from calibrated(walk, self.quadratic_calibration, self.layout)

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

    def damping(self, lead: int) -> Array:
        """Return the autocorrelation of each grid cell at a lead in steps: shape (grid.size,).

        It is 0 for a cell that did not vary. Beyond the last lag whose covariance a fit has
        computed, it decays exponentially at the mean rate up to that lag. Those of the first leads
        are kept in memory.
        """
        found = self._dampings.get(lead)
        if found is None:
            last = len(self.lagged) - 1
            found = self.layout.autocorrelation(self.lagged, min(lead, last))
            if lead > last:
                found = np.clip(found, 0.0, 1.0) ** (lead / last)
            if (len(self._dampings) + 1) * found.nbytes <= DAMPING_BYTES:
                self._dampings[lead] = found
        return found

    @cached_property
    def _dampings(self) -> dict[int, Array]:
        return {}

    def save(self, path: Path) -> None:
        """Write the model; it appears under its name only when it is complete."""
        write_whole(path, self._write)

    def _write(self, path: Path) -> None:
        group = zarr.create_group(path)
        scaling, climatology = self.layout.scaling, self.layout.scaling.climatology
        grid, references = scaling.grid, self.rollouts.references
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
                **{name: solved_options(network) for name, network in references.items()},
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
        for place, network in (places | references).items():
            own = solved_arrays(network)
            arrays |= {f"{place}/{name}": values for name, values in own.items()}
        optional = {
            "mask": grid.mask,
            "calibration": self.calibration,
            "linear_calibration": self.linear_calibration,
            "quadratic_calibration": self.quadratic_calibration,
        }
        arrays |= {name: values for name, values in optional.items() if values is not None}
        arrays |= {f"selection/{name}": values for name, values in self.selection.items()}
        for name, values in arrays.items():
            group.create_array(name, data=np.asarray(values))
        stored = dict(zarr.open_group(path, mode="r", use_consolidated=False).attrs)
        sums = {name: content_digest(np.asarray(values)) for name, values in arrays.items()}
        group.attrs[SUMS] = sums | {ATTRIBUTES: content_key(stored)}
        if self.errors is not None:
            self.errors.copy(path / ERRORS)

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
        except UntrustedStoreError as error:
            raise RunError(
                f"{path}: is damaged, or not written by this program: {error}; {_AGAIN}"
            ) from None
        except RunError:
            raise
        except Exception as error:  # the store may be anybody's
            raise RunError(
                f"{path}: is damaged, or written by another version ({type(error).__name__}: "
                f"{error}); {_AGAIN}"
            ) from error

    @classmethod
    def _load(cls, path: Path) -> ForecastModel:
        check_store(path)
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
        attrs: dict[str, Any] = dict(group.attrs)
        if attrs.get("format") != FORMAT or attrs.get("version") != VERSION:
            raise RunError(
                f"{path}: format {attrs.get('format')!r} version {attrs.get('version')!r}, but "
                f"this program reads {FORMAT!r} version {VERSION}; fit the model again"
            )

        sums: dict[str, str] = attrs.pop(SUMS, {})  # models of earlier versions have none
        if sums and content_key(attrs) != sums.get(ATTRIBUTES):
            raise _damaged(path, "its attributes were changed")
        if lost := [name for name in sums if name != ATTRIBUTES and name not in group]:
            raise _damaged(path, f"the array {lost[0]} is missing")

        def array(name: str) -> Array:
            values = np.asarray(array_in(group, name)[...])
            # Zarr reads a missing chunk as zeros without an error.
            if sums and content_digest(values) != sums.get(name):
                raise _damaged(path, f"the array {name} was changed")
            check_numbers(name, values)
            return values

        def optional(name: str) -> Array | None:
            return array(name) if name in group else None

        grid = Grid(
            tuple(Channel(variable, level) for variable, level in attrs["channels"]),
            array("latitude"),
            array("longitude"),
            optional("mask"),
        )
        climatology = Climatology(
            attrs["annual"], attrs["diurnal"], array("climatology"), array("spread")
        )

        def part(name: str) -> dict[str, Array]:
            there = group.get(name)
            names = there.array_keys() if isinstance(there, zarr.Group) else ()
            return {each: array(f"{name}/{each}") for each in names}

        check_fields(grid, climatology)
        layout = restore_layout(attrs["layout"], grid, climatology, part("layout"))
        check_layout(layout)

        def network(place: str, options: dict[str, Any]) -> Network:
            own = part(place)
            if isinstance(layout, ZonalLayout):
                return rebuild_zonal_network(options, own, layout.basis)
            return replace(rebuild_network(options, own), outer=own["outer"])

        errors = ErrorArchive(path / ERRORS) if ERRORS in group else None
        if errors is not None:
            errors.check()
        model = cls(
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
            calibration=optional("calibration"),
            linear_calibration=optional("linear_calibration"),
            quadratic=network("quadratic", attrs["quadratic"]) if "quadratic" in attrs else None,
            quadratic_calibration=optional("quadratic_calibration"),
            errors=errors,
        )
        check_model(model)
        return model

    @property
    def leads(self) -> list[Duration]:
        """Leads that have outer weights of their own."""
        return [self.step * lead for lead in self.linear.leads]


def _damaged(path: Path, what: str) -> RunError:
    return RunError(f"{path}: is damaged, {what} since it was written; {_AGAIN}")
