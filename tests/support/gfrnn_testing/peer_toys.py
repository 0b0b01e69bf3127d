"""Programs and comparisons that take a moment, for tests of the comparison with other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.program import Program, Setting, best_setting

HERE = "gfrnn_testing.peer_toys"
TRUTH = np.array([1.0, 2.0, 3.0])


def prepare(folder: Path, quick: bool) -> None:
    """Write the truth."""
    np.save(folder / "truth.npy", TRUTH)


def fail_to_prepare(folder: Path, quick: bool) -> None:
    """Raise an error."""
    raise FileNotFoundError("archive.nc")


class Guess(Program):
    """Guess the truth plus an offset, half of which depends on the sign of the seed.

    Its options are ``memory``, bytes that a fit takes, ``steps`` of work in the search, and
    ``fails``, the name of the method that fails. It writes its order of calls into ``log.txt``.
    """

    def load(self) -> None:
        """Read the truth."""
        self.truth = np.load(self.folder / "truth.npy")

    def search(self) -> Setting:
        """Choose the offset of which the validation error is least."""
        self._call("search")
        for _ in range(self.options.get("steps", 0)):
            np.linalg.svd(np.ones((200, 200)))
        return best_setting([{"offset": 2.0}, {"offset": 1.0}, {"offset": 3.0}], self._error)

    def _error(self, setting: Setting) -> dict[str, float]:
        return {"error": setting["offset"], "epochs": 7}

    def fit(self, setting: Setting, seed: int) -> Any:
        """Return offset and sign."""
        self._call("fit")
        taken = np.ones(self.options.get("memory", 0) // 8)
        return setting["offset"] + float(taken[:0].sum()), 1 if seed % 2 else -1

    def forecast(self, model: Any) -> NDArray[Any]:
        """Return the guess."""
        offset, sign = model
        return np.asarray(self.truth + offset * sign)

    def score(self, forecast: NDArray[Any]) -> dict[str, float]:
        """Return the mean absolute error."""
        return {"mae": float(np.abs(forecast - self.truth).mean())}

    def _call(self, name: str) -> None:
        if log := self.options.get("log"):
            with Path(log).open("a", encoding="utf-8") as stream:
                stream.write(f"{self.options['name']} {name}\n")
        if self.options.get("fails") == name:
            raise ArithmeticError(f"{name} diverged")


def contender(name: str, **keywords: Any) -> Contender:
    """Return a contender that guesses."""
    options = {"name": name, **keywords.pop("options", {})}
    standing = keywords.pop("standing", "peer")
    return Contender(name, standing, f"{HERE}:Guess", options=options, **keywords)


def comparison(*contenders: Contender, **keywords: Any) -> Comparison:
    """Return a comparison of such contenders."""
    keywords = {"prepare": f"{HERE}:prepare", **keywords}
    columns = (ErrorColumn("mae", "error (K)"),)
    return Comparison("toy", "Toys", "Three numbers.", columns, contenders, **keywords)
