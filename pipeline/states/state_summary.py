"""The summary that computes the states of the times of a layout that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch

Array = NDArray[Any]

# Arrays of the size of the fields that an encoding holds at once: fields or their scaled anomalies,
# products with weights or spectra, the spectra of the waves that are kept, and states.
ENCODING_COPIES = 4


class EncodingLayout(Protocol):
    """A layout that encodes fields as states."""

    @property
    def size(self) -> int:
        """Length of a state."""

    def encode(self, fields: Array, time: Array) -> Array:
        """Return the states of fields, which are overwritten: shape (times, size)."""


@dataclass(frozen=True)
class StateSummary:
    """States of some times; a merge concatenates them."""

    fields: Fields
    layout: EncodingLayout
    name: str = "states"
    remedy: str = "data.chunk"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        return {"states": self.layout.encode(values, time)}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {"states": np.concatenate([left["states"], right["states"]])}

    def leaf_bytes(self, stretch: Stretch) -> int:
        times = stretch.stop - stretch.start
        encoding = 8 * ENCODING_COPIES * times * self.fields.grid.size
        return max(self.fields.read_bytes(times), encoding)

    def merge_bytes(self) -> int:
        return 2 * 8 * len(self.fields.time) * self.layout.size

    def result_bytes(self, times: int) -> int:
        return 8 * times * self.layout.size

    def leaf_rows(self, times: int) -> float:
        return float(times)
