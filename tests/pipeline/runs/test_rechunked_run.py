"""A fit on a store whose chunks hold long series of small areas."""

from __future__ import annotations

import shutil
from collections import namedtuple

import numpy as np
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.errors import ConfigError, ResourceError
from gfrnn.pipeline.planning.fit_estimate import Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training import field_passes, fit
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.fixed_times import FixedTimer, rates_of
from gfrnn_testing.weather import make_weather, tree

LAYOUTS = {
    "eof": {},
    "local": {"state": {"layout": "local", "patch": [2, 2], "halo": [1, 1], "delays": 1}},
}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Write weather in chunks of all times of a small area."""
    folder = tmp_path_factory.mktemp("series")
    make_weather(folder / "w.zarr", times=620)
    ds = xr.open_zarr(folder / "w.zarr", chunks=None, consolidated=False).load()
    encoding = {}
    for name in ds.data_vars:
        area = {"latitude": 3, "longitude": 4, "level": 1}
        chunks = tuple(area.get(str(dim), ds.sizes[dim]) for dim in ds[name].dims)
        encoding[name] = {"chunks": chunks}
    ds.drop_encoding().to_zarr(folder / "s.zarr", encoding=encoding, consolidated=False)
    return folder / "s.zarr"


def keys(path, layout, **data):
    sections = tree(path, data={"chunk": 20, **data}) | LAYOUTS[layout]
    return checked(Experiment, sections, "test")


def stages_of(keys):
    rates = rates_of(1e9, 1e9)
    found = plan_fit(keys, open_source(keys.data), Workforce(), rates, FixedTimer())
    return found, {stage.name: stage for stage in found.stages}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_plan_decodes_each_stored_chunk_once(series, layout):
    before, plain = stages_of(keys(series, layout))
    found, stages = stages_of(keys(series, layout, rechunk=True))
    assert plain["climatology"].chunks > 15 * plain["climatology"].different
    assert any("data.rechunk: true" in line for line in before.advice)
    assert next(iter(stages)) == "rechunk"
    assert "rechunk" not in plain
    assert stages["rechunk"].chunks == stages["rechunk"].different > 0
    assert stages["rechunk"].kept_bytes > 0
    for stage in ("climatology", {"eof": "eofs", "local": "rows"}[layout]):
        # A chunk with the new year has times of two leaves; local leaves read neighbouring times.
        assert stages[stage].chunks <= 1.6 * stages[stage].different
    assert not any("data.rechunk" in line for line in found.advice)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fit_decodes_each_stored_chunk_once_and_gives_the_same_model(
    series, tmp_path, monkeypatch, layout
):
    reads: list[str] = []
    plain = zarr.storage.LocalStore.get

    async def get(self, key, *arguments, **options):
        if str(self.root).endswith("s.zarr") and "/c/" in key:
            reads.append(key)
        return await plain(self, key, *arguments, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    models, counts = [], []
    for rechunk in (False, True):
        reads.clear()
        run = Run(keys(series, layout, rechunk=rechunk), tmp_path / str(rechunk))
        run.fit()
        counts.append(len(reads) / len(set(reads)))
        models.append(ForecastModel.load(run.model))
        assert not (run.folder / "summaries.zarr" / "fields").exists()
    # Besides, the fingerprint reads at most eight times of each level.
    assert counts[1] <= 1 + 8 < 30 < counts[0]
    for ours, theirs in zip(models[1].networks, models[0].networks, strict=True):
        np.testing.assert_allclose(ours.outer, theirs.outer, rtol=1e-3, atol=1e-6)


def test_a_copy_is_made_by_itself_where_it_saves_much(series, monkeypatch):
    monkeypatch.setattr(field_passes, "_AGAIN", 2**10)
    monkeypatch.setattr(field_passes, "_LEAST_CHUNK", 2**8)
    assert "rechunk" in stages_of(keys(series, "eof"))[1]
    assert "rechunk" not in stages_of(keys(series, "eof", rechunk=False))[1]
    monkeypatch.setattr(field_passes, "_LEAST_CHUNK", 2**20)
    assert "rechunk" not in stages_of(keys(series, "eof"))[1]


def test_a_full_disk_is_refused_before_anything_is_copied(series, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fit, "disk_usage", lambda path: usage(2**20, 2**20, 0))
    run = Run(keys(series, "eof", rechunk=True), tmp_path / "run")
    message = r"copy of the fields needs up to \d+\.\d\d .iB, but .* data\.rechunk: false"
    with pytest.raises(ResourceError, match=message):
        run.fit()
    assert not run.summaries.exists()
    # The advice can be followed in the same folder.
    assert Run(keys(series, "eof", rechunk=False), run.folder).experiment.data.rechunk is False


def test_files_that_cannot_be_copied_are_refused(series, tmp_path):
    ds = xr.open_zarr(series, chunks=None, consolidated=False)
    half = ds.sizes["time"] // 2
    south = ds.isel(time=slice(half, None), latitude=slice(None, None, -1))
    for name, part in (("a.nc", ds.isel(time=slice(half))), ("b.nc", south)):
        part.drop_encoding().to_netcdf(tmp_path / name)
    with pytest.raises(ConfigError, match=r"data\.rechunk: true, but .* different orders"):
        stages_of(keys(str(tmp_path / "*.nc"), "eof", rechunk=True))
    shutil.rmtree(tmp_path)
