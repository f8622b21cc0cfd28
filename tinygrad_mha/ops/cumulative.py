"""Running sums, products and extremes along an axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .axes import same_axis
from .choice import choose
from .join import flip
from .reduce import _accumulator, sum
from .scatter import gather
from .shape import from_left, transpose, unsqueeze

_samples = (
    Sample(((2, 3),), {"dim": 1}),
    Sample(((2, 3, 2),), {"dim": -2}),
    Sample(((0, 3),), {"dim": 0}),
    Sample(((),), {"dim": 0}),
)


def _axis(axis: int, which: int, shapes: Any, out: Any, params: dict[str, Any]) -> int | None:
    return same_axis(axis, which, shapes, out, params) if out else None


def _running(ufunc: np.ufunc, x: np.ndarray, dim: int, dtype: Any = None) -> np.ndarray:
    axis, dtype = from_left(dim, x.ndim), np.dtype(dtype or x.dtype)
    if not x.ndim:
        return np.array(x, dtype)
    if dtype == np.float32 and ufunc in (np.add, np.multiply):  # long sums lose digits in float32
        return ufunc.accumulate(x, axis, np.float64).astype(dtype)
    return ufunc.accumulate(x, axis, dtype)


@op("yᵢ = Σ xⱼ over j ≤ i", symbol="Σ", axis=_axis, samples=_samples)
def cumsum(x: Value, dim: int, dtype: Any = None) -> Value:
    """Sum up to each element of an axis.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    dtype : dtype, optional
        What `x` is converted to first; integers and booleans to int64 by default.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.cumsum(tm.tensor([1, 2, 3]), dim=0)
    tensor([1, 3, 6])
    """
    return _running(np.add, x, dim, _accumulator(x, dtype))


@cumsum.gradient("x", "dxⱼ = Σ dyᵢ over i ≥ j")
def cumsum_dx(dy: Value, dim: int) -> Value:
    return flip(cumsum(flip(dy, (dim,)), dim), (dim,))


@op("yᵢ = Π xⱼ over j ≤ i", symbol="Π", axis=_axis, samples=_samples)
def cumprod(x: Value, dim: int, dtype: Any = None) -> Value:
    """Product up to each element of an axis; its gradients are exact where elements are 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    dtype : dtype, optional
        What `x` is converted to first; integers and booleans to int64 by default.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.cumprod(tm.tensor([1, 2, 3]), dim=0)
    tensor([1, 2, 6])
    """
    return _running(np.multiply, x, dim, _accumulator(x, dtype))


@cumprod.gradient("x", "dxⱼ = Σ dyᵢ · Π xₖ over k ≤ i but j, over i ≥ j")
def cumprod_dx(dy: Value, x: Value, out: Value, dim: int) -> Value:
    if not x.ndim:
        return dy
    if _divides(plain(out)):
        return flip(cumsum(flip(dy * cumprod(x, dim), (dim,)), dim), (dim,)) / x
    n = x.shape[dim]
    rows = unsqueeze(transpose(x, dim, -1), -2)  # (..., 1, n): row j is to leave out element j
    others = cumprod(choose(np.eye(n, dtype=bool), 1.0, rows), -1)  # (..., j, i)
    later = np.triu(np.ones((n, n), bool))
    terms = choose(later, others * unsqueeze(transpose(dy, dim, -1), -2), 0.0)
    return transpose(sum(terms, -1), dim, -1)


def _divides(out: np.ndarray) -> bool:
    """Whether all products are numbers that one can divide by."""
    return bool(out.all() and np.isfinite(out).all())


@cumprod.fused_gradient
def cumprod_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, out: np.ndarray, dim: int
) -> tuple[np.ndarray]:
    if not x.ndim or _divides(out):
        return (cumprod_dx(dy, x, out, dim),)
    rows, dys = np.moveaxis(x, dim, 0), np.moveaxis(dy, dim, 0)
    dx = np.empty_like(rows)
    after = np.zeros_like(rows[0])  # Σ over i ≥ j of dyᵢ · Π xₖ over j < k ≤ i
    for j in range(len(rows) - 1, -1, -1):
        after = dys[j] + (after * rows[j + 1] if j + 1 < len(rows) else 0)
        dx[j] = after
    before = np.moveaxis(out, dim, 0)[:-1]
    dx[1:] *= before
    return (np.moveaxis(dx, 0, dim),)


# -- extremes ----------------------------------------------------------------------------------


class Running(NamedTuple):
    """Running extremes and where they were last found."""

    values: Any
    indices: Any


@op("y = where the largest xⱼ over j ≤ i is", samples=_samples, method=False,
    torch="ours:cummax")  # fmt: skip
def last_largest(x: Value, dim: int) -> Value:
    """Position of the last element that is as large as any before it."""
    return _last(np.maximum, x, dim)


@op("y = where the smallest xⱼ over j ≤ i is", samples=_samples, method=False,
    torch="ours:cummin")  # fmt: skip
def last_smallest(x: Value, dim: int) -> Value:
    """Position of the last element that is as small as any before it."""
    return _last(np.minimum, x, dim)


def _last(ufunc: np.ufunc, x: np.ndarray, dim: int) -> np.ndarray:
    if not x.ndim:
        from_left(dim, 0)
        return np.zeros((), np.int64)
    axis = from_left(dim, x.ndim)
    hit = (x == _running(ufunc, x, axis)) | np.isnan(x)
    here = np.arange(x.shape[axis]).reshape(-1, *[1] * (x.ndim - axis - 1))
    return np.maximum.accumulate(np.where(hit, here, 0), axis)


def cummax(x: Any, dim: int) -> Running:
    """Largest element up to each element of an axis, and where it was last found.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.

    Returns
    -------
    (values, indices)
        The gradient goes to the elements at these indices.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.cummax(tm.tensor([1, 3, 2]), dim=0).values
    tensor([1, 3, 3])
    """
    indices = last_largest(x, dim)
    return Running(gather(x, dim, indices), indices)


def cummin(x: Any, dim: int) -> Running:
    """Smallest element up to each element of an axis, and where it was last found.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.

    Returns
    -------
    (values, indices)
        The gradient goes to the elements at these indices.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.cummin(tm.tensor([2, 3, 1]), dim=0).values
    tensor([2, 2, 1])
    """
    indices = last_smallest(x, dim)
    return Running(gather(x, dim, indices), indices)


for _function in (cummax, cummin):
    setattr(Tensor, _function.__name__, _function)
