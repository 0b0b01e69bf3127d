"""Models with random weights, for tests of storing and forecasting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import (
    CandidateScore,
    ModelNotes,
    SolveSettings,
    TriangleLocation,
)
from gfrnn_core import SampledRNN

MODES, LEADS = 4, (1, 3)
INITIAL = pd.date_range("2004-02-27", periods=5, freq="12h").to_numpy()


def make_network(modes: int, delays: int, width: int, seed: int, **options: object) -> SampledRNN:
    """Solve a network for random targets, so that its forecasts are small and general."""
    rng = np.random.default_rng(seed)
    network = SampledRNN(
        width=width,
        delays=delays,
        leads=LEADS,
        sampling="normal",
        target="state",
        standardise=False,
        seed=seed,
    )
    network = replace(network, inputs=4, **options).sample(np.zeros((1, delays * modes)))
    columns = network.columns(modes, 4)
    outer = 0.3 * rng.standard_normal((len(LEADS), columns.features, modes))
    return replace(network, outer=outer)


def make_model() -> ForecastModel:
    rng = np.random.default_rng(0)
    grid = Grid(
        (Channel("mean_sea_level_pressure"), Channel("temperature", 850.0)),
        np.linspace(30, 60, 4),
        np.arange(0, 50, 10.0),
    )
    climatology = Climatology(1, 1, rng.standard_normal((5, grid.size)), np.array([400.0, 3.0]))
    vectors = np.linalg.qr(rng.standard_normal((grid.size, MODES)))[0].T
    layout = EofLayout(
        Scaling(grid, climatology), vectors, np.array([9.0, 5.0, 3.0, 1.0]), 150.0, 77
    )
    return ForecastModel(
        layout=layout,
        networks=(
            make_network(MODES, 2, 12, 1),
            make_network(2, 3, 7, 2, activation="relu", target="increment"),
        ),
        mixture=np.array([[1.0, 0.25], [0.0, 0.75]]),
        linear=make_network(MODES, 2, 0, 3),
        lagged=rng.standard_normal((6, MODES, MODES)),
        step=Duration.parse("12h"),
        forcing=Forcing.calendar(("day_of_year", "hour")),
        selection={"ridges": np.array([1e-4, 1e-2]), "errors": rng.random((1, 2, 2))},
        notes=ModelNotes(
            width=12,
            modes=4,
            delays=1,
            chosen={"model.scale": 0.1},
            candidates=[CandidateScore({"model.scale": 0.1}, 0.5, 0.6, [1.0, 1.0])],
            solves=[SolveSettings(0, width, [0.01, 0.1], [1.0, 1.0]) for width in (12, 7)],
            linear_solve=SolveSettings(0, 0, [0.01, 0.1], [1.0, 1.0]),
            rows=100,
            columns=30,
            fingerprint="",
            kept=TriangleLocation("summaries.zarr", "key"),
            precision={"chosen": "float64"},
        ),
    )


def scale_weights(path: Path, factor: float) -> None:
    """Multiply the outer weights of the first network of a stored model.

    The model is written as a whole, as its arrays have checksums.
    """
    model = ForecastModel.load(path)
    first, *others = model.networks
    first = replace(first, outer=factor * first.outer)
    replace(model, networks=(first, *others)).save(path)
