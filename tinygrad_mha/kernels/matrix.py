"""Matrix multiplication, from tiles that live in registers.

C = A · B is computed tile by tile. A tile of C, 6 rows by up to 4 vectors, stays in
registers while k runs::

    for k:  row = B[k, j : j + 4 vectors]              4 loads
            for each of the 6 rows i:
                C[i] += A[i, k] · row                   4 fused multiply-adds

With 16 numbers to a vector that is 384 multiply-adds for 10 loads, so the tile runs
at the speed of the arithmetic units. Where the sizes are not multiples of the tile, the
last tile is moved back until it fits and computes some elements a second time, to the
same bits, or where it adds leaves them alone: no separate code for edges, but for matrices
lower than a tile or narrower than one vector.

Along k the sum is taken in blocks of 256, which keeps panels small and rounding errors
too. Small matrices are read where they are. Large ones are cut along k and columns into
panels of B that stay in the second-level cache, copied so that the loads are consecutive
(Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication").
"""

from __future__ import annotations

import numpy as np

from .jit import inner, kernel
from .simd import (
    LANES32,
    fma,
    fma_row,
    load,
    load_first,
    load_row,
    memory,
    read,
    splat,
    store,
    store_first,
    store_row,
    transpose,
)
from .simd import add as simd_add

ROWS = 6  # of a tile: 6 × 4 sums, 4 of B and one of A fill 29 of 32 registers
VECTORS = 4
DEPTH = 256  # of a block along k: 256 rows × 4 vectors of B are 64 kB, of the second-level cache
HEIGHT = 96  # of a block of A
SMALL = 32 * 1024  # elements of B below which it is read in place


@inner
def _put_row(C, c, row, add):  # type: ignore[no-untyped-def]
    """Store a row of vectors, or add it to what is there.

    At the end: blocks of k are summed by themselves, so that errors do not run on.
    """
    if add:
        row = fma_row(C.dtype.type(1), load_row(C, c, row), row)
    store_row(C, c, row)


@inner
def _tile6(A, a, ar, ac, B, b, br, C, c, cr, depth, zero, add, skip):  # type: ignore[no-untyped-def]
    """Six rows of C, as wide as `zero`: C[…] = (C[…] if add) + A[…] · B[…].

    The first `skip` rows have been added to before, and are left as they are.
    """
    c0 = c1 = c2 = c3 = c4 = c5 = zero
    for k in range(depth):
        row = load_row(B, b + k * br, zero)
        p = a + k * ac
        c0 = fma_row(read(A, p), row, c0)
        c1 = fma_row(read(A, p + ar), row, c1)
        c2 = fma_row(read(A, p + 2 * ar), row, c2)
        c3 = fma_row(read(A, p + 3 * ar), row, c3)
        c4 = fma_row(read(A, p + 4 * ar), row, c4)
        c5 = fma_row(read(A, p + 5 * ar), row, c5)
    if skip < 1:
        _put_row(C, c, c0, add)
    if skip < 2:
        _put_row(C, c + cr, c1, add)
    if skip < 3:
        _put_row(C, c + 2 * cr, c2, add)
    if skip < 4:
        _put_row(C, c + 3 * cr, c3, add)
    if skip < 5:
        _put_row(C, c + 4 * cr, c4, add)
    _put_row(C, c + 5 * cr, c5, add)


@inner
def _tile1(A, a, ac, B, b, br, C, c, depth, zero, add):  # type: ignore[no-untyped-def]
    """One row of C, as wide as `zero`, for matrices with fewer than six."""
    total = zero
    for k in range(depth):
        total = fma_row(read(A, a + k * ac), load_row(B, b + k * br, zero), total)
    _put_row(C, c, total, add)


@inner
def _put_first(C, c, columns, row, add):  # type: ignore[no-untyped-def]
    """Store what is narrower than a vector, or add it to what is there."""
    if add:
        row = simd_add(load_first(C, c, columns, C.dtype.type(0)), row)
    store_first(C, c, columns, row)


@inner
def _narrow(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, add):  # type: ignore[no-untyped-def]
    """All rows of a C that is narrower than one vector, with masked loads."""
    none = A.dtype.type(0)
    for i in range(0, rows, 4):  # four at a time: none waits for the one before it
        # below the last row there is none: it is taken once more, and not stored
        r1, r2, r3 = min(1, rows - 1 - i), min(2, rows - 1 - i), min(3, rows - 1 - i)
        c0 = c1 = c2 = c3 = splat(none)
        for k in range(depth):
            row = load_first(B, b + k * br, columns, none)
            p = a + i * ar + k * ac
            c0 = fma(splat(read(A, p)), row, c0)
            c1 = fma(splat(read(A, p + r1 * ar)), row, c1)
            c2 = fma(splat(read(A, p + r2 * ar)), row, c2)
            c3 = fma(splat(read(A, p + r3 * ar)), row, c3)
        to = c + i * cr
        _put_first(C, to, columns, c0, add)
        if r1 == 1:
            _put_first(C, to + cr, columns, c1, add)
        if r2 == 2:
            _put_first(C, to + 2 * cr, columns, c2, add)
        if r3 == 3:
            _put_first(C, to + 3 * cr, columns, c3, add)


@inner
def _stripe(A, a, ar, ac, B, b, br, C, c, cr, rows, depth, zero, add):  # type: ignore[no-untyped-def]
    """All rows of C, as wide as `zero`."""
    if rows < ROWS:
        for i in range(rows):
            _tile1(A, a + i * ar, ac, B, b, br, C, c + i * cr, depth, zero, add)
        return
    for start in range(0, rows, ROWS):
        i = min(start, rows - ROWS)
        skip = start - i if add else 0
        _tile6(A, a + i * ar, ar, ac, B, b, br, C, c + i * cr, cr, depth, zero, add, skip)


@inner
def panel_product(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, add):  # type: ignore[no-untyped-def]
    """C (+)= A · B with B's rows consecutive in memory; offsets and strides in elements."""
    z = splat(A.dtype.type(0))
    lanes = LANES32 * 4 // A.itemsize
    j = 0
    while columns - j >= VECTORS * lanes:
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, (z, z, z, z), add)
        j += VECTORS * lanes
    while columns - j >= 2 * lanes:
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, (z, z), add)
        j += 2 * lanes
    while columns - j >= lanes or (j < columns and columns >= lanes and not add):
        j = min(j, columns - lanes)
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, (z,), add)
        j += lanes
    if j < columns:
        _narrow(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, columns - j, depth, add)


@inner
def _copy(B, b, br, bc, panel, to, width, k0, k1, j0, j1):  # type: ignore[no-untyped-def]
    """Copy some rows and columns, one number after the other."""
    for k in range(k0, k1):
        for j in range(j0, j1):
            panel[to + k * width + j] = read(B, b + k * br + j * bc)


@inner
def pack(B, b, br, bc, panel, to, width, depth, columns):  # type: ignore[no-untyped-def]
    """Copy (depth, columns) to rows of `width` numbers, along whichever axis is consecutive."""
    lanes = LANES32 * 4 // B.itemsize
    right, below = columns - columns % lanes, 0
    if bc == 1:
        below = depth
        for k in range(depth):
            for j in range(0, right, lanes):
                store(panel, to + k * width + j, load(B, b + k * br + j))
    elif br == 1:
        below = depth - depth % lanes
        for j in range(0, right, lanes):
            for k in range(0, below, lanes):
                transpose(B, b + k + j * bc, bc, panel, to + k * width + j, width)
    # what is left at the right, and below
    _copy(B, b, br, bc, panel, to, width, 0, below, right, columns)
    _copy(B, b, br, bc, panel, to, width, below, depth, 0, columns)


@inner
def _panels(B, b, br, bc, panels, depth, columns, width):  # type: ignore[no-untyped-def]
    """Copy all of B: for each block of k, for each stripe of columns, one panel."""
    for k in range(0, depth, DEPTH):
        deep = min(DEPTH, depth - k)
        for j in range(0, columns, width):
            wide = min(width, columns - j)
            pack(
                B, b + k * br + j * bc, br, bc, panels, k * columns + j * deep, wide, deep, wide
            )  # fmt: skip


@kernel
def matmul(A, B, C, bias, has_bias, offsets, first, last):  # type: ignore[no-untyped-def]
    """C = A · B (+ bias), for one matrix or many of the same shapes and strides.

    Parameters
    ----------
    A, B, C : array
        ``(n, k)``, ``(k, m)``, ``(n, m)``: the first of each. C's rows are consecutive.
    bias : array
        ``(m,)``, added to each row if `has_bias`.
    offsets : array of int64
        ``(items, 3)``: where each item's A, B and C begin, in elements from the first's.
    first, last : int
        Which items to compute.
    """
    rows, depth = A.shape
    columns = B.shape[1]
    size = A.itemsize
    ar, ac = A.strides[0] // size, A.strides[1] // size
    br, bc, cr = B.strides[0] // size, B.strides[1] // size, C.strides[0] // size
    am, bm, cm, bias_m = memory(A), memory(B), memory(C), memory(bias)
    small = depth * columns <= SMALL
    copied = not small or (bc != 1 and columns > 1)
    panels = np.empty(depth * columns, B.dtype) if copied else bm
    block = am if small else np.empty(HEIGHT * min(depth, DEPTH), B.dtype)
    highest = rows if small else HEIGHT
    widest = columns if small else VECTORS * LANES32 * 4 // size
    packed = -1
    for item in range(first, last):
        a, b, c = offsets[item, 0], offsets[item, 1], offsets[item, 2]
        if has_bias:
            pack(bias_m, 0, 0, bias.strides[0] // size, cm, c, cr, rows, columns)
        if copied and b != packed:  # a B that the whole batch shares is copied once
            _panels(bm, b, br, bc, panels, depth, columns, widest)
            packed = b
        for k in range(0, depth, DEPTH):
            deep = min(DEPTH, depth - k)
            for i in range(0, rows, highest):
                high = min(highest, rows - i)
                a_start, a_row, a_column = a + i * ar + k * ac, ar, ac
                if not small:
                    pack(am, a + i * ar + k * ac, ar, ac, block, 0, deep, high, deep)
                    a_start, a_row, a_column = 0, deep, 1
                for j in range(0, columns, widest):
                    wide = min(widest, columns - j)
                    b_start, b_row = (k * columns + j * deep, wide) if copied else (b + k * br, br)
                    panel_product(
                        block, a_start, a_row, a_column,
                        panels, b_start, b_row,
                        cm, c + i * cr + j, cr,
                        high, wide, deep, has_bias or k > 0,
                    )  # fmt: skip
