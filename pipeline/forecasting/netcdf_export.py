"""Export a forecast store as netCDF files by the CF conventions, one for each initial time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import netCDF4
import pandas as pd
import xarray as xr

from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.files.leads import decode_leads
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting.netcdf_dataset import EXPORTED, netcdf_dataset, netcdf_names
from gfrnn.pipeline.forecasting.store_sums import check_sums, naming_damage
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate

LATEST = "latest"
"""Word for the last initial time."""

_STAGE = "export"


@dataclass(frozen=True)
class NetcdfExport:
    """Files to write from a forecast store; all is checked that can be checked before.

    Attributes
    ----------
    store : Path
        The forecast store.
    ds : xarray.Dataset
        The forecasts to export, in the stored chunks.
    files : list of Path
        File of each initial time.
    missing : list of int
        Positions of the initial times whose files are to be written.
    """

    store: Path
    ds: xr.Dataset
    files: list[Path]
    missing: list[int]

    @classmethod
    def prepare(
        cls,
        path: Path,
        output: Path | None = None,
        init: Sequence[str] = (),
        *,
        force: bool = False,
    ) -> NetcdfExport:
        """Check forecasts and files.

        Parameters
        ----------
        path : Path
            Folder of a run, or a forecast store.
        output : Path, optional
            Folder of the files; by default ``netcdf`` in the folder of the run, or the name of the
            store with ``_netcdf``.
        init : sequence of str, optional
            Initial times such as ``2021-04-01T12``, days, or ``latest``; by default all.
        force : bool
            Whether to write files that exist already.

        Raises
        ------
        ConfigError
            If an initial time is not in the store.
        RunError
            If there are no finished forecasts, they are damaged, a variable cannot be named in
            netCDF, or a file holds other forecasts.
        """
        store, name, folder = _places(path)
        # What others have made of a store may have kept its attributes, and so its sums.
        if folder == store.with_name("netcdf") and store.exists():
            check_sums(store)
        ds = _open_store(store)
        netcdf_names(ds)  # refuse names that clash
        ds = ds.isel(time=_chosen(ds.indexes["time"], init, store))
        folder = output or folder
        if folder.exists() and not folder.is_dir():
            raise RunError(f"--output: {folder} is not a folder; choose another one")
        stamps = pd.DatetimeIndex(ds.indexes["time"])
        pattern = "%Y%m%dT%H" if (stamps == stamps.floor("h")).all() else "%Y%m%dT%H%M%S"
        files = [folder / _file_name(name, stamp.strftime(pattern)) for stamp in stamps]
        missing = [
            place for place, file in enumerate(files) if force or not _is_written(file, ds.attrs)
        ]
        return cls(store, ds, files, missing)

    def write(self, progress: Progress | None = None) -> None:
        """Write the missing files, each under another name until it is complete.

        Raises
        ------
        RunError
            If the forecasts are damaged, or a file cannot be written, such as on a full disk.
        """
        progress = progress or (lambda _: None)
        total = len(self.missing)
        progress(ProgressUpdate(_STAGE, 0, total))
        for done, place in enumerate(self.missing, 1):
            file = self.files[place]
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_file(netcdf_dataset(self.ds.isel(time=place)), file, self.store)
            progress(ProgressUpdate(_STAGE, done, total))


def _places(path: Path) -> tuple[Path, str, Path]:
    """Return the store, the name that files begin with, and the default folder of the files."""
    run = path if (path / "experiment.yaml").exists() else path.parent
    if (run / "experiment.yaml").exists() and path in (run, run / "forecast.zarr"):
        return run / "forecast.zarr", run.absolute().name, run / "netcdf"
    return path, path.stem, path.with_name(f"{path.stem}_netcdf")


def _file_name(name: str, stamp: str) -> str:
    """Return the name of a file; the name of a run from one time ends with that time already."""
    return f"{name.removesuffix(f'-{stamp}')}_{stamp}.nc"


def _open_store(path: Path) -> xr.Dataset:
    """Open a finished forecast store lazily, with its chunks.

    Raises
    ------
    RunError
        If there is none.
    DataError
        If it has neither valid times nor leads of a known unit.
    """
    if not path.exists():
        message = f"{path}: no forecasts there; run `gfrnn forecast` first, or correct RUN"
        if path.with_name("statistics.zarr").exists():
            message += "; a run with forecast.store: false keeps no fields: set it to true first"
        raise RunError(message)
    try:
        ds: xr.Dataset = xr.open_zarr(path, decode_timedelta=True, consolidated=False)
    except (KeyError, OSError, ValueError) as error:
        raise RunError(
            f"{path}: is no zarr store that can be read ({error}); give the folder of a run, or a "
            "forecast store"
        ) from None
    if lacking := [dim for dim in ("time", "prediction_timedelta") if dim not in ds.dims]:
        raise RunError(
            f"{path}: has no dimension {lacking[0]}, only {', '.join(map(str, ds.dims))}; give the "
            "folder of a run, or a store of forecasts"
        )
    if "valid_time" not in ds.coords:
        decode_leads(ds, "prediction_timedelta", str(path))  # refuse leads of no unit
    if not ds.attrs.get("complete", True):  # stores of others have no such attribute
        raise RunError(f"{path}: the forecasts are not finished; run `gfrnn forecast` again")
    return ds


def _chosen(stamps: pd.Index, init: Sequence[str], store: Path) -> list[int]:
    """Return the positions of initial times in a store.

    Raises
    ------
    ConfigError
        If one is not in the store.
    """
    if not len(stamps):
        raise ConfigError(f"{store}: has no initial times; run `gfrnn forecast` again")
    if not init:
        return list(range(len(stamps)))
    places: set[int] = set()
    for wanted in init:
        if wanted == LATEST:
            places.add(int(stamps.argmax()))
            continue
        found = checked(Period, (wanted, wanted), "--init").mask(stamps.to_numpy()).nonzero()[0]
        if not len(found):
            raise ConfigError(
                f"--init: {wanted} is no initial time of {store}, whose {len(stamps)} initial "
                f"times go from {stamps.min()} to {stamps.max()}; choose one of them, or {LATEST}"
            )
        places.update(found.tolist())
    return sorted(places)


def _is_written(file: Path, attrs: dict[str, Any]) -> bool:
    """Check for the complete file of a forecast.

    A store without title and history, of others, does not tell whether a file is made from it:
    files that this program has exported are then written again.

    Raises
    ------
    RunError
        If the file holds other forecasts.
    """
    if not file.exists():
        return False
    advice = "choose another --output, or replace it with --force"
    try:
        with netCDF4.Dataset(file) as found:
            own = [str(getattr(found, name, "")) for name in ("title", "history")]
    except OSError as error:
        raise RunError(f"{file}: exists and cannot be read ({error.strerror}); {advice}") from None
    wanted = [str(attrs.get(name, "")) for name in ("title", "history")]
    exported = not own[0] and own[1].endswith(EXPORTED) and len(own[1].splitlines()) == 1
    if not any(wanted) and exported:
        return False
    if not any(wanted) or own[0] != wanted[0] or not own[1].startswith(wanted[1]):
        raise RunError(
            f"{file}: holds other forecasts ({own[0]!r}, {own[1].splitlines()[:1]}) than the store "
            f"({wanted[0]!r}, [{wanted[1]!r}]); {advice}"
        )
    return True


def _write_file(ds: xr.Dataset, file: Path, store: Path) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    # A chunk is read and written at a time: netCDF takes calls of one thread only.
    try:
        with dask.config.set(scheduler="synchronous"):
            ds.to_netcdf(partial, engine="netcdf4", format="NETCDF4")
    except (OSError, RuntimeError, ValueError) as error:
        partial.unlink(missing_ok=True)
        with naming_damage(store), dask.config.set(scheduler="synchronous"):
            for variable in ds.variables.values():
                for block in da.asarray(variable.data).blocks.ravel():
                    block.compute()
        if not isinstance(error, RuntimeError):
            raise
        # The netCDF library does not say more.
        raise RunError(
            f"{file}: cannot be written ({error}); check the free space, and run the same command "
            "again to resume"
        ) from None
    os.replace(partial, file)
