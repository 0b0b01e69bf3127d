"""Continue a stage with other libraries: that is recorded, said, and refused where asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs import record as records
from gfrnn.pipeline.runs.provenance import blas_kernels, software
from gfrnn.pipeline.runs.run import Run

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-04"]},
    "model": {"width": 8},
    "fit": {"ridge": [1e-3]},
}


@pytest.fixture
def unfinished(fitted, tmp_path) -> Path:
    """Copy a run whose fit was interrupted."""
    folder = tmp_path / "run"
    shutil.copytree(fitted.folder, folder)
    run = Run.reopen(folder)
    with run.changing_record() as record:
        record.reopen_stage("fit")
    return folder


def other_kernels(patch: pytest.MonkeyPatch) -> None:
    def found(libraries: Any) -> dict[str, str]:
        return software(libraries) | {"blas": "openblas 0.3.0 Nehalem"}

    patch.setattr(records, "software", found)


def test_the_record_has_the_kernels_of_linear_algebra(fitted):
    assert blas_kernels()
    machine = fitted.record.machine
    assert machine is not None
    assert machine["blas"] == blas_kernels()
    (used,) = fitted.record.software["fit"]
    assert set(used) == {"python", "gfrnn", "numpy", "scipy", "blas"}


def test_a_fit_continued_with_the_same_software_says_nothing(unfinished, caplog):
    run = Run(Run.reopen(unfinished).experiment, unfinished, strict=True)
    run.fit()
    assert len(run.record.software["fit"]) == 1
    assert "other software" not in caplog.text


def test_a_fit_continued_with_other_kernels_is_recorded_and_said(unfinished, caplog, monkeypatch):
    other_kernels(monkeypatch)
    run = Run.reopen(unfinished)
    run.fit()
    assert [each["blas"] for each in run.record.software["fit"]] == [
        ", ".join(blas_kernels()),
        "openblas 0.3.0 Nehalem",
    ]
    assert "parts of fit were computed with other software" in caplog.text
    assert "openblas 0.3.0 Nehalem here" in caplog.text


def test_strict_refuses_other_kernels_and_changes_nothing(unfinished, monkeypatch):
    other_kernels(monkeypatch)
    run = Run(Run.reopen(unfinished).experiment, unfinished, strict=True)
    before = run.record_file.read_bytes()
    with pytest.raises(RunError, match="other software .*Nehalem here.*--strict does not allow"):
        run.fit()
    assert run.record_file.read_bytes() == before


def test_a_fit_that_begins_anew_has_no_other_software(unfinished, monkeypatch):
    other_kernels(monkeypatch)
    shutil.rmtree(unfinished / "summaries.zarr")
    run = Run(Run.reopen(unfinished).experiment, unfinished, strict=True)
    run.fit()
    assert [each["blas"] for each in run.record.software["fit"]] == ["openblas 0.3.0 Nehalem"]
