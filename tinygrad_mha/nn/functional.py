"""The layers' functions without the layers: ``import tinygrad_mha.nn.functional as F``."""

from typing import Any

from .. import ops
from ..ops import (
    additive_scores,
    attention_weights,
    cross_entropy,
    dot_scores,
    dropout,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    masked_softmax,
    merge_heads,
    one_hot,
    pad,
    relu,
    scaled_dot_product_attention,
    sigmoid,
    softmax,
    split_heads,
    tanh,
)

__all__ = [
    "additive_scores",
    "attention_weights",
    "cross_entropy",
    "dot_scores",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "masked_softmax",
    "merge_heads",
    "one_hot",
    "pad",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "softmax",
    "split_heads",
    "tanh",
]


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of a table, one per index; :func:`tinygrad_mha.embedding`, indices first.

    Parameters
    ----------
    input : integer Tensor
        Any shape ``(...)``; from 0 to num_embeddings − 1.
    weight : Tensor
        ``(num_embeddings, d)``.
    padding_idx : int, optional
        A row that gets no gradient.

    Returns
    -------
    Tensor
        ``(..., d)``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.embedding(tm.tensor([1]), tm.tensor([[0.0], [2.0]]))
    tensor([[2.]])
    """
    return ops.embedding(weight, input, padding_idx)
