"""Find grids whose points are in the wrong order, by the correlation of neighbours in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_LEAST_TIMES = 20  # of fewer, correlations say little
_LAGS = 8  # cells
_CELLS = 60  # of each axis; more tell nothing new
_FAR = 90.0  # degrees; beyond, waves and tides correlate again


@dataclass(frozen=True)
class Disorder:
    """Points of a grid that correlate less with their neighbours than with points further away.

    Attributes
    ----------
    along : {"latitude", "longitude"}
    near : float
        Mean correlation in time of neighbours.
    far : float
        Mean correlation of points ``lag`` cells apart, the largest of all lags.
    lag : int
    """

    along: str
    near: float
    far: float
    lag: int

    @property
    def certain(self) -> bool:
        """Whether the correlations exclude a grid in the right order.

        Noise and small samples blur correlations, and patterns that repeat in space let distant
        points correlate; neither lets them correlate so much more than neighbours do.
        """
        return self.far > max(self.near + 0.25 * (1 - self.near), 0.6)

    def __str__(self) -> str:
        """Return both figures as text."""
        return (
            f"neighbours along {self.along} correlate {self.near:.2f}, points {self.lag} apart "
            f"{self.far:.2f}"
        )


def disorder(fields: Array, latitude: Array, longitude: Array) -> Disorder | None:
    """Check that neighbouring points have the highest correlation in time.

    In meteorological fields the correlation falls with distance. If points at a larger distance
    correlate more than neighbours, the rows or columns are in the wrong order, which other checks
    do not find. Correlations are of anomalies in time, averaged over all pairs of points.

    Parameters
    ----------
    fields : ndarray, shape (times, latitudes, longitudes)
        NaN where there is no value.
    latitude, longitude : ndarray
        Degrees, as the axes of a canonical Dataset have them.

    Returns
    -------
    Disorder or None
        The axis on which the order is doubtful, longitude before latitude; None where the order
        is right, or where too few times or points tell.
    """
    masked = np.isnan(fields).all(axis=0)
    fields = fields[(np.isfinite(fields) | masked).all(axis=(1, 2))]
    if len(fields) < _LEAST_TIMES:
        return None
    gaps = np.diff(np.append(longitude, longitude[0] + 360))
    # In the order of longitudes a region across Greenwich is in two parts: join them.
    east = -(int(np.argmax(gaps)) + 1)
    fields = np.roll(fields, east, axis=2)[:, :_CELLS, :_CELLS].astype(float)
    anomalies = fields - fields.mean(0)
    for axis, along, places in (
        (2, "longitude", np.roll(longitude, east)[:_CELLS] % 360),
        (1, "latitude", latitude[:_CELLS]),
    ):
        spacing = float(np.median(np.abs(np.diff(places)))) if len(places) > 1 else _FAR
        most = min(_LAGS, len(places) - 1, int(_FAR // max(spacing, 1e-3)))
        if most < 3:
            continue
        near, *far = (_correlation(anomalies, lag, axis) for lag in range(1, most + 1))
        if -1 < near < 0.99 and max(far) > near - 0.1 * (1 - near):
            return Disorder(along, near, max(far), 2 + int(np.argmax(far)))
    return None


def _correlation(anomalies: Array, lag: int, axis: int) -> float:
    """Return the mean correlation in time of points ``lag`` cells apart, -1 if there are none."""
    size = anomalies.shape[axis]
    a = np.take(anomalies, np.arange(size - lag), axis)
    b = np.take(anomalies, np.arange(lag, size), axis)
    norm = np.sqrt((a * a).mean(0) * (b * b).mean(0))
    moving = norm > 0
    return float(((a * b).mean(0)[moving] / norm[moving]).mean()) if moving.any() else -1.0
