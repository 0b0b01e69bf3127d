"""EOFs of a nature run: those of a fit's passes, and those of xeofs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
import numpy as np
import scipy.linalg
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary, Scaling
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.training.stretches import leaf_length, split
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.program import Program, Setting
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn.workflows.benchmarks.training_pass import reduced
from gfrnn.workflows.nature_run import write_nature

Array = NDArray[Any]

VARIABLE, LEVELS = "geopotential", (250.0, 750.0)


def modes(quick: bool) -> int:
    """Return the number of EOFs."""
    return 30 if quick else 120


def archive_fields(folder: Path) -> Fields:
    """Return the fields of the archive of a comparison."""
    settings = {"sources": [str(folder / "nature.zarr")], "variables": {VARIABLE: list(LEVELS)}}
    return Fields(open_source(DataConfig.model_validate(settings)))


def prepare(folder: Path, quick: bool) -> None:
    """Write the archive, the weights of its cells, and the exact EOFs of all its times."""
    # A short spin-up leaves waves of few scales, which is enough to run the same code.
    shorter: dict[str, Any] = {"days": 90, "spinup_days": 5} if quick else {}
    write_nature(folder / "nature.zarr", years=6, levels=LEVELS, **shorter)
    fields = archive_fields(folder)
    values = fields.read(0, len(fields.time))
    values -= values.mean(axis=0)
    by_channel = values.reshape(len(values), *fields.grid.shape)
    variance = np.average(
        np.square(by_channel).mean(axis=0), axis=(1, 2), weights=fields.grid.area_weights[0]
    )
    weights = np.sqrt(fields.grid.area_weights) / np.sqrt(variance)[:, None, None]
    values *= weights.ravel()
    np.save(folder / "weights.npy", weights)
    np.save(folder / "exact.npy", exact_eofs(values, modes(quick)))


def exact_eofs(values: Array, count: int) -> Array:
    """Return the leading right singular vectors of a matrix, shape (count, columns).

    They come from the products of its shorter side in float64, whose rounding errors turn them by
    far less than the angles that are compared.
    """
    times, size = values.shape
    least = min(times, size)
    products = values.T @ values if size == least else values @ values.T
    squares, vectors = scipy.linalg.eigh(
        products, subset_by_index=(least - count, least - 1), overwrite_a=True
    )
    if size > least:
        vectors = values.T @ vectors / np.sqrt(squares)
    return np.asarray(vectors.T[::-1])


class Eofs(Program):
    """A method that computes EOFs, shape (modes, cells), orthonormal in the scaled space."""

    def forecast(self, model: Array) -> Array:
        return model

    def score(self, forecast: Array) -> dict[str, float]:
        """Return the largest angle between the subspaces of these and of the exact EOFs."""
        exact = np.load(self.folder / "exact.npy")
        parts = {"half": len(exact) // 2, "all": len(exact)}
        return {name: largest_angle(forecast[:part], exact[:part]) for name, part in parts.items()}


def largest_angle(found: Array, exact: Array) -> float:
    """Return the largest principal angle of two subspaces in degrees."""
    return float(np.rad2deg(scipy.linalg.subspace_angles(found.T, exact.T).max()))


class PassEofs(Eofs):
    """The two passes of a fit over the fields: the mean, and the merged truncated SVD."""

    def fit(self, setting: Setting, seed: int) -> Array:
        fields, count = archive_fields(self.folder), modes(self.quick)
        whole = Stretch("all", 0, len(fields.time))
        length = leaf_length(fields.grid.size, None, fields.ds.attrs["time_chunk"])
        leaves = split(whole, length, fields.ds.attrs["time_chunk"])
        moments = ClimatologySummary(fields, annual=0, diurnal=0)
        climatology: Climatology = moments.finish(reduced(moments, leaves))
        svd = EofSummary(fields, Scaling(fields.grid, climatology), rank=2 * count)
        layout, _ = svd.finish(reduced(svd, leaves), count)
        return layout.vectors


class XeofsEofs(Eofs):
    """``xeofs.single.EOF``; ``in_memory`` loads the data first, ``solver`` has its keywords."""

    def load(self) -> None:
        import xeofs  # noqa: F401 - before the measurement

        self.weights = np.load(self.folder / "weights.npy")

    def fit(self, setting: Setting, seed: int) -> Array:
        import xeofs

        with dask.config.set(scheduler="synchronous"), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its calls of newer versions of xarray
            fields = xr.open_zarr(self.folder / "nature.zarr")[VARIABLE]
            if self.options["in_memory"]:
                fields = fields.load()
            # Labels are those of the fields, with latitudes ascending in both.
            fields = fields.sortby("latitude")
            order = ("level", "latitude", "longitude")
            weights = xr.DataArray(
                self.weights, dims=order, coords={name: fields[name] for name in order}
            )
            model = xeofs.single.EOF(
                n_modes=modes(self.quick), random_state=0, solver_kwargs=self.options["solver"]
            )
            model.fit(fields, dim="time", weights=weights)
            found = model.components().transpose("mode", *order)
            return np.asarray(found.values).reshape(modes(self.quick), -1)


OURS = "gfrnn, passes of a fit"
IN_MEMORY, LAZY = "xeofs, data in memory", "xeofs, Dask arrays"
MORE = "xeofs, in memory, 120 more directions"


def bars(results: Mapping[str, PeerResult]) -> Iterator[BarCheck]:
    """Yield the bars: angle, and time and memory over those of xeofs as it is by default."""
    ours, theirs = results.get(OURS), results.get(IN_MEMORY)
    if ours:
        angle = ours.errors["all"]
        yield BarCheck("largest angle to the exact EOFs", angle, 1.0, at_most=True, unit=" degrees")
    if ours and theirs and ours.fit_seconds and theirs.fit_seconds:
        ratio = ours.fit_seconds / theirs.fit_seconds
        yield BarCheck(f"seconds over those of {IN_MEMORY}", ratio, 1.0, at_most=True)
    if ours and theirs and ours.memory and theirs.memory:
        ratio = ours.memory / theirs.memory
        yield BarCheck(f"memory over that of {IN_MEMORY}", ratio, 0.6, at_most=True)


def _xeofs(name: str, in_memory: bool, **solver: int) -> Contender:
    return Contender(
        name,
        "peer",
        f"{XeofsEofs.__module__}:{XeofsEofs.__name__}",
        ("xeofs", "scikit-learn") if in_memory else ("xeofs", "dask"),
        searches=False,
        setting=dict(solver),
        options={"in_memory": in_memory, "solver": solver},
    )


EOFS = Comparison(
    name="eofs",
    title="120 EOFs",
    about=(
        "Geopotential of a nature run at two levels, 32 x 64 cells, six years every six hours, "
        "float32 in zarr; anomalies from the mean, weighted by area and by the standard deviation "
        "of the level. The angle is the largest one between the subspaces of the EOFs and of the "
        "exact ones. By default xeofs takes a randomised SVD, of scikit-learn for data in memory "
        "and of Dask for lazy data."
    ),
    columns=(
        ErrorColumn("half", "largest angle of the first 60 (degrees)"),
        ErrorColumn("all", "largest angle of all (degrees)"),
    ),
    contenders=(
        Contender(OURS, "ours", f"{PassEofs.__module__}:{PassEofs.__name__}", searches=False),
        _xeofs(IN_MEMORY, True),
        _xeofs(MORE, True, n_oversamples=120),
        _xeofs(LAZY, False),
    ),
    prepare=f"{prepare.__module__}:prepare",
    bars=bars,
)
