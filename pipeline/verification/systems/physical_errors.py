"""Errors of references in physical units and within bounds, as the forecasts are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.verification.systems.pair_errors import BlockErrors
from gfrnn.pipeline.verification.systems.references import Pairs

Array = NDArray[Any]


def physical_errors(
    errors: BlockErrors | None, pairs: Pairs, transforms: ChannelTransforms
) -> BlockErrors | None:
    """Return errors in physical units, of forecasts within the bounds of their channels.

    Parameters
    ----------
    errors : callable or None
        Errors of the values that the model is trained on; None for a reference without anomalies.
    pairs : Pairs
    transforms : ChannelTransforms
    """
    if errors is None:
        return None
    roots = pairs.truth.roots

    def converted(rows: slice, channel: int, cells: slice) -> Array:
        found = errors(rows, channel, cells)
        if not transforms.changes(channel):
            return found
        own, real = roots[channel, cells], pairs.real[rows, channel, cells]
        transform = transforms.channels[channel]
        modelled = real if transform is None else transform.forward(real)
        forecast = transforms.forecast(channel, modelled + unweighted(found, own))
        return np.asarray((forecast - real) * own).astype(found.dtype, copy=False)

    return converted


def physical_members(members: Array, pairs: Pairs, transforms: ChannelTransforms) -> Array:
    """Return anomalies of members in physical units and within bounds, in place.

    Parameters
    ----------
    members : ndarray, shape (pairs, members, channels, cells)
        Anomalies of the values that the model is trained on.
    pairs : Pairs
    transforms : ChannelTransforms
    """
    roots = pairs.truth.roots
    for channel, transform in enumerate(transforms.channels):
        if transforms.changes(channel):
            real = pairs.real[:, channel]
            mean = real if transform is None else transform.forward(real)
            mean = (mean - unweighted(pairs.later[:, channel], roots[channel]))[:, None]
            own = members[:, :, channel]
            physical = mean if transform is None else transform.inverse(mean)
            np.subtract(transforms.forecast(channel, own + mean), physical, out=own)
            own[..., roots[channel] == 0] = 0.0
    return members


def unweighted(weighted: Array, roots: Array) -> Array:
    """Return fields without the roots of the weights of cells, 0 in the mask."""
    return np.divide(weighted, roots, out=np.zeros_like(weighted), where=roots > 0)
