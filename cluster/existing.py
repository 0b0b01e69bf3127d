"""A scheduler that somebody else started and will stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client

from cluster.config import ClusterConfig
from cluster.errors import ClusterError


@contextmanager
def open_existing(config: ClusterConfig) -> Iterator[Client]:
    """A client of a running scheduler; the scheduler stays when the block ends.

    Raises
    ------
    ClusterError
        If no scheduler answers, or it has no workers, within ``config.timeout`` seconds.
    """
    place = config.address or f"scheduler_file {config.scheduler_file}"
    try:
        client = Client(
            address=config.address,
            scheduler_file=config.scheduler_file,
            timeout=config.timeout,
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"cluster: no scheduler answers at {place} within {config.timeout:g} s ({error}); "
            "check that it runs and that this machine reaches it"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=config.timeout)
        except TimeoutError:
            raise ClusterError(
                f"cluster: the scheduler at {place} has no worker after {config.timeout:g} s; "
                "start workers, or give cluster.timeout more seconds"
            ) from None
        yield client
