"""One fit under way: the passes in their order, whatever the states are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.sources import fingerprint
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints, content_key
from gfrnn.pipeline.reduction.reduce import Stretch, Summary, reduce_stretches, thread_memory
from gfrnn.pipeline.reduction.tasks import Advance, Progress, run_tasks
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary
from gfrnn.pipeline.states.eofs import EofLayout
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.training.candidates import Candidate, FittedCandidates
from gfrnn.pipeline.training.checks import model_leads
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.model_notes import KeptTriangles, ModelNotes
from gfrnn.pipeline.training.pass_costs import PassCost, check_stages, reduction, windows_of
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn.pipeline.training.selection.choose_model import Chosen, choose_model
from gfrnn.pipeline.training.selection.precision import Sample
from gfrnn.pipeline.training.state_series import times_of
from gfrnn.pipeline.training.stretches import read_stretches, steps
from gfrnn_core import SampledRNN

Array = NDArray[Any]

# Rows for each column, of those that show what their precision costs.
_SAMPLED = 4


@dataclass(frozen=True)
class Training(ABC):
    """A fit of one layout of the states.

    Attributes
    ----------
    experiment : Experiment
    fields : Fields
        With the mask.
    checkpoints : Checkpoints
    progress : callable or None
    """

    experiment: Experiment
    fields: Fields
    checkpoints: Checkpoints
    progress: Progress | None

    # What a layout decides

    @abstractmethod
    def layout(self) -> EofLayout | LocalLayout:
        """The passes that come before the rows, and what they give."""

    @abstractmethod
    def candidates(self, layout: Any) -> tuple[Candidate, ...]:
        """The training pass of every candidate."""

    @abstractmethod
    def forcing(self) -> Forcing:
        """The inputs."""

    @abstractmethod
    def tail(self, layout: Any, last: int, count: int) -> Array:
        """The last states before the end of training, at most ``count``: (times, size)."""

    @abstractmethod
    def lagged(self, layout: Any, best: int, candidate: Candidate, horizon: int) -> Array:
        """Covariances of states with later ones, as the layout's ``damping`` takes them.

        Parameters
        ----------
        best : int
            Place of the best candidate.
        candidate : Candidate
            This candidate.
        """

    @abstractmethod
    def sample(self, layout: Any, best: int, candidate: Candidate) -> tuple[RowSummary, Stretch]:
        """The rows of a candidate, and a leaf of the training period."""

    @abstractmethod
    def notes(self, layout: Any) -> tuple[dict[str, Array], dict[str, Any]]:
        """What else the model's selection and notes hold."""

    # What all have in common

    def run(self) -> ForecastModel:
        """Fit."""
        layout = self.layout()
        candidates = self.candidates(layout)
        last = int(times_of(self.reads("train")).max())
        count = max(candidate.network.overlap for candidate in candidates)
        tail = self.tail(layout, last, count)
        kept = FittedCandidates(candidates, tail, self.fields.time[last])
        chosen = choose_model(candidates, self.checkpoints, self.experiment.fit, self.progress)
        step = step_of(self.fields.time)
        horizon = steps("forecast.horizon", self.experiment.forecast.horizon, step)
        selection, notes = self.notes(layout)
        place = KeptTriangles(self.checkpoints.path.name, kept.save(self.checkpoints))
        precision = self.precision(layout, chosen, candidates[chosen.best])
        return ForecastModel(
            layout=layout,
            networks=chosen.networks,
            mixture=chosen.mixture,
            linear=chosen.linear,
            lagged=self.lagged(layout, chosen.best, candidates[chosen.best], horizon),
            step=step,
            forcing=self.forcing(),
            selection=chosen.selection | selection,
            notes=ModelNotes(
                **chosen.notes,
                **notes,
                fingerprint=self.fingerprint,
                kept=place,
                precision=precision,
            ),
        )

    def precision(self, layout: Any, chosen: Chosen, candidate: Candidate) -> dict[str, Any]:
        """What the precision of the rows costs, see :meth:`Sample.measure`."""
        sample = Sample(
            *self.sample(layout, chosen.best, candidate),
            candidate,
            chosen.notes["width"],
            chosen.selection["ridge"],
            chosen.selection["balance"],
        )
        (found,) = run_tasks("precision", sample.measure, [(self.checkpoints,)], self.progress)
        return {"chosen": candidate.network.precision, **found}

    def stages(self) -> list[PassCost]:
        """What :meth:`run` will do, in its order; nothing is read for it."""
        reads = self.reads("train")
        moments = ClimatologySummary(self.fields, *self.terms)
        return [reduction(moments, reads, windows_of(reads), joined=True)]

    def announce(self) -> None:
        """Say what is coming, and refuse passes that do not fit into the workers."""
        stages = self.stages()
        check_stages(stages, self.fields, thread_memory())
        for stage in stages:
            if self.progress:
                self.progress(Advance(stage.name, 0, stage.plan.leaves, coming=True))

    @cached_property
    def fingerprint(self) -> str:
        """Of the data."""
        return fingerprint(self.fields.ds)

    @property
    def terms(self) -> tuple[int, int]:
        """Harmonics of the year and of the day."""
        climatology = self.experiment.climatology
        annual, diurnal = climatology.annual, climatology.diurnal
        if diurnal is None:
            diurnal = 1 if step_of(self.fields.time) < np.timedelta64(12, "h") else 0
        return annual, diurnal

    @property
    def climatology_key(self) -> str:
        """Of everything that decides the climatology but the stretches."""
        return content_key(self.fingerprint, *self.terms)

    def climatology(self) -> Climatology:
        """The first pass."""
        moments = ClimatologySummary(self.fields, *self.terms)
        return moments.finish(self.merged(moments, self.reads("train"), self.climatology_key))

    def reads(self, name: str) -> list[Stretch]:
        """Leaves of a pass that reads the fields of a period."""
        return read_stretches(
            self.fields.time,
            getattr(self.experiment.periods, name),
            name,
            columns=self.fields.grid.size,
            chunk=self.experiment.data.chunk,
            grain=self.fields.ds.attrs["time_chunk"],
            phase=self.fields.ds.attrs["time_chunk_start"],
        )

    def reduce(self, summary: Summary, stretches: list[Stretch], key: str) -> dict[str, Arrays]:
        """The summary of each fold."""
        return reduce_stretches(
            summary, stretches, key=key, checkpoints=self.checkpoints, progress=self.progress
        )

    def merged(self, summary: Summary, stretches: list[Stretch], key: str) -> Arrays:
        """The summary of all folds together."""
        folds = iter(self.reduce(summary, stretches, key).values())
        root = next(folds)
        for fold in folds:
            root = summary.merge(root, fold)
        return root

    def network(self, variant: Experiment) -> SampledRNN:
        """The network of one candidate, nothing drawn or solved."""
        model = variant.model
        return SampledRNN(
            width=model.width,
            activation=model.activation,
            sampling=model.sampling,
            scale=model.scale,
            delays=variant.state.delays,
            leads=model_leads(variant, self.fields.time),
            target=model.target,
            noise=model.noise,
            share=variant.fit.share,
            precision=model.precision,
            standardise=False,
            seed=model.seed,
        )

    def rows_key(self, variant: Experiment, *parts: Any) -> str:
        """Of everything that decides the rows of a candidate but the stretches."""
        return content_key(
            self.fingerprint,
            variant.periods.model_dump(mode="json"),
            variant.climatology.model_dump(mode="json"),
            variant.state.model_dump(mode="json"),
            variant.model.model_dump(mode="json"),
            variant.fit.pool,
            variant.fit.share,
            *parts,
        )


def sample_of(rows: RowSummary, stretches: list[Stretch]) -> Stretch:
    """The longest stretch, cut to the times that give some rows for each column."""
    longest = max(stretches, key=lambda part: part.stop - part.start)
    times = int(np.ceil(_SAMPLED * rows.columns / rows.places))
    return replace(longest, stop=min(longest.stop, longest.start + times))
