"""Rate of matrix products on the workers, as a reference for the rate of a run."""

from __future__ import annotations

import statistics

from distributed import Client, Future

from gfrnn.pipeline.planning.machine_rates import product_rate
from gfrnn.pipeline.reduction.dask_client import workers_of

# Workers that are timed, at most: those of one cluster are much alike.
_MOST_WORKERS = 8


class MatmulRate:
    """The rate of a matrix product in one thread, measured once on some of the workers.

    Parameters
    ----------
    client : distributed.Client
    precision : str
        ``float32`` or ``float64``.
    """

    def __init__(self, client: Client, precision: str) -> None:
        self.client, self.precision = client, precision
        self._rates: list[float] = []
        self._futures: list[Future] = []

    def measure(self) -> None:
        """Start the measurement, which takes a tenth of a second on each of the workers.

        It has priority over queued tasks; the call returns at once.
        """
        workers = list(workers_of(self.client))[:_MOST_WORKERS]
        for worker in workers:
            future = self.client.submit(
                product_rate, self.precision, workers=[worker], pure=False, priority=100
            )
            self._futures.append(future)  # Dask cancels a future without references
            future.add_done_callback(self._store)

    def _store(self, future: Future) -> None:
        if future.status == "finished":
            self._rates.append(future.result())
        self._futures.remove(future)

    @property
    def rate(self) -> float | None:
        """Operations per second of one thread; None until it is measured."""
        return statistics.median(self._rates) if self._rates else None
