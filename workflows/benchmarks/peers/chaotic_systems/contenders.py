"""Contenders of comparisons on chaotic systems that know nothing of the system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from gfrnn.workflows.benchmarks.peers.chaotic_systems.chaotic_system_program import (
    HISTORY,
    ValidTimes,
)
from gfrnn.workflows.benchmarks.peers.comparison import Contender, ErrorColumn

PROGRAMS = "gfrnn.workflows.benchmarks.peers.chaotic_systems.networks"

LSTM = "PyTorch LSTM"

COLUMNS = (
    ErrorColumn("mean", "valid prediction time, mean (Lyapunov times)", better="higher"),
    ErrorColumn("median", "median", better="higher"),
)

_ABOUT = (
    "Settings are chosen on as many forecasts from others again, by their mean valid prediction "
    f"time. Networks with a memory get the {HISTORY} true states before each forecast, the others "
    "what they use. Echo state networks have 1,000 units; 40 settings are drawn and compared with "
    "300 units. Gated networks have {hidden} units and forecast one or eight steps in training, by "
    "Adam with a learning rate that falls to 0 along a cosine over {epochs} epochs. The truth is "
    "integrated at two tolerances, 3e-14 and 1e-13; valid times end where the two differ."
)


def about(hidden: list[int], epochs: int) -> str:
    """Return sentences on how all contenders are trained and scored; see :func:`peers`."""
    return _ABOUT.format(hidden=" or ".join(map(str, hidden)), epochs=epochs)


def peers(
    valid: ValidTimes, cells: tuple[str, ...], hidden: list[int], epochs: int, delays: list[int]
) -> Iterator[Contender]:
    """Yield quadratic features, ridge regression, echo state networks and gated networks.

    Parameters
    ----------
    valid : ValidTimes
    cells : tuple of str
        "LSTM" or "GRU", or both.
    hidden : list of int
        Numbers of units of gated networks to try.
    epochs : int
        Number of epochs of gated networks.
    delays : list of int
        Numbers of successive states to try, of which quadratic features are products.
    """
    shared = {"valid": asdict(valid)}
    for name, program in (
        ("quadratic features (NG-RC)", "QuadraticRollouts"),
        ("ridge on delays", "LinearRollouts"),
    ):
        yield Contender(
            name, "reference", f"{PROGRAMS}:{program}", options={"delays": delays, **shared}
        )
    for library in ("reservoirpy", "xesn"):
        drawn = {"library": library, "units": 1000, "search_units": 300, "draws": 40}
        yield Contender(
            library,
            "peer",
            f"{PROGRAMS}:EchoRollouts",
            (library,),
            seeds=3,
            options={**drawn, **shared},
        )
    for cell in cells:
        yield Contender(
            f"PyTorch {cell}",
            "peer",
            f"{PROGRAMS}:GatedRollouts",
            ("torch",),
            seeds=2,
            options={"cell": cell, "window": 10, "hidden": hidden, "epochs": epochs, **shared},
        )
