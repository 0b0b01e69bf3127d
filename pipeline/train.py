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
from gfrnn_core.lifting import delayed
from pipeline.config import Experiment
from pipeline.errors import ConfigError, DataError, RunError
from pipeline.fields import Fields
from pipeline.model import ForecastModel
from pipeline.plan import check_periods, known_times, read_stretches, row_stretches, steps
from pipeline.reduce import (
    Arrays,
    Checkpoints,
    Progress,
    Stretch,
    Summary,
    check_memory,
    content_key,
    fold_keys,
    reduce_stretches,
    run_tasks,
)
from pipeline.selection import Choice, choose
from pipeline.sources import fingerprint, missing_chunks
from pipeline.state import Climatology, EofLayout, Scaling
from pipeline.summaries import (
    ClimatologySummary,
    EofSummary,
    RowSummary,
    StateSummary,
    unpack_factor,
)
from pipeline.times import step_of

Array = NDArray[Any]

# Rows of one leaf of the training pass for each column: enough that a merge, which costs as much
# as a third of a row for each column, hardly counts beside the folds.
_ROWS_PER_COLUMN = 8


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


def check_fit(experiment: Experiment, ds: xr.Dataset) -> None:
    """Refuse what cannot work, before anything is read.

    Raises
    ------
    ConfigError, DataError
        Naming the key, what was found and what is allowed.
    """
    fields = Fields(ds)
    check_periods(fields.time, experiment.periods)
    cells = fields.grid.size
    times = int(experiment.periods.train.mask(fields.time).sum())
    for _, variant in experiment.candidates():
        modes = variant.state.modes
        if modes > min(cells, times):
            raise ConfigError(
                f"state.modes: {modes} EOFs, but the training period has {times} times of "
                f"{cells} grid cells; take at most {min(cells, times)}"
            )
        leads = model_leads(variant, fields.time)
        for name in ("train", "validation"):
            if not _rows(variant, fields.time, name):
                raise ConfigError(
                    f"periods.{name}: no stretch without a gap is long enough for "
                    f"{variant.state.delays} delays and a lead of {max(leads)} steps; "
                    "take a longer period, fewer delays or shorter leads"
                )
        rows = sum(part.stop - part.start for part in _rows(variant, fields.time, "train"))
        always = variant.state.delays * modes + 1 + 2 * len(variant.model.inputs)
        if always + variant.model.width > rows:
            raise ConfigError(
                f"model.width: {variant.model.width} hidden and {always} other features are more "
                f"than the {rows} rows of the training period; take a width of at most "
                f"{max(0, rows - always)}, or a longer period"
            )
        if wide := [width for width in variant.fit.widths if width >= variant.model.width]:
            raise ConfigError(
                f"fit.widths: {wide[0]} is not narrower than model.width, {variant.model.width}"
            )
    used = known_times(fields.time, *(period for _, period in experiment.periods))
    if missing := missing_chunks(ds, used):
        raise DataError(
            "\n".join(missing) + "\ncopy the store again or choose periods without these chunks; "
            "if they rightly hold nothing but the fill value, write them (zarr's "
            "write_empty_chunks)"
        )


def model_leads(experiment: Experiment, time: Array) -> tuple[int, ...]:
    """Leads with outer weights of their own, in steps; one step always is among them."""
    step = step_of(time)
    return tuple(
        sorted({1, *(steps("model.leads", lead, step) for lead in experiment.model.leads)})
    )


def _rows(experiment: Experiment, time: Array, name: str) -> list[Stretch]:
    """Leaves of the training pass over the train or validation period."""
    leads = model_leads(experiment, time)
    state = experiment.state
    columns = experiment.model.width + (state.delays + len(leads)) * state.modes
    periods = experiment.periods
    return row_stretches(
        time,
        getattr(periods, name),
        name,
        known_times(time, periods.train, periods.validation),
        delays=state.delays,
        reach=max(leads),
        length=experiment.fit.rows or _ROWS_PER_COLUMN * columns,
    )


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
        train = _rows(variant, self.fields.time, "train")
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
            parts = [part for name in folds for part in _rows(variant, fields.time, name)]
            check_memory(self.rows(variant, network), parts)

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
        series[_times(train)] = states
        series[_times(validation)] = rest["states"]
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
        train, validation = _rows(variant, time, "train"), _rows(variant, time, "validation")
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
        targets = _times(validation)[:, None] + np.asarray(network.leads)
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


def mixture(errors: Array, average: int) -> Array:
    """Shares of the candidates at each lead: equal for the best there, nothing for the rest.

    Parameters
    ----------
    errors : ndarray, shape (candidates, leads)
        Validation errors.
    average : int
        How many share each lead.

    Returns
    -------
    ndarray, shape (candidates, leads)
        Columns sum to 1.
    """
    shares = np.zeros(errors.shape)
    order = np.argsort(errors, axis=0, kind="stable")[:average]
    np.put_along_axis(shares, order, 1.0 / average, axis=0)
    return shares


def draw_pool(
    states: Array, train: list[Stretch], delays: int, size: int, seed: int
) -> tuple[Array, Array]:
    """Delayed states of randomly drawn training times, and the states one step on.

    The states of all times are there after the EOFs, so drawing costs no pass; fields of drawn
    times, kept from the first pass, would take as much memory as the archive has cells.
    """
    present = _times(train)
    if len(present) > size:
        drawn = np.random.default_rng(seed).choice(len(present), size, replace=False)
        present = present[np.sort(drawn)]
    windows = [delayed(states, delays, time, time + 1) for time in present]
    return np.concatenate(windows), states[present + 1]


def lagged_covariance(states: Array, train: list[Stretch], horizon: int) -> Array:
    """Covariance of training states with those 0 to ``horizon`` steps later.

    Returns
    -------
    ndarray, shape (horizon + 1, modes, modes)
        Zero at lags that the training period does not hold.
    """
    present = _times(train)
    # Times of one gapless run: pairs on both sides of a gap are further apart than they seem.
    run = np.cumsum(np.diff(present, prepend=present[0]) != 1)
    covariance = np.zeros((horizon + 1, states.shape[1], states.shape[1]))
    for lag in range(min(horizon + 1, len(present))):
        pairs = np.flatnonzero(run[lag:] == run[: len(run) - lag])
        if len(pairs):
            earlier, later = present[pairs], present[pairs + lag]
            covariance[lag] = states[earlier].T @ states[later] / len(pairs)
    return covariance


def _times(stretches: list[Stretch]) -> Array:
    """The times of stretches, in their order: shape (times,)."""
    return np.concatenate(
        [np.arange(part.start, part.stop) for part in stretches] or [np.zeros(0, dtype=int)]
    )
