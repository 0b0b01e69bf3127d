"""Files of gridded data at random that are wrong, or unusual, in one or several places."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

UNITS = ["K", "degC", "Pa", "hPa", "", "?", "m2 s-2", "kelvins", "1", "%", "K" * 300, "\x07"]
WORDS = ["latitude", "lat", "time", "level", "", "x", "a b", "/", "é", "n" * 300, "valid_time"]
TIME_UNITS = [
    "days since 2001-01-01", "hours since 1900-01-01", "days since nothing", "months since 2000",
    "fortnights since 2001-01-01", "days", "", "seconds since 2001-13-45", 7,
    "days since 99999-01-01", "day as %Y%m%d.%f",
]  # fmt: skip
NUMBERS = [np.nan, np.inf, -np.inf, 1e300, -32767.0, 9.96921e36, 0.0, -1e9]
ATTRIBUTES: list[tuple[str, Any]] = [
    ("units", 5), ("units", "K"), ("units", ""), ("standard_name", 3), ("standard_name", "x"),
    ("long_name", np.array([1.0, 2.0])), ("axis", "Q"), ("calendar", "noleap"),
    ("calendar", "martian"), ("scale_factor", 0.0), ("scale_factor", "two"),
    ("add_offset", np.nan), ("_FillValue", 7), ("missing_value", "none"), ("positive", "sideways"),
    ("cell_methods", "time: sum"), ("cell_methods", 3), ("GRIB_stepType", "accum"),
    ("coordinates", "a b c"), ("bounds", "nowhere"), ("dtype", "int8"),
]  # fmt: skip


def plain(dice: random.Random) -> xr.Dataset:
    """Return some days of two variables that nothing is wrong with."""
    times, rows, columns = dice.choice([3, 40]), dice.choice([2, 4]), dice.choice([2, 5])
    rng = np.random.default_rng(dice.randrange(10**6))
    dims = ("time", "latitude", "longitude")
    shape = (times, rows, columns)
    return xr.Dataset(
        {
            "t2m": (dims, 280 + rng.normal(size=shape).astype("f4"), {"units": "K"}),
            "z": (
                ("time", "level", *dims[1:]),
                5e4 + rng.normal(size=(times, 2, rows, columns)).astype("f4"),
                {"units": "m2 s-2"},
            ),
        },
        {
            "time": pd.date_range("2001-01-01", periods=times, freq=dice.choice(["1D", "6h"])),
            "level": ("level", [500.0, 850.0], {"units": "hPa"}),
            "latitude": ("latitude", np.linspace(40, 50, rows), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(0, 20, columns), {"units": "degrees_east"}),
        },
    )


def strange_source(folder: Path, dice: random.Random) -> tuple[str, list[str]]:
    """Write a file or a store with one to four oddities; return its path and what was done."""
    ds, done = plain(dice), []
    for _ in range(dice.randint(1, 3)):
        change = dice.choice(_CHANGES)
        try:
            ds = change(ds, dice)
            done.append(change.__name__.strip("_"))
        except (ValueError, KeyError, TypeError, IndexError, RuntimeError):
            continue  # it does not fit an earlier change
    path = folder / dice.choice(["a.nc", "a.nc4", "a.zarr", "a b.zarr", "a2.zarr"])
    try:
        _write(ds, path, dice)
    except Exception as error:  # a library does not write everything that is strange
        done.append(f"written without that ({type(error).__name__})")
        _remove(path)
        _write(plain(dice), path, dice)
    if dice.random() < 0.4:
        damage = dice.choice([_garble, _truncate, _change_metadata, _remove_file])
        done.append(damage.__name__.strip("_"))
        damage(path, dice)
    return str(path), done


def _write(ds: xr.Dataset, path: Path, dice: random.Random) -> None:
    if path.suffix == ".zarr":
        zarr_format = 2 if path.stem.endswith("2") else 3
        ds.to_zarr(path, zarr_format=zarr_format, consolidated=dice.random() < 0.5)
    else:
        ds.to_netcdf(path, engine=dice.choice(["netcdf4", "h5netcdf", "scipy"]))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _name(ds: xr.Dataset, dice: random.Random) -> str:
    return str(dice.choice(list(ds.variables)))


def _attribute(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    key, value = dice.choice(ATTRIBUTES)
    ds[_name(ds, dice)].attrs[key] = value
    return ds


def _unit(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    ds[_name(ds, dice)].attrs["units"] = dice.choice(UNITS)
    return ds


def _time_unit(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    numbers = np.arange(ds.sizes["time"]) * dice.choice([1, 1.5, -1, 10**9, 0])
    return ds.assign_coords(time=("time", numbers, {"units": dice.choice(TIME_UNITS)}))


def _times(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    order = list(range(ds.sizes["time"]))
    how = dice.randrange(4)
    if how == 0:
        dice.shuffle(order)
    elif how == 1:
        order += order[:2]
    elif how == 2:
        order = order[: dice.randrange(3)]
    else:
        order = [place for place in order if dice.random() < 0.6]
    return ds.isel(time=order)


def _values(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    name = _name(ds, dice)
    values = np.array(ds[name].values, dtype=float)
    if dice.random() < 0.3:
        values[...] = dice.choice(NUMBERS)
    else:
        values.reshape(-1)[dice.randrange(values.size)] = dice.choice(NUMBERS)
    return ds.assign({name: (ds[name].dims, values, ds[name].attrs)})


def _type(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    name, kind = _name(ds, dice), dice.choice(["i1", "i2", "f8", "bool", "U5", "c16", "u8"])
    return ds.assign({name: (ds[name].dims, ds[name].values.astype(kind), ds[name].attrs)})


def _rename(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    return ds.rename({_name(ds, dice): dice.choice(WORDS)})


def _drop(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    return ds.drop_vars(_name(ds, dice))


def _order(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    dims = list(ds.dims)
    dice.shuffle(dims)
    return ds.transpose(*dims)


def _dimension(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    dim = str(dice.choice(list(ds.dims)))
    return ds.isel({dim: dice.choice([0, slice(0, 1), slice(0, 0), slice(None, None, -1)])})


def _extra(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    return ds.expand_dims({dice.choice(["number", "expver", "step", "band"]): dice.choice([1, 2])})


def _coordinates(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    name = dice.choice(["latitude", "longitude", "level"])
    values = np.array(ds[name].values, dtype=float)
    how = dice.randrange(4)
    if how == 0:
        values[...] = values.flat[0]
    elif how == 1:
        values = values * dice.choice([100.0, 1e9, -1.0, 0.01])
    elif how == 2:
        values.reshape(-1)[0] = dice.choice(NUMBERS)
    else:
        values = values + dice.choice([360.0, -360.0, 89.0])
    return ds.assign_coords({name: (ds[name].dims, values, ds[name].attrs)})


def _second_grid(ds: xr.Dataset, dice: random.Random) -> xr.Dataset:
    zeros = np.zeros((ds.sizes["latitude"], ds.sizes["longitude"]))
    second = {
        "lat2": ("latitude", ds["latitude"].values),
        "lon": (("latitude", "longitude"), zeros),
    }
    return ds.assign_coords(second)


_CHANGES: list[Callable[[xr.Dataset, random.Random], xr.Dataset]] = [
    _attribute, _attribute, _unit, _time_unit, _times, _values, _type, _rename, _drop, _order,
    _dimension, _extra, _coordinates, _second_grid,
]  # fmt: skip


def _file(path: Path, dice: random.Random) -> Path:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return dice.choice(files)


def _garble(path: Path, dice: random.Random) -> None:
    file = _file(path, dice)
    content = bytearray(file.read_bytes())
    for _ in range(dice.choice([1, 4, 64])):
        if content:
            content[dice.randrange(len(content))] = dice.randrange(256)
    file.write_bytes(content)


def _truncate(path: Path, dice: random.Random) -> None:
    file = _file(path, dice)
    content = file.read_bytes()
    file.write_bytes(content[: dice.randrange(len(content) + 1)])


def _remove_file(path: Path, dice: random.Random) -> None:
    _file(path, dice).unlink()


def _change_metadata(path: Path, dice: random.Random) -> None:
    """Change a value of JSON in a zarr store; other files are garbled."""
    if not path.is_dir():
        _garble(path, dice)
        return
    names = ("zarr.json", ".zarray", ".zattrs", ".zmetadata", ".zgroup")
    file = dice.choice(sorted(each for each in path.rglob("*") if each.name in names))
    tree = json.loads(file.read_text(encoding="utf-8"))
    found = _places(tree)
    if found:
        container, key = dice.choice(found)
        container[key] = dice.choice(
            [None, -1, 0, 10**12, "x", [], {}, [0], [10**9], True, 1.5, "r999999999", "<U4"]
        )
    file.write_text(json.dumps(tree), encoding="utf-8")


def _places(tree: Any) -> list[tuple[Any, Any]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in inner:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += _places(value)
    return found
