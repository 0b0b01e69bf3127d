"""Least squares on stored rows: the R factor, and what others would use."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.dask_array_regression import CHUNK_BYTES
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.numerics.stored_rows import StoredRows
from gfrnn.workflows.benchmarks.peers.program import Program, Setting, best_setting
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn_core import RFactor
from gfrnn_core.regression import RidgePath

Array = NDArray[Any]

RIDGES = (0.0, 1e-16, 1e-15, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
"""Ridges, relative to the largest singular value, of which the best on validation rows is taken."""

ROWS = (10_000, 50_000, 200_000)
CONDITIONS = (1e10, 1e1, 1e6, 1e14)
"""Condition numbers of the features: of the problem that is measured, and of others as large as the
smallest, which give further errors."""


def problems(folder: Path, quick: bool, rows: int) -> list[StoredRows]:
    """Return the problem that is measured, and those that give errors only."""
    conditions = CONDITIONS if rows == ROWS[0] else CONDITIONS[:1]
    features, targets = (64, 16) if quick else (1024, 256)
    count = rows // 20 if quick else rows
    return [
        StoredRows(folder / f"rows_{rows}_{condition:g}", count, condition, features, targets)
        for condition in conditions
    ]


def prepare(folder: Path, quick: bool) -> None:
    """Write the rows of all problems."""
    for rows in ROWS:
        for problem in problems(folder, quick, rows):
            problem.write()


class LeastSquares(Program):
    """A solver of least squares; the option ``rows`` selects the problem that is measured."""

    def load(self) -> None:
        self.problems = problems(self.folder, self.quick, self.options["rows"])
        for problem in self.problems:
            problem.validation  # noqa: B018 - drawn before the measurement

    def search(self) -> Setting:
        return self.choose(self.problems[0])

    def fit(self, setting: Setting, seed: int) -> Array:
        return self.solve(self.problems[0], setting)

    def forecast(self, model: Array) -> Array:
        """Return the errors with these weights and with those of the problems not measured."""
        first, *others = self.problems
        errors = [first.error(model)]
        for other in others:
            errors.append(other.error(self.solve(other, self.choose(other))))
        return np.array(errors)

    def score(self, forecast: Array) -> dict[str, float]:
        pairs = zip(self.problems, forecast, strict=True)
        return {f"{problem.condition:g}": float(error) for problem, error in pairs}

    def choose(self, problem: StoredRows) -> Setting:
        """Choose the settings of a problem on its validation rows."""
        return {}

    @abstractmethod
    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        """Return the weights, shape (features, targets)."""


class TriangleSolver(LeastSquares):
    """The R factor of the rows, read block by block, which gives the solutions of all ridges."""

    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        factor = RFactor.from_blocks(problem.blocks(), problem.columns, expected=problem.rows)
        path = RidgePath.from_factor(factor, problem.features, problem.targets)
        fold = RFactor.from_rows(problem.validation)
        errors = path.errors(fold, RIDGES).sum(axis=1)
        return path.weights(RIDGES[int(errors.argmin())])


class GramSolver(LeastSquares):
    """Normal equations, whose Gram matrix is summed over blocks and gives all ridges too."""

    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        gram = np.zeros((problem.columns, problem.columns))
        for block in problem.blocks():
            gram += block.T @ block
        features = problem.features
        squares, vectors = scipy.linalg.eigh(gram[:features, :features])
        projected = vectors.T @ gram[:features, features:]

        def weights(ridge: float) -> Array:
            # Eigenvalues below rounding errors may be negative; without a ridge they are left out.
            floor = 0.0 if ridge else features * np.finfo(float).eps
            kept = squares > floor * squares[-1]
            inverse = np.zeros_like(squares)
            inverse[kept] = 1 / (squares[kept] + ridge**2 * squares[-1])
            return np.asarray(vectors @ (inverse[:, None] * projected))

        solutions = [weights(ridge) for ridge in RIDGES]
        return min(solutions, key=problem.validation_error)


class NumpySolver(LeastSquares):
    """``numpy.linalg.lstsq``, which needs all rows in memory and has no ridge."""

    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        weights, *_ = np.linalg.lstsq(*problem.load(), rcond=None)
        return weights


class ScikitLearnSolver(LeastSquares):
    """``sklearn.linear_model.Ridge``, which needs all rows in memory and a fit for each ridge."""

    def load(self) -> None:
        import sklearn.linear_model  # noqa: F401 - before the measurement

        super().load()

    def choose(self, problem: StoredRows) -> Setting:
        # Few rows are enough for a choice. Its documentation discourages a penalty of zero.
        rows = problem.load(ROWS[0])
        return best_setting(
            [{"ridge": ridge} for ridge in RIDGES if ridge],
            lambda one: problem.validation_error(_penalised(*rows, one["ridge"])),
        )

    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        return _penalised(*problem.load(), setting["ridge"])


def _penalised(features: Array, targets: Array, ridge: float) -> Array:
    from sklearn.linear_model import Ridge

    # The largest singular value of n rows of the problem is about the square root of n.
    model = Ridge(alpha=ridge**2 * len(features), fit_intercept=False)
    with warnings.catch_warnings():  # small penalties are tried on purpose
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        return np.asarray(model.fit(features, targets).coef_.T)


class DaskSolver(LeastSquares):
    """``da.linalg.lstsq`` on chunks of rows, which has no ridge."""

    def solve(self, problem: StoredRows, setting: Setting) -> Array:
        stored = da.from_zarr(str(problem.path))
        chunk = max(min(problem.rows, CHUNK_BYTES // (8 * problem.columns)), problem.columns)
        stored = stored.rechunk((chunk, -1))
        features, targets = stored[:, : problem.features], stored[:, problem.features :]
        weights, *_ = da.linalg.lstsq(features, targets)
        return np.asarray(weights.compute(scheduler="synchronous"))


OURS, GRAM = "gfrnn, R factor", "Gram matrix by blocks"
_SOLVERS: dict[str, tuple[type[LeastSquares], tuple[str, ...]]] = {
    OURS: (TriangleSolver, ()),
    GRAM: (GramSolver, ("numpy",)),
    "numpy.linalg.lstsq": (NumpySolver, ("numpy",)),
    "scikit-learn Ridge": (ScikitLearnSolver, ("scikit-learn",)),
    "da.linalg.lstsq": (DaskSolver, ("dask",)),
}


def row_name(solver: str, rows: int) -> str:
    """Return the name of a row of the table."""
    return f"{solver}, {rows:,} rows"


def bars(results: Mapping[str, PeerResult]) -> Iterator[BarCheck]:
    """Yield the bars: memory that does not grow, time, and errors at each condition number."""
    few, middle, many = (results.get(row_name(OURS, rows)) for rows in ROWS)
    gram = results.get(row_name(GRAM, ROWS[1]))
    if few and many and few.memory and many.memory:
        ratio = many.memory / few.memory
        yield BarCheck("memory at 200,000 rows over that at 10,000", ratio, 1.1, at_most=True)
    if middle and gram and middle.fit_seconds and gram.fit_seconds:
        ratio = middle.fit_seconds / gram.fit_seconds
        quantity = "seconds at 50,000 rows over those of the Gram matrix"
        yield BarCheck(quantity, ratio, 1.3, at_most=True)
    if few:
        others = [
            result
            for solver in _SOLVERS
            if solver != OURS and (result := results.get(row_name(solver, ROWS[0])))
        ]
        for key in sorted(few.errors, key=float):
            if others:
                ratio = few.errors[key] / min(other.errors[key] for other in others)
                quantity = f"error at condition {key} over the least of the others"
                yield BarCheck(quantity, ratio, 1.001, at_most=True)


LEAST_SQUARES = Comparison(
    name="least-squares",
    title="Least squares with 1,280 columns",
    about=(
        "1,024 features and 256 targets from zarr, noise of 0.1 % on the targets, features with "
        "singular values in a geometric series down to the inverse of the condition number; every "
        "direction of the features matters equally. Errors are those of new targets, relative to "
        "them. Measured are problems with a condition number of 1e10. The ridge with the least "
        "error on 2,048 further rows is taken; the R factor and the Gram matrix try all ridges in "
        "one fit, scikit-learn needs a fit for each and gets 10,000 rows for it."
    ),
    columns=tuple(
        ErrorColumn(f"{condition:g}", f"error at condition {condition:.0e}")
        for condition in sorted(CONDITIONS)
    ),
    contenders=tuple(
        Contender(
            row_name(name, rows),
            "ours" if name == OURS else "peer",
            f"{program.__module__}:{program.__name__}",
            packages,
            searches=program is ScikitLearnSolver,
            options={"rows": rows},
        )
        for rows in ROWS
        for name, (program, packages) in _SOLVERS.items()
    ),
    prepare=f"{prepare.__module__}:prepare",
    bars=bars,
)
