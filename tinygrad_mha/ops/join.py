"""Operations that join tensors, take them apart, repeat them and turn them round."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from ..engine.promotion import result_dtype
from .axes import Shape
from .index import getitem, index_select, narrow, select
from .shape import as_sizes, dims_from_left, from_left, reshape, sum_to, unsqueeze


def _joined_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    return None if axis == params["dim"] % len(out) else axis


@op(
    "y = [x₁; x₂; …] along one axis",
    axis=_joined_axis,
    method=False,
    samples=(
        Sample(((2, 3), (2, 1)), {"dim": 1}),
        Sample(((2, 3), (4, 3), (0, 3)), {"dim": -2}),
    ),
    torch="ours:cat",
)
def concatenate(*tensors: Value, dim: int = 0) -> Value:
    """Join along an existing axis; see :func:`cat`."""
    try:
        return np.concatenate(tensors, axis=dim, dtype=result_dtype(*tensors))
    except ValueError as error:
        if isinstance(error, np.exceptions.AxisError):
            raise
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ValueError(
            f"cat joins along dim {dim}, so all other axes must be equal; the shapes are {shapes}"
        ) from None


@concatenate.gradient("tensors", "dxᵢ = the i-th part of dy")
def concatenate_dx(dy: Value, which: int, tensors_shape: tuple[Shape, ...], dim: int) -> Value:
    start = sum(shape[dim] for shape in tensors_shape[:which])
    return narrow(dy, dim, start, tensors_shape[which][dim])


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join tensors along an existing axis; a tensor of shape (0,) fits beside any.

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
    parts = tuple(tensors)
    if not parts:
        raise ValueError("concatenate: expected at least one tensor")
    if any(not isinstance(p, Tensor | np.ndarray) for p in parts):
        kinds = [type(p).__name__ for p in parts]
        raise TypeError(f"cat: expected tensors, got {kinds}")
    if any(p.ndim != 1 for p in parts):
        parts = tuple(p for p in parts if p.shape != (0,))
    return concatenate(*parts, dim=dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join tensors of one shape along a new axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of equal shape.
    dim : int, default 0
        Where the new axis goes.

    Raises
    ------
    ValueError
        There are none, or their shapes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.stack([tm.zeros(3), tm.ones(3)], dim=1).shape
    (3, 2)
    """
    parts = tuple(tensors)
    if not parts:
        raise ValueError("stack: expected at least one tensor")
    if len({p.shape for p in parts}) > 1:
        raise ValueError(
            f"stack: the shapes differ: {', '.join(str(tuple(p.shape)) for p in parts)}; cat joins "
            "tensors that differ along one axis"
        )
    dim = from_left(dim, parts[0].ndim + 1)
    return concatenate(*(unsqueeze(p, dim) for p in parts), dim=dim)


def hstack(tensors: Sequence[Any]) -> Any:
    """Join along the second axis, vectors along their only one.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.hstack([tm.zeros(2, 3), tm.zeros(2, 1)]).shape
    (2, 4)
    """
    parts = [p if p.ndim else reshape(p, (1,)) for p in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Join along the first axis; a vector is taken as a row.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.vstack([tm.zeros(2, 3), tm.zeros(3)]).shape
    (3, 3)
    """
    return cat([p if p.ndim > 1 else reshape(p, (1, p.shape[0] if p.ndim else 1)) for p in tensors])


# -- taking apart: views -----------------------------------------------------------------


def _parts(x: Any, edges: Sequence[int], dim: int) -> tuple[Any, ...]:
    before = [slice(None)] * dim
    return tuple(
        getitem(x, (*before, slice(start, max(start, end))))
        for start, end in itertools.pairwise(edges)
    )


def split(x: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Take apart along an axis, into views.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    split_size_or_sections : int or sequence of int
        The size of each part, where the last may be smaller; or the sizes of all of them.
    dim : int, default 0
        Which axis.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    ValueError
        The sizes do not add up to the size of the axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.split(tm.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> tm.split(tm.arange(5), [1, 4])
    (tensor([0]), tensor([1, 2, 3, 4]))
    """
    sections = split_size_or_sections
    if not x.ndim:
        raise ValueError("split: a 0-d tensor has no axis to split")
    dim = from_left(dim, x.ndim)
    n = x.shape[dim]
    if isinstance(sections, int | np.integer):
        if sections < 0 or (sections == 0 and n):
            raise ValueError(f"split: split_size {sections} cannot part {n} elements")
        if n == 0:
            return (narrow(x, dim, 0, 0),)
        return _parts(x, [*range(0, n, int(sections)), n], dim)
    edges = list(itertools.accumulate(sections, initial=0))
    if edges[-1] != n or any(s < 0 for s in sections):
        raise ValueError(
            f"split: the sections {list(sections)} have to add up to {n}, the size of dim {dim} "
            f"of {tuple(x.shape)}"
        )
    return _parts(x, edges, dim)


def split_with_sizes(x: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Take apart along an axis into views of given sizes; see :func:`split`."""
    return split(x, tuple(split_sizes), dim)


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Take apart along an axis into so many views of equal size, but for a smaller last one.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    chunks : int
        How many at most: 5 elements in 4 chunks are 3 chunks of 2, 2 and 1.
    dim : int, default 0
        Which axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.chunk(tm.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if chunks <= 0:
        raise ValueError(f"chunk: chunks is {chunks}, expected at least 1")
    if not x.ndim:
        raise ValueError("chunk: a 0-d tensor has no axis to part")
    dim = from_left(dim, x.ndim)
    n = x.shape[dim]
    if n == 0:
        return tuple(narrow(x, dim, 0, 0) for _ in range(chunks))
    return split(x, -(-n // chunks), dim)


def tensor_split(x: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Take apart along an axis into so many views, as equal as can be, or at given positions.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    indices_or_sections : int or sequence of int or integer Tensor
        How many parts, the first of which are one larger where they cannot be equal; or where
        the parts begin.
    dim : int, default 0
        Which axis.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor_split(tm.arange(5), 3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> tm.tensor_split(tm.arange(5), (1, 3))
    (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    if not x.ndim:
        raise ValueError("tensor_split: a 0-d tensor has no axis to split")
    dim = from_left(dim, x.ndim)
    n, given = x.shape[dim], np.asarray(plain(indices_or_sections))
    if given.ndim == 0:
        if given <= 0:
            raise ValueError(f"tensor_split: {given} sections, expected at least 1")
        size, larger = divmod(n, int(given))
        edges = [i * size + min(i, larger) for i in range(int(given) + 1)]
    else:
        edges = [0, *(slice(None, int(i)).indices(n)[1] for i in given), n]
    return _parts(x, edges, dim)


def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    """Every slice along an axis, as views.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.unbind(tm.tensor([[1, 2], [3, 4]]), dim=1)
    (tensor([1, 3]), tensor([2, 4]))
    """
    if not x.ndim:
        raise IndexError("unbind: a 0-d tensor has no axis to take apart")
    dim = from_left(dim, x.ndim)
    return tuple(select(x, dim, i) for i in range(x.shape[dim]))


# -- repeating ------------------------------------------------------------------------------


@op(
    "y = x, repeated along each axis",
    method=False,
    torch="ours:repeat",
    samples=(
        Sample(((2, 3),), {"sizes": (2, 2)}),
        Sample(((2, 3),), {"sizes": (3, 1, 2)}),
        Sample(((),), {"sizes": (2,)}),
    ),
)
def repeat(x: Value, sizes: Shape) -> Value:
    """Repeat the whole along each axis; see :func:`tile`."""
    if len(sizes) < x.ndim or any(n < 0 for n in sizes):
        raise ValueError(f"sizes {sizes}: one number of at least 0 for each of {x.ndim} axes")
    return np.tile(x, sizes)


@repeat.gradient("x", "dx = Σ dy over the repetitions")
def repeat_dx(dy: Value, x_shape: Shape, sizes: Shape) -> Value:
    sizes_of_x = (1,) * (len(sizes) - len(x_shape)) + x_shape
    both = tuple(n for pair in zip(sizes, sizes_of_x, strict=True) for n in pair)
    return reshape(
        sum_to(reshape(dy, both), tuple(1 if i % 2 == 0 else n for i, n in enumerate(both))),
        x_shape,
    )


def tile(x: Any, dims: Sequence[int]) -> Any:
    """Repeat the whole along each axis; missing numbers are 1.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dims : sequence of int
        How often along each axis, aligned at the last.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tile(tm.tensor([1, 2]), (2, 2))
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    sizes = as_sizes((dims,))
    return repeat(x, (1,) * (x.ndim - len(sizes)) + sizes)


def repeat_interleave(
    x: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Repeat each element, or each slice along an axis, in its place.

    Parameters
    ----------
    x : Tensor
        Any shape.
    repeats : int or integer Tensor
        How often; one number for all, or one for each.
    dim : int, optional
        Which axis; by default `x` is flattened.
    output_size : int, optional
        Taken for compatibility; not needed.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.repeat_interleave(tm.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> tm.repeat_interleave(tm.tensor([1, 2]), tm.tensor([0, 3]))
    tensor([2, 2, 2])
    """
    if dim is None or not x.ndim:
        x, dim = reshape(x, (-1,)), 0
    dim = from_left(dim, x.ndim)
    counts, n = np.asarray(plain(repeats)), x.shape[dim]
    if counts.dtype.kind not in "iu":
        raise TypeError(f"repeat_interleave: repeats are integers, got {counts.dtype}")
    if counts.ndim > 1 or (counts.ndim == 1 and len(counts) not in (1, n)):
        raise ValueError(
            f"repeat_interleave: repeats of shape {counts.shape} for dim {dim} of size {n}"
        )
    if (counts < 0).any():
        raise ValueError("repeat_interleave: repeats cannot be negative")
    return index_select(x, dim, np.repeat(np.arange(n), counts))


# -- turning round --------------------------------------------------------------------------


@op(
    "y = x, back to front",
    samples=(
        Sample(((2, 3),), {"dims": (0,)}),
        Sample(((2, 3, 2),), {"dims": (-1, 0)}),
        Sample(((2, 3),), {"dims": 1}),
        Sample(((),), {"dims": ()}),
    ),
    method=False,
    torch="ours:flip",
)
def flip(x: Value, dims: int | Sequence[int]) -> Value:
    """Reverse the order along axes; a copy.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dims : int or tuple of int
        Which axes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.flip(tm.arange(3), (0,))
    tensor([2, 1, 0])
    """
    found = dims_from_left(dims, x.ndim)
    return np.flip(x, found if x.ndim else ()).copy()


@flip.gradient("x", "dx = dy, back to front")
def flip_dx(dy: Value, dims: int | Sequence[int]) -> Value:
    return flip(dy, dims)


def fliplr(x: Any) -> Any:
    """Reverse the order along the second axis."""
    if x.ndim < 2:
        raise ValueError(f"fliplr: needs at least two axes, the shape is {x.shape}")
    return flip(x, (1,))


def flipud(x: Any) -> Any:
    """Reverse the order along the first axis."""
    if x.ndim < 1:
        raise ValueError("flipud: a 0-d tensor has no axis to flip")
    return flip(x, (0,))


@op(
    "yᵢ₊ₛ = xᵢ, round the end",
    samples=(
        Sample(((2, 3),), {"shifts": 1}),
        Sample(((2, 3),), {"shifts": -1, "dims": 1}),
        Sample(((2, 3),), {"shifts": (1, 4), "dims": (0, -1)}),
        Sample(((0, 3),), {"shifts": 1, "dims": 0}),
    ),
)
def roll(x: Value, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Value:
    """Move elements along axes; what leaves at the end comes in at the beginning.

    Parameters
    ----------
    x : Tensor
        Any shape.
    shifts : int or tuple of int
        By how many places; one number per axis.
    dims : int or tuple of int, optional
        Which axes; by default `x` is rolled as if it were flat.

    Raises
    ------
    ValueError
        Not as many shifts as axes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.roll(tm.arange(4), 1)
    tensor([3, 0, 1, 2])
    """
    by = as_sizes((shifts,))
    if dims is None or dims == ():
        if len(by) != 1:
            raise ValueError(f"shifts {shifts} need dims, one for each")
        return np.roll(x, by[0])
    axes = tuple(from_left(d, x.ndim) for d in as_sizes((dims,)))
    if len(by) != len(axes):
        raise ValueError(f"shifts {shifts} and dims {dims} do not pair up")
    if not x.ndim:
        raise IndexError(f"dims {dims}: a 0-d tensor has no axis to roll along")
    return np.roll(x, by, axes)


@roll.gradient("x", "dx = dy, rolled back")
def roll_dx(dy: Value, shifts: int | Sequence[int], dims: int | Sequence[int] | None) -> Value:
    return roll(dy, tuple(-s for s in as_sizes((shifts,))), dims)


for _name, _method in {
    "split": split,
    "split_with_sizes": split_with_sizes,
    "chunk": chunk,
    "tensor_split": tensor_split,
    "unbind": unbind,
    "repeat_interleave": repeat_interleave,
    "fliplr": fliplr,
    "flipud": flipud,
    "repeat": lambda self, *sizes: repeat(self, as_sizes(sizes)),
    "tile": lambda self, *dims: tile(self, as_sizes(dims)),
    "flip": lambda self, *dims: flip(self, as_sizes(dims)),
}.items():
    setattr(Tensor, _name, _method)
