"""Test that netCDF files, whose library is not safe in threads, are read by one thread at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data import file_reading
from gfrnn.pipeline.data.files import raw_file
from gfrnn_testing.archives import make, opened


class Concurrency:
    """Functions with a pause, and the largest number of threads that were in one at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.01)
            try:
                return function(*args, **options)
            finally:
                with self.lock:
                    self.now -= 1

        return watched


@pytest.mark.parametrize(("suffix", "serial"), [(".nc", True), (".zarr", False)])
def test_one_thread_at_once_is_in_the_netcdf_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, serial: bool
) -> None:
    paths = [tmp_path / f"{number}{suffix}" for number in range(4)]
    for path in paths:
        # Packed values of a store are not read directly, but by the function that is watched.
        packing = {
            "t2m": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 300.0, "_FillValue": -1}
        }
        ds = make()[["t2m"]]
        if serial:
            ds.to_netcdf(path, encoding=packing)
        else:
            ds.to_zarr(path, encoding=packing, consolidated=False)
    found = Concurrency()
    monkeypatch.setattr(raw_file.xr, "open_dataset", found.watch(xr.open_dataset))
    monkeypatch.setattr(file_reading, "_in_order", found.watch(file_reading._in_order))

    def read(path: Path) -> np.ndarray:
        return opened(path)["2m_temperature"].values

    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(read, paths):
            np.testing.assert_allclose(values, make().t2m.values, atol=0.01)
    assert (found.most == 1) == serial


@pytest.mark.slow
def test_four_threads_on_the_same_files(tmp_path: Path) -> None:
    packing = {"t2m": {"zlib": True, "chunksizes": (10, 4, 8)}}
    for number in range(8):
        part = make(200, start=str(np.datetime64("2001-01-01") + 50 * number))
        part[["t2m"]].to_netcdf(tmp_path / f"{number}.nc", encoding=packing)
    # Without the lock, some runs of this program end in a segmentation fault or a bus error.
    program = f"""
        from concurrent.futures import ThreadPoolExecutor
        from gfrnn.pipeline.config.data_config import DataConfig
        from gfrnn.pipeline.data.dataset import open_source
        from gfrnn.pipeline.data.files import raw_file

        def work(number):
            for start in range(0, 600, 100):
                raw_file._opened.cache_clear()
                ds = open_source(DataConfig(sources=["{tmp_path}/*.nc"]))
                ds["2m_temperature"][start + number : start + number + 100].values

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(8)))
        print("done")
    """
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-P", "-c", textwrap.dedent(program)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
