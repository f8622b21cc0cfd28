"""Tensors from nothing, and the operations that only copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Sample, Tensor, op, tensor
from ..engine.op import Value, plain
from .axes import Shape, broadcast_axis
from .shape import expand, reshape

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


# -- conversions --------------------------------------------------------------------


def _converter(name: str, dtype: Any) -> Callable[[Tensor], Any]:
    def convert(self: Tensor) -> Any:
        return self if self.dtype == dtype else astype(self, dtype)

    convert.__name__ = name
    convert.__doc__ = f"Convert to {np.dtype(dtype)}; a tensor that is so already is returned."
    return convert


def _to(
    self: Tensor,
    *args: Any,
    dtype: npt.DTypeLike | None = None,
    device: str | None = None,
    non_blocking: bool = False,
    copy: bool = False,
) -> Any:
    """Convert to a dtype, or to that of another tensor; one that has it already is returned.

    Parameters
    ----------
    *args : dtype, Tensor or "cpu"
        What to convert to; after it may follow `non_blocking` and `copy`, as in PyTorch.
    dtype : dtype, optional
        What to convert to.
    device : "cpu", optional
        There is no other.
    non_blocking : bool, default False
        Changes nothing.
    copy : bool, default False
        Copy also where nothing is to convert.

    Raises
    ------
    TypeError
        It is no dtype that a tensor can have.
    ValueError
        The device is not "cpu".
    """
    flags = [arg for arg in args if isinstance(arg, int)]
    targets = [arg for arg in args if not isinstance(arg, int)]
    if len(flags) > 1:
        copy = flags[1] != 0
    if targets and _is_device(targets[0]):
        device = targets.pop(0)
    if device is not None and device.split(":")[0] != "cpu":
        raise ValueError(f"to: device is {device!r}; tensors live on 'cpu'")
    if targets:
        dtype = targets[0].dtype if isinstance(targets[0], Tensor) else targets[0]
    wanted = dtype_of(dtype, self.dtype)
    return self if wanted == self.dtype and not copy else astype(self, wanted)


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta")


def _type_as(self: Tensor, other: Tensor) -> Any:
    """Convert to the dtype of another tensor."""
    return _to(self, other)


_METHODS = {
    "float": _converter("float", np.float32),
    "double": _converter("double", np.float64),
    "long": _converter("long", np.int64),
    "int": _converter("int", np.int32),
    "bool": _converter("bool", np.bool_),
    "to": _to,
    "type_as": _type_as,
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)


def dtype_of(dtype: npt.DTypeLike | None, default: Any = np.float32) -> np.dtype[Any]:
    """Check a dtype that a user gave; None is the default.

    Raises
    ------
    TypeError
        It is no dtype that a tensor can have.
    """
    try:
        found = np.dtype(default if dtype is None else dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "biuf":
        raise TypeError(f"dtype: {dtype!r} is no dtype of numbers or booleans; try tm.float32")
    return found


def sizes(name: str, size: tuple[Any, ...]) -> Shape:
    """Read a shape given as ``(2, 3)`` or as ``2, 3``.

    Raises
    ------
    TypeError
        A size is not an integer.
    ValueError
        A size is negative.
    """
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = tuple(size[0])
    try:
        shape = tuple([n.__index__() for n in size])
    except (AttributeError, TypeError):
        raise TypeError(f"{name}: sizes have to be integers, got {size}") from None
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: the size {shape} has a negative number")
    return shape


# -- of a shape ---------------------------------------------------------------------


def zeros(*size: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape.

    Parameters
    ----------
    *size : int
        The shape, as numbers or as one tuple.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.zeros(2, 2)
    tensor([[0., 0.],
            [0., 0.]])
    """
    return Tensor(np.zeros(sizes("zeros", size), dtype_of(dtype)), requires_grad)


def ones(*size: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape.

    Parameters
    ----------
    *size : int
        The shape, as numbers or as one tuple.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.ones(3)
    tensor([1., 1., 1.])
    """
    return Tensor(np.ones(sizes("ones", size), dtype_of(dtype)), requires_grad)


def empty(*size: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Room for values of a shape. Here they are zeros, so that no run depends on old memory.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.empty(0, 3).shape
    (0, 3)
    """
    return Tensor(np.zeros(sizes("empty", size), dtype_of(dtype)), requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value in every place of a shape.

    Parameters
    ----------
    size : tuple of int
        The shape.
    fill_value : number
        The value.
    dtype : dtype, optional
        By default that of the value: float32, int64 or bool.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.full((2,), 7.0)
    tensor([7., 7.])
    """
    wanted = dtype_of(dtype, tensor(plain(fill_value)).dtype)
    return Tensor(np.full(sizes("full", (size,)), plain(fill_value), wanted), requires_grad)


def zeros_like(
    input: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the shape and, unless given, the dtype of a tensor.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.zeros_like(tm.tensor([1, 2]))
    tensor([0, 0])
    """
    return Tensor(np.zeros(input.shape, dtype_of(dtype, input.dtype)), requires_grad)


def ones_like(
    input: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the shape and, unless given, the dtype of a tensor.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.ones_like(tm.tensor([1, 2]))
    tensor([1, 1])
    """
    return Tensor(np.ones(input.shape, dtype_of(dtype, input.dtype)), requires_grad)


def empty_like(
    input: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Room of the shape and, unless given, the dtype of a tensor; see :func:`empty`."""
    return zeros_like(input, dtype=dtype, requires_grad=requires_grad)


def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value in every place of the shape of a tensor, and in its dtype unless given.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.full_like(tm.tensor([1, 2]), 7)
    tensor([7, 7])
    """
    wanted = dtype_of(dtype, input.dtype)
    return Tensor(np.full(input.shape, plain(fill_value), wanted), requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Build a matrix with ones on the diagonal, zeros elsewhere.

    Parameters
    ----------
    n : int
        Number of rows.
    m : int, optional
        Number of columns; as many as rows by default.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = sizes("eye", (n, n if m is None else m))
    return Tensor(np.eye(rows, columns, dtype=dtype_of(dtype)), requires_grad)


# -- ranges -------------------------------------------------------------------------


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Evenly spaced numbers from `start` up to, not including, `end`.

    Parameters
    ----------
    start : number
        The first; where `end` is not given, this is the end, and the first is 0.
    end : number, optional
        Where to stop.
    step : number, default 1
        The distance; not 0.
    dtype : dtype, optional
        By default int64, or float32 where one of the numbers is not an integer.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Raises
    ------
    ValueError
        `step` is 0, or leads away from `end`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.arange(3)
    tensor([0, 1, 2])
    >>> tm.arange(1, 2, 0.5)
    tensor([1. , 1.5])
    """
    first, last = (0, _number(start)) if end is None else (_number(start), _number(end))
    step = _number(step)
    if dtype is not None and dtype_of(dtype).kind in "iu":
        first, last, step = int(first), int(last), int(step)
    if step == 0:
        raise ValueError("arange: step is 0; give another")
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(f"arange: from {first} to {last} is no finite range")
    if (last - first) * step < 0:
        raise ValueError(f"arange: from {first} a step of {step} leads away from {last}")
    floats = any(isinstance(v, float) for v in (first, last, step))
    wanted = dtype_of(dtype, np.float32 if floats else np.int64)
    count = math.ceil((last - first) / step) if floats else len(range(first, last, step))
    return Tensor((first + np.arange(count) * step).astype(wanted), requires_grad)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor | np.generic | np.ndarray) else value


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Evenly spaced numbers from `start` to `end`, both included.

    Parameters
    ----------
    start, end : number
        The first and the last.
    steps : int
        How many.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    values = _spaced("linspace", start, end, steps, dtype_of(dtype))
    return Tensor(values.astype(dtype_of(dtype)), requires_grad)


def _spaced(name: str, start: Any, end: Any, steps: int, dtype: np.dtype[Any]) -> np.ndarray:
    first, last = _number(start), _number(end)
    if dtype.kind in "iu":  # the ends are integers before there is anything between them
        first, last = int(first), int(last)
    (count,) = sizes(name, (steps,))
    return np.linspace(first, last, count)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Powers of `base`, their exponents evenly spaced from `start` to `end`.

    Parameters
    ----------
    start, end : number
        The first and the last exponent.
    steps : int
        How many.
    base : float, default 10
        What is raised to them.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    exponents = _spaced("logspace", start, end, steps, dtype_of(dtype))
    values = np.power(float(base), exponents)
    return Tensor(values.astype(dtype_of(dtype)), requires_grad)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Lay coordinates out over a grid: one tensor of the grid's shape per axis.

    Parameters
    ----------
    *tensors : Tensor
        The coordinates along each axis, 1-d or 0-d; or one sequence of them.
    indexing : {"ij", "xy"}
        The order of the axes: as given, or the first two swapped.

    Raises
    ------
    ValueError
        Another indexing, a tensor with more dimensions, or none at all.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x, y = tm.meshgrid(tm.arange(2), tm.arange(3))
    >>> x
    tensor([[0, 0, 0],
            [1, 1, 1]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}; it can be 'ij' or 'xy'")
    if not tensors or any(t.ndim > 1 for t in tensors):
        shapes = [t.shape for t in tensors]
        raise ValueError(f"meshgrid: expected tensors of 0 or 1 dimension, got shapes {shapes}")
    axes = list(range(len(tensors)))
    if indexing == "xy" and len(axes) > 1:
        axes[:2] = 1, 0
    shape = [1] * len(axes)
    for axis, t in zip(axes, tensors, strict=True):
        shape[axis] = math.prod(t.shape)
    laid = []
    for axis, t in zip(axes, tensors, strict=True):
        alone = [1] * len(axes)
        alone[axis] = shape[axis]
        laid.append(expand(reshape(t, tuple(alone)), tuple(shape)))
    return tuple(laid)


# -- from arrays --------------------------------------------------------------------


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
    dtype_of(array.dtype)
    if not array.dtype.isnative:
        raise TypeError(
            f"from_numpy: dtype {array.dtype.str!r} has the byte order of another machine; convert "
            'it, array.astype(array.dtype.newbyteorder("="))'
        )
    return Tensor(array)


def as_tensor(data: Any, dtype: npt.DTypeLike | None = None) -> Any:
    """Make a tensor of `data`, without copying what is one, or an array, of that dtype already.

    Parameters
    ----------
    data : array_like
        Numbers, nested lists, an array or a tensor.
    dtype : dtype, optional
        Convert to this one; a tensor keeps its graph.

    Examples
    --------
    >>> import numpy as np, tinygrad_mha as tm
    >>> a = np.zeros(2, np.float32)
    >>> x = tm.as_tensor(a)
    >>> a[0] = 1
    >>> x
    tensor([1., 0.])
    """
    if isinstance(data, Tensor):
        return data if dtype is None else _to(data, dtype)
    if isinstance(data, np.ndarray):
        wanted = dtype_of(dtype, dtype_of(data.dtype).newbyteorder("="))
        return Tensor(data.astype(wanted, copy=False))
    return tensor(data, dtype=None if dtype is None else dtype_of(dtype))
