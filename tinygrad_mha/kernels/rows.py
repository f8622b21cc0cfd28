"""Kernels that work on each row of a matrix by itself.

A row is read once or twice, a vector at a time, the last one with a mask. All take
ranges of rows, so that threads can share the work.
"""

from __future__ import annotations

import math

import numpy as np

from .functions import exp_below
from .jit import inner, kernel, kernel_with
from .simd import (
    WIDE,
    add,
    fma,
    lanes_of,
    like,
    load,
    load_first,
    load_first_like,
    load_like,
    max_of,
    memory,
    mul,
    size_of,
    splat,
    splat_wide,
    store,
    store_first,
    sub,
    sum_of,
    where_less,
)


@inner
def _get(m, at, left, lanes, rest):  # type: ignore[no-untyped-def]
    """Load a vector, or what is left of the row."""
    if left >= lanes:
        return load(m, at)
    return load_first(m, at, left, rest)


@inner
def _put(m, at, left, lanes, value):  # type: ignore[no-untyped-def]
    """Store a vector, or what is left of the row."""
    if left >= lanes:
        store(m, at, value)
    else:
        store_first(m, at, left, value)


@inner
def _larger(a, b):  # type: ignore[no-untyped-def]
    """Return the larger of a and b, a where b is nan: one instruction."""
    return where_less(a, b, b, a)


@inner
def _seen(x, at, penalty, seen, left, lanes, masked):  # type: ignore[no-untyped-def]
    """Load a vector of a row; what is hidden, or beyond its end, is −∞."""
    lowest = x.dtype.type(-np.inf)
    v = _get(x, at, left, lanes, lowest)
    if masked:
        hidden = _get(penalty, seen, left, lanes, lowest)
        v = where_less(hidden, splat(x.dtype.type(0)), splat(lowest), v)
    return v


@inner
def maximum_of_row(x, at, n, lanes, penalty, seen, masked):  # type: ignore[no-untyped-def]
    """Return the largest of the visible numbers of a row; a nan does not count."""
    lowest = x.dtype.type(-np.inf)
    top, j = splat(lowest), 0
    if not masked and n >= WIDE * lanes:
        tops = splat_wide(lowest)
        while n - j >= WIDE * lanes:
            tops = _larger(tops, load_like(x, at + j, tops))
            j += WIDE * lanes
        top = splat(max_of(tops))
    while j < n:
        top = _larger(top, _seen(x, at + j, penalty, seen + j, n - j, lanes, masked))
        j += lanes
    return max_of(top)


@inner
def exp_of_row(x, at, n, lanes, penalty, seen, masked, top, y):  # type: ignore[no-untyped-def]
    """Write exp(x − top) of a row to y, and return the sum."""
    none, j = x.dtype.type(0), 0
    tops, total, sum_of_wide = splat(top), splat(none), none
    if not masked and n >= WIDE * lanes:
        many, totals = splat_wide(top), splat_wide(none)
        while n - j >= WIDE * lanes:
            es = exp_below(sub(load_like(x, at + j, many), many))
            totals = add(totals, es)
            store(y, at + j, es)
            j += WIDE * lanes
        sum_of_wide = sum_of(totals)
    while j < n:
        v = _seen(x, at + j, penalty, seen + j, n - j, lanes, masked)
        e = exp_below(sub(v, tops))
        total = add(total, e)
        _put(y, at + j, n - j, lanes, e)
        j += lanes
    return sum_of_wide + sum_of(total)


@inner
def _sum_of_exp(x, at, n, lanes, top):  # type: ignore[no-untyped-def]
    """Return the sum of exp(x − top) of a row."""
    none, j, first = x.dtype.type(0), 0, x.dtype.type(0)
    if n >= WIDE * lanes:
        tops, totals = splat_wide(top), splat_wide(none)
        while n - j >= WIDE * lanes:
            totals = add(totals, exp_below(sub(load_like(x, at + j, tops), tops)))
            j += WIDE * lanes
        first = sum_of(totals)
    total = splat(none)
    while j < n:
        v = _get(x, at + j, n - j, lanes, x.dtype.type(-np.inf))
        total = add(total, exp_below(sub(v, splat(top))))
        j += lanes
    return first + sum_of(total)


@inner
def _dot_of_rows(x, y, at, n, lanes):  # type: ignore[no-untyped-def]
    """Return the sum of x · y over a row."""
    none, j, first = x.dtype.type(0), 0, x.dtype.type(0)
    if n >= WIDE * lanes:
        totals = splat_wide(none)
        while n - j >= WIDE * lanes:
            totals = fma(load_like(x, at + j, totals), load_like(y, at + j, totals), totals)
            j += WIDE * lanes
        first = sum_of(totals)
    total = splat(none)
    while j < n:
        v = _get(x, at + j, n - j, lanes, none)
        total = fma(v, _get(y, at + j, n - j, lanes, none), total)
        j += lanes
    return first + sum_of(total)


@inner
def _sum_of_row(x, at, n, lanes, shift, square):  # type: ignore[no-untyped-def]
    """Return the sum of x − shift over a row, or of its square."""
    none, j, first = x.dtype.type(0), 0, x.dtype.type(0)
    if n >= WIDE * lanes:
        shifts, totals = splat_wide(shift), splat_wide(none)
        while n - j >= WIDE * lanes:
            d = sub(load_like(x, at + j, totals), shifts)
            totals = fma(d, d, totals) if square else add(totals, d)
            j += WIDE * lanes
        first = sum_of(totals)
    total = splat(none)
    while j < n:
        d1 = sub(_get(x, at + j, n - j, lanes, shift), splat(shift))  # beyond the end: 0
        total = fma(d1, d1, total) if square else add(total, d1)
        j += lanes
    return first + sum_of(total)


@inner
def scale_row(y, at, n, lanes, factor):  # type: ignore[no-untyped-def]
    """Multiply a row by a number, in place."""
    scale, whole = splat(factor), n - n % lanes
    for j in range(0, whole, lanes):
        store(y, at + j, mul(load(y, at + j), scale))
    if whole < n:
        rest = load_first(y, at + whole, n - whole, y.dtype.type(0))
        store_first(y, at + whole, n - whole, mul(rest, scale))


@inner
def of_nothing(x, at, n, penalty, seen, masked):  # type: ignore[no-untyped-def]
    """Sum up a row without a visible number above −∞: 0, or nan if one of them is nan."""
    for j in range(n):
        if np.isnan(x[at + j]) and not (masked and penalty[seen + j] < 0):
            return x[at + j]
    return x.dtype.type(0)


@inner
def _softmax_of_few(x, first, last, n, room, lowest, y):  # type: ignore[no-untyped-def]
    """Write the softmax of rows that fit into a vector like `lowest`, which is full of −∞."""
    for at in range(first * n, last * n, n):
        v = load_like(x, at, lowest) if n == room else load_first_like(x, at, n, lowest)
        e = exp_below(sub(v, like(max_of(v), lowest)))
        e = mul(e, like(x.dtype.type(1) / sum_of(e), lowest))
        if n == room:
            store(y, at, e)
        else:
            store_first(y, at, n, e)


@inner
def _consecutive(X):  # type: ignore[no-untyped-def]
    """Tell whether the rows of X follow each other in memory."""
    n, size = X.shape[1], size_of(X)
    return (n < 2 or X.strides[1] == size) and (len(X) < 2 or X.strides[0] == n * size)


@kernel_with(Y=(("X", 0), ("X", 1)))
def softmax(X, P, masked, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = softmax of the rows of X; where P is −∞ instead of 0, a number is not there.

    P has a row for every row of X, or fewer: then they repeat. A row with nothing in it is 0.
    A negative `last` says: all rows, if they hold no more than so many numbers. Returns False if
    nothing was done, for that reason or because the rows do not follow each other in memory.
    """
    n, lanes = X.shape[1], lanes_of(X)
    if last < 0:
        last = len(X) if 0 < X.size <= -last else -1
    if last < 0 or not _consecutive(X):
        return False
    x, p, y = memory(X), memory(P), memory(Y)
    lowest = x.dtype.type(-np.inf)
    if n <= WIDE * lanes and not masked:
        if 0 < n <= lanes:
            _softmax_of_few(x, first, last, n, lanes, splat(lowest), y)
        elif n > lanes:
            _softmax_of_few(x, first, last, n, WIDE * lanes, splat_wide(lowest), y)
        return True
    for i in range(first, last):
        at, seen = i * n, (i % P.shape[0]) * n
        top = maximum_of_row(x, at, n, lanes, p, seen, masked)
        if masked and top == lowest:
            Y[i] = of_nothing(x, at, n, p, seen, masked)
            continue
        total = exp_of_row(x, at, n, lanes, p, seen, masked, top, y)  # nan if a number is
        scale_row(y, at, n, lanes, x.dtype.type(1) / total)
    return True


@kernel
def softmax_backward(DY, Y, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = Y · (DY − Σ DY · Y), row by row."""
    n, lanes = Y.shape[1], lanes_of(Y)
    dy, y, dx = memory(DY), memory(Y), memory(DX)
    none, whole = y.dtype.type(0), n - n % lanes
    for i in range(first, last):
        at = i * n
        dots = splat(_dot_of_rows(dy, y, at, n, lanes))
        for j in range(at, at + whole, lanes):
            store(dx, j, mul(load(y, j), sub(load(dy, j), dots)))
        if whole < n:
            j, left = at + whole, n - whole
            g = sub(load_first(dy, j, left, none), dots)
            store_first(dx, j, left, mul(load_first(y, j, left, none), g))


@kernel
def log_softmax(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = (X − max X) − ln Σ exp(X − max X), row by row.

    The largest first: beside a large X, ln Σ exp would be rounded away.
    """
    n, lanes = X.shape[1], lanes_of(X)
    if not _consecutive(X):
        return False
    x, y = memory(X), memory(Y)
    none, whole = x.dtype.type(0), n - n % lanes
    for i in range(first, last):
        at = i * n
        top = maximum_of_row(x, at, n, lanes, x, 0, False)
        tops = splat(top)
        logs = splat(x.dtype.type(math.log(_sum_of_exp(x, at, n, lanes, top))))
        for j in range(at, at + whole, lanes):
            store(y, j, sub(sub(load(x, j), tops), logs))
        if whole < n:
            rest = load_first(x, at + whole, n - whole, none)
            store_first(y, at + whole, n - whole, sub(sub(rest, tops), logs))
    return True


@kernel
def log_softmax_backward(DY, Y, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY − exp(Y) · Σ DY, row by row."""
    n, lanes = Y.shape[1], lanes_of(Y)
    dy, y, dx = memory(DY), memory(Y), memory(DX)
    none, whole = y.dtype.type(0), n - n % lanes
    for i in range(first, last):
        at = i * n
        less = splat(-_sum_of_row(dy, at, n, lanes, none, False))
        for j in range(at, at + whole, lanes):
            store(dx, j, fma(exp_below(load(y, j)), less, load(dy, j)))
        if whole < n:
            j, left = at + whole, n - whole
            e = exp_below(load_first(y, j, left, none))
            store_first(dx, j, left, fma(e, less, load_first(dy, j, left, none)))


@inner
def _logsumexp(x, at, n, lanes):  # type: ignore[no-untyped-def]
    """Return ln Σ exp of a row."""
    top = maximum_of_row(x, at, n, lanes, x, 0, False)
    if np.isinf(top):  # all −∞ gives −∞, one +∞ gives +∞; the difference below would be nan
        return top + of_nothing(x, at, n, x, 0, False)
    return top + x.dtype.type(math.log(_sum_of_exp(x, at, n, lanes, top)))


@kernel
def logsumexp(X, LSE, first, last):  # type: ignore[no-untyped-def]
    """LSE = ln Σ exp of each row of X."""
    n, lanes = X.shape[1], lanes_of(X)
    x = memory(X)
    for i in range(first, last):
        LSE[i] = _logsumexp(x, i * n, n, lanes)


@kernel
def cross_entropy(X, target, ignored, Y, LSE, first, last):  # type: ignore[no-untyped-def]
    """Y = ln Σ exp(X) − X[target] of each row; 0 where the target is the ignored one.

    Returns how many rows are not ignored; or −1 − i if row i has a target that is no column.
    """
    n, lanes = X.shape[1], lanes_of(X)
    x, counted = memory(X), 0
    for i in range(first, last):
        t = target[i]
        LSE[i] = Y[i] = 0
        if t != ignored:
            if t < 0 or t >= n:
                return -1 - i
            lse = _logsumexp(x, i * n, n, lanes)
            if lse == np.inf:  # ∞ − ∞, in whichever class it stands: nan, as a softmax has it
                lse = x.dtype.type(np.nan)
            LSE[i], Y[i] = lse, lse - x[i * n + t]
            counted += 1
    return counted


@kernel
def cross_entropy_backward(X, LSE, D, target, ignored, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = D · (exp(X − LSE) − one-hot(target)); 0 in rows whose target is the ignored one.

    Returns 0; or −1 − i if row i has a target that is no column: somebody changed it since.
    """
    n, lanes = X.shape[1], lanes_of(X)
    x, dx = memory(X), memory(DX)
    lowest = x.dtype.type(-np.inf)
    for i in range(first, last):
        at, t = i * n, target[i]
        if t == ignored:
            for j in range(n):
                dx[at + j] = x.dtype.type(0)
            continue
        if t < 0 or t >= n:
            return -1 - i
        shift, scale = splat(LSE[i]), splat(D[i])
        for j in range(0, n, lanes):
            e = exp_below(sub(_get(x, at + j, n - j, lanes, lowest), shift))
            _put(dx, at + j, n - j, lanes, mul(e, scale))
        dx[at + t] -= D[i]
    return 0


@kernel
def layer_norm(X, W, B, eps, Y, MU, RSTD, first, last):  # type: ignore[no-untyped-def]
    """Y = (X − μ) / √(σ² + ε) · W + B, row by row; μ and 1/√(σ² + ε) are kept."""
    n, lanes = X.shape[1], lanes_of(X)
    x, w, b, y = memory(X), memory(W), memory(B), memory(Y)
    none = x.dtype.type(0)
    for i in range(first, last):
        at = i * n
        mu = x.dtype.type(_sum_of_row(x, at, n, lanes, none, False) / n)
        rstd = x.dtype.type(1.0 / math.sqrt(_sum_of_row(x, at, n, lanes, mu, True) / n + eps))
        mus, rstds = splat(mu), splat(rstd)
        for j in range(0, n, lanes):
            d = mul(sub(_get(x, at + j, n - j, lanes, none), mus), rstds)
            scale = _get(w, j, n - j, lanes, none)
            _put(y, at + j, n - j, lanes, fma(d, scale, _get(b, j, n - j, lanes, none)))
        MU[i], RSTD[i] = mu, rstd


@kernel
def layer_norm_backward(DY, X, W, MU, RSTD, DX, DW, DB, first, last):  # type: ignore[no-untyped-def]
    """DX row by row, and the sums DW and DB over the rows from `first` to `last`."""
    n, lanes = X.shape[1], lanes_of(X)
    dy, x, w, dx, dw, db = memory(DY), memory(X), memory(W), memory(DX), memory(DW), memory(DB)
    none = x.dtype.type(0)
    for i in range(first, last):
        at = i * n
        mus, rstds = splat(MU[i]), splat(RSTD[i])
        total, along = splat(none), splat(none)
        for j in range(0, n, lanes):
            grad = _get(dy, at + j, n - j, lanes, none)
            hat = mul(sub(_get(x, at + j, n - j, lanes, none), mus), rstds)
            g = mul(grad, _get(w, j, n - j, lanes, none))
            total, along = add(total, g), fma(g, hat, along)
            _put(dw, j, n - j, lanes, fma(grad, hat, _get(dw, j, n - j, lanes, none)))
            _put(db, j, n - j, lanes, add(grad, _get(db, j, n - j, lanes, none)))
        means = splat(x.dtype.type(sum_of(total) / n))
        alongs = splat(x.dtype.type(sum_of(along) / n))
        for j in range(0, n, lanes):
            hat = mul(sub(_get(x, at + j, n - j, lanes, none), mus), rstds)
            g = mul(_get(dy, at + j, n - j, lanes, none), _get(w, j, n - j, lanes, none))
            _put(dx, at + j, n - j, lanes, mul(sub(sub(g, means), mul(hat, alongs)), rstds))


@kernel
def add_rows(DY, index, DW, first, last):  # type: ignore[no-untyped-def]
    """DW[index] += DY, one row after the other, in the columns from `first` to `last`.

    Returns −1; or the first place in `index` that names no row, and then nothing was added.
    """
    n, rows, lanes = DW.shape[1], len(DW), lanes_of(DW)
    dy, dw, none = memory(DY), memory(DW), DW.dtype.type(0)
    for i in range(len(index)):
        if not -rows <= index[i] < rows:
            return i
    for i in range(len(index)):
        at, to = i * n, (index[i] if index[i] >= 0 else index[i] + rows) * n
        for j in range(first, last, lanes):
            left = last - j
            before = _get(dw, to + j, left, lanes, none)
            _put(dw, to + j, left, lanes, add(before, _get(dy, at + j, left, lanes, none)))
    return -1
