"""What every optimizer does: hold the parameters, check them, skip those without a gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine import Tensor


class Optimizer:
    """Base class of the optimizers.

    Parameters
    ----------
    params : iterable of Tensor
        What is to be learned: leaves that require a gradient.
    lr : float
        Learning rate.

    Raises
    ------
    ValueError
        There are no parameters, one is not a leaf, or `lr` is negative.
    TypeError
        A parameter is not a tensor.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params is one tensor, expected several")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: params is empty")
        for i, p in enumerate(self.params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{type(self).__name__}: params[{i}] is a {type(p).__name__}, expected a Tensor"
                )
            if not p.is_leaf or not p.requires_grad:
                raise ValueError(
                    f"{type(self).__name__}: params[{i}] of shape {p.shape} is not a leaf that "
                    "requires a gradient"
                )
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr is {lr}, expected at least 0")
        self.lr = lr

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for p in self.params:
            p.grad = None


def in_range(owner: object, **values: Any) -> None:
    """Check that options are numbers in [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(
                f"{type(owner).__name__}: {name} is {value}, expected from 0 to below 1"
            )
