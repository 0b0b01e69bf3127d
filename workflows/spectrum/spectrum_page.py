"""Page about the modes of a run: table, eigenvalues, and maps of those that are confirmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.spectrum.mode_spectrum import (
    CONTRIBUTION_BOUND,
    RESIDUAL_BOUND,
    ModeSpectrum,
)
from gfrnn.pipeline.runs.spectrum.spectrum_store import units_of
from gfrnn.pipeline.storage import write_text
from gfrnn.workflows.report.display_units import display_unit
from gfrnn.workflows.report.labels import period_label
from gfrnn.workflows.report.page_template import render_page
from gfrnn.workflows.spectrum.mode_figures import eigenvalue_picture, mode_maps
from gfrnn.workflows.spectrum.mode_table import mode_rows

_MOST_MAPS = 6


def write_spectrum_page(run: Run, spectrum: ModeSpectrum, modes: int) -> Path:
    """Write ``spectrum.html``, one self-contained page, into the folder of a run.

    Parameters
    ----------
    run : Run
    spectrum : ModeSpectrum
        Spectrum of the run.
    modes : int
        Number of leading modes in the table. The first six of them that are confirmed have maps.
    """
    rows = mode_rows(spectrum, modes)
    drawn = [row for row in rows if row.confirmed][:_MOST_MAPS]
    grid = spectrum.layout.scaling.grid
    maps = spectrum.maps(len(rows))
    units = {
        channel: display_unit(channel.variable, units_of(run, channel.variable))
        for channel in grid.channels
    }

    drawable = min(grid.shape[1:]) > 1 and bool(np.isfinite(maps).any())
    pictures = [
        mode_maps(spectrum, row.number - 1, maps[:, row.number - 1], units)
        for row in (drawn if drawable else [])
    ]
    page = render_page(
        __file__,
        "spectrum.html.j2",
        experiment=run.experiment,
        spectrum=spectrum,
        count=len(spectrum.eigenvalues),
        confirmed=int(spectrum.confirmed.sum()),
        training=period_label(run.experiment.periods.train),
        validation=period_label(run.experiment.periods.validation),
        rows=rows,
        eigenvalues=eigenvalue_picture(spectrum),
        maps=list(zip(drawn, pictures, strict=False)),
        residual_bound=RESIDUAL_BOUND,
        contribution_bound=CONTRIBUTION_BOUND,
        written=f"{pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC",
    )
    write_text(run.spectrum_page, page)
    return run.spectrum_page
