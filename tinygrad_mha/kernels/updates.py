"""What an optimizer's step does to all parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .dispatch import backend_for
from .shapes import check_fit

Array = np.ndarray


def adamw_step(
    rows: Sequence[tuple[Array, ...]],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One step of AdamW for many parameters, in place (Loshchilov and Hutter 2019, algorithm 2).

    Parameters
    ----------
    rows : sequence of (ndarray, ndarray, ndarray, ndarray)
        For each parameter four arrays of one length, ``(n,)``, all of one dtype: what is
        learned, its gradient, the running means of the gradient and of its square. Those
        that change are consecutive in memory.
    lr, beta1, beta2, eps, weight_decay : float
        The algorithm's.
    step : int
        Counts from 1; corrects the means for having begun at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> p, g, m, v = np.ones(1), np.ones(1), np.zeros(1), np.zeros(1)
    >>> kernels.adamw_step(
    ...     [(p, g, m, v)], lr=0.5, beta1=0.9, beta2=0.999, eps=0.0, weight_decay=0.0, step=1
    ... )
    >>> p
    array([0.5])
    """
    dtype = rows[0][0].dtype
    for p, g, m, v in rows:
        if not (p.dtype is g.dtype is m.dtype is v.dtype is dtype) or not (
            len(p) == len(g) == len(m) == len(v)
        ):
            check_fit(dtype, p.shape, param=p, grad=g, mean=m, square=v)
    backend_for(rows[0][0]).adamw(
        rows, 1 - lr * weight_decay, lr / (1 - beta1**step),
        beta1, beta2, math.sqrt(1 - beta2**step), eps,
    )  # fmt: skip


def sgd_step(
    rows: Sequence[tuple[Array, ...]],
    *,
    lr: float,
    momentum: float,
) -> None:
    """One step of gradient descent with momentum for many parameters, in place (Polyak 1964).

    Parameters
    ----------
    rows : sequence of (ndarray, ndarray, ndarray)
        For each parameter three arrays of one length, ``(n,)``, all of one dtype: what is
        learned, its gradient, what is left of the steps before. Those that change are
        consecutive in memory.
    lr, momentum : float
        b ← momentum · b + g, then p ← p − lr · b.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> p, g, b = np.ones(1), np.ones(1), np.zeros(1)
    >>> kernels.sgd_step([(p, g, b)], lr=0.5, momentum=0.0)
    >>> p
    array([0.5])
    """
    dtype = rows[0][0].dtype
    for p, g, b in rows:
        if not (p.dtype is g.dtype is b.dtype is dtype) or len(p) != len(g):
            check_fit(dtype, p.shape, param=p, grad=g)
            check_fit(dtype, b.shape, velocity=b)
        if momentum and len(p) != len(b):
            check_fit(dtype, p.shape, velocity=b)
    backend_for(rows[0][0]).sgd(rows, lr, momentum)
