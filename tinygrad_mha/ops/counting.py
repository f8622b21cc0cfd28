"""Integers about tensors: where they are not 0, which values they have, how often."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.op import plain


def _array(x: Any) -> np.ndarray:
    return np.asarray(plain(x))


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """Positions of the elements that are not 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    as_tuple : bool, default False
        Give one tensor per axis, which together index `x`, instead of one of shape (n, ndim).

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nonzero(tm.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    array = _array(x)
    if as_tuple:
        return tuple(Tensor(i) for i in np.nonzero(np.atleast_1d(array)))
    return Tensor(np.argwhere(array))


def argwhere(x: Any) -> Any:
    """Positions of the elements that are not 0; the same as :func:`nonzero`."""
    return nonzero(x)


def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the values that occur, each once, in order; without a gradient.

    Parameters
    ----------
    x : Tensor
        Any shape.
    sorted : bool, default True
        Whether they come in order; here they always do.
    return_inverse : bool, default False
        Also where in the result each element of `x` is found.
    return_counts : bool, default False
        Also how often each occurs.
    dim : int, optional
        Compare slices along this axis, instead of elements.

    Returns
    -------
    Tensor, or a tuple of them

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.unique(tm.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    array = _array(x)
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    shape = array.shape if dim is None else (-1,)
    found = [Tensor(values)]
    found += [Tensor(inverse.reshape(shape))] if return_inverse else []
    found += [Tensor(counts)] if return_counts else []
    return found[0] if len(found) == 1 else tuple(found)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each integer from 0 on occurs, or the sum of its weights.

    Parameters
    ----------
    x : integer Tensor
        ``(n,)``, not negative.
    weights : Tensor, optional
        ``(n,)``; the sums are float64, or float32 where the weights are.
    minlength : int, default 0
        The size of the result at least.

    Raises
    ------
    TypeError
        `x` is not of integers.
    ValueError
        It is not one-dimensional, or has a negative element.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.bincount(tm.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    array = _array(x)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"bincount: x has dtype {array.dtype}, expected integers")
    if array.ndim != 1 or (array.size and array.min() < 0):
        raise ValueError(
            f"bincount: x is one-dimensional and not negative, got the shape {array.shape}"
        )
    given = None if weights is None else _array(weights)
    if given is not None and given.shape != array.shape:
        raise ValueError(f"bincount: weights of shape {given.shape} for x of shape {array.shape}")
    counts = np.bincount(array.astype(np.int64), given, minlength)
    return Tensor(counts.astype(np.float32) if given is not None and given.dtype == np.float32
                  else counts)  # fmt: skip


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Row of 0 with a 1 at the place of each integer.

    Parameters
    ----------
    tensor : integer Tensor
        Any shape ``(...)``, from 0 on.
    num_classes : int, default -1
        The length of a row; −1 takes the largest integer plus one.

    Returns
    -------
    int64 Tensor
        ``(..., num_classes)``.

    Raises
    ------
    TypeError
        `tensor` is not of integers.
    IndexError
        An integer is negative, or not smaller than `num_classes`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.one_hot(tm.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    array = _array(tensor)
    if array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: tensor has dtype {array.dtype}, expected integers")
    if num_classes == -1 and not array.size:
        raise ValueError("one_hot: of no elements the number of classes cannot be told; give it")
    if num_classes < 1 and num_classes != -1 and array.size:
        raise ValueError(f"one_hot: num_classes is {num_classes}, expected at least 1, or −1")
    n = int(array.max()) + 1 if num_classes == -1 else num_classes
    if array.size and not 0 <= array.min() <= array.max() < n:
        worst = array.min() if array.min() < 0 else array.max()
        raise IndexError(f"one_hot: class {worst} is out of range for {n} classes")
    return Tensor((array[..., None] == np.arange(n)).astype(np.int64))


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where values are to be put into a sorted sequence, so that it stays sorted.

    Parameters
    ----------
    sorted_sequence : Tensor
        ``(n,)``; or ``(..., n)``, each row sorted.
    values : Tensor or float
        Any shape; beside rows ``(..., m)``, with the same leading axes.
    out_int32 : bool, default False
        Give int32 instead of int64.
    right : bool, default False
        Behind what is equal, instead of before it.
    side : {"left", "right"}, optional
        The same in words.
    sorter : integer Tensor, optional
        The order that sorts the sequence, as :func:`argsort` gives it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.searchsorted(tm.tensor([1, 3, 5]), tm.tensor([3, 4]))
    tensor([1, 2])
    """
    rows, wanted = _array(sorted_sequence), _array(values)
    if side not in (None, "left", "right"):
        raise ValueError(f"searchsorted: side is {side!r}; it can be 'left' or 'right'")
    if side == "left" and right:
        raise ValueError("searchsorted: side 'left' and right=True contradict each other")
    where = "right" if right or side == "right" else "left"
    if sorter is not None:
        rows = np.take_along_axis(rows, _array(sorter), -1)
    if rows.ndim == 1:
        found = np.asarray(np.searchsorted(rows, wanted, where))  # type: ignore[call-overload]
    else:
        if rows.ndim == 0 or rows.shape[:-1] != wanted.shape[:-1]:
            raise ValueError(
                f"searchsorted: the leading axes differ, the shapes are {rows.shape} and "
                f"{wanted.shape}"
            )
        found = np.empty(wanted.shape, np.int64)
        for at in np.ndindex(rows.shape[:-1]):
            found[at] = np.searchsorted(rows[at], wanted[at], where)  # type: ignore[call-overload]
    return Tensor(found.astype(np.int32 if out_int32 else np.int64))


def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """Which bucket each element falls into, of those between sorted boundaries.

    Parameters
    ----------
    x : Tensor or float
        Any shape.
    boundaries : Tensor
        ``(n,)``, sorted.
    out_int32 : bool, default False
        Give int32 instead of int64.
    right : bool, default False
        Whether a boundary belongs to the bucket after it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.bucketize(tm.tensor([3, 6, 9]), tm.tensor([1, 3, 5, 7, 9]))
    tensor([1, 3, 4])
    """
    if _array(boundaries).ndim != 1:
        raise ValueError(f"bucketize: boundaries of shape {_array(boundaries).shape}, expected 1-d")
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


for _function in (nonzero, argwhere, unique, bincount):
    setattr(Tensor, _function.__name__, _function)
