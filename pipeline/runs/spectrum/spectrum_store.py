"""Write the modes of a run's linear dynamics as a zarr store with CF attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.mode_spectrum import (
    CONTRIBUTION_BOUND,
    RESIDUAL_BOUND,
    ModeSpectrum,
    mode_spectrum,
)
from gfrnn.pipeline.storage import consolidate, write_whole

Array = NDArray[Any]

_REFERENCES = (
    "Colbrook and Townsend 2024, Comm. Pure Appl. Math. 77 (residuals); Neumaier and Schneider "
    "2001, ACM Trans. Math. Softw. 27 (modes of autoregressive models)"
)


def write_spectrum(run: Run, modes: int) -> ModeSpectrum:
    """Compute the spectrum of a run and write ``spectrum.zarr``, which replaces an earlier one.

    Parameters
    ----------
    run : Run
        A run with a finished fit.
    modes : int
        Number of leading modes in the store.

    Raises
    ------
    RunError
        If the run has no spectrum, see
        :func:`gfrnn.pipeline.runs.spectrum.mode_spectrum.mode_spectrum`.
    DataError
        If the unit of a variable has to be read from the data, and these do not exist any more.
    """
    spectrum = mode_spectrum(run)
    ds = spectrum_dataset(run, spectrum, modes)

    def write(path: Path) -> None:
        ds.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
        consolidate(path)

    with run.lock():
        write_whole(run.spectrum, write)
    return spectrum


def spectrum_dataset(run: Run, spectrum: ModeSpectrum, modes: int) -> xr.Dataset:
    """Return the leading modes of a spectrum, and the eigenvalues of all.

    Returns
    -------
    xarray.Dataset
        Variables of each mode on ``mode``, 1 to at most ``modes``; real and imaginary part of its
        map in each variable of the run, on (mode, [level], latitude, longitude). Eigenvalues and
        residuals of all modes are on ``eigenvalue``, in the same order.
    """
    grid = spectrum.layout.scaling.grid
    count = min(modes, len(spectrum.eigenvalues))
    # Xarray decodes numbers with the unit "days" as timedelta64, which has no infinity.
    unit = "months" if spectrum.step.monthly else "d"
    values, lead = spectrum.eigenvalues, slice(0, count)

    def of_mode(values: Array, long_name: str, units: str = "1", **attrs: Any) -> Any:
        return ("mode", values[lead], {"long_name": long_name, "units": units, **attrs})

    def of_all(values: Array, long_name: str) -> Any:
        return ("eigenvalue", values, {"long_name": long_name, "units": "1"})

    variables: dict[str, Any] = {
        "eigenvalue_real": of_mode(values.real, "real part of the eigenvalue"),
        "eigenvalue_imag": of_mode(values.imag, "imaginary part of the eigenvalue"),
        "period": of_mode(
            spectrum.periods, "period", unit, comment="infinite for a mode that does not oscillate"
        ),
        "e_folding_time": of_mode(
            spectrum.e_folding_times, "time of decay by 1/e", unit, comment="negative for growth"
        ),
        "residual": of_mode(
            spectrum.residuals,
            "root mean square error of the eigenfunction in a step, relative to its own size",
            comment="on the validation period, which the operator is not fitted to",
        ),
        "noise_floor": of_mode(
            spectrum.noise_floor,
            "residual that noise alone causes",
            comment="sqrt(1 - abs(eigenvalue) ** 2)",
        ),
        "contribution": of_mode(
            spectrum.contributions,
            "increase of the squared error of the forecast of a step without this mode",
            comment="relative to the variance; on the validation period",
        ),
        "confirmed": of_mode(
            spectrum.confirmed.astype(np.int8),
            "whether the validation period confirms the mode",
            flag_values=[0, 1],
            flag_meanings="not_confirmed confirmed",
            comment=f"residual <= noise_floor + {RESIDUAL_BOUND}, and contribution >= "
            f"{CONTRIBUTION_BOUND} * forecast_error",
        ),
        "all_eigenvalues_real": of_all(values.real, "real part of the eigenvalues of all modes"),
        "all_eigenvalues_imag": of_all(values.imag, "imaginary part of the eigenvalues"),
        "all_residuals": of_all(spectrum.residuals, "residuals of all modes"),
    }
    for part, fields in zip(("real", "imag"), spectrum.maps(count), strict=True):
        for variable in dict.fromkeys(channel.variable for channel in grid.channels):
            dims, own = _stacked_levels(grid, variable, fields)
            variables[f"{variable}_{part}"] = (
                dims,
                own.astype(np.float32),
                {
                    "long_name": f"{part.replace('imag', 'imaginary')} part of the map of a mode: "
                    f"anomaly of {_quantity_name(run, variable)}",
                    "units": units_of(run, variable),
                },
            )
    return xr.Dataset(variables, _coordinates(grid, count), _attributes(run, spectrum))


def units_of(run: Run, variable: str) -> str:
    """Return the unit of anomalies of a variable, 1 if it has a transform.

    It is read from the data if the name of the variable is not known.

    Raises
    ------
    DataError
        If the data do not exist any more.
    """
    if variable in run.experiment.data.transform:
        return "1"
    quantity = QUANTITIES.get(variable)
    return quantity.units if quantity else str(run.ds[variable].attrs.get("units", ""))


def _quantity_name(run: Run, variable: str) -> str:
    """Return what maps are anomalies of, for people: a variable or its transform."""
    name, transform = variable.replace("_", " "), run.experiment.data.transform.get(variable)
    return f"{transform} of {name}" if transform else name


def _stacked_levels(grid: Grid, variable: str, fields: Array) -> tuple[tuple[str, ...], Array]:
    """Return dimensions and values of a variable from the fields (modes, channels, ...) of all.

    If variables have different levels, a variable is NaN at the levels that it lacks.
    """
    own = {
        c.level: fields[:, index] for index, c in enumerate(grid.channels) if c.variable == variable
    }
    if None in own:
        return ("mode", "latitude", "longitude"), own[None]
    absent = np.full_like(fields[:, 0], np.nan)
    stacked = np.stack([own.get(level, absent) for level in _levels(grid)], axis=1)
    return ("mode", "level", "latitude", "longitude"), stacked


def _levels(grid: Grid) -> list[float]:
    return sorted({c.level for c in grid.channels if c.level is not None})


def _coordinates(grid: Grid, count: int) -> dict[str, Any]:
    """Return the coordinates of the modes and of the grid."""
    order = "number of the mode, by its contribution to the forecast of a step"
    coords: dict[str, Any] = {
        "mode": ("mode", np.arange(1, count + 1), {"long_name": order}),
        "latitude": (
            "latitude",
            grid.latitude,
            {"standard_name": "latitude", "units": "degrees_north"},
        ),
        "longitude": (
            "longitude",
            grid.longitude,
            {"standard_name": "longitude", "units": "degrees_east"},
        ),
    }
    if levels := _levels(grid):
        about = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        coords["level"] = ("level", np.asarray(levels), about)
    return coords


def _attributes(run: Run, spectrum: ModeSpectrum) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "title": f"modes of the linear dynamics of {run.experiment.name}",
        "source": "linear operator on delayed principal components, from R factors of their rows",
        "references": _REFERENCES,
        "comment": "The anomaly of a mode is the real part of z(t) (real + i imag), with "
        "z(t + time_step) = eigenvalue z(t); z has a root mean square of 1 in the training period.",
        "time_step": str(spectrum.step),
        "delays": spectrum.delays,
        "training_rows": spectrum.rows,
        "validation_rows": spectrum.held_out,
        "forecast_error": spectrum.error,
        "data_fingerprint": run.record.fingerprint or "",
    }
