"""NumPy, DLPack and einops on our tensors: nothing copied that need not be, no gradient lost."""

from __future__ import annotations

from typing import Any

import einops
import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require


def leaf(*shape: int) -> tm.Tensor:
    return tm.Tensor(np.random.default_rng(0).uniform(0.2, 1.0, shape), True)


# -- NumPy ----------------------------------------------------------------------------------

CALLS: dict[str, Any] = {
    "sum": np.sum,
    "sum-axis": lambda x: np.sum(x, axis=1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=(0, -1)),
    "max": lambda x: np.max(x, axis=0),
    "amin": lambda x: np.amin(x, 1),
    "prod": lambda x: np.prod(x, axis=-1),
    "var": lambda x: np.var(x, axis=1),
    "std": lambda x: np.std(x, ddof=1),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "concatenate": lambda x: np.concatenate([x, x * 2], axis=1),
    "stack": lambda x: np.stack([x, x * 2], axis=1),
    "transpose": np.transpose,
    "transpose-axes": lambda x: np.transpose(x, (1, 0)),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "reshape": lambda x: np.reshape(x, (4, 3)),
    "where": lambda x: np.where(np.ones((3, 4), bool), x, 0.0),
    "clip": lambda x: np.clip(x, 0.4, 0.6),
    "dot": lambda x: np.dot(x, np.ones((4, 2))),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "tile": lambda x: np.tile(x, (2, 1)),
    "flip": lambda x: np.flip(x, (0,)),
    "tril": np.tril,
    "exp": np.exp,
    "multiply": lambda x: np.arange(4.0) * x,
    "matmul": lambda x: np.ones((2, 3)) @ x,
}


@pytest.mark.parametrize("name", CALLS)
def test_numpys_functions_give_tensors_with_gradients(name: str) -> None:
    x = leaf(3, 4)
    out = CALLS[name](x)
    assert isinstance(out, tm.Tensor)
    assert out.requires_grad
    np.testing.assert_allclose(out.data, CALLS[name](x.data), rtol=1e-12)
    assert tm.autograd.gradcheck(CALLS[name], [x])


def test_what_has_no_gradient_is_refused_rather_than_cut_off() -> None:
    x = leaf(3, 3)
    with pytest.raises(TypeError, match=r"numpy\.linalg\.inv: has no gradient.*detach"):
        np.linalg.inv(x)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(x)
    found = np.linalg.inv(x.detach())
    assert isinstance(found, tm.Tensor)
    np.testing.assert_allclose(found.data, np.linalg.inv(x.data))
    values, counts = np.unique(tm.tensor([1, 2, 1]), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 2], [2, 1])


def test_arrays_are_shared_not_copied() -> None:
    x = tm.zeros(3)
    assert np.asarray(x) is x.data
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert tm.from_numpy(x.data).data is x.data


# -- DLPack ---------------------------------------------------------------------------------


def test_numpy_shares_memory_by_dlpack_both_ways() -> None:
    x = tm.zeros(2, 3)
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.data)
    back = tm.from_dlpack(array)
    assert np.shares_memory(back.data, x.data)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_torch_shares_memory_by_dlpack_both_ways(dtype: str) -> None:
    torch = require.module("torch")
    x = tm.zeros(2, 3, dtype=dtype)
    theirs = torch.from_dlpack(x)
    theirs[1, 2] = 1
    assert x.data[1, 2] == 1
    assert str(theirs.dtype) == f"torch.{dtype}"
    ours = tm.from_dlpack(torch.zeros(2, 3, dtype=theirs.dtype).t())
    assert ours.shape == (3, 2)
    ours.fill_(1)
    assert (tm.from_dlpack(theirs).data.shape, ours.dtype) == ((2, 3), np.dtype(dtype))


def test_a_gradient_is_not_lost_by_dlpack() -> None:
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(leaf(2))
    with pytest.raises(TypeError, match="__dlpack__"):
        tm.from_dlpack([1.0])


def test_what_dlpack_cannot_carry_is_refused() -> None:
    torch = require.module("torch")
    x = tm.arange(4.0)[::-1]
    with pytest.raises(BufferError, match=r"backwards through its memory.*\.contiguous\(\)"):
        torch.from_dlpack(x)  # which would otherwise end the process
    assert torch.from_dlpack(x.contiguous()).tolist() == [3.0, 2.0, 1.0, 0.0]
    assert torch.from_dlpack(tm.arange(6.0).reshape(2, 3).T[::2]).tolist() == [[0, 3], [2, 5]]
    with pytest.raises(TypeError, match=r"no counterpart of torch\.bfloat16 .* to float32"):
        tm.from_dlpack(torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", ["cbrt", "rint", "degrees", "reciprocal", "positive", "fabs"])
def test_any_ufunc_of_a_tensor_is_a_tensor(name: str) -> None:
    x = tm.tensor([1.0, -2.5, 8.0])
    got = getattr(np, name)(x)
    assert type(got) is tm.Tensor
    np.testing.assert_array_equal(got.data, getattr(np, name)(x.data))
    with pytest.raises(TypeError, match=rf"numpy\.{name}: has no gradient here.*\.detach\(\)"):
        getattr(np, name)(leaf(2))


def test_ufuncs_methods_and_out() -> None:
    x, array = tm.tensor([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2), np.float32)
    assert np.add.reduce(x).tolist() == [4.0, 6.0]
    assert np.multiply.outer(x, x).shape == (2, 2, 2, 2)
    array += x
    assert type(array) is np.ndarray
    assert np.add(x, 1, out=array) is array
    assert array.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    np.add.at(array, [0], x[:1])
    assert array[0].tolist() == [3.0, 5.0]
    with pytest.raises(TypeError, match=r"numpy\.add: out is a tensor; write its method in place"):
        np.add(x, 1, out=x)
    with pytest.raises(TypeError, match=r"numpy\.add\.reduce: has no gradient here"):
        np.add.reduce(leaf(2))


def test_what_a_tensor_is_can_be_asked_with_its_gradient() -> None:
    x = tm.zeros(2, 3, requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x), np.isrealobj(x)) == ((2, 3), 2, 6, True)


def test_named_tuples_of_numpy_stay_named() -> None:
    found = np.linalg.svd(tm.eye(2))
    assert type(found.S) is tm.Tensor
    assert found.S.tolist() == [1.0, 1.0]


# -- einops ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda x: einops.rearrange(x, "a (h p) -> h a p", h=2),
        lambda x: einops.reduce(x, "a (b c) -> a b", "mean", c=2),
        lambda x: einops.reduce(x, "a b -> b", "max"),
        lambda x: einops.repeat(x, "a b -> a 3 b"),
        lambda x: einops.einsum(x, x, "i j, k j -> i k"),
        lambda x: einops.rearrange([x, x], "n a b -> a (n b)"),
        lambda x: einops.pack([x, x], "* b")[0],
    ],
)
def test_einops(call: Any) -> None:
    x = leaf(3, 4)
    out = call(x)
    assert isinstance(out, tm.Tensor)
    np.testing.assert_allclose(out.data, call(x.data), rtol=1e-12)
    assert tm.autograd.gradcheck(call, [x])
