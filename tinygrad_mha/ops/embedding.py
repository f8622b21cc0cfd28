"""Rows of a table, one per token."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value, plain
from .axes import Shape
from .index import put_at, scatter_add_at


@op(
    "y = W[index]",
    derivation=(
        "Looking up row i is the product of a one-hot row with W, so dW = onehotᵀ · dy: each "
        "row of dy is added to the row of W that it was copied from. Rows that were not "
        "looked up get 0."
    ),
    method=False,
    torch="ours:embedding",
    samples=(
        Sample(((5, 3), np.array([[0, 4], [4, 2]]))),
        Sample(((5, 3), np.array(1))),
        Sample(((5, 3), np.zeros((0,), np.int64))),
        Sample(((5, 3), np.array([1, 3, 3, 0])), {"padding_idx": -1}),
    ),
)
def embedding(weight: Value, index: Value, padding_idx: int | None = None) -> Value:
    """Rows of a table, one per index.

    Parameters
    ----------
    weight : Tensor
        ``(num_embeddings, d)``.
    index : integer Tensor
        Any shape ``(...)``; from 0 to num_embeddings − 1.
    padding_idx : int, optional
        A row that is read like any other, but gets no gradient; a negative one counts
        from the end.

    Returns
    -------
    Tensor
        ``(..., d)``.

    Raises
    ------
    TypeError
        The index is not of integers.
    IndexError
        An index, or `padding_idx`, is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.embedding(tm.tensor([[0.0, 1.0], [2.0, 3.0]]), tm.tensor([1, 1, 0]))
    tensor([[2., 3.],
            [2., 3.],
            [0., 1.]])
    """
    if weight.ndim != 2:
        raise ValueError(f"weight has the shape {weight.shape}, expected (num_embeddings, d)")
    if padding_idx is not None and not -len(weight) <= padding_idx < len(weight):
        raise IndexError(f"padding_idx {padding_idx} is out of range for {len(weight)} embeddings")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index has dtype {index.dtype}, expected integers")
    which = np.asarray(index, np.intp)
    least = np.minimum.reduce(which, axis=None, initial=0)
    if least < 0:  # which NumPy would count from the end
        raise IndexError(f"index {least} is out of range for {len(weight)} embeddings")
    try:
        return weight.take(which, 0)
    except IndexError:
        worst = which.max()
        raise IndexError(f"index {worst} is out of range for {len(weight)} embeddings") from None


@embedding.gradient("weight", "dW = 0, then dW[index] += dy")
def embedding_dweight(
    dy: Value, weight_shape: Shape, index: Value, padding_idx: int | None
) -> Value:
    dw = scatter_add_at(dy, weight_shape, plain(index))
    return dw if padding_idx is None else put_at(dw, 0.0, np.array([padding_idx]))


@embedding.fused_gradient
def embedding_backward(
    dy: np.ndarray,
    wanted: list[int],
    weight_shape: Shape,
    index: np.ndarray,
    padding_idx: int | None,
) -> tuple[np.ndarray, None]:
    dw = kernels.embedding_backward(dy, index, weight_shape[0])
    if padding_idx is not None:
        dw[padding_idx] = 0
    return dw, None
