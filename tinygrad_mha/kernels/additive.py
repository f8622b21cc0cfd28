"""Additive scores, without the four-dimensional array that their formula goes through.

A block of queries meets all keys; tanh(q + k) of that block stays in the cache, is summed,
and is overwritten by that of the next. Nearly all of the time is NumPy's tanh, which is
vectorised and lets other threads run.
"""

from __future__ import annotations

import math

import numpy as np

from .team import over_ranges, threads_for

Array = np.ndarray

BLOCK = 2**15  # numbers of tanh(q + k) at a time: 128 kB, of the second-level cache
PARALLEL = 2**18  # below so many numbers, a second thread costs more than it saves


def items_of(batch: tuple[int, ...], *arrays: Array) -> list[Array]:
    """Each array (..., n, a) as (items, n, a)."""
    return [
        (x if x.shape[:-2] == batch else np.broadcast_to(x, (*batch, *x.shape[-2:]))).reshape(
            math.prod(batch), *x.shape[-2:]
        )
        for x in arrays
    ]


def blocks_of(
    items: int, length: int, row: int, numbers: int | None = None
) -> list[tuple[slice, slice]]:
    """Cut into blocks of so many `numbers`: whole items where they are small, else rows of one."""
    numbers = BLOCK if numbers is None else numbers
    many = max(1, numbers // max(length * row, 1))
    high = max(1, numbers // max(row, 1)) if many == 1 else max(length, 1)
    return [
        (slice(n, n + many), slice(i, i + high))
        for n in range(0, items, many)
        for i in range(0, length, high)
    ]


def scores(q: Array, k: Array, w: Array) -> Array:
    """Σ w · tanh(q + k): (..., L, a), (..., S, a) and (a,) to (..., L, S)."""
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    (length, a), keys = q.shape[-2:], k.shape[-2]
    qs, ks = items_of(batch, q, k)
    out = np.empty((len(qs), length, keys), q.dtype)
    blocks = blocks_of(len(qs), length, keys * a)

    def run(first: int, last: int) -> None:
        for items, rows in blocks[first:last]:
            t = qs[items, rows, None, :] + ks[items, None]  # (items, rows, S, a)
            np.matmul(np.tanh(t, out=t), w, out=out[items, rows])

    over_ranges(run, len(blocks), threads_for(out.size * a, PARALLEL))
    return out.reshape(*batch, length, keys)


def scores_backward(dy: Array, q: Array, k: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradients of q and k, with the batch axes of `dy`, and of w."""
    batch, (length, a), keys = dy.shape[:-2], q.shape[-2:], k.shape[-2]
    qs, ks, dys = items_of(batch, q, k, dy)
    dq = np.empty(qs.shape, q.dtype)
    blocks = blocks_of(len(qs), length, keys * a)
    sums: dict[int, tuple[Array, Array]] = {}

    def run(first: int, last: int) -> None:
        dk, dw = np.zeros(ks.shape, q.dtype), np.zeros(a, q.dtype)
        for items, rows in blocks[first:last]:
            t = qs[items, rows, None, :] + ks[items, None]  # (items, rows, S, a)
            np.tanh(t, out=t)
            d = dys[items, rows]
            dw += np.tensordot(d, t, 3)
            np.multiply(t, t, out=t)
            np.subtract(1, t, out=t)
            t *= d[..., None]
            dq[items, rows] = t.sum(2)
            dk[items] += t.sum(1)
        sums[first] = dk, dw

    over_ranges(run, len(blocks), threads_for(dys.size * a, PARALLEL))
    dk, dw = np.zeros(ks.shape, q.dtype), np.zeros(a, q.dtype)
    for first in sorted(sums):
        dk += sums[first][0]
        dw += sums[first][1]
    return (
        np.multiply(dq, w, out=dq).reshape(*batch, length, a),
        np.multiply(dk, w, out=dk).reshape(*batch, keys, a),
        dw,
    )
