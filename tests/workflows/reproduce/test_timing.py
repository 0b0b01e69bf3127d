"""Measurement of training times."""

from __future__ import annotations

import numpy as np

from gfrnn.workflows.reproduce.timing import timed


def test_training_is_timed_on_one_thread():
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    threads, seconds = timed(
        lambda: [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    )
    assert threads
    assert set(threads) == {1}
    assert 0 < seconds < 5
