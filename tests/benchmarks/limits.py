"""What the machine can do at most: multiply-adds from registers, copies from memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np

from tinygrad_mha.kernels.simd import LANES32, add, fma_row, splat, sum_of

from .timing import Work, alternate


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _multiply_add(x: np.ndarray, times: int) -> float:
    """Keep 24 sums in registers, more than the arithmetic units have in flight."""
    z = splat(x[0])
    row = (z, z, z, z)
    c0 = c1 = c2 = c3 = c4 = c5 = row
    for _ in range(times):
        c0, c1 = fma_row(x[0], row, c0), fma_row(x[0], row, c1)
        c2, c3 = fma_row(x[0], row, c2), fma_row(x[0], row, c3)
        c4, c5 = fma_row(x[0], row, c4), fma_row(x[0], row, c5)
    total = z
    for c in (c0, c1, c2, c3, c4, c5):
        total = add(total, add(add(c[0], c[1]), add(c[2], c[3])))
    return sum_of(total)


def _by_threads(work: Work, threads: int) -> Work:
    """Do the same in several threads at once."""
    if threads == 1:
        return work
    pool = ThreadPoolExecutor(threads)
    return lambda: [done.result() for done in [pool.submit(work) for _ in range(threads)]]


def peak(threads: int, seconds: float = 1.0) -> float:
    """Operations a second of the multiply-add units, in float32: two for each lane."""
    times = 200_000
    spin = partial(_multiply_add, np.full(1, 1e-3, np.float32), times)
    spin()  # compiles
    taken = alternate([_by_threads(spin, threads)], seconds, threads)[0]
    return threads * times * 24 * LANES32 * 2 / taken


def copy_of(array: np.ndarray, threads: int) -> Work:
    """Copy an array, by threads where that is worth their start."""
    to = np.empty_like(array)
    if threads == 1 or array.nbytes < 2**20:
        return partial(np.copyto, to, array)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(to, threads), np.array_split(array, threads), strict=True))
    return lambda: [done.result() for done in [pool.submit(np.copyto, *part) for part in parts]]
