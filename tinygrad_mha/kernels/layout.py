"""Where the matrices of attention are in memory: heads are read where they stand.

A kernel takes the first matrix of every array, and a table of where each item of the batch begins.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np

Array = np.ndarray


def in_rows(x: Array) -> Array:
    """Return an array whose rows are consecutive in themselves, and begin at whole elements."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def first(x: Array) -> Array:
    """Return the first matrix of a stack."""
    if x.ndim == 4:  # the usual case
        first: Array = x[0, 0]
    else:
        first = x[(0,) * (x.ndim - 2)]
    return first


@lru_cache(maxsize=512)
def starts_of(
    batch: tuple[int, ...], itemsizes: tuple[int, ...], *layouts: tuple[int, ...]
) -> Array:
    """Where each item of a batch begins in several arrays, in elements: (items, n).

    The layouts are each array's shape and its strides, which for one that is not there are ().
    """
    items = math.prod(batch)
    starts = np.zeros((items, len(itemsizes)), np.int64)
    where = np.indices(batch).reshape(len(batch), items)
    for column, itemsize in enumerate(itemsizes):
        shape, strides = layouts[2 * column][:-2], layouts[2 * column + 1][:-2]
        lead = len(batch) - len(shape)
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            if size > 1:  # a size of 1 is broadcast: every item begins at the same place
                starts[:, column] += where[lead + axis] * (stride // itemsize)
    return starts


@cache
def no_limit(dtype: np.dtype[Any]) -> Array:
    """Return something to pass as a mask or a bias that is not looked at."""
    return np.zeros((1, 1), dtype)


def limit(given: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A mask or a bias as the kernel reads it; a single number where there is none."""
    if given is None:
        return no_limit(dtype)
    if given.ndim < 2 or given.shape[-2:] != shape:
        given = np.broadcast_to(given, (*given.shape[:-2], *shape))
    return given.view(dtype)


def dropping(dropout: float, seed: int) -> tuple[int, int, int, float]:
    """Say it as the kernel takes it: what is drawn below the first is dropped."""
    if not dropout:
        return 0, 0, 0, 0.0
    # where all is dropped the factor does not matter, but 0 would say that nothing is
    factor = 1 / (1 - dropout) if dropout < 1 else 1.0
    return round(dropout * 2**32), seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, factor


def lying_like(x: Array, batch: tuple[int, ...], length: int, width: int) -> Array:
    """A new array (..., h, L, p) that lies in memory as `x` does.

    Heads that were split from one row of features stand inside that row, (..., L, h, p): then
    merging them again is a view.
    """
    if not batch or x.flags.c_contiguous:
        return np.empty((*batch, length, width), x.dtype)
    return np.empty((*batch[:-1], length, batch[-1], width), x.dtype).swapaxes(-2, -3)


def batch_of(*arrays: Array) -> tuple[int, ...]:
    """The axes before the last two, broadcast."""
    first: tuple[int, ...] = arrays[0].shape[:-2]
    if all(x.shape[:-2] == first for x in arrays):
        return first
    return np.broadcast_shapes(*(x.shape[:-2] for x in arrays))
