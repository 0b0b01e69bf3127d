"""How fast the workers multiply matrices, to compare what a run does with."""

from __future__ import annotations

import statistics

from distributed import Client, Future

from gfrnn.pipeline.planning.machine_rates import product_rate

# Workers on which it is timed, at most: they are much alike.
_TIMED = 8


class MatmulRate:
    """The rate of a matrix product of one thread, timed once on some of the workers.

    Parameters
    ----------
    client : distributed.Client
    precision : str
    """

    def __init__(self, client: Client, precision: str) -> None:
        self.client, self.precision = client, precision
        self._rates: list[float] = []
        self._futures: list[Future] = []

    def measure(self) -> None:
        """Begin; takes each of those workers a tenth of a second, before what waits for it."""
        workers = list(self.client.scheduler_info(n_workers=-1)["workers"])[:_TIMED]
        for worker in workers:
            future = self.client.submit(
                product_rate, self.precision, workers=[worker], pure=False, priority=100
            )
            self._futures.append(future)  # which would be cancelled if nobody held it
            future.add_done_callback(self._keep)

    def _keep(self, future: Future) -> None:
        if future.status == "finished":
            self._rates.append(future.result())
        self._futures.remove(future)

    @property
    def rate(self) -> float | None:
        """Operations a second of a thread; None while it is not known."""
        return statistics.median(self._rates) if self._rates else None
