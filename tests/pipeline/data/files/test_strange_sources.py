"""Test that files which are wrong at random are read, or refused with our own error.

Each is opened in a process of its own: damaged netCDF files make the netCDF library end a process.
"""

from __future__ import annotations

import multiprocessing
import random
import warnings
from pathlib import Path

import pytest

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.inspection.describe import describe_dataset
from gfrnn.pipeline.errors import GfrnnError
from gfrnn_testing.strange_sources import strange_source

SEEDS = range(16, 40)


def outcome(folder: Path, seed: int) -> str:
    """Describe a file as ``gfrnn inspect`` does; return an error of a library, or ''."""
    warnings.simplefilter("ignore")
    folder.mkdir()
    path, done = strange_source(folder, random.Random(seed))
    try:
        ds = open_source(DataConfig(sources=[path]))
        describe_dataset(ds)
        audit(ds)
    except GfrnnError:
        return ""
    except Exception as error:
        return f"seed {seed}, {done}: {type(error).__name__}: {error}"
    return ""


@pytest.mark.slow
def test_no_file_ends_in_an_error_of_a_library(tmp_path):
    # One file a process: objects of netCDF that are left from errors are freed by any thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gfrnn_testing.strange_sources", __name__])
    with context.Pool(2, maxtasksperchild=1) as pool:
        found = pool.starmap(outcome, [(tmp_path / str(s), s) for s in SEEDS], chunksize=1)
    assert [each for each in found if each] == []
