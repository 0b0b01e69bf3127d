"""Check the documents against the code: all keys are described, all links have a target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline import Experiment
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import SEARCHABLE
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.variables.names import ALIASES, QUANTITIES
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.paths import ROOT
from gfrnn_testing.slurm import Slurm

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
LONG = 10
"""A default with more entries is described by their number."""

_ROW = re.compile(r"^\| `(?P<key>[a-z_.]+)` \| (?P<default>.*?) \| (?P<meaning>.+) \|$", re.M)
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections of the experiment file in ``Section | None`` or ``list[Section]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from sections_in(part)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield each key with a value of its own, with its path from the top of the file."""
    for name, field in model.model_fields.items():
        inner = [section for section in sections_in(field.annotation) if section is not Period]
        for section in inner:
            yield from keys(section, f"{prefix}{name}.")
        if not inner:
            yield prefix + name, field


def spelled(field: FieldInfo) -> str:
    """Return the default in the notation of the table."""
    default = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if default is None:
        return "none"
    if isinstance(default, Duration):
        return f"`{default}`"
    if isinstance(default, tuple):  # YAML has lists only
        default = list(default)
    if isinstance(default, list) and len(default) > LONG:
        return f"{len(default)} values, `{default[0]}` to `{default[-1]}`"
    return f"`{default or repr(default)}`"


KEYS = dict(keys(Experiment)) | dict(keys(ClusterConfig, "cluster."))


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    """Read the default of each key from docs/experiment.md."""
    text = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    rows = list(_ROW.finditer(text))
    assert len({row["key"] for row in rows}) == len(rows), "a key is described twice"
    return {row["key"]: row["default"] for row in rows}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described_with_its_default(described: dict[str, str], key: str) -> None:
    assert described.get(key) == spelled(KEYS[key])


def test_no_other_key_is_described(described: dict[str, str]) -> None:
    parents = {key.rpartition(".")[0] for key in KEYS}
    assert set(described) <= set(KEYS) | parents


def test_every_searchable_key_is_named() -> None:
    text = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    row = next(row for row in _ROW.finditer(text) if row["key"] == "search")
    assert set(re.findall(r"`([a-z_.]+)`", row["meaning"])) == set(SEARCHABLE)


def test_the_table_of_names_is_that_of_the_program() -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|(.*)\|$", text, re.MULTILINE)
    assert [(name, units) for name, units, _ in rows] == [
        (name, each.units) for name, each in QUANTITIES.items()
    ]
    named = {other: name for name, _, others in rows for other in re.findall(r"`(\w+)`", others)}
    assert named | {name: name for name in QUANTITIES} == ALIASES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_have_targets(document: Path) -> None:
    # Brackets in code are no links.
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    for match in _LINK.finditer(text):
        target = match[1] or match[2]
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = document.parent / file if file else document
        assert place.exists(), f"{document.name}: {target} is not there"
        if anchor:
            assert anchor in anchors(place), f"{document.name}: no heading for {target}"


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", ["daily_forecasts", "dashboard", "other_forecasts"])
def test_tutorials_work_as_they_are_typed(name: str, tmp_path: Path) -> None:
    type_tutorial(name, tmp_path)


@pytest.mark.slow
@pytest.mark.cluster
def test_the_tutorial_on_own_files_works_as_it_is_typed(tmp_path: Path) -> None:
    type_tutorial("own_files", tmp_path)

    def error(name: str, system: str) -> float:
        scores = xr.open_zarr(tmp_path / "runs" / name / "scores.zarr", decode_timedelta=True)
        found = scores["rmse"].sel(system=system, channel="geopotential_250")
        return float(found.sel(prediction_timedelta=np.timedelta64(1, "D")))

    assert error("first", "forecast") == pytest.approx(error("first", "linear"), rel=1e-3)
    assert error("waves", "forecast") < 0.5 * error("waves", "linear")
    assert error("waves", "forecast") < 0.5 * error("first", "forecast")


@real
@pytest.mark.slow
@pytest.mark.cluster
def test_the_tutorial_on_el_nino_works_as_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "sst.mon.anom.nc").symlink_to(
        DATA.resolve() / "pacific_sst_slp_monthly_1856_2014" / "sst.nc"
    )
    type_tutorial("el_nino", tmp_path)
    spectrum = xr.open_zarr(tmp_path / "runs" / "el_nino" / "spectrum.zarr")
    assert 36 <= float(spectrum["period"][0]) <= 60
    scores = xr.open_zarr(tmp_path / "runs" / "el_nino" / "scores.zarr")
    found = scores["index_correlation"].sel(index="nino34", prediction_timedelta=[6, 12])
    for reference in ("linear", "linear inverse"):
        assert (found.sel(system="forecast") > found.sel(system=reference)).all(), reference


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.cluster
def test_the_tutorial_on_slurm_works_as_it_is_typed(slurm: Slurm, tmp_path: Path) -> None:
    type_tutorial("slurm", tmp_path)
    jobs, allocation = (
        xr.open_zarr(tmp_path / "runs" / name / "scores.zarr", decode_timedelta=True)
        for name in ("jobs", "allocation")
    )
    assert jobs.identical(allocation.assign_attrs(jobs.attrs))


def test_every_tutorial_is_typed_by_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{tutorial.stem}"' in tested for tutorial in TUTORIALS)


def type_tutorial(name: str, folder: Path) -> None:
    """Execute the blocks of a tutorial in this folder; fail with the output if one fails."""
    tutorial = ROOT / "docs" / "tutorials" / f"{name}.md"
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", tutorial.read_text(), re.S | re.M)
    assert blocks
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for language, block in blocks:
        shell = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(
            shell if language == "sh" else [sys.executable, "-c", block],
            cwd=folder,
            env={**os.environ, "PATH": programs},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr + done.stdout
