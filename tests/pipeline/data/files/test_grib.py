"""Test reading of GRIB files: against the same fields in netCDF, and damaged ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.files import grib
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.stored_chunks import stored_chunks
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, make, opened, real, same
from gfrnn_testing.grib_files import write_grib

eccodes = pytest.importorskip("eccodes", reason="GRIB needs the extra grib")

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")
UK = "era5_uk_t2m_hourly_201903/era5-2mt-2019-03-uk.grib"
MEMBERS = "small_global/era5-levels-members.grib"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_grib(make(6), tmp_path / "a.grib")


def members(count: int) -> xr.Dataset:
    return xr.concat([make(4) + number for number in range(count)], "number").assign_coords(
        number=np.arange(count)
    )


@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("changed", ["nothing", "rows", "order", "gaps"])
def test_fields_are_those_of_netcdf(tmp_path: Path, edition: int, changed: str) -> None:
    ds, keys = make(6), {}
    if changed == "rows":
        ds = ds.isel(latitude=slice(None, None, -1))
    elif changed == "order":
        ds = ds.isel(time=[3, 0, 5, 2, 1, 4], level=[1, 0])
    elif changed == "gaps":
        ds["z"][1, 0, 2, 3] = np.nan
    found = opened(write_grib(ds, tmp_path / "a.grib", edition, keys))
    ds.sortby(["time", "level"]).to_netcdf(tmp_path / "a.nc")
    expected = opened(tmp_path / "a.nc")
    same(found, expected)
    assert fingerprint(found) == fingerprint(expected)
    assert found["geopotential"].attrs["standard_name"] == "geopotential"
    assert audit(found) == audit(expected)


def test_columns_first(tmp_path: Path) -> None:
    # Values go along the longitude for each latitude, or the other way round.
    swapped = make(2)[["t2m"]]
    swapped["t2m"] = swapped["t2m"].copy(
        data=swapped["t2m"].values.reshape(2, 8, 4).transpose(0, 2, 1)
    )
    plain = make(2)[["t2m"]]
    file = write_grib(plain, tmp_path / "a.grib", keys={"jPointsAreConsecutive": 1})
    same(opened(file), swapped.rename(t2m="2m_temperature"))


def test_files_of_a_pattern_are_joined(tmp_path: Path) -> None:
    ds = make(12)
    for number in range(3):
        part = ds.isel(time=slice(4 * number, 4 * number + 4))
        write_grib(part[["z"]], tmp_path / f"z_{number}.grib", edition=1)
        write_grib(part[["t2m"]], tmp_path / f"t2m_{number}.grb2")
    expected = ds.rename(z="geopotential", t2m="2m_temperature")
    same(opened(tmp_path / "*.gr*b*"), expected)
    # GRIB and netCDF files may be mixed.
    ds[["t2m"]].to_netcdf(tmp_path / "t2m.nc")
    same(opened(tmp_path / "z_*.grib", tmp_path / "t2m.nc"), expected)


def test_only_messages_that_are_asked_for_are_decoded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = opened(path)
    decoded = []
    plain = grib._message
    monkeypatch.setattr(grib, "_message", lambda *place: decoded.append(place) or plain(*place))
    wanted = {"time": [1, 4], "level": 1, "latitude": slice(1, 3)}
    xr.testing.assert_equal(
        ds["geopotential"].isel(wanted).load(), EXPECTED["geopotential"].isel(wanted)
    )
    assert len(decoded) == 2
    chunks = {each.level_group.time_ranges[0].variable: each for each in stored_chunks(ds)}
    assert (chunks["z"].file_times, chunks["z"].chunks_per_time) == (1, 2)
    assert chunks["z"].chunk_bytes == 4 * 4 * 8


def test_no_file_is_written(path: Path) -> None:
    before = {each.name for each in path.parent.iterdir()}
    opened(path).load()
    assert {each.name for each in path.parent.iterdir()} == before == {"a.grib"}


def test_a_dataset_pickles_to_little(tmp_path: Path) -> None:
    ds = opened(write_grib(make(60)[["t2m"]], tmp_path / "a.grib"))
    assert len(pickle.dumps(ds)) < 10_000
    same(pickle.loads(pickle.dumps(ds)), ds)


def test_a_member_is_selected(tmp_path: Path) -> None:
    ds = members(3)
    write_grib(ds, tmp_path / "a.grib")
    with pytest.raises(DataError, match=r"number has 3 entries.* set data\.sources\[0\]\.select"):
        opened(tmp_path / "a.grib")
    for number in (0, 2):
        found = opened({"path": str(tmp_path / "a.grib"), "select": {"number": number}})
        same(found, ds.isel(number=number, drop=True).rename(z="geopotential",
                                                             t2m="2m_temperature"))  # fmt: skip
    with pytest.raises(DataError, match=r"no entries of number are 7; it has 0, 1, 2"):
        opened({"path": str(tmp_path / "a.grib"), "select": {"number": 7}})
    with pytest.raises(DataError, match=r"select: the source has no dimension numbr; did you mean"):
        opened({"path": str(tmp_path / "a.grib"), "select": {"numbr": 1}})


def test_variables_of_one_name_on_several_kinds_of_levels(tmp_path: Path) -> None:
    ds = make(3)
    write_grib(ds[["z"]].rename(z="t2m"), tmp_path / "a.grib", keys={"shortName": "t"})
    surface = {"shortName": "t", "typeOfFirstFixedSurface": 1}
    write_grib(ds[["t2m"]], tmp_path / "a.grib", keys=surface)
    names = {"temperature": None}
    same(opened(tmp_path / "a.grib", variables=names), ds[["z"]].rename(z="temperature"))
    rename = {"t_surface": "skin_temperature"}
    found = opened({"path": str(tmp_path / "a.grib"), "rename": rename})
    assert set(found.data_vars) == {"temperature", "skin_temperature"}
    xr.testing.assert_equal(
        found["skin_temperature"].load(), ds["t2m"].rename("skin_temperature").load()
    )


def test_sums_are_valid_at_their_end(tmp_path: Path) -> None:
    ds = make(6, "1h")[["t2m"]].rename(t2m="tp") / 1e3
    keys = {"productDefinitionTemplateNumber": 8, "stepType": "accum", "stepRange": "0-1"}
    write_grib(ds, tmp_path / "a.grib", keys=keys)
    found = opened({"path": str(tmp_path / "a.grib"), "units": {"tp": "m"}})
    assert found["time"].values[0] == np.datetime64("2001-01-01T01:00")
    # As sums, hours of a longer step are added, and not left out.
    sums = opened({"path": str(tmp_path / "a.grib"), "units": {"tp": "m"}}, step="3h")
    np.testing.assert_allclose(
        sums["total_precipitation"], ds["tp"].coarsen(time=3).sum(), rtol=1e-6
    )


def cut(content: bytes) -> bytes:
    return content[: len(content) - 20]


def hole(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + content[middle + 100 :]


def blank(content: bytes) -> bytes:
    return content[:4] + bytes(len(content) - 4)


@pytest.mark.parametrize("damage", [cut, hole, blank])
@pytest.mark.parametrize("edition", [1, 2])
def test_a_damaged_message_is_named(
    tmp_path: Path, edition: int, damage: Callable[[bytes], bytes]
) -> None:
    path = write_grib(make(3), tmp_path / "a.grib", edition)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"a\.grib: message \d+, at byte \d+ of \d+, is damaged or cut off"
    ):
        opened(path)


def test_bytes_between_messages_are_skipped(tmp_path: Path) -> None:
    ds = make(2)[["t2m"]]
    path = tmp_path / "a.grib"
    for number in range(2):
        write_grib(ds.isel(time=[number]), path)
        with path.open("ab") as stream:
            stream.write(b"\r\r\nend of bulletin\n")
    same(opened(path), ds.rename(t2m="2m_temperature"))


def test_a_file_that_changes_under_its_index_is_named(path: Path) -> None:
    ds = opened(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.grib: z cannot be read .* damaged or incomplete"):
        ds["geopotential"].isel(time=5).load()


def test_fields_that_are_there_twice_are_named(path: Path) -> None:
    write_grib(make(6)[["t2m"]].isel(time=[2]), path)
    with pytest.raises(
        DataError, match=r"2 messages hold t2m at 2001-01-01T12:00, .*; keep one of each"
    ):
        opened(path)
    same(opened(path, variables={"geopotential": None}), EXPECTED[["geopotential"]])


def test_a_message_of_several_fields_is_named(path: Path, tmp_path: Path) -> None:
    with path.open("rb") as stream:
        handles = [eccodes.codes_grib_new_from_file(stream) for _ in range(2)]
    several = eccodes.codes_grib_multi_new()
    for handle in handles:
        eccodes.codes_grib_multi_append(handle, 4, several)
    with (tmp_path / "several.grib").open("wb") as stream:
        eccodes.codes_grib_multi_write(several, stream)
    eccodes.codes_grib_multi_release(several)
    with pytest.raises(DataError, match=r"message 1, at byte 0, holds 2 fields; split such"):
        opened(tmp_path / "several.grib")


@pytest.mark.parametrize("sample", ["reduced_gg_pl_32_grib2", "sh_pl_grib2"])
def test_grids_that_are_not_regular_are_named(tmp_path: Path, sample: str) -> None:
    handle = eccodes.codes_grib_new_from_samples(sample)
    (tmp_path / "a.grib").write_bytes(eccodes.codes_get_message(handle))
    with pytest.raises(DataError, match=r"the grid is not regular \(points, reduced Gaussian"):
        opened(tmp_path / "a.grib")


def test_fields_on_other_grids_are_left_out_beside_regular_ones(path: Path) -> None:
    handle = eccodes.codes_grib_new_from_samples("sh_pl_grib2")
    with path.open("ab") as stream:
        stream.write(eccodes.codes_get_message(handle))
    same(opened(path), EXPECTED)


@real
def test_hours_of_era5() -> None:
    ds = opened(DATA / UK)
    assert dict(ds.sizes) == {"time": 744, "latitude": 33, "longitude": 49}
    assert (np.diff(ds["time"]) == np.timedelta64(1, "h")).all()
    # A day is warmest after noon, and the south warmer than the north.
    hours = ds["2m_temperature"].groupby("time.hour").mean(["time", "latitude", "longitude"])
    assert 12 <= int(hours.values.argmax()) <= 15
    rows = ds["2m_temperature"].mean(["time", "longitude"])
    assert float(rows[0] - rows[-1]) > 2
    assert not [finding for finding in audit(ds) if finding.severity == "error"]


@real
def test_members_of_era5() -> None:
    fields = [
        opened({"path": str(DATA / MEMBERS), "select": {"number": number}}).load()
        for number in (0, 9)
    ]
    assert dict(fields[0].sizes) == {"time": 4, "level": 2, "latitude": 61, "longitude": 120}
    spread = np.abs(fields[0] - fields[1]).max()
    assert 10 < float(spread["geopotential"]) < 3000
    assert 0.1 < float(spread["temperature"]) < 15
    # Half a kilometre of thickness and more between 500 and 850 hPa, everywhere.
    thickness = fields[0]["geopotential"].sel(level=500) - fields[0]["geopotential"].sel(level=850)
    assert float(thickness.min()) > 9.8 * 3000
