"""Operations that take the elements along axes together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value, plain
from .axes import Shape
from .choice import choose
from .elementwise import exp
from .shape import expand, from_left, reshape, transpose, unsqueeze

Dims = int | tuple[int, ...] | None

#: np.sum without its Python around it; Any, because NumPy's stubs want a literal `keepdims`.
_add: Any = np.add.reduce
_multiply: Any = np.multiply.reduce


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Count the axes that `dim` names from the left."""
    if dim is None or (type(dim) is tuple and not dim):
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int | np.integer) else dim
    counted = tuple([from_left(d, ndim) for d in dims])
    if len(counted) > 1 and len(set(counted)) < len(counted):
        raise ValueError(f"dim {dim} names an axis twice")
    return counted if ndim else ()


def some(x: Value, dims: tuple[int, ...]) -> None:
    """Refuse to look for the largest or smallest of no elements."""
    if 0 in [x.shape[d] for d in dims]:
        raise IndexError(f"no elements along dim {dims}, so none is the largest or smallest")


def _reduced_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    gone = _dims(params["dim"], len(shapes[0]))
    if axis in gone:
        return None
    return axis if params["keepdim"] else axis - len([d for d in gone if d < axis])


def keep(dy: Value, dim: Dims, keepdim: bool, shape: Shape) -> Value:
    """Put the reduced axes back as axes of size 1, so that `dy` broadcasts against the input."""
    if keepdim or dy.ndim == len(shape):
        return dy
    gone = _dims(dim, len(shape))
    return reshape(dy, tuple(1 if i in gone else n for i, n in enumerate(shape)))


_samples = (
    Sample(((2, 3, 4),), {"dim": 1}),
    Sample(((2, 3, 4),), {"dim": (0, -1), "keepdim": True}),
    Sample(((2, 3),)),
    Sample(((),)),
    Sample(((),), {"dim": -1, "keepdim": True}),
)
_or_empty = (*_samples, Sample(((0, 3),), {"dim": 0}), Sample(((2, 0),), {"dim": 0}))


def _accumulator(x: Value, dtype: Any) -> Any:
    """Return the dtype in which to add or multiply: integers and booleans as int64."""
    return dtype if dtype is not None or x.dtype.kind == "f" else np.int64


@op(
    "y = Σ x",
    derivation=(
        "Each element enters the sum with a factor of 1, so each receives the gradient of the "
        "sum unchanged. Copying is the transpose of adding up."
    ),
    symbol="Σ",
    axis=_reduced_axis,
    samples=_or_empty,
)
def sum(x: Value, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Sum over axes; of integers and booleans it is int64.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    dtype : dtype, optional
        What `x` is converted to first.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.sum(tm.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    return _total(x, _dims(dim, x.ndim), keepdim, _accumulator(x, dtype))


def _total(x: Any, dims: tuple[int, ...] | None, keepdim: bool, dtype: Any) -> Any:
    """Add up. NumPy adds in pairs along the last axis only: leading ones are a kernel's."""
    lead = len(dims) if dims else 0
    if (
        0 < lead < x.ndim
        and x.flags.c_contiguous
        and x.dtype.kind == "f"  # without a dtype, small integers would be widened
        and dtype in (None, x.dtype)
        and dims == tuple(range(lead))
    ):
        rows, rest = count(x.shape, dims), x.shape[lead:]
        # (n₁, …, rest) -> (rows, numbers in rest)
        sums = kernels.column_sums(x.reshape(rows, count(rest, tuple(range(len(rest))))))
        return sums.reshape((1,) * lead + rest if keepdim else rest)
    return _add(x, dims, dtype, None, keepdim)


@sum.gradient("x", "dx = dy, copied along the summed axes")
def sum_dx(dy: Value, x_shape: Shape, dim: Dims, keepdim: bool) -> Value:
    return expand(keep(dy, dim, keepdim, x_shape), x_shape)


@op(
    "y = Σ x / n",
    derivation=(
        "The mean is the sum divided by the constant n, so each of the n elements receives dy/n."
    ),
    axis=_reduced_axis,
    samples=_samples,
)
def mean(x: Value, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Mean over axes; of no elements it is nan.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    dtype : dtype, optional
        What `x` is converted to first.

    Raises
    ------
    TypeError
        `x` is of integers or booleans, and no floating `dtype` is given.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.mean(tm.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([1.5, 3.5])
    """
    if (x.dtype if dtype is None else np.dtype(dtype)).kind != "f":
        raise TypeError(f"the mean of {dtype or x.dtype} is no such number; convert it to floating")
    dims = None if dim is None else _dims(dim, x.ndim)
    n = x.size if dims is None else count(x.shape, dims)
    return _total(x, dims, keepdim, dtype) * (1.0 / n if n else np.nan)


@mean.gradient("x", "dx = dy / n, copied along the averaged axes")
def mean_dx(dy: Value, x_shape: Shape, dim: Dims, keepdim: bool) -> Value:
    n = count(x_shape, _dims(dim, len(x_shape)))
    return expand(keep(dy, dim, keepdim, x_shape) * (1.0 / n if n else np.nan), x_shape)


@mean.fused_gradient
def mean_backward(
    dy: np.ndarray, wanted: list[int], x_shape: Shape, dim: Dims, keepdim: bool
) -> tuple[np.ndarray]:
    """Fill one number in where the mean is over everything, as that of a loss is."""
    if dim is not None or dy.size != 1 or 0 in x_shape:
        return (mean_dx(dy, x_shape, dim, keepdim),)
    dx = np.empty(x_shape, dy.dtype)
    dx.fill(dy.item() / dx.size)
    return (dx,)


def count(shape: Shape, dims: tuple[int, ...]) -> int:
    """Count the elements along axes."""
    n = 1
    for d in dims:
        n *= shape[d]
    return n


# -- products ------------------------------------------------------------------------------


@op(
    "y = Π x",
    symbol="Π",
    axis=_reduced_axis,
    samples=(
        Sample(((2, 3, 4),), {"dim": 1}),
        Sample(((2, 3),), {"dim": -1, "keepdim": True}),
        Sample(((2, 3),)),
        Sample(((),)),
        Sample(((0, 3),), {"dim": 0}),
    ),
)
def prod(x: Value, dim: int | None = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Product over an axis or of all elements; its gradients are exact where elements are 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, optional
        Which axis; all of them by default.
    keepdim : bool, default False
        Keep it as an axis of size 1.
    dtype : dtype, optional
        What `x` is converted to first.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tm.prod(x).backward()
    >>> x.grad
    tensor([0., 6., 0.])
    """
    dims = _dims(dim, x.ndim)
    return _multiply(x, axis=dims, keepdims=keepdim, dtype=_accumulator(x, dtype))


@prod.gradient("x", "dx = dy · Π of the other elements")
def prod_dx(dy: Value, x: Value, out: Value, dim: int | None, keepdim: bool) -> Value:
    if dim is None and x.ndim != 1:
        return reshape(prod_dx(reshape(dy, ()), reshape(x, (-1,)), out, 0, False), x.shape)
    kept = keep(dy, dim, keepdim, x.shape)
    if plain(x).all() and np.isfinite(plain(out)).all() and plain(out).all():
        return kept * prod(x, dim, True) / x
    rows = transpose(x, dim or 0, -1)
    rows = unsqueeze(rows, -2)  # (..., 1, n): row i is to leave out element i
    others = prod(choose(np.eye(rows.shape[-1], dtype=bool), 1.0, rows), -1)
    return kept * transpose(others, dim or 0, -1)


@prod.fused_gradient
def prod_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, dim: int | None, keepdim: bool
) -> tuple[np.ndarray]:
    dims = _dims(dim, x.ndim)
    rows = np.moveaxis(x, dims[0], -1) if dim is not None and dims else x.reshape(-1)
    before, after = np.ones_like(rows), np.ones_like(rows)
    np.multiply.accumulate(rows[..., :-1], -1, out=before[..., 1:])
    np.multiply.accumulate(rows[..., :0:-1], -1, out=after[..., -2::-1])
    others = before * after
    if dim is not None and dims:
        others = np.moveaxis(others, -1, dims[0])
    return (keep(dy, dim, keepdim, x.shape) * others.reshape(x.shape),)


# -- largest and smallest --------------------------------------------------------------------


@op(
    "y = max x",
    derivation=(
        "A small change of the largest element changes the maximum by as much; a change of "
        "any other, by nothing. Where several are equally large there is no derivative; they "
        "share dy evenly, which is the least of the subgradients."
    ),
    symbol="max",
    axis=_reduced_axis,
    samples=_samples,
)
def amax(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Largest element over axes; where several are equal they share the gradient.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty along `dim`.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.amax(tm.tensor([[1.0, 5.0], [3.0, 4.0]]), dim=1)
    tensor([5., 4.])
    """
    dims = _dims(dim, x.ndim)
    some(x, dims)
    return np.max(x, axis=dims, keepdims=keepdim)


@amax.gradient("x", "dx = dy where x = y, shared among ties")
def amax_dx(dy: Value, x: Value, out: Value, dim: Dims, keepdim: bool) -> Value:
    return keep(dy, dim, keepdim, x.shape) * _share(plain(x), plain(out), dim, keepdim)


@op("y = min x", symbol="min", axis=_reduced_axis, samples=_samples)
def amin(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Smallest element over axes; where several are equal they share the gradient.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty along `dim`.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.amin(tm.tensor([[1.0, 5.0], [3.0, 4.0]]), dim=1)
    tensor([1., 3.])
    """
    dims = _dims(dim, x.ndim)
    some(x, dims)
    return np.min(x, axis=dims, keepdims=keepdim)


@amin.gradient("x", "dx = dy where x = y, shared among ties")
def amin_dx(dy: Value, x: Value, out: Value, dim: Dims, keepdim: bool) -> Value:
    return keep(dy, dim, keepdim, x.shape) * _share(plain(x), plain(out), dim, keepdim)


def _share(x: np.ndarray, out: np.ndarray, dim: Dims, keepdim: bool) -> np.ndarray:
    """Each element's share of the gradient: as much as others that are as large."""
    hit = x == keep(out, dim, keepdim, x.shape)
    return (hit / hit.sum(_dims(dim, x.ndim), keepdims=True)).astype(x.dtype)


_positions = (
    Sample(((2, 5),), {"dim": 1}),
    Sample(((2, 3),)),
    Sample(((2, 3),), {"dim": 0, "keepdim": True}),
    Sample(((),), {"dim": -1}),
)


@op("y = argmax x", samples=_positions)
def argmax(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Position of the first largest element along an axis, or of all elements flattened.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty along `dim`.
    dim : int, optional
        Which axis; by default `x` is taken as flat.
    keepdim : bool, default False
        Keep it as an axis of size 1.

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.argmax(tm.tensor([[1.0, 5.0], [4.0, 3.0]]), dim=1)
    tensor([1, 0])
    """
    some(x, _dims(dim, x.ndim))
    return np.argmax(x, axis=dim, keepdims=keepdim)


@op("y = argmin x", samples=_positions)
def argmin(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Position of the first smallest element along an axis, or of all elements flattened.

    Parameters
    ----------
    x : Tensor
        Any shape, not empty along `dim`.
    dim : int, optional
        Which axis; by default `x` is taken as flat.
    keepdim : bool, default False
        Keep it as an axis of size 1.

    Raises
    ------
    IndexError
        `dim` is out of range, or there are no elements along it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.argmin(tm.tensor([[1.0, 5.0], [4.0, 3.0]]), dim=1)
    tensor([0, 1])
    """
    some(x, _dims(dim, x.ndim))
    return np.argmin(x, axis=dim, keepdims=keepdim)


# -- yes and no ------------------------------------------------------------------------------


def _each_dim(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Count axes from the left; here an empty tuple names none."""
    return () if isinstance(dim, tuple) and not dim else _dims(dim, ndim)


@op("y = whether any x ≠ 0", symbol="∃", samples=_or_empty)
def any(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Whether any element over axes is not 0; of none it is False.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.

    Returns
    -------
    Tensor
        Boolean; of uint8 too, where PyTorch stays with uint8.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.any(tm.tensor([[0, 1], [0, 0]]), dim=1)
    tensor([ True, False])
    """
    return np.any(x, axis=_each_dim(dim, x.ndim), keepdims=keepdim)


@op("y = whether all x ≠ 0", symbol="∀", samples=_or_empty)
def all(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Whether all elements over axes are not 0; of none it is True.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.

    Returns
    -------
    Tensor
        Boolean; of uint8 too, where PyTorch stays with uint8.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.all(tm.tensor([[0, 1], [1, 1]]), dim=1)
    tensor([False,  True])
    """
    return np.all(x, axis=_each_dim(dim, x.ndim), keepdims=keepdim)


@op(
    "y = how many x ≠ 0",
    samples=(Sample(((2, 3),)), Sample(((2, 3),), {"dim": 1}), Sample(((2, 3),), {"dim": (0, 1)})),
)
def count_nonzero(x: Value, dim: Dims = None) -> Value:
    """Count the elements over axes that are not 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.count_nonzero(tm.tensor([0, 3, 4]))
    tensor(2)
    """
    return np.count_nonzero(x, axis=_dims(dim, x.ndim))


# -- logarithm of a sum ------------------------------------------------------------------------


@op(
    "y = ln Σ eˣ",
    axis=_reduced_axis,
    samples=(
        Sample(((2, 3, 4),), {"dim": 1}),
        Sample(((2, 3, 4),), {"dim": (0, -1), "keepdim": True}),
        Sample(((2, 3),), {"dim": (0, 1)}),
        Sample(((),), {"dim": 0}),
    ),
)
def logsumexp(x: Value, dim: Dims, keepdim: bool = False) -> Value:
    """Logarithm of the sum of exponentials, without overflow; of nothing, or of −∞ only, −∞.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int
        Which axes.
    keepdim : bool, default False
        Keep them as axes of size 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.logsumexp(tm.tensor([1000.0, 1000.0]), dim=0)
    tensor(1000.6932)
    """
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    dims = _dims(dim, x.ndim)
    top = np.max(x, axis=dims, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    y = np.log(_add(np.exp(x - top), axis=dims, keepdims=True)) + top
    return y if keepdim else np.squeeze(y, dims)


@logsumexp.gradient("x", "dx = dy · eˣ⁻ʸ")
def logsumexp_dx(dy: Value, x: Value, out: Value, dim: Dims, keepdim: bool) -> Value:
    return keep(dy, dim, keepdim, x.shape) * exp(x - keep(out, dim, keepdim, x.shape))
