"""Take a trained model to another test period; nothing is trained, and no old data are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gfrnn.pipeline.runs.new_data import check_forecast
from gfrnn.pipeline.reduction.checkpoints import content_key
from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.folder import exclusive, read_record
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.reduction.tasks import Progress


@dataclass(frozen=True)
class Reuse:
    """Another test period for a model, checked as far as it can be without the data.

    Attributes
    ----------
    source : Run
        Whose model is taken.
    experiment : Experiment
        That of the source with the other test period.
    folder : Path
        Of the forecasts, with a copy of the model: they can be verified whatever becomes of the
        source.
    """

    source: Run
    experiment: Experiment
    folder: Path
    model: ForecastModel

    @classmethod
    def of(cls, folder: Path, period: Period, output: Path | None = None) -> Reuse:
        """Check what shall be forecast against what a run holds.

        Parameters
        ----------
        folder : Path
            Of a run that is fitted.
        period : Period
            The other test period.
        output : Path, optional
            Of the forecasts; by default ``folder`` with the first day, ``-20090101``.

        Raises
        ------
        ConfigError, RunError
        """
        source = Run.reopen(folder)
        model = source.trained()
        output = output or folder.with_name(f"{folder.name}-{period.start:%Y%m%d}")
        tree = to_tree(source.experiment)
        tree["periods"]["test"] = period.as_pair()
        tree["output"] = str(output)
        experiment = checked(Experiment, tree, "--period")
        there = read_record(output).get("stages", {}).get("fit")
        if there is not None and "taken" not in there:
            raise RunError(f"{output}: holds a run with a fit of its own; choose another --output")
        return cls(source, experiment, output, model)

    def run(self, progress: Progress | None = None) -> Run:
        """The run that forecasts; its stage ``fit`` is finished.

        What it has forecast before stays, unless the source has another model since.

        Raises
        ------
        ConfigError, DataError
            If the data do not hold the period, or the model was trained with it.
        """
        run = Run(self.experiment, self.folder, progress)
        check_forecast(run.experiment, run.ds, self.source.model, self.source.updated)
        # The notes say all that was chosen, and from which triangles.
        taken = {"of": str(self.source.folder), "model": content_key(self.model.notes)}
        if run.finished("fit") and run.record["stages"]["fit"]["taken"] == taken:
            return run
        seconds = self.source.record["stages"]["fit"]["seconds"]
        entry: dict[str, Any] = {"seconds": seconds, "taken": taken}
        if self.source.updated:
            entry["updated"] = self.source.updated
        kept = self.model.notes["kept"]
        kept = kept | {"store": str(self.source.folder / kept["store"])}
        with exclusive(run.folder):
            run.take(replace(self.model, notes=self.model.notes | {"kept": kept}), entry)
        return run
