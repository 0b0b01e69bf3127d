"""Figure of the comparison on a field: error growth, and one forecast beside the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from gfrnn.workflows.cases.shared.field_forecasts import FieldForecasts
from gfrnn.workflows.cases.shared.field_system import FieldSystem
from gfrnn.workflows.cases.shared.trajectories import Truth
from gfrnn.workflows.reproduce.figure_style import STYLES


def draw(
    system: FieldSystem,
    threshold: float,
    truth: Truth,
    forecasts: Mapping[str, FieldForecasts],
    figure: Figure,
) -> None:
    """Draw errors of all models against lead, and the first forecast of the first model.

    Parameters
    ----------
    system : FieldSystem
    threshold : float
        Error up to which a forecast is valid.
    truth : Truth
    forecasts : mapping of str to FieldForecasts
        Forecasts by name of the model.
    figure : Figure
        Empty figure.
    """
    figure.set_size_inches(figure.get_figwidth(), 4.6)
    growth, *pictures = figure.subplots(1, 4, width_ratios=(2.2, 1, 1, 1))
    times = np.arange(1, truth.states.shape[1] + 1) * system.dt * system.exponent
    for (name, found), style in zip(forecasts.items(), STYLES, strict=False):
        # 1e3 lies far above the axis, like any error of a diverged forecast.
        error = np.nan_to_num(found.errors, posinf=1e3)
        low, middle, high = np.quantile(error, [0.25, 0.5, 0.75], axis=0)
        growth.plot(times, middle, label=name, **style)
        growth.fill_between(times, low, high, color=style["color"], alpha=0.2, linewidth=0)
    growth.axhline(threshold, color="0.45", linewidth=0.8, linestyle=":")
    least = min(np.median(found.errors[:, 0]) for found in forecasts.values())
    growth.set(yscale="log", ylim=(0.3 * max(least, 1e-16), 10))
    growth.set(xlabel="lead (Lyapunov times)", ylabel="squared relative error")
    growth.legend(loc="lower right")
    ours, path = next(iter(forecasts.values())), truth.states[0]
    limit = float(np.abs(path).max())
    fields = {"truth": path, "forecast": ours.first, "difference": ours.first - path}
    for axes, (title, values) in zip(pictures, fields.items(), strict=True):
        picture = axes.imshow(
            values, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit,
            extent=(0, system.cells, 0, times[-1]), interpolation="nearest",
        )  # fmt: skip
        axes.axhline(ours.valid_times[0], color="0.15", linewidth=0.9, linestyle="--")
        axes.set(title=title, xlabel="cell")
        axes.grid(visible=False)
        axes.tick_params(labelleft=axes is pictures[0])
    pictures[0].set(ylabel="lead (Lyapunov times)")
    figure.colorbar(picture, ax=pictures, shrink=0.8)
