"""Every kernel in plain NumPy: its specification, the oracle of its tests, and a way out.

``TINYGRAD_MHA_BACKEND=numpy`` runs the whole framework on these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])


def matmul(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a · b + bias."""
    product: Array = np.matmul(a, b)
    return product if bias is None else product + bias


def linear_gradients(
    dy: Array, x: Array, weight: Array, wanted: Collection[int]
) -> tuple[Array | None, Array | None, Array | None]:
    """dy · W, dyᵀ · x and Σ dy, as far as 0, 1 and 2 are wanted."""
    return (
        np.matmul(dy, weight) if 0 in wanted else None,
        np.matmul(dy.T, x) if 1 in wanted else None,
        dy.sum(0) if 2 in wanted else None,
    )


def column_sums(x: Array) -> Array:
    """Σ x over the rows of a matrix."""
    return np.add.reduce(x, 0)


def softmax(x: Array, axis: int = -1, mask: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) along an axis, among those where `mask` is True."""
    if mask is not None:
        x = np.where(mask, x, x.dtype.type(-np.inf))
    top = x.max(axis, keepdims=True, initial=-np.inf)
    if mask is not None:
        top = np.where(np.isneginf(top), 0, top)  # nothing to be seen: exp(−∞ − 0) = 0
    with np.errstate(invalid="ignore"):
        e = np.exp(x - top)
        total = e.sum(axis, keepdims=True)
        if mask is not None:
            total = np.where(total == 0, 1, total)
        return np.asarray(e / total, x.dtype)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """y · (dy − Σ dy · y)."""
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def logsumexp(x: Array, axis: int = -1) -> Array:
    """ln Σ exp(x) along an axis."""
    top = x.max(axis, keepdims=True, initial=-np.inf)
    finite = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        total = np.log(np.exp(x - finite).sum(axis, keepdims=True)) + finite
    return np.asarray(np.squeeze(total, axis), x.dtype)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x − ln Σ exp(x) along an axis."""
    with np.errstate(invalid="ignore"):
        z = x - x.max(axis, keepdims=True, initial=-np.inf)
        return z - np.expand_dims(logsumexp(z, axis), axis)


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy − exp(y) · Σ dy."""
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def cross_entropy(x: Array, target: Array, ignored: int) -> tuple[Array, Array, int]:
    """ln Σ exp(x) − x[target] of each row, ln Σ exp(x), and how many rows are not ignored.

    The count is −1 − i if row i has a target that is no column.
    """
    y, lse = np.zeros(len(x), x.dtype), np.zeros(len(x), x.dtype)
    kept, wrong = _kept_rows(target, x.shape[1], ignored)
    if len(wrong):
        return y, lse, -1 - int(wrong[0])
    if len(kept):
        lse[kept] = logsumexp(x[kept], 1)
        lse[np.isposinf(lse)] = np.nan  # ∞ − ∞, in whichever class the ∞ stands
        y[kept] = lse[kept] - x[kept, target[kept]]
    return y, lse, len(kept)


def _kept_rows(target: Array, classes: int, ignored: int) -> tuple[Array, Array]:
    """Rows that are not ignored, and those of them whose target is no column."""
    kept = np.flatnonzero(target != ignored)
    return kept, kept[(target[kept] < 0) | (target[kept] >= classes)]


def cross_entropy_backward(
    d: Array, x: Array, lse: Array, target: Array, ignored: int
) -> tuple[Array, int]:
    """d · (exp(x − lse) − one-hot(target)); 0 in rows whose target is the ignored one.

    And 0, or −1 − i if row i has a target that is no column.
    """
    dx = np.zeros_like(x)
    kept, wrong = _kept_rows(target, x.shape[1], ignored)
    if len(wrong):
        return dx, -1 - int(wrong[0])
    dx[kept] = np.exp(x[kept] - lse[kept, None]) * d[kept, None]
    dx[kept, target[kept]] -= d[kept]
    return dx, 0


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """(x − μ) / √(σ² + ε) · weight + bias over the last axis; and μ, and 1 / √(σ² + ε)."""
    mu = x.mean(-1, keepdims=True)
    rstd = np.asarray(1 / np.sqrt(x.var(-1, keepdims=True) + eps), x.dtype)
    y = (x - mu) * rstd
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mu, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mu: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of x, weight and bias."""
    hat = (x - mu) * rstd
    g = dy if weight is None else dy * weight
    rows = tuple(range(x.ndim - 1))
    dx = (g - g.mean(-1, keepdims=True) - hat * (g * hat).mean(-1, keepdims=True)) * rstd
    return dx, (dy * hat).sum(rows), dy.sum(rows)


def _attention_scores(
    q: Array, k: Array, mask: Array | None, bias: Array | None, causal: bool, scale: float
) -> Array:
    """Q kᵀ · scale + bias, −∞ where nothing may be seen."""
    s = np.matmul(q, k.swapaxes(-1, -2)) * q.dtype.type(scale)
    if bias is not None:
        s = s + bias
    seen = np.tri(*s.shape[-2:], dtype=np.bool_) if causal else np.ones(s.shape[-2:], bool)
    return np.where(seen if mask is None else seen & mask, s, s.dtype.type(-np.inf))


def _mixed(x: Array) -> Array:
    """Scramble 32-bit numbers so that each bit of the result depends on all of them."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return np.asarray(x ^ (x >> np.uint32(16)))


def kept(shape: tuple[int, ...], dropout: float, seed: int, first: int = 0) -> Array:
    """Say which weights are kept, from nothing but the seed and where each one stands.

    These are the rows from `first` on of a whole, and the first of its columns.
    """
    rows = np.arange(first, first + math.prod(shape[:-1]), dtype=np.uint32)
    low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32 & 0xFFFFFFFF)
    of_rows = _mixed(_mixed(rows ^ low) ^ high)
    columns = np.arange(shape[-1], dtype=np.uint32) * np.uint32(0x9E3779B9)
    drawn = _mixed(of_rows[:, None] + columns)
    return (drawn >= np.uint64(round(dropout * 2**32))).reshape(shape)


def _dropped(x: Array, dropout: float, seed: int) -> Array:
    """Drop some, and scale the rest so that the expectation stays."""
    if not dropout:
        return x
    return x * (
        kept(x.shape, dropout, seed) * x.dtype.type(1 / (1 - dropout) if dropout < 1 else 0)
    )


def attention(
    q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None,
    causal: bool, scale: float, dropout: float, seed: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Softmax(q kᵀ · scale + bias) v, and ln Σ exp of each row of scores."""
    s = _attention_scores(q, k, mask, bias, causal, scale)
    batch = np.broadcast_shapes(s.shape[:-2], v.shape[:-2])
    weights = np.broadcast_to(softmax(s, -1, ~np.isneginf(s)), (*batch, *s.shape[-2:]))
    out = np.matmul(_dropped(weights, dropout, seed), v)
    return out, np.broadcast_to(logsumexp(s), out.shape[:-1])


def attention_weights(
    q: Array, k: Array, mask: Array | None, bias: Array | None, causal: bool, scale: float
) -> Array:
    """Softmax(q kᵀ · scale + bias)."""
    s = _attention_scores(q, k, mask, bias, causal, scale)
    return softmax(s, -1, ~np.isneginf(s))


def attention_backward(
    dout: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, mask: Array | None,
    bias: Array | None, causal: bool, scale: float, dropout: float, seed: int,
    into: tuple[Array, Array, Array] | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradients of q, k and v, with the batch axes of `dout`."""
    s = _attention_scores(q, k, mask, bias, causal, scale)
    p = np.exp(s - np.where(np.isneginf(lse), s.dtype.type(np.inf), lse)[..., None])
    dp = _dropped(np.matmul(dout, v.swapaxes(-1, -2)), dropout, seed)
    ds = p * (dp - (dout * out).sum(-1, keepdims=True)) * q.dtype.type(scale)
    dv = np.matmul(_dropped(p, dropout, seed).swapaxes(-1, -2), dout)
    found = np.matmul(ds, k), np.matmul(ds.swapaxes(-1, -2), q), dv
    for target, gradient in zip(into or (), found, strict=False):
        target[...] = gradient
    return into or found


def additive_scores(q: Array, k: Array, w: Array) -> Array:
    """Σ w · tanh(q + k), through (..., L, S, a)."""
    return np.matmul(np.tanh(q[..., :, None, :] + k[..., None, :, :]), w)


def additive_scores_backward(dy: Array, q: Array, k: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradients of q, k and w, through (..., L, S, a)."""
    t = np.tanh(q[..., :, None, :] + k[..., None, :, :])
    g = dy[..., None] * (1 - t * t) * w
    return g.sum(-2), g.sum(-3), np.tensordot(dy, t, dy.ndim)


def _limited(s: Array, limits: tuple[Array | None, Array | None, bool]) -> Array:
    """Scores with what is added to them, and −∞ where nothing may be seen."""
    mask, bias, causal = limits
    seen = np.tri(*s.shape[-2:], dtype=np.bool_) if causal else np.ones(s.shape[-2:], bool)
    seen = seen if mask is None else seen & mask
    if bias is not None:
        s, seen = s + bias, seen & ~np.isneginf(bias)
    return np.where(seen, s, s.dtype.type(-np.inf))


def additive_attention(
    q: Array, k: Array, w: Array, v: Array, limits: tuple[Array | None, Array | None, bool],
    dropout: float, seed: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Softmax of Σ w · tanh(q + k), times v; and ln Σ exp of each row of scores."""
    s = _limited(additive_scores(q, k, w), limits)
    batch = np.broadcast_shapes(s.shape[:-2], v.shape[:-2])
    weights = np.broadcast_to(softmax(s, -1, ~np.isneginf(s)), (*batch, *s.shape[-2:]))
    out = np.matmul(_dropped(weights, dropout, seed), v)
    return out, np.array(np.broadcast_to(logsumexp(s), out.shape[:-1]))


def additive_attention_backward(
    dout: Array, q: Array, k: Array, w: Array, v: Array, out: Array, lse: Array,
    limits: tuple[Array | None, Array | None, bool], dropout: float, seed: int, scores_too: bool,
) -> tuple[Array, Array, Array, Array, Array | None]:  # fmt: skip
    """Gradients of q, k, w, v and the scores: of the batch axes of `dout`, w apart."""
    s = _limited(additive_scores(q, k, w), limits)
    p = np.exp(s - np.where(np.isneginf(lse), s.dtype.type(np.inf), lse)[..., None])
    dp = _dropped(np.matmul(dout, v.swapaxes(-1, -2)), dropout, seed)
    ds = p * (dp - (dout * out).sum(-1, keepdims=True))
    dv = np.matmul(_dropped(p, dropout, seed).swapaxes(-1, -2), dout)
    queries = np.broadcast_to(q, (*ds.shape[:-2], *q.shape[-2:]))
    return (*additive_scores_backward(ds, queries, k, w), dv, ds if scores_too else None)


def erf(x: Array) -> Array:
    """2/√π ∫₀ˣ e^(−t²) dt."""
    return np.asarray(_erf(x) if x.size else x, x.dtype)


def gelu(x: Array, approximate: bool = False) -> Array:
    """x · Φ(x), or the tanh formula."""
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_backward(dy: Array, x: Array, approximate: bool = False) -> Array:
    """dy · gelu′(x)."""
    if approximate:
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x * x * x))
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    else:
        density = np.exp(-0.5 * x * x) * math.sqrt(0.5 / math.pi)
        slope = 0.5 * (1 + erf(x * math.sqrt(0.5))) + x * density
    return dy * slope


def exp(x: Array) -> Array:
    """eˣ."""
    with np.errstate(over="ignore"):
        return np.exp(x)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ)."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    """x · σ(x)."""
    return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """dy · silu′(x)."""
    s = sigmoid(x)
    return dy * (s * (1 + x * (1 - s)))


def embedding_backward(dy: Array, index: Array, rows: int) -> Array:
    """Zeros, with dy added at the rows of `index`, in order."""
    dw = np.zeros((rows, dy.shape[-1]), dy.dtype)
    np.add.at(dw, index, dy)
    return dw


def relu_backward(dy: Array, y: Array) -> Array:
    """Dy, but 0 where y ≤ 0: a choice, not a product, because 0 · ∞ is nan."""
    return np.where(y <= 0, dy.dtype.type(0), dy)


def squared_error(x: Array, target: Array, scale: float) -> tuple[float, Array]:
    """Σ (x − target)², and scale · (x − target)."""
    apart = x - target
    return float((apart * apart).sum()), apart * scale


def adamw(
    rows: Sequence[tuple[Array, ...]], keep: float, rate: float, beta1: float, beta2: float,
    root: float, eps: float,
) -> None:  # fmt: skip
    """P ← P · keep − rate · M / (√V / root + eps), after M and V have taken G in; for each P."""
    for p, g, m, v in rows:
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        p *= keep
        p -= rate * m / (np.sqrt(v) / root + eps)


def sgd(rows: Sequence[tuple[Array, ...]], rate: float, momentum: float) -> None:
    """B ← momentum · B + G, then P ← P − rate · B; for each P. Without momentum B is G."""
    for p, g, b in rows:
        if momentum:
            b *= momentum
            b += g
        p -= p.dtype.type(rate) * (b if momentum else g)
