"""Facts about a run for the head of its report: periods, grid, state, network, candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.workflows.report.labels import lead_label, period_label
from gfrnn.workflows.report.run_contents import RunContents
from gfrnn_core.zonal import ZonalNetwork


def run_facts(contents: RunContents) -> list[tuple[str, str]]:
    """Return facts about a run as pairs of term and text."""
    model, notes, grid = contents.model, contents.model.notes, contents.model.layout.scaling.grid
    experiment, starts = contents.run.experiment, contents.rollouts["time"].values
    step = lead_label(model.step.length).removeprefix("+")
    plural = "s" * (len(grid.channels) > 1)
    masked = "" if grid.mask is None else f"; {100 * grid.mask.mean():.0f} % of the cells masked"
    zonal = isinstance(model.networks[0], ZonalNetwork)
    picks = ", ".join(f"{key} {value}" for key, value in notes.chosen.items())
    return [
        ("Training", _training(contents)),
        ("Validation", period_label(experiment.periods.validation)),
        ("Test", f"{period_label(experiment.periods.test)}, {len(starts)} initial times"
                 + ("" if experiment.forecast.store else "; no fields of forecasts are kept")),
        ("Grid", f"{len(grid.channels)} field{plural} of {len(grid.latitude)} latitudes and "
                 f"{len(grid.longitude)} longitudes, every {step}{masked}"),
        *_state(contents),
        ("Network", f"{notes.width} hidden features, "
                    + ("one network" if len(model.networks) == 1 else
                       f"{len(model.networks)} networks, {experiment.fit.average} at each lead")),
        ("Regression", f"{notes.rows} rows of {notes.columns} columns"),
        *([] if zonal else [("Precision", precision_line(notes.precision))]),
        ("Best candidate", picks or "no search"),
        *(("Data not used", loss) for loss in contents.run.ds.attrs.get("losses", [])),
        *_software(contents),
    ]  # fmt: skip


def _software(contents: RunContents) -> list[tuple[str, str]]:
    """Describe the stages that were continued with other library versions or BLAS kernels."""
    found = contents.run.record.software or {}
    return [
        (f"Software of {stage}", "; continued with ".join(
            ", ".join(f"{name} {version}" for name, version in each.items()) for each in used
        ))
        for stage, used in found.items()
        if len(used) > 1
    ]  # fmt: skip


def precision_line(found: Mapping[str, Any]) -> str:
    """Describe the precision of the rows, and the effect of the other precision on a sample."""
    chosen = found["chosen"]
    if "rows" not in found:
        return f"{chosen}; not compared, there are too few rows for a sample"
    other = "float32" if chosen == "float64" else "float64"
    ours, theirs = found[chosen], found[other]
    change = 100 * (theirs["error"] / ours["error"] - 1)
    return (
        f"{chosen}; on a sample of {found['rows']} rows {other} takes "
        f"{theirs['seconds'] / ours['seconds']:.2f} of its time, and the mean squared error of the "
        f"model of these rows changes by {change:+.2g} %"
    )


def _training(contents: RunContents) -> str:
    """Describe the training period, years left out of it, and data added by updates."""
    run = contents.run
    words = [period_label(run.experiment.periods.train)]
    if run.experiment.fit.refit == "all":
        words.append("and the validation period once all was chosen")
    if run.experiment.fit.without:
        words.append(f"without {', '.join(map(str, run.experiment.fit.without))}")
    if run.updated:
        last = format_minute(np.datetime64(run.updated.last))
        words.append(f"updated to {last} ({run.updated.rows} rows)")
    return ", ".join(words)


def _state(contents: RunContents) -> list[tuple[str, str]]:
    """Describe the states of the network: EOFs, patches or zonal waves."""
    notes, network = contents.model.notes, contents.model.networks[0]
    delays = f"{notes.delays} successive states"
    if isinstance(network, ZonalNetwork):
        basis, stages = network.basis, len(network.stages)
        return [
            (
                "State",
                f"zonal wavenumbers 0 to {basis.wavenumbers - 1}, {basis.functions.counts[0]} "
                f"functions of latitude, {notes.modes} coefficients, {delays}",
            ),
            ("Stages", f"{stages}, each correcting the one before" if stages > 1 else "1"),
        ]
    if network.patches is None:
        assert notes.variance_kept is not None  # every layout of EOFs has it
        held = 100 * notes.variance_kept
        return [("State", f"{notes.modes} EOFs with {held:.1f} % of the variance, {delays}")]
    patches, state = network.patches, contents.run.experiment.state
    (before, after), (west, east) = patches.halo
    size = " x ".join(map(str, state.patch))
    window = f"{state.patch[0] + before + after} x {state.patch[1] + west + east}"
    groups = network.groups
    sets = "shared by all patches" if groups is None else f"{len(np.unique(groups))} sets"
    return [
        (
            "State",
            f"{notes.patches} patches of {size} cells, forecast from {window} cells, {delays}",
        ),
        ("Outer weights", sets),
    ]
