"""The store of the errors of forecasts of held-out data, from which members are drawn."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.ensembles.log_variance import log_variance_regression

Array = NDArray[Any]

SYSTEMS = ("forecast", "linear")
"""Systems whose errors are stored: the mean of the networks, and the linear reference."""

# Bytes of a chunk, which has errors of one channel.
_CHUNK_BYTES = 2**21

# Errors of all times that are kept in memory, in bytes.
_KEPT_BYTES = 2**28

# Least span of the archive from which the seasons of errors are estimated.
_YEAR = np.timedelta64(355, "D")


@dataclass(frozen=True)
class ErrorArchive:
    """Errors of forecasts from many initial times, at all leads, on the grid.

    Errors are truth minus forecast, divided by a constant of the channel, as float16. Their standard
    deviation, by channel and lead, follows the seasons where the archive spans a year.

    Attributes
    ----------
    path : Path
        Store, a zarr group.
    """

    path: Path

    @classmethod
    def create(
        cls, path: Path, valid: Array, unit: Array, cells: int, together: int
    ) -> ErrorArchive:
        """Create a store without errors.

        Parameters
        ----------
        path : Path
        valid : ndarray of datetime64, shape (starts, leads)
            Times that the forecasts are for.
        unit : ndarray, shape (channels,)
            Constants by which errors are divided.
        cells : int
        together : int
            Number of initial times that a task writes.
        """
        group = zarr.create_group(path, overwrite=True)
        (starts, leads), channels = valid.shape, len(unit)
        chunk = max(1, min(leads, _CHUNK_BYTES // (2 * together * cells)))
        for system in SYSTEMS:
            group.create_array(
                system,
                shape=(starts, leads, channels, cells),
                chunks=(together, chunk, 1, cells),
                dtype="float16",
                fill_value=np.nan,
                compressors=None,  # noise
            )
        group.create_array("unit", data=np.asarray(unit, dtype=float))
        seconds = valid.astype("datetime64[s]").astype(np.int64)
        group.create_array("valid_time", data=seconds)
        return cls(path)

    def write(self, first: int, errors: dict[str, Array]) -> None:
        """Write the errors of successive initial times.

        Parameters
        ----------
        first : int
            Position of the first, a multiple of the number that a task writes.
        errors : dict of ndarray, shape (starts, leads, channels, cells)
            Errors of each system in the units of the channels.
        """
        group = zarr.open_group(self.path, mode="r+")
        for system, values in errors.items():
            scaled = values / self.unit[:, None]
            array_in(group, system)[first : first + len(values)] = scaled.astype(np.float16)

    def finish(self, squares: dict[str, Array]) -> None:
        """Estimate and store the standard deviations of the errors.

        Parameters
        ----------
        squares : dict of ndarray, shape (starts, leads, channels)
            Area means of squared errors of each system in the units of the channels; NaN for
            forecasts that diverged, which are not drawn.
        """
        group = zarr.open_group(self.path, mode="r+")
        usable = np.all([np.isfinite(own).all(axis=(1, 2)) for own in squares.values()], axis=0)
        group.create_array("usable", data=usable.astype(np.int8), overwrite=True)
        valid = self.valid_time[usable]
        annual = int(valid.max(initial=valid[0, 0]) - valid.min(initial=valid[0, 0]) >= _YEAR)
        group.attrs["annual"] = annual
        for system, own in squares.items():
            by_lead = [
                log_variance_regression(harmonics(valid[:, lead], annual, 0), own[usable, lead])
                for lead in range(valid.shape[1])
            ]
            group.create_array(f"{system}_scale", data=np.stack(by_lead), overwrite=True)

    def copy(self, path: Path) -> None:
        """Copy the store; files, which never change, are linked where the file system can."""

        def link(source: str, target: str) -> None:
            try:
                os.link(source, target)
            except OSError:
                shutil.copy2(source, target)

        shutil.copytree(self.path, path, copy_function=link)

    @cached_property
    def _group(self) -> zarr.Group:
        return zarr.open_group(self.path, mode="r")

    @cached_property
    def unit(self) -> Array:
        """Constants by which errors are divided: shape (channels,)."""
        return np.asarray(array_in(self._group, "unit")[...])

    @cached_property
    def valid_time(self) -> Array:
        """Times that the forecasts were for: datetime64, shape (starts, leads)."""
        seconds = np.asarray(array_in(self._group, "valid_time")[...])
        return seconds.astype("datetime64[s]").astype("datetime64[ns]")

    @cached_property
    def usable(self) -> Array:
        """Positions of the initial times that are drawn: int, shape (n,)."""
        return np.flatnonzero(np.asarray(array_in(self._group, "usable")[...]))

    @property
    def leads(self) -> int:
        """Number of leads."""
        return int(self.valid_time.shape[1])

    def draw(self, initial: Array, members: int, seed: int) -> Array:
        """Draw the initial times whose errors the members of forecasts have.

        The draw of a forecast depends on its initial time, the number of members and the seed. An
        initial time of the archive is drawn once, unless there are more members than initial
        times.

        Parameters
        ----------
        initial : ndarray of datetime64, shape (starts,)
        members, seed : int

        Returns
        -------
        ndarray of int, shape (starts, members)
            Positions in the archive.
        """
        seconds = initial.astype("datetime64[s]").astype(np.int64)
        replace = members > len(self.usable)
        return np.stack(
            [
                np.random.default_rng([seed, abs(int(second)), int(second < 0)]).choice(
                    self.usable, members, replace=replace
                )
                for second in seconds
            ]
        )

    def deviations(self, system: str, valid: Array, lead: int) -> Array:
        """Return the standard deviations of errors at some times: shape (times, channels).

        Parameters
        ----------
        system : str
        valid : ndarray of datetime64, shape (times,)
        lead : int
            Position of the lead.
        """
        annual = int(self._group.attrs["annual"])  # type: ignore[call-overload]
        scale = np.asarray(array_in(self._group, f"{system}_scale")[lead])
        return np.asarray(np.exp(0.5 * harmonics(valid, annual, 0) @ scale))

    def block(self, system: str, leads: slice, channels: slice) -> ErrorBlock:
        """Return the standardised errors of some leads and channels."""
        array = array_in(self._group, system)
        places = range(*leads.indices(self.leads))
        factors = np.stack(
            [
                (self.unit / self.deviations(system, self.valid_time[:, lead], lead))[:, channels]
                for lead in places
            ],
            axis=1,
        )
        return ErrorBlock(array, leads, channels, factors.astype(np.float32))


class ErrorBlock:
    """Errors of some leads and channels, divided by their standard deviations.

    Parameters
    ----------
    array : zarr.Array, shape (starts, leads, channels, cells)
    leads, channels : slice
    factors : ndarray of float32, shape (starts, leads, channels)
        Factors from stored to standardised errors.
    """

    def __init__(
        self, array: zarr.Array[Any], leads: slice, channels: slice, factors: Array
    ) -> None:
        self._array, self._leads, self._channels = array, leads, channels
        self._factors = factors
        size = 2 * factors.size * array.shape[3]
        self._kept = np.asarray(array[:, leads, channels]) if size <= _KEPT_BYTES else None

    def errors(self, starts: Array) -> Array:
        """Return the errors of some initial times: float32, shape (n, leads, channels, cells)."""
        if self._kept is not None:
            found = self._kept[starts]
        else:
            found = np.stack([np.asarray(self._array[int(n), self._leads, self._channels])
                              for n in starts])  # fmt: skip
        return np.asarray(found * self._factors[starts][..., None], dtype=np.float32)


def perturbations(block: ErrorBlock, drawn: Array, deviations: Array) -> Array:
    """Return the departures of members from the forecast.

    Drawn errors are centred, so that the mean of the members is the forecast, and their variance is
    that which ``members + 1`` exchangeable values have on average: the truth is one more.

    Parameters
    ----------
    block : ErrorBlock
    drawn : ndarray of int, shape (members,)
    deviations : ndarray, shape (leads, channels)
        Standard deviations of the errors of this forecast.

    Returns
    -------
    ndarray of float32, shape (members, leads, channels, cells)
    """
    errors = block.errors(drawn)
    members = len(drawn)
    errors -= errors.mean(axis=0)
    errors *= (np.sqrt(members / (members + 1)) * deviations).astype(np.float32)[..., None]
    return errors
