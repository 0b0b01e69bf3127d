"""Definition of a case of the papers: settings, a run that gives a result, and validations.

The settings file ``workflows/cases/settings/NAME.yaml`` registers a case; the module of the same
name in ``workflows/cases`` (underscores for hyphens) defines one :class:`Case`, called ``CASE``.
Everything else (the command, the table, the page, the choice of settings) is shared by all cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.reproduce.case_result import CaseResult, Score

Settings = TypeVar("Settings", bound=Section)


@dataclass(frozen=True)
class Validation(Generic[Settings]):
    """Score on validation data by which some settings are chosen.

    Parameters
    ----------
    score : Score
    measure : callable
        (settings, seed) to the score; NaN ranks last. It must not use test data, and it must be
        picklable, as the workers of a cluster call it.
    applies : callable
        Function of the settings that returns whether this validation is used with them. A case of
        several tasks uses those of the task in its settings.
    """

    score: Score
    measure: Callable[[Settings, int], float]
    applies: Callable[[Settings], bool] = lambda settings: True


@dataclass(frozen=True)
class Case(Generic[Settings]):
    """A case of the papers.

    Parameters
    ----------
    name : str
        Name on the command line, and of the settings file.
    summary : str
        One line for the list of cases.
    settings : type of Section
        Frozen pydantic model of the settings; unknown keys are refused. Values come from
        ``workflows/cases/settings/NAME.yaml``, so that the model needs no defaults.
    run : callable
        (settings, seeds, progress) to a result. The same settings and seeds must give the same
        scores. ``progress`` may be called any number of times, with one total for each name.
    validations : mapping of str to Validation
        Validations by the names in ``candidates`` of the settings file; several if parts of the
        settings are chosen by different scores.
    parallel : bool
        Whether ``run`` submits its jobs to the current Dask client, as
        :func:`gfrnn.pipeline.reduction.run_tasks.run_tasks` does.

    Notes
    -----
    The settings file::

        dt: 0.02                       # values of the model, sections may nest
        network: {width: 1000, scale: 0.5, ridge: 1.0e-15}
        quick:                         # replaces values if --quick is given
          network: {width: 300}
        candidates:                    # values that --choose tries
          network:                     # name of a validation
            keys:                      # dotted keys; all combinations are tried
              network.scale: [0.2, 0.5, 1.0]
              network.ridge: [1.0e-15, 1.0e-13]
            seeds: 2                   # number of seeds; their mean is the score
          echo:
            trials: 50                 # random search: number of draws from lists and ranges
            seeds: 3
            keys:
              echo.leak: {uniform: [0.1, 1.0]}
              echo.ridge: {log: [1.0e-12, 1.0e-2]}
    """

    name: str
    summary: str
    settings: type[Settings]
    run: Callable[[Settings, Sequence[int], Progress], CaseResult]
    validations: Mapping[str, Validation[Settings]] = field(default_factory=dict)
    parallel: bool = False
