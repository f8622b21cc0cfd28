"""Reading and writing whole slices along an axis, and elements anywhere in a tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.op import plain
from .index import add_at, advanced_index, integers, plain_index, put_at, slices_along
from .shape import expand, from_left, reshape

# -- slices along an axis ----------------------------------------------------------------------


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """Add slices at positions along an axis of a copy of `x`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        ``(n,)``: the positions, from 0 on; what meets at one of them adds up.
    source : Tensor
        Shaped as `x`, but of size n along `dim`.
    alpha : float, default 1
        A factor of `source`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.index_add(tm.zeros(3), 0, tm.tensor([0, 0]), tm.tensor([1.0, 2.0]))
    tensor([3., 0., 0.])
    """
    source, place = _slices(x, dim, index, source, "index_add")
    return add_at(x, source if alpha == 1 else source * alpha, place)


def index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    """Write slices at positions along an axis of a copy of `x`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        ``(n,)``: the positions, from 0 on.
    source : Tensor
        Shaped as `x`, but of size n along `dim`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.index_copy(tm.zeros(3), 0, tm.tensor([2, 0]), tm.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    source, place = _slices(x, dim, index, source, "index_copy")
    return put_at(x, source, place)


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """Write one value into slices along an axis of a copy of `x`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        ``(n,)``: the slices' positions.
    value : float or 0-d Tensor
        What is written.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.index_fill(tm.zeros(3), 0, tm.tensor([0, 2]), 7.0)
    tensor([7., 0., 7.])
    """
    if np.ndim(plain(value)):
        raise ValueError(f"index_fill: value is one number, got the shape {value.shape}")
    positions = np.unique(_from_the_end(x, dim, index))  # once each, for the gradient of value
    _, place = slices_along(x, dim, positions, "index_fill")
    return put_at(x, value, place)


def _from_the_end(x: Any, dim: int, index: Any) -> Any:
    n = x.shape[from_left(dim, x.ndim)] if x.ndim else 1
    positions = integers(index, n, "index_fill", negative=True)
    return np.where(positions < 0, positions + n, positions)


def _slices(x: Any, dim: int, index: Any, source: Any, name: str) -> tuple[Any, Any]:
    """Return the source and the index to write it at, or refuse what does not fit."""
    _, place = slices_along(x, dim, index, name)
    n, dim = np.size(plain(index)), from_left(dim, x.ndim)
    expected = tuple(n if d == dim else s for d, s in enumerate(x.shape))
    if source.ndim <= 1 and x.ndim <= 1 and np.size(plain(source)) == math.prod(expected):
        source = reshape(source, expected)  # a 0-d tensor may stand for a vector of one, and back
    if tuple(source.shape) != expected:
        raise ValueError(f"{name}: source has the shape {tuple(source.shape)}, expected {expected}")
    if isinstance(source, Tensor) and source.dtype != x.dtype:
        raise TypeError(f"{name}: source is {source.dtype} and x is {x.dtype}")
    return source, place


# -- anywhere ----------------------------------------------------------------------------------


def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """Write at any index of a copy of `x`: ``y[indices] = values``, or ``+=``.

    Parameters
    ----------
    x : Tensor
        Any shape.
    indices : tuple of Tensor
        What stands between the brackets.
    values : Tensor
        Broadcasts to the shape of ``x[indices]``.
    accumulate : bool, default False
        Add; what meets at one position adds up.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.index_put(tm.zeros(3), (tm.tensor([0, 0]),), tm.ones(2), accumulate=True)
    tensor([2., 0., 0.])
    """
    index = plain_index(tuple(slice(None) if i is None else i for i in indices))
    return (add_at if accumulate else put_at)(x, values, index)


def take(x: Any, index: Any) -> Any:
    """Read elements by their position in `x` flattened; negative ones count from the end.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.take(tm.tensor([[1, 2], [3, 4]]), tm.tensor([0, -1]))
    tensor([1, 4])
    """
    flat = reshape(x, (-1,))
    return advanced_index(flat, integers(index, flat.shape[0], "take", negative=True))


def _mask(x: Any, mask: Any, name: str) -> np.ndarray:
    array = np.asarray(plain(mask))
    if array.dtype != bool:
        raise TypeError(f"{name}: mask has dtype {array.dtype}, expected bool")
    try:
        np.broadcast_shapes(array.shape, x.shape)
    except ValueError:
        raise ValueError(
            f"{name}: mask of shape {array.shape} does not broadcast with {tuple(x.shape)}"
        ) from None
    return array


def masked_select(x: Any, mask: Any) -> Any:
    """Read the elements where a mask is True, in row order.

    Parameters
    ----------
    x : Tensor
        Any shape.
    mask : bool Tensor
        Broadcasts with `x`.

    Returns
    -------
    Tensor
        ``(n,)``, n the number of True.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([1.0, -2.0, 3.0])
    >>> tm.masked_select(x, x > 0)
    tensor([1., 3.])
    """
    array = _mask(x, mask, "masked_select")
    shape = np.broadcast_shapes(array.shape, x.shape)
    wide = x if x.shape == shape else expand(x, shape)
    return advanced_index(wide, np.broadcast_to(array, shape))


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """Write the first elements of `source`, in row order, where a mask is True.

    Parameters
    ----------
    x : Tensor
        Any shape.
    mask : bool Tensor
        Broadcasts with `x`.
    source : Tensor
        At least as many elements as there are True.

    Raises
    ------
    ValueError
        `source` has too few elements.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.masked_scatter(tm.zeros(3), tm.tensor([True, False, True]), tm.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    array = _mask(x, mask, "masked_scatter")
    if source.dtype != x.dtype:
        raise TypeError(f"masked_scatter: source is {source.dtype} and x is {x.dtype}")
    shape = np.broadcast_shapes(array.shape, x.shape)
    array = np.broadcast_to(array, shape)
    n, flat = int(array.sum()), reshape(source, (-1,))
    if flat.shape[0] < n:
        raise ValueError(
            f"masked_scatter: the mask has {n} True, source has {flat.shape[0]} elements"
        )
    wide = x if x.shape == shape else expand(x, shape)
    return put_at(wide, flat[:n], array)


for _function in (
    index_add, index_copy, index_fill, index_put, take, masked_select, masked_scatter,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
