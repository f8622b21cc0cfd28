"""The compiled kernels behind the same signatures as their NumPy twins.

Here shapes become what a kernel takes: rows one after the other in memory, offsets,
ranges for the threads. Arrays that already are so pass without a copy. The shapes
themselves have been checked by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import elements, matrix, reference, rows
from . import fused_attention as fused
from .backend import QUICK, SOFTMAX, Quick
from .layout import batch_of, dropping, flat, four, limit, lying_like
from .ready import Ready, kernel_for
from .shapes import check_product
from .team import over_ranges, threads_for, together
from .threads import get_num_threads

Array = np.ndarray

#: Below this many multiply-adds, or numbers, a second thread costs more than it saves: one that
#: is still awake pays from half as many, one that sleeps from twice as many.
PARALLEL_PRODUCTS = 2**20
PARALLEL_NUMBERS = 100_000

_UNUSED = {np.dtype(t): np.zeros((1, 1), t) for t in (np.float32, np.float64)}
_BYTE = np.dtype(np.uint8)


def _rows_of(x: Array) -> Array:
    """(..., n) as (rows, n), one row after the other."""
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _run(
    kernel: Ready, dtype: np.dtype[Any], given: tuple[Any, ...], count: int, threads: int,
    multiple: int = 1,
) -> None:  # fmt: skip
    """Run a kernel on ``0 … count``, by threads that share it: who is awake, or woken for it."""
    run = kernel[dtype]
    if threads == 1:
        run(*given, 0, count)
    elif not together(kernel.together[dtype], given, count, threads, multiple):
        over_ranges(lambda first, last: run(*given, first, last), count, threads, multiple)


def _share(run: Callable[[int, int], object], count: int, numbers: int, multiple: int = 1) -> None:
    """Run over all rows what keeps something of each range, by several threads if that pays."""
    over_ranges(run, count, threads_for(numbers, PARALLEL_NUMBERS), multiple)


# -- matrix product -------------------------------------------------------------------------


class _Batch(NamedTuple):
    """What a product of stacks of matrices is, worked out once for all that are alike."""

    shape: tuple[int, ...]  # of the result
    rows: tuple[int, int]  # and of all its rows below each other
    first_a: tuple[int, ...]  # indices of the first matrix
    first_b: tuple[int, ...]
    offsets: Array  # where the matrices begin, in elements: (items, 3) for A, B and C
    work: int  # products of numbers
    whole: bool  # whether all strides are whole numbers of elements, as a kernel counts them


@lru_cache(maxsize=512)
def _batch(
    a: tuple[int, ...], a_strides: tuple[int, ...], b: tuple[int, ...], b_strides: tuple[int, ...],
    size: int,
) -> _Batch:  # fmt: skip
    check_product(a, b)
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    items, n, m = math.prod(batch), a[-2], b[-1]
    offsets = np.zeros((items, 3), np.int64)
    where = np.indices(batch).reshape(len(batch), items)
    for column, (shape, strides) in enumerate(((a[:-2], a_strides), (b[:-2], b_strides))):
        lead = len(batch) - len(shape)
        for axis, length in enumerate(shape):
            if length > 1:  # a size of 1 is broadcast: every item begins at the same place
                offsets[:, column] += where[lead + axis] * (strides[axis] // size)
    offsets[:, 2] = np.arange(items) * (n * m)
    return _Batch(
        (*batch, n, m), (items * n, m), (0,) * (len(a) - 2), (0,) * (len(b) - 2), offsets,
        items * n * a[-1] * m, not any(stride % size for stride in a_strides + b_strides),
    )  # fmt: skip


def _quick(dtype: np.dtype[Any]) -> Quick:
    """Return what products of a dtype are computed with."""
    quick = QUICK["numba"].get(dtype)
    if quick is None:
        make, most = kernel_for(matrix.matmul, dtype, "making"), 2**50
        if get_num_threads() > 1:
            most = PARALLEL_PRODUCTS
        none, alone = np.zeros(0, dtype), np.empty((0, most), np.int64)
        quick = Quick(make, _large_product, none, alone, matmul)
        QUICK["numba"][dtype] = quick
    return quick


_matmul = Ready(matrix.matmul)
_FIRST = np.zeros((1, 3), np.int64)


def _large_product(a: Array, b: Array, bias: Array) -> Array | None:
    """a · b + bias of two matrices, if the kernel can read them where they are."""
    dtype, (n, k), (inside, m) = a.dtype, a.shape, b.shape
    strides = a.strides + b.strides
    work = n * k * m
    if b.dtype is not dtype or inside != k or not work or any(s % dtype.itemsize for s in strides):
        return None
    c = np.empty((n, m), dtype)
    threads = threads_for(work, PARALLEL_PRODUCTS)
    _run(_matmul, dtype, (a, b, c, bias, _FIRST, True), n, threads, matrix.ROWS)
    return c


def matmul(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a · b + bias, for matrices or stacks of them."""
    dtype = a.dtype
    shape, rows, first_a, first_b, offsets, work, whole = _batch(
        a.shape, a.strides, b.shape, b.strides, dtype.itemsize
    )
    if not work:  # a sum of nothing
        return reference.matmul(a, b, bias)
    if not whole:
        return matmul(a.copy(), b.copy(), bias)
    quick = _quick(dtype)  # also for those that come: from here on they find it
    none = quick.no_bias if bias is None else np.ascontiguousarray(bias)
    c = np.empty(rows, dtype)
    threads, items = threads_for(work, PARALLEL_PRODUCTS), len(offsets)
    by_rows = items < threads  # of few large ones each thread takes some rows of every one
    given = a[first_a], b[first_b], c, none, offsets, by_rows
    if by_rows:
        _run(_matmul, dtype, given, shape[-2], threads, matrix.ROWS)
    else:
        _run(_matmul, dtype, given, items, threads)
    return c.reshape(shape)


_linear_gradients = Ready(matrix.linear_gradients)


def linear_gradients(
    dy: Array, x: Array, weight: Array, wanted: Collection[int]
) -> tuple[Array | None, Array | None, Array | None]:
    """dy · W, dyᵀ · x and Σ dy, as far as 0, 1 and 2 are wanted; of small matrices in one call."""
    dtype = dy.dtype
    for_x, for_w, for_b = 0 in wanted, 1 in wanted, 2 in wanted
    if threads_for(dy.size * x.shape[1], PARALLEL_PRODUCTS) == 1:
        unused = _UNUSED[dtype]
        dx = np.empty(x.shape, dtype) if for_x else unused
        dw = np.empty(weight.shape, dtype) if for_w else unused
        db = np.empty(len(weight), dtype) if for_b else unused[0]
        if _linear_gradients[dtype](dy, x, weight, dx, dw, db, for_x, for_w, for_b):
            return dx if for_x else None, dw if for_w else None, db if for_b else None
    return (
        matmul(dy, weight) if for_x else None,
        matmul(dy.T, x) if for_w else None,
        column_sums(dy) if for_b else None,
    )


_column_sums = Ready(matrix.column_sums)


def column_sums(x: Array) -> Array:
    """Σ x over the rows of a matrix."""
    y = np.empty(x.shape[1], x.dtype)
    _column_sums[x.dtype](np.ascontiguousarray(x), y)
    return y


# -- rows -----------------------------------------------------------------------------------


def _penalty(mask: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Turn a mask into 0 and −∞, (rows, n), with as few rows as repeat down all of `shape`."""
    while mask.ndim > 1 and mask.shape[0] == 1:
        mask = mask[0]
    whole = np.broadcast_to(mask, shape[len(shape) - mask.ndim :])
    return _rows_of(np.where(whole, dtype.type(0), dtype.type(-np.inf)))


_softmax, _softmax_backward = Ready(rows.softmax), Ready(rows.softmax_backward)
_log_softmax, _log_softmax_backward = Ready(rows.log_softmax), Ready(rows.log_softmax_backward)


def _along(kernel: Ready, axis: int, *arrays: Array) -> Array:
    """Run a kernel on what stands along an axis; all arrays and the result have one shape."""
    x = arrays[-1]
    if axis not in (-1, x.ndim - 1):
        return np.moveaxis(
            _along(kernel, -1, *(np.moveaxis(a, axis, -1) for a in arrays)), -1, axis
        )
    flat = [_rows_of(a) for a in arrays]
    y = np.empty(flat[-1].shape, x.dtype)
    _run(kernel, x.dtype, (*flat, y), len(y), threads_for(y.size, PARALLEL_NUMBERS))
    return y if x.ndim == 2 else y.reshape(x.shape)


def softmax(x: Array, axis: int = -1, mask: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) along an axis, among those where `mask` is True."""
    if axis not in (-1, x.ndim - 1):
        moved = None if mask is None else np.moveaxis(np.broadcast_to(mask, x.shape), axis, -1)
        return np.moveaxis(softmax(np.moveaxis(x, axis, -1), -1, moved), -1, axis)
    flat, dtype = _rows_of(x), x.dtype
    if dtype not in SOFTMAX["numba"]:
        SOFTMAX["numba"][dtype] = kernel_for(rows.softmax, dtype, "making")
    y = np.empty(flat.shape, dtype)
    if flat.size:
        penalty = flat if mask is None else _penalty(mask, x.shape, dtype)
        masked = mask is not None
        threads = threads_for(flat.size, PARALLEL_NUMBERS)
        _run(_softmax, dtype, (flat, penalty, masked, y), len(flat), threads)
    return y if x.ndim == 2 else y.reshape(x.shape)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """y · (dy − Σ dy · y)."""
    return _along(_softmax_backward, axis, dy, y)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x − ln Σ exp(x) along an axis."""
    if x.ndim == 2 and axis in (-1, 1) and x.size < PARALLEL_NUMBERS:
        y = np.empty(x.shape, x.dtype)
        if _log_softmax[x.dtype](x, y, 0, len(x)):
            return y
    return _along(_log_softmax, axis, x)


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy − exp(y) · Σ dy."""
    return _along(_log_softmax_backward, axis, dy, y)


_logsumexp = Ready(rows.logsumexp)


def logsumexp(x: Array, axis: int = -1) -> Array:
    """ln Σ exp(x) along an axis."""
    last = np.moveaxis(x, axis, -1)
    flat = _rows_of(last)
    lse = np.empty(len(flat), x.dtype)
    _run(_logsumexp, x.dtype, (flat, lse), len(flat), threads_for(flat.size, PARALLEL_NUMBERS))
    return lse.reshape(last.shape[:-1])


_cross_entropy = Ready(rows.cross_entropy)
_cross_entropy_backward = Ready(rows.cross_entropy_backward)


def cross_entropy(x: Array, labels: Array, ignored: int) -> tuple[Array, Array, int]:
    """ln Σ exp(x) − x[label] of each row, ln Σ exp(x), and how many rows are not ignored."""
    run, flat, dtype = _cross_entropy[x.dtype], _rows_of(x), x.dtype
    count = len(flat)
    y, lse = np.empty(count, dtype), np.empty(count, dtype)
    if flat.size < PARALLEL_NUMBERS:
        return y, lse, run(flat, labels, ignored, y, lse, 0, count)
    counts: list[int] = []
    _share(lambda i, j: counts.append(run(flat, labels, ignored, y, lse, i, j)), count, flat.size)
    wrong = min(counts)
    return y, lse, wrong if wrong < 0 else sum(counts)


def cross_entropy_backward(
    d: Array, x: Array, lse: Array, labels: Array, ignored: int
) -> tuple[Array, int]:
    """d · (exp(x − lse) − one-hot(label)); 0 in rows whose label is the ignored one."""
    run, flat = _cross_entropy_backward[x.dtype], _rows_of(x)
    dx = np.empty(flat.shape, x.dtype)
    if flat.size < PARALLEL_NUMBERS:
        return dx, run(flat, lse, d, labels, ignored, dx, 0, len(flat))
    done: list[int] = []
    _share(
        lambda i, j: done.append(run(flat, lse, d, labels, ignored, dx, i, j)),
        len(flat), flat.size,
    )  # fmt: skip
    return dx, min(done)


_layer_norm, _layer_norm_backward = Ready(rows.layer_norm), Ready(rows.layer_norm_backward)


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """(x − μ) / √(σ² + ε) · weight + bias over the last axis; and μ, and 1 / √(σ² + ε)."""
    dtype, shape, flat = x.dtype, x.shape, _rows_of(x)
    (count, n), size = flat.shape, flat.size
    w = np.ones(n, dtype) if weight is None else np.ascontiguousarray(weight)
    b = np.zeros(n, dtype) if bias is None else np.ascontiguousarray(bias)
    y, mu, rstd = np.empty((count, n), dtype), np.empty(count, dtype), np.empty(count, dtype)
    if size:
        threads = threads_for(size, PARALLEL_NUMBERS)
        _run(_layer_norm, dtype, (flat, w, b, eps, y, mu, rstd), count, threads)
    kept = (*shape[:-1], 1)
    return y.reshape(shape), mu.reshape(kept), rstd.reshape(kept)


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mu: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of x, weight and bias."""
    dtype, flat_dy, flat = x.dtype, _rows_of(dy), _rows_of(x)
    run, (count, n), size = _layer_norm_backward[dtype], flat.shape, flat.size
    w = np.ones(n, dtype) if weight is None else np.ascontiguousarray(weight)
    dx, dw, db = np.empty((count, n), dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    given = flat_dy, flat, w, mu.ravel(), rstd.ravel(), dx
    if size < PARALLEL_NUMBERS:
        run(*given, dw, db, 0, count)
    else:
        sums: dict[int, Array] = {}

        def part(start: int, stop: int) -> None:
            sums[start] = np.zeros((2, n), dtype)
            run(*given, *sums[start], start, stop)

        _share(part, count, size)
        for start in sorted(sums):
            dw += sums[start][0]
            db += sums[start][1]
    return dx.reshape(x.shape), dw, db


_add_rows = Ready(rows.add_rows)


def embedding_backward(dy: Array, index: Array, count: int) -> Array:
    """Zeros (count, d), with dy added at the rows of `index`, in order."""
    run, flat = _add_rows[dy.dtype], _rows_of(dy)
    which = np.ascontiguousarray(index, np.int64).ravel()
    dw = np.zeros((count, dy.shape[-1]), dy.dtype)
    wrong: list[int] = []
    # each thread has columns of its own, so that no two add to the same number
    _share(lambda i, j: wrong.append(run(flat, which, dw, i, j)), dw.shape[1], flat.size, 64)
    if wrong and wrong[0] >= 0:
        raise IndexError(f"index {which[wrong[0]]} is out of bounds for {count} rows")
    return dw


# -- attention ------------------------------------------------------------------------------


def _brought(
    batch: tuple[int, ...], mask: Array | None, bias: Array | None, *arrays: Array
) -> tuple[int, int, tuple[Any, ...], list[Array]]:
    """N and h, the mask and the bias as kernels take them, and arrays as (N, h, …)."""
    if len(batch) > 2:
        arrays = tuple(flat(x, batch) for x in arrays)
        mask = None if mask is None else flat(mask, batch)
        bias = None if bias is None else flat(bias, batch)
        batch = (math.prod(batch[:-1]), batch[-1])
    n, heads = (1, 1, *batch)[-2:]
    limits = limit(mask, _BYTE), mask is not None, limit(bias, arrays[0].dtype), bias is not None
    return n, heads, limits, [four(x) for x in arrays]


_attention, _attention_weights = Ready(fused.attention), Ready(fused.attention_weights)
_attention_backward = Ready(fused.attention_backward)


def attention(
    q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None,
    causal: bool, scale: float, dropout: float, seed: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Softmax(q kᵀ · scale + bias) v, and ln Σ exp of each row of scores."""
    batch = batch_of(q, k, v)
    (length, width), (keys, deep) = q.shape[-2:], v.shape[-2:]
    if 0 in (*batch, length, keys, width, deep):
        return reference.attention(q, k, v, mask, bias, causal, scale, dropout, seed)
    n, heads, limits, (q, k, v) = _brought(batch, mask, bias, q, k, v)
    out, lse = lying_like(q, n, heads, length, deep), np.empty((n * heads, length), q.dtype)
    given = (q, k, v, *limits, out, lse, causal, scale, dropping(dropout, seed))
    blocks = n * heads * -(-length // fused.QUERIES)
    products = n * heads * length * keys * (width + deep)
    threads = threads_for(products, PARALLEL_PRODUCTS)
    _run(_attention, q.dtype, given, blocks, threads)
    if len(batch) != 2:
        out = out.reshape(*batch, length, deep)
    return out, lse.reshape(*batch, length)


def attention_weights(
    q: Array, k: Array, mask: Array | None, bias: Array | None, causal: bool, scale: float
) -> Array:
    """Softmax(q kᵀ · scale + bias)."""
    batch = batch_of(q, k)
    (length, width), keys = q.shape[-2:], k.shape[-2]
    if 0 in (*batch, length, keys, width):
        return reference.attention_weights(q, k, mask, bias, causal, scale)
    n, heads, limits, (q, k) = _brought(batch, mask, bias, q, k)
    weights = np.empty((n, heads, length, keys), q.dtype)
    given = (q, k, *limits, weights, causal, scale)
    blocks = n * heads * -(-length // fused.QUERIES)
    threads = threads_for(weights.size * width, PARALLEL_PRODUCTS)
    _run(_attention_weights, q.dtype, given, blocks, threads)
    return weights if len(batch) == 2 else weights.reshape(*batch, length, keys)


def attention_backward(
    dout: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, mask: Array | None,
    bias: Array | None, causal: bool, scale: float, dropout: float, seed: int,
    into: tuple[Array, Array, Array] | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradients of q, k and v, with the batch axes of `dout`."""
    batch = dout.shape[:-2]
    (length, width), (keys, deep) = q.shape[-2:], v.shape[-2:]
    if 0 in (*batch, length, keys, width, deep):
        return reference.attention_backward(
            dout, q, k, v, out, lse, mask, bias, causal, scale, dropout, seed, into
        )  # fmt: skip
    n, heads, limits, (dout, q, k, v, out) = _brought(batch, mask, bias, dout, q, k, v, out)
    direct = into if into and all(x.ndim == 4 and four(x) is x for x in into) else None
    dq, dk, dv = direct or (
        lying_like(q, n, heads, length, width),
        lying_like(k, n, heads, keys, width),
        lying_like(v, n, heads, keys, deep),
    )
    items, blocks = n * heads, -(-length // fused.QUERIES)
    threads = threads_for(items * length * keys * (2 * width + deep), PARALLEL_PRODUCTS)
    given = (dout, q, k, v, out, lse.reshape(items, length), *limits, dq)
    how = causal, scale, dropping(dropout, seed)
    if items % threads == 0 or items >= 4 * threads:
        every = (*given, dk, dv, *how)
        _run(_attention_backward, q.dtype, every, items * blocks, threads, blocks)
    else:
        run = _attention_backward[q.dtype]
        _share_items(
            lambda mine, i, j: run(*given, *mine, *how, i, j), dk, dv, items * blocks, threads
        )
    if len(batch) != 2:
        dq, dk, dv = (x.reshape(*batch, *x.shape[-2:]) for x in (dq, dk, dv))
    if into is not None and not direct:
        for x, gradient in zip(into, (dq, dk, dv), strict=True):
            x[...] = gradient
        return into
    return dq, dk, dv


def _share_items(
    run: Callable[[tuple[Array, Array], int, int], object], dk: Array, dv: Array, blocks: int,
    threads: int,
) -> None:  # fmt: skip
    """Let several threads share an item: what each adds to dk and dv is summed, in order."""
    parts: dict[int, tuple[Array, Array]] = {}

    def part(start: int, stop: int) -> None:
        parts[start] = np.zeros_like(dk), np.zeros_like(dv)
        run(parts[start], start, stop)

    over_ranges(part, blocks, threads)
    dk[...] = dv[...] = 0
    for start in sorted(parts):
        dk += parts[start][0]
        dv += parts[start][1]


# -- elements -------------------------------------------------------------------------------


def _each(kernel: Ready, x: Array) -> Array:
    """Run a kernel on each number of an array."""
    size, y = x.size, np.empty(x.shape, x.dtype)
    threads = threads_for(size, PARALLEL_NUMBERS)
    _run(kernel, x.dtype, (x.ravel(), y.ravel()), size, threads, 64)
    return y


def _each_pair(kernel: Ready, dy: Array, x: Array) -> Array:
    """Run a kernel on each pair of numbers of two arrays of one shape."""
    dtype, size = x.dtype, x.size
    dx, threads = np.empty(x.shape, dtype), threads_for(size, PARALLEL_NUMBERS)
    _run(kernel, dtype, (dy.ravel(), x.ravel(), dx.ravel()), size, threads, 64)
    return dx


_erf, _sigmoid, _silu = map(Ready, (elements.erf, elements.sigmoid, elements.silu))
_silu_backward, _relu_backward = Ready(elements.silu_backward), Ready(elements.relu_backward)
_gelu, _gelu_tanh = Ready(elements.gelu), Ready(elements.gelu_tanh)
_gelu_backward = Ready(elements.gelu_backward)
_gelu_tanh_backward = Ready(elements.gelu_tanh_backward)


def gelu(x: Array, approximate: bool = False) -> Array:
    """x · Φ(x), or the tanh formula."""
    return _each(_gelu_tanh if approximate else _gelu, x)


def gelu_backward(dy: Array, x: Array, approximate: bool = False) -> Array:
    """dy · gelu′(x)."""
    return _each_pair(_gelu_tanh_backward if approximate else _gelu_backward, dy, x)


def relu_backward(dy: Array, y: Array) -> Array:
    """Dy, but 0 where y ≤ 0."""
    return _each_pair(_relu_backward, dy, y)


def erf(x: Array) -> Array:
    """2/√π ∫₀ˣ e^(−t²) dt."""
    return _each(_erf, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ)."""
    return _each(_sigmoid, x)


def silu(x: Array) -> Array:
    """x · σ(x)."""
    return _each(_silu, x)


def silu_backward(dy: Array, x: Array) -> Array:
    """dy · silu′(x)."""
    return _each_pair(_silu_backward, dy, x)


_squared_error = Ready(elements.squared_error)


def squared_error(x: Array, target: Array, scale: float) -> tuple[float, Array]:
    """Σ (x − target)², and scale · (x − target)."""
    slope = np.empty(x.shape, x.dtype)
    total: float = _squared_error[x.dtype](x.ravel(), target.ravel(), slope.ravel(), scale)
    return total, slope


_adamw, _sgd = Ready(elements.adamw), Ready(elements.sgd)


def adamw(
    rows: Sequence[tuple[Array, ...]], keep: float, rate: float, beta1: float, beta2: float,
    root: float, eps: float,
) -> None:  # fmt: skip
    """P ← P · keep − rate · M / (√V / root + eps), after M and V have taken G in; for each P."""
    run = _adamw[rows[0][0].dtype]
    for p, g, m, v in rows:
        run(p, g, m, v, keep, rate, beta1, beta2, root, eps)


def sgd(rows: Sequence[tuple[Array, ...]], rate: float, momentum: float) -> None:
    """B ← momentum · B + G, then P ← P − rate · B; for each P."""
    run = _sgd[rows[0][0].dtype]
    for p, g, b in rows:
        run(p, g, b, rate, momentum)
