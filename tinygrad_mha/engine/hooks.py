"""Functions of the user's that see a gradient pass, and may change it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor

Hook = Callable[["Tensor"], "Tensor | None"]

_numbers = itertools.count()


class Handle:
    """What registering a hook returns: the way to be rid of it again."""

    def __init__(self, hooks: dict[int, Any], number: int) -> None:
        self._hooks, self._number = hooks, number

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self._number, None)


def register(owner: Any, hook: Callable[..., Any]) -> Handle:
    """Add a hook to what has a ``hooks`` attribute, None at first."""
    if not callable(hook):
        raise TypeError(f"hook: expected a function, got a {type(hook).__name__}")
    if owner.hooks is None:
        owner.hooks = {}
    number = next(_numbers)
    owner.hooks[number] = hook
    return Handle(owner.hooks, number)


def run(hooks: dict[int, Hook], gradient: Tensor) -> Tensor:
    """Pass a gradient through hooks, in the order in which they were registered."""
    for hook in list(hooks.values()):
        changed = hook(gradient)
        if changed is None:
            continue
        if getattr(changed, "shape", None) != gradient.shape:
            raise RuntimeError(
                f"hook: returned {type(changed).__name__} of shape "
                f"{getattr(changed, 'shape', None)}, the gradient has shape {gradient.shape}"
            )
        if changed.dtype != gradient.dtype:
            raise RuntimeError(
                f"hook: returned {changed.dtype}, the gradient is {gradient.dtype}; convert it back"
            )
        gradient = changed
    return gradient
