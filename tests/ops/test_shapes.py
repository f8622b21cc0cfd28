"""Any shapes: what NumPy computes, and a gradient that fits, whatever broadcasts with what."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_mha as tm

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)
PRODUCTS = hnp.mutually_broadcastable_shapes(
    signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3
)


def drawn(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 2.0, shape))


def check(function: Callable[..., Any], expected: Callable[..., Any], *arrays: np.ndarray) -> None:
    """Values as NumPy's, and gradients as the difference along one random direction."""
    tensors = [tm.Tensor(a, True) for a in arrays]
    out, truth = function(*tensors), np.asarray(expected(*arrays))
    assert out.shape == truth.shape
    np.testing.assert_allclose(out.data, truth, rtol=1e-12)
    weight = drawn(out.shape, 9)
    out.backward(tm.Tensor(weight))
    along = [drawn(a.shape, 5 + i) for i, a in enumerate(arrays)]
    slope = sum((t.grad.data * v).sum() for t, v in zip(tensors, along, strict=True))
    for t, a in zip(tensors, arrays, strict=True):
        assert t.grad.shape == a.shape

    def along_the_line(step: float) -> float:
        moved = [np.asarray(a + step * v) for a, v in zip(arrays, along, strict=True)]
        return float((np.asarray(expected(*moved)) * weight).sum())

    eps = 1e-6
    numeric = (along_the_line(eps) - along_the_line(-eps)) / (2 * eps)
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-6)


@given(PAIRS)
def test_broadcasting(shapes: Any) -> None:
    a, b = (drawn(s, i) for i, s in enumerate(shapes.input_shapes))
    for symbol in (np.add, np.subtract, np.multiply, np.divide, np.power):
        # a NumPy function of tensors is the operation that has registered for it
        check(symbol, symbol, a, b)


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3))
def test_choosing(shapes: Any) -> None:
    a, b, chances = (drawn(s, i) for i, s in enumerate(shapes.input_shapes))
    condition = chances > 1.2
    check(
        lambda x, y: tm.where(tm.Tensor(condition), x, y),
        lambda x, y: np.where(condition, x, y),
        a,
        b,
    )


@given(PRODUCTS)
def test_matrix_products(shapes: Any) -> None:
    a, b = (drawn(s, i) for i, s in enumerate(shapes.input_shapes))
    check(lambda x, y: x @ y, np.matmul, a, b)


@given(SHAPES, st.data(), st.booleans())
def test_reductions(shape: tuple[int, ...], data: st.DataObject, keepdim: bool) -> None:
    x = drawn(shape)
    some = hnp.valid_tuple_axes(len(shape), min_size=1) if shape else st.none()
    dims = data.draw(st.none() | some)  # () means all of them, as in PyTorch
    axes = dims if dims is None else tuple(dims)
    check(lambda t: t.sum(axes, keepdim), lambda a: a.sum(axes, keepdims=keepdim), x)
    counted = range(len(shape)) if axes is None else axes
    if math.prod(shape[d] for d in counted):
        check(lambda t: t.mean(axes, keepdim), lambda a: a.mean(axes, keepdims=keepdim), x)
        check(lambda t: t.amax(axes, keepdim), lambda a: a.max(axes, keepdims=keepdim), x)


@given(PAIRS)
def test_expanding_and_summing_back(shapes: Any) -> None:
    small, large = shapes.input_shapes[0], shapes.result_shape
    x = drawn(small)
    check(lambda t: t.expand(large), lambda a: np.broadcast_to(a, large), x)
    back = tm.sum_to(tm.Tensor(np.broadcast_to(x, large)), small)
    copies = math.prod(large) // x.size if x.size else 0
    np.testing.assert_allclose(back.data, x * copies, rtol=1e-12)


@given(SHAPES, st.data())
def test_moving_axes(shape: tuple[int, ...], data: st.DataObject) -> None:
    x = drawn(shape)
    dims = tuple(data.draw(st.permutations(range(len(shape)))))
    check(lambda t: t.permute(dims), lambda a: a.transpose(dims), x)
    if shape:
        axis = st.integers(-len(shape), len(shape) - 1)
        one, other = data.draw(axis), data.draw(axis)
        check(lambda t: t.transpose(one, other), lambda a: a.swapaxes(one, other), x)
    new = data.draw(st.integers(-len(shape) - 1, len(shape)))
    check(lambda t: t.unsqueeze(new), lambda a: np.expand_dims(a, new), x)
    check(lambda t: t.unsqueeze(new).squeeze(new), lambda a: a, x)
    check(lambda t: t.flatten(), lambda a: a.reshape(-1), x)


@given(SHAPES, st.data())
def test_slices_and_integers(shape: tuple[int, ...], data: st.DataObject) -> None:
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    check(lambda t: t[index], lambda a: a[index], drawn(shape))


@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), st.data())
def test_index_arrays(shape: tuple[int, ...], data: st.DataObject) -> None:
    index = data.draw(hnp.integer_array_indices(shape))
    check(lambda t: t[index], lambda a: a[index], drawn(shape))


@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), st.data())
def test_joining(shape: tuple[int, ...], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    shapes = []
    for n in sizes:
        other = list(shape)
        other[dim] = n
        shapes.append(other)
    check(
        lambda *t: tm.cat(t, dim),
        lambda *a: np.concatenate(a, dim),
        *(drawn(s, i) for i, s in enumerate(shapes)),
    )


@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
@settings(max_examples=50)
def test_normalising_along_any_axis(shape: tuple[int, ...], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))

    def softmax(a: np.ndarray) -> np.ndarray:
        e = np.exp(a)
        return e / e.sum(dim, keepdims=True)

    x = drawn(shape)
    check(lambda t: t.softmax(dim), softmax, x)
    check(lambda t: t.log_softmax(dim).exp(), softmax, x)


@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(1, 3),
)
def test_heads_split_and_merge(batch: list[int], heads: int, length: int, width: int) -> None:
    x = drawn((*batch, length, heads * width))

    def split(a: np.ndarray) -> np.ndarray:
        return a.reshape(*batch, length, heads, width).swapaxes(-2, -3)

    F = tm.nn.functional
    check(lambda t: F.split_heads(t, heads), split, x)
    check(lambda t: F.merge_heads(F.split_heads(t, heads)), lambda a: a, x)
