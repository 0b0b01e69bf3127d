"""Read the run of somebody else: hostile stores are refused in a line, before they are decoded."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.forecast_store import WRITTEN
from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.ensembles.error_archive import ErrorArchive
from gfrnn.pipeline.untrusted_store import UntrustedStoreError, check_store
from gfrnn.pipeline.verification.compare import compare
from gfrnn.workflows.benchmarks.forecast_skill import score_run
from gfrnn.workflows.commands.run_stages import print_scores
from gfrnn.workflows.comparison.run_index import write_index
from gfrnn.workflows.plots.plot_run import PlotRequest, make_figure
from gfrnn.workflows.report.page import write_report


@pytest.fixture
def stranger(finished: Run, tmp_path: Path) -> Run:
    """Copy the run, to be changed."""
    return Run.reopen(Path(shutil.copytree(finished.folder, tmp_path / "run")))


def change(array: Path, **keys: Any) -> None:
    file = array / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def unknown_codec(array: Path) -> None:
    change(array, codecs=[{"name": "numcodecs.pickle"}])


def codec_in_shards(array: Path) -> None:
    inner = {"chunk_shape": [1], "codecs": [{"name": "numcodecs.pickle"}], "index_codecs": []}
    change(array, codecs=[{"name": "sharding_indexed", "configuration": inner}])


def huge_array(array: Path) -> None:
    change(array, shape=[10**12])


def huge_chunks(array: Path) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**12]}}
    change(array, chunk_grid=grid)


def link(array: Path) -> None:
    chunks = array / "c"
    chunks.rename(array.with_name("away"))
    chunks.symlink_to(array.with_name("away"))


def format_2(array: Path) -> None:
    (array / ".zarray").write_text('{"zarr_format": 2}')


ATTACKS: dict[Callable[[Path], None], str] = {
    unknown_codec: "has the codec 'numcodecs.pickle'",
    codec_in_shards: "has the codec 'numcodecs.pickle'",
    huge_array: "on disk",
    huge_chunks: "has the chunks",
    link: "is a link",
    format_2: "has zarr format 2",
}


def unfinished(run: Run) -> None:
    """Resume forecasts that were killed."""
    store = zarr.open_group(run.forecast_store, mode="r+", use_consolidated=False)
    if WRITTEN not in store:
        store.create_array(WRITTEN, shape=(1,), dtype="int8")
    with run.changing_record() as record:
        record.reopen_stage("forecast")
    run.forecast()


READERS: dict[str, dict[str, Callable[[Run], Any]]] = {
    "forecast.zarr": {
        "forecasts": lambda run: run.forecasts(),
        "truth": lambda run: run.truth(),
        "rollouts": lambda run: run.rollouts(),
        "forecast": unfinished,
        "verify": lambda run: run.verify(force=True),
        "report": write_report,
        "export": lambda run: NetcdfExport.prepare(run.folder),
        "maps": lambda run: make_figure(run, PlotRequest()),
        "skill": score_run,
    },
    "statistics.zarr": {
        "compare": lambda run: compare({"a": run.statistics, "b": run.statistics}),
        "print": print_scores,
    },
    "scores.zarr": {
        "scores": lambda run: run.scores(),
        "subsets": lambda run: run.scores(subsets=True),
        "report": write_report,
        "print": print_scores,
        "lines": lambda run: make_figure(run, PlotRequest(skill=True)),
    },
    "model.zarr": {
        "verify": lambda run: run.verify(force=True),
        "forecast": lambda run: run.forecast(force=True),
    },
}
CASES = [(store, name) for store, readers in READERS.items() for name in readers]


@pytest.mark.parametrize(("store", "reader"), CASES)
def test_each_reader_refuses_each_kind_in_a_line(stranger: Run, store: str, reader: str) -> None:
    path = stranger.folder / store
    array = path / "latitude" if (path / "latitude").exists() else path / "rmse"
    array = array if array.exists() else path / "known"
    for attack, message in ATTACKS.items():
        kept = shutil.copytree(path, stranger.folder / "kept", symlinks=True)
        attack(array)
        with pytest.raises(RunError) as caught:
            READERS[store][reader](stranger)
        text = str(caught.value)
        assert f"{path}: is damaged, or not written by this program: " in text
        assert message in text
        assert "\n" not in text
        shutil.rmtree(path)
        kept.rename(path)


def test_each_reader_reads_an_honest_run(stranger: Run) -> None:
    each = {name: read for readers in READERS.values() for name, read in readers.items()}
    for name, read in each.items():
        if name != "forecast":
            read(stranger)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_index_of_runs_names_a_hostile_store(
    stranger: Run, attack: Callable[[Path], None]
) -> None:
    attack(stranger.score_store / "rmse")
    page, count = write_index(stranger.folder.parent)
    assert count == 1
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert f"{stranger.score_store}: is damaged, or not written by this program: " in text
    assert ATTACKS[attack] in text


def test_a_store_that_is_not_filled_yet_is_sound_where_it_is_read_in_chunks(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "store.zarr")
    group.create_array("t", shape=(10**5, 40, 100, 100), chunks=(1, 40, 100, 100), dtype="f4")
    with pytest.raises(UntrustedStoreError, match="the array t has the shape of .* bytes on disk"):
        check_store(tmp_path / "store.zarr")
    check_store(tmp_path / "store.zarr", in_chunks=True)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_errors_of_held_out_forecasts_are_made_anew(
    tmp_path: Path, attack: Callable[[Path], None]
) -> None:
    archive = ErrorArchive(tmp_path / "errors")
    zarr.create_group(archive.path).create_array("unit", data=np.ones(1))
    assert archive.exists
    attack(archive.path / "unit")
    assert not archive.exists
