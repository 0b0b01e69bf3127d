"""Memory of workers beyond their limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster.worker_memory import memory_limit, requested_memory


def test_twelve_per_cent_are_added_and_taken_off_again():
    assert requested_memory(1000) == 1120
    assert memory_limit(1120) == 1000


@given(st.integers(1, 2**50))
def test_the_limit_is_the_largest_whose_request_is_available(available):
    limit = memory_limit(available)
    assert requested_memory(limit) <= available < requested_memory(limit + 1)
