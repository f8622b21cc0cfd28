"""C = A · B in five steps; the limit that they approach."""

import numpy as np

from tinygrad_mha.kernels.simd import LANES32 as LANES
from tinygrad_mha.kernels.simd import (
    add,
    fma_row,
    load,
    load_row,
    read,
    splat,
    store,
    store_row,
    sum_of,
)

from . import compiled


@compiled
def multiply_add(x, times):
    """Do nothing but multiply and add, 24 vectors at a time, from registers."""
    zero = splat(x[0])
    row = c0 = c1 = c2 = c3 = c4 = c5 = (zero, zero, zero, zero)
    for _ in range(times):
        c0, c1 = fma_row(x[0], row, c0), fma_row(x[0], row, c1)
        c2, c3 = fma_row(x[0], row, c2), fma_row(x[0], row, c3)
        c4, c5 = fma_row(x[0], row, c4), fma_row(x[0], row, c5)
    total = zero
    for c in (c0, c1, c2, c3, c4, c5):
        total = add(total, add(add(c[0], c[1]), add(c[2], c[3])))
    return sum_of(total)


def matmul_formula(A, B, C):
    rows, depth = A.shape
    columns = B.shape[1]
    for i in range(rows):
        for j in range(columns):
            total = 0.0
            for k in range(depth):
                total += A[i, k] * B[k, j]
            C[i, j] = total


matmul_compiled = compiled(matmul_formula)

BLOCK = 128


@compiled
def matmul_blocked(A, B, C):
    rows, depth = A.shape
    columns = B.shape[1]
    C[:] = 0
    for k0 in range(0, depth, BLOCK):
        for j0 in range(0, columns, BLOCK):
            for i in range(rows):
                for k in range(k0, min(k0 + BLOCK, depth)):
                    a, b, c = A[i, k], B[k, j0 : j0 + BLOCK], C[i, j0 : j0 + BLOCK]
                    for j in range(len(c)):
                        c[j] += a * b[j]


ROWS, VECTORS = 6, 4
WIDE = VECTORS * LANES


@compiled
def tile(A, a, ar, ac, B, b, br, C, c, cr, depth):
    zero = splat(np.float32(0))
    like = (zero, zero, zero, zero)
    c0, c1 = load_row(C, c, like), load_row(C, c + cr, like)
    c2, c3 = load_row(C, c + 2 * cr, like), load_row(C, c + 3 * cr, like)
    c4, c5 = load_row(C, c + 4 * cr, like), load_row(C, c + 5 * cr, like)
    for k in range(depth):
        row = load_row(B, b + k * br, like)
        p = a + k * ac
        c0 = fma_row(read(A, p), row, c0)
        c1 = fma_row(read(A, p + ar), row, c1)
        c2 = fma_row(read(A, p + 2 * ar), row, c2)
        c3 = fma_row(read(A, p + 3 * ar), row, c3)
        c4 = fma_row(read(A, p + 4 * ar), row, c4)
        c5 = fma_row(read(A, p + 5 * ar), row, c5)
    store_row(C, c, c0)
    store_row(C, c + cr, c1)
    store_row(C, c + 2 * cr, c2)
    store_row(C, c + 3 * cr, c3)
    store_row(C, c + 4 * cr, c4)
    store_row(C, c + 5 * cr, c5)


@compiled
def tiles(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth):
    for j in range(0, columns, WIDE):
        for i in range(0, rows, ROWS):
            tile(A, a + i * ar, ar, ac, B, b + j, br, C, c + i * cr + j, cr, depth)


@compiled
def matmul_tiled(A, B, C):
    rows, depth = A.shape
    columns = B.shape[1]
    C[:] = 0
    tiles(A, 0, depth, 1, B, 0, columns, C, 0, columns, rows, columns, depth)


DEPTH, HEIGHT = 256, 96


@compiled
def pack_panels(B, k0, deep, panels):
    for j0 in range(0, B.shape[1], WIDE):
        for k in range(deep):
            for v in range(0, WIDE, LANES):
                at = (k0 + k) * B.shape[1] + j0 + v
                store(panels, j0 * deep + k * WIDE + v, load(B, at))


@compiled
def pack_block(A, i0, high, k0, deep, block):
    for i in range(0, high, ROWS):
        for r in range(ROWS):
            for k in range(deep):
                block[i * deep + k * ROWS + r] = A[i0 + i + r, k0 + k]


@compiled
def matmul_packed(A, B, C):
    rows, depth = A.shape
    columns = B.shape[1]
    panels = np.empty(DEPTH * columns, np.float32)
    block = np.empty(HEIGHT * DEPTH, np.float32)
    C[:] = 0
    for k0 in range(0, depth, DEPTH):
        deep = min(DEPTH, depth - k0)
        pack_panels(B, k0, deep, panels)
        for i0 in range(0, rows, HEIGHT):
            high = min(HEIGHT, rows - i0)
            pack_block(A, i0, high, k0, deep, block)
            for j in range(0, columns, WIDE):
                for i in range(0, high, ROWS):
                    c = (i0 + i) * columns + j
                    tile(block, i * deep, 1, ROWS, panels, j * deep, WIDE, C, c, columns, deep)
