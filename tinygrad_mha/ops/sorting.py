"""Order along an axis: sorting, the largest few, the middle one, and where they stand.

The positions come from an operation without a gradient; the values are read at them, and so
the gradient goes to the element that was taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine import REGISTRY, Sample, Tensor, op
from ..engine.op import Value, plain
from .index import getitem
from .reduce import amax, amin, argmax, argmin, mean
from .scatter import gather
from .shape import from_left, reshape, unsqueeze
from .slices import masked_select


class ValuesIndices(NamedTuple):
    """Elements along an axis, and where they stand."""

    values: Any
    indices: Any


class MinMax(NamedTuple):
    """Smallest and largest."""

    min: Any
    max: Any


@op(
    "y = the order that sorts x",
    samples=(
        Sample(((2, 5),)),
        Sample(((3, 2),), {"dim": 0, "descending": True}),
        Sample(((),)),
        Sample(((0, 2),), {"dim": 0}),
    ),
)
def argsort(x: Value, dim: int = -1, descending: bool = False, stable: bool = False) -> Value:
    """Positions in the order of the elements along an axis; nan counts as the largest.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, default -1
        Which axis.
    descending : bool, default False
        The largest first.
    stable : bool, default False
        Whether equal elements keep their order; here they always do.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.argsort(tm.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    axis = from_left(dim, x.ndim)
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """Elements along an axis in order, and where they stood; nan counts as the largest.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, default -1
        Which axis.
    descending : bool, default False
        The largest first.
    stable : bool, default False
        Whether equal elements keep their order; here they always do.

    Returns
    -------
    (values, indices)

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.sort(tm.tensor([3, 1, 2]), descending=True).values
    tensor([3, 2, 1])
    """
    indices = argsort(x, dim, descending)
    return ValuesIndices(gather(x, dim, indices), indices)


def msort(x: Any) -> Any:
    """Elements along the first axis in order; see :func:`sort`."""
    return sort(x, 0).values


def _part(x: Any, dim: int, part: slice) -> Any:
    return getitem(x, (*[slice(None)] * dim, part))


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """Return the k largest elements along an axis, and where they stand.

    Parameters
    ----------
    x : Tensor
        Any shape.
    k : int
        How many.
    dim : int, default -1
        Which axis.
    largest : bool, default True
        Otherwise the k smallest.
    sorted : bool, default True
        Whether they come in order; here they always do.

    Returns
    -------
    (values, indices)

    Raises
    ------
    ValueError
        There are not k elements along the axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.topk(tm.tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    dim = from_left(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: k is {k}, dim {dim} has {n} elements")
    order = argsort(x, dim, largest)
    indices = _part(order, dim, slice(0, k)) if x.ndim else order
    return ValuesIndices(gather(x, dim, indices), indices)


def _at_rank(x: Any, k: int, dim: int, keepdim: bool) -> ValuesIndices:
    order = argsort(x, dim)
    indices = _part(order, dim, slice(k, k + 1)) if x.ndim else order
    return _drop(x, dim, indices, keepdim)


def _drop(x: Any, dim: int, indices: Any, keepdim: bool) -> ValuesIndices:
    """Read one element per row, and drop the axis."""
    values = gather(x, dim, indices)
    if keepdim or not x.ndim:
        return ValuesIndices(values, indices)
    return ValuesIndices(*(getitem(v, (*[slice(None)] * dim, 0)) for v in (values, indices)))


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """Return the k-th smallest element along an axis, and where it stands.

    Parameters
    ----------
    x : Tensor
        Any shape.
    k : int
        From 1 on.
    dim : int, default -1
        Which axis.
    keepdim : bool, default False
        Keep it as an axis of size 1.

    Returns
    -------
    (values, indices)

    Raises
    ------
    ValueError
        There are not k elements along the axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.kthvalue(tm.tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    dim = from_left(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if not 1 <= k <= n:
        raise ValueError(f"kthvalue: k is {k}, dim {dim} has {n} elements")
    return _at_rank(x, k - 1, dim, keepdim)


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Middle element, of two the smaller; nan where there is any.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty along `dim`.
    dim : int, optional
        Which axis; by default of all elements.
    keepdim : bool, default False
        Keep it as an axis of size 1.

    Returns
    -------
    Tensor, or (values, indices) where `dim` is given
        Without `dim`, elements that are equal to the median share the gradient.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.median(tm.tensor([3.0, 1.0, 4.0, 2.0]))
    tensor(2.)
    """
    if dim is None:
        flat = plain(reshape(x, (-1,)))
        if not flat.size:
            if flat.dtype.kind != "f":
                raise IndexError(f"median: no elements in shape {tuple(x.shape)}, of {flat.dtype}")
            return mean(reshape(x, (-1,)))  # nan
        nan = np.isnan(flat)
        middle = (
            flat[nan][0]
            if nan.any()
            else np.partition(flat, (flat.size - 1) // 2)[(flat.size - 1) // 2]
        )
        equal = nan if nan.any() else flat == middle
        if flat.dtype.kind != "f":
            return Tensor(np.asarray(middle))
        return mean(masked_select(reshape(x, (-1,)), equal))
    dim = from_left(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if n == 0:
        raise IndexError(f"median: no elements along dim {dim} of {tuple(x.shape)}")
    if not x.ndim:
        return _at_rank(x, 0, dim, keepdim)
    array = plain(x)
    order = np.argsort(array, dim, kind="stable")
    indices = np.take(order, [(n - 1) // 2], dim)
    nan = np.isnan(array)
    if nan.any():
        indices = np.where(nan.any(dim, keepdims=True), nan.argmax(dim, keepdims=True), indices)
    return _drop(x, dim, Tensor(indices), keepdim)


def max(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Largest element, along an axis with its position, or of two tensors.

    ``max(x)`` is :func:`amax`, where equals share the gradient; ``max(x, dim)`` takes the first
    of them; ``max(x, other)`` is ``maximum``.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty.
    dim : int or Tensor, optional
        Which axis; or the other tensor.
    keepdim : bool, default False
        Keep it as an axis of size 1.
    other : Tensor
        The other tensor.

    Returns
    -------
    Tensor, or (values, indices) where `dim` is an axis

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([[1, 5], [4, 3]])
    >>> tm.max(x)
    tensor(5)
    >>> tm.max(x, dim=1).indices
    tensor([1, 0])
    """
    return _extreme(x, dim, keepdim, other, ("maximum", amax, argmax))


def min(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Smallest element, along an axis with its position, or of two tensors.

    ``min(x)`` is :func:`amin`, where equals share the gradient; ``min(x, dim)`` takes the first
    of them; ``min(x, other)`` is ``minimum``.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty.
    dim : int or Tensor, optional
        Which axis; or the other tensor.
    keepdim : bool, default False
        Keep it as an axis of size 1.
    other : Tensor
        The other tensor.

    Returns
    -------
    Tensor, or (values, indices) where `dim` is an axis

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.min(tm.tensor([[1, 5], [4, 3]]), dim=1).values
    tensor([1, 3])
    """
    return _extreme(x, dim, keepdim, other, ("minimum", amin, argmin))


def _extreme(x: Any, dim: Any, keepdim: bool, other: Any, ops: tuple[str, Any, Any]) -> Any:
    of_two, of_all, position = ops
    if other is not None or isinstance(dim, Tensor):
        return REGISTRY[of_two](x, dim if other is None else other)
    if dim is None:
        y = of_all(x)
        # as elsewhere all that is as large shares the gradient, and here nan is
        return mean(masked_select(x, np.isnan(plain(x)))) if np.isnan(plain(y)) else y
    dim = from_left(dim, x.ndim)
    indices = position(x, dim)
    return _drop(x, dim, unsqueeze(indices, dim) if x.ndim else indices, keepdim)


def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Smallest and largest element, over one axis or all; equals share the gradient.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.aminmax(tm.tensor([1, 5, 3]))
    MinMax(min=tensor(1), max=tensor(5))
    """
    return MinMax(amin(x, dim, keepdim), amax(x, dim, keepdim))


for _function in (sort, msort, topk, kthvalue, median, max, min, aminmax):
    setattr(Tensor, _function.__name__, _function)
