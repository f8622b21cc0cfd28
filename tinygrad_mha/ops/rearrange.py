"""Views written as PyTorch writes them: names and calling conventions for the shape operations.

``x.reshape(2, 3)`` and ``x.reshape((2, 3))`` both; ``x.T`` and ``x.mT`` as properties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.op import plain
from .axes import Shape
from .shape import (
    as_sizes,
    dims_from_left,
    expand,
    from_left,
    permute,
    reshape,
    row_order,
    transpose,
    unsqueeze,
)


def _reshape_method(self: Tensor, *shape: Any) -> Any:
    """Give the elements another shape: ``x.reshape(2, -1)``."""
    return reshape(self, as_sizes(shape))


def _expand_method(self: Tensor, *shape: Any) -> Any:
    """Broadcast to a shape: ``x.expand(2, -1, 3)``."""
    return expand(self, as_sizes(shape))


def _permute_method(self: Tensor, *dims: Any) -> Any:
    """Reorder the axes: ``x.permute(0, 2, 1)``."""
    return permute(self, as_sizes(dims))


def _view_method(self: Tensor, *shape: Any) -> Any:
    """Give the elements another shape without copying them, or refuse: ``x.view(2, -1)``."""
    view = reshape(self, as_sizes(shape))
    if view.data.size and not np.may_share_memory(view.data, self.data):
        raise RuntimeError(
            f"view: in its memory layout a tensor of shape {self.shape} cannot be seen as shape "
            f"{view.shape} without copying it; use reshape, which copies where it must"
        )
    return view


def view_as(x: Any, other: Any) -> Any:
    """View `x` in the shape of `other`; see ``Tensor.view``."""
    return _view_method(x, other.shape)


def reshape_as(x: Any, other: Any) -> Any:
    """Give `x` the shape of `other`."""
    return reshape(x, other.shape)


def expand_as(x: Any, other: Any) -> Any:
    """Broadcast `x` to the shape of `other`."""
    return expand(x, other.shape)


def broadcast_to(x: Any, shape: Shape) -> Any:
    """Broadcast to a shape; the same as :func:`expand`.

    Parameters
    ----------
    x : Tensor
        What is repeated.
    shape : tuple of int
        The new shape.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.broadcast_to(tm.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return expand(x, shape)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Broadcast tensors to the one shape that they share.

    Parameters
    ----------
    *tensors : Tensor
        Of shapes that broadcast with each other.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    ValueError
        The shapes do not broadcast.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> [t.shape for t in tm.broadcast_tensors(tm.zeros(3, 1), tm.zeros(2))]
    [(3, 2), (3, 2)]
    """
    shapes = [t.shape for t in tensors]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"broadcast_tensors: the shapes {shapes} do not broadcast") from None
    return tuple(expand(t, shape) for t in tensors)


def squeeze(x: Any, dim: int | Sequence[int] | None = None) -> Any:
    """Take away axes of size 1: all of them, or those of `dim`; others are left alone.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int or tuple of int, optional
        Which axes may go; any by default.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.zeros(1, 3, 1)
    >>> x.squeeze().shape, x.squeeze(0).shape, x.squeeze((0, 1)).shape
    ((3,), (3, 1), (3, 1))
    """
    gone = range(x.ndim) if dim is None else dims_from_left(dim, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in gone))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Merge the axes from `start_dim` to `end_dim` into one.

    Parameters
    ----------
    x : Tensor
        Any shape; a 0-d tensor gets an axis.
    start_dim, end_dim : int
        The first and the last that are merged.

    Raises
    ------
    ValueError
        `start_dim` comes after `end_dim`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.flatten(tm.zeros(2, 3, 4), 1).shape
    (2, 12)
    """
    start, end = from_left(start_dim, x.ndim, "start_dim"), from_left(end_dim, x.ndim, "end_dim")
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split one axis into several: the reverse of :func:`flatten`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    sizes : sequence of int
        What it becomes; one may be −1.

    Raises
    ------
    ValueError
        The sizes do not multiply to the size of the axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.unflatten(tm.zeros(2, 12), 1, (3, -1)).shape
    (2, 3, 4)
    """
    dim, sizes = from_left(dim, x.ndim), tuple(sizes)
    known, n = math.prod(s for s in sizes if s != -1), x.shape[dim] if x.ndim else 1
    if sizes.count(-1) > 1 or (known != n if -1 not in sizes else known == 0 or n % known):
        raise ValueError(f"unflatten: sizes {sizes} do not multiply to {n}, the size of dim {dim}")
    filled = tuple(n // known if s == -1 else s for s in sizes)
    return reshape(x, (*x.shape[:dim], *filled, *x.shape[dim + 1 :]))


def movedim(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Move axes to other places; the others keep their order.

    Parameters
    ----------
    x : Tensor
        Any shape.
    source, destination : int or sequence of int
        Where the axes are, and where they go.

    Raises
    ------
    ValueError
        As many sources as destinations are needed, each named once.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.movedim(tm.zeros(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    start, end = dims_from_left(source, x.ndim, "source"), dims_from_left(destination, x.ndim)
    if len(start) != len(end):
        raise ValueError(f"movedim: source {source} and destination {destination} do not pair up")
    if not x.ndim:
        return x
    rest = iter(d for d in range(x.ndim) if d not in start)
    goes = dict(zip(end, start, strict=True))
    return permute(x, tuple(goes[d] if d in goes else next(rest) for d in range(x.ndim)))


def swapaxes(x: Any, axis0: int, axis1: int) -> Any:
    """Swap two axes, without copying; the same as :func:`transpose`."""
    return transpose(x, axis0, axis1)


def t(x: Any) -> Any:
    """Transpose a matrix; leave a vector or a 0-d tensor as it is.

    Raises
    ------
    RuntimeError
        There are more than two axes.
    """
    if x.ndim > 2:
        raise RuntimeError(f"t: at most two axes, the shape is {x.shape}; use .mT or transpose")
    return transpose(x, 0, 1) if x.ndim == 2 else x


def contiguous(x: Any) -> Any:
    """Return `x` itself where its elements lie in row order, else a copy in which they do.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.zeros(2, 3).T
    >>> x.is_contiguous(), x.contiguous().is_contiguous()
    (False, True)
    """
    return x if is_contiguous(x) else row_order(x)


def is_contiguous(x: Any) -> bool:
    """Whether the elements lie in memory in row order, without gaps."""
    return bool(plain(x).flags.c_contiguous)


moveaxis, ravel, swapdims = movedim, flatten, swapaxes

for _name, _method in {
    "reshape": _reshape_method,
    "view": _view_method,
    "expand": _expand_method,
    "permute": _permute_method,
    "T": property(lambda self: permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: transpose(self, -1, -2)),
    **{
        function.__name__: function
        for function in (
            broadcast_to,
            contiguous,
            expand_as,
            flatten,
            is_contiguous,
            movedim,
            reshape_as,
            squeeze,
            swapaxes,
            t,
            unflatten,
            unsqueeze,
            view_as,
        )
    },
    "moveaxis": movedim,
    "ravel": flatten,
    "swapdims": swapaxes,
}.items():
    setattr(Tensor, _name, _method)
