"""Lorenz 96 with 40 variables from its full state without noise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from gfrnn.workflows.benchmarks.peers.chaotic_systems.chaotic_system_program import (
    HISTORY,
    ForecastStarts,
    ValidTimes,
)
from gfrnn.workflows.benchmarks.peers.chaotic_systems.contenders import (
    COLUMNS,
    PROGRAMS,
    about,
    peers,
)
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender
from gfrnn.workflows.cases.lorenz96_case import DT, follow, initial_states, training_series
from gfrnn.workflows.cases.shared.step_progress import no_progress
from gfrnn.workflows.cases.shared.trajectories import (
    TEST_SEED,
    TRAIN_SEED,
    VALIDATION_SEED,
    trajectories,
)
from gfrnn_core.systems import LORENZ96

HIDDEN, EPOCHS = [64, 128], 50  # of gated networks

VALID = ValidTimes(DT, LORENZ96.lyapunov_exponent, 0.3, "nrmse", homogeneous=True)


def prepare(folder: Path, quick: bool) -> None:
    """Write the training series, and the starts of validation and test with their truth."""
    samples, starts, steps = (1500, 3, 150) if quick else (10_000, 20, 620)
    train = training_series(TRAIN_SEED, samples, no_progress)
    for name, seed in (("validation", VALIDATION_SEED), ("test", TEST_SEED)):
        first = initial_states(starts, seed)
        history = trajectories(LORENZ96, first, DT, HISTORY - 1)
        truth = follow(history[:, -1], steps, train.std())
        ForecastStarts(history, truth).save(folder / f"{name}.npz")
    np.save(folder / "train.npy", train)


_VALID = {"valid": asdict(VALID)}

LORENZ96_COMPARISON = Comparison(
    name="lorenz96",
    title="Lorenz 96 with 40 variables",
    about=(
        f"One series of 10,000 states without noise, forcing 10, dt {DT:g}; 20 forecasts from "
        "other states of the attractor, until the normalised error exceeds 0.3. One network of "
        "gfrnn for all places of the circle sees a place and its neighbours; all others forecast "
        "the whole state from the whole state, and are not given the symmetry. "
        + about(HIDDEN, EPOCHS)
    ),
    columns=COLUMNS,
    contenders=(
        *(
            Contender(
                f"gfrnn, {width:,} features for all places",
                "ours",
                f"{PROGRAMS}:PatchRollouts",
                seeds=3,
                options={"width": width, "scales": [0.0003, 0.001, 0.003, 0.01], **_VALID},
            )
            for width in (1000, 300)
        ),
        Contender(
            "gfrnn, 1,000 features of the whole state",
            "ours",
            f"{PROGRAMS}:SampledRollouts",
            seeds=3,
            options={"width": 1000, "scales": [0.0003, 0.001, 0.003, 0.01, 0.03], **_VALID},
        ),
        *peers(VALID, ("LSTM", "GRU"), hidden=HIDDEN, epochs=EPOCHS, delays=[1, 2]),
    ),
    prepare=f"{prepare.__module__}:prepare",
)
