"""Operations that move elements, or sum them back to where they were copied from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value
from .axes import Shape, broadcast_axis

#: Elements below which copying is faster than building a view.
_SMALL = 4096

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
    stretched = tuple(
        i for i in range(x.ndim) if i < lead or (shape[i - lead] == 1 and x.shape[i] != 1)
    )
    if np.broadcast_shapes(shape, x.shape) != x.shape:
        raise ValueError(f"shape {shape} does not broadcast to {x.shape}")
    return x.sum(stretched, keepdims=True).reshape(shape) if stretched else x


@sum_to.gradient("x", "dx = dy, copied along the summed axes")
def sum_to_dx(dy: Value, x_shape: Shape) -> Value:
    return expand(dy, x_shape)


@op(
    "y = x, repeated to a larger shape",
    axis=broadcast_axis,
    torch="broadcast_to",
    view=True,
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
    sizes = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if math.prod(sizes) > _SMALL or -1 in sizes:
        return np.broadcast_to(x, sizes)  # which checks, and takes 3 µs to do so
    out = np.empty(sizes, x.dtype)
    out[...] = x
    return out


@expand.gradient("x", "dx = Σ dy over the repeated axes")
def expand_dx(dy: Value, x_shape: Shape) -> Value:
    return sum_to(dy, x_shape)


# -- same elements, other shape ---------------------------------------------------------


@op(
    "y = x, read in row order into another shape",
    view=True,
    samples=(
        Sample(((2, 6),), {"shape": (3, -1)}),
        Sample(((2, 3, 4),), {"shape": (2, 12)}),
        Sample(((1,),), {"shape": ()}),
        Sample(((0, 3),), {"shape": (3, 0)}),
    ),
)
def reshape(x: Value, shape: Shape) -> Value:
    """Give the elements another shape; one size may be −1, and is worked out.

    Parameters
    ----------
    x : Tensor
        Any shape.
    shape : tuple of int
        As many elements.
    """
    return np.reshape(x, shape)


@reshape.gradient("x", "dx = dy, in the shape of x")
def reshape_dx(dy: Value, x_shape: Shape) -> Value:
    return reshape(dy, x_shape)


def _swap_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    swapped: dict[int, int] = {}
    a, b = params["dim0"] % len(out), params["dim1"] % len(out)
    swapped[a], swapped[b] = b, a
    return swapped.get(axis, axis)


@op(
    "y = xᵀ",
    symbol="ᵀ",
    axis=_swap_axis,
    view=True,
    samples=(
        Sample(((2, 3),), {"dim0": 0, "dim1": 1}),
        Sample(((2, 3, 4),), {"dim0": -1, "dim1": 0}),
    ),
)
def transpose(x: Value, dim0: int, dim1: int) -> Value:
    """Swap two axes, without copying."""
    return np.swapaxes(x, dim0, dim1)


@transpose.gradient("x", "dx = dyᵀ")
def transpose_dx(dy: Value, dim0: int, dim1: int) -> Value:
    return transpose(dy, dim0, dim1)


def _permute_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    return [d % len(out) for d in params["dims"]].index(axis)


@op(
    "y = x with its axes in another order",
    axis=_permute_axis,
    view=True,
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


# -- joining ---------------------------------------------------------------------------


@op(
    "y = [x₁; x₂; …] along one axis",
    method=False,
    samples=(
        Sample(((2, 3), (2, 1)), {"dim": 1}),
        Sample(((2, 3), (4, 3), (0, 3)), {"dim": -2}),
    ),
    torch="ours:cat",
)
def concatenate(*tensors: Value, dim: int = 0) -> Value:
    """Join along an existing axis; see :func:`cat`."""
    return np.concatenate(tensors, axis=dim)


@concatenate.gradient("tensors", "dxᵢ = the i-th part of dy")
def concatenate_dx(dy: Value, which: int, tensors_shape: tuple[Shape, ...], dim: int) -> Value:
    start = sum(shape[dim] for shape in tensors_shape[:which])
    part = [slice(None)] * len(tensors_shape[0])
    part[dim] = slice(start, start + tensors_shape[which][dim])
    return dy[tuple(part)]


def cat(tensors: list[Tensor] | tuple[Tensor, ...], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of equal shape but for axis `dim`.
    dim : int, default 0
        The axis.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.cat([tm.zeros(2, 3), tm.ones(2, 1)], dim=1).shape
    (2, 4)
    """
    joined: Tensor = concatenate(*tensors, dim=dim)
    return joined


# -- as PyTorch writes them ---------------------------------------------------------------
# x.reshape(2, 3) and x.reshape((2, 3)) both; x.T and x.mT as properties.


def _sizes(shape: tuple[Any, ...]) -> Shape:
    flat = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
    return tuple(int(n) for n in flat)


def _reshape_method(self: Tensor, *shape: Any) -> Any:
    """Give the elements another shape: ``x.reshape(2, -1)``."""
    return reshape(self, _sizes(shape))


def _expand_method(self: Tensor, *shape: Any) -> Any:
    """Broadcast to a shape: ``x.expand(2, -1, 3)``."""
    return expand(self, _sizes(shape))


def _permute_method(self: Tensor, *dims: Any) -> Any:
    """Reorder the axes: ``x.permute(0, 2, 1)``."""
    return permute(self, _sizes(dims))


def _view_method(self: Tensor, *shape: Any) -> Any:
    """Give the elements another shape without copying them, or refuse: ``x.view(2, -1)``."""
    view = reshape(self, _sizes(shape))
    if view.data.size and not np.may_share_memory(view.data, self.data):
        raise RuntimeError(
            f"view: in its memory layout a tensor of shape {self.shape} cannot be seen as shape "
            f"{view.shape} without copying it; use reshape, which copies where it must"
        )
    return view


def from_left(dim: int, ndim: int) -> int:
    """Count an axis from the left; a 0-d tensor is taken to have one."""
    ndim = max(ndim, 1)
    if not -ndim <= dim < ndim:
        raise IndexError(f"dim {dim} is out of range for {ndim} dimensions")
    return dim % ndim


def unsqueeze(x: Any, dim: int) -> Any:
    """Put an axis of size 1 before axis `dim`."""
    dim = from_left(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


def squeeze(x: Any, dim: int) -> Any:
    """Take axis `dim` away where its size is 1; leave the tensor alone where it is not."""
    dim = from_left(dim, x.ndim)
    return (
        reshape(x, (*x.shape[:dim], *x.shape[dim + 1 :])) if x.shape[dim : dim + 1] == (1,) else x
    )


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Merge the axes from `start_dim` to `end_dim` into one."""
    start, end = from_left(start_dim, x.ndim), from_left(end_dim, x.ndim)
    return reshape(x, (*x.shape[:start], -1, *x.shape[end + 1 :]))


for _name, _method in {
    "reshape": _reshape_method,
    "view": _view_method,
    "expand": _expand_method,
    "permute": _permute_method,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "flatten": flatten,
    "T": property(lambda self: permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: transpose(self, -1, -2)),
}.items():
    setattr(Tensor, _name, _method)
