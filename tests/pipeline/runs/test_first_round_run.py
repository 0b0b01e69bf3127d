"""Compare the first round of a search with fits of all candidates at its width."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model_notes import CandidateScore
from gfrnn.pipeline.training.selection.first_round import finalists
from gfrnn.pipeline.training.selection.preliminary_solves import DEFAULT_FIT
from gfrnn_testing.spheres import advected, latitudes, local_experiment, longitudes, write_fields
from gfrnn_testing.weather import contents, finish, stamps, uncalibrated_contents
from gfrnn_testing.weather_fits import fit_of, model_of

SEARCH: dict[str, Any] = {"model.scale": [0.05, 0.4, 2.0], "model.seed": [0, 1]}
ROUND = {"finalists": 2, "first_width": 6}


@pytest.fixture(scope="module")
def ranked(weather, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("ranked") / "run"
    return fit_of(weather, folder, search=SEARCH, fit=ROUND | {"average": 2})


def test_the_finalists_have_the_least_errors_at_the_first_width(weather, ranked, tmp_path):
    """Ridges are those by default, and the hidden weights are the leading ones."""
    narrow = fit_of(
        weather, tmp_path / "narrow", search=SEARCH, model={"width": 15},
        fit={"widths": [6], "ridge": DEFAULT_FIT.ridge,
             "balance": [1.0]},
    )  # fmt: skip
    notes, known = model_of(ranked).notes, model_of(narrow).notes.candidates
    assert [each.values for each in notes.first_round] == [each.values for each in known]
    found = [each.score for each in notes.first_round]
    np.testing.assert_allclose(found, [each.score for each in known], rtol=1e-9)
    best = sorted(known, key=lambda each: each.score)[:2]
    assert [each.values for each in notes.candidates] == [
        each.values for each in known if each in best
    ]


def test_the_model_is_that_of_a_search_among_the_finalists(weather, ranked, tmp_path):
    notes = model_of(ranked).notes
    whole = fit_of(weather, tmp_path / "whole", search=SEARCH)
    scores = {str(each.values): each.score for each in model_of(whole).notes.candidates}
    for each in notes.candidates:
        assert each.score == scores[str(each.values)]
    assert len(model_of(ranked).networks) == 2
    assert model_of(ranked).networks[0].width == 15
    finish(Run.reopen(ranked.folder))


def test_a_refit_keeps_the_finalists(weather, ranked, tmp_path):
    again = refit(ranked.folder, tmp_path / "again", without=[2001], ridge=[1e-2])
    fit = ROUND | {"average": 2, "without": [2001], "ridge": [1e-2]}
    whole = fit_of(weather, tmp_path / "whole", search=SEARCH, fit=fit)
    assert uncalibrated_contents(again.model) == uncalibrated_contents(whole.model)


def test_a_fit_without_its_model_resumes_from_both_rounds(weather, tmp_path):
    model = {"noise": "residual"}
    run = fit_of(weather, tmp_path / "run", search=SEARCH, fit=ROUND, model=model)
    before, first = stamps(run.summaries), contents(run.model)
    shutil.rmtree(run.model)
    Run.reopen(run.folder).fit()
    after = stamps(run.summaries)
    kept = {
        name: time for name, time in before.items() if name.startswith(("first rows/", "rows/"))
    }
    assert {name.split("/")[0] for name in kept} == {"first rows", "rows"}
    assert kept == {name: after[name] for name in kept}
    assert contents(run.model) == first


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, "residual"])
def test_patches_have_a_first_round_too(tmp_path, noise):
    rng = np.random.default_rng(0)
    values = advected(6, 12, 1, 485)
    fields = {"2m_temperature": values + 0.1 * rng.normal(size=values.shape)}
    path = write_fields(tmp_path / "w.zarr", fields, latitudes(6, "between"), longitudes(12))
    options: dict[str, Any] = {
        "search": {"model.scale": [0.1, 0.5], "model.seed": [0, 1]},
        "model": {"width": 6, "noise": noise},
    }
    config = local_experiment(path, fit={"finalists": 1, "first_width": 2}, **options)
    run = Run(config, tmp_path / "run")
    run.fit()
    notes = model_of(run).notes
    assert (len(notes.first_round), len(notes.candidates)) == (4, 1)
    best = min(notes.first_round, key=lambda each: each.score)
    assert notes.candidates[0].values == best.values
    options["search"] = {key: [value] for key, value in best.values.items()}
    alone = Run(local_experiment(path, **options), tmp_path / "alone")
    alone.fit()
    np.testing.assert_allclose(
        model_of(run).networks[0].outer, model_of(alone).networks[0].outer, atol=1e-12
    )


def test_finalists_are_in_the_order_of_the_search():
    scores = [CandidateScore({}, score, 1.0, []) for score in (0.5, 0.3, 0.4, 0.3)]
    assert finalists(scores, 1) == [1]
    assert finalists(scores, 2) == [1, 3]
    assert finalists(scores, 3) == [1, 2, 3]
