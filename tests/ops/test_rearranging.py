"""Reductions, shapes and indices, written once and run on tensors of ours and of PyTorch."""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.engine import REGISTRY
from tinygrad_mha.nn import functional

INF, NAN = float("inf"), float("nan")


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return require.module("torch")


def leaf(values: Any, dtype: Any = np.float64) -> tm.Tensor:
    return tm.Tensor(np.asarray(values, dtype), True)


def flat(result: Any) -> list[Any]:
    """Every tensor of a result that may be a nest of tuples."""
    return [y for x in result for y in flat(x)] if isinstance(result, tuple | list) else [result]


def agree(torch: ModuleType, function: Callable[..., Any], *arrays: Any) -> None:
    """Values, dtypes, and gradients of gradients, of one function on two libraries."""
    arrays = tuple(np.asarray(a) for a in arrays)
    ours = [tm.Tensor(a.copy(), a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    got, expected = flat(function(tm, *ours)), flat(function(torch, *theirs))
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-12)
        assert a.shape == tuple(b.shape)
        assert a.dtype.name == str(b.dtype).removeprefix("torch.")
        assert a.requires_grad == b.requires_grad
    floating = [i for i, a in enumerate(got) if a.requires_grad]
    if not floating:
        return

    def twice(values: Any, inputs: Any, grad: Any) -> tuple[Any, Any]:
        total = sum((values[i] ** 3).sum() for i in floating)
        wanted = [t for t in inputs if t.requires_grad]
        first = grad(total, wanted, create_graph=True, allow_unused=True)
        squares = sum((g * g).sum() for g in first if g is not None)
        return first, grad(squares, wanted, allow_unused=True)

    for a, b in zip(
        flat(twice(got, ours, tm.autograd.grad)),
        flat(twice(expected, theirs, torch.autograd.grad)),
        strict=True,
    ):
        zero = np.zeros(())
        left = zero if a is None else a.data
        right = zero if b is None else b.numpy(force=True)
        np.testing.assert_allclose(*np.broadcast_arrays(left, right), rtol=1e-8, atol=1e-12)


A = np.random.default_rng(0).uniform(-2, 2, (3, 4, 2))
B = np.random.default_rng(1).uniform(-2, 2, (3, 4, 2))
M = A[:, :, 0]
V = A[0, :, 1]
I2 = np.array([[2, 0, 1, 1], [0, 0, 2, 1]])
I1 = np.array([2, 0, 0])

#: What both libraries write alike: a function of (library, tensors), and the tensors.
ALIKE: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    # reductions
    ("sum dtype", lambda m, x: m.sum(x, 0, dtype=getattr(m, "float32", np.float32)), (I2,)),
    ("sum of bools", lambda m, x: x.sum(), (M > 0,)),
    ("sum of ()", lambda m, x: x.sum(dim=()), (M,)),
    ("var", lambda m, x: m.var(x, 1, correction=0), (A,)),
    ("var older", lambda m, x: m.var(x, False), (A,)),
    ("var method", lambda m, x: x.var((0, 2), keepdim=True), (A,)),
    ("std older", lambda m, x: x.std(1, False, True), (A,)),
    ("var_mean", lambda m, x: m.var_mean(x, dim=-1), (A,)),
    ("std_mean", lambda m, x: m.std_mean(x, dim=(0, 1), correction=2), (A,)),
    ("prod zeros", lambda m, x: m.prod(x, 0), ([[2.0, 0.0, 0.0], [3.0, 4.0, 0.0]],)),
    ("prod of all, a zero", lambda m, x: m.prod(x), ([[2.0, 0.0], [3.0, 4.0]],)),
    ("prod of all, zeros", lambda m, x: m.prod(x), ([[2.0, 0.0], [3.0, 0.0]],)),
    ("prod int", lambda m, x: m.prod(x, 1), (I2,)),
    ("cumprod", lambda m, x: m.cumprod(x, 1), (M,)),
    ("cumprod zeros", lambda m, x: m.cumprod(x, 0), ([2.0, 0.0, 3.0, 0.0, 4.0],)),
    ("cumsum int", lambda m, x: x.cumsum(-1), (I2,)),
    ("cummax", lambda m, x: m.cummax(x, 0), ([1.0, 3.0, 3.0, 2.0, NAN, 5.0],)),
    ("cummin", lambda m, x: m.cummin(x, 1), (M,)),
    ("amin ties", lambda m, x: x.amin((0, 1)), ([[1.0, 1.0], [3.0, 1.0]],)),
    ("aminmax", lambda m, x: m.aminmax(x, dim=1, keepdim=True), (M,)),
    ("max()", lambda m, x: x.max(), ([1.0, 3.0, 3.0],)),
    ("max(dim)", lambda m, x: x.max(0), ([1.0, 3.0, 3.0],)),
    ("max(dim) nan", lambda m, x: m.max(x, 0), ([1.0, NAN, 3.0],)),
    ("min(dim) keepdim", lambda m, x: m.min(x, 1, keepdim=True), (A,)),
    ("min 0-d", lambda m, x: m.min(x, 0), (1.5,)),
    ("argmin", lambda m, x: (m.argmin(x), m.argmin(x, 1, True)), (M,)),
    ("any all", lambda m, x: (x.any(), x.all(0), x.any((0, 1)), x.all(dim=())), (M > 0,)),
    ("count_nonzero", lambda m, x: (m.count_nonzero(x), m.count_nonzero(x, 1)), (I2,)),
    ("logsumexp", lambda m, x: x.logsumexp((0, 1), True), (M,)),
    ("norms", lambda m, x: tuple(m.norm(x, p, 1) for p in (1, 2, 3, -1, INF, -INF)), (M,)),
    ("norm fro", lambda m, x: m.norm(x, dim=(0, 1)), (M,)),
    ("median", lambda m, x: (x.median(), x.median(1)), (M,)),
    ("median ties", lambda m, x: x.median(), ([2.0, 1.0, 2.0, 5.0, 2.0],)),
    ("nansum", lambda m, x: (m.nansum(x, 0), m.nanmean(x, 1)), ([[1.0, NAN], [NAN, 2.0]],)),
    # shapes
    ("unflatten", lambda m, x: x.unflatten(1, (2, -1)), (M,)),
    (
        "squeeze",
        lambda m, x: (x.squeeze(), x.squeeze(0), x.squeeze((0, -1))),
        (M[None, :, :1],),
    ),
    ("movedim", lambda m, x: m.movedim(x, (0, 1), (-1, 0)), (A,)),
    ("swapaxes t", lambda m, x: (m.swapaxes(x, 0, 1), m.t(x), x.T, x.mT), (M,)),
    ("broadcast", lambda m, x, y: m.broadcast_tensors(x, y), (M, 2.0)),
    ("expand_as", lambda m, x, y: x.expand_as(y), (M[:, :1], M)),
    ("repeat tile", lambda m, x: (x.repeat(2, 1, 2), x.tile(2), m.tile(x, (2, 1))), (M,)),
    ("repeat none", lambda m, x: x.repeat(0, 1), (I2,)),
    ("interleave", lambda m, x, n: m.repeat_interleave(x, n, 0), (M, [0, 2, 1])),
    ("interleave flat", lambda m, x: m.repeat_interleave(x, 2), (M,)),
    ("flip", lambda m, x: (x.flip(0, 1), m.flip(x, (-1,)), m.fliplr(x), m.flipud(x)), (M,)),
    ("roll", lambda m, x: (x.roll(2), m.roll(x, (1, -1), (0, 1))), (M,)),
    ("cat dtypes", lambda m, x, y: m.cat([x, y]), (V, np.array([1, 2]))),
    ("cat of (0,)", lambda m, x, y: m.cat([x, y], 1), (M, np.zeros(0))),
    ("stacks", lambda m, x, y: (m.stack([x, y], -1), m.hstack([x, y]), m.vstack([x, y])), (V, V)),
    ("hstack", lambda m, x: m.hstack((x, x)), (1.5,)),
    ("split", lambda m, x: (m.split(x, 3, 1), x.split([1, 2])), (M,)),
    ("chunk", lambda m, x: (x.chunk(3, 1), m.chunk(x, 2)), (M,)),
    ("tensor_split", lambda m, x: (m.tensor_split(x, 3, 1), x.tensor_split((1, -1), 1)), (M,)),
    ("unbind", lambda m, x: x.unbind(1), (M,)),
    ("tri", lambda m, x: (x.tril(-1), m.triu(x, 1)), (M,)),
    ("tri of inf", lambda m, x: x.tril(), ([[1.0, INF], [NAN, 1.0]],)),
    ("diagonal", lambda m, x: (x.diagonal(1, 0, 1), m.diagonal(x, -1, 2, 1)), (A,)),
    ("diag", lambda m, x: (m.diag(x), m.diag(x, -2), m.diag(m.diag(x), 0)), (V,)),
    ("diag_embed", lambda m, x: m.diag_embed(x, 1, 0, 2), (M,)),
    ("narrow", lambda m, x: (m.narrow(x, 1, 1, 2), x.narrow(0, -2, 1)), (M,)),
    ("select", lambda m, x: x.select(1, -1), (A,)),
    # reading and writing
    ("gather", lambda m, x, i: m.gather(x, 0, i), (M, I2)),
    ("gather 0-d", lambda m, x, i: x.gather(0, i), (1.5, [0, 0])),
    ("scatter", lambda m, x, i, s: m.scatter(x, 0, i, s), (M, [[0, 2, 1, 1]], M[1:2])),
    ("scatter value", lambda m, x, i: x.scatter(0, i, 0.5), (M, I2)),
    ("scatter add", lambda m, x, i, s: x.scatter_add(0, i, s), (M, I2, M[1:])),
    ("scatter multiply", lambda m, x, i: x.scatter(0, i, 2, reduce="multiply"), (I2, I2 // 2)),
    *(
        (
            f"scatter {how} {own}",
            lambda m, x, i, s, how=how, own=own: m.scatter_reduce(
                x, 0, i, s, how, include_self=own
            ),
            (M, I2, B[1:, :, 0]),
        )
        for how in ("sum", "mean", "amax", "amin", "prod")
        for own in (True, False)
    ),
    ("index_select", lambda m, x, i: m.index_select(x, 1, i), (A, I1)),
    ("index_add", lambda m, x, i, s: m.index_add(x, 0, i, s, alpha=2), (M, I1, M)),
    ("index_copy", lambda m, x, i, s: x.index_copy(0, i, s), (M, [2, 0], M[:2])),
    ("index_fill", lambda m, x, i, v: x.index_fill(1, i, v), (M, [2, 3, 2], 0.5)),
    ("index_put", lambda m, x, i, v: m.index_put(x, (i,), v), (M, [2, 0], M[:2])),
    ("index_put +", lambda m, x, i, v: x.index_put((i, i), v, accumulate=True), (M, I1, 1.5)),
    ("take", lambda m, x, i: m.take(x, i), (M, [[0, -1], [5, 5]])),
    ("take_along", lambda m, x, i: m.take_along_dim(x, i, 1), (M, [[3], [0], [0]])),
    ("take_along wide", lambda m, x, i: m.take_along_dim(x, i, 0), (M[:, :1], I2)),
    ("masked_select", lambda m, x, k: m.masked_select(x, k), (M, M[0] > 0)),
    ("masked_scatter", lambda m, x, k, s: x.masked_scatter(k, s), (M, M > 0, B)),
    # order
    ("sort", lambda m, x: (x.sort(0), m.sort(x, descending=True, stable=True)), (M,)),
    ("sort nan", lambda m, x: m.sort(x, descending=True), ([1.0, NAN, 3.0, -INF],)),
    ("stable", lambda m, x: m.sort(x, stable=True, descending=True), ([1.0, 0.0, 1.0, 0.0],)),
    ("topk", lambda m, x: (m.topk(x, 2), x.topk(2, 0, largest=False)), (M,)),
    ("kthvalue", lambda m, x: (m.kthvalue(x, 2), x.kthvalue(3, 0, True)), (M,)),
    ("argsort", lambda m, x: (m.argsort(x), x.argsort(0, True), m.msort(x)), (M,)),
    # counting
    ("nonzero", lambda m, x: (x.nonzero(), m.nonzero(x, as_tuple=True), m.argwhere(x)), (I2,)),
    ("nonzero 0-d", lambda m, x: (m.nonzero(x), m.nonzero(x, as_tuple=True)), (np.array(3),)),
    ("unique", lambda m, x: m.unique(x, return_inverse=True, return_counts=True), (I2,)),
    ("unique dim", lambda m, x: m.unique(x, return_inverse=True, dim=0), (I1[:, None],)),
    ("searchsorted", lambda m, x, v: m.searchsorted(x, v, right=True), (np.sort(V), V)),
    ("bucketize", lambda m, x, v: m.bucketize(x, v, out_int32=True), (I2, [0, 1])),
    ("bincount", lambda m, x: (m.bincount(x, minlength=5), m.bincount(x, x)), (I1,)),
]


@pytest.mark.parametrize(("function", "arrays"), [c[1:] for c in ALIKE], ids=[c[0] for c in ALIKE])
def test_values_and_gradients_are_torchs(
    function: Callable[..., Any], arrays: tuple[Any, ...], torch: ModuleType
) -> None:
    with np.errstate(all="ignore"):
        agree(torch, function, *arrays)


PADDING = [
    ((1, 2), "constant", 0.5),
    ((-1, 2, 0, -1), "constant", 0.0),
    ((2, 1), "reflect", None),
    ((2, 1, 1, 3), "replicate", None),
    ((3, 1, 0, 2), "circular", None),
    ((-1, 1), "circular", None),
]


@pytest.mark.parametrize(("pad", "mode", "value"), PADDING)
def test_padding(pad: Any, mode: str, value: Any, torch: ModuleType) -> None:
    libraries = {tm: functional, torch: torch.nn.functional}
    x = A[None].transpose(0, 2, 1, 3)[..., :2].repeat(2, -1)
    if len(pad) == 2:
        x = x[0]
    agree(torch, lambda m, x: libraries[m].pad(x, pad, mode, value), x)


# -- indexing --------------------------------------------------------------------------------

KEEP = np.array([True, False, True])
INDICES: list[Any] = [
    0, -1, (0, 1, 1), (), ..., None, (None, 0), (..., 0), (0, ..., None, 1),
    slice(1, None), (slice(None), slice(None, None, 2)), slice(5, 9), slice(2, 1),
    [0, 2], np.array([0, 2]), np.array(1), (np.array(1), slice(None), [0, 1]),
    KEEP, (KEEP, 0), (slice(None), np.array([True, False, False, True])), M > 0, (M > 0, 1),
    (0, slice(None), [1, 0]), ([0, 1], slice(None), [1, 0]), (slice(None), [1, 0], [1, 1]),
    (None, [0, 1], slice(1, 3)), ([0, 1], None, [1, 3]), (..., [1, 0]), ([0], 1, ..., None),
    True, False, (True, 0), np.array(True), (slice(None), None, np.array([[1], [2]])),
    [], np.zeros((0, 2), int), np.array([False, False, False]), ([-1, 0], [-1, -4]),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_torchs(index: Any, torch: ModuleType) -> None:
    def read(m: Any, x: Any) -> Any:
        make = tm.Tensor if m is tm else torch.from_numpy
        items = index if isinstance(index, tuple) else (index,)
        made = tuple(make(i) if isinstance(i, np.ndarray) else i for i in items)
        return x[made if isinstance(index, tuple) else made[0]]

    agree(torch, read, A)


OUT_OF_RANGE: list[Any] = [
    3, -4, (0, 4), (0, 0, 0, 0), [3], [[-4]], (slice(None), [4]), np.array([True, False]),
    (..., np.ones((2, 2), bool)), [0.5], 0.5, "a", ([0, 1], [0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize("index", OUT_OF_RANGE, ids=str)
def test_a_wrong_index_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError, match=r"index|getitem"):
        tm.Tensor(A)[index]


def test_a_negative_step_reads_backwards() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x[::-1]
    assert y.tolist() == [3, 2, 1]
    (y * tm.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [100, 10, 1]


# -- views -----------------------------------------------------------------------------------

VIEWS: dict[str, Callable[[tm.Tensor], Any]] = {
    "int": lambda x: x[0],
    "element": lambda x: x[0, 1, 1],
    "slice": lambda x: x[:, 1:3],
    "ellipsis": lambda x: x[...],
    "none": lambda x: x[None],
    "reshape": lambda x: x.reshape(2, -1),
    "view": lambda x: x.view(24),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x.squeeze(),
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "mT": lambda x: x.mT,
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(2, 1),
    "diagonal": lambda x: x.diagonal(1),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "contiguous": lambda x: x.contiguous(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_memory(name: str) -> None:
    x = tm.Tensor(A.copy())
    y = VIEWS[name](x)
    assert np.shares_memory(x.data, y.data)
    y.data[...] = 7.0
    assert (x.data == 7).sum() == y.data.size


COPIES: dict[str, Callable[[tm.Tensor], Any]] = {
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "tril": lambda x: x.tril(),
    "array": lambda x: x[[0, 1, 2]],
    "mask": lambda x: x[tm.Tensor(np.ones(3, bool))],
    "index_select": lambda x: x.index_select(0, tm.arange(3)),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "cat": lambda x: tm.cat([x]),
    "contiguous": lambda x: x.mT.contiguous(),
    "sum of nothing": lambda x: x.unsqueeze(0).sum(0),
    "pad": lambda x: tm.pad(x, (0, 0)),
    "cumsum": lambda x: x[:1].cumsum(0),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_shares_none(name: str) -> None:
    x = tm.Tensor(A.copy())
    assert not np.shares_memory(x.data, COPIES[name](x).data)


# -- at the edges ------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, INF])
def test_the_gradient_of_a_norm_is_0_at_0(p: float) -> None:
    x = leaf(np.zeros((2, 3)))
    tm.norm(x, p, dim=1).sum().backward()
    assert (x.grad.data == 0).all()


def test_the_gradient_of_std_is_0_where_nothing_differs() -> None:
    x = leaf(np.ones(3))
    x.std().backward()
    assert x.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("correction", [3, 4])
def test_variance_of_too_few(correction: int, torch: ModuleType) -> None:
    x, y = leaf([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0], requires_grad=True).double()
    y.retain_grad()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of it
        out, expected = x.var(correction=correction), y.var(correction=correction)
        out.backward()
        expected.backward()
    np.testing.assert_array_equal(out.data, expected.detach().numpy())
    np.testing.assert_array_equal(x.grad.data, y.grad.numpy())


def test_logsumexp_of_nothing_and_of_infinities() -> None:
    with np.errstate(all="ignore"):
        rows = tm.logsumexp(tm.Tensor(np.array([[-INF, -INF], [INF, 0.0], [1e4, 1e4]])), 1)
        assert tm.logsumexp(tm.zeros(0, 2), 0).tolist() == [-INF, -INF]
    assert rows.tolist() == [-INF, INF, 1e4 + np.log(2)]


def test_products_that_underflow_have_exact_gradients() -> None:
    x = leaf([1e-200, 1e-200, 3.0])
    x.prod().backward()
    assert x.grad.tolist() == [3e-200, 3e-200, 0.0]


def test_the_padding_row_of_an_embedding_gets_no_gradient() -> None:
    for create_graph in (False, True):
        table = leaf(np.ones((3, 2)))
        y = functional.embedding(tm.tensor([0, 2, 2]), table, padding_idx=-1)
        (dtable,) = tm.autograd.grad(y.sum(), table, create_graph=create_graph)
        assert dtable.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_one_hot() -> None:
    assert tm.one_hot(tm.tensor([[1], [0]])).tolist() == [[[0, 1]], [[1, 0]]]
    assert tm.one_hot(tm.tensor([1]), 3).tolist() == [[0, 1, 0]]


# -- what is refused ---------------------------------------------------------------------------

X, Z, N = tm.Tensor(M), tm.tensor(1.0), tm.tensor([0, 1])
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "sum": (lambda: X.sum((0, -2)), ValueError, "twice"),
    "mean of ints": (N.mean, TypeError, "convert"),
    "var of ints": (N.var, TypeError, "floating"),
    "norm of ints": (N.norm, TypeError, "floating"),
    "norm nuc": (lambda: X.norm("nuc"), ValueError, "fro"),
    "var twice": (lambda: X.var(0, True, correction=0), TypeError, "not both"),
    "max of nothing": (lambda: tm.zeros(0).max(), IndexError, "no elements"),
    "max dim": (lambda: X.max(2), IndexError, "out of range"),
    "cumsum dim": (lambda: X.cumsum(2), IndexError, "cumsum: dim 2"),
    "median dim": (lambda: X.median(2), IndexError, "out of range"),
    "kthvalue": (lambda: X.kthvalue(5), ValueError, "4 elements"),
    "topk": (lambda: X.topk(5), ValueError, "4 elements"),
    "sort": (lambda: X.sort(2), IndexError, "out of range"),
    "reshape": (lambda: X.reshape(-2, 3), ValueError, "at least 0"),
    "view": (lambda: X.view(5), ValueError, "reshape"),
    "expand": (lambda: X.expand(4), ValueError, "place"),
    "expand new": (lambda: X.expand(-1, 3, 4), ValueError, "keeps a size"),
    "broadcast": (lambda: tm.broadcast_tensors(X, N), ValueError, "do not broadcast"),
    "flatten": (lambda: X.flatten(1, 0), ValueError, "after"),
    "unflatten": (lambda: X.unflatten(1, (3, -1)), ValueError, "multiply"),
    "squeeze": (lambda: X.squeeze((0, 0)), ValueError, "twice"),
    "movedim": (lambda: X.movedim((0, 1), 0), ValueError, "pair"),
    "t": (lambda: tm.zeros(1, 2, 3).t(), RuntimeError, "two axes"),
    "cat": (lambda: tm.cat([X, 1.0]), TypeError, "tensors"),
    "cat nothing": (lambda: tm.cat([]), ValueError, "at least one"),
    "stack": (lambda: tm.stack([X, Z]), ValueError, "differ"),
    "stack nothing": (lambda: tm.stack([]), ValueError, "at least one"),
    "split": (lambda: X.split([1, 1]), ValueError, "add up to 3"),
    "split size": (lambda: X.split(0), ValueError, "split_size"),
    "split 0-d": (lambda: Z.split(1), ValueError, "0-d"),
    "chunk": (lambda: X.chunk(0), ValueError, "at least 1"),
    "chunk 0-d": (lambda: Z.chunk(1), ValueError, "0-d"),
    "tensor_split": (lambda: X.tensor_split(0), ValueError, "at least 1"),
    "tensor_split 0-d": (lambda: Z.tensor_split(1), ValueError, "0-d"),
    "unbind": (Z.unbind, IndexError, "0-d"),
    "repeat": (lambda: X.repeat(2), ValueError, "each of 2 axes"),
    "interleave": (lambda: X.repeat_interleave(N, 0), ValueError, "size 3"),
    "interleave < 0": (lambda: X.repeat_interleave(-1), ValueError, "negative"),
    "interleave float": (lambda: X.repeat_interleave(Z), TypeError, "integers"),
    "flip": (lambda: X.flip(0, -2), ValueError, "twice"),
    "fliplr": (Z.fliplr, ValueError, "two axes"),
    "flipud": (Z.flipud, ValueError, "0-d"),
    "roll": (lambda: X.roll((1, 2)), ValueError, "dims"),
    "roll pairs": (lambda: X.roll((1, 2), 0), ValueError, "pair"),
    "roll 0-d": (lambda: Z.roll(1, 0), IndexError, "0-d"),
    "tril": (N.tril, ValueError, "two axes"),
    "diagonal": (lambda: X.diagonal(0, 1, -1), ValueError, "same axis"),
    "diag": (lambda: tm.zeros(1, 2, 3).diag(), ValueError, "vector or a matrix"),
    "diag_embed": (lambda: X.diag_embed(0, 0, 0), ValueError, "same axis"),
    "diag_embed 0-d": (Z.diag_embed, ValueError, "0-d"),
    "narrow": (lambda: X.narrow(1, 3, 2), ValueError, "size 4"),
    "narrow start": (lambda: X.narrow(1, 5, 0), IndexError, "out of range"),
    "narrow tensor": (lambda: X.narrow(1, N, 1), TypeError, "one integer"),
    "narrow 0-d": (lambda: Z.narrow(0, 0, 1), ValueError, "0-d"),
    "select": (lambda: X.select(1, 4), IndexError, "getitem"),
    "select 0-d": (lambda: Z.select(0, 0), IndexError, "0-d"),
    "pad": (lambda: tm.pad(X, (1,)), ValueError, "two numbers"),
    "pad reflect": (lambda: tm.pad(X, (4, 0), "reflect"), ValueError, "reflect"),
    "pad circular": (lambda: tm.pad(X, (5, 0), "circular"), ValueError, "circular"),
    "pad replicate": (lambda: tm.pad(tm.zeros(0), (1, 0), "replicate"), ValueError, "replicate"),
    "pad mode": (lambda: tm.pad(X, (1, 0), "mirror"), ValueError, "'reflect'"),
    "pad value": (lambda: tm.pad(X, (1, 0), "reflect", 1.0), ValueError, "no value"),
    "gather": (lambda: X.gather(0, tm.tensor([[3]])), IndexError, "gather: index 3"),
    "gather < 0": (lambda: X.gather(0, tm.tensor([[-1]])), IndexError, "index -1"),
    "gather axes": (lambda: X.gather(0, N), ValueError, "as many axes"),
    "gather size": (lambda: X.gather(1, tm.zeros(4, 1).long()), ValueError, "does not fit"),
    "gather dtype": (lambda: X.gather(0, X), TypeError, "integers"),
    "scatter": (lambda: X.scatter(0, tm.tensor([[3]]), 1.0), IndexError, "scatter: index 3"),
    "scatter nothing": (lambda: X.scatter(0, tm.tensor([[1]])), TypeError, "src or value"),
    "scatter how": (lambda: X.scatter(0, N, 1.0, reduce="max"), ValueError, "'add'"),
    "scatter dtype": (lambda: X.scatter_add(0, tm.tensor([[1]]), tm.ones(1, 1)), TypeError, "src"),
    "scatter small": (lambda: X.scatter(1, tm.tensor([[1, 1]]), X[:, :1]), ValueError, "smaller"),
    "scatter axes": (lambda: X.scatter(1, tm.tensor([[1, 1]]), X[0]), ValueError, "do not fit"),
    "reduce how": (
        lambda: X.scatter_reduce(0, tm.tensor([[1]]), X, "max"), ValueError, "'amax'"
    ),
    "index_select": (lambda: X.index_select(0, tm.tensor([3])), IndexError, "index 3"),
    "index_select 2-d": (lambda: X.index_select(0, N[None]), ValueError, "one-dimensional"),
    "index_add": (lambda: X.index_add(0, N, X), ValueError, r"expected \(2, 4\)"),
    "index_add dtype": (lambda: X.index_add(0, N, X[:2].float()), TypeError, "float32"),
    "index_fill": (lambda: X.index_fill(0, N, X), ValueError, "one number"),
    "take": (lambda: X.take(tm.tensor([12])), IndexError, "12 elements"),
    "take_along": (lambda: X.take_along_dim(N, 0), ValueError, "as many axes"),
    "mask": (lambda: X.masked_select(N), TypeError, "bool"),
    "mask shape": (lambda: X.masked_select(N > 0), ValueError, "does not broadcast"),
    "masked_scatter": (lambda: X.masked_scatter(X < 9, X[0]), ValueError, "12 True"),
    "masked_scatter dtype": (lambda: X.masked_scatter(X < 9, X.float()), TypeError, "float32"),
    "one_hot": (lambda: tm.one_hot(tm.tensor([3]), 3), IndexError, "class 3"),
    "one_hot float": (lambda: tm.one_hot(X), TypeError, "integers"),
    "one_hot empty": (lambda: tm.one_hot(tm.zeros(0).long()), ValueError, "give it"),
    "one_hot classes": (lambda: tm.one_hot(N, 0), ValueError, "at least 1"),
    "bincount": (lambda: tm.bincount(tm.tensor([-1])), ValueError, "negative"),
    "bincount float": (lambda: tm.bincount(X), TypeError, "integers"),
    "bincount weights": (lambda: tm.bincount(N, X), ValueError, "weights"),
    "searchsorted": (lambda: tm.searchsorted(X, X[:2]), ValueError, "leading"),
    "searchsorted side": (lambda: tm.searchsorted(N, N, side="up"), ValueError, "'left'"),
    "searchsorted both": (
        lambda: tm.searchsorted(N, N, side="left", right=True), ValueError, "contradict"
    ),
    "bucketize": (lambda: tm.bucketize(X, X), ValueError, "1-d"),
    "embedding": (lambda: tm.embedding(X, N, 3), IndexError, "padding_idx 3"),
    "embedding 3-d": (lambda: tm.embedding(tm.zeros(1, 1, 1), N), ValueError, "num_embeddings"),
    "index with grad": (lambda: X[leaf([0.0])], TypeError, "cannot be an index"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_the_zeroth_norm_counts_and_has_no_slope() -> None:
    x = leaf([[0.0, 2.0, -1.0]])
    y = tm.norm(x, 0, dim=1)
    assert y.tolist() == [2]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 0]]


def test_a_nested_list_is_one_index() -> None:
    assert tm.Tensor(A)[[[0], [2]]].shape == (2, 1, 4, 2)


def test_of_two_tensors_max_and_min_are_elementwise() -> None:
    if "maximum" not in REGISTRY:
        pytest.skip("there is no maximum yet")
    a, b = tm.tensor([1.0, 5.0]), tm.tensor([3.0, 4.0])
    assert tm.max(a, b).tolist() == a.max(other=b).tolist() == [3, 5]
    assert tm.min(a, b).tolist() == [1, 4]
