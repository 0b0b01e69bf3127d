"""Test that a climatology that is worse than a mean on the validation period is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.session.run_session import climatology_note
from gfrnn_testing.weather import experiment, make_weather

SHORT = {
    "periods": {
        "train": ["2001-01-01", "2001-05-31"],
        "validation": ["2001-09-01", "2001-12-31"],
    },
}


def fitted(folder: Path, annual: int, **sections: dict[str, object]) -> Run:
    path = make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=680).path
    sections |= {"climatology": {"annual": annual}, "model": {"width": 4}}
    run = Run(experiment(path, **sections), folder / "run")
    run.fit()
    return run


def test_harmonics_that_the_training_period_does_not_determine_are_said(tmp_path: Path) -> None:
    """The fields have as many patterns as there are EOFs: the errors are those of fields."""
    run = fitted(tmp_path, 2, **SHORT)
    model = run.load_model()
    fields, scaling = Fields(run.ds), model.layout.scaling
    everything = fields.read(0, len(fields.time))
    train, validation = (
        period.mask(fields.time)
        for period in (run.experiment.periods.train, run.experiment.periods.validation)
    )
    truth = everything[validation]
    errors = [
        np.square((truth - guess) * scaling.weights).sum()
        for guess in (scaling.climatology(fields.time[validation]), everything[train].mean(axis=0))
    ]
    ratio = model.notes.climatology_error
    assert ratio == pytest.approx(np.sqrt(errors[0] / errors[1]), rel=1e-5)
    assert ratio > 1.5
    note = climatology_note(model.notes)
    assert f"the climatology has {ratio:.2f} times the RMSE of the mean" in note
    assert "set climatology.annual or climatology.diurnal to fewer harmonics" in note


def test_a_mean_is_as_good_as_itself(tmp_path: Path) -> None:
    notes = fitted(tmp_path, 0, **SHORT).load_model().notes
    assert notes.climatology_error == pytest.approx(1.0, abs=1e-6)
    assert climatology_note(notes) == ""


def test_a_true_cycle_is_better_than_a_mean(tmp_path: Path) -> None:
    path = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3, times=730, cycle=True)
    sections = {"climatology": {"annual": 1, "diurnal": 0}, "model": {"width": 4}}
    run = Run(experiment(path.path, **sections), tmp_path / "run")
    run.fit()
    notes = run.load_model().notes
    assert notes.climatology_error is not None
    assert notes.climatology_error < 0.99
    assert climatology_note(notes) == ""
