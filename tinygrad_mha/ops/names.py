"""How functions that are composed of operations meet the outside, as operations do themselves."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..engine.messages import explained, names_itself


def public(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function's first argument x be called ``input``, as in PyTorch, and errors teach.

    What is no tensor is named, with the function and what it was given. Operations do both by
    themselves, and stay as they are.
    """
    if type(function) is not FunctionType:
        return function
    renamed = function.__code__.co_varnames[:1] == ("x",)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if renamed and "input" in kwargs and not args:
            args = (kwargs.pop("input"),)
        try:
            return function(*args, **kwargs)
        except (AttributeError, TypeError) as error:
            if names_itself(error):
                raise
            raise explained(error, function.__name__, _given(function, args, kwargs)) from error

    return call


def _given(
    function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[str, Any]]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:  # too many, or too few: which is what the error says
        return [(f"#{i}", value) for i, value in enumerate(args)] + list(kwargs.items())
    return list(bound.arguments.items())
