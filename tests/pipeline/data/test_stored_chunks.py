"""Compare the chunks that a read decodes with a plain count, and test their memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn_testing.archives import make, opened
from gfrnn_testing.reduction_toys import random_fields

cases = settings(max_examples=40)
LEVELS, ROWS, COLUMNS = 2, 4, 8


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Write 40 times: chunks of 7 times, a level and half of the longitudes (z), 5 times (t2m)."""
    path = tmp_path_factory.mktemp("stored") / "archive.zarr"
    chunks = {"z": {"chunks": (7, 1, ROWS, 4)}, "t2m": {"chunks": (5, ROWS, COLUMNS)}}
    make(40).to_zarr(path, zarr_format=3, consolidated=False, encoding=chunks)
    return path


def by_name(ds) -> dict:
    return dict(zip(map(str, ds.data_vars), Fields(ds).stored_chunks, strict=True))


def test_chunks_are_those_of_the_store(store):
    stored = by_name(opened(store))
    z, t2m = stored["geopotential"], stored["2m_temperature"]
    assert (z.times, z.chunks_per_time, z.chunk_bytes) == (7, LEVELS * 2, 4 * 7 * ROWS * 4)
    assert (t2m.times, t2m.chunks_per_time, t2m.chunk_bytes) == (5, 1, 4 * 5 * ROWS * COLUMNS)
    assert z.field_bytes == 4 * LEVELS * ROWS * COLUMNS


def test_only_chunks_of_the_region_and_the_levels_count(store):
    data = {
        "variables": {"geopotential": [850]},
        "region": {"latitude": [40, 50], "longitude": [0, 100]},
    }
    (z,) = Fields(opened(store, **data)).stored_chunks
    assert z.chunks_per_time == 1  # one level, and longitudes 0 to 90 of the first half


def test_a_step_has_fewer_times_in_a_chunk(store):
    stored = by_name(opened(store, step="12h"))
    assert stored["geopotential"].times == 3


windows = st.lists(
    st.tuples(st.integers(0, 38), st.integers(1, 12)).map(lambda w: (w[0], min(40, w[0] + w[1]))),
    min_size=1,
    max_size=8,
)


@cases
@given(windows)
def test_decoded_chunks_are_those_of_a_plain_count(store, reads):
    for each in by_name(opened(store)).values():
        chunks = [set(np.arange(first, last) // each.times) for first, last in reads]
        often = sum(map(len, chunks)) * each.chunks_per_time
        once = len(set.union(*chunks)) * each.chunks_per_time
        assert each.count(np.array(reads)) == (often, once)


def test_files_do_not_share_chunks(tmp_path):
    ds = make(24)
    for number in range(2):  # 12 times in each, 5 in a chunk: three chunks a file
        part = ds.isel(time=slice(12 * number, 12 * number + 12))
        chunks = {"z": {"chunksizes": (5, 2, ROWS, COLUMNS)}}
        part[["z"]].to_netcdf(tmp_path / f"{number}.nc", encoding=chunks)
    (z,) = Fields(opened(str(tmp_path / "*.nc"))).stored_chunks
    assert z.count(np.array([[0, 24]])) == (6, 6)
    assert z.count(np.array([[9, 13]])) == (3, 3)


def test_all_variables_add_up(store):
    stored = Fields(opened(store)).stored_chunks
    reads = ChunkReads.count(stored, np.array([[0, 7], [3, 10]]))
    z, t2m = 4 * 7 * ROWS * 4, 4 * 5 * ROWS * COLUMNS
    assert reads == ChunkReads(3 * 4 + 4, 2 * 4 + 2, 3 * 4 * z + 4 * t2m, 2 * 4 * z + 2 * t2m)
    assert ChunkReads.count(stored, np.zeros((0, 2), dtype=int)) == ChunkReads(0, 0, 0, 0)


def test_selections_pickled_copies_and_chunked_datasets_have_the_chunks_of_their_files(store):
    ds = opened(store)
    expected = [each.chunk_bytes for each in Fields(ds).stored_chunks]
    for other in (ds.isel(time=slice(3, 9)), pickle.loads(pickle.dumps(ds)), ds.chunk(time=7)):
        assert [each.chunk_bytes for each in Fields(other).stored_chunks] == expected


def test_values_in_memory_decode_nothing():
    fields = random_fields(20)
    assert fields.stored_chunks == []
    assert fields.read_bytes(3) == 8 * 3 * fields.grid.size


def test_a_long_chunk_counts_in_the_memory_of_a_short_read(tmp_path):
    for name, chunk in (("short", 1), ("long", 400)):
        chunks = {"z": {"chunks": (chunk, 2, ROWS, COLUMNS)}}
        make(400)[["z"]].to_zarr(
            tmp_path / name, zarr_format=3, consolidated=False, encoding=chunks
        )
    short, long = (Fields(opened(tmp_path / name)) for name in ("short", "long"))
    assert long.read_bytes(1) > 400 * 4 * LEVELS * ROWS * COLUMNS > short.read_bytes(1)
