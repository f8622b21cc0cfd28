"""What an operation says of arguments that it cannot use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: An error that says already who complains.
_NAMED = re.compile(r"[\w.]+(\[\d+\])?: ")

#: NumPy's errors have subclasses that want other arguments than a message.
_KINDS = (IndexError, TypeError, ValueError, OverflowError)


def describe(value: object) -> str:
    """Dtype and shape of an array or tensor; the value itself of anything else."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return repr(value)[:80] if shape is None or dtype is None else f"{dtype} {tuple(shape)}"


def not_a_tensor(name: str, value: object) -> str:
    """Say that an argument is something else, and what makes a tensor of it."""
    kind = type(value).__name__
    remedy = "" if value is None else "; tm.tensor makes one of numbers and nested lists"
    return f"{name} is {'None' if value is None else f'a {kind}'}, expected a tensor{remedy}"


def explained(error: Exception, name: str, given: Iterable[tuple[str, Any]]) -> Exception:
    """Build an error of the same kind that names the function, and what it was given.

    An argument that has not what every array has, a shape or a dtype, was no tensor. Where
    an array or a tensor itself lacks something, the fault is ours and the error stays as it is.
    """
    rows = list(given)
    message = str(error)
    if isinstance(error, AttributeError):
        if hasattr(error.obj, "dtype"):
            return error
        found = next((key for key, value in rows if value is error.obj), "an argument")
        message = not_a_tensor(found, error.obj)
    if isinstance(error, OverflowError):  # NumPy's words say what is out of bounds for which dtype
        message += "; convert the tensor to a wider dtype, for example with .long()"
    if not message.startswith(f"{name}: "):
        message = f"{name}: {message}"
    lines = [message, *(f"  {key}: {describe(value)}" for key, value in rows)]
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), TypeError)
    return kind("\n".join(lines))


def names_itself(error: Exception) -> bool:
    """Whether an error's message begins with the name of what raised it."""
    return _NAMED.match(str(error)) is not None


def apart(shapes: list[tuple[int, ...]]) -> str:
    """Say where shapes do not broadcast."""
    listed = " and ".join(map(str, shapes))
    for axis in range(-1, -1 - max(map(len, shapes)), -1):
        sizes = [shape[axis] for shape in shapes if len(shape) >= -axis]
        if len({*sizes} - {1}) > 1:
            met = " and ".join(map(str, sizes))
            return (
                f"shapes {listed} do not broadcast: axis {axis} has the sizes {met}, which must be "
                "equal, or 1"
            )
    return f"shapes {listed} do not broadcast"
