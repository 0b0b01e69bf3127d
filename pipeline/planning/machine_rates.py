"""Measure the speed of this machine by timing a small piece of each kind of work."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.reduction.flops import (
    Work,
    eigenvector_flops,
    merge_flops,
    qr_flops,
    svd_flops,
)
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import ClimatologySummary
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.calibration.rollout_summary import RolloutSummary
from gfrnn.pipeline.training.pass_costs import PassCost
from gfrnn.pipeline.training.rows import FieldStates, RowSummary, SharedRows
from gfrnn.pipeline.training.zonal.zonal_rows import ZonalRowSummary
from gfrnn_core import Patches, RFactor, RidgePath
from gfrnn_core.folding import block_rows
from gfrnn_core.normal_equations import NormalEquations

Array = NDArray[Any]

# Approximate operations of a timed piece: enough for the resolution of the clock, yet short.
_TRIAL_OPERATIONS = 1e10

# Largest number of timings of a piece, and seconds after which no further one starts.
_TRIALS, _TRIAL_SECONDS = 4, 0.4

# Largest number of values of a synthetic field used for timing, unless one time has more.
_FIELD_VALUES = 2**21

# Number of patches whose windows are gathered.
_GATHERED_PATCHES = 500

# Rows and columns of the multiplied matrices: the rate hardly grows with larger ones.
_PRODUCT_SIZE = 700

# Times whose rows of zonal waves are made and folded.
_ZONAL_TIMES = 100

# Initial times and leads of the rollouts that are timed.
_TRIAL_STARTS, _TRIAL_LEADS = 4, 4

# Columns from which on rates hardly change.
_TRIAL_COLUMNS = 1200


@dataclass(frozen=True)
class MachineRates:
    """The speed of one thread.

    Attributes
    ----------
    work : dict
        Operations per second, by kind of work.
    products : dict
        Operations per second of a matrix product, by precision, as a reference.
    reading : float or None
        Decoded bytes of the data per second; None where the store has no chunk to read.
    keeping : float
        Bytes of a summary per second that are hashed and compressed for a checkpoint.
    """

    work: dict[str, float]
    products: dict[str, float]
    reading: float | None
    keeping: float

    def seconds(self, work: Work) -> float:
        """Return the seconds that one thread needs for some work."""
        return sum(count / self.work[kind] for kind, count in work.items())


def measure_rates(stages: Sequence[PassCost], fields: Fields) -> MachineRates:
    """Time a small piece of each kind of work of some stages, with one thread.

    The values are synthetic; only the rate of reading is measured on the archive itself.
    """
    rates: dict[str, float] = {}
    pieces: list[RowSummary | Any] = []
    for stage in stages:
        subject = stage.subject
        pieces += subject.parts if isinstance(subject, SharedRows) else [subject]
    for piece in pieces:
        for kind, trial in _trials(piece).items():
            if kind not in rates:
                rates[kind] = single_threaded(_rate, trial)
    products = {name: product_rate(name) for name in ("float64", "float32")}
    windows = stages[0].windows
    reading = single_threaded(reading_rate, fields, windows)
    return MachineRates(rates, products, reading, single_threaded(_rate, _save_summary))


def product_rate(precision: str) -> float:
    """Measure the operations per second of a matrix product on one thread, in about 0.1 s."""
    return single_threaded(_rate, _product(precision))


def folding_rate(columns: int = 500) -> float:
    """Measure the operations per second of folding rows into a triangle on one thread."""
    rows = np.random.default_rng(0).standard_normal((4 * columns, columns))

    def fold() -> float:
        RFactor.from_rows(rows)
        return qr_flops(len(rows), columns)

    return single_threaded(_rate, fold)


Trial = Callable[[], float]
"""Function that does a piece of work and returns the number of its operations."""


def _rate(trial: Trial) -> float:
    """Return the best rate of several timings, as the first may include loading or compiling."""
    best = spent = 0.0
    for _ in range(_TRIALS):
        begun = time.perf_counter()
        done = trial()
        passed = time.perf_counter() - begun
        best, spent = max(best, done / passed), spent + passed
        if spent > _TRIAL_SECONDS:
            break
    return best


def _trials(piece: Any) -> dict[str, Trial]:
    """Return a trial for each kind of work of a summary."""
    match piece:
        case ClimatologySummary() | EofSummary() | StateSummary():
            return _field_trials(piece)
        case RowSummary():
            return _row_trials(piece)
        case ZonalRowSummary():
            return _zonal_row_trials(piece)
        case RolloutSummary():
            return {piece.name: _rollouts(piece)}
    return {}


def _field_trials(summary: ClimatologySummary | EofSummary | StateSummary) -> dict[str, Trial]:
    size = summary.fields.grid.size
    (kind,) = summary.leaf_work(1)
    count = min(max(1, _FIELD_VALUES // size), len(summary.fields.time))
    while count > 1 and summary.leaf_work(count)[kind] > _TRIAL_OPERATIONS:
        count //= 2
    small: Any = replace(summary, fields=synthetic_fields(summary.fields, count))

    def trial() -> float:
        small.leaf(Stretch("", 0, count))
        return float(summary.leaf_work(count)[kind])

    return {kind: trial}


def _row_trials(rows: RowSummary) -> dict[str, Trial]:
    network, states, columns = rows.network, rows.states, rows.columns
    found: dict[str, Trial] = {}
    rng = np.random.default_rng(0)
    # Use as many rows as a block has, or fewer where they are very wide.
    cheap = max(_TRIAL_OPERATIONS / (2 * columns**2), (_TRIAL_OPERATIONS / (2 * columns)) ** 0.5)
    wanted = max(1, round(min(block_rows(columns, network.precision), cheap)))
    places = 1 if network.patches is None else network.patches.places
    present = -(-wanted // places)
    series = rng.standard_normal((present + network.overlap, states.size))
    share = wanted / (present * places)
    groups = None if network.groups is None else np.zeros(places, dtype=int)
    small = replace(rows, network=replace(network, noise=0.0, share=min(1.0, share), groups=groups))
    first = network.delays - 1

    def lift_and_fold() -> float:
        small.factors(series, first)
        return small.factors_work(present)[rows.kind]

    found[rows.kind] = lift_and_fold
    narrow = min(columns, _TRIAL_COLUMNS)
    sides = [RFactor(np.triu(rng.standard_normal((narrow, narrow))), narrow) for _ in range(2)]

    def merge() -> float:
        sides[0].merge(sides[1])
        return merge_flops(narrow, narrow, narrow)

    found[f"merging {columns}"] = merge
    if network.patches is not None:
        found["gathering"] = _gathering(network.patches, series)
    found |= {"eigenvectors": _eigenvectors(narrow), "noise": _noise}
    found["solving"] = _solving(min(columns, _TRIAL_COLUMNS // 2))
    if isinstance(states, FieldStates):
        count = min(max(1, _FIELD_VALUES // states.size), len(states.fields.time))
        source = replace(states, fields=synthetic_fields(states.fields, count))

        def encode() -> float:
            source.read(0, count)
            return source.read_work(count)["encoding"]

        found["encoding"] = encode
    return found


def _zonal_row_trials(rows: ZonalRowSummary) -> dict[str, Trial]:
    network, rng = rows.network, np.random.default_rng(0)
    count = max(1, min(len(rows.time) - network.delays - 1, _ZONAL_TIMES))
    small = replace(rows, states=_NoiseStates(network.state_size))
    stretch = Stretch("", network.delays - 1, network.delays - 1 + count)
    narrow = min(int(rows.columns.max()), _TRIAL_COLUMNS // 2)
    parts = rng.standard_normal((2, 2, narrow, narrow))
    sides = [RFactor(np.triu(real + 1j * imaginary), narrow) for real, imaginary in parts]

    def lift_and_fold() -> float:
        small.leaf(stretch)
        return float(small.leaf_work(count)[rows.kind])

    def merge() -> float:
        sides[0].merge(sides[1])
        return 4 * merge_flops(narrow, narrow, narrow)

    return {
        rows.kind: lift_and_fold,
        f"merging {rows.kind}": merge,
        "solving": _solving(narrow),
    }


def _rollouts(summary: RolloutSummary) -> Trial:
    starts = summary.starts[:_TRIAL_STARTS]
    leads = min(summary.leads, _TRIAL_LEADS)
    size = summary.rollouts.layout.size
    small = replace(
        summary, states=_NoiseStates(size), starts=starts, ends=summary.ends[: len(starts)],
        leads=leads, block=leads,
    )  # fmt: skip

    def walk() -> float:
        small.leaf(Stretch("", 0, len(starts)))
        return len(starts) * leads * small.rollouts.walk_flops()

    return walk


@dataclass(frozen=True)
class _NoiseStates:
    """States that are noise, for timing."""

    size: int

    def read(self, start: int, stop: int) -> Array:
        return np.random.default_rng(0).standard_normal((stop - start, self.size))

    def read_bytes(self, times: int) -> int:
        return 8 * times * self.size

    def read_work(self, times: int) -> Work:
        return {}


def _gathering(patches: Patches, series: Array) -> Trial:
    place = np.arange(min(_GATHERED_PATCHES, patches.places))
    times = np.zeros(len(place), dtype=int)

    def gather() -> float:
        patches.windows_at(series, times, place)
        return float(len(place) * patches.window)

    return gather


def _solving(columns: int) -> Trial:
    triangle = np.triu(np.random.default_rng(0).standard_normal((columns, columns)))
    targets = max(1, columns // 8)
    features = columns - targets

    def solve() -> float:
        RidgePath.from_factor(RFactor(triangle, columns), features, targets)
        return svd_flops(features, features) + 2 * features**2 * targets

    return solve


def _eigenvectors(columns: int) -> Trial:
    rows = np.random.default_rng(0).standard_normal((columns, columns))
    equations = NormalEquations.from_factor(RFactor(np.triu(rows), columns))
    targets = max(1, columns // 8)
    features = columns - targets

    def solve() -> float:
        RidgePath.from_products(equations, features, targets)
        return eigenvector_flops(features) + 2 * features**2 * targets

    return solve


def _noise() -> float:
    np.random.default_rng(0).standard_normal(2**20)
    return 2.0**20


def _save_summary() -> float:
    values = np.random.default_rng(0).standard_normal(2**20)
    zarr.create_group(MemoryStore()).create_array("values", data=values)
    hashlib.sha256(values.data)
    return float(values.nbytes)


def _product(precision: str) -> Trial:
    matrix = (
        np.random.default_rng(0).standard_normal((_PRODUCT_SIZE, _PRODUCT_SIZE)).astype(precision)
    )

    def multiply() -> float:
        matrix @ matrix
        return 2.0 * len(matrix) ** 3

    return multiply


def synthetic_fields(fields: Fields, times: int) -> Fields:
    """Return noise in memory on the grid and in the variables of some fields."""
    rng = np.random.default_rng(0)
    ds = fields.ds.isel(time=slice(times))

    def noise(array: xr.DataArray) -> xr.DataArray:
        values = rng.standard_normal(array.shape, dtype=np.float32)
        return xr.DataArray(values, dims=array.dims, attrs=array.attrs)

    return Fields(ds.assign({name: noise(array) for name, array in ds.data_vars.items()}))


def reading_rate(fields: Fields, windows: Array) -> float | None:
    """Measure the decoded bytes per second on some chunks in the middle of the reads.

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
    stored = fields.stored_chunks
    if not stored or not len(windows):
        return None
    first, last = map(int, windows[len(windows) // 2])
    last = min(last, first + max(1, 4 * _FIELD_VALUES // fields.grid.size))
    fields.ds.isel(time=int(windows[0, 0])).load()  # opens files
    decoded = ChunkReads.count(stored, np.array([[first, last]])).decoded_bytes
    begun, used = time.perf_counter(), time.process_time()
    values = fields.ds.isel(time=slice(first, last)).load()
    # Decoding runs on several threads, which other workers occupy in a fit: count processor time.
    seconds = max(time.perf_counter() - begun, time.process_time() - used)
    if all(_empty(array.values) for array in values.data_vars.values()):
        return None
    return decoded / seconds


def _empty(values: Array) -> bool:
    """Check whether all values are the fill value or at levels that are not stored (NaN)."""
    stored = values[~np.isnan(values)]
    return not stored.size or bool(np.ptp(stored) == 0)
