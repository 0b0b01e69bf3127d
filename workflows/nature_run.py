"""The nature run: weather simulated by a quasi-geostrophic model, in an ERA5-like zarr store.

It provides any amount of data without a download. The attributes of the store state that it is
simulated weather.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.storage import consolidate, write_whole
from gfrnn_core.systems import TwoLayerQG

FloatArray = NDArray[np.float64]

LAYERS = (250.0, 750.0)
"""Pressure in hPa of the model's upper and lower layer."""
GAS_CONSTANT = 287.05
"""Specific gas constant of dry air in J kg-1 K-1."""
GRAVITY = 9.80665
"""Standard gravity in m s-2."""

_EPOCH = np.datetime64("1900-01-01T00", "h")
_HOURS = 6


def write_nature(
    path: str | PathLike[str],
    *,
    years: int = 10,
    days: int | None = None,
    seed: int = 0,
    start: str = "2001-01-01",
    levels: Sequence[float] = (250.0, 500.0, 750.0),
    model: TwoLayerQG | None = None,
    spinup_days: int = 100,
    chunk_times: int = 120,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Path:
    """Run the model and write its fields every six hours, in zarr format 3.

    The store is written chunk by chunk into a folder next to `path`, which gets its name when it is
    complete: an incomplete store never has that name, and memory holds two chunks.

    Parameters
    ----------
    path : path-like
        The store to write.
    years : int
        Calendar years, leap days included.
    days : int, optional
        Length in days instead of `years`.
    seed : int
        Seed of the initial state.
    start : str
        First time, ISO 8601, to the hour.
    levels : sequence of float
        Pressure in hPa, ascending, 230 to 1000 (the reference profile is tropospheric).
    model : TwoLayerQG, optional
        A model with other parameters than the defaults; its `dt` must divide six hours.
    spinup_days : int
        Days between the initial state and the first time that is written. Energy and enstrophy of
        the default model are stationary after 75 days.
    chunk_times : int
        Number of times in a chunk.
    progress : callable, optional
        Called after each chunk with the number of finished times and their total.
    overwrite : bool
        Replace a zarr store at `path`, once the new one is complete.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    RunError
        If `path` exists and is not to be replaced (no `overwrite`), or is not a zarr store.
    FloatingPointError
        If the simulation diverges.
    """
    target = Path(path)
    weather = TwoLayerQG() if model is None else model
    pressure = np.asarray(levels, np.float64)
    _check_target(target, overwrite)
    for name, value, least in (
        ("years", years, 1),
        ("days", 1 if days is None else days, 1),
        ("spinup_days", spinup_days, 0),
        ("chunk_times", chunk_times, 1),
    ):
        if value != int(value) or value < least:
            raise ValueError(f"{name}: {value!r} is not an integer of at least {least}")
    if pressure.ndim != 1 or not pressure.size or np.any(np.diff(pressure) <= 0):
        raise ValueError(f"levels: found {levels!r}, allowed: pressures in hPa, ascending")
    if pressure[0] < 230 or pressure[-1] > 1000:
        raise ValueError(f"levels: found {levels!r}, allowed: 230 to 1000 hPa")
    every = round(_HOURS * 3600 / weather.dt)
    if every < 1 or not np.isclose(every * weather.dt, _HOURS * 3600, rtol=1e-12):
        raise ValueError(f"model: dt={weather.dt} s does not divide {_HOURS} hours")
    hours = _times(start, years, days)

    def write(store: Path) -> None:
        group = zarr.open_group(store, mode="w", zarr_format=3)
        group.attrs.update(_describe(weather, seed, spinup_days))
        arrays = _create(group, weather, pressure, hours, min(chunk_times, hours.size))
        state = weather.initial(seed)
        state = weather.step(state, spinup_days * 4 * every)
        states = weather.snapshots(state, hours.size, every)

        def write_chunk(begin: int, block: NDArray[np.complex128]) -> int:
            end = begin + len(block)
            for array, field in zip(arrays, _fields(weather, block, pressure), strict=True):
                array[begin:end] = field.astype(np.float32)
            return end

        # A chunk is written while the next one is simulated.
        with ThreadPoolExecutor(1) as writer:
            written: Future[int] | None = None
            for begin in range(0, hours.size, chunk_times):
                block = np.array(list(islice(states, chunk_times)))
                report(written)
                written = writer.submit(write_chunk, begin, block)
            report(written)
        consolidate(store)

    def report(written: Future[int] | None) -> None:
        """Wait until a chunk is written, and report its end."""
        if written is not None:
            end = written.result()
            if progress is not None:
                progress(ProgressUpdate("nature run", end, hours.size))

    def write_or_remove(store: Path) -> None:
        try:
            write(store)
        except BaseException:
            shutil.rmtree(store, ignore_errors=True)
            raise

    write_whole(target, write_or_remove)
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise RunError(f"{target}: exists; choose another path, or replace it (overwrite=True)")
    # Replacing deletes the folder, so it must not hold anything else.
    if not (target / "zarr.json").is_file():
        raise RunError(
            f"{target}: exists and is no zarr 3 store, which alone is replaced; choose another path"
        )


def _times(start: str, years: int, days: int | None) -> NDArray[np.int64]:
    try:
        first = np.datetime64(start, "h")
    except ValueError as error:
        raise ValueError(
            f"start: {start!r} is not an ISO 8601 time; write for example 2001-01-01"
        ) from error
    if np.isnat(first):
        raise ValueError(f"start: {start!r} is not an ISO 8601 time; write for example 2001-01-01")
    if days is None:
        into_month = first - first.astype("datetime64[M]").astype("datetime64[h]")
        last = (first.astype("datetime64[M]") + 12 * years).astype("datetime64[h]") + into_month
    else:
        last = first + np.timedelta64(24 * days, "h")
    times = np.arange(first, last, np.timedelta64(_HOURS, "h"))
    return (times - _EPOCH).astype(np.int64)


def reference_profile(pressure: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return geopotential (m2 s-2) and temperature (K) of the standard atmosphere (ISO 2533)."""
    lapse, surface_temperature, surface_pressure = 6.5e-3, 288.15, 1013.25
    temperature = surface_temperature * (pressure / surface_pressure) ** (
        GAS_CONSTANT * lapse / GRAVITY
    )
    return GRAVITY * (surface_temperature - temperature) / lapse, temperature


def _fields(
    model: TwoLayerQG, states: NDArray[np.complex128], pressure: FloatArray
) -> Iterator[FloatArray]:
    """Yield geopotential and temperature, shape (times, levels, latitudes, longitudes) each."""
    anomaly = model.geopotential(states)
    upper, lower = anomaly[:, :1], anomaly[:, 1:]
    geopotential, temperature = reference_profile(pressure)
    column = (slice(None), None, None)
    depth = LAYERS[1] - LAYERS[0]
    yield geopotential[column] + upper + (lower - upper) * ((pressure - LAYERS[0]) / depth)[column]
    # Hydrostatic balance, T = -(p / R) d(geopotential)/dp.
    yield temperature[column] + (upper - lower) * (pressure / depth / GAS_CONSTANT)[column]


def _create(
    group: zarr.Group,
    model: TwoLayerQG,
    pressure: FloatArray,
    hours: NDArray[np.int64],
    chunk_times: int,
) -> list[zarr.Array[Any]]:
    latitude = _attributes("latitude", "latitude", "degrees_north")
    longitude = _attributes("longitude", "longitude", "degrees_east")
    level = _attributes("air_pressure", "pressure level", "hPa") | {"positive": "down"}
    time = _attributes("time", "time", "hours since 1900-01-01") | {
        "calendar": "proleptic_gregorian"
    }
    coordinates: list[tuple[str, NDArray[np.int64] | FloatArray, dict[str, Any]]] = [
        ("time", hours, time),
        ("level", pressure, level),
        ("latitude", model.latitude, latitude),
        ("longitude", model.longitude, longitude),
    ]
    for name, values, attributes in coordinates:
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            # One chunk: readers load a coordinate whole.
            chunks=values.shape,
            dimension_names=(name,),
            attributes=attributes,
        )
        array[:] = values
    variables = {
        "geopotential": _attributes("geopotential", "geopotential", "m2 s-2"),
        "temperature": _attributes("air_temperature", "temperature", "K"),
    }
    shape = (hours.size, pressure.size, model.latitudes, model.longitudes)
    return [
        group.create_array(
            name,
            shape=shape,
            dtype=np.float32,
            chunks=(chunk_times, *shape[1:]),
            # A chunk that was never written reads as missing, not as zero.
            fill_value=np.nan,
            dimension_names=("time", "level", "latitude", "longitude"),
            attributes=attributes,
        )
        for name, attributes in variables.items()
    ]


def _attributes(standard_name: str, long_name: str, units: str) -> dict[str, Any]:
    return {"standard_name": standard_name, "long_name": long_name, "units": units}


def _describe(model: TwoLayerQG, seed: int, spinup_days: int) -> dict[str, Any]:
    # Infinite time scales are allowed, but JSON knows no infinity.
    parameters = {
        f"model_{key}": value if np.isfinite(value) else str(value)
        for key, value in asdict(model).items()
    }
    return {
        "Conventions": "CF-1.11",
        "title": "Nature run of a two-layer quasi-geostrophic model",
        "comment": (
            "This is a model's weather, not the real one: no reanalysis, no observations. The "
            "dates are labels; there is no season, no day, no mountain and no moisture. Two "
            "layers make all levels: geopotential is linear in pressure between them, temperature "
            "hydrostatic from it, both on the standard atmosphere."
        ),
        "source": "gfrnn_core.systems.TwoLayerQG",
        "institution": "none",
        "seed": seed,
        "spinup_days": spinup_days,
        **parameters,
    }
