"""Products of vectors and matrices under PyTorch's names, composed of :func:`matmul`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.messages import describe
from .einsum import einsum
from .elementwise import where
from .index import getitem
from .linalg import matmul
from .reduce import sum
from .shape import from_left, reshape, unsqueeze


def _expect(name: str, ndims: tuple[int, ...], **values: Any) -> None:
    """Refuse operands with another number of axes, telling all of them."""
    for (key, value), ndim in zip(values.items(), ndims, strict=True):
        if value.ndim != ndim:
            raise ValueError(
                f"{name}: {key} must have {ndim} axes, it has {value.ndim}"
                + "".join(f"\n  {k}: {describe(v)}" for k, v in values.items())
            )


def _fit(name: str, fits: bool, what: str, **values: Any) -> None:
    """Refuse operands whose sizes do not fit."""
    if not fits:
        raise ValueError(
            f"{name}: {what}" + "".join(f"\n  {k}: {describe(v)}" for k, v in values.items())
        )


def mm(input: Any, mat2: Any) -> Any:
    """Product of two matrices, without broadcasting.

    Parameters
    ----------
    input : Tensor
        ``(n, k)``.
    mat2 : Tensor
        ``(k, m)``.

    Returns
    -------
    Tensor
        ``(n, m)``.

    Raises
    ------
    ValueError
        Not matrices, or the inner sizes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.mm(tm.ones(2, 3), tm.ones(3, 4)).shape
    (2, 4)
    """
    _expect("mm", (2, 2), input=input, mat2=mat2)
    return matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Any:
    """Products of the matrices of two batches, without broadcasting.

    Parameters
    ----------
    input : Tensor
        ``(b, n, k)``.
    mat2 : Tensor
        ``(b, k, m)``.

    Returns
    -------
    Tensor
        ``(b, n, m)``.

    Raises
    ------
    ValueError
        Not batches of matrices, of equal length, with equal inner sizes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.bmm(tm.ones(5, 2, 3), tm.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    _expect("bmm", (3, 3), input=input, mat2=mat2)
    same = input.shape[0] == mat2.shape[0]
    _fit("bmm", same, "the batches must be equally long; matmul broadcasts", input=input, mat2=mat2)
    return matmul(input, mat2)


def mv(input: Any, vec: Any) -> Any:
    """Product of a matrix and a vector.

    Parameters
    ----------
    input : Tensor
        ``(n, k)``.
    vec : Tensor
        ``(k,)``.

    Returns
    -------
    Tensor
        ``(n,)``.

    Raises
    ------
    ValueError
        Not a matrix and a vector, or the inner sizes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.mv(tm.ones(2, 3), tm.ones(3))
    tensor([3., 3.])
    """
    _expect("mv", (2, 1), input=input, vec=vec)
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Any:
    """Dot product of two vectors of equal length.

    Parameters
    ----------
    input, tensor : Tensor
        ``(n,)``.

    Returns
    -------
    Tensor
        0-d.

    Raises
    ------
    ValueError
        Not vectors, or of different lengths.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.dot(tm.tensor([1.0, 2.0]), tm.tensor([3.0, 4.0]))
    tensor(11.)
    """
    _expect("dot", (1, 1), input=input, tensor=tensor)
    return matmul(input, tensor)


def vdot(input: Any, other: Any) -> Any:
    """Dot product of two vectors; of real numbers the same as :func:`dot`."""
    _expect("vdot", (1, 1), input=input, other=other)
    return matmul(input, other)


def inner(input: Any, other: Any) -> Any:
    """Dot products along the last axis, of all pairs of the axes before it.

    Parameters
    ----------
    input : Tensor
        ``(..., k)``, or 0-d, which multiplies.
    other : Tensor
        ``(..., k)``, likewise.

    Returns
    -------
    Tensor
        The leading axes of `input`, then those of `other`.

    Raises
    ------
    ValueError
        The last axes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.inner(tm.ones(2, 3), tm.ones(4, 3)).shape
    (2, 4)
    """
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    fits = input.shape[-1] == other.shape[-1]
    _fit("inner", fits, "the last axes must be equal", input=input, other=other)
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Any, vec2: Any) -> Any:
    """Every element of one vector times every element of another.

    Parameters
    ----------
    input : Tensor
        ``(n,)``.
    vec2 : Tensor
        ``(m,)``.

    Returns
    -------
    Tensor
        ``(n, m)``.

    Raises
    ------
    ValueError
        Not vectors.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.outer(tm.tensor([1.0, 2.0]), tm.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    _expect("outer", (1, 1), input=input, vec2=vec2)
    return unsqueeze(input, 1) * vec2


ger = outer


def trace(input: Any) -> Any:
    """Sum of the diagonal of a matrix.

    Parameters
    ----------
    input : Tensor
        ``(n, m)``.

    Returns
    -------
    Tensor
        0-d.

    Raises
    ------
    ValueError
        Not a matrix.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.trace(tm.eye(3))
    tensor(3.)
    """
    _expect("trace", (2,), input=input)
    every = np.arange(min(input.shape))
    return sum(getitem(input, (every, every)))


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Sum of products over several pairs of axes.

    Parameters
    ----------
    a, b : Tensor
        Any shapes.
    dims : int or (list of int, list of int), default 2
        A number n: the last n axes of `a` with the first n of `b`. Two lists: axes of `a` and
        the axes of `b` to pair them with.

    Returns
    -------
    Tensor
        The other axes of `a`, then those of `b`.

    Raises
    ------
    ValueError
        Paired axes differ in size, or the lists in length.
    IndexError
        A dim is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensordot(tm.ones(2, 3, 4), tm.ones(4, 3, 5), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    if isinstance(dims, Tensor | np.ndarray):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ValueError(
                f"tensordot: dims is {dims}, expected a number from 0 to the number of axes"
                f"\n  a: {describe(a)}\n  b: {describe(b)}"
            )
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    of_a, of_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    _fit("tensordot", len(of_a) == len(of_b), f"dims {dims} do not pair up", a=a, b=b)
    of_a = [_from_left("tensordot", d, a) for d in of_a]
    of_b = [_from_left("tensordot", d, b) for d in of_b]
    _fit(
        "tensordot",
        len({*of_a}) == len(of_a) and len({*of_b}) == len(of_b),
        f"dims {dims} name an axis twice",
        a=a,
        b=b,
    )
    for i, j in zip(of_a, of_b, strict=True):
        n, m = a.shape[i], b.shape[j]
        _fit(
            "tensordot",
            n == m or 1 in (n, m),
            f"axis {i} of a has size {n}, axis {j} of b has size {m}; they must be equal",
            a=a,
            b=b,
        )
    names = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip(of_a, of_b, strict=True):
        names[1][j] = i
    kept = [*(i for i in names[0] if i not in of_a), *(i for i in names[1] if i >= a.ndim)]
    return einsum(a, names[0], b, names[1], kept)


def _from_left(name: str, dim: int, x: Any) -> int:
    try:
        return from_left(dim, x.ndim)
    except IndexError as error:
        raise IndexError(f"{name}: {error}, in shape {x.shape}") from None


def kron(input: Any, other: Any) -> Any:
    """Kronecker product: every element of `input` times all of `other`, as a block.

    Parameters
    ----------
    input, other : Tensor
        Any shapes; the shorter one gets axes of size 1 in front.

    Returns
    -------
    Tensor
        Axis by axis as long as the product of the two.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.kron(tm.eye(2), tm.ones(1, 2))
    tensor([[1., 1., 0., 0.],
            [0., 0., 1., 1.]])
    """
    n = max(input.ndim, other.ndim)
    a = (1,) * (n - input.ndim) + tuple(input.shape)
    b = (1,) * (n - other.ndim) + tuple(other.shape)
    # (a₁, 1, a₂, 1, …) · (1, b₁, 1, b₂, …), then each pair of axes becomes one
    left = reshape(input, tuple(size for d in a for size in (d, 1)))
    right = reshape(other, tuple(size for d in b for size in (1, d)))
    return reshape(left * right, tuple(i * j for i, j in zip(a, b, strict=True)))


def multi_dot(tensors: Sequence[Any]) -> Any:
    """Product of several matrices, in the order of multiplication that costs least.

    Parameters
    ----------
    tensors : sequence of Tensor
        Matrices; the first and the last may be vectors.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        Fewer than two, or the sizes do not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.multi_dot([tm.ones(2, 3), tm.ones(3, 4), tm.ones(4)])
    tensor([12., 12.])
    """
    tensors = list(tensors)
    if len(tensors) < 2:
        raise ValueError(f"multi_dot: expected at least two tensors, got {len(tensors)}")
    for i, x in enumerate(tensors):
        if x.ndim != 2 and not (x.ndim == 1 and i in (0, len(tensors) - 1)):
            raise ValueError(
                f"multi_dot: tensor {i} has shape {x.shape}, expected a matrix; only the first "
                "and the last may be vectors"
            )
    head, tail = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if head:
        tensors[0] = unsqueeze(tensors[0], 0)
    if tail:
        tensors[-1] = unsqueeze(tensors[-1], 1)
    product = _chain(tensors)
    shape = product.shape[head : 2 - tail]
    return reshape(product, shape) if head or tail else product


def _chain(tensors: list[Any]) -> Any:
    """Multiply with the fewest multiplications (Cormen et al. 2009, section 15.2)."""
    sizes = [tensors[0].shape[0], *(x.shape[1] for x in tensors)]
    n = len(tensors)
    cost = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        if i == j:
            return tensors[i]
        k = cost[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


def chain_matmul(*matrices: Any) -> Any:
    """Product of several matrices, in the order of multiplication that costs least."""
    if len(matrices) == 1:
        return matrices[0]
    return multi_dot(matrices)


# -- a product added to something --------------------------------------------------------------


def _added(name: str, input: Any, product: Any, beta: float, alpha: float) -> Any:
    """beta · input + alpha · product; a beta of 0 ignores even nan and infinity."""
    try:
        fits = np.broadcast_shapes(input.shape, product.shape) == tuple(product.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: input has shape {tuple(input.shape)}, which does not broadcast to the "
            f"product's {tuple(product.shape)}"
        )
    if input.dtype != product.dtype and name != "addr":  # the outer product promotes
        raise TypeError(
            f"{name}: input is {input.dtype} and the product {product.dtype}; convert one, for "
            "example with .float()"
        )
    if product.dtype.kind in "iu":
        beta, alpha = int(beta), int(alpha)  # the result stays of integers
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return where(np.array(True), product, input)
    return (input if beta == 1 else input * beta) + product


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat1 · mat2), of matrices.

    Parameters
    ----------
    input : Tensor
        Broadcasts to ``(n, m)``.
    mat1 : Tensor
        ``(n, k)``.
    mat2 : Tensor
        ``(k, m)``.
    beta, alpha : float, default 1
        Factors. With a beta of 0, nan and infinities in `input` do not matter.

    Returns
    -------
    Tensor
        ``(n, m)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.addmm(tm.ones(2), tm.eye(2), tm.eye(2), alpha=3)
    tensor([[4., 1.],
            [1., 4.]])
    """
    _expect("addmm", (2, 2), mat1=mat1, mat2=mat2)
    return _added("addmm", input, matmul(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat · vec): ``(n, k)`` and ``(k,)`` give ``(n,)``."""
    _expect("addmv", (2, 1), mat=mat, vec=vec)
    return _added("addmv", input, matmul(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (vec1 ⊗ vec2): ``(n,)`` and ``(m,)`` give ``(n, m)``."""
    _expect("addr", (1, 1), vec1=vec1, vec2=vec2)
    return _added("addr", input, unsqueeze(vec1, 1) * vec2, beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (batch1 · batch2), a product per item of the batch.

    Parameters
    ----------
    input : Tensor
        Broadcasts to ``(b, n, m)``.
    batch1, batch2 : Tensor
        ``(b, n, k)`` and ``(b, k, m)``.
    beta, alpha : float, default 1
        Factors. With a beta of 0, nan and infinities in `input` do not matter.

    Returns
    -------
    Tensor
        ``(b, n, m)``.

    Raises
    ------
    ValueError
        The shapes do not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.baddbmm(tm.zeros(1), tm.ones(5, 2, 3), tm.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · Σ (batch1 · batch2), summed over the batch: ``(n, m)``."""
    return _added("addbmm", input, sum(bmm(batch1, batch2), 0), beta, alpha)


_METHODS: tuple[Callable[..., Any], ...] = (
    mm, bmm, mv, dot, vdot, inner, outer, trace, kron, addmm, addmv, addr, baddbmm, addbmm,
)  # fmt: skip
for _method in _METHODS:
    setattr(Tensor, _method.__name__, _method)
setattr(Tensor, "ger", outer)  # noqa: B010
