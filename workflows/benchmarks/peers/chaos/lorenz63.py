"""Lorenz 63 from its full state without noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.chaos.chaos_program import (
    HISTORY,
    ForecastStarts,
    ValidTimes,
)
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn.workflows.cases.shared.lorenz63_data import Lorenz63Data, Lorenz63Setup
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED, VALIDATION_SEED
from gfrnn_core.systems import LORENZ63

VALID = ValidTimes(0.02, LORENZ63.lyapunov_exponent, 0.3, "nrmse")


def prepare(folder: Path, quick: bool) -> None:
    """Write the training series, and the starts of validation and test with their truth."""
    setup = Lorenz63Setup(
        dt=VALID.dt,
        samples=1500 if quick else 5000,
        starts=5 if quick else 40,
        steps=200 if quick else 1600,
        threshold=VALID.threshold,
    )
    for name, seed in (("validation", VALIDATION_SEED), ("test", TEST_SEED)):
        data = Lorenz63Data.make(setup, seed, HISTORY)
        ForecastStarts(data.history, data.truth).save(folder / f"{name}.npz")
    np.save(folder / "train.npy", data.train)


OURS, LSTM = "gfrnn, 1,000 features", "PyTorch LSTM"
_PROGRAMS = "gfrnn.workflows.benchmarks.peers.chaos.networks"
_VALID = {"valid": asdict(VALID)}


def bars(results: Mapping[str, PeerResult]) -> Iterator[BarCheck]:
    """Yield the bar: the valid prediction time over that of the LSTM."""
    ours, lstm = results.get(OURS), results.get(LSTM)
    if ours and lstm:
        ratio = ours.errors["mean"] / max(lstm.errors["mean"], 1e-9)
        yield BarCheck("valid prediction time over the LSTM's", ratio, 10.0)


LORENZ63_COMPARISON = Comparison(
    name="lorenz63",
    title="Lorenz 63",
    about=(
        "One series of 5,000 states without noise, dt 0.02; 40 forecasts from other states of the "
        "attractor, until the normalised error exceeds 0.3. Settings are chosen on 40 forecasts "
        "from others again, by their mean valid prediction time. Networks with a memory get the "
        f"{HISTORY} true states before each forecast, gfrnn and quadratic features what they use. "
        "Echo state networks have 1,000 units; 40 settings are drawn and compared with 300 units. "
        "The LSTM forecasts one or eight steps in training. The truth is integrated at two "
        "tolerances, 3e-14 and 1e-13; valid times end where the two differ."
    ),
    columns=(
        ErrorColumn("mean", "valid prediction time, mean (Lyapunov times)", better="higher"),
        ErrorColumn("median", "median", better="higher"),
    ),
    contenders=(
        Contender(
            OURS, "ours", f"{_PROGRAMS}:SampledRollouts", seeds=3, options={"width": 1000, **_VALID}
        ),
        Contender(
            "gfrnn, 300 features",
            "ours",
            f"{_PROGRAMS}:SampledRollouts",
            seeds=3,
            options={"width": 300, **_VALID},
        ),
        Contender(
            "quadratic features (NG-RC)",
            "reference",
            f"{_PROGRAMS}:QuadraticRollouts",
            options=_VALID,
        ),
        *(
            Contender(
                library,
                "peer",
                f"{_PROGRAMS}:EchoRollouts",
                (library,),
                seeds=3,
                options={
                    "library": library,
                    "units": 1000,
                    "search_units": 300,
                    "draws": 40,
                    **_VALID,
                },
            )
            for library in ("reservoirpy", "xesn")
        ),
        Contender(
            LSTM,
            "peer",
            f"{_PROGRAMS}:GatedRollouts",
            ("torch",),
            seeds=2,
            options={"cell": "LSTM", "window": 10, "hidden": [32, 128], **_VALID},
        ),
    ),
    prepare=f"{prepare.__module__}:prepare",
    bars=bars,
)
