"""Measure the speed of this machine: matrix products, folding, decoding and saving."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from gfrnn.pipeline.data.canonical_array import canonical_array
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn_core import RFactor

Array = NDArray[Any]

# Largest number of timings of a function, and seconds after which no further one starts.
_TRIALS, _TRIAL_SECONDS = 4, 0.4

# Places at which the rate of reading is measured, and values that are decoded at each, unless one
# time has more.
_READS, _READ_VALUES = 3, 2**22

# Decoded bytes of one time up to which the whole grid is read; chunks that hold long series of
# small areas may have the whole archive in those of one time.
_READ_BYTES = 2**28

# Rows and columns of the multiplied matrices: the rate hardly grows with larger ones.
_PRODUCT_SIZE = 700


@dataclass(frozen=True)
class MachineRates:
    """The speed of one thread.

    Attributes
    ----------
    products : dict
        Operations per second of a matrix product, by precision, as a reference.
    reading : float or None
        Decoded bytes of the data per second; None where the store has no chunk to read.
    keeping : float
        Bytes of a summary per second that are hashed and written to a checkpoint.
    """

    products: dict[str, float]
    reading: float | None
    keeping: float


def measure_rates(fields: Fields, windows: Array) -> MachineRates:
    """Measure the speed of one thread, that of reading on the archive itself.

    Parameters
    ----------
    fields : Fields
    windows : ndarray of int, shape (reads, 2)
        First time of each read, and the one after its last.
    """
    return MachineRates(
        products={name: product_rate(name) for name in ("float64", "float32")},
        reading=single_threaded(reading_rate, fields, windows),
        keeping=single_threaded(_keeping_rate),
    )


def least_seconds(function: Callable[[], Any]) -> float:
    """Return the least processor time of several calls, in seconds.

    The first call may include loading or compiling. Other processes delay calls, but hardly take
    from their processor time.
    """
    least, spent = np.inf, 0.0
    for _ in range(_TRIALS):
        begun = time.process_time()
        function()
        passed = max(time.process_time() - begun, 1e-9)
        least, spent = min(least, passed), spent + passed
        if spent > _TRIAL_SECONDS:
            break
    return least


def product_rate(precision: str) -> float:
    """Measure the operations per second of a matrix product on one thread, in about 0.1 s."""
    shape = _PRODUCT_SIZE, _PRODUCT_SIZE
    matrix = np.random.default_rng(0).standard_normal(shape).astype(precision)
    seconds: float = single_threaded(least_seconds, lambda: matrix @ matrix)
    return 2.0 * _PRODUCT_SIZE**3 / seconds


def folding_rate(columns: int = 500) -> float:
    """Measure the operations per second of folding rows into a triangle on one thread."""
    rows = np.random.default_rng(0).standard_normal((4 * columns, columns))
    seconds: float = single_threaded(least_seconds, lambda: RFactor.from_rows(rows))
    # Householder's QR without Q (Golub and Van Loan, Matrix Computations, 5.2).
    return 2 * columns**2 * (len(rows) - columns / 3) / seconds


def reading_rate(fields: Fields, windows: Array) -> float | None:
    """Measure the decoded bytes per second on some chunks, the best of some places.

    Parameters
    ----------
    fields : Fields
    windows : ndarray of int, shape (reads, 2)
        First time of each read, and the one after its last.

    Returns
    -------
    float or None
        None where the store has no chunk to read.
    """
    if not fields.stored_chunks or not len(windows):
        return None
    fields = _affordable_area(fields, int(windows[0, 0]))
    fields.ds.isel(time=int(windows[0, 0])).load()  # opens files
    places = np.linspace(0, len(windows) - 1, _READS + 2).astype(int)[1:-1]
    rates = [_rate_at(fields, *map(int, windows[place])) for place in np.unique(places)]
    known = [rate for rate in rates if rate is not None]
    return max(known) if len(known) == len(rates) else None


def _affordable_area(fields: Fields, time: int) -> Fields:
    """Return the middle of the grid, as far as its chunks of one time may be decoded."""

    def decoded(area: Fields) -> int:
        return ChunkReads.count(area.stored_chunks, np.array([[time, time + 1]])).decoded_bytes

    shape, area = fields.grid.shape[1:], fields
    while decoded(area) > _READ_BYTES:
        _, rows, columns = area.grid.shape
        halves = [(-(-rows // 2), columns), (rows, -(-columns // 2))]
        smaller = min((_middle(fields, shape, half) for half in halves), key=decoded)
        if decoded(smaller) >= decoded(area):
            break
        area = smaller
    return area


def _middle(fields: Fields, shape: tuple[int, ...], kept: tuple[int, ...]) -> Fields:
    """Return the fields of some latitudes and longitudes in the middle of a grid."""
    firsts = [(n - count) // 2 for n, count in zip(shape, kept, strict=True)]
    rows, columns = (
        np.arange(first, first + count) for first, count in zip(firsts, kept, strict=True)
    )
    variables = {}
    for name, variable in fields.ds.data_vars.items():
        if (array := canonical_array(variable)) is not None:
            area = array.select(rows, columns)
            data = indexing.LazilyIndexedArray(area)
            variables[name] = xr.Variable(variable.dims, data, variable.attrs, {"source": area})
    return Fields(fields.ds.isel(latitude=rows, longitude=columns).assign(variables))


def _rate_at(fields: Fields, first: int, last: int) -> float | None:
    """Return the decoded bytes per second of some times; None where these have no values."""
    stored = fields.stored_chunks
    last = min(last, first + max(1, _READ_VALUES // fields.grid.size))
    decoded = ChunkReads.count(stored, np.array([[first, last]])).decoded_bytes
    values = np.empty((last - first, *fields.grid.shape))
    begun, used = time.perf_counter(), time.process_time()
    with suppress(DataError):  # missing values are refused by the fit, which knows the mask
        fields.read_into(values, first)
    # Decoding runs on several threads, which other workers occupy in a fit: count processor time.
    seconds = max(time.perf_counter() - begun, time.process_time() - used)
    if all(_empty(values[:, channel]) for channel in range(values.shape[1])):
        return None
    return decoded / seconds


def _empty(values: Array) -> bool:
    """Check whether all values are the fill value or at levels that are not stored (NaN)."""
    stored = values[~np.isnan(values)]
    return not stored.size or bool(np.ptp(stored) == 0)


def _keeping_rate() -> float:
    values = np.random.default_rng(0).standard_normal(2**20)

    with TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        seconds = least_seconds(lambda: checkpoints.save("rate", "values", {"values": values}))
    return values.nbytes / seconds
