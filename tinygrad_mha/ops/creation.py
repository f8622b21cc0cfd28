"""Tensors from nothing, and the operations that only copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Sample, Tensor, op
from ..engine.op import Value
from .axes import broadcast_axis

_one = (Sample(((2, 3),)),)


@op("y = x", axis=broadcast_axis, samples=_one)
def clone(x: Value) -> Value:
    """Copy, with the gradient flowing through."""
    return np.copy(x)


@clone.gradient("x", "dx = dy")
def clone_dx(dy: Value) -> Value:
    return dy


@op(
    "y = x, in another dtype",
    axis=broadcast_axis,
    samples=(Sample(((2, 3),), {"dtype": np.float64}),),
    torch="ours:astype",
)
def astype(x: Value, dtype: Any) -> Value:
    """Convert to a dtype; the gradient comes back in the dtype of `x`."""
    return x.astype(dtype)


@astype.gradient("x", "dx = dy, in the dtype of x")
def astype_dx(dy: Value) -> Value:
    return dy  # the engine brings every gradient to its input's dtype


for _name, _dtype in {
    "float": np.float32,
    "double": np.float64,
    "long": np.int64,
    "bool": np.bool_,
}.items():

    def _convert(self: Tensor, _dtype: Any = _dtype) -> Any:
        return self if self.dtype == _dtype else astype(self, _dtype)

    _convert.__name__ = _name
    _convert.__doc__ = f"Convert to {np.dtype(_dtype)}."
    setattr(Tensor, _name, _convert)


def _shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


def zeros(*shape: Any, dtype: npt.DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.zeros(2, 2)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return Tensor(np.zeros(_shape(shape), dtype), requires_grad)


def ones(*shape: Any, dtype: npt.DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones of a shape.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.ones(3)
    tensor([1., 1., 1.])
    """
    return Tensor(np.ones(_shape(shape), dtype), requires_grad)


def full(
    shape: tuple[int, ...],
    fill_value: float,
    dtype: npt.DTypeLike = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """One value in every place of a shape.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.full((2,), 7.0)
    tensor([7., 7.])
    """
    return Tensor(np.full(shape, fill_value, dtype), requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: npt.DTypeLike | None = None
) -> Tensor:
    """Evenly spaced numbers from `start` up to, not including, `end`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.arange(3)
    tensor([0, 1, 2])
    """
    first, last = (0, start) if end is None else (start, end)
    if dtype is None and any(isinstance(v, float) for v in (first, last, step)):
        dtype = np.float32
    return Tensor(np.arange(first, last, step, dtype=dtype))


def eye(n: int, dtype: npt.DTypeLike = np.float32) -> Tensor:
    """Build the identity matrix.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return Tensor(np.eye(n, dtype=dtype))


def from_numpy(array: np.ndarray) -> Tensor:
    """Wrap an array without copying it; the two share memory.

    Raises
    ------
    TypeError
        It is not an array.

    Examples
    --------
    >>> import numpy as np, tinygrad_mha as tm
    >>> tm.from_numpy(np.ones(2, np.float32))
    tensor([1., 1.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an array, got {type(array).__name__}")
    return Tensor(array)
