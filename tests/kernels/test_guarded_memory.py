"""No kernel reads or writes outside of its arrays: beside each lies memory that nobody may touch.

Vectors are loaded and stored by address, where no bounds are checked. So a process is started in
which every array that a kernel gets or fills ends, or begins, at a protected page; whoever goes
one element further ends that process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")

GUARD = """
import ctypes, mmap, sys
import numpy as np

PAGE, at_end = mmap.PAGESIZE, sys.argv[1] == "end"
libc = ctypes.CDLL(None, use_errno=True)

def guarded(shape, dtype):
    dtype, shape = np.dtype(dtype), (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape)) * dtype.itemsize
    inside = max(1, -(-size // PAGE)) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + inside):
        assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
    offset = PAGE + (inside - size if at_end else 0)
    return np.frombuffer(memory, dtype, size // dtype.itemsize, offset).reshape(shape)

def like(values):
    copy = guarded(values.shape, values.dtype)
    copy[...] = values
    return copy
"""

WORK = """
from tinygrad_mha import kernels
from tinygrad_mha.kernels import compiled

class Guarded:
    def __getattr__(self, name):
        return getattr(np, name)
    empty = zeros = staticmethod(lambda shape, dtype=float: like(np.zeros(shape, dtype)))

rng, done = np.random.default_rng(0), 0
compiled.np = Guarded()
for dtype in (np.float32, np.float64):
    def make(*shape):
        return like(rng.standard_normal(shape).astype(dtype))
    for n, k, m in [(1, 1, 1), (2, 3, 5), (6, 16, 64), (7, 9, 17), (13, 70, 65), (100, 300, 130),
                    (96, 256, 192), (5, 33, 31), (4, 260, 7), (190, 400, 210)]:
        a, b, bias = make(n, k), make(k, m), make(m)
        for x in (a, make(k, n).T):
            for y in (b, make(m, k).T):
                compiled.matmul(x, y, bias)  # the short way would make the result elsewhere
                compiled.matmul(x, y)
        x, w = make(n, k), make(m, k)
        kernels.linear_gradients(kernels.linear(x, w, bias), x, w)
        kernels.matmul(make(3, n, k), make(3, k, m))
        done += 1
    for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 300):
        x, dy, mask = make(5, n), make(5, n), like(rng.random((5, n)) < 0.7)
        kernels.softmax_backward(dy, compiled.softmax(x))
        kernels.softmax(x, -1, mask)
        kernels.softmax(x, 0)
        kernels.logsumexp(x)
        target = like(rng.integers(0, n, 5))
        loss, lse, _ = kernels.cross_entropy(x, target)
        kernels.cross_entropy_backward(make(5), x, lse, target)
        y, mu, rstd = kernels.layer_norm(x, make(n), make(n), 1e-5)
        kernels.layer_norm_backward(dy, x, make(n), mu, rstd)
        kernels.gelu(x), kernels.gelu(x, True)
        kernels.relu_backward(dy, x), kernels.squared_error(x, dy, 2.0)
        kernels.adamw_step([(make(n), make(n), make(n), like(np.ones(n, dtype)))], lr=0.1,
                           beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0, step=1)
        done += 1
    for L, S, p, deep in [(1, 1, 1, 1), (3, 5, 4, 7), (16, 16, 8, 8), (17, 33, 16, 12),
                          (96, 384, 32, 32), (97, 385, 31, 33), (200, 500, 64, 16)]:
        q, k, v, dout = make(2, L, p), make(2, S, p), make(2, S, deep), make(2, L, deep)
        for extra in ({}, {"mask": like(rng.random((L, S)) < 0.7)}, {"bias": make(L, S)},
                      {"causal": True}):
            out, lse = kernels.attention(q, k, v, scale=0.5, **extra)
            kernels.attention_backward(dout, q, k, v, out, lse, scale=0.5, **extra)
            kernels.attention_weights(q, k, scale=0.5, **extra)
        done += 1
print(done)
"""

BEYOND = """
from tinygrad_mha.kernels import simd
import numba
beyond = numba.njit(lambda x, i: simd.sum_of(simd.load(x, i)))
x = like(np.ones(64, np.float32))
whole = len(x) - simd.LANES32 if at_end else 0
assert beyond(x, whole) == simd.LANES32
print("inside", flush=True)
beyond(x, whole + 1 if at_end else -1)
print("beyond", flush=True)
"""


def _run(code: str, side: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", GUARD + code, side],
        capture_output=True, text=True, check=False, cwd=root, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize("side", ["end", "beginning"])
def test_kernels_stay_inside_their_arrays(side: str) -> None:
    done = _run(WORK, side)
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"
    assert done.stdout.split() == ["68"]


@pytest.mark.parametrize("side", ["end", "beginning"])
def test_one_element_further_would_end_the_process(side: str) -> None:
    done = _run(BEYOND, side)
    assert done.stdout.split() == ["inside"], done.stderr
    assert done.returncode == -signal.SIGSEGV
