"""Reading and writing one element per position of an index: gather, scatter, and their kin.

All of them turn their arguments into an index of arrays, and are then one of three operations:
:func:`advanced_index` reads, :func:`put_at` writes, :func:`add_at` adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .choice import choose
from .index import add_at, advanced_index, integers, put_at
from .shape import expand, from_left, reshape, sum_to

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


@op(
    "y = x, then y[index] ·= source",
    symbol="[ ]×=",
    method=False,
    torch="ours:multiply_at",
    samples=(
        Sample(((4, 2), (2, 2)), {"index": np.array([0, 3])}),
        Sample(((4, 2), (3, 2)), {"index": np.array([1, 1, 3])}),
    ),
)
def multiply_at(x: Value, source: Value, index: Any) -> Value:
    """Multiply at positions of a copy of `x`; what meets at one position multiplies up.

    Parameters
    ----------
    x : Tensor
        Any shape.
    source : Tensor
        Broadcasts to the shape of ``x[index]``.
    index
        Arrays of integers.
    """
    y = np.array(x, order="C")
    np.multiply.at(y, index, y.dtype.type(source) if isinstance(source, int | float) else source)
    return y


@multiply_at.gradient("x", "dx = dy · Π of what else meets there")
def multiply_at_dx(dy: Value, x: Value, source: Value, index: Any) -> Value:
    zeros, product = _without_zeros(x, source, index)
    none = plain(x) == 0
    others = choose(zeros == none, product / choose(none, 1.0, x), 0.0)
    return dy * others


@multiply_at.gradient("source", "dsource = dy[index] · Π of what else meets there")
def multiply_at_dsource(dy: Value, x: Value, source: Value, index: Any) -> Value:
    zeros, product = _without_zeros(x, source, index)
    none = np.asarray(plain(source)) == 0
    there = advanced_index(product, index)
    others = choose(zeros[index] == none, there / choose(none, 1.0, source), 0.0)
    return sum_to(advanced_index(dy, index) * others, np.shape(plain(source)))


def _without_zeros(x: Value, source: Value, index: Any) -> tuple[np.ndarray, Value]:
    """Count the zeros that meet at each position, and multiply what else meets there.

    The factor of an element is the product of the others if none of those is 0; it is 0 else.
    """
    zeros = (plain(x) == 0).astype(np.int64)
    np.add.at(zeros, index, np.asarray(plain(source)) == 0)
    product = multiply_at(
        choose(plain(x) == 0, 1.0, x), choose(np.asarray(plain(source)) == 0, 1.0, source), index
    )
    return zeros, product


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
    reduce : {"add", "multiply"}, optional
        Add, or multiply, instead of writing.

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
    ways = {None: put_at, "add": add_at, "multiply": multiply_at}
    if reduce not in ways:
        raise ValueError(f"scatter: reduce is {reduce!r}; it can be 'add' or 'multiply'")
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
    return ways[reduce](x, source, grid)


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
    reduce : {"sum", "prod", "mean", "amax", "amin"}
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
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ValueError(
            f"scatter_reduce: reduce is {reduce!r}; it can be 'sum', 'prod', 'mean', 'amax' or "
            "'amin'"
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
    if reduce == "prod":
        return multiply_at(x if include_self else put_at(x, 1, grid), source, grid)
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
    mean = add_at(choose(own, x, 0.0), choose(sent, source, nothing), grid) / counts
    return choose(np.isfinite(best), mean, best)


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


for _function in (gather, scatter, scatter_add, scatter_reduce, take_along_dim):
    setattr(Tensor, _function.__name__, _function)
