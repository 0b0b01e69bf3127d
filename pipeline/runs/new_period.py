"""Forecast another period or from one time with a trained model; no training data are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.dataset import log_losses, open_source
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import DataError, RunError
from gfrnn.pipeline.forecasting.forecast import check_members, most_delays
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.initial_time import (
    LATEST,
    day_and_hour,
    given_initial_time,
    newest_initial_time,
)
from gfrnn.pipeline.runs.new_data import (
    check_forecast_data,
    check_matches_model,
    open_given_data,
    with_new_sources,
)
from gfrnn.pipeline.runs.record import CopiedModel, StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.stretches import steps


@dataclass(frozen=True)
class NewPeriod:
    """Another test period for a model; all is checked that needs no data.

    Attributes
    ----------
    source : Run
        Run whose model is copied.
    experiment : Experiment
        Experiment of the source, with the other test period.
    folder : Path
        Folder of the forecasts and of a copy of the model; it can be verified without the source.
    model : ForecastModel
        Model of the source.
    note : str
        What initial times newer than the latest complete one lack, or empty.
    """

    source: Run
    experiment: Experiment
    folder: Path
    model: ForecastModel
    note: str = ""

    @classmethod
    def prepare(
        cls,
        folder: Path,
        period: Period,
        output: Path | None = None,
        *,
        every: str | None = None,
        horizon: str | None = None,
        members: int | None = None,
        data: Sequence[str] = (),
    ) -> NewPeriod:
        """Check another test period against the run whose model is used.

        Parameters
        ----------
        folder : Path
            Folder of a run with a finished fit.
        period : Period
            The other test period.
        output : Path, optional
            Folder of the forecasts; by default ``folder`` and the first day, as in ``-20090101``.
        every, horizon : str, optional
            Time between initial times, and length of the forecasts; by default those of the run.
        members : int, optional
            Number of members of an ensemble; by default that of the run.
        data : sequence of str
            Paths of other data than those of the run, see
            :func:`gfrnn.pipeline.runs.new_data.open_new_data`; none means those of the run.

        Raises
        ------
        ConfigError
            If the period does not fit the experiment, or a duration cannot be read.
        RunError
            If the run has no finished fit, its model cannot make these members, or `output` holds a
            run with a fit of its own.
        """
        source = Run.reopen(folder)
        model = source.load_model()
        section = _data(source, model, data)
        output = output or folder.with_name(f"{folder.name}-{period.start:%Y%m%d}")
        changed = {"every": every, "horizon": horizon, "members": members}
        experiment = _experiment(source, section, period, output, changed, "--period")
        check_members(model, experiment.forecast)
        return cls(source, experiment, output, model)

    @classmethod
    def from_initial_time(
        cls,
        folder: Path,
        init: str,
        output: Path | None = None,
        *,
        horizon: str | None = None,
        members: int | None = None,
        data: Sequence[str] = (),
    ) -> NewPeriod:
        """Choose one initial time, of which all states are read once.

        Parameters
        ----------
        folder, output, horizon, members, data
            As for :meth:`prepare`; the name of the default folder has the hour too.
        init : str
            Time such as ``2021-04-01T12``, or ``latest`` for the newest complete state.

        Raises
        ------
        ConfigError, RunError
            As for :meth:`prepare`.
        DataError
            If a state is missing or not complete, the data do not match the model, or an update
            trained it with later times.
        """
        source = Run.reopen(folder)
        model = source.load_model()
        section, delays = _data(source, model, data), most_delays(source.experiment)
        ds = open_given_data(section, "--data") if data else open_source(section)
        check_matches_model(ds, model)
        note = ""
        if init == LATEST:
            stamp, note = newest_initial_time(section, ds, model, delays)
        else:
            stamp = given_initial_time(section, ds, model, delays, init)
        updated = source.updated
        if updated is not None and stamp < np.datetime64(updated.last):
            raise DataError(
                f"--init {init}: {format_minute(stamp)} is before "
                f"{format_minute(np.datetime64(updated.last))}, up to which the model was trained "
                "by an update; give the data of the update, or newer ones, with --data"
            )
        output = output or folder.with_name(f"{folder.name}-{day_and_hour(stamp)}")
        period = Period.model_validate([str(pd.Timestamp(stamp))] * 2)
        # One forecast is for use, and often has no truth yet.
        changed = {"horizon": horizon, "members": members, "store": True}
        experiment = _experiment(source, section, period, output, changed, f"--init {init}")
        steps("forecast.horizon", experiment.forecast.horizon, model.step)
        check_members(model, experiment.forecast)
        return cls(source, experiment, output, model, note)

    def run(self, progress: Progress | None = None) -> Run:
        """Return the run that forecasts; its stage ``fit`` is finished.

        Earlier forecasts in its folder are kept, unless the model of the source has changed.

        Raises
        ------
        ConfigError, DataError
            If the data do not cover the period, or the model was trained with it.
        """
        section = self.experiment.data
        given = section.sources != self.source.experiment.data.sources
        ds = open_given_data(section, "--data") if given else open_source(section)
        log_losses(ds, "--data" if given else "data")
        check_forecast_data(self.experiment, ds, self.source.model, self.source.updated)
        run = Run(self.experiment, self.folder, progress)
        run.ds = run.without_missing_times(ds)
        # The notes identify a model: they contain all selected settings and keys of triangles.
        notes, done, trained = self.model.notes, run.record.fit, self.source.record.fit
        copied = CopiedModel(str(self.source.folder), content_key(notes.as_attributes()))
        unchanged = done is not None and done.taken == copied and run.finished("fit")
        if unchanged and run.model.exists():
            return run
        entry = StageRecord(
            seconds=None if trained is None else trained.seconds,
            taken=copied,
            updated=self.source.updated,
        )
        if notes.kept is not None:
            store = str(self.source.folder / notes.kept.store)
            notes = replace(notes, kept=replace(notes.kept, store=store))
        with run.lock():
            run.begin_model(entry)
            run.store_model(replace(self.model, notes=notes), entry)
        return run


def _data(run: Run, model: ForecastModel, paths: Sequence[str]) -> DataConfig:
    """Return the data section of a run, with other paths if there are any."""
    own = run.experiment.data
    return with_new_sources(own, paths, model, "--data") if paths else own


def _experiment(
    source: Run,
    data: DataConfig,
    period: Period,
    output: Path,
    changed: Mapping[str, object],
    where: str,
) -> Experiment:
    """Return the experiment of a run with other data, another test period and folder.

    Raises
    ------
    ConfigError
        If they do not fit together; ``where`` is named in the message.
    RunError
        If the folder holds a run with a fit of its own.
    """
    tree = to_tree(source.experiment.model_copy(update={"data": data}))
    tree["periods"]["test"] = period.as_pair()
    tree["forecast"] |= {key: value for key, value in changed.items() if value is not None}
    if period.start == period.end:
        tree["forecast"]["every"] = None
    tree["output"] = str(output)
    experiment = checked(Experiment, tree, where)
    there = RunFolder(output).read_record().fit
    if there is not None and there.taken is None:
        raise RunError(
            f"{output}: contains a run with its own fit, which is not replaced; choose another "
            "--output"
        )
    return experiment
