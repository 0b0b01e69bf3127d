"""Fits of zonal networks: known laws, stages, noise, leaves and the store of the model."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline import Experiment, open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.states.climatology import ClimatologySummary
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.checks import check_fit
from gfrnn.pipeline.training.fit import fit
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.passes import run_passes
from gfrnn.pipeline.training.triangles import Factors
from gfrnn.pipeline.training.zonal import zonal_training
from gfrnn.pipeline.training.zonal.zonal_features import grid_bytes, unfitted_network
from gfrnn.pipeline.training.zonal.zonal_rows import ZonalRowSummary
from gfrnn.pipeline.training.zonal.zonal_solve import SolvedStage, solve_stages
from gfrnn.pipeline.training.zonal.zonal_training import ZonalResults, ZonalTraining
from gfrnn_testing.zonal_weather import write_zonal_weather, zonal_experiment

GEOMETRIES = ("channel", "sphere")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    return {each: write_zonal_weather(folder / f"{each}.zarr", each) for each in GEOMETRIES}


@pytest.fixture(scope="module")
def archive(archives) -> Path:
    return archives["channel"]


def results(experiment: Experiment, folder: Path) -> ZonalResults:
    fields = Fields(open_source(experiment.data))
    checkpoints = Checkpoints(folder / "summaries.zarr")
    return run_passes(ZonalTraining(experiment, fields, checkpoints).passes(), checkpoints, None)


def with_model(archive: Path, **model: Any) -> Experiment:
    return zonal_experiment(archive, model=model)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_advection_is_learned_to_rounding_where_the_linear_model_is_not(
    archives, tmp_path, geometry
):
    experiment = zonal_experiment(archives[geometry], state={"geometry": geometry})
    found = results(experiment, tmp_path)
    (stage,) = found.stages
    assert found.layout.geometry == geometry
    assert stage.error < 1e-7 * found.linear.error
    assert found.linear.network.features.count == 0


@pytest.mark.parametrize(
    "model", [{"features": ["tanh"], "width": 300}, {}, {"precision": "float32"}]
)
def test_features_need_no_more_memory_than_is_estimated(archive, model):
    experiment = with_model(archive, **model)
    fields = Fields(open_source(experiment.data))
    network = unfitted_network(experiment, fields.grid)
    times = 300
    states = network.basis.unpack(np.ones((times, network.state_size)), network.complex_type)
    terms = np.ones((times, len(network.background)))
    network.featurise(states[:, :1], terms[:1])  # arrays that are computed once
    tracemalloc.start()
    try:
        result = network.featurise(states, terms).nbytes
        peak = tracemalloc.get_traced_memory()[1] - result
    finally:
        tracemalloc.stop()
    assert peak < grid_bytes(network, times)


def test_a_second_stage_corrects_the_first(archive, tmp_path):
    # Over three steps of the law, the change is a polynomial of higher degree than the features.
    experiment = zonal_experiment(archive, data={"step": "3d"}, model={"stages": 2})
    first, second = results(experiment, tmp_path).stages
    assert second.error < 0.3 * first.error
    assert first.network.stages == second.network.stages[:1]


def test_residual_noise_has_the_spectrum_of_the_errors_without_noise(archive, tmp_path):
    experiment = with_model(archive, features=["tanh"], width=4, noise="residual", noise_factor=3)
    (stage,) = results(experiment, tmp_path / "residual").stages
    noise = stage.network.noise
    assert noise is not None
    # The first of the two fits has little noise, and eight rows a column.
    once = zonal_experiment(
        archive,
        model={"features": ["tanh"], "width": 4, "noise": 0.05},
        fit={"share": 8 * stage.columns / 729},
    )
    (first,) = results(once, tmp_path / "first").stages
    assert first.rows < 0.7 * stage.rows
    basis = stage.network.basis
    drawn = basis.unpack(np.random.default_rng(0).standard_normal((20000, basis.size)) * noise)
    variance = np.square(np.abs(drawn)).mean(axis=1)
    largest = 0.7 * first.network.state_sizes
    expected = np.minimum(3 * np.sqrt(first.errors), largest) ** 2
    np.testing.assert_allclose(variance, expected, rtol=0.06, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "state", "without"),
    [
        ({"features": ["tanh"], "width": 4}, {}, []),
        ({"features": ["tanh"], "width": 4}, {}, [2001]),
        ({}, {"wavenumbers": 1, "functions": 1}, []),
        ({}, {"wavenumbers": 1, "functions": 1}, [2001]),
    ],
)
def test_the_fit_that_measures_residual_noise_has_enough_rows(
    archive, tmp_path, monkeypatch, model, state, without
):
    """Blocks of 64 times are many for few columns, and years that are left out have no rows."""
    solved = []

    def recorded(*arguments: Any) -> list[SolvedStage]:
        solved.extend(solve_stages(*arguments))
        return solved[-1:] if len(arguments[0]) == 1 else solved[-2:]

    monkeypatch.setattr(zonal_training, "solve_stages", recorded)
    experiment = zonal_experiment(
        archive, model=model | {"noise": "residual"}, state=state, fit={"without": without}
    )
    results(experiment, tmp_path)
    first, last = solved[0], solved[-1]
    kept = 729 - 364 * len(without)
    assert last.rows == kept
    assert first.rows >= min(kept, 6 * first.columns, 128)


def test_noise_is_in_the_training_rows_only(archive, tmp_path):
    noisy, plain = (
        results(with_model(archive, noise=noise), tmp_path / str(noise)).stages[0]
        for noise in (0.5, 0.0)
    )
    # The law is exact, so errors on rows without noise stay far below the noise.
    size = np.square(noisy.network.noise).sum()
    assert plain.error < 1e-10 * size
    assert noisy.error < 0.1 * size


def first_rows(experiment: Experiment, folder: Path) -> tuple[dict[str, Any], Any]:
    """Return the triangles of the first stage by fold, and the pass that follows."""
    fields = Fields(open_source(experiment.data))
    training = ZonalTraining(experiment, fields, Checkpoints(folder))
    passes = training.passes()
    sent: Any = None
    while True:
        each = passes.send(sent)
        sent = each.run(training.checkpoints, None)
        if each.cost() and each.cost().name == "rows":
            return sent, passes.send(sent)


def test_the_solve_is_planned_with_the_triangles_that_the_driver_holds(archive, tmp_path):
    folds, solve = first_rows(with_model(archive, features=["tanh"], width=30), tmp_path)
    packed = sum(arrays["triangles"].nbytes for arrays in folds.values())
    unpacked = sum(
        part.triangle.nbytes
        for arrays in folds.values()
        for part in Factors.from_arrays(arrays).parts
    )
    assert solve.cost().driver_bytes == packed + unpacked


def test_leaves_do_not_change_the_rows(archive, tmp_path):
    """Draws of noise and the share of rows depend on the time, not on the cut into leaves."""
    gram = []
    for number, rows in enumerate((1000, 60, 23)):
        experiment = zonal_experiment(
            archive, model={"noise": 0.3, "stages": 2}, fit={"rows": rows, "share": 0.4}
        )
        sent, _ = first_rows(experiment, tmp_path / str(number))
        gram.append([
            triangle.conj().T @ triangle
            for fold in sent.values()
            for name, triangle in fold.items()
            if name != "rows"
        ])  # fmt: skip
        # Whole blocks of 64 training times are taken or left out.
        assert sum(int(fold["rows"][0]) for fold in sent.values()) == pytest.approx(
            0.4 * 729 + 180, abs=64
        )
    for other in gram[1:]:
        for ours, theirs in zip(gram[0], other, strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-9 * np.abs(ours).max())


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_model_comes_back_from_its_store_bit_for_bit(archive, tmp_path, precision):
    experiment = with_model(
        archive, stages=2, noise="residual", inputs=["day_of_year"], width=3,
        features=["advection", "products", "relu"], precision=precision,
    )  # fmt: skip
    model = fit(experiment, open_source(experiment.data), tmp_path)
    model.save(tmp_path / "model.zarr")
    again = ForecastModel.load(tmp_path / "model.zarr")
    history = np.random.default_rng(0).standard_normal((3, model.delays, model.layout.size))
    initial = np.array(["2003-07-01", "2003-08-01", "2003-12-01"], dtype="datetime64[ns]")
    for walk in ("walk", "linear_walk"):
        ours, theirs = (list(getattr(each, walk)(history, initial, 4)) for each in (model, again))
        for step, same in zip(ours, theirs, strict=True):
            for one, other in zip(step, same, strict=True):
                np.testing.assert_array_equal(one, other)
    assert again.networks[0].precision == again.notes.precision["chosen"] == precision
    assert again.notes == model.notes
    assert set(again.selection) == set(model.selection)


def test_a_second_fit_takes_every_pass_from_its_checkpoints(archive, tmp_path, monkeypatch):
    experiment = with_model(archive, stages=2, noise="residual")
    first = results(experiment, tmp_path)
    shutil.rmtree(tmp_path / "summaries.zarr" / "series")

    def computed(*_: object) -> None:
        raise AssertionError("a leaf is computed again")

    for summary in (ClimatologySummary, StateSummary, ZonalRowSummary):
        monkeypatch.setattr(summary, "leaf", computed)
    again = results(experiment, tmp_path)
    for one, other in zip(first.stages, again.stages, strict=True):
        np.testing.assert_array_equal(one.network.stages[-1].outer, other.network.stages[-1].outer)


def test_years_left_out_have_no_rows(archive, tmp_path):
    experiment = zonal_experiment(archive, fit={"without": [2001]})
    (stage,) = results(experiment, tmp_path).stages
    (whole,) = results(zonal_experiment(archive), tmp_path).stages
    assert stage.rows == 365
    assert whole.rows == 729


def test_a_share_that_leaves_too_few_rows_is_refused(archive):
    """The share of 365 times is 18, but no block of 64 of this year is drawn."""
    experiment = zonal_experiment(archive, fit={"without": [2001], "share": 0.05})
    with pytest.raises(ConfigError, match=r"16 columns, .* has 0 rows; .* a larger fit.share"):
        check_fit(experiment, open_source(experiment.data))


def test_the_bound_changes_no_triangle(archive, tmp_path):
    first = results(with_model(archive, bound=2.0), tmp_path)
    kept = set((tmp_path / "summaries.zarr" / "rows").iterdir())
    second = results(with_model(archive, bound=None), tmp_path)
    assert set((tmp_path / "summaries.zarr" / "rows").iterdir()) == kept
    assert first.stages[0].network.bound == 2.0
    assert second.stages[0].network.bound is None
    np.testing.assert_array_equal(
        first.stages[0].network.stages[0].outer, second.stages[0].network.stages[0].outer
    )
