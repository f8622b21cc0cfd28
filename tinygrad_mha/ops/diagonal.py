"""Diagonals of matrices, and what lies above and below them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value
from .axes import Shape
from .shape import from_left, view_op

_matrices = (
    Sample(((3, 3),)),
    Sample(((2, 3, 4),), {"diagonal": 1}),
    Sample(((4, 2),), {"diagonal": -2}),
    Sample(((0, 3),)),
)


def _matrix(x: Value) -> None:
    if x.ndim < 2:
        raise ValueError(f"needs at least two axes, the shape is {x.shape}")


def _matrix_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Every axis keeps its place: an element stays or becomes 0."""
    return axis


@op("yᵢⱼ = xᵢⱼ where j ≤ i + diagonal else 0", axis=_matrix_axis, samples=_matrices)
def tril(x: Value, diagonal: int = 0) -> Value:
    """Lower triangle of matrices; the rest is 0.

    Parameters
    ----------
    x : Tensor
        ``(..., n, m)``.
    diagonal : int, default 0
        How many diagonals above the main one are kept too.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tril(tm.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    _matrix(x)
    return np.tril(x, diagonal)


@tril.gradient("x", "dx = dy where j ≤ i + diagonal else 0")
def tril_dx(dy: Value, diagonal: int) -> Value:
    return tril(dy, diagonal)


@op("yᵢⱼ = xᵢⱼ where j ≥ i + diagonal else 0", axis=_matrix_axis, samples=_matrices)
def triu(x: Value, diagonal: int = 0) -> Value:
    """Upper triangle of matrices; the rest is 0.

    Parameters
    ----------
    x : Tensor
        ``(..., n, m)``.
    diagonal : int, default 0
        How many diagonals, from the main one up, are left out.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.triu(tm.ones(2, 2), 1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    _matrix(x)
    return np.triu(x, diagonal)


@triu.gradient("x", "dx = dy where j ≥ i + diagonal else 0")
def triu_dx(dy: Value, diagonal: int) -> Value:
    return triu(dy, diagonal)


@view_op(
    "yᵢ = xᵢⱼ with j = i + offset",
    samples=(
        Sample(((3, 3),)),
        Sample(((2, 3, 4),), {"offset": 1, "dim1": -2, "dim2": -1}),
        Sample(((3, 2, 2),), {"offset": -1, "dim1": 2, "dim2": 0}),
        Sample(((2, 2),), {"offset": 2}),
    ),
)
def diagonal(x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """View a diagonal of two axes, as a last axis.

    Parameters
    ----------
    x : Tensor
        At least two axes.
    offset : int, default 0
        Which diagonal: above the main one where positive, below it where negative.
    dim1, dim2 : int
        The two axes.

    Raises
    ------
    ValueError
        The two axes are the same.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.diagonal(tm.tensor([[1, 2], [3, 4]]), offset=1)
    tensor([2])
    """
    first, second = from_left(dim1, x.ndim, "dim1"), from_left(dim2, x.ndim, "dim2")
    if first == second:
        raise ValueError(f"dim1 {dim1} and dim2 {dim2} are the same axis")
    y = np.diagonal(x, offset, first, second)
    y.flags.writeable = x.flags.writeable  # NumPy's is for reading, out of caution
    return y


@diagonal.gradient("x", "dx = 0, but dy on the diagonal")
def diagonal_dx(dy: Value, x_shape: Shape, offset: int, dim1: int, dim2: int) -> Value:
    return on_diagonal(dy, x_shape, offset, dim1, dim2)


@op(
    "yᵢⱼ = xᵢ where j = i + offset else 0",
    method=False,
    torch="ours:on_diagonal",
    samples=(
        Sample(((3,),), {"shape": (3, 3)}),
        Sample(((2, 3),), {"shape": (3, 2, 4), "offset": 1, "dim1": 0, "dim2": 2}),
    ),
)
def on_diagonal(x: Value, shape: Shape, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """Put the last axis on a diagonal of zeros of a shape: the gradient of :func:`diagonal`."""
    y = np.zeros(shape, x.dtype)
    diagonal.forward(y, offset, dim1, dim2)[...] = x
    return y


@on_diagonal.gradient("x", "dx = the diagonal of dy")
def on_diagonal_dx(dy: Value, offset: int, dim1: int, dim2: int) -> Value:
    return diagonal(dy, offset, dim1, dim2)


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Put the last axis on a diagonal of new matrices of zeros.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    offset : int, default 0
        Which diagonal: above the main one where positive, below it where negative.
    dim1, dim2 : int
        Where the two axes of the matrices go.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.diag_embed(tm.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if not x.ndim:
        raise ValueError("diag_embed: a 0-d tensor has no axis to put on a diagonal")
    first = from_left(dim1, x.ndim + 1, "dim1")
    second = from_left(dim2, x.ndim + 1, "dim2")
    if first == second:
        raise ValueError(f"diag_embed: dim1 {dim1} and dim2 {dim2} are the same axis")
    n = x.shape[-1] + abs(offset)
    rest = iter(x.shape[:-1])
    shape = tuple(n if d in (first, second) else next(rest) for d in range(x.ndim + 1))
    return on_diagonal(x, shape, offset, first, second)


def diag(x: Any, diagonal: int = 0) -> Any:
    """Matrix with a vector on its diagonal, or the diagonal of a matrix.

    Parameters
    ----------
    x : Tensor
        ``(n,)`` or ``(n, m)``.
    diagonal : int, default 0
        Which one.

    Raises
    ------
    ValueError
        `x` is neither a vector nor a matrix.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.diag(tm.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    >>> tm.diag(tm.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"diag: expected a vector or a matrix, the shape is {x.shape}")
    return diag_embed(x, diagonal) if x.ndim == 1 else _diagonal(x, diagonal)


_diagonal = diagonal
for _function in (diag, diag_embed):
    setattr(Tensor, _function.__name__, _function)
