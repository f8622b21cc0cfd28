"""What every optimizer does: hold the parameters, check them, skip those without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from ..engine import Tensor, touch

#: Of one parameter, each ``(n,)``: its values, its gradient, what is remembered of earlier ones.
Row: TypeAlias = tuple[np.ndarray, ...]


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
        if hasattr(params, "parameters"):
            kind = type(params).__name__
            raise TypeError(f"{type(self).__name__}: params is a {kind}; pass its .parameters()")
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
        self._steps = [0] * len(self.params)
        self._seen: list[np.ndarray | None] = [None] * len(self.params)
        #: What is remembered of each parameter's gradients, in the order of its numbers.
        self._memory: list[tuple[np.ndarray, ...]] = [()] * len(self.params)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for p in self.params:
            p._grad = None

    def _update(self, run: Callable[[int, list[Row]], None]) -> None:
        """Take each parameter that has a gradient a step further, in place.

        Parameters
        ----------
        run : callable
            Gets how many steps they have taken, this one included, and what is to be updated
            together: parameters of one dtype that have taken as many.
        """
        together: dict[tuple[int, np.dtype[Any]], list[Row]] = {}
        group: list[Row] = []
        alike: tuple[int, Any] = (0, None)
        changed: list[np.ndarray] = []
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        counts, memory, seen = self._steps, self._memory, self._seen
        for i, p in enumerate(self.params):
            g = p._grad
            if g is None:
                continue
            data = p.data
            flat, gradient = data.ravel(), g.data.ravel()
            dtype = flat.dtype
            if data is not seen[i] or gradient.size != flat.size or gradient.dtype is not dtype:
                self._check(i, flat, gradient)
            if flat.base is None:  # not consecutive in memory, so that ravel() made a copy
                copies.append((data, flat))
            counts[i] = steps = counts[i] + 1
            if alike != (steps, dtype):  # most belong to the group of the one before
                alike = steps, dtype
                group = together.setdefault(alike, [])
            group.append((flat, gradient) + memory[i])
            changed.append(data)
        for (steps, _), rows in together.items():
            run(steps, rows)
        for data, flat in copies:
            data[...] = flat.reshape(data.shape)
        touch(changed)

    def _check(self, i: int, values: np.ndarray, gradient: np.ndarray) -> None:
        """Refuse what a kernel could not bring together: it trusts sizes and dtypes."""
        p = self.params[i]
        remembered = [("what this optimizer remembers of it", row) for row in self._memory[i]]
        for what, array in [("its gradient", gradient), *remembered]:
            if (array.size, array.dtype) != (values.size, values.dtype):
                raise RuntimeError(
                    f"{type(self).__name__}: params[{i}] is {p.dtype} {p.shape}, but {what} is of "
                    f"{array.dtype} and has {array.size} elements; a parameter whose .data was "
                    "replaced, or converted as by .double(), needs a new optimizer, and a gradient "
                    "of its own"
                )
        self._seen[i] = p.data


def in_range(owner: object, **values: Any) -> None:
    """Check that options are numbers in [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(
                f"{type(owner).__name__}: {name} is {value}, expected from 0 to below 1"
            )
