"""Eigenvalues of an oscillating field with noise: the Koopman operator of delays, and PyDMD."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.program import Program, Setting, best_setting
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn_core import RFactor
from gfrnn_core.koopman import KoopmanOperator, delayed_pairs
from gfrnn_core.regression_rows import delayed

Array = NDArray[Any]

PERIODS, DAMPING = (37.3, 11.7, 5.2), (np.inf, 400.0, 150.0)
"""Periods and e-folding times of the three oscillations, in steps."""

NOISES = (0.1, 0.0, 1.0)
"""Standard deviations of the noise over that of the field: of the measured fit, and of others."""

DELAYS = (1, 2, 5, 10, 20, 40)
RANK = 2 * len(PERIODS)


def eigenvalues() -> Array:
    """Return the eigenvalues of a step, complex, shape (RANK,)."""
    half = np.exp(2j * np.pi / np.array(PERIODS) - 1 / np.array(DAMPING))
    return np.concatenate([half, half.conj()])


def prepare(folder: Path, quick: bool) -> None:
    """Write the field with each noise, shape (times, cells)."""
    times, cells = (200, 40) if quick else (400, 1000)
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((2, len(PERIODS), cells))
    growth = eigenvalues()[: len(PERIODS)] ** np.arange(times)[:, None]
    field = growth.real @ patterns[0] + growth.imag @ patterns[1]
    for noise in NOISES:
        noisy = field + noise * field.std() * rng.standard_normal(field.shape)
        np.save(folder / f"field_{noise:g}.npy", noisy)


class Oscillations(Program):
    """A method that finds the eigenvalues of a field of three damped oscillations."""

    def load(self) -> None:
        self.fields = {noise: np.load(self.folder / f"field_{noise:g}.npy") for noise in NOISES}

    def search(self) -> Setting:
        return self.choose(self.fields[NOISES[0]])

    def fit(self, setting: Setting, seed: int) -> Array:
        return self.find(self.fields[NOISES[0]], setting)

    def forecast(self, model: Array) -> Array:
        """Return these eigenvalues and those of the fields with other noise."""
        others = [self.fields[noise] for noise in NOISES[1:]]
        return np.stack([model, *(self.find(one, self.choose(one)) for one in others)])

    def score(self, forecast: Array) -> dict[str, float]:
        pairs = zip(NOISES, forecast, strict=True)
        return {f"{noise:g}": largest_error(found) for noise, found in pairs}

    def choose(self, field: Array) -> Setting:
        """Choose the settings on the last fifth of a field."""
        return {}

    @abstractmethod
    def find(self, field: Array, setting: Setting) -> Array:
        """Return as many eigenvalues as there are."""


def largest_error(found: Array) -> float:
    """Return the largest distance of eigenvalues from the true ones, each assigned to another."""
    distances = np.abs(found[:, None] - eigenvalues())
    return float(distances[scipy.optimize.linear_sum_assignment(distances)].max())


class DelayedOscillations(Oscillations):
    """A method on delayed states, whose number of delays forecasts the end of the field best."""

    def choose(self, field: Array) -> Setting:
        border = len(field) * 4 // 5
        steps = len(field) - border

        def error(setting: Setting) -> float:
            found = self.continued(field[:border], setting, steps)
            return float(np.linalg.norm(found - field[border:]))

        # A regression needs at least as many rows as features.
        known = [delays for delays in DELAYS if (RANK + 1) * delays <= border]
        return best_setting([{"delays": delays} for delays in known], error)

    @abstractmethod
    def continued(self, field: Array, setting: Setting, steps: int) -> Array:
        """Forecast the steps after a field, shape (steps, cells)."""


class KoopmanOscillations(DelayedOscillations):
    """The operator from the R factor of delayed principal components, cut to the known rank."""

    def _operator(self, field: Array, setting: Setting) -> tuple[KoopmanOperator, Array, Array]:
        delays = setting["delays"]
        _, _, right = scipy.linalg.svd(field, full_matrices=False)
        patterns = right[:RANK]
        states = field @ patterns.T
        rows = np.concatenate(
            [delayed(states, delays, delays - 1, len(states) - 1), states[delays:]], axis=1
        )
        factor = delayed_pairs(RFactor.from_rows(rows), delays)
        latest = delayed(states, delays, len(states) - 1, len(states))
        return KoopmanOperator.from_factor(factor, rank=RANK), latest, patterns

    def find(self, field: Array, setting: Setting) -> Array:
        return self._operator(field, setting)[0].eigenvalues

    def continued(self, field: Array, setting: Setting, steps: int) -> Array:
        operator, latest, patterns = self._operator(field, setting)
        return np.asarray(operator.rollout(latest, steps)[0, :, :RANK] @ patterns)


class HankelOscillations(DelayedOscillations):
    """``pydmd.HankelDMD`` of the known rank."""

    def load(self) -> None:
        import pydmd  # noqa: F401 - before the measurement

        super().load()

    def _fitted(self, field: Array, setting: Setting) -> Any:
        from pydmd import HankelDMD

        with warnings.catch_warnings():  # of condition numbers, which are high without noise
            warnings.simplefilter("ignore")
            return HankelDMD(svd_rank=RANK, d=setting["delays"]).fit(field.T)

    def find(self, field: Array, setting: Setting) -> Array:
        return np.asarray(self._fitted(field, setting).eigs)

    def continued(self, field: Array, setting: Setting, steps: int) -> Array:
        model = self._fitted(field, setting)
        model.dmd_time["tend"] = len(field) - 1 + steps
        return np.asarray(model.reconstructed_data.real.T[-steps:])


class PyDmdOscillations(Oscillations):
    """A class of PyDMD of the known rank without delays; option ``variant``."""

    def load(self) -> None:
        import pydmd  # noqa: F401 - before the measurement

        super().load()

    def find(self, field: Array, setting: Setting) -> Array:
        import pydmd

        with warnings.catch_warnings():  # of condition numbers, which are high without noise
            warnings.simplefilter("ignore")
            if self.options["variant"] == "BOPDMD":
                model = pydmd.BOPDMD(svd_rank=RANK).fit(field.T, t=np.arange(len(field)))
                return np.exp(model.eigs)  # its eigenvalues are those of continuous time
            return np.asarray(
                getattr(pydmd, self.options["variant"])(svd_rank=RANK).fit(field.T).eigs
            )


OURS = "gfrnn, Koopman operator of delays"
OPTIMISED = "PyDMD BOPDMD (optimised DMD)"


def bars(results: Mapping[str, PeerResult]) -> Iterator[BarCheck]:
    """Yield the bars: errors over the least of PyDMD."""
    ours = results.get(OURS)
    others = [row for row in results.values() if row.standing == "peer"]
    if ours and others:
        for noise in sorted(NOISES)[1:]:
            ratio = ours.errors[f"{noise:g}"] / min(row.errors[f"{noise:g}"] for row in others)
            yield BarCheck(f"error at noise {noise:g} over PyDMD's least", ratio, 1.0, at_most=True)


def _contender(name: str, program: type[Program], package: str | None, **options: Any) -> Contender:
    return Contender(
        name,
        "peer" if package else "ours",
        f"{program.__module__}:{program.__name__}",
        (package,) if package else (),
        searches=issubclass(program, DelayedOscillations),
        options=options,
    )


OSCILLATIONS = Comparison(
    name="oscillations",
    title="Eigenvalues of an oscillating field",
    about=(
        "Three oscillations with periods of 37.3, 11.7 and 5.2 steps, undamped and with e-folding "
        "times of 400 and 150 steps, in 1,000 cells at 400 times. The noise is relative to the "
        "standard deviation of the field, the error the largest distance of the six eigenvalues "
        "from the true ones. All methods know the rank; "
        "the number of delays is the one, of six, that forecasts the last fifth of the times best. "
        "Measured are fits at a noise of 0.1. pykoopman cannot be installed beside gfrnn: it needs "
        "NumPy 1.26 or older."
    ),
    columns=tuple(
        ErrorColumn(f"{noise:g}", f"error at noise {noise:g}") for noise in sorted(NOISES)
    ),
    contenders=(
        _contender(OURS, KoopmanOscillations, None),
        _contender("PyDMD HankelDMD", HankelOscillations, "pydmd"),
        _contender("PyDMD DMD", PyDmdOscillations, "pydmd", variant="DMD"),
        _contender(OPTIMISED, PyDmdOscillations, "pydmd", variant="BOPDMD"),
        _contender("pykoopman", PyDmdOscillations, "pykoopman"),
    ),
    prepare=f"{prepare.__module__}:prepare",
    bars=bars,
)
