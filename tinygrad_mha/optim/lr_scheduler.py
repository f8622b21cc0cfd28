"""Learning rates that change with the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from .optimizer import Optimizer


class LambdaLR:
    """Multiply the optimizer's first learning rate by a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
        Whose ``lr`` is set, now and at every :meth:`step`.
    factor : callable
        From the number of steps so far to what the first learning rate is multiplied with.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> optimizer = tm.optim.SGD([tm.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tm.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    >>> schedule.step(); optimizer.lr
    0.5
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self.optimizer, self.factor = optimizer, factor
        self.base_lr, self.steps = optimizer.lr, 0
        optimizer.lr = self.base_lr * factor(0)

    def step(self) -> None:
        """Count one step and set the learning rate."""
        self.steps += 1
        self.optimizer.lr = self.base_lr * self.factor(self.steps)


def warmup_cosine(warmup: int, total: int, floor: float = 0.1) -> Callable[[int], float]:
    """Rise in a line to 1 over `warmup` steps, then fall along a cosine to `floor`.

    Parameters
    ----------
    warmup, total : int
        Steps of the rise, and of everything.
    floor : float, default 0.1
        Where it ends (Loshchilov and Hutter 2017, eq. 5).

    Returns
    -------
    callable
        For :class:`LambdaLR`.

    Examples
    --------
    >>> from tinygrad_mha.optim.lr_scheduler import warmup_cosine
    >>> factor = warmup_cosine(10, 100)
    >>> factor(9), round(factor(100), 3)
    (1.0, 0.1)
    """

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor
