"""Attention without a matrix of weights in memory, forward and backward.

A block of 96 queries meets one block of 384 keys after the other. Its scores stay in the
cache; what has been summed so far is scaled whenever a larger score turns up (Milakov and
Gimelshein 2018), so that at the end only the outputs and ln Σ exp of each row are left.
The backward pass computes the scores again, from which ln Σ exp makes the weights at once
(Dao et al. 2022, "FlashAttention", algorithms 1 and 4).

Heads are read where they are, as a stride of the batch, and written to where they belong. Only
keys are copied, turned and multiplied by the scale, and for the gradient values too.
"""

from __future__ import annotations

import math

import numpy as np

from .functions import exp_below
from .jit import inner, kernel_with
from .matrix import ROWS, pack, panel_product, product
from .rows import exp_of_row, maximum_of_row, scale_row
from .simd import (
    add,
    fma,
    keep,
    lanes_of,
    load,
    max_of,
    memory,
    memory_from,
    mul,
    size_of,
    splat,
    store,
    sub,
    sum_of,
    where_less,
)

QUERIES = 16 * ROWS  # of a block
KEYS = 64 * ROWS  # of a block: its scores are 147 kB, and whole vectors and tiles wide


@inner
def _start(x, item, heads):  # type: ignore[no-untyped-def]
    """Where an item's matrix begins in (N, h, …); what is there once serves all."""
    n, i = item // heads, item % heads
    at = (n * x.strides[0] if x.shape[0] > 1 else 0) + (i * x.strides[1] if x.shape[1] > 1 else 0)
    return at // size_of(x)


@inner
def _steps(x):  # type: ignore[no-untyped-def]
    """How far the next row and the next column of a mask are; what is there once serves all."""
    row = x.strides[2] // size_of(x) if x.shape[2] > 1 else 0
    return row, x.strides[3] // size_of(x) if x.shape[3] > 1 else 0


@inner
def _turn(x, at, row, column, count, width, scale, stride, turned):  # type: ignore[no-untyped-def]
    """Copy (count, width) times a number as blocks of (width, stride): B of Q · Kᵀ."""
    for j0 in range(0, count, stride):
        wide, start = min(stride, count - j0), j0 * width
        if wide < stride:
            for i in range(start, start + stride * width):
                turned[i] = 0
        pack(x, at + j0 * row, column, row, turned, start, stride, width, wide)
    for i in range((count + stride - 1) // stride * stride * width):
        turned[i] *= scale


@inner
def _restrict(s, to, stride, rows, wide, high, i0, j0, mask, bias, causal):  # type: ignore[no-untyped-def]
    """Add the bias to a block of scores, from `to` on, and make −∞ of those not to be seen.

    So are those between the block's width and whole vectors.
    """
    m, m_at, m_row, m_column, has_mask = mask
    b, b_at, b_row, b_column, has_bias = bias
    lowest = s.dtype.type(-np.inf)
    for i in range(rows):
        at = to + i * stride
        if has_bias:
            start = b_at + (i0 + i) * b_row + j0 * b_column
            for j in range(wide):
                s[at + j] += b[start + j * b_column]
        if has_mask:
            start = m_at + (i0 + i) * m_row + j0 * m_column
            for j in range(wide):
                if m[start + j * m_column] == 0:
                    s[at + j] = lowest
        for j in range(min(wide, max(0, i0 + i + 1 - j0)) if causal else wide, high):
            s[at + j] = lowest


@inner
def _mixed(x):  # type: ignore[no-untyped-def]
    """Scramble 32 bits, kept in a wider number."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


@inner
def _keep(kept, rows, wide, stride, row, column, dropping):  # type: ignore[no-untyped-def]
    """Write a block of factors: 0 where a weight is dropped, 1/(1 − p) where it is kept."""
    threshold, low, high, factor = dropping
    for i in range(rows):
        of_row = _mixed(_mixed(((row + i) & 0xFFFFFFFF) ^ low) ^ high)
        for j in range(wide):
            drawn = _mixed((of_row + (column + j) * 0x9E3779B9) & 0xFFFFFFFF)
            kept[i * stride + j] = factor if drawn >= threshold else 0.0


@inner
def _largest(s, at, high, lanes, top):  # type: ignore[no-untyped-def]
    """Return the largest of a row and of `top`; a nan does not count."""
    a = b = splat(top)
    even = high - high % (2 * lanes)
    for j in range(0, even, 2 * lanes):  # two at a time: none waits for the one before it
        v, w = load(s, at + j), load(s, at + j + lanes)
        a, b = where_less(a, v, v, a), where_less(b, w, w, b)
    for j in range(even, high, lanes):
        v = load(s, at + j)
        a = where_less(a, v, v, a)
    return max_of(where_less(a, b, b, a))


@inner
def _exp_row(s, at, high, lanes, shift):  # type: ignore[no-untyped-def]
    """exp(s − shift) of a row, in place; return the sum."""
    shifts, total = splat(shift), splat(s.dtype.type(0))
    for j in range(0, high, lanes):
        e = exp_below(sub(load(s, at + j), shifts))
        total = add(total, e)
        store(s, at + j, e)
    return sum_of(total)


@inner
def _multiply(s, at, kept, k_at, n):  # type: ignore[no-untyped-def]
    """Multiply a row by another, in place."""
    for j in range(n):
        s[at + j] *= kept[k_at + j]


@kernel_with(product, pack, nogil=True)
def attention(  # type: ignore[no-untyped-def]
    Q, K, V, M, has_mask, B, has_bias, OUT, LSE, causal, scale, dropping, first, last
):
    """OUT = softmax(Q Kᵀ · scale + B) V; LSE = ln Σ exp of the rows, −∞ where none is seen.

    Parameters
    ----------
    Q, K, V, OUT : array
        ``(N, h, L, p)``, ``(N, h, S, p)``, ``(N, h, S, p_v)``, ``(N, h, L, p_v)``, or 1 for N
        or h where all share it. Rows are consecutive in themselves.
    M, B : array
        ``(N, h, L, S)``, or 1 for any of them, with any strides: bytes that are not 0 where a
        key may be seen, and numbers to add; read if `has_mask`, `has_bias`.
    LSE : array
        ``(N·h, L)``.
    causal : bool
        Query i sees keys 0 … i.
    scale : float
        The factor.
    dropping : (int, int, int, float)
        What is drawn below the first is dropped; the two halves of the seed; the factor of what
        is kept, 0 where nothing is to be dropped.
    first, last : int
        Which blocks of queries to compute, counted through all items.
    """
    (_, heads, queries, deep), keys, width = OUT.shape, K.shape[2], K.shape[3]
    none, one, no = np.int64(0), np.int64(1), np.bool_(False)  # what is literal compiles anew
    size, number = size_of(Q), Q.dtype.type
    lanes = lanes_of(Q)
    q, k, v, out, m, b = memory(Q), memory(K), memory(V), memory(OUT), memory(M), memory(B)
    q_row, k_row, v_row = Q.strides[2] // size, K.strides[2] // size, V.strides[2] // size
    out_row = OUT.strides[2] // size
    (m_row, m_column), (b_row, b_column) = _steps(M), _steps(B)
    drops = dropping[3] != 0
    stride = min(KEYS, (keys + lanes - 1) // lanes * lanes)
    tall = min(QUERIES, queries)
    padded, block = (keys + stride - 1) // stride * stride, tall * stride
    room = np.empty(padded * width + (2 if drops else 1) * block + 2 * tall, Q.dtype)
    kt = memory_from(room, none)
    s = memory_from(room, padded * width)
    top, total = (
        memory_from(room, padded * width + block),
        memory_from(room, padded * width + block + tall),
    )
    kept = memory_from(room, padded * width + block + 2 * tall)
    blocks, turned = (queries + QUERIES - 1) // QUERIES, -1
    for unit in range(first, last):
        item, i0 = unit // blocks, unit % blocks * QUERIES
        rows = min(QUERIES, queries - i0)
        if item != turned:
            _turn(k, _start(K, item, heads), k_row, one, keys, width, number(scale), stride, kt)
            turned = item
        mask = (m, _start(M, item, heads), m_row, m_column, has_mask)
        bias = (b, _start(B, item, heads), b_row, b_column, has_bias)
        q_at = _start(Q, item, heads) + i0 * q_row
        v_at, to = _start(V, item, heads), _start(OUT, item, heads) + i0 * out_row
        for i in range(rows):
            top[i], total[i] = -np.inf, 0
        for j0 in range(0, min(keys, i0 + rows) if causal else keys, KEYS):
            wide = min(KEYS, keys - j0)
            if causal:
                wide = min(wide, i0 + rows - j0)
            high = (wide + lanes - 1) // lanes * lanes
            panel_product(
                q, q_at, q_row, one, kt, j0 * width, stride, s, none, stride, rows, high, width, no
            )
            _restrict(s, none, stride, rows, wide, high, i0, j0, mask, bias, causal)
            if drops:
                _keep(kept, rows, wide, stride, item * queries + i0, j0, dropping)
            for i in range(rows):
                best = _largest(s, i * stride, high, lanes, top[i])
                shift = best if best != -np.inf else number(0)  # nothing to be seen so far
                summed = _exp_row(s, i * stride, high, lanes, shift)
                if drops:
                    _multiply(s, i * stride, kept, i * stride, wide)
                if j0 > 0 and best != top[i]:
                    factor = number(math.exp(top[i] - best))
                    total[i] *= factor
                    for d in range(to + i * out_row, to + i * out_row + deep):
                        out[d] *= factor
                top[i], total[i] = best, total[i] + summed
            panel_product(
                s, none, stride, one, v, v_at + j0 * v_row, v_row, out, to, out_row,
                rows, deep, wide, j0 > 0,
            )  # fmt: skip
        for i in range(rows):
            seen = total[i] != 0
            LSE[item, i0 + i] = top[i] + number(math.log(total[i])) if seen else -np.inf
            share = number(1) / total[i] if seen else number(0)
            for d in range(to + i * out_row, to + i * out_row + deep):
                out[d] *= share
    keep(room)


@kernel_with(product, pack, nogil=True)
def attention_weights(  # type: ignore[no-untyped-def]
    Q, K, M, has_mask, B, has_bias, W, causal, scale, first, last
):
    """W = softmax(Q Kᵀ · scale + B): scores become weights while a block of rows is in the cache.

    The arguments are as :func:`attention`'s; W, ``(N, h, L, S)``, is all that is written.
    """
    (_, heads, queries, keys), width = W.shape, K.shape[3]
    none, one, no = np.int64(0), np.int64(1), np.bool_(False)  # what is literal compiles anew
    size, number, lanes = size_of(Q), Q.dtype.type, lanes_of(Q)
    q, k, w, m, b = memory(Q), memory(K), memory(W), memory(M), memory(B)
    q_row, k_row = Q.strides[2] // size, K.strides[2] // size
    (m_row, m_column), (b_row, b_column) = _steps(M), _steps(B)
    stride = min(KEYS, (keys + lanes - 1) // lanes * lanes)
    room = np.empty((keys + stride - 1) // stride * stride * width, Q.dtype)
    kt = memory_from(room, none)
    blocks, turned = (queries + QUERIES - 1) // QUERIES, -1
    for unit in range(first, last):
        item, i0 = unit // blocks, unit % blocks * QUERIES
        rows = min(QUERIES, queries - i0)
        if item != turned:
            _turn(k, _start(K, item, heads), k_row, one, keys, width, number(scale), stride, kt)
            turned = item
        mask = (m, _start(M, item, heads), m_row, m_column, has_mask)
        bias = (b, _start(B, item, heads), b_row, b_column, has_bias)
        q_at, to = _start(Q, item, heads) + i0 * q_row, (item * queries + i0) * keys
        seen = min(keys, i0 + rows) if causal else keys
        for j0 in range(0, seen, KEYS):
            wide = min(KEYS, seen - j0)
            panel_product(
                q, q_at, q_row, one, kt, j0 * width, stride, w, to + j0, keys, rows, wide, width, no
            )
            _restrict(w, to + j0, keys, rows, wide, wide, i0, j0, mask, bias, causal)
        for i in range(rows):
            at = to + i * keys
            top = maximum_of_row(w, at, seen, lanes, w, none, no)
            shift = top if top != -np.inf else number(0)  # nothing to be seen, or nan
            total = exp_of_row(w, at, seen, lanes, w, none, no, shift, w)
            scale_row(w, at, seen, lanes, number(1) / total if total != 0 else number(0))
            for j in range(at + seen, at + keys):
                w[j] = 0
    keep(room)


@inner
def _dot(x, at, y, y_at, n, lanes):  # type: ignore[no-untyped-def]
    """Σ x · y of one row each."""
    sums, whole = splat(x.dtype.type(0)), n - n % lanes
    for d in range(0, whole, lanes):
        sums = fma(load(x, at + d), load(y, y_at + d), sums)
    total = sum_of(sums)
    for d in range(whole, n):
        total += x[at + d] * y[y_at + d]
    return total


@inner
def _weights_and_dscores(s, ds, at, high, lanes, lse, dot):  # type: ignore[no-untyped-def]
    """P = exp(S − lse) and dS = P · (dP − dot), for a row, in the places of S and dP."""
    shift, dots = splat(lse if lse != -np.inf else s.dtype.type(np.inf)), splat(dot)
    for j in range(0, high, lanes):
        weight = exp_below(sub(load(s, at + j), shift))
        store(s, at + j, weight)
        store(ds, at + j, mul(weight, sub(load(ds, at + j), dots)))


@kernel_with(product, pack, nogil=True)
def attention_backward(  # type: ignore[no-untyped-def]
    DOUT, Q, K, V, OUT, LSE, M, has_mask, B, has_bias, DQ, DK, DV, causal, scale,
    dropping, first, last,
):  # fmt: skip
    """DQ, DK and DV from what :func:`attention` took and gave.

    With P the weights: dV = Pᵀ dO, dP = dO Vᵀ, dS = P · (dP − Σ dO · O), dQ = dS K · scale
    and dK = dSᵀ Q · scale. The arguments are as there. A block of queries adds its share to DK
    and DV, so the order of sums is always the same; the first of an item that this call sees
    overwrites.
    """
    (_, heads, queries, deep), keys, width = OUT.shape, K.shape[2], K.shape[3]
    none, one, no = np.int64(0), np.int64(1), np.bool_(False)  # what is literal compiles anew
    size, number = size_of(Q), Q.dtype.type
    lanes = lanes_of(Q)
    q, k, v, m, b = memory(Q), memory(K), memory(V), memory(M), memory(B)
    out, dout, dq, dk, dv = memory(OUT), memory(DOUT), memory(DQ), memory(DK), memory(DV)
    q_row, k_row, v_row = Q.strides[2] // size, K.strides[2] // size, V.strides[2] // size
    out_row, dout_row = OUT.strides[2] // size, DOUT.strides[2] // size
    dq_row, dk_row, dv_row = DQ.strides[2] // size, DK.strides[2] // size, DV.strides[2] // size
    (m_row, m_column), (b_row, b_column) = _steps(M), _steps(B)
    drops = dropping[3] != 0
    stride = min(KEYS, (keys + lanes - 1) // lanes * lanes)
    tall, padded = min(QUERIES, queries), (keys + stride - 1) // stride * stride
    block, turns = tall * stride, padded * (width + deep)
    room = np.empty(turns + (3 if drops else 2) * block + tall, Q.dtype)
    kt, vt = memory_from(room, none), memory_from(room, padded * width)
    s, ds = memory_from(room, turns), memory_from(room, turns + block)
    dots, kept = memory_from(room, turns + 2 * block), memory_from(room, turns + 2 * block + tall)
    blocks, turned = (queries + QUERIES - 1) // QUERIES, -1
    for unit in range(first, last):
        item, i0 = unit // blocks, unit % blocks * QUERIES
        rows, fresh = min(QUERIES, queries - i0), item != turned
        k_at, v_at = _start(K, item, heads), _start(V, item, heads)
        if fresh:
            _turn(k, k_at, k_row, one, keys, width, number(scale), stride, kt)
            _turn(v, v_at, v_row, one, keys, deep, number(1), stride, vt)
            turned = item
        mask = (m, _start(M, item, heads), m_row, m_column, has_mask)
        bias = (b, _start(B, item, heads), b_row, b_column, has_bias)
        q_at, out_at = _start(Q, item, heads) + i0 * q_row, _start(OUT, item, heads) + i0 * out_row
        dout_at, dq_at = (
            _start(DOUT, item, heads) + i0 * dout_row,
            _start(DQ, item, heads) + i0 * dq_row,
        )
        dk_at, dv_at = _start(DK, item, heads), _start(DV, item, heads)
        seen = min(keys, i0 + rows) if causal else keys
        if fresh:  # what this block does not see
            for j in range(seen, keys):
                for d in range(width):
                    dk[dk_at + j * dk_row + d] = 0
                for d in range(deep):
                    dv[dv_at + j * dv_row + d] = 0
        for i in range(rows):
            dots[i] = _dot(dout, dout_at + i * dout_row, out, out_at + i * out_row, deep, lanes)
        for j0 in range(0, seen, KEYS):
            wide = min(KEYS, seen - j0)
            high = (wide + lanes - 1) // lanes * lanes
            panel_product(
                q, q_at, q_row, one, kt, j0 * width, stride, s, none, stride, rows, high, width, no
            )
            _restrict(s, none, stride, rows, wide, high, i0, j0, mask, bias, causal)
            panel_product(
                dout, dout_at, dout_row, one, vt, j0 * deep, stride, ds, none, stride,
                rows, high, deep, no,
            )  # fmt: skip
            if drops:
                _keep(kept, rows, wide, stride, item * queries + i0, j0, dropping)
            for i in range(rows):
                if drops:
                    _multiply(ds, i * stride, kept, i * stride, wide)
                _weights_and_dscores(s, ds, i * stride, high, lanes, LSE[item, i0 + i], dots[i])
                if drops:
                    _multiply(s, i * stride, kept, i * stride, wide)
            panel_product(
                s, none, one, stride, dout, dout_at, dout_row, dv, dv_at + j0 * dv_row, dv_row,
                wide, deep, rows, not fresh,
            )  # fmt: skip
            panel_product(
                ds, none, one, stride, q, q_at, q_row, dk, dk_at + j0 * dk_row, dk_row,
                wide, width, rows, not fresh,
            )  # fmt: skip
            panel_product(
                ds, none, stride, one, k, k_at + j0 * k_row, k_row, dq, dq_at, dq_row,
                rows, width, wide, j0 > 0,
            )  # fmt: skip
        for i in range(rows):
            for d in range(dq_at + i * dq_row, dq_at + i * dq_row + width):
                dq[d] *= number(scale)
        if unit + 1 == last or (unit + 1) % blocks == 0:  # the item's last block: K had the scale
            for j in range(keys):
                for d in range(dk_at + j * dk_row, dk_at + j * dk_row + width):
                    dk[d] *= number(scale)
    keep(room)
