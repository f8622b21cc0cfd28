"""Attention in steps: scores between queries and keys, and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, Tensor, op
from ..engine.messages import not_a_tensor
from ..engine.op import Value, plain
from .axes import Shape
from .creation import astype
from .elementwise import masked_fill, tanh
from .linalg import matmul
from .normalize import masked_softmax, softmax
from .reduce import sum
from .shape import sum_to, unsqueeze


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


def check_keys(name: str, query: Value, key: Value, value: Value) -> Shape:
    """Check that there are as many values as keys, and that the batches fit together.

    Parameters
    ----------
    name : str
        Who asks.
    query, key, value : Tensor
        ``(..., L, p_q)``, ``(..., S, p_k)`` and ``(..., S, p_v)``.

    Returns
    -------
    tuple of int
        ``(..., L, S)``: the shape of the scores, batch axes of the values included.

    Raises
    ------
    TypeError
        One of them is no tensor.
    ValueError
        The shapes do not fit.
    """
    try:
        of_query, of_key, of_value = query.shape, key.shape, value.shape
    except AttributeError:
        given = {"query": query, "key": key, "value": value}
        what = next(what for what, x in given.items() if not hasattr(x, "shape"))
        raise TypeError(f"{name}: {not_a_tensor(what, given[what])}") from None
    fits = len(of_query) > 1 < len(of_key) and of_key[:-1] == of_value[:-1]
    if fits and of_query[:-2] == of_key[:-2]:
        return (*of_query[:-1], of_key[-2])  # the usual case
    shapes = f"{name}: query has shape {of_query}, key {of_key} and value {of_value}"
    if min(map(len, (of_query, of_key, of_value))) < 2 or of_key[-2] != of_value[-2]:
        raise ValueError(
            f"{shapes}; expected (..., L, p), (..., S, p) and (..., S, p_v): there must be as many "
            "values as keys (axis −2)"
        )
    batches = of_query[:-2], of_key[:-2], of_value[:-2]
    try:
        return (*np.broadcast_shapes(*batches), of_query[-2], of_key[-2])
    except ValueError:
        raise ValueError(
            f"{shapes}; their batch axes, {batches[0]}, {batches[1]} and {batches[2]}, do not "
            "broadcast: they must be equal, or 1; a batch of one is made by .unsqueeze(0)"
        ) from None


def check_batch(query: Value, key: Value) -> Shape:
    """Check that the batch axes broadcast, and return what they broadcast to."""
    ours, theirs = query.shape[:-2], key.shape[:-2]
    if ours == theirs:
        return tuple(ours)
    try:
        return np.broadcast_shapes(ours, theirs)
    except ValueError:
        raise ValueError(
            f"query has shape {query.shape} and key {key.shape}; their batch axes, {ours} and "
            f"{theirs}, do not broadcast: they must be equal, or 1"
        ) from None


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
    check_batch(query, key)
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
    check_batch(query, key)
    return kernels.additive_scores(query, key, weight)


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
    """Take all three sums from one tanh, a block of queries at a time."""
    dq, dk, dw = kernels.additive_scores_backward(dy, query, key, weight)
    return sum_to(dq, query.shape), sum_to(dk, key.shape), dw


# -- weights -------------------------------------------------------------------------------


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
    if len(scores_shape) < 2:
        raise ValueError(
            f"scores have shape {tuple(scores_shape)}, expected (..., queries, keys); for one "
            "query, .unsqueeze(-2) them"
        )
    length, keys = scores_shape[-2:]
    seen: np.ndarray | None = np.tri(length, keys, dtype=bool) if is_causal else None
    if mask is None:
        return seen, None
    check_mask(mask, scores_shape)
    values = plain(mask)
    if values.dtype.kind == "b":
        return (values if seen is None else values & seen), None
    forbidden = np.isneginf(values)
    if not forbidden.any():
        return seen, mask
    allowed = ~forbidden
    return (allowed if seen is None else allowed & seen), masked_fill(mask, forbidden, 0.0)


def of_dtype(bias: Value, dtype: np.dtype[Any]) -> Value:
    """Convert what is added to the scores to their dtype; its gradient comes back in its own."""
    return bias if bias.dtype == dtype else astype(bias, dtype)


def check_mask(mask: Value, scores_shape: Shape) -> None:
    """Raise what :func:`visible` says it raises."""
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"mask: dtype {mask.dtype} says neither 'may attend' nor 'add'; pass a bool mask with "
            "True = may attend, for example mask.bool(), or a float mask, which is added"
        )
    lead = len(scores_shape) - mask.ndim
    if lead < 0 or any(
        n not in (1, m) for n, m in zip(mask.shape, scores_shape[lead:], strict=True)
    ):
        raise ValueError(
            f"mask: shape {mask.shape} does not broadcast to the scores' {tuple(scores_shape)}, "
            "which is (..., queries, keys)"
        )


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
        scores = scores + of_dtype(bias, scores.dtype)
    weights: Tensor = softmax(scores) if seen is None else masked_softmax(scores, seen)
    return weights
