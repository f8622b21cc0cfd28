"""Python's operators on tensors: ``a + b``, ``2 * a``, ``a @ b``, ``a == b``, ``~mask``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Op, Tensor
from ..engine.modes import thread
from ..engine.tensor import weak
from .elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    div,
    eq,
    floor_divide,
    ge,
    gt,
    le,
    lt,
    mul,
    ne,
    neg,
    pow,
    remainder,
    sub,
)
from .linalg import matmul

_BINARY: dict[str, Op[Any]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "truediv": div,
    "floordiv": floor_divide,
    "mod": remainder,
    "pow": pow,
    "matmul": matmul,
    "and": bitwise_and,
    "or": bitwise_or,
    "xor": bitwise_xor,
}
_COMPARISONS: dict[str, Op[Any]] = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}
_UNARY = {"neg": neg, "abs": abs, "invert": bitwise_not}
_OPERANDS = (Tensor, np.ndarray, int, float, np.generic)


def _forward(operation: Op[Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if isinstance(other, Tensor):
            return operation(self, other)
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return operation(self, weak(other))

    return method


_general_matmul = _forward(matmul)


def _matmul(self: Tensor, other: Any) -> Any:
    """``a @ b``; what is not recorded goes to the kernel without the steps that recording needs.

    Of a product of 8 × 8 matrices, those would be most of the time.
    """
    if isinstance(other, Tensor):
        if self._view is not None:
            self.refresh()
        if other._view is not None:
            other.refresh()
        wanted = self._requires_grad or other._requires_grad
        if not (wanted and thread.modes.grad_enabled):
            product = kernels.quick_product(self.data, other.data)
            if product is not None:
                return Tensor(product)
    return _general_matmul(self, other)


def _reflected(operation: Op[Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return operation(weak(other), self)

    return method


def _alone(operation: Op[Any]) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return operation(self)

    return method


def attach(tensor: type[Tensor]) -> None:
    """Give the class its operators. Tensors stay hashable, by identity."""
    for name, operation in {**_BINARY, **_COMPARISONS}.items():
        setattr(tensor, f"__{name}__", _forward(operation))
    setattr(tensor, "__matmul__", _matmul)  # noqa: B010
    for name, operation in _BINARY.items():
        setattr(tensor, f"__r{name}__", _reflected(operation))
    for name, operation in _UNARY.items():
        setattr(tensor, f"__{name}__", _alone(operation))
    setattr(tensor, "__pos__", lambda self: self)  # noqa: B010
