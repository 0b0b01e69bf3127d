"""Errors of references in physical units, where a model is trained on transformed values."""

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
    """Return errors in physical units.

    Parameters
    ----------
    errors : callable or None
        Errors of the values that the model is trained on; None for a reference without anomalies.
    pairs : Pairs
    transforms : ChannelTransforms
    """
    if errors is None or not transforms:
        return errors
    roots = pairs.truth.roots

    def converted(rows: slice, channel: int, cells: slice) -> Array:
        found = errors(rows, channel, cells)
        transform = transforms.channels[channel]
        if transform is None:
            return found
        own, real = roots[channel, cells], pairs.real[rows, channel, cells]
        forecast = transform.inverse(transform.forward(real) + unweighted(found, own))
        return np.asarray((forecast - real) * own).astype(found.dtype, copy=False)

    return converted


def physical_members(members: Array, pairs: Pairs, transforms: ChannelTransforms) -> Array:
    """Return anomalies of members in physical units, in place.

    Parameters
    ----------
    members : ndarray, shape (pairs, members, channels, cells)
        Anomalies of the values that the model is trained on.
    pairs : Pairs
    transforms : ChannelTransforms
    """
    roots = pairs.truth.roots
    for channel, transform in enumerate(transforms.channels):
        if transform is not None:
            mean = transform.forward(pairs.real[:, channel])
            mean = (mean - unweighted(pairs.later[:, channel], roots[channel]))[:, None]
            own = members[:, :, channel]
            own[...] = transform.inverse(own + mean) - transform.inverse(mean)
            own[..., roots[channel] == 0] = 0.0
    return members


def unweighted(weighted: Array, roots: Array) -> Array:
    """Return fields without the roots of the weights of cells, 0 in the mask."""
    return np.divide(weighted, roots, out=np.zeros_like(weighted), where=roots > 0)
