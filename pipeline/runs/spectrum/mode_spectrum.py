"""Compute periods, damping and maps of the modes of a run's linear dynamics, from its triangles.

The dictionary is that of the linear model: the delayed states. Their next values are earlier states
and targets of the same rows, so that the triangles give the operator and, for rows that it was not
fitted to, the residual of each eigenpair. Hidden features are left out: their next values are no
targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import ONE_DAY, Duration
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn_core import RFactor, merge_all
from gfrnn_core.koopman import KoopmanOperator, delayed_pairs

Array = NDArray[Any]

RESIDUAL_BOUND = 0.1
"""Most that the residual of a confirmed mode is above the floor that noise gives it."""

CONTRIBUTION_BOUND = 0.1
"""Least relative increase of the forecast's squared error where a confirmed mode is left out."""


@dataclass(frozen=True)
class ModeSpectrum:
    """The modes of the linear dynamics of a run, those first that contribute most to its forecast.

    Of a complex pair, the one with the positive imaginary part is there: the anomaly of the pair is
    the real part of ``z(t) pattern``, with ``z(t + step) = eigenvalue z(t)``.

    Attributes
    ----------
    layout : EofLayout
        Conversion of patterns to fields.
    step : Duration
        Time step of the operator.
    delays : int
        Number of successive states in the dictionary.
    rows, held_out : int
        Rows that the operator is fitted to, and rows of the residuals, less the mean and the terms
        of the calendar that are removed from them.
    eigenvalues : ndarray of complex, shape (modes,)
    residuals : ndarray, shape (modes,)
        ``|phi(h_t+1) - mu phi(h_t)| / |phi(h_t)|`` on the rows held out.
    noise_floor : ndarray, shape (modes,)
        Residuals that noise alone causes, see :class:`gfrnn_core.koopman.KoopmanOperator`.
    contributions : ndarray, shape (modes,)
        Increase of the squared error of the forecast of one step if the mode is left out, relative
        to the variance, on the rows held out.
    error : float
        Squared error of this forecast with all modes, relative to the variance.
    patterns : ndarray of complex, shape (modes, size)
        States of a mode where its eigenfunction z has a root mean square of 1. Real and imaginary
        part are orthogonal, the real one is the larger.
    """

    layout: EofLayout
    step: Duration
    delays: int
    rows: int
    held_out: int
    eigenvalues: Array
    residuals: Array
    noise_floor: Array
    contributions: Array
    error: float
    patterns: Array

    @property
    def step_length(self) -> float:
        """Length of a step in days, in months for monthly data."""
        if self.step.monthly:
            return float(self.step.length.astype(int))
        return float(self.step.length / ONE_DAY.to_timedelta64())

    @property
    def periods(self) -> Array:
        """Periods in days or months, infinite where a mode does not oscillate: shape (modes,)."""
        with np.errstate(divide="ignore"):
            return 2 * np.pi / np.abs(np.angle(self.eigenvalues)) * self.step_length

    @property
    def e_folding_times(self) -> Array:
        """Times of decay by 1/e in days or months, negative for growth: shape (modes,)."""
        with np.errstate(divide="ignore"):
            rates = np.log(np.abs(self.eigenvalues)) / self.step_length
            return np.where(rates == 0, np.inf, -1 / rates)

    @property
    def confirmed(self) -> Array:
        """Modes that other data than those of the fit confirm: bool, shape (modes,).

        The residual is at most :data:`RESIDUAL_BOUND` above the noise floor, and the squared error
        rises by a share of at least :data:`CONTRIBUTION_BOUND` where the mode is left out.
        """
        close = self.residuals <= self.noise_floor + RESIDUAL_BOUND
        return np.asarray(close & (self.contributions >= CONTRIBUTION_BOUND * self.error))

    def maps(self, count: int) -> Array:
        """Return real and imaginary part of the leading patterns as anomalies on the grid.

        Returns
        -------
        ndarray, shape (2, at most count, channels, latitudes, longitudes)
            NaN in the mask.
        """
        grid = self.layout.scaling.grid
        own = self.patterns[:count]
        fields = self.layout.anomalies(np.concatenate([own.real, own.imag]))
        return grid.fill_mask(fields).reshape(2, len(own), *grid.shape)


def mode_spectrum(run: Run) -> ModeSpectrum:
    """Compute the spectrum of a run's linear model from its triangles, without reading fields.

    The operator is fitted to the training period with the ridge of the linear model at its first
    lead; residuals and contributions are those of the validation period. The mean and the inputs,
    which are terms of the calendar, are removed from the rows of each period, and the operator is
    one for all seasons, whatever ``model.season_terms`` says.

    Raises
    ------
    RunError
        If the run has no finished fit, its layout is not ``eof``, it was updated, or the triangles
        are missing.
    """
    layout = run.experiment.state.layout
    if layout != "eof":
        raise RunError(
            f"{run.folder}: state.layout: {layout} has no spectrum, as its regression is not one "
            "operator on the whole state; change it to state.layout: eof, with another output, and "
            "run `gfrnn fit`"
        )
    model = run.load_model()
    if run.updated:
        raise RunError(
            f"{run.folder}: was updated to {format_minute(np.datetime64(run.updated.last))}, which "
            "merged the triangles of its "
            "periods, so that no rows are left to check modes with; take a run that was not "
            "updated, or run `gfrnn fit` on an experiment with the new data"
        )
    store, fitted = run.load_candidates(model)
    settings = model.notes.linear_solve
    assert settings is not None, "every model of EOFs has a linear one"
    assert isinstance(model.layout, EofLayout)
    candidate, checkpoints = fitted.candidates[settings.candidate], Checkpoints(store)
    training = candidate.names("train", run.experiment.fit.without)
    delays, size = candidate.network.delays, candidate.size
    train, held_out = (
        _state_rows(candidate, checkpoints, names)
        for names in (training, candidate.names("validation"))
    )
    operator = KoopmanOperator.from_delays(train, delays, settings.ridge[0])
    fold = delayed_pairs(held_out, delays)
    contributions, error = operator.contributions(fold, size)
    values = operator.eigenvalues
    # Eigenvalues of LAPACK are exact complex conjugates.
    order = [each for each in np.argsort(-contributions, kind="stable") if values[each].imag >= 0]
    # Eigenfunctions have the norm 1 over all rows.
    patterns = operator.modes(size) * (1 + (values.imag != 0))[:, None] / np.sqrt(train.rows)
    return ModeSpectrum(
        layout=model.layout,
        step=model.step,
        delays=delays,
        rows=train.rows,
        held_out=held_out.rows,
        eigenvalues=values[order],
        residuals=operator.residuals(fold)[order],
        noise_floor=operator.noise_floor[order],
        contributions=contributions[order],
        error=error,
        patterns=_orthogonal_parts(
            np.pad(patterns[order], [(0, 0), (0, model.layout.size - size)])
        ),
    )


def _state_rows(candidate: Candidate, checkpoints: Checkpoints, names: Sequence[str]) -> RFactor:
    """Return the R factor of rows [delayed states | next state], without mean and calendar.

    Raises
    ------
    RunError
        If a triangle is missing or damaged.
    """
    network, size = candidate.network, candidate.size
    columns = network.columns(size, network.inputs or 0)
    present = np.arange(network.delays * size)
    # Joint inputs follow the states among the linear terms, others the constant.
    removed = np.arange(len(present), columns.linear + 1 + columns.inputs)
    following = np.arange(columns.features, columns.features + size)  # those of the first lead

    def selected(name: str) -> RFactor:
        # Each group of places has a part, and a layout of EOFs one group.
        (factor,) = candidate.load(checkpoints, name).parts
        chosen = factor.triangle[:, np.concatenate([removed, present, following])]
        if network.target == "increment":
            chosen[:, -size:] += factor.triangle[:, present[:size]]
        return RFactor.from_trapezoid(np.asarray(np.linalg.qr(chosen, mode="r")), factor.rows)

    return merge_all(map(selected, names)).without_leading(len(removed))


def _orthogonal_parts(patterns: Array) -> Array:
    """Rotate complex patterns so that real and imaginary part are orthogonal, the real larger.

    The largest value of each is positive, so that the sign does not depend on the machine.
    """
    squares = np.square(patterns).sum(axis=1)
    turned = patterns * np.exp(-0.5j * np.angle(squares))[:, None]
    # Those of real eigenvalues are real up to rounding.
    turned.imag[np.abs(turned.imag) < 1e-12 * np.abs(turned.real).max(axis=1)[:, None]] = 0.0
    largest = np.take_along_axis(turned.real, np.abs(turned.real).argmax(axis=1)[:, None], axis=1)
    return np.asarray(turned * np.where(largest < 0, -1.0, 1.0))
