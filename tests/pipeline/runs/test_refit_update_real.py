"""Test refit and update on real weather: years left out, and later years."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.archives import DATA, ROOT, real
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import finish

pytestmark = real
EXPERIMENT = ROOT / "workflows" / "experiments" / "era_interim_europe.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Run:
    """Run six years of ERA-Interim with a small network."""
    tree = yaml.safe_load(EXPERIMENT.read_text(encoding="utf-8"))
    del tree["search"], tree["fit"]
    tree["periods"] |= {
        "train": ["2000-01-01", "2005-12-31"],
        "validation": ["2006-01-01", "2006-12-31"],
    }
    tree["state"] = {"modes": 20}
    del tree["model"]["hidden_modes"]
    tree["model"] |= {"width": 60, "leads": ["1d", "2d"]}
    tree["forecast"] = {"horizon": "3d", "every": "5d"}
    for source in tree["data"]["sources"]:
        source["path"] = str(DATA.resolve() / source["path"])
    text = yaml.safe_dump(tree, sort_keys=False)
    return finish(Run(parse_experiment(text), tmp_path_factory.mktemp("real") / "run"))


def rmse(run: Run) -> xr.DataArray:
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        return scores["rmse"].sel(system="forecast").load()


@pytest.mark.slow
def test_leaving_a_year_out_increases_the_error_little(done, tmp_path):
    run = finish(refit(done.folder, tmp_path / "refit", without=[2003]))
    before, after = (ForecastModel.load(each.model).notes.rows for each in (done, run))
    assert before - after == 365
    np.testing.assert_allclose(rmse(run), rmse(done), rtol=0.03)
    assert (rmse(run) != rmse(done)).all()


@pytest.mark.slow
def test_later_years_reduce_the_error(done, tmp_path):
    paths = [str(source.path) for source in done.experiment.data.sources]
    run = update(done.folder, paths, tmp_path / "new", period=period("2006-01-01", "2008-12-31"))
    assert asdict(run.updated.latest) | {"first": "", "data": ""} == {
        "first": "", "data": "", "times": 1096, "rows": 1096, "consecutive": True, "forget": 1.0,
        "missing": 0, "gaps": 0, "previous": "2005-12-31 12:00:00",
    }  # fmt: skip
    finish(run)
    assert float((rmse(run) / rmse(done)).mean()) < 1
