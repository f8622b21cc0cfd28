"""Layer normalisation and its gradient."""

from __future__ import annotations

import numpy as np

from .dispatch import backend_for
from .shapes import check_fit

Array = np.ndarray


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """(x − μ) / √(σ² + ε) · weight + bias over the last axis.

    Parameters
    ----------
    x : ndarray
        ``(..., d)``.
    weight, bias : ndarray or None
        ``(d,)``.
    eps : float
        ε.

    Returns
    -------
    y : ndarray
        ``(..., d)``.
    mu, rstd : ndarray
        μ and 1/√(σ² + ε), ``(..., 1)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.
    """
    check_fit(x.dtype, x.shape[-1:], weight=weight, bias=bias)
    y, mu, rstd = backend_for(x).layer_norm(x, weight, bias, eps)
    return y, mu, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mu: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of x, weight and bias, from what :func:`layer_norm` took and gave."""
    check_fit(x.dtype, x.shape, dy=dy)
    check_fit(x.dtype, x.shape[-1:], weight=weight)
    check_fit(x.dtype, (*x.shape[:-1], 1), mu=mu, rstd=rstd)
    dx, dweight, dbias = backend_for(x).layer_norm_backward(dy, x, weight, mu, rstd)
    return dx, dweight, dbias
