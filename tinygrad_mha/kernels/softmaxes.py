"""Softmax, its logarithm, the cross-entropy made of it; and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import state
from .dispatch import backend_for
from .shapes import check_fit

Array = np.ndarray

_INT64 = np.dtype(np.int64)


#: Numbers in a small matrix: fewer than two threads would share.
_SMALL = 2**16


def small_softmax(x: Array, axis: int = -1, dtype: Any = None) -> Array | None:
    """Softmax over the last axis of a matrix, where that is one call of a kernel; else None."""
    make = state.softmax.get(x.dtype)
    if make is None or x.size > _SMALL or axis not in (-1, 1) or dtype is not None:
        return None  # the kernel would decline too, but only when the result has been made
    return make(x, x, False, 0, -_SMALL)


def softmax(x: Array, axis: int = -1, mask: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) along an axis.

    Parameters
    ----------
    x : ndarray
        Any shape.
    axis : int, default -1
        The axis.
    mask : bool ndarray, optional
        Broadcasts to `x`; only numbers where it is True take part. Where none does, the
        result is 0; without a mask, a row of −∞ gives nan.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    if mask is None and x.ndim == 2 and (small := small_softmax(x, axis)) is not None:
        return small
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise IndexError(f"axis {axis} is out of range for shape {x.shape}")
    if x.ndim == 0:
        return softmax(x[None], 0, mask).reshape(())
    y: Array = backend_for(x).softmax(x, axis, mask)
    return y


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """y · (dy − Σ dy · y) along an axis: the gradient of :func:`softmax`."""
    if y.ndim == 0:
        return np.zeros_like(y)
    check_fit(y.dtype, y.shape, dy=dy)
    dx: Array = backend_for(y).softmax_backward(dy, y, axis)
    return dx


def logsumexp(x: Array, axis: int = -1) -> Array:
    """ln Σ exp(x) along an axis."""
    if x.ndim == 0:
        return x.copy()
    y: Array = backend_for(x).logsumexp(x, axis)
    return y


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x − ln Σ exp(x) along an axis."""
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise IndexError(f"axis {axis} is out of range for shape {x.shape}")
    if x.ndim == 0:
        return np.asarray(x - x)
    y: Array = backend_for(x).log_softmax(x, axis)
    return y


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy − exp(y) · Σ dy along an axis: the gradient of :func:`log_softmax`."""
    if y.ndim == 0:
        return np.zeros_like(y)
    check_fit(y.dtype, y.shape, dy=dy)
    dx: Array = backend_for(y).log_softmax_backward(dy, y, axis)
    return dx


def cross_entropy(x: Array, target: Array, ignored: int = -100) -> tuple[Array, Array, int]:
    """−ln softmax(x)[target] of each row, and what the gradient needs.

    Parameters
    ----------
    x : ndarray
        ``(R, C)``.
    target : ndarray of int64
        ``(R,)``, from 0 to C − 1; or `ignored`, for rows whose loss is 0.
    ignored : int, default -100
        Names the rows that do not count.

    Returns
    -------
    losses, lse : ndarray
        Both ``(R,)``; `lse` is ln Σ exp(x), nan where that is ∞.
    counted : int
        How many rows are not ignored.

    Raises
    ------
    IndexError
        A target is out of range.
    TypeError
        The targets are not int64.
    """
    if target.dtype is not _INT64 or len(target) != len(x):
        check_fit(_INT64, x.shape[:1], target=target)
    losses, lse, counted = backend_for(x).cross_entropy(x, target, ignored)
    if counted < 0:
        raise _out_of_range(x, target, counted)
    return losses, lse, counted


def cross_entropy_backward(
    d: Array, x: Array, lse: Array, target: Array, ignored: int = -100
) -> Array:
    """d · (softmax(x) − one-hot(target)): the gradient of :func:`cross_entropy`.

    Parameters
    ----------
    d : ndarray
        ``(R,)``, gradient of each row's loss.
    x, lse, target, ignored
        As they went in and came out.

    Returns
    -------
    ndarray
        ``(R, C)``.

    Raises
    ------
    IndexError
        A target is out of range by now.
    """
    if not (d.dtype is lse.dtype is x.dtype and target.dtype is _INT64) or not (
        len(d) == len(lse) == len(target) == len(x)
    ):
        check_fit(x.dtype, x.shape[:1], d=d, lse=lse)
        check_fit(_INT64, x.shape[:1], target=target)
    dx: Array
    dx, done = backend_for(x).cross_entropy_backward(d, x, lse, target, ignored)
    if done < 0:
        raise _out_of_range(x, target, done)
    return dx


def _out_of_range(x: Array, target: Array, which: int) -> IndexError:
    return IndexError(f"target {target[-1 - which]} is out of range for {x.shape[1]} classes")
