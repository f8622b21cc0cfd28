"""Arrays as the attention kernels take them: (N, h, L, p), read and written where they are."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray


def four(x: Array) -> Array:
    """Return an array with four axes, whose last is consecutive in memory."""
    if x.ndim < 4:
        x = x[(None,) * (4 - x.ndim)]
    n, h, row, column = x.strides
    size = x.itemsize
    # kernels count strides in elements, which those of a field among others need not be
    return x if column == size and not (n | h | row) % size else x.copy()


def flat(x: Array, batch: tuple[int, ...]) -> Array:
    """Bring more than two batch axes to two: (..., h, L, p) to (N, h, L, p)."""
    x = x if x.ndim > 1 else x[None]
    whole = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    return whole.reshape(-1, batch[-1], *x.shape[-2:])


@cache
def _nothing(dtype: np.dtype[Any]) -> Array:
    return np.zeros((1, 1, 1, 1), dtype)


def limit(given: Array | None, dtype: np.dtype[Any]) -> Array:
    """A mask or a bias with four axes; a single number, to be ignored, where there is none."""
    if given is None:
        return _nothing(dtype)
    if any(stride % given.itemsize for stride in given.strides):
        given = given.copy()
    return given[(None,) * (4 - given.ndim)].view(dtype)


def dropping(dropout: float, seed: int) -> tuple[int, int, int, float]:
    """Say it as the kernel takes it: what is drawn below the first is dropped."""
    if not dropout:
        return 0, 0, 0, 0.0
    # where all is dropped the factor does not matter, but 0 would say that nothing is
    factor = 1 / (1 - dropout) if dropout < 1 else 1.0
    return round(dropout * 2**32), seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, factor


def lying_like(x: Array, n: int, heads: int, length: int, width: int) -> Array:
    """Make an array (N, h, L, p) that lies in memory as `x` does.

    Heads that were split from one row of features stand inside that row, (N, L, h, p): then
    merging them again is a view.
    """
    if x.flags.c_contiguous:
        return np.empty((n, heads, length, width), x.dtype)
    return np.empty((n, length, heads, width), x.dtype).swapaxes(1, 2)


def batch_of(*arrays: Array) -> tuple[int, ...]:
    """The axes before the last two, broadcast."""
    first: tuple[int, ...] = arrays[0].shape[:-2]
    for x in arrays:
        if x.shape[:-2] != first:
            return np.broadcast_shapes(*(x.shape[:-2] for x in arrays))
    return first
