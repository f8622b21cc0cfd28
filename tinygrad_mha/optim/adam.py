"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .. import kernels
from ..engine import Tensor
from .optimizer import Optimizer, Row, in_range


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    Parameters
    ----------
    params : iterable of Tensor
        What is to be learned.
    lr : float, default 1e-3
        Learning rate; assign to ``.lr`` to change it between steps.
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
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr)
        in_range(self, beta1=betas[0], beta2=betas[1])
        if not (eps >= 0 and weight_decay >= 0):
            raise ValueError(
                f"{type(self).__name__}: eps is {eps} and weight_decay {weight_decay}, expected at "
                "least 0"
            )
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self._memory = [
            (np.zeros(p.data.size, p.dtype), np.zeros(p.data.size, p.dtype)) for p in self.params
        ]

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        self._update(self._run)

    def _run(self, steps: int, rows: list[Row]) -> None:
        kernels.adamw_step(
            rows,
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
            step=steps,
        )


class Adam(AdamW):
    """Adam (Kingma and Ba 2015, algorithm 1): :class:`AdamW` without weight decay.

    Parameters
    ----------
    params, lr, betas, eps
        As for :class:`AdamW`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.optim.Adam([tm.tensor([1.0], requires_grad=True)]).weight_decay
    0.0
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay=0.0)
