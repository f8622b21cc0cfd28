"""y = exp(x) / Σ exp(x) of each row, in five steps."""

import math

import numpy as np

from tinygrad_mha.kernels.functions import exp_below
from tinygrad_mha.kernels.simd import LANES32 as LANES
from tinygrad_mha.kernels.simd import (
    add,
    load,
    load_row,
    max_of,
    mul,
    splat,
    store,
    sub,
    sum_of,
    where_less,
)

from . import compiled

WIDE = 4 * LANES


def softmax_formula(X, Y):
    rows, n = X.shape
    for i in range(rows):
        top = X[i, 0]
        for j in range(n):
            top = max(top, X[i, j])
        total = 0.0
        for j in range(n):
            Y[i, j] = math.exp(X[i, j] - top)
            total += Y[i, j]
        for j in range(n):
            Y[i, j] /= total


softmax_compiled = compiled(softmax_formula)


@compiled
def softmax_online(X, Y):
    rows, n = X.shape
    for i in range(rows):
        top, total = -math.inf, 0.0
        for j in range(n):
            x = X[i, j]
            if x > top:
                total *= math.exp(top - x)
                top = x
            total += math.exp(x - top)
        for j in range(n):
            Y[i, j] = math.exp(X[i, j] - top) / total


@compiled
def larger(a, b):
    return where_less(a, b, b, a)


@compiled
def exp_of_row(X, at, n, top, Y):
    tops, total = splat(top), splat(np.float32(0))
    for j in range(at, at + n, LANES):
        e = exp_below(sub(load(X, j), tops))
        total = add(total, e)
        store(Y, j, e)
    return sum_of(total)


@compiled
def max_of_row(X, at, n):
    top = load(X, at)
    for j in range(at + LANES, at + n, LANES):
        top = larger(top, load(X, j))
    return max_of(top)


@compiled
def scale_row(Y, at, n, factor):
    factors = splat(factor)
    for j in range(at, at + n, LANES):
        store(Y, j, mul(load(Y, j), factors))


@compiled
def softmax_vectors(X, Y):
    rows, n = X.shape
    for i in range(rows):
        total = exp_of_row(X, i * n, n, max_of_row(X, i * n, n), Y)
        scale_row(Y, i * n, n, np.float32(1) / total)


@compiled
def softmax_online_vectors(X, Y):
    rows, n = X.shape
    lowest = splat(np.float32(-np.inf))
    for i in range(rows):
        tops, totals = lowest, splat(np.float32(0))
        for j in range(i * n, (i + 1) * n, WIDE):
            a, b, c, d = load_row(X, j, (lowest, lowest, lowest, lowest))
            higher = larger(tops, larger(larger(a, b), larger(c, d)))
            totals = mul(totals, exp_below(sub(tops, higher)))
            totals = add(totals, add(exp_below(sub(a, higher)), exp_below(sub(b, higher))))
            totals = add(totals, add(exp_below(sub(c, higher)), exp_below(sub(d, higher))))
            tops = higher
        top = max_of(tops)
        share = splat(np.float32(1) / sum_of(mul(totals, exp_below(sub(tops, splat(top))))))
        for j in range(i * n, (i + 1) * n, LANES):
            store(Y, j, mul(exp_below(sub(load(X, j), splat(top))), share))
