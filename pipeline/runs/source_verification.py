"""Verification of forecasts in any store, without a run: its folder, key, record and scores."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import DataError, MissingTimesError, RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_digest, content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.missing_times import (
    describe_missing_times,
    find_missing_times,
    read_missing_times,
    still_missing,
    write_missing_times,
)
from gfrnn.pipeline.runs.provenance import provenance
from gfrnn.pipeline.runs.record import LIBRARIES, now
from gfrnn.pipeline.storage import check_writable, remove_store, write_text
from gfrnn.pipeline.verification.region_masks import region_masks
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.sources.forecast_source import ForecastSource
from gfrnn.pipeline.verification.sources.matched_truth import MatchedTruth
from gfrnn.pipeline.verification.sources.source_scoring import SourceScoring
from gfrnn.pipeline.verification.sources.truth_climatology import (
    MOST_HARMONICS,
    climatology_periods,
    terms,
    truth_climatology,
)
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn.pipeline.verification.verify import score

RECORD = "verify.json"
"""Name of the record in the folder of a verification."""

# Initial times of which a field is read for the fingerprint of forecasts.
_SAMPLED = 4


@dataclass(frozen=True)
class SourceVerification:
    """Forecasts and their truth, checked, and the folder for their scores.

    Attributes
    ----------
    matched : MatchedTruth
    config : VerificationConfig
    periods : list of Period
        Periods of the truth that make the climatology; empty for none.
    folder : RunFolder
    described : dict
        Inputs, for the record.
    key : str
        Key of everything that decides the statistics.
    masks : dict of ndarray of bool
        Cells of the regions with a static field.
    again : callable
        Prepares the same verification again, without the times of the truth that are known to be
        missing by then.
    """

    matched: MatchedTruth
    config: VerificationConfig
    periods: list[Period]
    folder: RunFolder
    described: dict[str, Any]
    key: str
    masks: dict[str, NDArray[Any]]
    again: Callable[[], SourceVerification]

    @classmethod
    def prepare(
        cls,
        source: SourceConfig,
        truth: DataConfig,
        folder: Path,
        *,
        config: VerificationConfig | None = None,
        climatology: Period | None = None,
        channels: Sequence[str] = (),
        initial_time: np.datetime64 | None = None,
        era5_units: bool = False,
        force: bool = False,
    ) -> SourceVerification:
        """Open and check everything before work starts; only a few fields are read.

        Parameters
        ----------
        source : SourceConfig
            The forecasts: path, glob or URL, and names and units that they do not state.
        truth : DataConfig
        folder : Path
            Folder of the results.
        config : VerificationConfig, optional
            Regions to score.
        climatology : Period, optional
            Period of the truth whose climatology is used; default: see
            :func:`gfrnn.pipeline.verification.sources.truth_climatology.climatology_periods`.
        channels : sequence of str
            Names of the channels to score; default: all that both have.
        initial_time : datetime64, optional
            Initial time of a file of one forecast that states times, but no leads.
        era5_units : bool
            Whether variables of the forecasts that state no unit have that of ERA5.
        force : bool
            Whether to replace another verification in the folder, or repeat this one.

        Raises
        ------
        ConfigError, DataError
            If forecasts and truth do not fit, or an option is wrong.
        RunError
            If the folder holds anything but this verification.
        """
        there = RunFolder(folder)
        check_writable(folder)
        there.check_links()
        _check_folder(there.folder)
        forecasts = ForecastSource.open(source, initial_time, era5_units)
        matched = MatchedTruth.match(truth, forecasts, channels)
        missing = read_missing_times(there.missing_times)
        if missing and still_missing(matched.fields.ds, missing):
            stamps = [np.datetime64(stamp) for stamp in missing]
            matched = MatchedTruth.match(truth, forecasts, channels, stamps)
            notes = (*matched.notes, f"truth: {describe_missing_times(missing)}")
            matched = replace(matched, notes=notes)
        config = config or VerificationConfig()
        masks = region_masks(truth, matched.fields.grid, config.regions)
        scoring = SourceScoring(matched.fields, matched.forecasts, config, masks=masks)
        _ = scoring.means  # refuses regions without a cell
        own = matched.forecasts
        valid = matched.verified
        periods = climatology_periods(matched.fields, own.initial[0], valid, climatology)
        described = {
            "forecast": {"path": source.path, "fingerprint": _fingerprint(own)},
            "truth": {
                "path": [each.path for each in truth.sources],
                "fingerprint": fingerprint(matched.fields.ds),
            },
            "rename": source.rename,
            "units": "era5" if era5_units else source.units,
            "initial_time": None if initial_time is None else str(initial_time),
            "channels": [channel.name for channel in matched.fields.grid.channels],
            "regions": config.model_dump(mode="json")["regions"],
            "region_cells": {name: content_digest(own) for name, own in masks.items()},
            "climatology": [period.as_pair() for period in periods],
        }
        deciding = {name: value for name, value in described.items() if name != "forecast"}
        cycles = terms(matched.fields, periods, valid)
        key = content_key(deciding, described["forecast"]["fingerprint"], cycles)
        again = partial(
            cls.prepare,
            source,
            truth,
            folder,
            config=config,
            climatology=climatology,
            channels=channels,
            initial_time=initial_time,
            era5_units=era5_units,
            force=True,
        )
        result = cls(matched, config, periods, there, described, key, masks, again)
        if not force:
            result._refuse_other()
        return result

    def _refuse_other(self) -> None:
        """Refuse the folder of another verification.

        Raises
        ------
        RunError
        """
        found = _record(self.folder.folder)
        if found is not None and found.get("key") not in ("", self.key):
            raise RunError(
                f"{self.folder.folder}: holds the scores of other forecasts, truth or options "
                f"({found.get('forecast', {}).get('path')}); choose another --output, or replace "
                "them with --force"
            )

    @property
    def done(self) -> bool:
        """Whether these scores are finished and in the folder."""
        found = _record(self.folder.folder)
        finished = found is not None and found.get("key") == self.key and "finished" in found
        return finished and self.folder.score_store.exists() and self.folder.statistics.exists()

    @property
    def notes(self) -> list[str]:
        """Sentences on what was left out, and on the climatology."""
        if not self.periods:
            return [
                *self.matched.notes,
                "no climatology: the truth has less than a year, or not all calendar months, "
                "outside of the verified times; anomaly correlation and activity are left out "
                "(--climatology START END)",
            ]
        note = f"climatology of {' and '.join(map(str, self.periods))}"
        annual, _ = terms(self.matched.fields, self.periods, self.matched.verified)
        if annual != "month" and annual < MOST_HARMONICS:
            note += (
                f" with {annual} of {MOST_HARMONICS} harmonics of the year, as its times do not "
                "determine more"
            )
        return [*self.matched.notes, note]

    def score(self, progress: Progress | None = None, *, force: bool = False) -> float:
        """Compute and write the statistics and the scores; an interrupted run of it resumes.

        Returns
        -------
        float
            Wall time in seconds.

        Raises
        ------
        DataError
            If no pair has a forecast without missing values, or the truth has missing values.
        ResourceError
            If a task does not fit into a worker.
        RunError
            If another process has begun another verification in the folder.
        """
        self.folder.folder.mkdir(parents=True, exist_ok=True)
        with self.folder.lock():
            if not force:
                self._refuse_other()
            begun = time.perf_counter()
            try:
                self._score(progress, force, begun)
            except MissingTimesError:
                self._note_missing_times(progress)
                self.again()._score(progress, force, begun)
            return time.perf_counter() - begun

    def _note_missing_times(self, progress: Progress | None) -> None:
        """Find the times of the truth at which a channel has no value, and keep them.

        Raises
        ------
        DataError
            If no time would be left.
        """
        fields, own = self.matched.fields, self.matched.forecasts
        used = np.isin(fields.time, own.valid) | np.isin(fields.time, own.initial)
        for period in self.periods:
            used |= period.mask(fields.time)
        found = find_missing_times(fields.ds, used, None, progress)
        known = read_missing_times(self.folder.missing_times)
        # The key changes with these times: if the process is killed now, any may follow.
        self._write({"key": "", **self.described, "notes": self.notes})
        write_missing_times(self.folder.missing_times, dict(sorted((known | found).items())))

    def _score(self, progress: Progress | None, force: bool, begun: float) -> None:
        """Compute and write the scores; the caller holds the lock."""
        found = _record(self.folder.folder)
        record = {"key": self.key, **self.described, "notes": self.notes}
        if force or found is None or found.get("key") != self.key:
            # A process that is killed here leaves no record that calls the scores finished.
            self._write({**record, "key": ""})
            own = self.folder
            for store in (own.statistics, own.score_store, own.summaries):
                remove_store(store)
        self._write(record)
        climatology = None
        if self.periods:
            climatology = truth_climatology(
                self.matched.fields,
                self.periods,
                self.matched.verified,
                Checkpoints(self.folder.summaries),
                progress,
            )
        scoring = SourceScoring(
            self.matched.fields,
            self.matched.forecasts,
            self.config,
            climatology=climatology,
            masks=self.masks,
            periods=tuple(self.periods),
        )
        score(
            scoring,
            self.folder.statistics,
            self.folder.score_store,
            progress,
            self.key,
            remedy="the number of channels (--channel)",
        )
        record["notes"] = [*self.notes, *self._missing_forecasts()]
        seconds = time.perf_counter() - begun
        record["seconds"] = round(seconds, 3)
        self._write({**record, "finished": now(), **provenance(LIBRARIES)})

    def _missing_forecasts(self) -> list[str]:
        """Describe the forecasts that have missing values.

        Raises
        ------
        DataError
            If all have.
        """
        with open_statistics(self.folder.statistics) as statistics:
            scored = statistics["known"].values == 1
        lost = self.matched.known & ~scored
        if not lost.any():
            return []
        own = self.matched.forecasts
        start, lead = np.argwhere(lost)[0]
        initial, valid = map(format_minute, (own.initial[start], own.valid[start, lead]))
        first = f"the first from {initial} for {valid}"
        # Such as a fill value of 0, which is why zeros are missing.
        if any("are read as missing" in note for note in own.notes):
            first += " (see the note on values that are read as missing)"
        if not scored.any():
            raise DataError(
                f"all {lost.sum()} forecasts have missing values (NaN) where the truth has none, "
                f"{first}; score other channels (--channel), or fill them in"
            )
        return [
            f"{lost.sum()} of {self.matched.known.sum()} forecasts have missing values (NaN) and "
            f"are not scored, {first}"
        ]

    def _write(self, record: Mapping[str, Any]) -> None:
        write_text(self.folder.folder / RECORD, json.dumps(record, indent=2) + "\n")


def finished_scores(folder: Path) -> tuple[xr.Dataset, list[str]]:
    """Return the scores in the folder of a finished verification, and its notes."""
    found = _record(folder) or {}
    return open_scores(RunFolder(folder).score_store), list(found.get("notes", []))


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder; None if there is none.

    Raises
    ------
    RunError
        If it is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); remove it to verify again") from None
    return found


def _check_folder(folder: Path) -> None:
    """Refuse a folder with other contents.

    Raises
    ------
    RunError
    """
    if not folder.exists() or (folder / RECORD).exists():
        return
    if any(path.name not in ("cluster", ".lock") for path in folder.iterdir()):
        raise RunError(
            f"{folder}: not empty and not the folder of a verification (it has no {RECORD}); "
            "choose another --output"
        )


def _fingerprint(forecasts: ForecastSource) -> str:
    """Return the SHA-256 (hex) of coordinates, names and a field of a few initial times."""
    digest = hashlib.sha256()
    unit = "M8[s]"
    for values in (forecasts.initial.astype(unit), forecasts.valid.astype(unit)):
        digest.update(values.astype("i8").tobytes())
    names = [channel.name for channel in forecasts.channels]
    digest.update(f"{names} {forecasts.members}".encode())
    starts, leads = len(forecasts.initial), len(forecasts.leads)
    for number in range(min(_SAMPLED, starts)):
        start, lead = number * (starts - 1) // max(1, _SAMPLED - 1), number * leads // _SAMPLED
        one = forecasts.of_channels([forecasts.channels[number % len(names)]])
        (field,) = one.read(slice(start, start + 1), slice(lead, lead + 1))
        digest.update(np.ascontiguousarray(field, "<f4").tobytes())
    return digest.hexdigest()
