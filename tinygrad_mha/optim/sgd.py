"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Tensor
from .optimizer import Optimizer, Option, Row, decayed, in_range, not_negative


class SGD(Optimizer):
    """w ← w − lr · b, with momentum b ← momentum · b + gradient (Polyak 1964, as in PyTorch).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What is to be learned, or groups of it with options of their own.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0
        Memory of the gradient.
    weight_decay : float, default 0
        weight_decay · parameter is added to its gradient.

    Raises
    ------
    ValueError
        No parameters, or an option out of its range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tm.optim.SGD([w], lr=0.25).step()
    >>> w.detach()
    tensor([0.5])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    momentum, weight_decay = Option(), Option()
    remembers = ("momentum_buffer",)
    absent = ("dampening", "nesterov", "maximize")

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        in_range(self, momentum=group["momentum"])
        not_negative(self, weight_decay=group["weight_decay"])

    def _update(self, first: int, group: dict[str, Any]) -> None:
        if group["momentum"]:  # which may be switched on at any time
            for i, p in enumerate(group["params"], first):
                if not self._memory[i]:
                    self._memory[i] = (np.zeros(p.data.size, p.dtype),)
        super()._update(first, group)

    def _run(self, group: dict[str, Any], steps: int, rows: list[Row]) -> None:
        rows = decayed(rows, group["weight_decay"])
        if not group["momentum"]:  # what may be left of the steps before is not looked at
            rows = [(values, gradient, gradient) for values, gradient, *_ in rows]
        kernels.sgd_step(rows, lr=group["lr"], momentum=group["momentum"])
