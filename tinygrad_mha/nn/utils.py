"""Helpers for training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..engine import Tensor


def clip_grad_norm_(
    params: Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients, in place, so that together their norm is at most `max_norm`.

    Parameters
    ----------
    params : iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
        The bound.
    error_if_nonfinite : bool, default False
        Raise when the norm is nan or infinite.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    RuntimeError
        The norm is not finite, and `error_if_nonfinite`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w * 0.5).sum().backward()
    >>> tm.nn.utils.clip_grad_norm_([w], 1.0)
    5.0
    """
    grads = [p.grad.data for p in params if p.grad is not None]
    norm = float(np.sqrt(sum(float(np.vdot(g, g)) for g in grads)))
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the gradients' norm is {norm}")
    if norm > max_norm:
        for g in grads:
            g *= max_norm / (norm + 1e-6)
    return norm
