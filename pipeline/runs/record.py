"""Record of a run, ``run.json``: finished stages, software, machine and cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.provenance import provenance, software
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.training.model_notes import Updates

STAGES = ("fit", "forecast", "verify")
"""Stages in their order; each needs the product of the one before."""

LIBRARIES = ("gfrnn", "numpy", "scipy", "xarray", "zarr", "dask", "distributed")
"""Distributions whose versions a record states."""


NUMERIC_LIBRARIES = ("gfrnn", "numpy", "scipy")
"""Distributions whose versions may change the last digits of results."""


@dataclass(frozen=True)
class CopiedModel:
    """Origin of a copied model.

    Attributes
    ----------
    of : str
        Folder of the run that trained it.
    model : str
        Key of the notes of the model.
    """

    of: str
    model: str


@dataclass(frozen=True)
class RefitModel:
    """Origin of a refitted model: ``of`` is the folder of the run whose triangles were used."""

    of: str


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """State of one stage.

    Attributes
    ----------
    key : str
        Key of everything that decides the product of the stage.
    seconds : float or None
        Wall time.
    finished : str or None
        Time (UTC) at which the stage ended; None while it is not finished.
    refit : RefitModel or None
    taken : CopiedModel or None
    updated : Updates or None
        Origin of the model of a stage ``fit`` that was refitted, copied or updated.
    rollouts : dict or None
        Of the stage ``forecast``: how many forecasts there are, diverged and were limited, see
        :func:`gfrnn.pipeline.forecasting.divergence.rollout_counts`.
    command : str or None
        While a model is derived from an earlier fit: the command that does it, for messages.
    """

    key: str = ""
    seconds: float | None = None
    finished: str | None = None
    refit: RefitModel | None = None
    taken: CopiedModel | None = None
    updated: Updates | None = None
    rollouts: dict[str, Any] | None = None
    command: str | None = None

    @property
    def external(self) -> bool:
        """Whether the model was copied or updated, so that the run's data do not determine it."""
        return self.taken is not None or self.updated is not None

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> StageRecord:
        """Parse a stage's entry in ``run.json``."""
        parts: dict[str, Any] = {}
        if "refit" in found:
            parts["refit"] = RefitModel(**found["refit"])
        if "taken" in found:
            parts["taken"] = CopiedModel(**found["taken"])
        if "updated" in found:
            parts["updated"] = Updates.parse(found["updated"])
        return cls(**{**found, **parts})


@dataclass
class RunRecord:
    """Contents of ``run.json``.

    Attributes
    ----------
    name : str
        Name of the experiment.
    experiment : str or None
        Key of the experiment, by which it is recognised if its file is lost.
    stages : dict of StageRecord
    fingerprint : str or None
        Fingerprint of the data of the model.
    folds : dict of str or None
        Digest of the data of each fold, by which a changed one is found.
    versions, machine : dict or None
        Result of :func:`gfrnn.pipeline.runs.provenance.provenance`.
    cluster : dict or None
        Description of the cluster on which the run was computed.
    software : dict or None
        By stage, each set of library versions and BLAS kernels with which parts of it were
        computed; more than one where an interrupted stage was continued with others.
    """

    name: str = ""
    experiment: str | None = None
    stages: dict[str, StageRecord] = field(default_factory=dict)
    fingerprint: str | None = None
    folds: dict[str, str] | None = None
    versions: dict[str, str] | None = None
    machine: dict[str, Any] | None = None
    cluster: dict[str, Any] | None = None
    software: dict[str, list[dict[str, str]]] | None = None

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """Read ``run.json``; return None if it does not exist.

        Raises
        ------
        RunError
            If the file is damaged, or has keys of another version of this program.
        """
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            stages = {stage: StageRecord.parse(entry) for stage, entry in found["stages"].items()}
            return cls(**{**found, "stages": stages})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"{path}: cannot be read by this version ({error}); restore the file, or remove it "
                "to run the stages again from their checkpoints (updates of the model are lost "
                "then; a folder of `gfrnn forecast --period` must be made again by that command)"
            ) from None

    def write(self, path: Path) -> None:
        """Write ``run.json`` atomically, without the keys that do not apply."""
        plain = _applicable(asdict(self))
        plain["stages"] = {stage: _applicable(entry) for stage, entry in plain["stages"].items()}
        write_text(path, json.dumps(plain, indent=2) + "\n")

    @property
    def fit(self) -> StageRecord | None:
        """State of the stage ``fit``."""
        return self.stages.get("fit")

    @property
    def external_model(self) -> bool:
        """Whether the model was updated, or copied from another run."""
        return self.fit is not None and self.fit.external

    def note(self, stage: str, entry: StageRecord, fingerprint: str) -> None:
        """Set the state of a stage, and the versions and machine that compute it."""
        self.stages[stage] = entry
        self.fingerprint = fingerprint
        found = provenance(LIBRARIES)
        self.versions, self.machine = found["versions"], found["machine"]

    def use_software(self, stage: str, *, resumes: bool) -> list[str]:
        """Note the software that computes a stage from now on.

        Parameters
        ----------
        stage : str
        resumes : bool
            Whether parts of it are there already.

        Returns
        -------
        list of str
            What differs from the software that has computed these parts.
        """
        own = software(NUMERIC_LIBRARIES)
        used = (self.software or {}).get(stage, []) if resumes else []
        before = used[-1] if used else own
        self.software = (self.software or {}) | {stage: used if own in used else [*used, own]}
        return [
            f"{name} {before.get(name, 'none')} there, {own.get(name, 'none')} here"
            for name in sorted({*before, *own})
            if before.get(name) != own.get(name)
        ]

    def drop_later(self, stage: str) -> None:
        """Remove the stages that depend on a stage."""
        for later in STAGES[STAGES.index(stage) + 1 :]:
            self.stages.pop(later, None)

    def reopen_stage(self, stage: str) -> None:
        """Mark a stage as not finished, and remove the stages that depend on it."""
        if stage in self.stages:
            old = self.stages[stage]
            self.stages[stage] = StageRecord(key=old.key, seconds=old.seconds)
        self.drop_later(stage)


def now() -> str:
    """Return the current time (UTC) in the format of records."""
    return f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}"


def _applicable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
