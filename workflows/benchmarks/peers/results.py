"""Results of a comparison, and the JSON file that keeps them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gfrnn.pipeline.errors import ConfigError


@dataclass(frozen=True)
class Cost:
    """Processor time and memory of a piece of work in a process of its own.

    Attributes
    ----------
    seconds : float
        Processor time of the process, its threads and its children.
    memory : int
        Peak of the resident memory in bytes, libraries and data included.
    before : int
        Resident memory in bytes when the work began.
    """

    seconds: float
    memory: int
    before: int


@dataclass(frozen=True)
class PeerResult:
    """Row of a table: settings, costs and errors of one contender; or why there are none.

    Attributes
    ----------
    name, standing : str
    gap : str
        Why nothing was measured; empty if it was.
    failed : bool
        Whether the gap is an error rather than a missing package.
    setting : dict
    fit_seconds, search_seconds : float or None
        Processor seconds: median over fits, and of the search if there was one.
    memory : int or None
        Largest peak of the resident memory of a fit in bytes.
    memory_before : int or None
        Resident memory before that fit, in bytes.
    errors : dict of str to float
        Means over seeds.
    spread : dict of str to float
        Standard deviations of the errors over seeds, if there are several.
    versions : dict of str to str
        Versions by distribution.
    """

    name: str
    standing: str
    gap: str = ""
    failed: bool = False
    setting: dict[str, Any] = field(default_factory=dict)
    fit_seconds: float | None = None
    search_seconds: float | None = None
    memory: int | None = None
    memory_before: int | None = None
    errors: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def summarise_errors(
    errors: Sequence[Mapping[str, float]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and standard deviation over seeds of each error."""
    keys = errors[0]
    mean = {key: statistics.fmean(one[key] for one in errors) for key in keys}
    if len(errors) == 1:
        return mean, {}
    return mean, {key: statistics.stdev(one[key] for one in errors) for key in keys}


@dataclass(frozen=True)
class ComparisonResult:
    """Results of all contenders of one comparison.

    Attributes
    ----------
    name : str
        Name of the comparison.
    quick : bool
    machine : str
        Processor and versions of Python and NumPy.
    date : str
        Day of the measurement.
    rows : list of PeerResult
    """

    name: str
    quick: bool
    machine: str
    date: str
    rows: list[PeerResult]

    @property
    def failed(self) -> bool:
        """Whether a contender ended with an error."""
        return any(row.failed for row in self.rows)


def read_results(path: Path) -> dict[str, ComparisonResult]:
    """Read the results of earlier measurements by name; none if there is no file.

    Raises
    ------
    ConfigError
        If the file does not hold such results.
    """
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = [
            ComparisonResult(**{**entry, "rows": [PeerResult(**row) for row in entry["rows"]]})
            for entry in entries["comparisons"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a file of `gfrnn bench peers` ({error}); move it away or name another "
            "folder"
        ) from error
    return {one.name: one for one in found}


def write_results(path: Path, results: Mapping[str, ComparisonResult]) -> None:
    """Write all results; the file is replaced as a whole."""
    text = json.dumps({"comparisons": [asdict(one) for one in results.values()]}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
