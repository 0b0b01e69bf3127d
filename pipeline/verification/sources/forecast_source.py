"""Forecasts of any model in files or stores of the usual conventions, read in one canonical order.

Layouts of WeatherBench 2, WeatherBench-X, Earth2Studio, climpred, files converted from GRIB, and
the stores of this project are recognised by the names of their dimensions and by CF attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.data.files.find_files import find_files
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.grid import Channel, format_extent, same_coordinates
from gfrnn.pipeline.data.variables.names import QUANTITIES, split_name, suggest_names
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.verification.sources.forecast_file import KEY, ForecastFile

Array = NDArray[Any]

# Fields that are read at once, in bytes, unless a chunk of every initial time has more.
_BLOCK_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class ForecastSource:
    """Forecasts in one or several files, see :class:`Forecasts`.

    Attributes
    ----------
    files : tuple of ForecastFile
        Files of the same channels, leads, members and grid.
    channels : tuple of Channel
        Channels to read, in order.
    initial : ndarray of datetime64, shape (starts,)
        Ascending.
    places : ndarray of int, shape (starts, 2)
        File, and position in it, of each initial time.
    leads : ndarray, shape (leads,)
        Ascending; timedelta64, or numbers of months.
    lead_places : ndarray of int, shape (leads,)
        Position of each lead in the files.
    notes : tuple of str
        Messages for the user.
    """

    files: tuple[ForecastFile, ...]
    channels: tuple[Channel, ...]
    initial: Array
    places: Array
    leads: Array
    lead_places: Array
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        source: SourceConfig,
        initial_time: np.datetime64 | None = None,
        era5_units: bool = False,
    ) -> ForecastSource:
        """Open the files of a source, without reading fields.

        Parameters
        ----------
        source : SourceConfig
            Path, glob or URL; names and units that the files do not state.
        initial_time : datetime64, optional
            Initial time of a file of one forecast that states times, but no leads.
        era5_units : bool
            Whether variables that state no unit have that of ERA5.

        Raises
        ------
        DataError
            If files are missing, hold no forecasts, are still being written, or differ in their
            channels, leads, members or grid.
        """
        found = find_files(source, KEY)
        if era5_units:
            source = source.model_copy(update={"units": _era5_units(found[0], source)})
        there = {str(name) for file in found for name in file.open().data_vars}
        for option in ("rename", "units"):
            for name in getattr(source, option):
                if name not in there:
                    raise DataError(
                        f"--{option}: the forecasts have no variable {name}; "
                        f"{suggest_names(name, there)}"
                    )
        files = tuple(ForecastFile.open(file, source, initial_time) for file in found)
        for file in files[1:]:
            _check_same(files[0], file)
        starts = [file.dimensions.initial_times for file in files]
        initial = np.concatenate(starts)
        places = np.array(
            [(number, place) for number, own in enumerate(starts) for place in range(len(own))]
        )
        order = np.argsort(initial, kind="stable")
        initial, leads = initial[order], files[0].dimensions.leads
        if (repeated := initial[1:][initial[1:] == initial[:-1]]).size:
            raise DataError(
                f"{source.path}: the initial time {repeated[0]} is in two files; give each once"
            )
        lead_order = np.argsort(leads)
        notes: tuple[str, ...] = ()
        if files[0].dimensions.members == 1:
            notes = ("one member: scored as a single forecast, without a spread",)
        return cls(
            files,
            tuple(files[0].channels),
            _middles(initial) if leads.dtype.kind == "i" else initial,
            places[order],
            leads[lead_order],
            lead_order,
            notes,
        )

    def of_channels(self, channels: Sequence[Channel]) -> ForecastSource:
        """Return the forecasts of some channels, in order, with the notes on their variables."""
        found = replace(self, channels=tuple(channels))
        own = [note for variable, _ in found._own for note in variable.notes]
        return replace(found, notes=tuple(dict.fromkeys([*self.notes, *own])))

    @property
    def valid(self) -> Array:
        """Times that the forecasts are for: datetime64, shape (starts, leads)."""
        if self.leads.dtype.kind == "i":
            return np.asarray(Duration.parse("1mo").after(self.initial[:, None], self.leads))
        return np.asarray(self.initial[:, None] + self.leads)

    @property
    def members(self) -> int | None:
        """Number of members; None for single forecasts, and for ensembles of one."""
        count = self.files[0].dimensions.members
        return None if count == 1 else count

    @property
    def latitude(self) -> Array:
        """Latitudes of the forecasts, ascending."""
        return self.files[0].variables[0].latitude

    @property
    def longitude(self) -> Array:
        """Longitudes of the forecasts, 0 to 360, ascending."""
        return self.files[0].variables[0].longitude

    @property
    def _own(self) -> list[tuple[Any, int | None]]:
        """Variable of each channel, and the position of its level in the file."""
        return [self.files[0].channels[channel] for channel in self.channels]

    @property
    def _lead_bytes(self) -> int:
        """Bytes of all channels and members of one initial time and lead."""
        size = len(self.latitude) * len(self.longitude)
        return 4 * (self.members or 1) * len(self.channels) * size

    def leads_together(self, starts: int) -> int:
        """Return the number of leads of a number of initial times that are read at once."""
        first = self.files[0]
        chunk = min(first.chunk(variable, first.dimensions.lead) for variable, _ in self._own)
        count = len(self.leads)
        blocks = max(1, _BLOCK_BYTES // (chunk * starts * self._lead_bytes))
        return min(count, blocks * chunk)

    def read_bytes(self, starts: int) -> int:
        """Return the peak memory in bytes of :meth:`read` of :meth:`leads_together`."""
        first, result = self.files[0], self.leads_together(starts) * starts * self._lead_bytes
        decoded = max(first.chunk_bytes(variable) for variable, _ in self._own)
        concurrent = int(zarr.config.get("async.concurrency"))
        # One variable is in memory as read, converted, and in order.
        most = max(sum(other is variable for other, _ in self._own) for variable, _ in self._own)
        return result + 2 * result * most // len(self.channels) + 2 * concurrent * decoded

    def read(self, starts: slice, leads: slice) -> list[Array]:
        """Read forecasts, see :meth:`Forecasts.read`; each variable is read once."""
        places, lead_places = self.places[starts], self.lead_places[leads]
        cuts = np.flatnonzero(np.diff(places[:, 0])) + 1
        parts = np.split(places, cuts)
        levels: dict[str, list[int]] = {}
        for variable, level in self._own:
            if level is not None:
                levels.setdefault(variable.raw_name, []).append(level)
        found: dict[str, Array] = {}
        fields = []
        for variable, level in self._own:
            own = levels.get(variable.raw_name)
            if variable.raw_name not in found:
                wanted = None if own is None else np.sort(own)
                read = [
                    self.files[part[0, 0]].read(variable, part[:, 1], lead_places, wanted)
                    for part in parts
                ]
                found[variable.raw_name] = read[0] if len(read) == 1 else np.concatenate(read)
            place = 0 if own is None or level is None else sorted(own).index(level)
            fields.append(found[variable.raw_name][:, :, :, place])
        return fields


def _era5_units(file: RawFile, source: SourceConfig) -> dict[str, str]:
    """Return the units of a source, those of ERA5 for variables that state none."""
    units = {}
    for name, array in file.open().data_vars.items():
        variable = source.rename.get(str(name)) or split_name(str(name))[0]
        if variable in QUANTITIES and not str(array.attrs.get("units", "")).strip():
            units[str(name)] = QUANTITIES[variable].units
    return units | source.units


def _middles(initial: Array) -> Array:
    """Return the middles of the months of initial times, which times of monthly data are."""
    return month_middles(initial.astype("datetime64[M]"))


def _check_same(first: ForecastFile, other: ForecastFile) -> None:
    """Check that two files have the same leads, members, channels and grid."""
    ours, theirs = first.dimensions, other.dimensions
    differing = None
    if not np.array_equal(ours.leads, theirs.leads):
        differing = "leads", ours.leads.tolist(), theirs.leads.tolist()
    elif ours.members != theirs.members:
        differing = "numbers of members", ours.members, theirs.members
    elif _channels(first) != _channels(other):
        names = [[channel.name for channel in file.channels] for file in (first, other)]
        differing = "channels, units or orders of levels", names[0], names[1]
    for name in ("latitude", "longitude"):
        a, b = (getattr(file.variables[0], name) for file in (first, other))
        rows = [getattr(file.variables[0].grid, name) for file in (first, other)]
        if not (same_coordinates(a, b) and np.array_equal(*rows)):
            differing = f"{name}s", format_extent(a), format_extent(b)
    if differing:
        what, mine, his = differing
        raise DataError(
            f"{first.file.path} and {other.file.path} have different {what}: {mine} and {his}; "
            "verify them one by one"
        )


def _channels(file: ForecastFile) -> dict[Channel, Any]:
    return {
        channel: (variable.raw_name, level, variable.factor, variable.offset)
        for channel, (variable, level) in file.channels.items()
    }
