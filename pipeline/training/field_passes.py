"""Passes over the archive's fields that the fits of all layouts share, and their keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary
from gfrnn.pipeline.states.harmonics import AnnualCycle
from gfrnn.pipeline.training.pass_costs import read_windows
from gfrnn.pipeline.training.passes import ReductionPass
from gfrnn.pipeline.training.stretches import read_stretches


@dataclass(frozen=True)
class FieldPasses:
    """An experiment, its data, and the passes over its fields.

    Attributes
    ----------
    experiment : Experiment
    fields : Fields
        Data with their mask.
    checkpoints : Checkpoints
    """

    experiment: Experiment
    fields: Fields
    checkpoints: Checkpoints

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the data."""
        return fingerprint(self.fields.ds)

    @property
    def terms(self) -> tuple[AnnualCycle, int]:
        """Annual cycle and number of harmonics of the day in the climatology."""
        return self.experiment.climatology.cycles(step_of(self.fields.time))

    @property
    def climatology_key(self) -> str:
        """Key of everything but the stretches that determines the climatology."""
        return content_key(self.fingerprint, *self.terms)

    def climatology_pass(self) -> ReductionPass:
        """Return the first pass, which gives the climatology of the training period."""
        moments, reads = ClimatologySummary(self.fields, *self.terms), self.reads("train")
        return ReductionPass(
            summary=moments,
            stretches=reads,
            key=lambda: self.climatology_key,
            windows=read_windows(reads),
            finish=moments.finish,
            placeholder=Climatology.zero(*self.terms, self.fields.grid),
            joined=True,
        )

    def reads(self, name: str) -> list[Stretch]:
        """Return the leaves of a pass that reads the fields of a period."""
        return read_stretches(
            self.fields.time,
            getattr(self.experiment.periods, name),
            name,
            columns=self.fields.grid.size,
            chunk=self.experiment.data.chunk,
            grain=self.fields.ds.attrs["time_chunk"],
            phase=self.fields.ds.attrs["time_chunk_start"],
        )

    @cached_property
    def training_folds(self) -> int:
        """Number of folds of the training period, one a year."""
        return len({part.fold for part in self.reads("train")})

    def rows_key(self, variant: Experiment, *parts: Any) -> str:
        """Return the key of everything but the stretches that determines a candidate's rows."""
        return content_key(
            self.fingerprint,
            variant.periods.model_dump(mode="json"),
            variant.climatology.model_dump(mode="json"),
            variant.state.model_dump(mode="json"),
            variant.model.model_dump(mode="json", exclude={"bound"}),  # only rollouts have it
            variant.fit.pool,
            variant.fit.share,
            *parts,
        )
