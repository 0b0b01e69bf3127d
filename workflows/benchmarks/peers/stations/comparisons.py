"""Comparison on two stations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.results import PeerResult

_HERE = "gfrnn.workflows.benchmarks.peers.stations.station_programs"

FIVE, ONE, NARROW = "gfrnn, mean of 5 networks", "gfrnn, one network", "gfrnn, one narrow network"
RIDGE = "ridge on 24 h and calendar"
CELLS = ("GRU", "LSTM")


def station_contenders(station: str) -> Iterator[Contender]:
    """Yield the contenders on a station."""
    for name, networks in ((FIVE, 5), (ONE, 1)):
        yield Contender(
            name,
            "ours",
            f"{_HERE}:OwnStation",
            seeds=2,
            searches=False,
            setting={"networks": networks},
            options={"station": station},
        )
    yield Contender(NARROW, "ours", f"{_HERE}:NarrowStation", seeds=2, options={"station": station})
    for cell in CELLS:
        yield Contender(
            cell,
            "peer",
            f"{_HERE}:GatedStation",
            packages=("torch",),
            seeds=2,
            mean=True,
            options={"station": station, "cell": cell, "window": 24},
        )
    yield Contender(
        RIDGE,
        "reference",
        f"{_HERE}:CalendarRidge",
        searches=False,
        options={"station": station},
    )


def station_bars(results: Mapping[str, PeerResult]) -> Iterator[BarCheck]:
    """Yield the bars: a lower error than all others, 40 times faster than gated networks."""
    others = [row for row in results.values() if row.standing != "ours"]
    for name in (FIVE, ONE, NARROW):
        if (ours := results.get(name)) and others:
            least = min(row.errors["rmse"] for row in others)
            ratio = ours.errors["rmse"] / least
            yield BarCheck(f"RMSE of {name} over the least of all others", ratio, 1, True)
        for cell in CELLS:
            ours, theirs = results.get(name), results.get(cell)
            if ours and theirs and ours.fit_seconds and theirs.fit_seconds:
                ratio = theirs.fit_seconds / ours.fit_seconds
                yield BarCheck(f"fit of one {cell} over that of {name}", ratio, 40)


_ABOUT = (
    "Temperature 24 hours ahead from hourly observations, RMSE in the unit of the file and mean "
    "squared error scaled to 0..1 (times 1000). {periods} The settings of our networks were chosen "
    "on validation periods within the training hours ([station](cases.md)); the narrow network has "
    "the least of 100, 150, 200 and 300 features, or else as many as the others, with a mean "
    "squared error on these periods at most one percent above that of one of them. LSTM and GRU "
    "(PyTorch, Adam, early stopping on the same periods) see the last 24 hours of all variables "
    "and the calendar; six settings of hidden units and dropout, tried on every second hour. The "
    "fit of the ridge regression includes the choice of its ridge."
)

_COLUMNS = (ErrorColumn("rmse", "RMSE", 4), ErrorColumn("nmse", "normalised MSE (1e-3)", 4))


def _station(name: str, title: str, periods: str) -> Comparison:
    return Comparison(
        name=f"station-{name}",
        title=title,
        about=_ABOUT.format(periods=periods),
        columns=_COLUMNS,
        contenders=tuple(station_contenders(name)),
        bars=station_bars,
    )


STATION_WTH = _station(
    "wth",
    "Temperature of a station, WTH (°F)",
    "Training January 2010 to October 2013, test November and December 2013.",
)
STATION_JENA = _station(
    "jena",
    "Temperature of a station, Jena (°C)",
    "Training January to October 2020, test November and December 2020.",
)
