"""Run a reduced version of the ERA-Interim experiment on eleven years of real weather."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr
import yaml

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.archives import DATA, ROOT, real

pytestmark = [real, pytest.mark.cluster]
EXPERIMENT = ROOT / "workflows" / "experiments" / "era_interim_europe.yaml"


@pytest.fixture(scope="module")
def rmse(tmp_path_factory) -> xr.DataArray:
    folder: Path = tmp_path_factory.mktemp("era_interim")
    tree = yaml.safe_load(EXPERIMENT.read_text(encoding="utf-8"))
    del tree["search"], tree["fit"]
    tree["model"]["width"] = 1000
    tree["forecast"]["every"] = "5d"
    for source in tree["data"]["sources"]:
        source["path"] = str(DATA.resolve() / source["path"])
    run = Run(parse_experiment(yaml.safe_dump(tree, sort_keys=False)), folder / "run")
    with open_cluster(ClusterConfig(dashboard=":0")):
        run.fit()
        run.forecast()
        run.verify()
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        assert scores["pairs"].values[0] == 146
        return scores["rmse"].load()


def at(rmse: xr.DataArray, days: int) -> xr.DataArray:
    return rmse.isel(prediction_timedelta=days - 1)


@pytest.mark.slow
def test_z500_a_day_ahead(rmse):
    one = at(rmse, 1).sel(channel="geopotential_500")
    # In m2 s-2: the limit is about 48 m of height, the error of persistence about 68 m.
    assert 300 < float(one.sel(system="forecast")) <= 485
    assert float(one.sel(system="persistence")) > 600


@pytest.mark.parametrize("days", [1, 3, 5])
def test_damped_persistence_is_beaten(rmse, days):
    one = at(rmse, days)
    for system in ("linear inverse", "damped persistence"):
        assert (one.sel(system="forecast") < one.sel(system=system)).all()


def test_the_linear_model_is_beaten_a_day_ahead(rmse):
    one = at(rmse, 1)
    assert one.sizes["channel"] == 3
    assert (one.sel(system="forecast") < one.sel(system="linear")).all()
