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

from gfrnn_core import RFactor, SampledRNN, merge_all
from pipeline.checkpoints import Arrays, Checkpoints, content_key
from pipeline.config import Experiment
from pipeline.errors import RunError
from pipeline.fields import Fields
from pipeline.model import ForecastModel
from pipeline.plan import read_stretches, steps
from pipeline.preflight import check_fit, model_leads, row_leaves, training_fields
from pipeline.reduce import (
    Stretch,
    Summary,
    check_call,
    check_memory,
    fold_keys,
    reduce_stretches,
)
from pipeline.selection import Choice, choose, mixture
from pipeline.series import draw_pool, lagged_covariance, times_of
from pipeline.sources import fingerprint
from pipeline.state import Climatology, EofLayout, Scaling
from pipeline.summaries import (
    ClimatologySummary,
    EofSummary,
    RowSummary,
    StateSummary,
    unpack_factor,
)
from pipeline.tasks import Progress, run_tasks
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
    fields = training_fields(experiment, ds)
    training = _Training(experiment, fields, Checkpoints(folder / "summaries.zarr"), progress)
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
        candidates = self.experiment.candidates()
        solving = [self.triangles(variant, states) for _, variant in candidates]
        choices: list[Choice] = run_tasks("solve", _choose, solving, self.progress)
        scores = [choice.best.score for choice in choices]
        best = int(np.argmin(scores))
        (values, variant), choice = candidates[best], choices[best]
        linear = min((choice.linear for choice in choices), key=lambda path: path.score)
        shares = mixture(
            np.stack([choice.best.errors.min(axis=0) for choice in choices]),
            self.experiment.fit.average,
        )
        used = np.flatnonzero(shares.any(axis=1))
        train = row_leaves(variant, self.fields.time, "train")
        step = step_of(self.fields.time)
        horizon = steps("forecast.horizon", variant.forecast.horizon, step)
        return ForecastModel(
            layout=layout,
            networks=tuple(choices[index].best.network for index in used),
            mixture=shares[used],
            linear=linear.network,
            lagged=lagged_covariance(states, train, horizon),
            step=step,
            inputs=tuple(variant.model.inputs),
            selection={
                "ridges": np.asarray(variant.fit.ridge),
                "widths": np.asarray([path.network.width for path in choice.paths]),
                "errors": np.stack([path.errors for path in choice.paths]),
                "linear_errors": linear.errors,
                "ridge": choice.best.ridge,
                "balance": choice.best.balance,
                "linear_ridge": linear.ridge,
                "spectrum": choice.best.spectrum,
                "eof_variance": np.square(layout.singular_values) / layout.total,
            },
            notes={
                "width": choice.best.network.width,
                "modes": variant.state.modes,
                "delays": variant.state.delays,
                "variance_kept": layout.variance_kept,
                "chosen": values,
                "candidates": [
                    {
                        "values": values,
                        "score": chosen.best.score,
                        "linear": chosen.linear.score,
                        "shares": share.tolist(),
                    }
                    for (values, _), chosen, share in zip(candidates, choices, shares, strict=True)
                ],
                "rows": sum(part.stop - part.start for part in train),
                "columns": len(choice.best.spectrum)
                + len(linear.network.leads) * variant.state.modes,
                "fingerprint": self.fingerprint,
            },
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

    def triangles(self, variant: Experiment, states: Array) -> tuple[Any, ...]:
        """The training pass of one candidate; what :func:`_choose` needs to go on from it."""
        model, modes, time = variant.model, variant.state.modes, self.fields.time
        network = self.network(variant)
        train, validation = (
            row_leaves(variant, time, "train"),
            row_leaves(variant, time, "validation"),
        )
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
        self.reduce(rows, train + validation, key)
        targets = times_of(validation)[:, None] + np.asarray(network.leads)
        squares = np.square(states[targets]).mean(axis=0)
        options = {
            "size": modes,
            "widths": [*variant.fit.widths, model.width],
            "ridges": variant.fit.ridge,
            "balances": variant.fit.balance,
            "variance": squares.sum(axis=1),
            "beyond": squares[:, modes:].sum(axis=1),
        }
        kept = [fold_keys(rows.name, key, part) for part in (train, validation)]
        return (
            network,
            self.checkpoints,
            rows.name,
            *map(tuple, (k.values() for k in kept)),
            options,
        )


def _choose(
    network: SampledRNN,
    checkpoints: Checkpoints,
    name: str,
    train: tuple[str, ...],
    validation: tuple[str, ...],
    options: dict[str, Any],
) -> Choice:
    """Ridge, balance and width of one candidate, from the triangles of its folds on disk."""

    def merged(keys: tuple[str, ...]) -> RFactor:
        kept = [checkpoints.load(name, key) for key in keys]
        if any(arrays is None for arrays in kept):
            raise RunError(
                f"{checkpoints.path}: a checkpoint of {name} is gone or damaged since it was "
                "written; run the same command again"
            )
        return merge_all(unpack_factor(arrays) for arrays in kept if arrays is not None)

    return choose(network, merged(train), merged(validation), **options)
