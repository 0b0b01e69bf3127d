"""The store of the errors of forecasts of held-out data, from which members are drawn."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import content_digest
from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.pipeline.storage import array_in, remove_partial_files, stored_files, write_whole
from gfrnn.pipeline.training.ensembles.held_out_starts import LEAST_STARTS, MOST_STARTS
from gfrnn.pipeline.training.ensembles.log_variance import log_variance_regression
from gfrnn.pipeline.untrusted_store import is_sound

Array = NDArray[Any]

SYSTEMS = ("forecast", "linear", "climatology")
"""Systems whose errors are stored: the mean of the networks, and references for ensembles."""

# Bytes of a chunk, which has errors of one channel.
_CHUNK_BYTES = 2**21

KEPT_BYTES = 2**27
"""Bytes of the errors of a system that are kept in memory; more are read as they are drawn."""

# Attribute with a digest of each array.
_SUMS = "sha256"

# Least span of the archive from which the seasons of errors are estimated.
_YEAR = np.timedelta64(355, "D")

# Blocks of successive forecasts from whose means the standard error of a bias is estimated. Each is
# a year or more: the bias of one year is not that of the next.
_BLOCKS = 4


@dataclass(frozen=True)
class ErrorArchive:
    """Errors of forecasts from many initial times, at all leads, on the grid.

    Errors are truth minus forecast, divided by a constant of the channel, as float16. Their
    standard deviation, by channel and lead, follows the seasons where the archive spans a year.

    Attributes
    ----------
    path : Path
        Store, a zarr group.
    """

    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is a store that this program may have created, which it does as a whole."""
        return is_sound(self.path)

    @property
    def identity(self) -> str:
        """Random name of this store, which no other store has."""
        return str(self._open("r").attrs["identity"])

    def create(self, valid: Array, unit: Array, cells: int, together: int) -> None:
        """Create a store without errors.

        Parameters
        ----------
        valid : ndarray of datetime64, shape (starts, leads)
            Times that the forecasts are for.
        unit : ndarray, shape (channels,)
            Constants by which errors are divided.
        cells : int
        together : int
            Number of initial times that a task writes.
        """

        def write(path: Path) -> None:
            group = zarr.create_group(path)
            group.attrs["identity"] = uuid.uuid4().hex
            (starts, leads), channels = valid.shape, len(unit)
            # Errors that are read one by one have chunks of their own.
            kept = 2 * starts * leads * channels * cells <= KEPT_BYTES
            own = together if kept else 1
            chunk = max(1, min(leads, _CHUNK_BYTES // (2 * own * cells)))
            for system in SYSTEMS:
                group.create_array(
                    system,
                    shape=(starts, leads, channels, cells),
                    chunks=(own, chunk, 1, cells),
                    dtype="float16",
                    fill_value=np.nan,
                    compressors=[Crc32cCodec()],  # noise, which cannot be made smaller
                )
            group.create_array("unit", data=np.asarray(unit, dtype=float))
            seconds = valid.astype("datetime64[s]").astype(np.int64)
            group.create_array("valid_time", data=seconds)

        write_whole(self.path, write)

    def write(self, first: int, errors: dict[str, Array]) -> None:
        """Write the errors of successive initial times.

        Parameters
        ----------
        first : int
            Position of the first, a multiple of the number that a task writes.
        errors : dict of ndarray, shape (starts, leads, channels, cells)
            Errors of each system in the units of the channels.
        """
        group = self._open("r+")
        for system, values in errors.items():
            scaled = values / self.unit[:, None]
            array_in(group, system)[first : first + len(values)] = scaled.astype(np.float16)

    def finish(self, squares: dict[str, Array], means: dict[str, Array]) -> None:
        """Estimate and store the standard deviations and the bias of the errors.

        Parameters
        ----------
        squares : dict of ndarray, shape (starts, leads, channels)
            Area means of squared errors of each system in the units of the channels; NaN for
            forecasts that diverged, which are not drawn.
        means : dict of ndarray, shape (starts, leads, channels)
            Area means of the errors.

        Raises
        ------
        RunError
            If too many forecasts diverged.
        """
        remove_partial_files(self.path)  # of workers that were killed
        group = self._open("r+")
        usable = np.all([np.isfinite(own).all(axis=(1, 2)) for own in squares.values()], axis=0)
        group.create_array("usable", data=usable.astype(np.int8), overwrite=True)
        if usable.sum() < LEAST_STARTS:
            raise RunError(
                f"forecast.members: from {int((~usable).sum())} of {len(usable)} initial times in "
                "the validation period, the forecast of the networks or of the linear model "
                f"diverged; members are made of the errors of at least {LEAST_STARTS} others; "
                "choose a shorter forecast.horizon or a larger fit.ridge, or leave "
                "forecast.members out"
            )
        valid = self.valid_time[usable]
        span = valid.max(initial=valid[0, 0]) - valid.min(initial=valid[0, 0])
        annual = int(span >= _YEAR)
        group.attrs["annual"] = bool(annual)
        for system, own in squares.items():
            scales, biases = [], []
            for lead, time in enumerate(valid.T):
                design = harmonics(time, annual, 0)
                scale = log_variance_regression(design, own[usable, lead])
                deviations = np.exp(0.5 * design @ scale)
                scales.append(scale)
                bias = shrunk_mean(means[system][usable, lead] / deviations)
                biases.append(bias if span >= _BLOCKS * _YEAR else 0 * bias)
            group.create_array(f"{system}_scale", data=np.stack(scales), overwrite=True)
            group.create_array(f"{system}_bias", data=np.stack(biases), overwrite=True)
        group.attrs[_SUMS] = self._sums()

    def _sums(self) -> dict[str, str]:
        """Return a digest of each small array, and of the number of files of each large one."""
        group, found = self._group, {}
        for name in sorted(group.array_keys()):
            if name in SYSTEMS:
                found[name] = content_digest(np.array(len(stored_files(self.path / name))))
            else:
                found[name] = content_digest(np.asarray(array_in(group, name)[...]))
        return found

    def check(self) -> None:
        """Check a finished store; the errors themselves are checked as they are read.

        Raises
        ------
        ValueError
            If files are missing, or an array was changed; the message names the array.
        """
        wanted: Any = self._open("r").attrs.get(_SUMS)
        found = {} if wanted is None else self._sums()  # stores of earlier versions have none
        if changed := [name for name in wanted or () if found.get(name) != wanted[name]]:
            raise ValueError(f"the array errors/{changed[0]} was changed since it was written")

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
        return self._open("r")

    def _open(self, mode: Literal["r", "r+"]) -> zarr.Group:
        return zarr.open_group(self.path, mode=mode, zarr_format=3, use_consolidated=False)

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
        annual = 1 if self._group.attrs["annual"] else 0
        scale = np.asarray(array_in(self._group, f"{system}_scale")[lead])
        return np.asarray(np.exp(0.5 * harmonics(valid, annual, 0) @ scale))

    def bias(self, system: str) -> Array:
        """Return mean errors divided by their standard deviations: shape (leads, channels).

        They are 0 in archives of less than four years, and of versions that did not store them.
        """
        name = f"{system}_bias"
        if name not in self._group:
            return np.zeros((self.leads, len(self.unit)))
        return np.asarray(array_in(self._group, name)[...])

    def errors(self, system: str, starts: Array, leads: slice, channels: slice) -> Array:
        """Return errors divided by their standard deviations.

        Parameters
        ----------
        system : str
        starts : ndarray of int, shape (n,)
            Positions of initial times.
        leads, channels : slice

        Returns
        -------
        ndarray of float32, shape (n, leads, channels, cells)
        """
        array = self._array(system)
        if isinstance(array, np.ndarray):
            found = array[starts, leads, channels]
        else:
            found = np.stack([self._read(array, (int(n), leads, channels)) for n in starts])
        factors = self._factors(system)[starts, leads, channels]
        return np.multiply(found, factors[..., None], dtype=np.float32)

    def _read(self, array: zarr.Array[Any], chosen: Any) -> Array:
        try:
            return np.asarray(array[chosen])
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.path}: is damaged, {array.basename} cannot be read ({error}); restore the "
                "model from a copy, or remove the store that this is in and run `gfrnn fit` again"
            ) from None

    def _factors(self, system: str) -> Array:
        """Return factors from stored to standardised errors: shape (starts, leads, channels)."""
        if system not in self._standard:
            deviations = [
                self.deviations(system, valid, lead) for lead, valid in enumerate(self.valid_time.T)
            ]
            factors = self.unit / np.stack(deviations, axis=1)
            self._standard[system] = factors.astype(np.float32)
        return self._standard[system]

    def _array(self, system: str) -> Array | zarr.Array[Any]:
        """Return the stored errors of a system, in memory if they are not too many."""
        if system not in self._arrays:
            array = array_in(self._group, system)
            kept = 2 * array.size <= KEPT_BYTES
            self._arrays[system] = self._read(array, ...) if kept else array
        return self._arrays[system]

    @cached_property
    def _arrays(self) -> dict[str, Array | zarr.Array[Any]]:
        return {}

    @cached_property
    def _standard(self) -> dict[str, Array]:
        return {}


def error_cache_bytes(leads: int, size: int) -> int:
    """Return the most memory in bytes that the errors of a system take in a process.

    Parameters
    ----------
    leads : int
    size : int
        Number of channels times cells.
    """
    return min(KEPT_BYTES, 2 * MOST_STARTS * leads * size)


def shrunk_mean(values: Array) -> Array:
    """Return the mean of a series, drawn towards 0 by its standard error.

    The factor is 1 - (standard error / mean)^2, or 0 if this is negative, as in the estimator of
    James and Stein (1961): a mean that is no larger than its standard error counts for nothing. The
    standard error follows from the means of four successive blocks, as neighbouring values are
    correlated.

    Parameters
    ----------
    values : ndarray, shape (n, ...)

    Returns
    -------
    ndarray, shape (...)
    """
    blocks = np.stack([part.mean(axis=0) for part in np.array_split(values, _BLOCKS)])
    mean = values.mean(axis=0)
    squared_error = blocks.var(axis=0, ddof=1) / _BLOCKS
    kept = np.maximum(mean**2 - squared_error, 0.0)
    return np.asarray(kept / np.where(mean == 0, 1.0, mean))


def perturbations(errors: Array, deviations: Array, bias: Array) -> Array:
    """Return the departures of members from the forecast.

    Drawn errors are centred on the bias of the forecasts, and their variance is that which
    ``members + 1`` exchangeable values have on average: the truth is one more.

    Parameters
    ----------
    errors : ndarray of float32, shape (members, leads, channels, cells)
        Errors divided by their standard deviations, overwritten.
    deviations : ndarray, shape (leads, channels)
        Standard deviations of the errors of this forecast.
    bias : ndarray, shape (leads, channels)
        Mean errors divided by their standard deviations.

    Returns
    -------
    ndarray of float32, shape (members, leads, channels, cells)
    """
    members = len(errors)
    errors -= errors.mean(axis=0)
    errors *= (np.sqrt(members / (members + 1)) * deviations).astype(np.float32)[..., None]
    errors += (bias * deviations).astype(np.float32)[..., None]
    return errors
