"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .. import kernels
from ..engine import Tensor
from .optimizer import Optimizer, Row, in_range


class SGD(Optimizer):
    """w ← w − lr · b, with momentum b ← momentum · b + gradient (Polyak 1964, as in PyTorch).

    Parameters
    ----------
    params : iterable of Tensor
        What is to be learned.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0
        Memory of the gradient.

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

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.0) -> None:
        super().__init__(params, lr)
        in_range(self, momentum=momentum)
        self.momentum = momentum

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        if self.momentum and not self._memory[0]:  # which may be switched on at any time
            self._memory = [(np.zeros(p.data.size, p.dtype),) for p in self.params]
        self._update(self._run)

    def _run(self, steps: int, rows: list[Row]) -> None:
        if len(rows[0]) < 3:  # without momentum there is no velocity, and none is looked at
            rows = [(p, g, g) for p, g in rows]
        kernels.sgd_step(rows, lr=self.lr, momentum=self.momentum)
