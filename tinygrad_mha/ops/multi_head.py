"""What surrounds attention in many heads, in one operation each: few calls, few nodes.

Both say which steps they stand for, and pictures show these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .attention import check_mask
from .axes import Shape
from .fused_attention import (
    attention_dkey,
    attention_dmask,
    attention_dquery,
    attention_dvalue,
    attention_in_steps,
    check_dropout,
    dot_weights,
    dot_weights_dkey,
    dot_weights_dmask,
    dot_weights_dquery,
    dot_weights_in_steps,
    scale_of,
    two_kinds,
)
from .heads import merge_heads, split_heads
from .linalg import linear, linear_dbias, linear_dweight, matmul
from .shape import reshape

_heads = np.array([[[[True, False, True]]], [[[False, True, True]]]])
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
        The shapes do not fit, some biases are given and some are not, or `dropout` is no
        probability.
    TypeError
        The dtypes differ or are not floating, or the mask is of integers.
    """
    if x.ndim != 3 or not W_q.shape == W_k.shape == W_v.shape or W_q.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"x has shape {x.shape}, W_q {W_q.shape}, W_k {W_k.shape} and W_v {W_v.shape}; "
            "expected (N, T, d) and three times (h, p, d)"
        )
    check_dropout(dropout)
    (n, length, d), (h, p, _) = x.shape, W_q.shape
    biases: list[Any] = [b_q, b_k, b_v]
    if not b_q is b_k is b_v is None and any(b is None or b.shape != (h, p) for b in biases):
        raise ValueError(
            f"b_q, b_k and b_v have shapes {[None if b is None else b.shape for b in biases]}; "
            f"expected three times (h, p), which is {(h, p)}, or none of them"
        )
    if mask is not None:
        check_mask(mask, (n, h, length, length))
    stacked = np.concatenate((W_q, W_k, W_v)).reshape(3 * h * p, d)
    bias = None if b_q is None else np.concatenate(biases).reshape(-1)
    packed = kernels.linear(x.reshape(n * length, d), stacked, bias)
    q, k, v = _unpacked(packed, n, length, h, p)
    seen, added = two_kinds(mask, x.dtype)
    out, lse = kernels.attention(
        q, k, v, mask=seen, bias=added, causal=is_causal, scale=scale_of(scale, q),
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
        out: Value,
    ) -> Value:  # fmt: skip
        q, k, v = (_view(x, *pair) for pair in ((W_q, b_q), (W_k, b_k), (W_v, b_v)))
        how = (mask, scale, is_causal, dropout, seed)
        if of == "mask":
            return attention_dmask(dy, q, k, v, *how, out)

        def into(which: str) -> Value:  # (N, T, h·p)
            if which == "v":
                return merge_heads(attention_dvalue(dy, q, k, *how, v.shape))
            part = attention_dquery if which == "q" else attention_dkey
            return merge_heads(part(dy, q, k, v, *how, out))

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
    seen, added = two_kinds(mask, x.dtype)
    grown = np.empty(packed.shape, packed.dtype)
    kernels.attention_backward(
        dy, q, k, v, out, lse, mask=seen, bias=added, causal=is_causal, scale=scale_of(scale, q),
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
        dmask = attention_dmask(dy, q, k, v, mask, scale, is_causal, dropout, seed, out)
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
    "wᵢ = softmax(qᵢ · kᵢᵀ · scale) with qᵢ = x · Wᵢ^(q)ᵀ + bᵢ^(q), and k likewise",
    derivation=(
        "First two linear maps, then the weights: these give dq and dk, and each of them goes back "
        "through its own map, as in self-attention. x is read by both, so dx = dq · W_q + dk · W_k."
    ),
    symbol="weights",
    inputs=6,
    method=False,
    torch="ours:self_attention_weights",
    samples=(
        Sample(((2, 3, 4), *2 * ((2, 3, 4),), *2 * ((2, 3),)), {"is_causal": True}, _small),
        Sample(((2, 3, 4), *2 * ((2, 5, 4),), None, None, _heads), {"scale": 0.7}, _small),
        Sample(((1, 3, 2), *2 * ((2, 2, 2),), *2 * ((2, 2),), (2, 1, 3)), {}, _small),
    ),
)
def self_attention_weights(
    x: Value,
    W_q: Value,
    W_k: Value,
    b_q: Value | None = None,
    b_k: Value | None = None,
    mask: Value | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Value:
    """Weights of every head with which :func:`self_attention` pools, before dropout.

    Parameters
    ----------
    x, W_q, W_k, b_q, b_k, mask, scale, is_causal
        As :func:`self_attention`'s.

    Returns
    -------
    Tensor
        ``(N, h, T, T)``.

    Raises
    ------
    ValueError
        The shapes do not fit, or one bias is given and the other is not.
    TypeError
        The dtypes differ or are not floating, or the mask is of integers.
    """
    if x.ndim != 3 or W_q.shape != W_k.shape or W_q.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"x has shape {x.shape}, W_q {W_q.shape} and W_k {W_k.shape}; expected (N, T, d) and "
            "twice (h, p, d)"
        )
    (n, length, d), (h, p, _) = x.shape, W_q.shape
    biases: list[Any] = [b_q, b_k]
    if b_q is not b_k and any(b is None or b.shape != (h, p) for b in biases):
        raise ValueError(
            f"b_q and b_k have shapes {[None if b is None else b.shape for b in biases]}; expected "
            f"twice (h, p), which is {(h, p)}, or none of them"
        )
    stacked = np.concatenate((W_q, W_k)).reshape(2 * h * p, d)
    bias = None if b_q is None else np.concatenate(biases).reshape(-1)
    packed = kernels.linear(x.reshape(n * length, d), stacked, bias)
    # (N·T, 2·h·p) -> (N, T, 2, h, p) -> (2, N, h, T, p)
    q, k = packed.reshape(n, length, 2, h, p).transpose(2, 0, 3, 1, 4)
    return dot_weights.forward(q, k, mask, scale, is_causal)


def _rule_of_weights(of: str) -> Any:
    """Make the gradient rule of one input: the rules of the weights, after them those of linear."""

    def rule(
        dy: Value, x: Value, W_q: Value, W_k: Value, b_q: Value, b_k: Value, mask_shape: Shape,
        scale: float | None, out: Value,
    ) -> Value:  # fmt: skip
        if of == "mask":
            return dot_weights_dmask(dy, mask_shape, out)
        q, k = _view(x, W_q, b_q), _view(x, W_k, b_k)

        def into(which: str) -> Value:  # (N, T, h·p)
            if which == "q":
                return merge_heads(dot_weights_dquery(dy, q, k, scale, out))
            return merge_heads(dot_weights_dkey(dy, q, k.shape, scale, out))

        if of == "x":
            return matmul(into("q"), _flat(W_q)) + matmul(into("k"), _flat(W_k))
        d = into(of[-1])
        if of[0] == "b":  # (h·p,) -> (h, p)
            return reshape(linear_dbias(d), b_q.shape)
        return reshape(linear_dweight(d, x), W_q.shape)  # (h·p, d) -> (h, p, d)

    rule.__name__ = f"self_attention_weights_d{of}"
    return rule


for _of, _text in {
    "x": "dx = dq · W_q + dk · W_k",
    **{f"W_{name}": f"dWᵢ^({name}) = d{name}ᵢᵀ · x" for name in "qk"},
    **{f"b_{name}": f"dbᵢ^({name}) = Σ d{name}ᵢ" for name in "qk"},
    "mask": "dm = w · (dw − Σ dw · w), summed where it was broadcast",
}.items():
    self_attention_weights.gradient(_of, _text)(_rule_of_weights(_of))


@self_attention_weights.as_steps
def self_attention_weights_in_steps(
    x: Tensor, W_q: Any, W_k: Any, b_q: Any, b_k: Any, *how: Any
) -> Tensor:
    return dot_weights_in_steps(_view(x, W_q, b_q), _view(x, W_k, b_k), *how)


def self_attention_and_weights(
    x: Tensor, W_q: Any, W_k: Any, W_v: Any, b_q: Any, b_k: Any, b_v: Any, mask: Any,
    scale: float | None, is_causal: bool, dropout: float, seed: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Both at once: the projections are computed once.

    They are two results, each with a node of its own: nothing flows back into the weights
    where nobody asks for that.
    """
    inputs, how = (x, W_q, W_k, W_v, b_q, b_k, b_v, mask), (scale, is_causal, dropout, seed)
    found = self_attention.forward(*map(plain, inputs), *how)
    (n, length, _), (h, p, _) = x.shape, W_q.shape
    q, k, _ = _unpacked(found[2], n, length, h, p)
    weights = dot_weights.forward(q, k, plain(mask), scale, is_causal)
    return (
        self_attention.known(found, *inputs, *how),
        self_attention_weights.known(weights, x, W_q, W_k, b_q, b_k, mask, scale, is_causal),
    )


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
