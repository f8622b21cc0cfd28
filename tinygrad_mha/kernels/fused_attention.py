"""Attention without a matrix of weights in memory, forward and backward.

A block of 96 queries meets one block of 384 keys after the other. Its scores stay in the
cache; what has been summed so far is scaled whenever a larger score turns up (Milakov and
Gimelshein 2018), so that at the end only the outputs and ln Σ exp of each row are left.
The backward pass computes the scores again, from which ln Σ exp makes the weights at once
(Dao et al. 2022, "FlashAttention", algorithms 1 and 4).

The widths p and p_v are multiples of a vector here; whoever calls fills up with zeros.
Rows of a block are filled up to whole tiles: what is computed there is not read.
"""

from __future__ import annotations

import math

import numpy as np

from .functions import exp_below
from .jit import inner, kernel
from .matrix import ROWS, pack, panel_product
from .rows import exp_of_row, maximum_of_row, of_nothing, scale_row
from .simd import LANES32, fma, load, memory, mul, splat, store, sub, sum_of

QUERIES = 16 * ROWS  # of a block
KEYS = 64 * ROWS  # of a block: its scores are 147 kB, and whole vectors and tiles wide


@inner
def _up(n, multiple):  # type: ignore[no-untyped-def]
    """Round up."""
    return (n + multiple - 1) // multiple * multiple


@inner
def _turn(x, at, count, width, turned):  # type: ignore[no-untyped-def]
    """Copy (count, width) as blocks of (width, KEYS): what a product needs of keys."""
    for j0 in range(0, count, KEYS):
        wide = min(KEYS, count - j0)
        start = j0 * width
        if wide < KEYS:
            turned[start : start + KEYS * width] = 0
        pack(x, at + j0 * width, 1, width, turned, start, KEYS, width, wide)


@inner
def _take(x, at, rows, width, scale, block):  # type: ignore[no-untyped-def]
    """Copy rows times a number; rows that fill up the last tile are 0."""
    for i in range(rows * width):
        block[i] = x[at + i] * scale
    block[rows * width : _up(rows, ROWS) * width] = 0


@inner
def _scores(q, kt, j0, s, rows, wide, width, lanes):  # type: ignore[no-untyped-def]
    """S = Q · Kᵀ of a block of queries and one of keys."""
    panel_product(
        q, 0, width, 1, kt, j0 * width, KEYS, s, 0, KEYS,
        _up(rows, ROWS), _up(wide, lanes), width, False,
    )  # fmt: skip


@inner
def _restrict(s, rows, wide, i0, j0, mask, bias, causal):  # type: ignore[no-untyped-def]
    """Add the bias to a block of scores, and make −∞ of those that may not be seen."""
    m, m_at, m_row, m_column, has_mask = mask
    b, b_at, b_row, b_column, has_bias = bias
    lowest = s.dtype.type(-np.inf)
    for i in range(rows):
        at = i * KEYS
        if has_bias:
            start = b_at + (i0 + i) * b_row + j0 * b_column
            for j in range(wide):
                s[at + j] += b[start + j * b_column]
        if has_mask:
            start = m_at + (i0 + i) * m_row + j0 * m_column
            for j in range(wide):
                if m[start + j * m_column] == 0:
                    s[at + j] = lowest
        if causal:
            for j in range(max(0, i0 + i + 1 - j0), wide):
                s[at + j] = lowest


@inner
def _width(j0, keys, i0, rows, causal):  # type: ignore[no-untyped-def]
    """How many keys of a block its queries may see at all."""
    wide = min(KEYS, keys - j0)
    return min(wide, i0 + rows - j0) if causal else wide


@inner
def _absorb(s, at, wide, lanes, top, total):  # type: ignore[no-untyped-def]
    """Turn a row of scores into weights; return the new maximum, the old sums' factor, the sum."""
    one = s.dtype.type(1)
    best = max(top, maximum_of_row(s, at, wide, lanes, s, 0, False))
    if best == -np.inf:  # nothing to be seen so far
        none = of_nothing(s, at, wide, s, 0, False)
        s[at : at + wide] = none
        return top, one, total + none
    factor = one if best == top else s.dtype.type(math.exp(top - best))
    return best, factor, total * factor + exp_of_row(s, at, wide, lanes, s, 0, False, best, s)


@kernel
def attention(  # type: ignore[no-untyped-def]
    Q, K, V, M, has_mask, B, has_bias, offsets, causal, scale, OUT, LSE, first, last
):
    """OUT = softmax(Q Kᵀ · scale + B) V; LSE = ln Σ exp of the rows, −∞ where none is seen.

    Parameters
    ----------
    Q, K, V : array
        ``(items, L, p)``, ``(items, S, p)``, ``(items, S, p_v)``, consecutive.
    M, B : array
        ``(L, S)`` with any strides that are not negative: bytes that are not 0 where a key may
        be seen, and numbers to add; read if `has_mask`, `has_bias`.
    offsets : array of int64
        ``(items, 2)``: where each item's M and B begin, in elements.
    causal : bool
        Query i sees keys 0 … i.
    scale : float
        The factor.
    OUT, LSE : array
        ``(items, L, p_v)``, ``(items, L)``.
    first, last : int
        Which blocks of queries to compute, counted through all items.
    """
    queries, width = Q.shape[1:]
    keys, deep = V.shape[1:]
    lanes, number = LANES32 * 4 // Q.itemsize, Q.dtype.type
    q, k, v, out, m, b = memory(Q), memory(K), memory(V), memory(OUT), memory(M), memory(B)
    m_row, m_column = M.strides[0] // M.itemsize, M.strides[1] // M.itemsize
    b_row, b_column = B.strides[0] // B.itemsize, B.strides[1] // B.itemsize
    kt = np.empty(_up(keys, KEYS) * width, Q.dtype)
    block, s = np.empty(QUERIES * width, Q.dtype), np.empty(QUERIES * KEYS, Q.dtype)
    sums = np.empty(QUERIES * deep, Q.dtype)
    top, total = np.empty(QUERIES, Q.dtype), np.empty(QUERIES, Q.dtype)
    blocks, turned = (queries + QUERIES - 1) // QUERIES, -1
    for unit in range(first, last):
        item, i0 = unit // blocks, unit % blocks * QUERIES
        rows = min(QUERIES, queries - i0)
        if item != turned:
            _turn(k, item * keys * width, keys, width, kt)
            turned = item
        _take(q, (item * queries + i0) * width, rows, width, number(scale), block)
        mask = (m, offsets[item, 0], m_row, m_column, has_mask)
        bias = (b, offsets[item, 1], b_row, b_column, has_bias)
        top[:], total[:] = -np.inf, 0
        for j0 in range(0, min(keys, i0 + rows) if causal else keys, KEYS):
            wide = _width(j0, keys, i0, rows, causal)
            _scores(block, kt, j0, s, rows, wide, width, lanes)
            _restrict(s, rows, wide, i0, j0, mask, bias, causal)
            for i in range(rows):
                top[i], factor, total[i] = _absorb(s, i * KEYS, wide, lanes, top[i], total[i])
                if j0 > 0 and factor != 1:
                    scale_row(sums, i * deep, deep, lanes, factor)
            panel_product(
                s, 0, KEYS, 1, v, (item * keys + j0) * deep, deep, sums, 0, deep,
                _up(rows, ROWS), deep, wide, j0 > 0,
            )  # fmt: skip
        for i in range(rows):
            seen = total[i] != 0
            LSE[item, i0 + i] = top[i] + number(math.log(total[i])) if seen else -np.inf
            share = splat(number(1) / total[i] if seen else number(0))
            for d in range(0, deep, lanes):
                row = mul(load(sums, i * deep + d), share)
                store(out, (item * queries + i0 + i) * deep + d, row)


@inner
def _dot(x, y, at, n, lanes):  # type: ignore[no-untyped-def]
    """Σ x · y of one row."""
    total = splat(x.dtype.type(0))
    for d in range(0, n, lanes):
        total = fma(load(x, at + d), load(y, at + d), total)
    return sum_of(total)


@inner
def _weights(s, ds, at, wide, lanes, lse, dot):  # type: ignore[no-untyped-def]
    """P = exp(S − lse) and dS = P · (dP − dot), for a row, in the places of S and dP."""
    shift, dots = splat(lse if lse != -np.inf else s.dtype.type(np.inf)), splat(dot)
    for j in range(0, wide, lanes):
        weight = exp_below(sub(load(s, at + j), shift))
        store(s, at + j, weight)
        store(ds, at + j, mul(weight, sub(load(ds, at + j), dots)))
    for j in range(wide, _up(wide, ROWS)):  # what fills up the last tile adds nothing
        s[at + j] = ds[at + j] = 0


@kernel
def attention_backward(  # type: ignore[no-untyped-def]
    DOUT, Q, K, V, OUT, LSE, M, has_mask, B, has_bias, offsets, causal, scale, DQ, DK, DV,
    first, last,
):  # fmt: skip
    """DQ, DK and DV of the items from `first` to `last`, from what :func:`attention` gave.

    With P the weights: dV = Pᵀ dO, dP = dO Vᵀ, dS = P · (dP − Σ dO · O), dQ = dS K · scale
    and dK = dSᵀ Q · scale. An item is one thread's: the order of sums is always the same.
    """
    queries, width = Q.shape[1:]
    keys, deep = V.shape[1:]
    lanes, number = LANES32 * 4 // Q.itemsize, Q.dtype.type
    q, k, v, m, b = memory(Q), memory(K), memory(V), memory(M), memory(B)
    out, dout, dq = memory(OUT), memory(DOUT), memory(DQ)
    m_row, m_column = M.strides[0] // M.itemsize, M.strides[1] // M.itemsize
    b_row, b_column = B.strides[0] // B.itemsize, B.strides[1] // B.itemsize
    padded = _up(keys, KEYS)
    kt, vt = np.empty(padded * width, Q.dtype), np.empty(padded * deep, Q.dtype)
    dk, dv = np.empty(padded * width, Q.dtype), np.empty(padded * deep, Q.dtype)
    block, grown = np.empty(QUERIES * width, Q.dtype), np.empty(QUERIES * deep, Q.dtype)
    s, ds = np.empty(QUERIES * KEYS, Q.dtype), np.empty(QUERIES * KEYS, Q.dtype)
    sums = np.empty(QUERIES * width, Q.dtype)
    for item in range(first, last):
        _turn(k, item * keys * width, keys, width, kt)
        _turn(v, item * keys * deep, keys, deep, vt)
        dk[:], dv[:] = 0, 0
        mask = (m, offsets[item, 0], m_row, m_column, has_mask)
        bias = (b, offsets[item, 1], b_row, b_column, has_bias)
        for i0 in range(0, queries, QUERIES):
            rows = min(QUERIES, queries - i0)
            tiles, row0 = _up(rows, ROWS), item * queries + i0
            _take(q, row0 * width, rows, width, number(scale), block)
            _take(dout, row0 * deep, rows, deep, number(1), grown)
            for j0 in range(0, min(keys, i0 + rows) if causal else keys, KEYS):
                wide = _width(j0, keys, i0, rows, causal)
                _scores(block, kt, j0, s, rows, wide, width, lanes)
                _restrict(s, rows, wide, i0, j0, mask, bias, causal)
                _scores(grown, vt, j0, ds, rows, wide, deep, lanes)
                for i in range(rows):
                    dot = _dot(dout, out, (row0 + i) * deep, deep, lanes)
                    _weights(s, ds, i * KEYS, wide, lanes, LSE[item, i0 + i], dot)
                high = _up(wide, ROWS)
                panel_product(
                    s, 0, 1, KEYS, grown, 0, deep, dv, j0 * deep, deep, high, deep, rows, True
                )
                panel_product(
                    ds, 0, 1, KEYS, block, 0, width, dk, j0 * width, width, high, width, rows, True
                )
                panel_product(
                    ds, 0, KEYS, 1, k, (item * keys + j0) * width, width, sums, 0, width,
                    tiles, width, wide, j0 > 0,
                )  # fmt: skip
            for i in range(rows * width):
                dq[row0 * width + i] = sums[i] * number(scale)
        for j in range(keys):
            DK[item, j] = dk[j * width : (j + 1) * width]
            DV[item, j] = dv[j * deep : (j + 1) * deep]
