"""Learning rates that change with the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .optimizer import Optimizer


class LambdaLR:
    """Multiply the first learning rates of an optimizer by a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
        The learning rates of whose groups are set, now and at every :meth:`step`.
    factor : callable, or list of callable
        From the number of steps so far to what the first learning rate is multiplied with; one
        for all groups, or one for each.

    Attributes
    ----------
    base_lrs : list of float
        The first learning rates, one per group.
    steps : int
        How many steps were counted.

    Raises
    ------
    ValueError
        There are neither one factor nor as many as groups.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> optimizer = tm.optim.SGD([tm.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tm.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    >>> schedule.step(); optimizer.lr
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        groups = optimizer.param_groups
        self.factors = [factor] * len(groups) if callable(factor) else list(factor)
        if len(self.factors) != len(groups):
            raise ValueError(
                f"LambdaLR: {len(self.factors)} factors for {len(groups)} groups; pass one for "
                "all, or one for each"
            )
        self.optimizer, self.steps = optimizer, 0
        self.base_lrs = [group["lr"] for group in groups]
        self._set()

    def step(self) -> None:
        """Count one step and set the learning rates."""
        self.steps += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """Return the learning rates as they are now, one per group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set(self) -> None:
        # groups that were added later keep what they have
        for group, lr, factor in zip(
            self.optimizer.param_groups, self.base_lrs, self.factors, strict=False
        ):
            group["lr"] = lr * factor(self.steps)


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
