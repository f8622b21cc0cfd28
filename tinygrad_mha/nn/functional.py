"""The layers' functions without the layers: ``import tinygrad_mha.nn.functional as F``."""

from typing import Any

from .. import ops
from ..ops import (
    additive_scores,
    attention_weights,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dot_scores,
    dropout,
    gaussian_nll_loss,
    gelu,
    group_norm,
    hinge_embedding_loss,
    huber_loss,
    instance_norm,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_softmax,
    margin_ranking_loss,
    masked_softmax,
    merge_heads,
    mse_loss,
    nll_loss,
    normalize,
    pad,
    poisson_nll_loss,
    relu,
    rms_norm,
    scaled_dot_product_attention,
    sigmoid,
    smooth_l1_loss,
    soft_margin_loss,
    softmax,
    softmin,
    split_heads,
    tanh,
)


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


__all__ = [
    "additive_scores",
    "attention_weights",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dot_scores",
    "dropout",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "group_norm",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "margin_ranking_loss",
    "masked_softmax",
    "merge_heads",
    "mse_loss",
    "nll_loss",
    "normalize",
    "pad",
    "poisson_nll_loss",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "split_heads",
    "tanh",
]
