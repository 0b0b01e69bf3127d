"""Fit a model: climatology, EOFs, states, then a triangle and a choice for each candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn_core import SampledRNN
from pipeline.checkpoints import Arrays, Checkpoints, content_key
from pipeline.choosing import choose_model
from pipeline.config import Experiment
from pipeline.fields import Fields
from pipeline.kept import Candidate, Fold, Kept
from pipeline.model import ForecastModel
from pipeline.plan import read_stretches, steps
from pipeline.preflight import check_fit, model_leads, row_leaves
from pipeline.reduce import (
    Stretch,
    Summary,
    check_call,
    check_memory,
    fold_keys,
    reduce_stretches,
)
from pipeline.series import draw_pool, lagged_covariance, last_states, times_of
from pipeline.sources import fingerprint
from pipeline.state import Climatology, EofLayout, Scaling
from pipeline.summaries import (
    ClimatologySummary,
    EofSummary,
    RowSummary,
    StateSummary,
)
from pipeline.tasks import Progress
from pipeline.times import step_of

Array = NDArray[Any]


def fit(
    experiment: Experiment,
    ds: xr.Dataset,
    folder: Path,
    progress: Progress | None = None,
) -> ForecastModel:
    """Train a model.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        As :func:`pipeline.open_source` gives it for ``experiment.data``.
    folder : Path
        Where ``summaries.zarr`` keeps what is finished, so that a killed fit goes on from there.
    progress : callable, optional

    Returns
    -------
    ForecastModel

    Raises
    ------
    ConfigError, DataError, ResourceError
        Before work starts wherever it can be seen then.
    """
    check_fit(experiment, ds)
    training = _Training(experiment, Fields(ds), Checkpoints(folder / "summaries.zarr"), progress)
    training.check_memory()
    return training.run()


@dataclass(frozen=True)
class _Training:
    """One fit under way: the passes in their order."""

    experiment: Experiment
    fields: Fields
    checkpoints: Checkpoints
    progress: Progress | None

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.fields.ds)

    def run(self) -> ForecastModel:
        layout = self.eofs()
        states = self.states()
        kept = self.kept(states)
        chosen = choose_model(kept.candidates, self.checkpoints, self.experiment.fit, self.progress)
        _, variant = self.experiment.candidates()[chosen.best]
        train = row_leaves(variant, self.fields.time, "train")
        step = step_of(self.fields.time)
        horizon = steps("forecast.horizon", variant.forecast.horizon, step)
        variance = {"eof_variance": np.square(layout.singular_values) / layout.total}
        origin = {
            "variance_kept": layout.variance_kept,
            "fingerprint": self.fingerprint,
            "kept": {"store": self.checkpoints.path.name, "key": kept.save(self.checkpoints)},
        }
        return ForecastModel(
            layout=layout,
            networks=chosen.networks,
            mixture=chosen.mixture,
            linear=chosen.linear,
            lagged=lagged_covariance(states, train, horizon),
            step=step,
            inputs=tuple(variant.model.inputs),
            selection=chosen.selection | variance,
            notes=chosen.notes | origin,
        )

    def check_memory(self) -> None:
        """Refuse passes that do not fit into the workers, before the first of them runs."""
        fields, train = self.fields, self.reads("train")
        check_memory(ClimatologySummary(fields, *self.terms), train)
        scaling = Scaling(fields.grid, Climatology(0, 0, np.empty(0), np.empty(0)))
        check_memory(EofSummary(fields, scaling, rank=2 * self.modes), train)
        for _, variant in self.experiment.candidates():
            size = variant.state.delays * variant.state.modes
            network = replace(self.network(variant), sampling="normal").sample(np.zeros((1, size)))
            folds = ("train", "validation")
            parts = [part for name in folds for part in row_leaves(variant, fields.time, name)]
            rows = self.rows(variant, network)
            check_memory(rows, parts)
            # The triangle, its weighted copy, and the SVD with its working memory.
            check_call("solve", 12 * 8 * rows.columns**2, rows.remedy)

    # The passes that read fields

    @property
    def modes(self) -> int:
        """EOFs that the candidates need."""
        return max(variant.state.modes for _, variant in self.experiment.candidates())

    @property
    def terms(self) -> tuple[int, int]:
        """Harmonics of the year and of the day."""
        climatology = self.experiment.climatology
        annual, diurnal = climatology.annual, climatology.diurnal
        if diurnal is None:
            diurnal = 1 if step_of(self.fields.time) < np.timedelta64(12, "h") else 0
        return annual, diurnal

    def eofs(self) -> EofLayout:
        """Climatology and EOFs; the states of training and validation times go to disk."""
        train, validation = self.reads("train"), self.reads("validation")
        annual, diurnal = self.terms
        moments = ClimatologySummary(self.fields, annual, diurnal)
        key = content_key(self.fingerprint, annual, diurnal)
        scaling = Scaling(self.fields.grid, moments.finish(self.merged(moments, train, key)))
        modes = self.modes
        # Twice the modes: what a leaf cuts off then hardly touches the modes kept.
        svd = EofSummary(self.fields, scaling, rank=2 * modes)
        key = content_key(key, modes, [(part.start, part.stop) for part in train])
        layout, states = svd.finish(self.merged(svd, train, key), modes)
        rest = self.merged(StateSummary(self.fields, layout), validation, key)
        series = np.full((len(self.fields.time), modes), np.nan)
        series[times_of(train)] = states
        series[times_of(validation)] = rest["states"]
        zarr.create_array(
            self.series,
            data=series,
            chunks=(min(4096, len(series)), modes),
            overwrite=True,
        )
        return layout

    @property
    def series(self) -> Path:
        """The states of all training and validation times: (times, modes), else NaN."""
        return self.checkpoints.path / "series"

    def states(self) -> Array:
        return np.asarray(zarr.open_array(self.series, mode="r")[...])

    def reads(self, name: str) -> list[Stretch]:
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

    # The training pass

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
            standardise=False,
            seed=model.seed,
        )

    def rows(self, variant: Experiment, network: SampledRNN) -> RowSummary:
        inputs = tuple(variant.model.inputs)
        return RowSummary(network, self.series, self.fields.time, variant.state.modes, inputs)

    def kept(self, states: Array) -> Kept:
        """The training passes of all candidates, and the states that they end with."""
        candidates = tuple(
            self.candidate(values, variant, states)
            for values, variant in self.experiment.candidates()
        )
        last = int(times_of(self.reads("train")).max())
        count = max(candidate.network.overlap for candidate in candidates)
        tail = last_states(states, self.fields.time, last, count)
        return Kept(candidates, tail, self.fields.time[last])

    def candidate(self, values: dict[str, Any], variant: Experiment, states: Array) -> Candidate:
        """The training pass of one candidate."""
        model, modes, time = variant.model, variant.state.modes, self.fields.time
        network = self.network(variant)
        train, validation = (row_leaves(variant, time, name) for name in ("train", "validation"))
        pool = draw_pool(states[:, :modes], train, network.delays, variant.fit.pool, model.seed)
        seen = np.zeros((network.delays, modes), dtype=bool)
        seen[: model.hidden_delays, : model.hidden_modes] = True
        network = network.sample(*pool, seen.reshape(-1))
        rows = self.rows(variant, network)
        key = content_key(
            self.fingerprint,
            variant.periods.model_dump(mode="json"),
            variant.climatology.model_dump(mode="json"),
            variant.state.model_dump(mode="json"),
            model.model_dump(mode="json"),
            variant.fit.pool,
            states.shape,
        )
        found = self.reduce(rows, train + validation, key)
        keys = fold_keys(rows.name, key, train + validation)
        targets = times_of(validation)[:, None] + np.asarray(network.leads)
        squares = np.square(states[targets]).mean(axis=0)
        return Candidate(
            values=values,
            network=network,
            size=modes,
            inputs=2 * len(model.inputs),
            summary=rows.name,
            folds={fold: Fold(keys[fold], int(found[fold]["rows"])) for fold in found},
            variance=squares.sum(axis=1),
            beyond=squares[:, modes:].sum(axis=1),
        )
