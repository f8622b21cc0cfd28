"""Reading and writing at positions that tensors name: gather, scatter, and their kin.

All of them turn their arguments into an index of arrays, and are then one of three operations:
:func:`advanced_index` reads, :func:`put_at` writes, :func:`add_at` adds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.op import plain
from .elementwise import where
from .index import add_at, advanced_index, integers, plain_index, put_at, slices_along
from .shape import expand, from_left, reshape

# -- along an axis: one position per element -------------------------------------------------


def _grid(x: Any, dim: int, index: Any, name: str) -> tuple[Any, ...]:
    """Return the positions as one array per axis of `x`; they broadcast to the index's shape."""
    dim = from_left(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    positions = integers(index, n, name)
    if not x.ndim and positions.ndim <= 1:
        return (np.zeros(positions.shape, bool) if positions.size == 0 else ...,)
    if positions.ndim != x.ndim:
        if positions.size == 0:
            return (positions,)
        raise ValueError(
            f"{name}: index needs as many axes as x, the shapes are {positions.shape} and "
            f"{tuple(x.shape)}"
        )
    for d, (have, room) in enumerate(zip(positions.shape, x.shape, strict=True)):
        if d != dim and have > room:
            raise ValueError(
                f"{name}: index of shape {positions.shape} does not fit in x of shape "
                f"{tuple(x.shape)} at dim {d}"
            )
    open_grid: Any = np.ogrid[tuple(slice(0, have) for have in positions.shape)]
    return (*open_grid[:dim], positions, *open_grid[dim + 1 :])


def _source(src: Any, index: Any, name: str, dtype: Any) -> Any:
    """Return the part of `src` that an index names, and refuse what is too small or mistyped."""
    shape = np.shape(plain(index))
    if isinstance(src, Tensor) and src.dtype != dtype:
        raise TypeError(f"{name}: src is {src.dtype} and x is {dtype}; convert one of them")
    if src.ndim != len(shape) and max(src.ndim, len(shape)) > 1:
        raise ValueError(f"{name}: index of shape {shape} and src of shape {src.shape} do not fit")
    if any(have < n for have, n in zip(src.shape, shape, strict=False)):
        raise ValueError(f"{name}: src of shape {src.shape} is smaller than the index, {shape}")
    if src.ndim == len(shape) and src.shape != shape:
        src = src[tuple(slice(0, n) for n in shape)]
    return src if src.shape == shape else reshape(src, shape)


def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """Read one element of `x` for each position of an index along an axis.

    For ``dim=1``: ``y[i, j] = x[i, index[i, j]]``.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        As many axes as `x`, and no larger but along `dim`; from 0 on.
    sparse_grad : bool
        Taken for compatibility; gradients are dense.

    Returns
    -------
    Tensor
        Of the shape of `index`.

    Raises
    ------
    IndexError
        A position, or `dim`, is out of range.
    ValueError
        The index does not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.gather(tm.tensor([[1, 2], [3, 4]]), 1, tm.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    shape = np.shape(plain(index))
    if 0 in shape:
        from_left(dim, x.ndim)
        return advanced_index(reshape(x, (-1,)), np.zeros(shape, np.int64))
    grid = _grid(x, dim, index, "gather")
    return advanced_index(x, grid) if x.ndim else reshape(expand(x, shape or (1,)), shape)


def scatter(
    x: Any,
    dim: int,
    index: Any,
    src: Any = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Any:
    """Write at positions along an axis of a copy of `x`: the reverse of :func:`gather`.

    For ``dim=1``: ``y[i, index[i, j]] = src[i, j]``.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        As many axes as `x`, and no larger but along `dim`; from 0 on. Of what one
        position is given more than once the last stays.
    src : Tensor or float
        At least as large as `index`.
    value : float
        Instead of `src`: the same everywhere.
    reduce : {"add"}, optional
        Add instead of writing.

    Raises
    ------
    IndexError
        A position, or `dim`, is out of range.
    ValueError
        The index, or `src`, does not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.scatter(tm.zeros(3), 0, tm.tensor([2, 0]), tm.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce is {reduce!r}; it can be 'add'; see scatter_reduce")
    source = value if src is None else src
    if source is None:
        raise TypeError("scatter: give src or value")
    if isinstance(source, Tensor | np.ndarray):
        source = _source(source, index, "scatter", x.dtype)
    grid = _grid(x, dim, index, "scatter")
    if np.size(plain(index)) == 0:
        return x.clone()
    if not x.ndim and isinstance(source, Tensor | np.ndarray):
        source = reshape(source, ())
    return (add_at if reduce else put_at)(x, source, grid)


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """Add at positions along an axis of a copy of `x`; what meets at one position adds up.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        As many axes as `x`, and no larger but along `dim`; from 0 on.
    src : Tensor
        At least as large as `index`.

    Raises
    ------
    IndexError
        A position, or `dim`, is out of range.
    ValueError
        The index, or `src`, does not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.scatter_add(tm.zeros(3), 0, tm.tensor([2, 0, 2]), tm.ones(3))
    tensor([1., 0., 2.])
    """
    source = _source(src, index, "scatter_add", x.dtype)
    grid = _grid(x, dim, index, "scatter_add")
    if np.size(plain(index)) == 0:
        return x.clone()
    return add_at(x, source if x.ndim else reshape(source, ()), grid)


def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Bring together, at positions along an axis, what an index sends there.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        As many axes as `x`, and no larger but along `dim`; from 0 on.
    src : Tensor
        At least as large as `index`.
    reduce : {"sum", "mean", "amax", "amin"}
        How. The largest and the smallest share their gradient among equals.
    include_self : bool, default True
        Whether the elements of `x` at these positions take part.

    Raises
    ------
    IndexError
        A position, or `dim`, is out of range.
    ValueError
        The index, or `src`, does not fit; or there is no such reduction.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x, index = tm.zeros(2), tm.tensor([0, 0, 1])
    >>> tm.scatter_reduce(x, 0, index, tm.tensor([3.0, 5.0, -1.0]), "amax")
    tensor([5., 0.])
    """
    source = _source(src, index, "scatter_reduce", x.dtype)
    if reduce not in ("sum", "mean", "amax", "amin"):
        raise ValueError(
            f"scatter_reduce: reduce is {reduce!r}; it can be 'sum', 'mean', 'amax' or 'amin'"
        )
    if not x.ndim:
        y = scatter_reduce(
            reshape(x, (1,)), 0, np.reshape(plain(index), (-1,)), reshape(source, (-1,)),
            reduce, include_self=include_self,
        )  # fmt: skip
        return reshape(y, ())
    grid = _grid(x, dim, index, "scatter_reduce")
    if np.size(plain(index)) == 0:
        return x.clone()
    if reduce in ("sum", "mean"):
        total = add_at(x if include_self else put_at(x, 0, grid), source, grid)
        if reduce == "sum":
            return total
        counts = np.zeros(x.shape, np.int64)
        np.add.at(counts, grid, 1)
        counts = np.maximum(counts + include_self, 1).astype(x.dtype)
        return total / counts if x.dtype.kind == "f" else Tensor(plain(total) // counts)
    best = np.array(plain(x))
    if not include_self:
        best[grid] = plain(source)
    ufunc = np.maximum if reduce == "amax" else np.minimum
    ufunc.at(best, grid, plain(source))
    if x.dtype.kind != "f":
        return Tensor(best)
    # The value is the mean of all that equal it: those are what the gradient flows to.
    touched = np.zeros(x.shape, bool)
    touched[grid] = True
    own = ((plain(x) == best) & include_self) | ~touched
    sent = plain(source) == best[grid]
    counts = own.astype(x.dtype)
    np.add.at(counts, grid, sent)
    nothing = best[grid] * 0
    mean = add_at(where(own, x, 0.0), where(sent, source, nothing), grid) / counts
    return where(np.isfinite(best), mean, best)


def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Any:
    """Read along an axis at positions that broadcast against `x`; as argsort gives them.

    Parameters
    ----------
    x : Tensor
        Any shape.
    indices : integer Tensor
        As many axes as `x`; broadcasts with it but for axis `dim`.
    dim : int, optional
        Which axis; by default both are flattened.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([[3, 1, 2]])
    >>> tm.take_along_dim(x, tm.argsort(x), dim=1)
    tensor([[1, 2, 3]])
    """
    positions = np.asarray(plain(indices))
    if dim is None:
        x, positions, dim = reshape(x, (-1,)), positions.reshape(-1), 0
    if positions.ndim != x.ndim:
        raise ValueError(
            f"take_along_dim: x and indices need as many axes, the shapes are {tuple(x.shape)} "
            f"and {positions.shape}"
        )
    dim = from_left(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    positions = integers(positions, n, "take_along_dim", negative=True)
    positions = np.where(positions < 0, positions + n, positions)
    rest = np.broadcast_shapes(
        *(tuple(1 if d == dim else s for d, s in enumerate(v.shape)) for v in (x, positions))
    )

    def sizes(at_dim: int) -> tuple[int, ...]:
        return tuple(at_dim if d == dim else s for d, s in enumerate(rest))

    if not x.ndim:
        return gather(x, 0, positions)
    wide = x if x.shape == sizes(n) else expand(x, sizes(n))
    return gather(wide, dim, np.broadcast_to(positions, sizes(positions.shape[dim])))


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
    _, place = slices_along(x, dim, _from_the_end(x, dim, index), "index_fill")
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
    gather, scatter, scatter_add, scatter_reduce, take_along_dim, index_add, index_copy,
    index_fill, index_put, take, masked_select, masked_scatter,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
