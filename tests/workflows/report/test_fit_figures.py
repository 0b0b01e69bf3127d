"""Test the figures of the ridge path and of the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gfrnn.workflows.report import figures
from gfrnn.workflows.report.figures import ridge_picture, spectrum_picture

LEADS = [np.timedelta64(days, "D").astype("timedelta64[ns]") for days in (1, 2, 3)]


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Return the list that the figures are put into."""
    found: list[Figure] = []
    monkeypatch.setattr(figures, "embed", lambda figure, alt: found.append(figure))
    return found


def test_each_width_has_a_line_of_its_own(drawn):
    widths = np.arange(0, 1000, 100)
    errors = 0.001 + np.random.default_rng(0).random((len(widths), 5, 1)) / 1000
    selection = {
        "ridges": 10.0 ** np.arange(-4, 1), "widths": widths, "errors": errors,
        "linear_errors": errors[0],
    }  # fmt: skip
    ridge_picture(selection, LEADS[:1], 300)
    panel, label = drawn[0].axes[0], drawn[0]._supylabel
    lines = [line for line in panel.lines if "features" in str(line.get_label())]
    styles = {(to_hex(line.get_color()), str(line.get_linestyle())) for line in lines}
    assert len(lines) == len(styles) == len(widths)
    drawn[0].draw_without_rendering()
    ticks = [tick.get_window_extent() for tick in panel.get_yticklabels() if tick.get_text()]
    assert label.get_window_extent().x1 < min(box.x0 for box in ticks)


def test_labels_of_ridges_are_far_from_the_curve_and_below_it(drawn):
    spectrum = np.geomspace(1, 1e-6, 400)
    ridges = np.array([1e-6, 1.2e-6, 0.9])
    spectrum_picture({"spectrum": spectrum, "ridge": ridges}, LEADS)
    panel = drawn[0].axes[0]
    (curve,) = (line for line in panel.lines if len(line.get_xdata()) == 400)
    places = {text.get_text().replace("\N{NO-BREAK SPACE}", " "): text for text in panel.texts}
    at = {label: text.xy[0] for label, text in places.items()}
    assert at["+3 d"] == 0.98  # the curve begins at the left near this ridge
    assert at["+1 d"] < at["+2 d"] < 0.6  # and ends at the right near these
    assert all(text.get_zorder() < curve.get_zorder() for text in places.values())
