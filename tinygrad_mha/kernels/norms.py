"""Layer normalisation and its gradient."""

from __future__ import annotations

import numpy as np

from .dispatch import backend_for
from .shapes import check_fit, fits

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
    dtype, last = x.dtype, x.shape[-1:]
    if not (fits(weight, dtype, last) and fits(bias, dtype, last)):
        check_fit(dtype, last, weight=weight, bias=bias)
    y, mu, rstd = backend_for(x).layer_norm(x, weight, bias, eps)
    return y, mu, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mu: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of x, weight and bias, from what :func:`layer_norm` took and gave."""
    dtype, shape = x.dtype, x.shape
    kept = (*shape[:-1], 1)
    if not (
        fits(dy, dtype, shape) and fits(weight, dtype, shape[-1:])
        and fits(mu, dtype, kept) and fits(rstd, dtype, kept)
    ):  # fmt: skip
        check_fit(dtype, shape, dy=dy)
        check_fit(dtype, shape[-1:], weight=weight)
        check_fit(dtype, kept, mu=mu, rstd=rstd)
    dx, dweight, dbias = backend_for(x).layer_norm_backward(dy, x, weight, mu, rstd)
    return dx, dweight, dbias
