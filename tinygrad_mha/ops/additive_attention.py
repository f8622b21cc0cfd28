"""Additive attention all at once: neither tanh(q + k) nor the weights stay in memory.

What it computes is what :func:`additive_scores` and :func:`attention_weights` compute in steps. It
says so, as steps that pictures show instead, and the generic checks hold the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .attention import (
    additive_scores,
    additive_scores_dkey,
    additive_scores_dquery,
    additive_scores_dweight,
    attention_weights,
    check_keys,
    check_mask,
)
from .axes import Shape
from .fused_attention import (
    check_dropout,
    dropped,
    pooled,
    pooled_axis,
    two_kinds,
    weights_of_scores,
)
from .linalg import matmul
from .reduce import sum
from .shape import expand, sum_to


def _axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """As :func:`attention`'s; w_v has none."""
    return None if which == 2 else pooled_axis(axis, which, shapes, out, params, of_values=3)


_some = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])


@op(
    "y = softmax(w_vᵀ tanh(q + k)) · v",
    derivation=(
        "Three known steps in one: S = w_vᵀ tanh(q + k), P = softmax(S), y = P · v. Backwards, "
        "dv = Pᵀ · dy and dP = dy · vᵀ; the softmax gives dS = P · (dP − Σ dP · P), where the sum "
        "of a row is Σ dy · y, so it is known without P; and from dS on it is the gradient of the "
        "scores: through tanh′ = 1 − tanh², summed over the keys for dq and over the queries for "
        "dk. The gradient needs tanh(q + k) anyway, so P is not kept: it is computed again."
    ),
    symbol="additive attention",
    axis=_axis,
    inputs=5,
    extras=("lse",),
    method=False,
    torch="ours:additive_attention",
    samples=(
        Sample(((2, 3, 4), (2, 5, 4), (4,), (2, 5, 6))),
        Sample(((3, 4), (2, 5, 4), (4,), (2, 1, 5, 2), _some)),
        Sample(((2, 4, 3), (2, 5, 3), (3,), (5, 3), (1, 5)), {"is_causal": True}),
        Sample(((2, 3, 4), (2, 5, 4), (4,), (2, 5, 6), (2, 3, 5)), {"dropout": 0.4, "seed": 7}),
    ),
)
def additive_attention(
    query: Value,
    key: Value,
    weight: Value,
    value: Value,
    mask: Value | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> Value:
    """Weighted sum of the values by additive scores (Bahdanau et al. 2015, appendix A.1.2).

    Parameters
    ----------
    query, key : Tensor
        Projected, ``(..., L, a)`` and ``(..., S, a)``.
    weight : Tensor
        w_v, ``(a,)``.
    value : Tensor
        ``(..., S, p_v)``.
    mask, is_causal, dropout, seed
        As :func:`attention`'s.

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
    shape = check_keys("additive_attention", query, key, value)
    if not query.shape[-1:] == key.shape[-1:] == weight.shape:
        raise ValueError(
            f"query has shape {query.shape}, key {key.shape} and weight {weight.shape}; expected "
            "(..., L, a), (..., S, a) and (a,)"
        )
    if mask is not None:
        check_mask(mask, shape)
    seen, bias = two_kinds(mask, query.dtype)
    return kernels.additive_attention(
        query, key, weight, value, mask=seen, bias=bias, causal=is_causal, dropout=dropout,
        seed=seed,
    )  # fmt: skip


def _weights(query: Value, key: Value, weight: Value, mask: Value | None, causal: bool) -> Value:
    """Compute the weights (..., L, S) again, in steps that have gradients of their own."""
    return weights_of_scores(additive_scores(query, key, weight), mask, causal)


def _dscores(
    dy: Value, query: Value, key: Value, weight: Value, value: Value, mask: Value | None,
    is_causal: bool, dropout: float, seed: int, out: Value,
) -> Value:  # fmt: skip
    """Gradient at the scores: w · (dw − Σ dy · y) with dw = dy · vᵀ, where not dropped."""
    weights = _weights(query, key, weight, mask, is_causal)
    dw = dropped(matmul(dy, value.mT), dropout, seed)
    return weights * (dw - sum(dy * out, -1, True))


def _through_scores(of: str) -> Any:
    """Make the rule of an input of the scores: the softmax's gradient, then that of the scores."""

    def rule(
        dy: Value, query: Value, key: Value, weight: Value, value: Value, mask: Value | None,
        is_causal: bool, dropout: float, seed: int, out: Value,
    ) -> Value:  # fmt: skip
        ds = _dscores(dy, query, key, weight, value, mask, is_causal, dropout, seed, out)
        if of == "mask":
            assert mask is not None
            return sum_to(ds, mask.shape)
        if of == "query":
            return additive_scores_dquery(ds, query, key, weight)
        if of == "key":
            return additive_scores_dkey(ds, query, key, weight)
        return additive_scores_dweight(ds, query, key)

    rule.__name__ = f"additive_attention_d{of}"
    return rule


_ds = "w · (dy · vᵀ − Σ dy · y)"
for _of, _text in {
    "query": f"dq = Σ over keys of dS · w_v · (1 − tanh²), dS = {_ds}",
    "key": f"dk = Σ over queries of dS · w_v · (1 − tanh²), dS = {_ds}",
    "weight": f"dw_v = Σ dS · tanh(q + k), dS = {_ds}",
    "mask": f"dm = {_ds}, summed where it was broadcast",
}.items():
    additive_attention.gradient(_of, _text)(_through_scores(_of))


@additive_attention.gradient("value", "dv = wᵀ · dy")
def additive_attention_dvalue(
    dy: Value, query: Value, key: Value, weight: Value, mask: Value | None, is_causal: bool,
    dropout: float, seed: int, value_shape: Shape,
) -> Value:  # fmt: skip
    weights = _weights(query, key, weight, mask, is_causal)
    weights = expand(weights, (*dy.shape[:-2], *weights.shape[-2:]))
    return sum_to(matmul(dropped(weights, dropout, seed).mT, dy), value_shape)


@additive_attention.fused_gradient
def additive_attention_backward(
    dy: np.ndarray, wanted: list[int], query: np.ndarray, key: np.ndarray, weight: np.ndarray,
    value: np.ndarray, mask: np.ndarray | None, is_causal: bool, dropout: float, seed: int,
    out: np.ndarray, lse: np.ndarray,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """Compute the weights once for all of it, group by group."""
    seen, bias = two_kinds(mask, query.dtype)
    dq, dk, dw, dv, ds = kernels.additive_attention_backward(
        dy, query, key, weight, value, out, lse, mask=seen, bias=bias, causal=is_causal,
        dropout=dropout, seed=seed, scores_too=4 in wanted,
    )  # fmt: skip
    dmask = None if ds is None else sum_to(ds, plain(mask).shape)
    given = (dq, query), (dk, key), (dw, weight), (dv, value)
    return (*(d if d.shape == x.shape else sum_to(d, x.shape) for d, x in given), dmask)


@additive_attention.as_steps
def additive_attention_in_steps(
    query: Tensor, key: Tensor, weight: Any, value: Tensor, mask: Any, is_causal: bool,
    dropout: float, seed: int,
) -> Tensor:  # fmt: skip
    given = mask if mask is None or isinstance(mask, Tensor) else Tensor(mask)
    weights = attention_weights(additive_scores(query, key, weight), given, is_causal)
    return pooled(weights, value, dropout, seed)
