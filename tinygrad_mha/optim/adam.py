"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Tensor
from .optimizer import Optimizer, Option, Row, decayed, in_range, not_negative


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What is to be learned, or groups of it with options of their own, as in
        ``[{"params": weights}, {"params": biases, "weight_decay": 0.0}]``.
    lr : float, default 1e-3
        Learning rate; assign to ``.lr``, or to that of a group in ``.param_groups``, to change
        it between steps.
    betas : (float, float), default (0.9, 0.999)
        Memory of the gradient's mean and of its square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    weight_decay : float, default 0.01
        Each step takes lr · weight_decay of a parameter away.

    Raises
    ------
    ValueError
        No parameters, or an option out of its range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0], requires_grad=True)
    >>> optimizer = tm.optim.AdamW([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    betas, eps, weight_decay = Option(), Option(), Option()
    remembers, counts = ("exp_avg", "exp_avg_sq"), True
    absent = ("amsgrad", "maximize")

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        beta1, beta2 = group["betas"]
        in_range(self, beta1=beta1, beta2=beta2)
        not_negative(self, eps=group["eps"], weight_decay=group["weight_decay"])

    def _first_memory(self, p: Tensor) -> tuple[np.ndarray, ...]:
        return np.zeros(p.data.size, p.dtype), np.zeros(p.data.size, p.dtype)

    def _run(self, group: dict[str, Any], steps: int, rows: list[Row]) -> None:
        beta1, beta2 = group["betas"]
        kernels.adamw_step(
            rows,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            step=steps,
        )


class Adam(AdamW):
    """Adam (Kingma and Ba 2015, algorithm 1): the decay, if any, is part of the gradient.

    Parameters
    ----------
    params, lr, betas, eps
        As for :class:`AdamW`.
    weight_decay : float, default 0
        weight_decay · parameter is added to its gradient.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.optim.Adam([tm.tensor([1.0], requires_grad=True)]).weight_decay
    0.0
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _run(self, group: dict[str, Any], steps: int, rows: list[Row]) -> None:
        rows = decayed(rows, group["weight_decay"])
        super()._run({**group, "weight_decay": 0.0}, steps, rows)
