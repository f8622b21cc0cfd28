"""Matrix multiplication, from tiles that live in registers.

C = A · B is computed tile by tile. A tile of C, 6 rows by 4 vectors (by 2, where there are
only 16 registers), stays in registers while k runs::

    for k:  row = B[k, j : j + 4 vectors]              4 loads
            for each of the 6 rows i:
                C[i] += A[i, k] · row                   4 fused multiply-adds

With 16 numbers to a vector that is 384 multiply-adds for 10 loads, so the tile runs
at the speed of the arithmetic units. Where the sizes are not multiples of the tile, the
last rows are taken one by one, or six of which some are not stored; the last columns moved
back until they fill a vector, and computed a second time, to the same bits. Only what is
narrower than a vector needs code of its own.

Along k the sum is taken in blocks of 256, which keeps panels small and rounding errors
too. Small matrices are read where they are. Large ones are cut along k and columns into
panels of B that stay in the second-level cache, copied so that the loads are consecutive
(Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication").
"""

from __future__ import annotations

import math

import numpy as np
from numba.core import types

from .jit import inner, kernel, kernel_with
from .shared import shared
from .simd import (
    VECTORS,
    Memory,
    add,
    fma,
    fma_rows,
    keep,
    lanes_of,
    load,
    load_first,
    load_row,
    memory,
    prefetch,
    read,
    size_of,
    splat,
    splat_row,
    store,
    store_first,
    store_rows,
    transpose,
    transpose_corner,
)

ROWS = 6  # of a tile: 6 × 4 sums, 4 of B and one of A fill 29 of 32 registers
LATENCY = 4  # cycles from one multiply-add to the next that needs it
DEPTH = 256  # of a block along k: 256 rows × 4 vectors of B are 64 kB, of the second-level cache
HEIGHT = 96  # of a block of A
SMALL = 300 * 1024  # elements of B below which it is read in place


@inner
def _tile(A, a, ar, ac, rows, B, b, br, C, c, cr, depth, sums, more):  # type: ignore[no-untyped-def]
    """A tile of C, or its first `rows`, as large as `sums`, which it begins with.

    What is there (`more`) is added at the end: blocks of k are summed by themselves, so that
    errors do not run on.
    """
    if depth > 64:  # by the time that they are to be added to, they have come
        for i in range(rows):
            for j in range(len(sums[0])):
                prefetch(C, c + i * cr + j * lanes_of(C))
    for k in range(depth):
        sums = fma_rows(A, a + k * ac, ar, rows, load_row(B, b + k * br, sums[0]), sums)
    store_rows(C, c, cr, rows, sums, more)


@inner
def _put_first(C, c, columns, row, more):  # type: ignore[no-untyped-def]
    """Store what is narrower than a vector, or add it to what is there."""
    if more:
        row = add(load_first(C, c, columns, C.dtype.type(0)), row)
    store_first(C, c, columns, row)


@inner
def _narrow(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, start, more):  # type: ignore[no-untyped-def]
    """All rows of a C that is narrower than one vector, with masked loads."""
    none = A.dtype.type(0)
    for i in range(0, rows, 4):  # four at a time: none waits for the one before it
        r1, r2, r3 = min(1, rows - 1 - i), min(2, rows - 1 - i), min(3, rows - 1 - i)
        c0 = c1 = c2 = c3 = start
        for k in range(depth):
            row = load_first(B, b + k * br, columns, none)
            p = a + i * ar + k * ac
            c0 = fma(splat(read(A, p)), row, c0)
            c1 = fma(splat(read(A, p + r1 * ar)), row, c1)
            c2 = fma(splat(read(A, p + r2 * ar)), row, c2)
            c3 = fma(splat(read(A, p + r3 * ar)), row, c3)
        to = c + i * cr
        _put_first(C, to, columns, c0, more)
        if r1 == 1:
            _put_first(C, to + cr, columns, c1, more)
        if r2 == 2:
            _put_first(C, to + 2 * cr, columns, c2, more)
        if r3 == 3:
            _put_first(C, to + 3 * cr, columns, c3, more)


@inner
def _stripe(A, a, ar, ac, B, b, br, C, c, cr, rows, depth, start, more):  # type: ignore[no-untyped-def]
    """All rows of C, as wide as `start`."""
    i = 0
    while i < rows:
        left = min(rows - i, ROWS)
        # a row alone waits for each of its sums; six cost a cycle for each of their vectors
        if left * LATENCY <= ROWS * len(start) and left < ROWS:
            left = 1
            _tile(A, a + i * ar, ar, ac, left, B, b, br, C, c + i * cr, cr, depth, (start,), more)
        else:
            # as many as ROWS
            sums = (start, start, start, start, start, start)
            _tile(A, a + i * ar, ar, ac, left, B, b, br, C, c + i * cr, cr, depth, sums, more)
        i += left


@inner
def _begin(bias, j, row, has_bias):  # type: ignore[no-untyped-def]
    """Return what sums begin with: the bias, or zeros, which `row` is."""
    return load_row(bias, j, row) if has_bias else row


def _of_product(number):  # type: ignore[no-untyped-def]
    m, i, yes = Memory(number), types.intp, types.boolean
    return m, i, i, i, m, i, i, m, i, i, i, i, i, m, i, yes, yes


@shared(_of_product)
def product(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, bias, at, has_bias, more):  # type: ignore[no-untyped-def]
    """C (+)= A · B (+ bias, from `at` on) with B's rows consecutive in memory."""
    zero = A.dtype.type(0)
    z = splat(zero)
    lanes = lanes_of(A)
    j = 0
    while columns - j >= VECTORS * lanes:
        start = _begin(bias, at + j, splat_row(z), has_bias)
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, start, more)
        j += VECTORS * lanes
    while columns - j >= 2 * lanes:
        start2 = _begin(bias, at + j, (z, z), has_bias)
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, start2, more)
        j += 2 * lanes
    while columns - j >= lanes or (j < columns and columns >= lanes and not more):
        j = min(j, columns - lanes)
        start1 = _begin(bias, at + j, (z,), has_bias)
        _stripe(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, depth, start1, more)
        j += lanes
    if j < columns:
        left = columns - j
        first = load_first(bias, at + j, left, zero) if has_bias else z
        _narrow(A, a, ar, ac, B, b + j, br, C, c + j, cr, rows, left, depth, first, more)


@inner
def panel_product(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, more):  # type: ignore[no-untyped-def]
    """C (+)= A · B with B's rows consecutive in memory; offsets and strides in elements."""
    product(A, a, ar, ac, B, b, br, C, c, cr, rows, columns, depth, B, b, False, more)


def _of_pack(number):  # type: ignore[no-untyped-def]
    m, i = Memory(number), types.intp
    return m, i, i, i, m, i, i, i, i


@shared(_of_pack)
def pack(B, b, br, bc, panel, to, width, depth, columns):  # type: ignore[no-untyped-def]
    """Copy (depth, columns) to rows of `width` numbers, along whichever axis is consecutive."""
    lanes, none = lanes_of(B), B.dtype.type(0)
    if bc == 1:
        whole = columns - columns % lanes
        for k in range(depth):
            x, y = b + k * br, to + k * width
            for j in range(0, whole, lanes):
                store(panel, y + j, load(B, x + j))
            if whole < columns:
                rest = columns - whole
                store_first(panel, y + whole, rest, load_first(B, x + whole, rest, none))
    elif br == 1:
        for j in range(0, columns, lanes):
            for k in range(0, depth, lanes):
                x, y = b + k + j * bc, to + k * width + j
                high, wide = depth - k, columns - j
                if high >= lanes and wide >= lanes:
                    transpose(B, x, bc, panel, y, width)
                else:
                    transpose_corner(
                        B, x, bc, panel, y, width, min(high, lanes), min(wide, lanes)
                    )  # fmt: skip
    else:
        for k in range(depth):
            for j in range(columns):
                panel[to + k * width + j] = read(B, b + k * br + j * bc)


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


@inner
def _counts(stride, size, n):  # type: ignore[no-untyped-def]
    """Tell whether a stride in bytes is a whole number of elements, where it matters."""
    return n < 2 or stride % size == 0


@kernel_with(product, pack, nogil=True, C=(("A", 0), ("B", 1)))
def matmul(A, B, C, bias, offsets, by_rows, first, last):  # type: ignore[no-untyped-def]
    """C = A · B (+ bias), for one matrix or many of the same shapes and strides.

    Parameters
    ----------
    A, B, C : array
        ``(n, k)``, ``(k, m)``, ``(n, m)``: the first of each. C's rows are consecutive.
    bias : array
        ``(m,)``, added to each row; none if empty.
    offsets : array of int64
        ``(items, 3)``: where each item's A, B and C begin, in elements from the first's. If
        empty there is one item, of which nothing has been checked; then ``(0, most)``, where
        `most` is the work, in products of numbers, from which several threads share it.
    by_rows : bool
        Whether the range is one of rows, of every item; else it is one of items.
    first, last : int
        The range. That one item is taken whole.

    Returns
    -------
    bool
        False if nothing was done, with that one item: the shapes do not fit, there is nothing to
        do, strides cannot be counted in elements, or the work is enough for several threads. So
        a small product needs no checks in Python, which would take longer than it does.
    """
    rows, depth = A.shape
    size = size_of(A)
    b0, b1 = B.strides
    inside, columns = B.shape
    has_bias = len(bias) > 0
    items = len(offsets)
    if items == 0:
        if (
            inside != depth
            or not 0 < rows * depth * columns < offsets.shape[1]
            or (has_bias and (len(bias) != columns or (columns > 1 and bias.strides[0] != size)))
            or not (_counts(A.strides[0], size, rows) and _counts(A.strides[1], size, depth))
            or not (_counts(b0, size, depth) and _counts(b1, size, columns))
        ):
            return False
        items, by_rows, first, last = 1, True, 0, rows
    start, stop = (0, items) if by_rows else (first, last)
    top, bottom = (first, last) if by_rows else (0, rows)
    ar, ac = A.strides[0] // size, A.strides[1] // size
    br, bc, cr = b0 // size, b1 // size, C.strides[0] // size
    am, bm, cm, bias_m = memory(A), memory(B), memory(C), memory(bias)
    small = depth * columns <= SMALL
    copied = not small or (bc != 1 and columns > 1)
    room = np.empty((depth, columns), C.dtype) if copied else C
    panels = memory(room) if copied else bm
    turn = C if small else np.empty((HEIGHT, min(depth, DEPTH)), C.dtype)
    block = am if small else memory(turn)
    highest = bottom - top if small else HEIGHT
    widest = columns if small else VECTORS * lanes_of(A)
    packed = -1
    for item in range(start, stop):
        a = b = c = size - size
        if len(offsets) > 0:
            a, b, c = offsets[item, 0], offsets[item, 1], offsets[item, 2]
        if copied and b != packed:  # a B that the whole batch shares is copied once
            _panels(bm, b, br, bc, panels, depth, columns, widest)
            packed = b
        for k in range(0, depth, DEPTH):
            deep = min(DEPTH, depth - k)
            for i in range(top, bottom, highest):
                high = min(highest, bottom - i)
                at = a + i * ar + k * ac
                a_start, a_row, a_column = (at, ar, ac) if small else (0, deep, 1)
                if not small:
                    pack(am, at, ar, ac, block, a_start, deep, high, deep)
                for j in range(0, columns, widest):
                    wide = min(widest, columns - j)
                    b_start, b_row = (k * columns + j * deep, wide) if copied else (b + k * br, br)
                    product(
                        block, a_start, a_row, a_column,
                        panels, b_start, b_row,
                        cm, c + i * cr + j, cr,
                        high, wide, deep, bias_m, j, has_bias and k == 0, k > 0,
                    )  # fmt: skip
    keep(room), keep(turn)
    return True


@inner
def _column_sums(x, step, rows, columns, y):  # type: ignore[no-untyped-def]
    """Write the sum of each column; rows are `step` apart, and summed in about √rows blocks."""
    lanes, none = lanes_of(x), x.dtype.type(0)
    height = max(64, int(math.sqrt(rows)))
    for block in range(0, rows, height):
        high = min(height, rows - block)
        for j in range(0, columns, lanes):
            left, p = min(columns - j, lanes), block * step + j
            a = b = c = d = splat(none)  # four at a time: none waits for the one before it
            for _ in range(high // 4):
                a = add(a, load_first(x, p, left, none))
                b = add(b, load_first(x, p + step, left, none))
                c = add(c, load_first(x, p + 2 * step, left, none))
                d = add(d, load_first(x, p + 3 * step, left, none))
                p += 4 * step
            for _ in range(high % 4):
                a = add(a, load_first(x, p, left, none))
                p += step
            _put_first(y, j, left, add(add(a, b), add(c, d)), block > 0)


@kernel
def column_sums(X, Y):  # type: ignore[no-untyped-def]
    """Y = Σ X over the rows, which follow each other in memory."""
    rows, columns = X.shape
    if rows == 0:
        Y[:] = 0
    _column_sums(memory(X), columns, rows, columns, memory(Y))


@kernel_with(product)
def linear_gradients(DY, X, W, DX, DW, DB, for_x, for_w, for_b):  # type: ignore[no-untyped-def]
    """DX = DY · W, DW = DYᵀ · X and DB = Σ DY over the rows, as far as they are wanted.

    Returns
    -------
    bool
        False if nothing was done: for shapes that do not fit, work enough to be shared among
        threads, or rows that are not consecutive in memory.
    """
    rows, outs = DY.shape
    ins = X.shape[1]
    size = size_of(DY)
    if (
        X.shape[0] != rows or W.shape[0] != outs or W.shape[1] != ins
        or rows * outs * ins == 0 or max(rows, outs) * ins > SMALL
        or not (_counts(DY.strides[0], size, rows) and _counts(X.strides[0], size, rows))
        or not _counts(W.strides[0], size, outs)
        or (outs > 1 and DY.strides[1] != size)
        or (ins > 1 and (X.strides[1] != size or W.strides[1] != size))
    ):  # fmt: skip
        return False
    dy, x, w, dx, dw, db = memory(DY), memory(X), memory(W), memory(DX), memory(DW), memory(DB)
    step = DY.strides[0] // size
    for which in range(2):
        if which == 0:
            wanted, high, depth, ar, ac = for_x, rows, outs, step, 1
            b, br, c = w, W.strides[0] // size, dx
        else:
            wanted, high, depth, ar, ac = for_w, outs, rows, 1, step
            b, br, c = x, X.strides[0] // size, dw
        if wanted:
            for k in range(0, depth, DEPTH):
                deep = min(DEPTH, depth - k)
                product(
                    dy, k * ac, ar, ac, b, k * br, br, c, 0, ins,
                    high, ins, deep, dy, k, False, k > 0,
                )  # fmt: skip
    if for_b:
        _column_sums(dy, step, rows, outs, db)
    return True
