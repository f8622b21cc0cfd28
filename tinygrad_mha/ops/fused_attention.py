"""Attention all at once: no matrix of weights in memory, and few operations to record.

What they compute is what :mod:`.attention` computes in steps. Each says so, as steps that
pictures show instead, and the generic checks hold the two together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .attention import (
    attention_weights,
    check_batch,
    check_keys,
    check_mask,
    dot_scores,
    dot_scores_dkey,
    dot_scores_dquery,
    of_dtype,
)
from .axes import Shape
from .elementwise import masked_fill
from .linalg import matmul
from .normalize import masked_softmax, softmax_dx
from .random import generator, scaled_mask
from .reduce import sum
from .shape import expand, reshape, sum_to, unsqueeze


def pooled_axis(
    axis: int,
    which: int,
    shapes: list[Shape],
    out: Shape,
    params: dict[str, Any],
    of_values: int = 2,
) -> int | None:
    """Batch axes align from the right; query rows stay, and so do the columns of values.

    Not with dropout: which weights are dropped depends on where they stand in the whole.
    """
    from_right = axis - len(shapes[which])
    if from_right == -1:
        return len(out) - 1 if which == of_values and not params["dropout"] else None
    if params["dropout"] or (from_right == -2 and which in (1, of_values)):
        return None
    there = from_right + len(out)
    return there if out[there] == shapes[which][axis] else None


def _weights_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Batch axes align from the right, and query rows stay; keys share each row's softmax."""
    from_right = axis - len(shapes[which])
    if from_right == -1 or (from_right == -2 and which == 1):
        return None
    there = from_right + len(out)
    return there if out[there] == shapes[which][axis] else None


_some = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])


@op(
    "y = softmax(q · kᵀ · scale) · v",
    derivation=(
        "Three known steps in one: S = q · kᵀ · scale, P = softmax(S), y = P · v. Backwards, "
        "dv = Pᵀ · dy and dP = dy · vᵀ; the softmax gives dS = P · (dP − Σ dP · P), where the "
        "sum of a row is Σ dy · y, so it is known without P; and dq = dS · k · scale, dk = "
        "dSᵀ · q · scale. A mask of numbers was added to the scores: its gradient is dS. P is "
        "not kept but computed again, block by block."
    ),
    symbol="attention",
    axis=pooled_axis,
    inputs=4,
    extras=("lse",),
    method=False,
    torch="ours:attention",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4), (2, 5, 6)), {"scale": 0.5}),
        Sample(((3, 4), (2, 5, 4), (2, 1, 5, 2), _some), {"scale": 0.5}),
        Sample(((2, 4, 3), (2, 5, 3), (5, 3), (1, 5)), {"scale": 1.0, "is_causal": True}),
        Sample(((2, 3, 4), (2, 5, 4), (2, 5, 6), (2, 3, 5)), {"dropout": 0.4, "seed": 7}),
    ),
)
def attention(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> Value:
    """Weighted sum of the values, without a matrix of weights in memory.

    Parameters
    ----------
    query, key, value : Tensor
        ``(..., L, p)``, ``(..., S, p)`` and ``(..., S, p_v)``.
    mask : Tensor, optional
        Boolean, True = may attend; or floating, added to the scores, where −∞ forbids.
        Broadcasts to ``(..., L, S)``.
    scale : float, optional
        By default 1/√p.
    is_causal : bool, default False
        Query i sees keys 0 … i.
    dropout : float, default 0
        Probability with which a weight is dropped.
    seed : int, default 0
        Decides which: the same seed drops the same weights.

    Returns
    -------
    Tensor
        ``(..., L, p_v)``; a query that may see no key gives exactly 0.

    Raises
    ------
    ValueError
        The shapes do not fit, or `dropout` is no probability.
    TypeError
        The dtypes differ or are not floating, or the mask is of integers.
    """
    check_dropout(dropout)
    if mask is not None:
        check_mask(mask, check_keys("attention", query, key, value))
    seen, bias = two_kinds(mask, query.dtype)
    return kernels.attention(
        query, key, value, mask=seen, bias=bias, causal=is_causal,
        scale=scale_of(scale, query), dropout=dropout, seed=seed,
    )  # fmt: skip


def scale_of(scale: float | None, query: Value) -> float:
    return 1.0 / math.sqrt(query.shape[-1] or 1) if scale is None else scale


def two_kinds(
    mask: np.ndarray | None, dtype: np.dtype[Any]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Say what may be seen, and what is added."""
    if mask is None:
        return None, None
    return (mask, None) if mask.dtype.kind == "b" else (None, mask.astype(dtype, copy=False))


def _weights(
    query: Value, key: Value, mask: Value | None, scale: float | None, is_causal: bool
) -> Value:
    """Compute the weights (..., L, S) again, in steps that have gradients of their own."""
    return weights_of_scores(matmul(query, key.mT) * scale_of(scale, query), mask, is_causal)


def weights_of_scores(scores: Value, mask: Value | None, is_causal: bool) -> Value:
    """What :func:`attention_weights` computes, for rules: of arrays as of tensors."""
    seen = np.ones((1, 1), bool)
    if is_causal:
        seen = np.tri(*scores.shape[-2:], dtype=np.bool_)
    if mask is not None and plain(mask).dtype.kind == "b":
        seen = seen & plain(mask)
    elif mask is not None:
        forbidden = np.isneginf(plain(mask))
        seen = seen & ~forbidden
        scores = scores + of_dtype(masked_fill(mask, forbidden, 0.0), scores.dtype)
    return masked_softmax(scores, seen)


@op(
    "w = softmax(q · kᵀ · scale)",
    derivation=(
        "Two known steps in one: S = q · kᵀ · scale and w = softmax(S). The softmax gives dS = "
        "w · (dw − Σ dw · w), and the product dq = dS · k · scale and dk = dSᵀ · q · scale. A mask "
        "of numbers was added to the scores: its gradient is dS."
    ),
    symbol="softmax(q·kᵀ/√p)",
    axis=_weights_axis,
    inputs=3,
    method=False,
    torch="ours:dot_weights",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4)), {"scale": 0.5}),
        Sample(((3, 4), (2, 5, 4), _some), {"scale": 0.5}),
        Sample(((2, 4, 3), (2, 5, 3), (1, 5)), {"is_causal": True}),
    ),
)
def dot_weights(
    query: Value,
    key: Value,
    mask: Value | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Value:
    """Weights by which :func:`attention` sums the values, before dropout.

    Parameters
    ----------
    query, key : Tensor
        ``(..., L, p)`` and ``(..., S, p)``.
    mask, scale, is_causal
        As there.

    Returns
    -------
    Tensor
        ``(..., L, S)``. Each row sums to 1; a row that may see nothing is exactly 0.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ or are not floating, or the mask is of integers.
    """
    if mask is not None and query.ndim > 1 < key.ndim:
        check_mask(mask, (*check_batch(query, key), query.shape[-2], key.shape[-2]))
    seen, bias = two_kinds(mask, query.dtype)
    return kernels.attention_weights(
        query, key, mask=seen, bias=bias, causal=is_causal, scale=scale_of(scale, query)
    )


@dot_weights.gradient("query", "dq = w · (dw − Σ dw · w) · k · scale")
def dot_weights_dquery(
    dy: Value, query: Value, key: Value, scale: float | None, out: Value
) -> Value:
    return dot_scores_dquery(softmax_dx(dy, out, -1), key, query.shape, scale_of(scale, query))


@dot_weights.gradient("key", "dk = (w · (dw − Σ dw · w))ᵀ · q · scale")
def dot_weights_dkey(
    dy: Value, query: Value, key_shape: Shape, scale: float | None, out: Value
) -> Value:
    return dot_scores_dkey(softmax_dx(dy, out, -1), query, key_shape, scale_of(scale, query))


@dot_weights.gradient("mask", "dm = w · (dw − Σ dw · w), summed where it was broadcast")
def dot_weights_dmask(dy: Value, mask_shape: Shape, out: Value) -> Value:
    return sum_to(softmax_dx(dy, out, -1), mask_shape)


@dot_weights.as_steps
def dot_weights_in_steps(
    query: Tensor, key: Tensor, mask: Any, scale: float | None, is_causal: bool
) -> Tensor:
    given = mask if mask is None or isinstance(mask, Tensor) else Tensor(mask)
    return attention_weights(dot_scores(query, key, scale_of(scale, query)), given, is_causal)


def dropped(x: Value, dropout: float, seed: int) -> Value:
    """Drop what the seed says of the weights, or of their gradients."""
    return scaled_mask(x, kernels.kept(x.shape, dropout, seed), dropout) if dropout else x


def _dscores(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int, out: Value,
) -> Value:  # fmt: skip
    """Gradient at the scores: w · (dw − Σ dy · y) with dw = dy · vᵀ, where not dropped."""
    weights = _weights(query, key, mask, scale, is_causal)
    dw = dropped(matmul(dy, value.mT), dropout, seed)
    return weights * (dw - sum(dy * out, -1, True))


@attention.gradient("query", "dq = w · (dy · vᵀ − Σ dy · y) · k · scale")
def attention_dquery(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int, out: Value,
) -> Value:  # fmt: skip
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed, out)
    return sum_to(matmul(ds, key) * scale_of(scale, query), query.shape)


@attention.gradient("key", "dk = (w · (dy · vᵀ − Σ dy · y))ᵀ · q · scale")
def attention_dkey(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int, out: Value,
) -> Value:  # fmt: skip
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed, out)
    return sum_to(matmul(ds.mT, query) * scale_of(scale, query), key.shape)


@attention.gradient("value", "dv = wᵀ · dy")
def attention_dvalue(
    dy: Value, query: Value, key: Value, mask: Value | None, scale: float | None,
    is_causal: bool, dropout: float, seed: int, value_shape: Shape,
) -> Value:  # fmt: skip
    weights = _weights(query, key, mask, scale, is_causal)
    weights = expand(weights, (*dy.shape[:-2], *weights.shape[-2:]))
    return sum_to(matmul(dropped(weights, dropout, seed).mT, dy), value_shape)


@attention.gradient("mask", "dm = w · (dy · vᵀ − Σ dy · y), summed where it was broadcast")
def attention_dmask(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int, out: Value,
) -> Value:  # fmt: skip
    assert mask is not None
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed, out)
    return sum_to(ds, mask.shape)


@attention.fused_gradient
def attention_backward(
    dy: np.ndarray, wanted: list[int], query: np.ndarray, key: np.ndarray, value: np.ndarray,
    mask: np.ndarray | None, scale: float | None, is_causal: bool, dropout: float, seed: int,
    out: np.ndarray, lse: np.ndarray,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """Compute the weights once for all of it; a mask's gradient is as large as they are anyway."""
    seen, bias = two_kinds(mask, query.dtype)
    grown = kernels.attention_backward(
        dy, query, key, value, out, lse, mask=seen, bias=bias, causal=is_causal,
        scale=scale_of(scale, query), dropout=dropout, seed=seed,
    )  # fmt: skip
    found: list[np.ndarray | None] = [
        d if d.shape == x.shape else sum_to(d, x.shape)
        for d, x in zip(grown, (query, key, value), strict=True)
    ]
    dmask = None
    if 3 in wanted:
        dmask = attention_dmask(
            dy, query, key, value, mask, scale, is_causal, dropout, seed, out
        )  # fmt: skip
    return (*found, dmask)


@attention.as_steps
def attention_in_steps(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float | None,
    is_causal: bool, dropout: float, seed: int,
) -> Tensor:  # fmt: skip
    return pooled(dot_weights_in_steps(query, key, mask, scale, is_causal), value, dropout, seed)


def pooled(weights: Tensor, value: Tensor, dropout: float, seed: int) -> Tensor:
    """Drop what the seed says of the weights, and sum the values."""
    batch = np.broadcast_shapes(weights.shape[:-2], value.shape[:-2])
    if dropout and batch != weights.shape[:-2]:  # dropped apart for each of the values
        weights = expand(weights, (*batch, *weights.shape[-2:]))
    out: Tensor = matmul(dropped(weights, dropout, seed), value)
    return out


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
        The dtypes differ or are not floating, or the mask is of integers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.randn(1, 4, 5, 8)
    >>> tm.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 5, 8)
    """
    if enable_gqa:
        key, value = _shared_heads("key", key, query), _shared_heads("value", value, query)
    check_keys("scaled_dot_product_attention", query, key, value)
    pooled: Tensor = attention(
        query, key, value, attn_mask, scale, is_causal, dropout_p, new_seed(dropout_p)
    )
    return pooled


def check_dropout(dropout: float, name: str = "dropout") -> None:
    """Refuse what is no probability."""
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(f"{name} is {dropout}, expected a probability from 0 to 1")


def new_seed(dropout: float) -> int:
    """Draw what decides which weights are dropped; 0, without drawing, where none is.

    Raises
    ------
    ValueError
        `dropout` is not a probability.
    """
    check_dropout(dropout, "dropout_p")
    return int(generator().integers(2**63)) if dropout else 0


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
