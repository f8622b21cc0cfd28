"""Operations that take the elements along an axis together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, op
from ..engine.op import Value
from .axes import Shape
from .shape import expand, from_left, reshape

Dims = int | tuple[int, ...] | None

#: np.sum without its Python around it; Any, because NumPy's stubs want a literal `keepdims`.
_add: Any = np.add.reduce


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Count the axes that `dim` names from the left."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int | np.integer) else dim
    counted = tuple([from_left(d, ndim) for d in dims])
    return counted if ndim else ()


def _some(x: Value, dims: tuple[int, ...]) -> None:
    """Refuse to look for the largest of no elements."""
    if any(x.shape[d] == 0 for d in dims):
        raise IndexError(f"no elements along dim {dims}, so none is the largest")


def _reduced_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    gone = _dims(params["dim"], len(shapes[0]))
    if axis in gone:
        return None
    return axis if params["keepdim"] else axis - len([d for d in gone if d < axis])


def _keep(dy: Value, dim: Dims, keepdim: bool, shape: Shape) -> Value:
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
)


@op("y = Σ x", symbol="Σ", axis=_reduced_axis, samples=(*_samples, Sample(((0, 3),), {"dim": 0})))
def sum(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Sum over axes.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    """
    return _add(x, axis=_dims(dim, x.ndim), keepdims=keepdim)


@sum.gradient("x", "dx = dy, copied along the summed axes")
def sum_dx(dy: Value, x_shape: Shape, dim: Dims, keepdim: bool) -> Value:
    return expand(_keep(dy, dim, keepdim, x_shape), x_shape)


@op("y = Σ x / n", axis=_reduced_axis, samples=_samples)
def mean(x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    """Mean over axes; of no elements it is nan.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    """
    dims = _dims(dim, x.ndim)
    n = _count(x.shape, dims)
    return _add(x, axis=dims, keepdims=keepdim) * (1.0 / n if n else np.nan)


@mean.gradient("x", "dx = dy / n, copied along the averaged axes")
def mean_dx(dy: Value, x_shape: Shape, dim: Dims, keepdim: bool) -> Value:
    n = _count(x_shape, _dims(dim, len(x_shape)))
    return expand(_keep(dy, dim, keepdim, x_shape) * (1.0 / n if n else np.nan), x_shape)


def _count(shape: Shape, dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= shape[d]
    return n


@op(
    "y = max x",
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
    """
    dims = _dims(dim, x.ndim)
    _some(x, dims)
    return np.max(x, axis=dims, keepdims=keepdim)


@amax.gradient("x", "dx = dy where x = y, shared among ties")
def amax_dx(dy: Value, x: Value, out: Value, dim: Dims, keepdim: bool) -> Value:
    kept = _keep(out, dim, keepdim, x.shape)
    hit = (x == kept) * 1.0
    share = hit / sum(hit, dim, True)
    return (_keep(dy, dim, keepdim, x.shape) * share).astype(x.dtype)


@op(
    "y = argmax x",
    samples=(Sample(((2, 5),), {"dim": 1}), Sample(((2, 3),))),
)
def argmax(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Position of the first largest element along an axis, or of all elements flattened."""
    _some(x, _dims(dim, x.ndim))
    return np.argmax(x, axis=dim, keepdims=keepdim)
