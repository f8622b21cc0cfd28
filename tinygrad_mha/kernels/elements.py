"""Kernels that work on each number by itself, the squared error, the update of the parameters."""

from __future__ import annotations

import math

from .functions import erf as erf_of
from .functions import exp_below, halves
from .functions import sigmoid as sigmoid_of
from .jit import inlined, inner, kernel
from .simd import (
    WIDE,
    add,
    div,
    fma,
    lanes_of,
    load,
    load_first,
    load_like,
    memory,
    mul,
    number,
    splat,
    splat_wide,
    sqrt,
    store,
    store_first,
    sub,
    sum_of,
    where_less,
)

# 2u of gelu's tanh formula is x · (linear + cubic · x²)
_linear, _cubic = (number(2 * math.sqrt(2 / math.pi) * c) for c in (1.0, 0.044715))
_three, _half, _minus_half, _zero = map(number, (3.0, 0.5, -0.5, 0.0))
_root_half, _peak = number(math.sqrt(0.5)), number(math.sqrt(0.5 / math.pi))
_least = number(2.0**-149, 2.0**-1074)  # the smallest numbers above 0


@inner
def _gelu_tanh(x):  # type: ignore[no-untyped-def]
    """x · σ(2u), which is x · (1 + tanh u) / 2, with u = √(2/π) (x + 0.044715 x³)."""
    return mul(x, sigmoid_of(mul(x, fma(_cubic(x), mul(x, x), _linear(x)))))


@inner
def _gelu_tanh_slope(x):  # type: ignore[no-untyped-def]
    """σ(2u) + x · σ(2u) · σ(−2u) · 2u′."""
    square = mul(x, x)
    s, other = halves(mul(x, fma(_cubic(x), square, _linear(x))))
    inside = fma(mul(_three(x), _cubic(x)), square, _linear(x))
    return fma(mul(x, mul(s, other)), inside, s)


@inner
def _gelu(x):  # type: ignore[no-untyped-def]
    """x · Φ(x)."""
    return mul(x, _normal(x))


@inner
def _normal(x):  # type: ignore[no-untyped-def]
    """Φ(x) = (1 + erf(x / √2)) / 2, the normal distribution function."""
    return fma(erf_of(mul(x, _root_half(x))), _half(x), _half(x))


@inner
def _gelu_slope(x):  # type: ignore[no-untyped-def]
    """Φ(x) + x · φ(x) with the density φ(x) = e^(−x²/2) / √(2π)."""
    density = mul(exp_below(mul(mul(x, x), _minus_half(x))), _peak(x))
    return fma(x, density, _normal(x))


@inner
def _silu(x):  # type: ignore[no-untyped-def]
    """x · σ(x)."""
    return mul(x, sigmoid_of(x))


@inner
def _silu_slope(x):  # type: ignore[no-untyped-def]
    """σ(x) · (1 + x · σ(−x))."""
    s, other = halves(x)
    return fma(mul(s, other), x, s)


@inner
def _relu_gradient(dy, y):  # type: ignore[no-untyped-def]
    """Return dy, but 0 where y ≤ 0; where y is nan the gradient passes."""
    return where_less(y, _least(y), _zero(y), dy)


@inlined
def _of_each(function, X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = function(X), some vectors at a time, the last one with a mask."""
    x, y, lanes, none = memory(X), memory(Y), lanes_of(X), X.dtype.type(0)
    zeros, i = splat_wide(none), first
    while last - i >= WIDE * lanes:
        store(y, i, function(load_like(x, i, zeros)))
        i += WIDE * lanes
    while last - i >= lanes:
        store(y, i, function(load(x, i)))
        i += lanes
    if i < last:
        store_first(y, i, last - i, function(load_first(x, i, last - i, none)))


@inlined
def _times_each(function, DY, X, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY · function(X): the gradient, from the slope."""
    dy, x, dx, lanes, none = memory(DY), memory(X), memory(DX), lanes_of(X), X.dtype.type(0)
    zeros, i = splat_wide(none), first
    while last - i >= WIDE * lanes:
        store(dx, i, mul(load_like(dy, i, zeros), function(load_like(x, i, zeros))))
        i += WIDE * lanes
    while last - i >= lanes:
        store(dx, i, mul(load(dy, i), function(load(x, i))))
        i += lanes
    if i < last:
        left = last - i
        slope = function(load_first(x, i, left, none))
        store_first(dx, i, left, mul(load_first(dy, i, left, none), slope))


@kernel
def erf(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = erf(X)."""
    _of_each(erf_of, X, Y, first, last)


@kernel
def sigmoid(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = σ(X)."""
    _of_each(sigmoid_of, X, Y, first, last)


@kernel
def silu(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = X · σ(X)."""
    _of_each(_silu, X, Y, first, last)


@kernel
def silu_backward(DY, X, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY · silu′(X)."""
    _times_each(_silu_slope, DY, X, DX, first, last)


@kernel
def gelu(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = X · Φ(X)."""
    _of_each(_gelu, X, Y, first, last)


@kernel
def gelu_backward(DY, X, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY · gelu′(X)."""
    _times_each(_gelu_slope, DY, X, DX, first, last)


@kernel
def gelu_tanh(X, Y, first, last):  # type: ignore[no-untyped-def]
    """Y = gelu(X) by the tanh formula."""
    _of_each(_gelu_tanh, X, Y, first, last)


@kernel
def gelu_tanh_backward(DY, X, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY · gelu′(X) by the tanh formula."""
    _times_each(_gelu_tanh_slope, DY, X, DX, first, last)


@kernel
def relu_backward(DY, Y, DX, first, last):  # type: ignore[no-untyped-def]
    """DX = DY, but 0 where Y ≤ 0; where Y is nan the gradient passes."""
    lanes, dy, y, dx = lanes_of(Y), memory(DY), memory(Y), memory(DX)
    none = Y.dtype.type(0)
    whole = first + (last - first) // lanes * lanes
    for i in range(first, whole, lanes):
        store(dx, i, _relu_gradient(load(dy, i), load(y, i)))
    if whole < last:
        rest = last - whole
        passed = _relu_gradient(load_first(dy, whole, rest, none), load_first(y, whole, rest, none))
        store_first(dx, whole, rest, passed)


@kernel
def squared_error(X, T, D, scale):  # type: ignore[no-untyped-def]
    """D = scale · (X − T); returns Σ (X − T)², added up in blocks: errors do not run on."""
    n, lanes = X.size, lanes_of(X)
    x, t, d = memory(X), memory(T), memory(D)
    none, factor, total = X.dtype.type(0), splat(X.dtype.type(scale)), 0.0
    for first in range(0, n, 32 * lanes):
        last, part = min(first + 32 * lanes, n), splat(none)
        whole = first + (last - first) // lanes * lanes
        for i in range(first, whole, lanes):
            apart = sub(load(x, i), load(t, i))
            part = fma(apart, apart, part)
            store(d, i, mul(apart, factor))
        if whole < last:
            rest = last - whole
            apart = sub(load_first(x, whole, rest, none), load_first(t, whole, rest, none))
            part = fma(apart, apart, part)
            store_first(d, whole, rest, mul(apart, factor))
        total += sum_of(part)
    return total


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
    n, lanes = P.size, lanes_of(P)
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
    n, lanes = P.size, lanes_of(P)
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
