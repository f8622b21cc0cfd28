"""Functions of each number by itself, and their gradients."""

from __future__ import annotations

import numpy as np

from . import reference
from .dispatch import backend_for
from .shapes import check_fit

Array = np.ndarray


def gelu(x: Array, approximate: bool = False) -> Array:
    """x · Φ(x), or with `approximate` its tanh formula, elementwise."""
    y: Array = backend_for(x).gelu(x, approximate)
    return y


def gelu_backward(dy: Array, x: Array, approximate: bool = False) -> Array:
    """dy · gelu′(x), elementwise."""
    check_fit(x.dtype, x.shape, dy=dy)
    dx: Array = backend_for(x).gelu_backward(dy, x, approximate)
    return dx


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), elementwise."""
    y: Array = backend_for(x).sigmoid(x)
    return y


def silu(x: Array) -> Array:
    """x · σ(x), elementwise."""
    y: Array = backend_for(x).silu(x)
    return y


def silu_backward(dy: Array, x: Array) -> Array:
    """dy · silu′(x), elementwise."""
    check_fit(x.dtype, x.shape, dy=dy)
    dx: Array = backend_for(x).silu_backward(dy, x)
    return dx


def erf(x: Array) -> Array:
    """Error function, elementwise."""
    y: Array = backend_for(x).erf(x)
    return y


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of max(x, 0).

    Parameters
    ----------
    dy, y : ndarray
        Incoming gradient, and the output, of one shape and dtype.

    Returns
    -------
    ndarray
        `dy`, with 0 where y ≤ 0; where y is nan the gradient passes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.relu_backward(np.array([5.0, np.inf]), np.array([2.0, 0.0]))
    array([5., 0.])
    """
    if dy.dtype is not y.dtype or dy.shape != y.shape:
        check_fit(y.dtype, y.shape, dy=dy)
    dx: Array = backend_for(y).relu_backward(dy, y)
    return dx


# NumPy's own are vectorised, and as fast as ours would be
exp, tanh = reference.exp, reference.tanh
