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
from .attention import attention_weights, check_mask, dot_scores
from .axes import Shape
from .elementwise import masked_fill
from .heads import merge_heads, split_heads
from .linalg import linear, linear_dbias, linear_dweight, matmul
from .normalize import masked_softmax
from .random import generator, scaled_mask
from .reduce import sum
from .shape import expand, reshape, sum_to, unsqueeze


def _pooled_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Batch axes align from the right; query rows stay, and so do the columns of values.

    Not with dropout: which weights are dropped depends on where they stand in the whole.
    """
    from_right = axis - len(shapes[which])
    if from_right == -1:
        return len(out) - 1 if which == 2 and not params["dropout"] else None
    if params["dropout"] or (from_right == -2 and which in (1, 2)):
        return None
    there = from_right + len(out)
    return there if out[there] == shapes[which][axis] else None


_some = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])
_heads = np.array([[[[True, False, True]]], [[[False, True, True]]]])


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
    axis=_pooled_axis,
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
    """
    seen, bias = _two_kinds(mask, query.dtype)
    return kernels.attention(
        query, key, value, mask=seen, bias=bias, causal=is_causal,
        scale=_scale(scale, query), dropout=dropout, seed=seed,
    )  # fmt: skip


def _scale(scale: float | None, query: Value) -> float:
    return 1.0 / math.sqrt(query.shape[-1] or 1) if scale is None else scale


def _two_kinds(
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
    scores = matmul(query, key.mT) * _scale(scale, query)
    seen = np.ones((1, 1), bool)
    if is_causal:
        seen = np.tri(*scores.shape[-2:], dtype=np.bool_)
    if mask is not None and plain(mask).dtype.kind == "b":
        seen = seen & plain(mask)
    elif mask is not None:
        forbidden = np.isneginf(plain(mask))
        seen = seen & ~forbidden
        scores = scores + masked_fill(mask, forbidden, 0.0)
    return masked_softmax(scores, seen)


def _dropped(x: Value, dropout: float, seed: int) -> Value:
    """Drop what the seed says of the weights, or of their gradients."""
    return scaled_mask(x, kernels.kept(x.shape, dropout, seed), dropout) if dropout else x


def _dscores(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
) -> Value:  # fmt: skip
    """Gradient at the scores: w · (dw − Σ dw · w) with dw = dy · vᵀ, where not dropped."""
    weights = _weights(query, key, mask, scale, is_causal)
    dw = _dropped(matmul(dy, value.mT), dropout, seed)
    return weights * (dw - sum(dw * weights, -1, True))


@attention.gradient("query", "dq = w · (dy · vᵀ − Σ dy · y) · k · scale")
def attention_dquery(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
) -> Value:  # fmt: skip
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed)
    return sum_to(matmul(ds, key) * _scale(scale, query), query.shape)


@attention.gradient("key", "dk = (w · (dy · vᵀ − Σ dy · y))ᵀ · q · scale")
def attention_dkey(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
) -> Value:  # fmt: skip
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed)
    return sum_to(matmul(ds.mT, query) * _scale(scale, query), key.shape)


@attention.gradient("value", "dv = wᵀ · dy")
def attention_dvalue(
    dy: Value, query: Value, key: Value, mask: Value | None, scale: float | None,
    is_causal: bool, dropout: float, seed: int, value_shape: Shape,
) -> Value:  # fmt: skip
    weights = _weights(query, key, mask, scale, is_causal)
    weights = expand(weights, (*dy.shape[:-2], *weights.shape[-2:]))
    return sum_to(matmul(_dropped(weights, dropout, seed).mT, dy), value_shape)


@attention.gradient("mask", "dm = w · (dy · vᵀ − Σ dy · y), summed where it was broadcast")
def attention_dmask(
    dy: Value, query: Value, key: Value, value: Value, mask: Value | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
) -> Value:  # fmt: skip
    assert mask is not None
    ds = _dscores(dy, query, key, value, mask, scale, is_causal, dropout, seed)
    return sum_to(ds, mask.shape)


@attention.fused_gradient
def attention_backward(
    dy: np.ndarray, wanted: list[int], query: np.ndarray, key: np.ndarray, value: np.ndarray,
    mask: np.ndarray | None, scale: float | None, is_causal: bool, dropout: float, seed: int,
    out: np.ndarray, lse: np.ndarray,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """Compute the weights once for all of it; a mask's gradient is as large as they are anyway."""
    seen, bias = _two_kinds(mask, query.dtype)
    grown = kernels.attention_backward(
        dy, query, key, value, out, lse, mask=seen, bias=bias, causal=is_causal,
        scale=_scale(scale, query), dropout=dropout, seed=seed,
    )  # fmt: skip
    found: list[np.ndarray | None] = [
        d if d.shape == x.shape else sum_to(d, x.shape)
        for d, x in zip(grown, (query, key, value), strict=True)
    ]
    dmask = None
    if 3 in wanted:
        dmask = attention_dmask(
            dy, query, key, value, mask, scale, is_causal, dropout, seed
        )  # fmt: skip
    return (*found, dmask)


@attention.as_steps
def attention_in_steps(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float | None,
    is_causal: bool, dropout: float, seed: int,
) -> Tensor:  # fmt: skip
    given = mask if mask is None or isinstance(mask, Tensor) else Tensor(mask)
    scores = dot_scores(query, key, _scale(scale, query))
    weights = attention_weights(scores, given, is_causal)
    batch = np.broadcast_shapes(weights.shape[:-2], value.shape[:-2])
    if dropout and batch != weights.shape[:-2]:  # dropped apart for each of the values
        weights = expand(weights, (*batch, *weights.shape[-2:]))
    pooled: Tensor = matmul(_dropped(weights, dropout, seed), value)
    return pooled


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
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"scaled_dot_product_attention: key has shape {key.shape} and value {value.shape}; "
            "there must be as many values as keys (axis −2)"
        )
    if enable_gqa:
        key, value = _shared_heads("key", key, query), _shared_heads("value", value, query)
    if attn_mask is not None:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
        check_mask(attn_mask, (*batch, query.shape[-2], key.shape[-2]))
    pooled: Tensor = attention(
        query, key, value, attn_mask, scale, is_causal, dropout_p, new_seed(dropout_p)
    )
    return pooled


def new_seed(dropout: float) -> int:
    """Draw what decides which weights are dropped; 0, without drawing, where none is.

    Raises
    ------
    ValueError
        `dropout` is not a probability.
    """
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(f"dropout_p is {dropout}, expected a probability from 0 to 1")
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


# -- with the projections -------------------------------------------------------------------

_small = (-0.5, 0.5)


@op(
    "hᵢ = softmax(qᵢ · kᵢᵀ · scale) · vᵢ with qᵢ = x · Wᵢ^(q)ᵀ + bᵢ^(q), and k and v likewise",
    derivation=(
        "First three linear maps, then attention: attention gives dq, dk and dv, and each of "
        "them goes back through its own map, dWᵢ^(q) = dqᵢᵀ · x and db = Σ dq. All three maps "
        "read the same x, so its gradient is the sum of what they send: dx = dq · W_q + dk · W_k "
        "+ dv · W_v. Side by side, the three maps are one product of matrices, and so are their "
        "gradients."
    ),
    symbol="self-attention",
    inputs=8,
    extras=("stacked", "packed", "lse"),
    method=False,
    torch="ours:self_attention",
    samples=(
        Sample(((2, 3, 4), *3 * ((2, 3, 4),), *3 * ((2, 3),)), {"is_causal": True}, _small),
        Sample(((2, 3, 4), *3 * ((2, 5, 4),), None, None, None, _heads), {"scale": 0.7}, _small),
        Sample(
            ((1, 3, 2), *3 * ((2, 2, 2),), *3 * ((2, 2),), (2, 1, 3)),
            {"dropout": 0.3, "seed": 2},
            _small,
        ),
    ),
)
def self_attention(
    x: Value,
    W_q: Value,
    W_k: Value,
    W_v: Value,
    b_q: Value | None = None,
    b_k: Value | None = None,
    b_v: Value | None = None,
    mask: Value | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> Value:
    """Project to every head's queries, keys and values, and pool: what h heads see in x.

    Parameters
    ----------
    x : Tensor
        ``(N, T, d)``.
    W_q, W_k, W_v : Tensor
        ``(h, p, d)``.
    b_q, b_k, b_v : Tensor, optional
        ``(h, p)``; all or none.
    mask, scale, is_causal, dropout, seed
        As :func:`attention`'s; the mask broadcasts to ``(N, h, T, T)``.

    Returns
    -------
    Tensor
        ``(N, h, T, p)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    if x.ndim != 3 or not W_q.shape == W_k.shape == W_v.shape or W_q.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"x has shape {x.shape}, W_q {W_q.shape}, W_k {W_k.shape} and W_v {W_v.shape}; "
            "expected (N, T, d) and three times (h, p, d)"
        )
    (n, length, d), (h, p, _) = x.shape, W_q.shape
    stacked = np.concatenate((W_q, W_k, W_v)).reshape(3 * h * p, d)
    biases: list[Any] = [b_q, b_k, b_v]
    bias = None if b_q is None else np.concatenate(biases).reshape(-1)
    packed = kernels.linear(x.reshape(n * length, d), stacked, bias)
    q, k, v = _unpacked(packed, n, length, h, p)
    seen, added = _two_kinds(mask, x.dtype)
    out, lse = kernels.attention(
        q, k, v, mask=seen, bias=added, causal=is_causal, scale=_scale(scale, q),
        dropout=dropout, seed=seed,
    )  # fmt: skip
    return out, stacked, packed, lse


def _unpacked(packed: np.ndarray, n: int, length: int, h: int, p: int) -> np.ndarray:
    # (N·T, 3·h·p) -> (N, T, 3, h, p) -> (3, N, h, T, p): views of queries, keys and values
    return packed.reshape(n, length, 3, h, p).transpose(2, 0, 3, 1, 4)


def _flat(W: Value) -> Value:
    # (h, p, d) -> (h·p, d), or (h, p) -> (h·p,)
    return reshape(W, (W.shape[0] * W.shape[1], *W.shape[2:]))


def _view(x: Value, W: Value, b: Value | None) -> Value:
    """One projection for all heads: (N, T, d) -> (N, T, h·p) -> (N, h, T, p)."""
    return split_heads(linear(x, _flat(W), None if b is None else _flat(b)), W.shape[0])


def _rule(of: str) -> Any:
    """Make the gradient rule of one input: attention's rules, and after them those of linear."""

    def rule(
        dy: Value, x: Value, W_q: Value, W_k: Value, W_v: Value, b_q: Value, b_k: Value,
        b_v: Value, mask: Value, scale: float | None, is_causal: bool, dropout: float, seed: int,
    ) -> Value:  # fmt: skip
        q, k, v = (_view(x, *pair) for pair in ((W_q, b_q), (W_k, b_k), (W_v, b_v)))
        how = (mask, scale, is_causal, dropout, seed)
        if of == "mask":
            return attention_dmask(dy, q, k, v, *how)

        def into(which: str) -> Value:  # (N, T, h·p)
            if which == "v":
                return merge_heads(attention_dvalue(dy, q, k, *how, v.shape))
            part = attention_dquery if which == "q" else attention_dkey
            return merge_heads(part(dy, q, k, v, *how))

        if of == "x":
            dq, dk, dv = matmul(into("q"), _flat(W_q)), into("k"), into("v")
            return dq + matmul(dk, _flat(W_k)) + matmul(dv, _flat(W_v))
        d = into(of[-1])
        if of[0] == "b":  # (h·p,) -> (h, p)
            return reshape(linear_dbias(d), b_q.shape)
        return reshape(linear_dweight(d, x), W_q.shape)  # (h·p, d) -> (h, p, d)

    rule.__name__ = f"self_attention_d{of}"
    return rule


for _of, _text in {
    "x": "dx = dq · W_q + dk · W_k + dv · W_v",
    **{f"W_{name}": f"dWᵢ^({name}) = d{name}ᵢᵀ · x" for name in "qkv"},
    **{f"b_{name}": f"dbᵢ^({name}) = Σ d{name}ᵢ" for name in "qkv"},
    "mask": "dm = w · (dy · vᵀ − Σ dy · y), summed where it was broadcast",
}.items():
    self_attention.gradient(_of, _text)(_rule(_of))


@self_attention.fused_gradient
def self_attention_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, W_q: np.ndarray, mask: np.ndarray | None,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
    out: np.ndarray, stacked: np.ndarray, packed: np.ndarray, lse: np.ndarray,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """One product for the gradients of all three matrices, and one for that of x."""
    (n, length, d), (h, p, _) = x.shape, W_q.shape
    q, k, v = _unpacked(packed, n, length, h, p)
    seen, added = _two_kinds(mask, x.dtype)
    grown = np.empty(packed.shape, packed.dtype)
    kernels.attention_backward(
        dy, q, k, v, out, lse, mask=seen, bias=added, causal=is_causal, scale=_scale(scale, q),
        dropout=dropout, seed=seed, into=tuple(_unpacked(grown, n, length, h, p)),
    )  # fmt: skip
    dx, dW, db = kernels.linear_gradients(
        grown, x.reshape(n * length, d), stacked, (0, 1, 2) if 0 in wanted else (1, 2)
    )
    assert dW is not None
    assert db is not None
    dmask = None
    if 7 in wanted:
        assert mask is not None
        dmask = attention_dmask(dy, q, k, v, mask, scale, is_causal, dropout, seed)
    return (
        dx if dx is None else dx.reshape(x.shape),
        *dW.reshape(3, h, p, d),
        *db.reshape(3, h, p),
        dmask,
    )


@self_attention.as_steps
def self_attention_in_steps(
    x: Tensor, W_q: Any, W_k: Any, W_v: Any, b_q: Any, b_k: Any, b_v: Any, *how: Any
) -> Tensor:
    q, k, v = (_view(x, *pair) for pair in ((W_q, b_q), (W_k, b_k), (W_v, b_v)))
    return attention_in_steps(q, k, v, *how)


@op(
    "y = Σᵢ W[:, i-th block] · xᵢ + b",
    derivation=(
        "Concatenating the heads and multiplying by W is, block by block of the columns of W, a "
        "sum over the heads. So dxᵢ = dy · W[:, i-th block], dW is dyᵀ times the concatenated "
        "heads, and db is the sum of dy over the rows."
    ),
    symbol="Σ Wᵢ hᵢ",
    method=False,
    inputs=3,
    torch="ours:combine_heads",
    samples=(Sample(((2, 3, 4, 2), (5, 6), (5,))), Sample(((2, 4, 3), (3, 6), None))),
)
def combine_heads(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Concatenate the heads and map them by one matrix, which sums what each contributes.

    Parameters
    ----------
    x : Tensor
        ``(..., h, T, p)``.
    weight : Tensor
        ``(d, h·p)``.
    bias : Tensor, optional
        ``(d,)``.

    Returns
    -------
    Tensor
        ``(..., T, d)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    if x.ndim < 3 or weight.ndim != 2 or weight.shape[1] != x.shape[-3] * x.shape[-1]:
        raise ValueError(
            f"x has shape {x.shape} and weight {weight.shape}; expected (..., h, T, p) and (d, h·p)"
        )
    merged = merge_heads.forward(x)
    # one product for all leading axes: (..., T, h·p) -> (rows, h·p)
    rows = merged.reshape(math.prod(merged.shape[:-1]), merged.shape[-1])
    return kernels.linear(rows, weight, bias).reshape(*merged.shape[:-1], len(weight))


@combine_heads.gradient("x", "dxᵢ = dy · W[:, i-th block]")
def combine_heads_dx(dy: Value, weight: Value, x_shape: Shape) -> Value:
    return split_heads(matmul(dy, weight), x_shape[-3])


@combine_heads.gradient("weight", "dW = dyᵀ · [x₁, …, xₕ]")
def combine_heads_dweight(dy: Value, x: Value) -> Value:
    return linear_dweight(dy, merge_heads(x))


@combine_heads.gradient("bias", "db = Σ dy")
def combine_heads_dbias(dy: Value) -> Value:
    return linear_dbias(dy)


@combine_heads.fused_gradient
def combine_heads_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray | None, ...]:
    """Run the three rules without the calls between them."""
    merged = merge_heads.forward(x)
    rows = dy.reshape(math.prod(dy.shape[:-1]), dy.shape[-1])
    dx, dweight, dbias = kernels.linear_gradients(
        rows, merged.reshape(len(rows), merged.shape[-1]), weight, wanted
    )
    if dx is not None:  # (rows, h·p) -> (..., T, h·p) -> (..., h, T, p)
        dx = split_heads.forward(dx.reshape(merged.shape), x.shape[-3])
    return dx, dweight, dbias


@combine_heads.as_steps
def combine_heads_in_steps(x: Tensor, weight: Any, bias: Any) -> Tensor:
    combined: Tensor = linear(merge_heads(x), weight, bias)
    return combined
