"""Operations that read elements by their position, and write them back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .axes import Shape


def _index_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Follow an axis through slices, new axes and integers; index arrays end the walk."""
    index = params["index"]
    items = list(index) if isinstance(index, tuple) else [index]
    if any(not isinstance(i, slice | int | np.integer | type(None) | type(...)) for i in items):
        return None
    taken = len([i for i in items if i is not None and i is not ...])
    if ... in items:
        at = items.index(...)
        items[at : at + 1] = [slice(None)] * (len(shapes[0]) - taken)
    items += [slice(None)] * (len(shapes[0]) - len([i for i in items if i is not None]))
    here = there = 0
    for item in items:
        if item is None:
            there += 1
            continue
        if here == axis:
            return there if item == slice(None) else None
        here += 1
        there += isinstance(item, slice)
    return None


@op(
    "y = x[index]",
    symbol="[ ]",
    axis=_index_axis,
    method=False,
    torch="ours:getitem",
    view=True,
    samples=(
        Sample(((3, 4),), {"index": 1}),
        Sample(((3, 4),), {"index": (slice(None), slice(1, 3))}),
        Sample(((3, 4),), {"index": (..., None, -1)}),
        Sample(((4, 2),), {"index": np.array([[0, 3], [3, 3]])}),
        Sample(((2, 3),), {"index": np.array([[True, False, True], [False, True, False]])}),
        Sample(((4,),), {"index": slice(None, None, 2)}),
    ),
)
def getitem(x: Value, index: Any) -> Value:
    """Index as NumPy does: integers, slices, ``None``, ``...``, integer and boolean arrays.

    Slices share memory with `x`. A position that is named twice is read twice, and
    its gradients add up.
    """
    found = x[index]
    if isinstance(found, np.generic):  # one element: with `...` it is a view, and no copy
        found = x[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    return found


@getitem.gradient("x", "dx = 0, then dx[index] += dy")
def getitem_dx(dy: Value, x_shape: Shape, index: Any) -> Value:
    return scatter_add_at(dy, x_shape, index)


@op(
    "y = 0 of a shape, then y[index] += x",
    symbol="[ ]+=",
    method=False,
    torch="ours:scatter_add_at",
    samples=(
        Sample(((2, 2),), {"shape": (4, 2), "index": np.array([0, 3])}),
        Sample(((3, 2),), {"shape": (4, 2), "index": np.array([1, 1, 3])}),
    ),
)
def scatter_add_at(x: Value, shape: Shape, index: Any) -> Value:
    """Add the elements of `x` at positions of a tensor of zeros: the gradient of indexing.

    Parameters
    ----------
    x : Tensor
        Of the shape that ``zeros(shape)[index]`` has.
    shape : tuple of int
        Of the result.
    index
        What :func:`getitem` takes.
    """
    y = np.zeros(shape, x.dtype)
    if _names_each_once(index):
        y[index] = x
    else:
        np.add.at(y, index, x)
    return y


@scatter_add_at.gradient("x", "dx = dy[index]")
def scatter_add_at_dx(dy: Value, index: Any) -> Value:
    return getitem(dy, index)


def _names_each_once(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(i, list) or (hasattr(i, "dtype") and i.dtype != bool) for i in items)


def _plain_index(index: Any) -> Any:
    """Tensors inside an index become the arrays that NumPy expects."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, Tensor) and index.requires_grad:
        raise TypeError("index: a tensor that requires a gradient cannot be an index")
    return np.asarray(index) if isinstance(index, list) else plain(index)


def _getitem_method(self: Tensor, index: Any) -> Any:
    return getitem(self, _plain_index(index))


setattr(Tensor, "__getitem__", _getitem_method)  # noqa: B010  (an assignment would not type-check)


@op(
    "y = W[index]",
    method=False,
    torch="ours:embedding",
    samples=(
        Sample(((5, 3), np.array([[0, 4], [4, 2]]))),
        Sample(((5, 3), np.array(1))),
        Sample(((5, 3), np.zeros((0,), np.int64))),
    ),
)
def embedding(weight: Value, index: Value) -> Value:
    """Rows of a table, one per index.

    Parameters
    ----------
    weight : Tensor
        ``(num_embeddings, d)``.
    index : integer Tensor
        Any shape ``(...)``; from 0 to num_embeddings − 1.

    Returns
    -------
    Tensor
        ``(..., d)``.

    Raises
    ------
    TypeError
        The index is not of integers.
    IndexError
        An index is out of range.
    """
    if index.dtype.kind not in "iu":
        raise TypeError(f"index has dtype {index.dtype}, expected integers")
    if index.size and not 0 <= index.min() <= index.max() < weight.shape[0]:
        worst = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"index {worst} is out of range for {weight.shape[0]} embeddings")
    return weight[index]


@embedding.gradient("weight", "dW = 0, then dW[index] += dy")
def embedding_dweight(dy: Value, weight_shape: Shape, index: Value) -> Value:
    return scatter_add_at(dy, weight_shape, plain(index))


@embedding.fused_gradient
def embedding_backward(
    dy: np.ndarray, wanted: list[int], weight_shape: Shape, index: np.ndarray
) -> tuple[np.ndarray, None]:
    return kernels.embedding_backward(dy, index, weight_shape[0]), None
