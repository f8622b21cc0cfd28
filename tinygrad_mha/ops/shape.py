"""Operations that give elements other axes, or sum them back to where they were copied from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value
from .axes import Shape, broadcast_axis

#: Elements below which copying is faster than building a view.
_SMALL = 4096

#: An operation whose result shares memory with its input.
view_op = partial(op, view=True)


# -- broadcasting and its reverse ------------------------------------------------------


def _broadcast_back(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Where an axis of the larger shape ends up after ``sum_to``."""
    there = axis - len(shapes[0]) + len(out)
    return there if there >= 0 and out[there] == shapes[0][axis] else None


@op(
    "y = Σ x over the axes that broadcasting to x would stretch",
    symbol="Σ",
    axis=_broadcast_back,
    samples=(
        Sample(((2, 3, 4),), {"shape": (3, 1)}),
        Sample(((2, 3),), {"shape": ()}),
        Sample(((2, 3),), {"shape": (2, 3)}),
        Sample(((0, 3),), {"shape": (1, 3)}),
    ),
)
def sum_to(x: Value, shape: Shape) -> Value:
    """Sum to a shape that broadcasts to the shape of `x`: the gradient of broadcasting.

    Parameters
    ----------
    x : Tensor
        What is summed.
    shape : tuple of int
        The shape to reach.
    """
    lead = x.ndim - len(shape)
    if lead > 0 and shape and x.shape[lead:] == shape and x.dtype.kind == "f":
        # (n₁, …, *shape) -> (rows, numbers in shape): added up in blocks, without rounding errors
        # that run on
        rows = x.reshape(math.prod(x.shape[:lead]), math.prod(shape))
        return kernels.column_sums(rows).reshape(shape)
    stretched = tuple(
        i for i in range(x.ndim) if i < lead or (shape[i - lead] == 1 and x.shape[i] != 1)
    )
    if np.broadcast_shapes(shape, x.shape) != x.shape:
        raise ValueError(f"shape {shape} does not broadcast to {x.shape}")
    return x.sum(stretched, keepdims=True).reshape(shape) if stretched else x


@sum_to.gradient("x", "dx = dy, copied along the summed axes")
def sum_to_dx(dy: Value, x_shape: Shape) -> Value:
    return expand(dy, x_shape)


@view_op(
    "y = x, repeated to a larger shape",
    axis=broadcast_axis,
    torch="broadcast_to",
    samples=(
        Sample(((3, 1),), {"shape": (2, 3, 4)}),
        Sample(((),), {"shape": (2, 3)}),
        Sample(((2, 3),), {"shape": (-1, 3)}),
    ),
)
def expand(x: Value, shape: Shape) -> Value:
    """Broadcast to a shape; a large result shares memory with `x`, a small one is a copy.

    Parameters
    ----------
    x : Tensor
        What is repeated.
    shape : tuple of int
        The new shape; −1 keeps a size.
    """
    lead = len(shape) - x.ndim
    if lead < 0 or -1 in shape[:lead]:
        raise ValueError(f"shape {shape}: −1 keeps a size, and every axis of x needs a place")
    sizes = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if sizes == x.shape:
        return x.view()
    if math.prod(sizes) > _SMALL or -1 in sizes:
        return np.broadcast_to(x, sizes)  # which checks, and takes 3 µs to do so
    out = np.empty(sizes, x.dtype)
    out[...] = x
    return out


@expand.gradient("x", "dx = Σ dy over the repeated axes")
def expand_dx(dy: Value, x_shape: Shape) -> Value:
    return sum_to(dy, x_shape)


# -- same elements, other shape ---------------------------------------------------------


def _reshaped_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """An axis stays if it keeps its size, and what stands before it its number of elements."""
    if 0 in out:
        return None
    before = math.prod(shapes[0][:axis])
    for there, size in enumerate(out):
        if size == shapes[0][axis] and math.prod(out[:there]) == before:
            return there
    return None


@view_op(
    "y = x, read in row order into another shape",
    axis=_reshaped_axis,
    derivation=(
        "Every element of y is an element of x, each exactly once, so every gradient goes "
        "back to where its element came from: the same numbers in the shape of x."
    ),
    samples=(
        Sample(((2, 6),), {"shape": (3, -1)}),
        Sample(((2, 3, 4),), {"shape": (2, 12)}),
        Sample(((2, 3, 4),), {"shape": (1, 2, 3, 1, 2, 2)}),
        Sample(((1,),), {"shape": ()}),
        Sample(((),), {"shape": (1, 1)}),
        Sample(((0, 3),), {"shape": (3, 0)}),
    ),
)
def reshape(x: Value, shape: Shape | int) -> Value:
    """Give the elements another shape; one size may be −1, and is worked out.

    Parameters
    ----------
    x : Tensor
        Any shape.
    shape : tuple of int
        As many elements.
    """
    sizes = (shape,) if isinstance(shape, int | np.integer) else shape
    if min(sizes, default=0) < -1:
        raise ValueError(f"shape {shape}: a size is at least 0, or −1 to be worked out")
    try:
        return x.reshape(sizes)
    except ValueError:
        known = math.prod(size for size in sizes if size >= 0)
        what = f"a multiple of {known}" if -1 in sizes else f"{known}"
        raise ValueError(
            f"x has {np.size(x)} elements, for shape {sizes} it must have {what}"
        ) from None


@reshape.gradient("x", "dx = dy, in the shape of x")
def reshape_dx(dy: Value, x_shape: Shape) -> Value:
    return reshape(dy, x_shape)


def _swap_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    swapped: dict[int, int] = {}
    if not out:
        return None
    a, b = params["dim0"] % len(out), params["dim1"] % len(out)
    swapped[a], swapped[b] = b, a
    return swapped.get(axis, axis)


@view_op(
    "y = xᵀ",
    symbol="ᵀ",
    axis=_swap_axis,
    samples=(
        Sample(((2, 3),), {"dim0": 0, "dim1": 1}),
        Sample(((2, 3, 4),), {"dim0": -1, "dim1": 0}),
        Sample(((),), {"dim0": 0, "dim1": -1}),
    ),
)
def transpose(x: Value, dim0: int, dim1: int) -> Value:
    """Swap two axes, without copying."""
    first, second = from_left(dim0, x.ndim), from_left(dim1, x.ndim)
    return np.swapaxes(x, first, second) if x.ndim else x.view()


@transpose.gradient("x", "dx = dyᵀ")
def transpose_dx(dy: Value, dim0: int, dim1: int) -> Value:
    return transpose(dy, dim0, dim1)


def _permute_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    return [d % len(out) for d in params["dims"]].index(axis)


@view_op(
    "y = x with its axes in another order",
    axis=_permute_axis,
    samples=(
        Sample(((2, 3, 4),), {"dims": (2, 0, 1)}),
        Sample(((2, 3),), {"dims": (-1, 0)}),
    ),
)
def permute(x: Value, dims: Shape) -> Value:
    """Reorder the axes, without copying: axis i of the result is axis ``dims[i]`` of `x`."""
    return np.transpose(x, dims)


@permute.gradient("x", "dx = dy with its axes put back")
def permute_dx(dy: Value, dims: Shape) -> Value:
    n = len(dims)
    return permute(dy, tuple(sorted(range(n), key=lambda i: dims[i] % n)))


@op(
    "y = x, laid out in row order",
    axis=broadcast_axis,
    method=False,
    torch="ours:contiguous",
    samples=(Sample(((2, 3),)), Sample(((),)), Sample(((0, 2),))),
)
def row_order(x: Value) -> Value:
    """Copy into row order; see :func:`contiguous`."""
    return x.copy(order="C")


@row_order.gradient("x", "dx = dy")
def row_order_dx(dy: Value) -> Value:
    return dy


def unsqueeze(x: Any, dim: int) -> Any:
    """Put an axis of size 1 before axis `dim`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        From −ndim − 1 to ndim.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.unsqueeze(tm.zeros(2, 3), -1).shape
    (2, 3, 1)
    """
    dim = from_left(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


# -- reading the arguments ---------------------------------------------------------------


def from_left(dim: int, ndim: int, name: str = "dim") -> int:
    """Count an axis from the left; a 0-d tensor is taken to have one."""
    ndim = max(ndim, 1)
    if not -ndim <= dim < ndim:
        raise IndexError(f"{name} {dim} is out of range for {ndim} dimensions")
    return int(dim) % ndim


def dims_from_left(dims: int | Sequence[int], ndim: int, name: str = "dim") -> Shape:
    """Count several axes from the left; none may be named twice."""
    found = [from_left(d, ndim, name) for d in as_sizes((dims,))]
    if len(set(found)) < len(found):
        raise ValueError(f"{name} {dims} names an axis twice")
    return tuple(found)


def as_sizes(shape: tuple[Any, ...]) -> Shape:
    """``f(2, 3)`` and ``f((2, 3))``: the same numbers either way."""
    flat = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
    return tuple(int(n) for n in flat)
