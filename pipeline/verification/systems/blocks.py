"""Blocks of pairs and cells that stay in a processor core's own cache while they are scored."""

from __future__ import annotations

from collections.abc import Iterator

ROWS = 16
"""Most pairs of a block."""

# Cells of a block. They do not depend on the number of pairs, so that sums are rounded alike
# however the pairs are cut.
_CELLS = 4096


def cell_slices(cells: int) -> Iterator[slice]:
    """Yield slices of cells, of one length but the last."""
    for first in range(0, cells, _CELLS):
        yield slice(first, min(first + _CELLS, cells))


def row_blocks(rows: int, channels: int, cells: int) -> Iterator[tuple[slice, int, slice]]:
    """Yield slices of rows, channels, and slices of cells, which together cover an array once."""
    for first in range(0, rows, ROWS):
        for channel in range(channels):
            for part in cell_slices(cells):
                yield slice(first, min(first + ROWS, rows)), channel, part
