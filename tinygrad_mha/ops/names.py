"""The names of arguments: the first one may be given as ``input``, as in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any


def takes_input(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function whose formula calls its first argument x be called with ``input=`` too.

    Operations do so by themselves; what is no function, or has other names, stays as it is.
    """
    if type(function) is not FunctionType or function.__code__.co_varnames[:1] != ("x",):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs and not args:
            args = (kwargs.pop("input"),)
        return function(*args, **kwargs)

    return call
