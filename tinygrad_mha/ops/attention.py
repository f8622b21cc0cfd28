"""Attention pooling: scores between queries and keys, weights, and the weighted sum of values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.op import Value
from .axes import Shape
from .elementwise import masked_fill, tanh
from .linalg import matmul
from .normalize import masked_softmax, softmax
from .random import dropout
from .reduce import sum
from .shape import expand, reshape, sum_to, unsqueeze

#: Up to so many scores, scores and weights are steps of their own, which pictures can show;
#: above it, they would cost more time and memory than all the rest.
STEPWISE = 64 * 64


def _scores_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Batch axes align from the right; query rows become rows, key rows become columns."""
    if which > 1:
        return None
    from_right = axis - len(shapes[which])
    if from_right == -1:
        return None
    if from_right == -2:
        return len(out) - (2 if which == 0 else 1)
    there = from_right + len(out)
    return there if out[there] == shapes[which][axis] else None


@op(
    "score = q · kᵀ · scale",
    derivation=(
        "Scores are the matrix product q · kᵀ times a constant, so the rule of matmul "
        "applies: dq = dy · k · scale and dk = dyᵀ · q · scale. The scale 1/√p keeps the "
        "variance of the scores at 1 for independent entries of variance 1, where a softmax "
        "still has a slope."
    ),
    symbol="q·kᵀ/√p",
    axis=_scores_axis,
    inputs=2,
    method=False,
    torch="ours:dot_scores",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4)), {"scale": 0.5}),
        Sample(((2, 1, 3, 4), (2, 2, 4)), {"scale": 0.5}),
    ),
)
def dot_scores(query: Value, key: Value, scale: float) -> Value:
    """Scaled dot product of every query with every key (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    query : Tensor
        ``(..., L, p)``.
    key : Tensor
        ``(..., S, p)``.
    scale : float
        Usually 1/√p.

    Returns
    -------
    Tensor
        ``(..., L, S)``.

    Raises
    ------
    ValueError
        The widths of queries and keys differ.
    """
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query has shape {query.shape} and key {key.shape}: a dot product needs equal widths "
            "(the last axis); additive attention does not"
        )
    scores = kernels.matmul(query, key.swapaxes(-1, -2))
    return np.multiply(scores, scores.dtype.type(scale), out=scores)


@dot_scores.gradient("query", "dq = dy · k · scale")
def dot_scores_dquery(dy: Value, key: Value, query_shape: Shape, scale: float) -> Value:
    dq = matmul(dy, key) * scale
    return dq if dq.shape == query_shape else sum_to(dq, query_shape)


@dot_scores.gradient("key", "dk = dyᵀ · q · scale")
def dot_scores_dkey(dy: Value, query: Value, key_shape: Shape, scale: float) -> Value:
    dk = matmul(dy.mT, query) * scale
    return dk if dk.shape == key_shape else sum_to(dk, key_shape)


@op(
    "score = w_vᵀ tanh(q + k)",
    derivation=(
        "With t = tanh(q + k), the score is w · t. Through the product dt = dy · w; through "
        "tanh′ = 1 − t² the gradient at the sum q + k is g = dy · w · (1 − t²). A query was "
        "added to every key, so dq sums g over the keys, and dk over the queries. w met every "
        "t: dw = Σ dy · t."
    ),
    symbol="wᵥᵀtanh(q+k)",
    axis=_scores_axis,
    method=False,
    torch="ours:additive_scores",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4), (4,))),
        Sample(((2, 1, 3, 4), (2, 2, 4), (4,))),
    ),
)
def additive_scores(query: Value, key: Value, weight: Value) -> Value:
    """Additive score of every query with every key (Bahdanau et al. 2015, appendix A.1.2).

    Parameters
    ----------
    query : Tensor
        Projected queries ``(..., L, a)``.
    key : Tensor
        Projected keys ``(..., S, a)``.
    weight : Tensor
        w_v, ``(a,)``.

    Returns
    -------
    Tensor
        ``(..., L, S)``.

    Raises
    ------
    ValueError
        The widths differ.
    """
    if not query.shape[-1] == key.shape[-1] == weight.shape[-1] or weight.ndim != 1:
        raise ValueError(
            f"query has shape {query.shape}, key {key.shape} and weight {weight.shape}; expected "
            "(..., L, a), (..., S, a) and (a,)"
        )
    # (..., L, 1, a) + (..., 1, S, a) -> (..., L, S, a), only for as long as this runs
    return np.matmul(kernels.tanh(query[..., :, None, :] + key[..., None, :, :]), weight)


def _through_tanh(dy: Value, query: Value, key: Value, weight: Value) -> Value:
    """Gradient at q + k, dy · w_v · (1 − tanh²): (..., L, S, a)."""
    t = tanh(unsqueeze(query, -2) + unsqueeze(key, -3))
    return unsqueeze(dy, dy.ndim) * weight * (1 - t * t)


@additive_scores.gradient("query", "dq = Σ over keys of dy · w_v · (1 − tanh²)")
def additive_scores_dquery(dy: Value, query: Value, key: Value, weight: Value) -> Value:
    return sum_to(sum(_through_tanh(dy, query, key, weight), -2), query.shape)


@additive_scores.gradient("key", "dk = Σ over queries of dy · w_v · (1 − tanh²)")
def additive_scores_dkey(dy: Value, query: Value, key: Value, weight: Value) -> Value:
    return sum_to(sum(_through_tanh(dy, query, key, weight), -3), key.shape)


@additive_scores.gradient("weight", "dw_v = Σ dy · tanh(q + k)")
def additive_scores_dweight(dy: Value, query: Value, key: Value) -> Value:
    t = tanh(unsqueeze(query, -2) + unsqueeze(key, -3))
    return sum_to(unsqueeze(dy, dy.ndim) * t, t.shape[-1:])


@additive_scores.fused_gradient
def additive_scores_backward(
    dy: np.ndarray,
    wanted: list[int],
    query: np.ndarray,
    key: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take all three sums from one tanh, which costs more than everything else together."""
    t = kernels.tanh(query[..., :, None, :] + key[..., None, :, :])  # (..., L, S, a)
    dweight = np.tensordot(dy, t, dy.ndim)
    np.multiply(t, t, out=t)
    np.subtract(1, t, out=t)
    t *= dy[..., None]
    return (
        sum_to(t.sum(-2) * weight, query.shape),
        sum_to(t.sum(-3) * weight, key.shape),
        dweight,
    )


# -- all of it at once ---------------------------------------------------------------------


def _pooled_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Batch axes align from the right; query rows stay, and so do the columns of values."""
    from_right = axis - len(shapes[which])
    if from_right == -1:
        return len(out) - 1 if which == 2 else None
    if from_right == -2:
        return len(out) - 2 if which == 0 else None
    there = from_right + len(out)
    return there if out[there] == shapes[which][axis] else None


_some = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])
_added = np.array([[0.5, -np.inf, 0.0, 1.0, -1.0]])


@op(
    "y = softmax(q · kᵀ · scale) · v",
    derivation=(
        "Three known steps in one: S = q · kᵀ · scale, P = softmax(S), y = P · v. Backwards, "
        "dv = Pᵀ · dy and dP = dy · vᵀ; the softmax gives dS = P · (dP − Σ dP · P), where the "
        "sum of a row is Σ dy · y, so it is known without P; and dq = dS · k · scale, dk = "
        "dSᵀ · q · scale. P is not kept but computed again, block by block."
    ),
    symbol="attention",
    axis=_pooled_axis,
    inputs=3,
    extras=("lse",),
    method=False,
    torch="ours:attention",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4), (2, 5, 6)), {"scale": 0.5}),
        Sample(((3, 4), (2, 5, 4), (2, 1, 5, 2)), {"scale": 0.5, "mask": _some}),
        Sample(((2, 4, 3), (2, 5, 3), (5, 3)), {"scale": 1.0, "bias": _added, "is_causal": True}),
    ),
)
def attention(
    query: Value,
    key: Value,
    value: Value,
    scale: float,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    is_causal: bool = False,
) -> Value:
    """Weighted sum of the values, without a matrix of weights in memory.

    Parameters
    ----------
    query, key, value : Tensor
        ``(..., L, p)``, ``(..., S, p)`` and ``(..., S, p_v)``.
    scale : float
        Usually 1/√p.
    mask : bool ndarray, optional
        True = may attend; broadcasts to ``(..., L, S)``.
    bias : ndarray, optional
        Added to the scores, −∞ forbids; a constant.
    is_causal : bool, default False
        Query i sees keys 0 … i.

    Returns
    -------
    Tensor
        ``(..., L, p_v)``; a query that may see no key gives exactly 0.
    """
    bias = None if bias is None else bias.astype(query.dtype, copy=False)
    return kernels.attention(
        query, key, value, mask=mask, bias=bias, causal=is_causal, scale=scale
    )  # fmt: skip


def _weights(
    query: Value,
    key: Value,
    scale: float,
    mask: np.ndarray | None,
    bias: np.ndarray | None,
    is_causal: bool,
) -> Value:
    """Compute the weights (..., L, S) again, in steps that have gradients of their own."""
    scores = matmul(query, key.mT) * scale
    seen = np.ones((1, 1), bool) if mask is None else mask
    if is_causal:
        seen = seen & np.tri(*scores.shape[-2:], dtype=np.bool_)
    if bias is not None:
        forbidden = np.isneginf(bias)
        seen = seen & ~forbidden
        scores = scores + np.where(forbidden, 0, bias).astype(scores.dtype)
    return masked_softmax(scores, seen)


def _through_weights(dy: Value, value: Value, weights: Value) -> Value:
    """Gradient at the scores: w · (dw − Σ dw · w) with dw = dy · vᵀ."""
    dw = matmul(dy, value.mT)
    return weights * (dw - sum(dw * weights, -1, True))


@attention.gradient("query", "dq = w · (dy · vᵀ − Σ dy · y) · k · scale")
def attention_dquery(
    dy: Value, query: Value, key: Value, value: Value, scale: float,
    mask: np.ndarray | None, bias: np.ndarray | None, is_causal: bool,
) -> Value:  # fmt: skip
    weights = _weights(query, key, scale, mask, bias, is_causal)
    return sum_to(matmul(_through_weights(dy, value, weights), key) * scale, query.shape)


@attention.gradient("key", "dk = (w · (dy · vᵀ − Σ dy · y))ᵀ · q · scale")
def attention_dkey(
    dy: Value, query: Value, key: Value, value: Value, scale: float,
    mask: np.ndarray | None, bias: np.ndarray | None, is_causal: bool,
) -> Value:  # fmt: skip
    weights = _weights(query, key, scale, mask, bias, is_causal)
    return sum_to(matmul(_through_weights(dy, value, weights).mT, query) * scale, key.shape)


@attention.gradient("value", "dv = wᵀ · dy")
def attention_dvalue(
    dy: Value, query: Value, key: Value, scale: float,
    mask: np.ndarray | None, bias: np.ndarray | None, is_causal: bool, value_shape: Shape,
) -> Value:  # fmt: skip
    weights = _weights(query, key, scale, mask, bias, is_causal)
    return sum_to(matmul(weights.mT, dy), value_shape)


@attention.fused_gradient
def attention_backward(
    dy: np.ndarray, wanted: list[int], query: np.ndarray, key: np.ndarray, value: np.ndarray,
    scale: float, mask: np.ndarray | None, bias: np.ndarray | None, is_causal: bool,
    out: np.ndarray, lse: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    bias = None if bias is None else bias.astype(query.dtype, copy=False)
    grown = kernels.attention_backward(
        dy, query, key, value, out, lse, mask=mask, bias=bias, causal=is_causal, scale=scale
    )
    inputs = (query, key, value)
    return tuple(sum_to(d, x.shape) for d, x in zip(grown, inputs, strict=True))


# -- the attention core -------------------------------------------------------------------


def visible(
    scores_shape: Shape, mask: Tensor | None, is_causal: bool
) -> tuple[np.ndarray | None, Tensor | None]:
    """Bring a mask to one form: what may be seen, and what is added to the scores.

    Parameters
    ----------
    scores_shape : tuple of int
        ``(..., L, S)``.
    mask : Tensor or None
        Boolean, True = may attend; or floating, added to the scores, where −∞ forbids.
    is_causal : bool
        Query i sees keys 0 … i.

    Returns
    -------
    seen : bool array or None
        None where everything may be seen.
    bias : Tensor or None
        Finite numbers to add.

    Raises
    ------
    TypeError
        The mask is of integers.
    ValueError
        The mask does not broadcast to the scores.
    """
    length, keys = scores_shape[-2:]
    seen: np.ndarray | None = np.tri(length, keys, dtype=bool) if is_causal else None
    if mask is None:
        return seen, None
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"mask: dtype {mask.dtype} says neither 'may attend' nor 'add'; pass a bool mask with "
            "True = may attend, for example mask.bool(), or a float mask, which is added"
        )
    try:
        fits = np.broadcast_shapes(mask.shape, scores_shape) == tuple(scores_shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"mask: shape {mask.shape} does not broadcast to the scores' {tuple(scores_shape)}, "
            "which is (..., queries, keys)"
        )
    if mask.dtype.kind == "b":
        return (mask.data if seen is None else mask.data & seen), None
    forbidden = np.isneginf(mask.data)
    if not forbidden.any():
        return seen, mask
    allowed = ~forbidden
    return (allowed if seen is None else allowed & seen), masked_fill(mask, forbidden, 0.0)


def attention_weights(
    scores: Tensor, mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    """Turn scores into weights: softmax over the keys that may be seen.

    Parameters
    ----------
    scores : Tensor
        ``(..., L, S)``.
    mask : Tensor, optional
        Boolean, True = may attend; or floating, added. Broadcasts to the scores.
    is_causal : bool, default False
        Query i sees keys 0 … i (aligned at the top left, as in PyTorch).

    Returns
    -------
    Tensor
        ``(..., L, S)``. Each row sums to 1; a row that may see nothing is exactly 0, and
        so is its gradient.

    Raises
    ------
    TypeError
        The mask is of integers.
    ValueError
        The mask does not broadcast to the scores.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.attention_weights(tm.zeros(2, 2), is_causal=True)
    tensor([[1. , 0. ],
            [0.5, 0.5]])
    """
    seen, bias = visible(scores.shape, mask, is_causal)
    if bias is not None:
        scores = scores + bias
    weights: Tensor = softmax(scores) if seen is None else masked_softmax(scores, seen)
    return weights


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Weighted sum of the values, weights by scaled dot product (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    query : Tensor
        ``(..., L, p)``.
    key : Tensor
        ``(..., S, p)``.
    value : Tensor
        ``(..., S, p_v)``.
    attn_mask : Tensor, optional
        Boolean, True = may attend; or floating, added. Broadcasts to ``(..., L, S)``.
    dropout_p : float, default 0
        Probability with which a weight is dropped.
    is_causal : bool, default False
        Query i sees keys 0 … i.
    scale : float, optional
        Default 1/√p.
    enable_gqa : bool, default False
        Let several query heads share a key and value head (Ainslie et al. 2023): the heads are
        axis −3, and their number for queries is a multiple of that for keys and for values.

    Returns
    -------
    Tensor
        ``(..., L, p_v)``; a query that may see no key gives exactly 0.

    Raises
    ------
    ValueError
        Widths, lengths or the mask do not fit.
    TypeError
        The mask is of integers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.randn(1, 4, 5, 8)
    >>> tm.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 5, 8)
    """
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1])
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"scaled_dot_product_attention: key has shape {key.shape} and value {value.shape}; "
            "there must be as many values as keys (axis −2)"
        )
    if enable_gqa:
        key, value = _shared_heads("key", key, query), _shared_heads("value", value, query)
    pooled: Tensor
    length, keys = query.shape[-2], key.shape[-2]
    constant = attn_mask is None or not attn_mask.requires_grad
    if dropout_p == 0 and length * keys > STEPWISE and constant:
        seen = added = None
        if attn_mask is not None:
            batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
            seen, added = visible((*batch, length, keys), attn_mask, False)
        bias = None if added is None else added.data
        pooled = attention(query, key, value, scale, seen, bias, is_causal)
        return pooled
    weights = attention_weights(dot_scores(query, key, scale=scale), attn_mask, is_causal)
    pooled = matmul(dropout(weights, dropout_p), value)
    return pooled


def _shared_heads(name: str, x: Tensor, query: Tensor) -> Tensor:
    """Repeat each head of `x` for the query heads that share it."""
    if query.ndim < 3 or x.ndim < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        raise ValueError(
            f"scaled_dot_product_attention: with enable_gqa the heads of query (axis −3) must be a "
            f"multiple of those of {name}; query has shape {query.shape} and {name} {x.shape}"
        )
    times = query.shape[-3] // x.shape[-3]
    if times == 1:
        return x
    *batch, heads, length, width = x.shape
    # (..., g, S, p) -> (..., g, h/g, S, p) -> (..., h, S, p)
    stretched = expand(unsqueeze(x, -3), (*batch, heads, times, length, width))
    shared: Tensor = reshape(stretched, (*batch, heads * times, length, width))
    return shared
