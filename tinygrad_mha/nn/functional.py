"""The layers' functions without the layers: ``import tinygrad_mha.nn.functional as F``."""

import functools
import inspect
from typing import Any

from .. import ops
from ..engine.inplace import apply_
from ..ops import (
    additive_attention,
    additive_scores,
    attention,
    attention_weights,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    combine_heads,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dot_scores,
    dot_weights,
    gaussian_nll_loss,
    gelu,
    glu,
    group_norm,
    hardshrink,
    hinge_embedding_loss,
    huber_loss,
    instance_norm,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_softmax,
    logsigmoid,
    margin_ranking_loss,
    masked_softmax,
    merge_heads,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    poisson_nll_loss,
    prelu,
    rms_norm,
    scaled_dot_product_attention,
    self_attention,
    self_attention_weights,
    sigmoid,
    smooth_l1_loss,
    soft_margin_loss,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    split_heads,
    tanh,
    tanhshrink,
)


def _or_in_place(function: Any) -> Any:
    """Give a function PyTorch's last argument, `inplace`: write the result over the input."""
    signature = inspect.signature(getattr(function, "forward", function))
    count, name = len(signature.parameters), next(iter(signature.parameters))

    @functools.wraps(function)
    def call(*args: Any, inplace: bool = False, **kwargs: Any) -> Any:
        if len(args) > count:
            *args, inplace = args  # type: ignore[assignment]
        if not inplace:
            return function(*args, **kwargs)
        if not args and not {name, "input"} & kwargs.keys():
            raise TypeError(f"{function.__name__}: its first argument, {name}, is missing")
        first, *others = args or (kwargs.pop(name if name in kwargs else "input"),)
        return apply_(function, first, tuple(others), kwargs)

    last = inspect.Parameter("inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), last]
    )
    return call


celu = _or_in_place(ops.celu)
dropout = _or_in_place(ops.dropout)
elu = _or_in_place(ops.elu)
hardsigmoid = _or_in_place(ops.hardsigmoid)
hardswish = _or_in_place(ops.hardswish)
hardtanh = _or_in_place(ops.hardtanh)
leaky_relu = _or_in_place(ops.leaky_relu)
mish = _or_in_place(ops.mish)
relu = _or_in_place(ops.relu)
relu6 = _or_in_place(ops.relu6)
selu = _or_in_place(ops.selu)
silu = _or_in_place(ops.silu)
threshold = _or_in_place(ops.threshold)


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
    "additive_attention",
    "additive_scores",
    "attention",
    "attention_weights",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "combine_heads",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dot_scores",
    "dot_weights",
    "dropout",
    "elu",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "masked_softmax",
    "merge_heads",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "self_attention",
    "self_attention_weights",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "split_heads",
    "tanh",
    "tanhshrink",
    "threshold",
]
