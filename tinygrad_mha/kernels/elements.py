"""Kernels that work on each number by itself, and the update of the parameters."""

from __future__ import annotations

import math

from .functions import sigmoid
from .jit import inner, kernel
from .simd import (
    LANES32,
    add,
    div,
    fma,
    load,
    load_first,
    memory,
    mul,
    number,
    splat,
    sqrt,
    store,
    store_first,
    sub,
    where_less,
)

_cubic = number(0.044715)
_slope = number(2 * math.sqrt(2 / math.pi))
_three, _one = number(3.0), number(1.0)
_least = number(2.0**-149, 2.0**-1074)  # the smallest numbers above 0


@inner
def _gelu_tanh(x):  # type: ignore[no-untyped-def]
    """x · σ(2u), which is x · (1 + tanh u) / 2, with u = √(2/π) (x + 0.044715 x³)."""
    u2 = mul(_slope(x), mul(x, fma(_cubic(x), mul(x, x), _one(x))))
    return mul(x, sigmoid(u2))


@inner
def _gelu_tanh_slope(x):  # type: ignore[no-untyped-def]
    """σ(2u) + x · σ(2u) · (1 − σ(2u)) · 2u′."""
    square = mul(x, x)
    s = sigmoid(mul(_slope(x), mul(x, fma(_cubic(x), square, _one(x)))))
    inside = mul(_slope(x), fma(mul(_three(x), _cubic(x)), square, _one(x)))
    return fma(mul(x, mul(s, sub(_one(x), s))), inside, s)


@kernel
def gelu_tanh(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = gelu(X) by the tanh formula."""
    lanes, x, y = LANES32 * 4 // X.itemsize, memory(X), memory(Y)
    none = X.dtype.type(0)
    whole = first + (last - first) // lanes * lanes
    for i in range(first, whole, lanes):
        store(y, i, _gelu_tanh(load(x, i)))
    if whole < last:
        rest = last - whole
        store_first(y, whole, rest, _gelu_tanh(load_first(x, whole, rest, none)))


@kernel
def gelu_tanh_backward(DY, X, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY · gelu′(X) by the tanh formula."""
    lanes, dy, x, dx = LANES32 * 4 // X.itemsize, memory(DY), memory(X), memory(DX)
    none = X.dtype.type(0)
    whole = first + (last - first) // lanes * lanes
    for i in range(first, whole, lanes):
        store(dx, i, mul(load(dy, i), _gelu_tanh_slope(load(x, i))))
    if whole < last:
        rest = last - whole
        slope = _gelu_tanh_slope(load_first(x, whole, rest, none))
        store_first(dx, whole, rest, mul(load_first(dy, whole, rest, none), slope))


@kernel
def relu_backward(DY, Y, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY, but 0 where Y ≤ 0; where Y is nan the gradient passes."""
    lanes, dy, y, dx = LANES32 * 4 // Y.itemsize, memory(DY), memory(Y), memory(DX)
    none = Y.dtype.type(0)
    zeros = splat(none)
    whole = first + (last - first) // lanes * lanes
    for i in range(first, whole, lanes):
        above = load(y, i)
        store(dx, i, where_less(above, _least(above), zeros, load(dy, i)))
    if whole < last:
        rest = last - whole
        above = load_first(y, whole, rest, none)
        passed = where_less(above, _least(above), zeros, load_first(dy, whole, rest, none))
        store_first(dx, whole, rest, passed)


@kernel
def erf(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = erf(X), one number at a time: the C library's, to the last digit."""
    for i in range(first, last):
        Y[i] = math.erf(X[i])


@inner
def _adamw(p, g, m, v, keep, rate, b1, b2, c2, root, eps):  # type: ignore[no-untyped-def]
    """Return the new parameter, mean and mean square, a vector each."""
    m = fma(b1, sub(m, g), g)  # β₁ m + (1 − β₁) g
    v = fma(b2, v, mul(c2, mul(g, g)))  # c₂ = 1 − β₂, which float32's β₂ knows to 4 digits only
    step = div(mul(rate, m), add(div(sqrt(v), root), eps))
    return sub(mul(p, keep), step), m, v


@kernel
def adamw(P, G, M, V, keep, rate, beta1, beta2, root, eps):  # type: ignore[no-untyped-def]
    """P ← P · keep − rate · M / (√V / root + eps), after M and V have taken G in."""
    n, lanes = P.size, LANES32 * 4 // P.itemsize
    p, g, m, v = memory(P), memory(G), memory(M), memory(V)
    kind = P.dtype.type
    none = kind(0)
    k, r, b1, b2 = splat(kind(keep)), splat(kind(rate)), splat(kind(beta1)), splat(kind(beta2))
    c2 = splat(kind(1 - beta2))
    ro, e = splat(kind(root)), splat(kind(eps))
    whole = n // lanes * lanes
    for i in range(0, whole, lanes):
        a, b, c = _adamw(load(p, i), load(g, i), load(m, i), load(v, i), k, r, b1, b2, c2, ro, e)
        store(p, i, a)
        store(m, i, b)
        store(v, i, c)
    if whole < n:
        rest = n - whole
        a, b, c = _adamw(
            load_first(p, whole, rest, none),
            load_first(g, whole, rest, none),
            load_first(m, whole, rest, none),
            load_first(v, whole, rest, none),
            k, r, b1, b2, c2, ro, e,
        )  # fmt: skip
        store_first(p, whole, rest, a)
        store_first(m, whole, rest, b)
        store_first(v, whole, rest, c)


@kernel
def sgd(P, G, B, rate, momentum):  # type: ignore[no-untyped-def]
    """P ← P − rate · B, after B ← momentum · B + G; without momentum B is not looked at."""
    n, lanes = P.size, LANES32 * 4 // P.itemsize
    p, g, b = memory(P), memory(G), memory(B)
    kind = P.dtype.type
    none, down, keep = kind(0), splat(kind(-rate)), splat(kind(momentum))
    whole = n // lanes * lanes
    for i in range(0, whole, lanes):
        change = load(g, i)
        if momentum != 0:
            change = fma(keep, load(b, i), change)
            store(b, i, change)
        store(p, i, fma(down, change, load(p, i)))
    if whole < n:
        rest = n - whole
        change = load_first(g, whole, rest, none)
        if momentum != 0:
            change = fma(keep, load_first(b, whole, rest, none), change)
            store_first(b, whole, rest, change)
        store_first(p, whole, rest, fma(down, change, load_first(p, whole, rest, none)))
