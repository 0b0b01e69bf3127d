"""Figure of perturbation learning: learning curves, and their scaling with hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from gfrnn.workflows.cases.perturbation.learning_curves import LearningCurves
from gfrnn.workflows.cases.perturbation.perturbation_settings import RuleName
from gfrnn.workflows.cases.perturbation.task_data import TaskPart
from gfrnn.workflows.reproduce.figure_style import STYLES

_STYLE_NUMBERS: dict[RuleName, int] = {"anp": 0, "np": 1, "bptt": 2, "wp": 3}
_REFERENCE_STROKES = ((0, (1, 1)), (0, (4, 2)), (0, (6, 2, 1, 2)), (0, (2, 4)))


def style(name: RuleName) -> dict[str, Any]:
    """Return the line style of a rule; rules with decorrelation have solid lines."""
    if name.startswith("d"):
        plain: Any = name[1:]
        return {"color": STYLES[_STYLE_NUMBERS[plain]]["color"], "linewidth": 2.0}
    own = dict(STYLES[_STYLE_NUMBERS[name]])
    own["linewidth"] = 1.2
    if name == "anp":
        own["linestyle"] = (0, (6, 2))
    return own


def draw(curves: LearningCurves, loss: str, figure: Figure) -> None:
    """Draw a row of panels for each part, with the scaling on the right of the first row.

    Parameters
    ----------
    curves : LearningCurves
    loss : str
        Name of the loss.
    figure : Figure
        Empty figure.
    """
    lines = len(curves.parts)
    figure.set_size_inches(figure.get_size_inches()[0], 0.6 + 3.4 * lines)
    grid = figure.add_gridspec(lines, 3)
    for place, part in enumerate(curves.parts):
        left = figure.add_subplot(grid[place, 0])
        middle = figure.add_subplot(grid[place, 1], sharey=left)
        _curves(left, middle, curves, part)
        label = f"test loss, {part.label}" if part.label else "test loss"
        left.set(xscale="log", yscale="log", xlabel="epochs", ylabel=f"{label} ({loss})")
        middle.set(xscale="log", xlabel="seconds of learning")
        for axis in (left.xaxis, middle.xaxis):  # labels of minor ticks would overlap
            axis.set_minor_formatter(NullFormatter())
    if curves.scaling:
        inner = grid[0, 2].subgridspec(2, 1)
        above = figure.add_subplot(inner[0])
        _scaling(above, figure.add_subplot(inner[1], sharex=above), curves)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize="small")


def _curves(left: Axes, middle: Axes, curves: LearningCurves, part: TaskPart) -> None:
    for name in curves.rules:
        runs = curves.runs[part.key, name]
        test = np.array([one.test for one in runs])
        seconds = np.array([one.seconds for one in runs])
        known = np.isfinite(test).all(axis=0)  # epochs before any seed diverged
        if not known.any():
            continue
        test, seconds = test[:, known], np.median(seconds[:, known], axis=0)
        epochs = np.flatnonzero(known) + 1
        typical = np.median(test, axis=0)
        own = style(name)
        for panel, axis in ((left, epochs), (middle, seconds)):
            panel.plot(axis, typical, label=name, **own)
            panel.fill_between(
                axis,
                test.min(axis=0),
                test.max(axis=0),
                color=own["color"],
                alpha=0.12,
                linewidth=0,
            )
    for (text, level), stroke in zip(
        curves.references[part.key].items(), _REFERENCE_STROKES, strict=False
    ):
        for panel in (left, middle):
            panel.axhline(level, color="0.35", linewidth=0.9, linestyle=stroke, label=text)


def _scaling(above: Axes, below: Axes, curves: LearningCurves) -> None:
    for name in dict.fromkeys(rule for rule, _ in curves.scaling):
        runs = {units: one for (rule, units), one in curves.scaling.items() if rule == name}
        kept = {units: one for units, one in runs.items() if one.diverged is None}
        own = style(name) | {"marker": "o", "markersize": 3}
        above.plot(list(kept), [one.final for one in kept.values()], **own)
        below.plot(list(kept), [one.epoch_seconds for one in kept.values()], **own)
    above.set(xscale="log", yscale="log", ylabel="test loss")
    below.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="seconds per epoch")
    sizes = sorted({units for _, units in curves.scaling})
    below.xaxis.set_major_locator(FixedLocator(sizes))
    below.xaxis.set_major_formatter(FixedFormatter([str(units) for units in sizes]))
    below.xaxis.set_minor_formatter(NullFormatter())
    above.tick_params(labelbottom=False)
