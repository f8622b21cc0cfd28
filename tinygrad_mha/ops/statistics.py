"""Variance, norms, and what else sums up the elements along axes in one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .choice import choose
from .elementwise import pow
from .reduce import Dims, _add, _dims, _reduced_axis, count, keep, mean, sum

# -- variance --------------------------------------------------------------------------------

_spread = (
    Sample(((2, 3, 4),), {"dim": 1}),
    Sample(((2, 3, 4),), {"dim": (0, -1), "keepdim": True, "correction": 0}),
    Sample(((2, 3),), {"correction": 2}),
    Sample(((4,),), {"dim": 0}),
)


@op("y = Σ (x − x̄)² / (n − correction)", symbol="var", axis=_reduced_axis, samples=_spread,
    method=False)  # fmt: skip
def variance(x: Value, dim: Dims = None, correction: float = 1, keepdim: bool = False) -> Value:
    """Variance over axes; see :func:`var`."""
    if x.dtype.kind != "f":
        raise TypeError(f"x is {x.dtype}; only floating tensors have a variance")
    return _mean_square(x, dim, correction, keepdim).astype(x.dtype)


def _mean_square(x: np.ndarray, dim: Dims, correction: float, keepdim: bool) -> np.ndarray:
    dims = _dims(dim, x.ndim)
    n = count(x.shape, dims)
    x = x.astype(np.float64)  # squares of float32 numbers overflow, and their roots need not
    apart = x - (_add(x, axis=dims, keepdims=True) / n if n else np.nan)
    total = np.asarray(_add(apart * apart, axis=dims, keepdims=keepdim))
    free = max(n - correction, 0)
    return np.asarray(total / np.float64(free) if n else total * np.nan)


@variance.gradient("x", "dx = dy · 2 (x − x̄) / (n − correction)")
def variance_dx(dy: Value, x: Value, dim: Dims, correction: float, keepdim: bool) -> Value:
    dims = _dims(dim, x.ndim)
    free = count(x.shape, dims) - correction
    kept, apart = keep(dy, dim, keepdim, x.shape), x - mean(x, dims or None, True)
    if free <= 0 and (dim is None or x.ndim == 0):  # as PyTorch has it
        return kept * np.where(plain(apart) == 0, np.nan, np.inf).astype(x.dtype)
    return kept * (2.0 / free if free else np.inf) * apart


@op("y = √(Σ (x − x̄)² / (n − correction))", symbol="std", axis=_reduced_axis, samples=_spread,
    method=False)  # fmt: skip
def deviation(x: Value, dim: Dims = None, correction: float = 1, keepdim: bool = False) -> Value:
    """Standard deviation over axes; see :func:`std`."""
    if x.dtype.kind != "f":
        raise TypeError(f"x is {x.dtype}; only floating tensors have a standard deviation")
    return np.sqrt(_mean_square(x, dim, correction, keepdim)).astype(x.dtype)


@deviation.gradient("x", "dx = dy · (x − x̄) / ((n − correction) · y), and 0 where y = 0")
def deviation_dx(
    dy: Value, x: Value, out: Value, dim: Dims, correction: float, keepdim: bool
) -> Value:
    none = plain(out) == 0
    half = choose(none, 0.0, dy / (2 * choose(none, 1.0, out)))
    return variance_dx(half, x, dim, correction, keepdim)


def _arguments(dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Dims, float]:
    """Read ``var(x, False)`` as well as ``var(x, dim, correction=0)``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError("give unbiased or correction, not both")
    if unbiased is not None:
        return dim, int(unbiased)
    return tuple(dim) if isinstance(dim, list) else dim, 1 if correction is None else correction


def var(
    x: Any,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """Variance over axes: the sum of squares of what differs from the mean, over n − correction.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    unbiased : bool, optional
        An older way to say a correction of 1 or 0.
    keepdim : bool, default False
        Keep them as axes of size 1.
    correction : float, default 1
        What is taken from n: 1 for the unbiased estimate (Bessel's correction), 0 for none.

    Raises
    ------
    TypeError
        `x` is not floating.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([1.0, 2.0, 3.0])
    >>> tm.var(x), tm.var(x, correction=0)
    (tensor(1.), tensor(0.6666667))
    """
    dim, correction = _arguments(dim, unbiased, correction)
    return variance(x, dim, correction, keepdim)


def std(
    x: Any,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """Standard deviation over axes: the root of the variance; its gradient is 0 where it is 0.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    unbiased : bool, optional
        An older way to say a correction of 1 or 0.
    keepdim : bool, default False
        Keep them as axes of size 1.
    correction : float, default 1
        What is taken from n.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.std(tm.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    dim, correction = _arguments(dim, unbiased, correction)
    return deviation(x, dim, correction, keepdim)


def var_mean(
    x: Any,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """Variance and mean over axes; see :func:`var`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.var_mean(tm.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dim, correction = _arguments(dim, unbiased, correction)
    return variance(x, dim, correction, keepdim), mean(x, dim, keepdim)


def std_mean(
    x: Any,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """Standard deviation and mean over axes; see :func:`std`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.std_mean(tm.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dim, correction = _arguments(dim, unbiased, correction)
    return deviation(x, dim, correction, keepdim), mean(x, dim, keepdim)


# -- norms -------------------------------------------------------------------------------------


@op(
    "y = (Σ |x|ᵖ)^(1/p)",
    symbol="‖·‖",
    axis=_reduced_axis,
    torch="linalg.vector_norm",
    method=False,
    samples=(
        Sample(((2, 3),)),
        Sample(((2, 3, 4),), {"dim": (0, -1), "keepdim": True}),
        Sample(((2, 3),), {"ord": 1, "dim": 1}),
        Sample(((2, 3),), {"ord": 3, "dim": 0}),
        Sample(((2, 3),), {"ord": 2.5, "dim": 0}),
        Sample(((2, 3),), {"ord": 1.5}, domain=(0.5, 2.0)),
        Sample(((2, 3),), {"ord": 0.5}, domain=(0.5, 2.0)),
        Sample(((2, 3),), {"ord": -1}, domain=(0.5, 2.0)),
        Sample(((2, 3),), {"ord": float("inf"), "dim": 1}),
        Sample(((2, 3),), {"ord": float("-inf")}),
        Sample(((),)),
        Sample(((0, 2),), {"dim": 0}),
    ),
)
def vector_norm(
    x: Value, ord: float = 2, dim: Dims = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    """Norm of the vectors along axes; its gradient at the zero vector is 0.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    ord : float, default 2
        p: ∞ takes the largest |x|, −∞ the smallest, 0 counts the x ≠ 0.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    dtype : dtype, optional
        What `x` is converted to first.

    Raises
    ------
    TypeError
        `x` is not floating.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([3.0, -4.0])
    >>> tm.vector_norm(x), tm.vector_norm(x, ord=1), tm.vector_norm(x, ord=float("inf"))
    (tensor(5.), tensor(7.), tensor(4.))
    """
    if np.dtype(dtype or x.dtype).kind != "f":
        raise TypeError(f"x is {x.dtype}; only floating tensors have a norm")
    x = x.astype(dtype or x.dtype, copy=False)
    dims = _dims(dim, x.ndim)
    if ord == 2:
        return np.sqrt(_add(x * x, axis=dims, keepdims=keepdim))
    size = abs(x)
    if ord == 0:
        return np.asarray((x != 0).sum(dims, keepdims=keepdim)).astype(x.dtype)
    if np.isinf(ord):
        if ord > 0:
            return np.max(size, axis=dims, keepdims=keepdim, initial=0)
        return np.min(size, axis=dims, keepdims=keepdim)
    total = _add(size if ord == 1 else size**ord, axis=dims, keepdims=keepdim)
    return total if ord == 1 else total ** (1 / ord)


@vector_norm.gradient("x", "dx = dy · sign x · (|x| / y)ᵖ⁻¹, and 0 where y = 0")
def vector_norm_dx(dy: Value, x: Value, out: Value, ord: float, dim: Dims, keepdim: bool) -> Value:
    kept, y = keep(dy, dim, keepdim, x.shape), keep(out, dim, keepdim, x.shape)
    sign = np.sign(plain(x))
    if ord == 0:
        return kept * (0 * sign)
    if ord == 1:
        return kept * sign
    if np.isinf(ord):
        hit = abs(plain(x)) == plain(y)
        return kept * (sign * (hit / hit.sum(_dims(dim, x.ndim), keepdims=True)).astype(x.dtype))
    none = plain(y) == 0
    safe = choose(none, 1.0, y)
    if ord == 2:
        return kept * choose(none, 0.0, x / safe)
    none = none | (plain(x) == 0)
    ratio = choose(none, 1.0, x * sign / safe)
    return kept * choose(none, 0.0, sign * pow(ratio, ord - 1))


def norm(
    x: Any,
    p: float | str | None = "fro",
    dim: Dims | list[int] = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Any:
    """Norm of the vectors along axes; see :func:`vector_norm`.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    p : float or {"fro"}, default "fro"
        The order; "fro" is 2.
    dim : int or tuple of int, optional
        Which axes; all of them by default.
    keepdim : bool, default False
        Keep them as axes of size 1.
    dtype : dtype, optional
        What `x` is converted to first.

    Raises
    ------
    ValueError
        The order is of another name.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.norm(tm.tensor([[3.0, 4.0], [6.0, 8.0]]), dim=1)
    tensor([ 5., 10.])
    """
    if isinstance(p, str) and p != "fro":
        remedy = "; without a gradient, np.linalg.norm(x.detach(), 'nuc')" if p == "nuc" else ""
        raise ValueError(f"norm: p is {p!r}; it can be a number or 'fro'{remedy}")
    order = 2 if p is None or isinstance(p, str) else p
    return vector_norm(x, order, tuple(dim) if isinstance(dim, list) else dim, keepdim, dtype)


# -- sums that pass over nan -----------------------------------------------------------------


def nansum(x: Any, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Sum over axes, taking nan for 0.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nansum(tm.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    nan = np.isnan(plain(x))
    return sum(choose(nan, 0.0, x) if nan.any() else x, dim, keepdim, dtype)


def nanmean(x: Any, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Mean over axes of what is not nan.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nanmean(tm.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5)
    """
    total = nansum(x, dim, keepdim, dtype)
    n = sum(~np.isnan(plain(x)), dim, keepdim)
    return total / np.asarray(n).astype(total.dtype)


for _function in (var, std, var_mean, std_mean, norm, nansum, nanmean):
    setattr(Tensor, _function.__name__, _function)
