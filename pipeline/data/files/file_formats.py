"""Recognition of the format of a file by its first bytes."""

from __future__ import annotations

import warnings
from pathlib import Path

from gfrnn.pipeline.data.files.raw_file import first_line
from gfrnn.pipeline.errors import DataError

ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
HEAD = 64
"""Number of first bytes that tell the format."""

# Formats that are not read: first bytes, what the file is, and what to do.
_REFUSED = (
    (b"\x1f\x8b", "a file compressed with gzip; unpack it, for example with gunzip --keep"),
    (b"BZh", "a file compressed with bzip2; unpack it, for example with bunzip2 --keep"),
    (b"\xfd7zXZ", "a file compressed with xz; unpack it, for example with unxz --keep"),
    (b"(\xb5/\xfd", "a file compressed with zstd; unpack it, for example with unzstd"),
    (b"PK\x03\x04", "a zip archive; unpack it, for example with unzip, and give the files in it"),
    (b"\x0e\x03\x13\x01", "an HDF4 file; convert it to netCDF-4, for example with h4toh5"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file; run git lfs pull"),
    (b"<!doctype", "a web page, as a server sends instead of a file; download the file again"),
    (b"<html", "a web page, as a server sends instead of a file; download the file again"),
)


_TABLES = (".csv", ".tsv", ".txt")

TABLE_REMEDY = (
    "write it as netCDF, for example with pandas.read_csv, DataFrame.to_xarray and "
    "Dataset.to_netcdf, with times as the coordinate time, scalar coordinates latitude and "
    "longitude, and each variable's attribute units"
)


def is_table(path: str) -> bool:
    """Whether the name of a file is that of a table of text, such as the series of a station."""
    return path.lower().endswith(_TABLES)


def engine_of(path: str, start: bytes) -> str:
    """Return ``netcdf3``, ``netcdf4`` or ``grib`` for the first bytes of a file.

    Raises
    ------
    DataError
        If the file has another format; the message says which, and what to do.
    """
    if start.startswith(b"\x89HDF"):
        return "netcdf4"
    if start.startswith(b"CDF"):
        return "netcdf3"
    if start.startswith(b"GRIB"):
        return "grib"
    for first, found in _REFUSED:
        if start.lower().startswith(first.lower()):
            raise DataError(f"{path}: {found}")
    if path.lower().endswith((".yaml", ".yml")):
        raise DataError(
            f"{path}: is an experiment file or another YAML file, and not data; give the files or "
            "stores of data that it names"
        )
    if is_table(path):
        raise DataError(f"{path}: a table of text; {TABLE_REMEDY}")
    found = "an empty file" if not start else f"a file that begins with {start[:8]!r}"
    raise DataError(f"{path}: {found}; only netCDF and GRIB files and zarr stores can be read")


def check_length(path: Path) -> None:
    """Reject a truncated classic netCDF file, of which netCDF reads the missing part as zeros."""
    from scipy.io import netcdf_file  # slow to import, and used for old files only

    with path.open("rb") as stream, warnings.catch_warnings():
        if stream.read(4) == b"CDF\x05":  # 64-bit data format, which scipy cannot read
            return
        stream.seek(0)
        warnings.simplefilter("ignore")
        try:
            # Memory mapping reads no values, and fails if an array ends after the end of the file.
            netcdf_file(stream, "r", mmap=True).close()
        except Exception as error:
            raise DataError(
                f"{path}: the file is truncated ({first_line(error)}); copy or download it again"
            ) from None
