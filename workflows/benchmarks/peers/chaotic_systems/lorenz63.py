"""Lorenz 63 from its full state without noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.chaotic_systems.chaotic_system_program import (
    HISTORY,
    ForecastStarts,
    ValidTimes,
)
from gfrnn.workflows.benchmarks.peers.chaotic_systems.contenders import (
    COLUMNS,
    LSTM,
    PROGRAMS,
    about,
    peers,
)
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn.workflows.cases.shared.lorenz63_data import Lorenz63Data, Lorenz63Setup
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED, VALIDATION_SEED
from gfrnn_core.systems import LORENZ63

HIDDEN, EPOCHS = [64, 128], 200  # of gated networks

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


OURS = "gfrnn, 1,000 features"
_OPTIONS = {"valid": asdict(VALID), "scales": [0.1, 0.2, 0.3, 0.5]}


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
        "attractor, until the normalised error exceeds 0.3. " + about(HIDDEN, EPOCHS)
    ),
    columns=COLUMNS,
    contenders=(
        Contender(
            OURS,
            "ours",
            f"{PROGRAMS}:SampledRollouts",
            seeds=3,
            options={"width": 1000, **_OPTIONS},
        ),
        Contender(
            "gfrnn, 300 features",
            "ours",
            f"{PROGRAMS}:SampledRollouts",
            seeds=3,
            options={"width": 300, **_OPTIONS},
        ),
        *peers(VALID, ("LSTM",), hidden=HIDDEN, epochs=EPOCHS, delays=[1, 2, 3, 4]),
    ),
    prepare=f"{prepare.__module__}:prepare",
    bars=bars,
)
