"""Forecast another test period with a trained model, without reading training data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.new_data import check_forecast_data
from gfrnn.pipeline.runs.record import CopiedModel, StageRecord
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel


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
    """

    source: Run
    experiment: Experiment
    folder: Path
    model: ForecastModel

    @classmethod
    def prepare(cls, folder: Path, period: Period, output: Path | None = None) -> NewPeriod:
        """Check another test period against the run whose model is used.

        Parameters
        ----------
        folder : Path
            Folder of a run with a finished fit.
        period : Period
            The other test period.
        output : Path, optional
            Folder of the forecasts; by default ``folder`` and the first day, as in ``-20090101``.

        Raises
        ------
        ConfigError
            If the period does not fit the experiment.
        RunError
            If the run has no finished fit, or `output` holds a run with a fit of its own.
        """
        source = Run.reopen(folder)
        model = source.load_model()
        output = output or folder.with_name(f"{folder.name}-{period.start:%Y%m%d}")
        tree = to_tree(source.experiment)
        tree["periods"]["test"] = period.as_pair()
        tree["output"] = str(output)
        experiment = checked(Experiment, tree, "--period")
        there = RunFolder(output).read_record().fit
        if there is not None and there.taken is None:
            raise RunError(
                f"{output}: contains a run with its own fit, which is not replaced; choose another "
                "--output"
            )
        return cls(source, experiment, output, model)

    def run(self, progress: Progress | None = None) -> Run:
        """Return the run that forecasts; its stage ``fit`` is finished.

        Earlier forecasts in its folder are kept, unless the model of the source has changed.

        Raises
        ------
        ConfigError, DataError
            If the data do not cover the period, or the model was trained with it.
        """
        ds = open_source(self.experiment.data)
        check_forecast_data(self.experiment, ds, self.source.model, self.source.updated)
        run = Run(self.experiment, self.folder, progress)  # makes the folder
        run.ds = ds
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
            run.store_model(replace(self.model, notes=notes), entry)
        return run
