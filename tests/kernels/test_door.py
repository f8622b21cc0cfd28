"""The way from Python into a kernel: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_mha import kernels
from tinygrad_mha.kernels import elements, matrix, products, rows
from tinygrad_mha.kernels.backend import QUICK
from tinygrad_mha.kernels.door import open_door
from tinygrad_mha.kernels.ready import kernel_for

if kernels.backend() == "numpy":
    pytest.skip("the NumPy backend has no compiled kernels", allow_module_level=True)

FLOAT = np.dtype(np.float32)
NONE, ALONE = np.zeros(0, FLOAT), np.empty((0, 2**50), np.int64)


@pytest.fixture
def column_sums() -> Callable[..., Any]:
    """Takes an array with any strides, (rows, columns), and one to write into, (columns,)."""
    return kernel_for(matrix.column_sums, FLOAT)


@pytest.fixture
def product() -> Callable[..., Any]:
    return kernel_for(matrix.matmul, FLOAT, "making")


def readonly(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((np.ones((2, 3), FLOAT),), "number of arguments"),
        ((), "number of arguments"),
        ((np.ones((2, 3), FLOAT), np.ones(3, FLOAT), 1), "number of arguments"),
        (([[1.0, 2.0]], np.ones(2, FLOAT)), "type of X"),
        ((None, np.ones(2, FLOAT)), "type of X"),
        ((np.ones((2, 3)), np.ones(3, FLOAT)), "array X"),
        ((np.ones((2, 3), np.int32), np.ones(3, FLOAT)), "array X"),
        ((np.ones((2, 3), ">f4"), np.ones(3, FLOAT)), "array X"),
        ((np.ones(3, FLOAT), np.ones(3, FLOAT)), "array X"),
        ((np.ones((2, 3), FLOAT), np.ones((1, 3), FLOAT)), "array Y"),
        ((np.ones((2, 3), FLOAT), np.ones(6, FLOAT)[::2]), "array Y"),
        ((np.ones((2, 3), FLOAT), readonly(np.ones(3, FLOAT))), "array Y"),
    ],
)
def test_what_does_not_fit_is_refused(
    column_sums: Callable[..., Any], given: tuple[Any, ...], what: str
) -> None:
    with pytest.raises(TypeError, match=f"column_sums: wrong {what}"):
        column_sums(*given)


def test_numbers_are_checked_as_well() -> None:
    x = np.ones(4, FLOAT)
    with pytest.raises(TypeError):
        kernel_for(elements.erf, FLOAT)(x, x, None, 4)


def test_arrays_of_all_kinds_are_taken(column_sums: Callable[..., Any], tmp_path: Any) -> None:
    x = np.arange(12, dtype=FLOAT).reshape(4, 3)
    stored = np.memmap(tmp_path / "x", FLOAT, "w+", shape=x.shape)
    stored[:] = x
    for kind in (x, readonly(x.copy()), stored, np.asfortranarray(x).copy("C"), x[:, :].view()):
        y = np.zeros(3, np.dtype("f4", copy=True))
        column_sums(kind, y)
        np.testing.assert_array_equal(y, [18, 22, 26])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (7, 5), (300, 200)])
def test_a_result_is_made(product: Callable[..., Any], shape: tuple[int, int], rng: Any) -> None:
    a = rng.standard_normal(shape).astype(FLOAT)
    made = product(a, a.T, NONE, ALONE, True, 0, 0)
    if a.size == 0:
        assert made is None  # declined: nothing to do
        return
    assert type(made) is np.ndarray
    assert (made.dtype, made.shape) == (FLOAT, 2 * shape[:1])
    assert all(made.flags[name] for name in ("OWNDATA", "C_CONTIGUOUS", "WRITEABLE"))
    np.testing.assert_allclose(made, a @ a.T, rtol=1e-4, atol=1e-4)


class Sub(np.ndarray):
    """What `@` of another class makes is for that class to say."""


@pytest.mark.parametrize(
    "other",
    [
        np.ones((4, 3), FLOAT), np.ones((3, 4)), np.ones(3, FLOAT), np.ones((1, 3, 4), FLOAT),
        [[1.0] * 4] * 3, 2.0, None, np.ones((3, 4), FLOAT).view(Sub),
    ],
    ids=["shape", "float64", "1d", "3d", "list", "number", "None", "subclass"],
)  # fmt: skip
def test_what_does_not_fit_is_declined(product: Callable[..., Any], other: Any) -> None:
    x = np.ones((2, 3), FLOAT)
    assert product(x, other, NONE, ALONE, True, 0, 0) is None


def test_nothing_is_kept_and_nothing_is_lost(product: Callable[..., Any]) -> None:
    a, b = np.ones((20, 30), FLOAT), np.ones((30, 20), FLOAT)
    wrong = np.ones((9, 9), FLOAT)
    counts = [sys.getrefcount(x) for x in (a, b, wrong, None, FLOAT)]
    for _ in range(1000):
        product(a, b, NONE, ALONE, True, 0, 0)
        product(a, wrong, NONE, ALONE, True, 0, 0)
    tracemalloc.start()
    for _ in range(1000):
        product(a, b, NONE, ALONE, True, 0, 0)
        product(a, wrong, NONE, ALONE, True, 0, 0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1600  # of a thousand results not one, which has 1600 bytes
    after = [sys.getrefcount(x) for x in (a, b, wrong, None, FLOAT)]
    assert all(abs(x - y) < 10 for x, y in zip(counts, after, strict=True))
    made = product(a, b, NONE, ALONE, True, 0, 0)
    assert sys.getrefcount(made) <= 2  # of them one is the call's own


def test_other_threads_run_while_there_is_much_to_do() -> None:
    """Only then: with the lock, this thread would count nothing until the kernel returns."""
    n = 10**7
    x, y = np.zeros(n, FLOAT), np.empty(n, FLOAT)
    run = kernel_for(elements.erf, FLOAT)
    run(x[:1], y[:1], 0, 1)
    begun, counted, done = threading.Event(), [], threading.Event()

    def work() -> None:
        begun.set()
        try:
            run(x, y, 0, n)
        finally:
            done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1)  # nobody is asked to give the lock away so soon: it is given, or not
    try:
        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        while not done.is_set():
            counted.append(1)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(counted) > 100


def test_what_is_written_to_must_be_writeable(rng: Any) -> None:
    q = rng.standard_normal((2, 5, 4))
    out, lse = kernels.attention(q, q, q, scale=0.5)
    into = tuple(np.full((1, 2, 5, 4), np.nan) for _ in range(3))
    readonly(into[1])
    four = [x[None] for x in (q, q, q, q, out, lse)]
    with pytest.raises(TypeError, match="DK"):
        kernels.attention_backward(*four, scale=0.5, into=into)
    assert np.isnan(into[1]).all()


def test_there_are_no_doors_but_those_that_were_built() -> None:
    kernel_for(matrix.column_sums, FLOAT)
    (code,) = (c for c in matrix.column_sums.overloads.values() if "float32" in str(c.signature))
    with pytest.raises(LookupError, match="together"):
        open_door(code, "together")


def test_products_with_a_bias_find_the_short_way(monkeypatch: pytest.MonkeyPatch, rng: Any) -> None:
    kernels.set_num_threads(kernels.get_num_threads())  # forgets what is quick
    x, w, b = (rng.standard_normal(shape).astype(FLOAT) for shape in ((2, 3), (4, 3), (4,)))
    wanted = kernels.linear(x, w, b)
    assert FLOAT in QUICK["numba"]
    monkeypatch.setattr(products, "backend_for", None)  # there is no other way
    np.testing.assert_array_equal(kernels.linear(x, w, b), wanted)
    np.testing.assert_array_equal(kernels.matmul(x, w.T, bias=b), wanted)


def test_kernels_have_no_other_way_in() -> None:
    x = np.ones((1, 2), FLOAT)
    for kernel in (rows.logsumexp, matrix.product.dispatcher):
        with pytest.raises(TypeError, match="kernel_for"):
            kernel(x, x[0], 0, 1)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 2, 3)])
def test_gradients_of_attention_are_written_where_they_are_wanted(
    lead: tuple[int, ...], rng: Any
) -> None:
    q, k, v, dout = (rng.standard_normal((*lead, 5, 4)) for _ in range(4))
    out, lse = kernels.attention(q, k, v, scale=0.5)
    wanted = kernels.attention_backward(dout, q, k, v, out, lse, scale=0.5)
    for step in (1, 2):
        into = tuple(np.full((*lead, 5, 4 * step), np.nan)[..., ::step] for _ in range(3))
        found = kernels.attention_backward(dout, q, k, v, out, lse, scale=0.5, into=into)
        for a, b, c in zip(found, into, wanted, strict=True):
            assert a is b
            np.testing.assert_allclose(b, c, rtol=1e-12, atol=1e-12)
