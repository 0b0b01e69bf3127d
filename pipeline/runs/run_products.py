"""The products of a run as xarray objects, and its description in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import with_contiguous_longitudes
from gfrnn.pipeline.errors import DataError, GfrnnError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.forecasting.store_sums import check_sums
from gfrnn.pipeline.runs.record import STAGES
from gfrnn.pipeline.runs.stored_run import StoredRun
from gfrnn.pipeline.verification.online.verify_online import open_rollouts
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores

# Chunks and codecs of the store, which xarray would use for every copy, of other sizes too.
_STORED_LAYOUT = ("chunks", "shards", "preferred_chunks", "compressors", "filters", "serializer")


class RunProducts(StoredRun):
    """A run whose forecasts and scores are opened as xarray objects.

    Parameters and errors are those of :class:`gfrnn.pipeline.runs.run.Run`, which adds the stages.
    """

    def forecasts(self) -> xr.Dataset:
        """Open the forecasts lazily, as Dask arrays with the chunks of the store.

        The Dataset does not keep the chunks and codecs of the store, so that any part of it may be
        written with ``to_zarr``, in any chunks and zarr format, and with ``to_netcdf``.

        Returns
        -------
        xarray.Dataset
            ERA5 names, SI units, float32. Dimensions ``time`` (initial), ``number`` (of ensembles),
            ``prediction_timedelta``, ``level`` (hPa), ``latitude``, ``longitude``; the coordinate
            ``valid_time`` is the time that a forecast is for. Longitudes ascend without a gap:
            where the region crosses Greenwich, those west of it are negative.

        Raises
        ------
        RunError
            If there are no finished forecasts, they are damaged, or the run keeps no fields.
        """
        return with_contiguous_longitudes(self.stored_forecasts())

    def stored_forecasts(self) -> xr.Dataset:
        """Open the forecasts as :meth:`forecasts` does, with the longitudes of the store, 0..360.

        Raises
        ------
        RunError
            As for :meth:`forecasts`.
        """
        self._check_fields_are_kept()
        open_forecasts(self.forecast_store).close()  # refuses what is missing or unfinished
        check_sums(self.forecast_store)
        ds: xr.Dataset = xr.open_zarr(
            self.forecast_store, decode_timedelta=True, consolidated=False
        )
        for variable in ds.variables.values():
            for key in _STORED_LAYOUT:
                variable.encoding.pop(key, None)
        return ds

    def truth(self) -> xr.Dataset:
        """Open the data that verify the forecasts, lazily, as Dask arrays.

        Returns
        -------
        xarray.Dataset
            Variables, dimensions and coordinates of :meth:`forecasts` without ``number``, so that
            ``run.forecasts() - run.truth()`` is the error. It is NaN at valid times that the data
            do not have.

        Raises
        ------
        RunError
            If there are no finished forecasts, or the run keeps no fields.
        DataError
            If the data no longer exist, or have none of the valid times.
        """
        self._check_fields_are_kept()
        coords = open_forecasts(self.forecast_store).coords
        valid = coords["valid_time"]
        data = self.ds.drop_attrs(deep=False)
        known = np.isin(valid.values, data["time"].values)
        if not known.any():
            raise DataError(
                f"{self.folder}: the data have none of the valid times of the forecasts, "
                f"{valid.values.min()} to {valid.values.max()}; extend them"
            )
        data = data.chunk(time=int(self.ds.attrs["time_chunk"]))
        by_lead = [
            data.reindex(time=valid.isel(prediction_timedelta=lead).values).assign_coords(
                time=coords["time"].variable
            )
            for lead in range(valid.sizes["prediction_timedelta"])
        ]
        found: xr.Dataset = xr.concat(by_lead, dim=coords["prediction_timedelta"].variable)
        found = found.transpose("time", "prediction_timedelta", ...)
        return with_contiguous_longitudes(found.assign_coords(valid_time=valid))

    def scores(self, *, subsets: bool = False) -> xr.Dataset:
        """Load the scores of the forecasts.

        Parameters
        ----------
        subsets : bool
            Whether to return the scores of all regions, and of seasons and hours or months, with
            the dimensions ``region`` and ``subset``, instead of those of the whole area and all
            pairs.

        Returns
        -------
        xarray.Dataset
            ``rmse``, ``mae``, ``bias``, ``acc``, ``activity`` and others by ``system``,
            ``channel`` and ``prediction_timedelta``, in the units of the coordinate ``units``.

        Raises
        ------
        RunError
            If there are no scores, or they are damaged.
        """
        if not self.score_store.exists():
            raise RunError(f"{self.score_store}: no scores there; run `gfrnn verify` first")
        return open_score_subsets(self.score_store) if subsets else open_scores(self.score_store)

    def rollouts(self) -> xr.Dataset:
        """Return initial times and leads of the forecasts, and what happened to them.

        Returns
        -------
        xarray.Dataset
            With the variable ``limited`` and the attributes ``lost_forecasts`` and, if it is not 0,
            ``divergence``.

        Raises
        ------
        RunError
            If there are no finished forecasts.
        """
        if self.experiment.forecast.store:
            return open_forecasts(self.forecast_store)
        return open_rollouts(self.statistics, Fields(self.ds).grid)

    def _check_fields_are_kept(self) -> None:
        if not self.experiment.forecast.store:
            raise RunError(
                f"{self.folder}: keeps no fields of forecasts (forecast.store: false); set the key "
                "to true and run `gfrnn forecast`, or use the scores"
            )

    # Notebooks

    def _states(self) -> Iterator[tuple[str, str]]:
        """Yield each stage and its state in words, without reading data."""
        try:
            stages = self.record.stages
        except GfrnnError:  # a description must not fail
            yield "record", "damaged"
            return
        for stage in STAGES:
            done = stages.get(stage)
            if done is None or not done.finished:
                yield stage, "not done" if done is None else "begun"
                continue
            seconds = "" if done.seconds is None else f" in {done.seconds:.3g} s"
            yield stage, f"done {pd.Timestamp(done.finished):%Y-%m-%d %H:%M}{seconds}"

    def __repr__(self) -> str:
        states = "; ".join(f"{stage} {state}" for stage, state in self._states())
        return f"<Run {self.experiment.name!r} in {self.folder}: {states}>"

    def _repr_html_(self) -> str:
        experiment = self.experiment
        variables = experiment.data.variables
        facts = [
            ("folder", str(self.folder)),
            ("variables", "all" if variables is None else ", ".join(variables)),
            *((name, str(period)) for name, period in experiment.periods),
            (
                "network",
                f"layout {experiment.state.layout}, {experiment.model.width} hidden features",
            ),
            ("forecasts", f"up to {experiment.forecast.horizon}"),
            *self._states(),
        ]
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in facts
        )
        return f"<table><caption>Run <b>{escape(experiment.name)}</b></caption>{rows}</table>"
