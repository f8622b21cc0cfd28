"""Attention pooling, alone and in many heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from .layers import Linear
from .module import Module, Parameter


class AttentionPooling(Module):
    """The core that every kind of attention shares: scores → weights → weighted sum.

    To bring your own, say in :meth:`scores` how well a key answers a query. Masks,
    softmax, dropout and the sum are here.

    Parameters
    ----------
    dropout : float, default 0
        Probability with which a weight is dropped, in training.

    Examples
    --------
    Attention by distance, exp(−|q − k|²/2) in proportion, as in kernel regression:

    >>> import tinygrad_mha as tm
    >>> class GaussianAttention(tm.nn.AttentionPooling):
    ...     def scores(self, query, key):
    ...         apart = query.unsqueeze(-2) - key.unsqueeze(-3)  # (..., L, S, p)
    ...         return (apart * apart).sum(-1) * -0.5
    >>> x = tm.randn(2, 5, 4)
    >>> GaussianAttention()(x, x, x).shape
    (2, 5, 4)
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(
                f"{type(self).__name__}: dropout is {dropout}, expected a probability from 0 to 1"
            )
        self.dropout = dropout

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score ``(..., L, p_q)`` against ``(..., S, p_k)``: ``(..., L, S)``."""
        raise NotImplementedError(f"{type(self).__name__} defines no scores()")

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> Any:
        """Pool the values.

        Parameters
        ----------
        query : Tensor
            ``(..., L, p_q)``.
        key : Tensor
            ``(..., S, p_k)``.
        value : Tensor
            ``(..., S, p_v)``.
        mask : Tensor, optional
            Boolean, True = may attend; or floating, added to the scores. Broadcasts to
            ``(..., L, S)``.
        is_causal : bool, default False
            Query i sees keys 0 … i.
        need_weights : bool, default False
            Return the weights too.

        Returns
        -------
        out : Tensor
            ``(..., L, p_v)``; exactly 0 for a query that may see nothing.
        weights : Tensor
            ``(..., L, S)``, before dropout; only if `need_weights`.

        Raises
        ------
        ValueError
            Widths, lengths or the mask do not fit.
        TypeError
            The mask is of integers.
        """
        if key.shape[-2] != value.shape[-2]:
            raise ValueError(
                f"{type(self).__name__}: key has shape {key.shape} and value {value.shape}; there "
                "must be as many values as keys (axis −2)"
            )
        weights = ops.attention_weights(self.scores(query, key), mask, is_causal)
        out = ops.dropout(weights, self.dropout, self.training) @ value
        return (out, weights) if need_weights else out


class DotProductAttention(AttentionPooling):
    """Scaled dot-product attention: score(q, k) = qᵀk / √p (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    dropout : float, default 0
        Probability with which a weight is dropped, in training.
    scale : float, optional
        Instead of 1/√p.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> q, k, v = tm.randn(2, 3, 8), tm.randn(2, 5, 8), tm.randn(2, 5, 4)
    >>> tm.nn.DotProductAttention()(q, k, v).shape
    (2, 3, 4)
    """

    def __init__(self, dropout: float = 0.0, scale: float | None = None) -> None:
        super().__init__(dropout)
        self.scale = scale

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score q · k / √p: ``(..., L, p)``, ``(..., S, p)`` to ``(..., L, S)``."""
        scale = 1 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        scores: Tensor = ops.dot_scores(query, key, scale=scale)
        return scores


class AdditiveAttention(AttentionPooling):
    """Additive attention: score(q, k) = w_vᵀ tanh(W_q q + W_k k) (Bahdanau et al. 2015).

    Parameters
    ----------
    query_dim, key_dim : int
        Widths p_q and p_k; they may differ.
    num_hiddens : int
        Width a in which they meet.
    dropout : float, default 0
        Probability with which a weight is dropped, in training.

    Attributes
    ----------
    W_q, W_k : Linear
        Weights ``(a, p_q)`` and ``(a, p_k)``, without bias.
    w_v : Parameter
        ``(a,)``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> q, k, v = tm.randn(2, 1, 20), tm.randn(2, 10, 2), tm.randn(2, 10, 4)
    >>> tm.nn.AdditiveAttention(20, 2, 8)(q, k, v).shape
    (2, 1, 4)
    """

    def __init__(
        self, query_dim: int, key_dim: int, num_hiddens: int, dropout: float = 0.0
    ) -> None:
        super().__init__(dropout)
        self.W_q = Linear(query_dim, num_hiddens, bias=False)
        self.W_k = Linear(key_dim, num_hiddens, bias=False)
        bound = 1 / math.sqrt(num_hiddens)
        self.w_v = Parameter(ops.generator().uniform(-bound, bound, num_hiddens).astype(np.float32))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score ``(..., L, p_q)`` against ``(..., S, p_k)``: ``(..., L, S)``."""
        scores: Tensor = ops.additive_scores(self.W_q(query), self.W_k(key), self.w_v)
        return scores


class MultiHeadAttention(Module):
    """h attention poolings in parallel, each on its own learned view, then combined.

    Head i projects with matrices of its own, pools, and all heads' outputs are
    combined by one more::

        hᵢ  = f(Wᵢ^(q) q, Wᵢ^(k) k, Wᵢ^(v) v)          i = 1 … h
        out = W_o [h₁; …; hₕ] = Σᵢ W_o[:, i-th block] hᵢ

    (Vaswani et al. 2017, section 3.2.2). All widths are free; h·p = embed_dim is the default.

    Parameters
    ----------
    embed_dim : int
        Width d_q of the queries.
    num_heads : int
        h.
    kdim, vdim : int, optional
        Widths d_k and d_v of keys and values; by default embed_dim.
    qk_head_dim : int or (int, int), optional
        Width p_q = p_k of a head's queries and keys, or the two apart, which additive
        attention allows; by default embed_dim / h.
    v_head_dim : int, optional
        Width p_v of a head's values; by default embed_dim / h.
    out_dim : int, optional
        Width p_o of the output; by default embed_dim.
    attention : {"dot", "additive"} or Module
        The pooling f, shared by the heads; or one of your own, for example a subclass of
        :class:`AttentionPooling`.
    bias : bool, default True
        Whether the projections have biases b_q, b_k, b_v, b_o.
    dropout : float, default 0
        Probability with which a weight is dropped, in training.

    Attributes
    ----------
    W_q, W_k, W_v : Parameter
        ``(h, p_q, d_q)``, ``(h, p_k, d_k)``, ``(h, p_v, d_v)``: ``W_q[i]`` is the formula's
        Wᵢ^(q). At first Xavier-uniform by each head's own fan.
    W_o : Parameter
        ``(p_o, h·p_v)``.
    b_q, b_k, b_v, b_o : Parameter or None
        ``(h, p_q)``, ``(h, p_k)``, ``(h, p_v)``, ``(p_o,)``; at first 0.
    pooling : Module
        f.

    Raises
    ------
    ValueError
        Widths that do not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(32, 4)
    >>> x = tm.randn(2, 5, 32)
    >>> out, weights = mha(x, is_causal=True, need_weights=True)
    >>> out.shape, weights.shape
    ((2, 5, 32), (2, 4, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        qk_head_dim: int | tuple[int, int] | None = None,
        v_head_dim: int | None = None,
        out_dim: int | None = None,
        attention: str | Module = "dot",
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, width in (("embed_dim", embed_dim), ("num_heads", num_heads)):
            if width < 1:
                raise ValueError(f"MultiHeadAttention: {name} is {width}, expected at least 1")
        if embed_dim % num_heads and (qk_head_dim is None or v_head_dim is None):
            raise ValueError(
                f"MultiHeadAttention: embed_dim={embed_dim} does not split into "
                f"num_heads={num_heads}; say qk_head_dim and v_head_dim, which are free"
            )
        even = embed_dim // num_heads
        p_qk = even if qk_head_dim is None else qk_head_dim
        self.p_q, self.p_k = p_qk if isinstance(p_qk, tuple) else (p_qk, p_qk)
        self.p_v = even if v_head_dim is None else v_head_dim
        self.d_q = embed_dim
        self.d_k = embed_dim if kdim is None else kdim
        self.d_v = embed_dim if vdim is None else vdim
        self.p_o = embed_dim if out_dim is None else out_dim
        self.num_heads = num_heads
        self.pooling = _pooling(attention, self.p_q, self.p_k, dropout)
        if self.p_q != self.p_k and isinstance(self.pooling, DotProductAttention):
            raise ValueError(
                f"MultiHeadAttention: qk_head_dim={qk_head_dim}: a dot product needs equal widths "
                "for queries and keys; attention='additive' does not"
            )
        self.W_q = _xavier(num_heads, self.p_q, self.d_q)
        self.W_k = _xavier(num_heads, self.p_k, self.d_k)
        self.W_v = _xavier(num_heads, self.p_v, self.d_v)
        self.W_o = _xavier(self.p_o, num_heads * self.p_v)
        self.b_q = Parameter(np.zeros((num_heads, self.p_q), np.float32)) if bias else None
        self.b_k = Parameter(np.zeros((num_heads, self.p_k), np.float32)) if bias else None
        self.b_v = Parameter(np.zeros((num_heads, self.p_v), np.float32)) if bias else None
        self.b_o = Parameter(np.zeros(self.p_o, np.float32)) if bias else None

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> Any:
        """Attend.

        Parameters
        ----------
        query : Tensor
            ``(N, L, d_q)`` or ``(L, d_q)``.
        key : Tensor, optional
            ``(N, S, d_k)``; by default the query: self-attention.
        value : Tensor, optional
            ``(N, S, d_v)``; by default the key.
        mask : Tensor, optional
            Boolean, **True = may attend**; or floating, added to the scores. Shape ``(L, S)``,
            ``(N, L, S)``, or four dimensions that broadcast to ``(N, h, L, S)``.
        is_causal : bool, default False
            Query i sees keys 0 … i.
        need_weights : bool, default False
            Return every head's weights too.

        Returns
        -------
        out : Tensor
            ``(N, L, p_o)``.
        weights : Tensor
            ``(N, h, L, S)``, per head, before dropout; only if `need_weights`.

        Raises
        ------
        ValueError
            A width, a length or the mask does not fit.
        TypeError
            The mask is of integers.
        """
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value)
        unbatched = query.ndim == 2
        if unbatched:
            query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
        result = self.pooling(
            self._heads(query, self.W_q, self.b_q),  # (N, h, L, p_q)
            self._heads(key, self.W_k, self.b_k),  # (N, h, S, p_k)
            self._heads(value, self.W_v, self.b_v),  # (N, h, S, p_v)
            mask=self._four_dimensional(mask, query, key),
            is_causal=is_causal,
            need_weights=need_weights,
        )
        pooled, weights = result if need_weights else (result, None)
        # (N, h, L, p_v) -> (N, L, h·p_v) -> (N, L, p_o)
        out = ops.linear(ops.merge_heads(pooled), self.W_o, self.b_o)
        if unbatched:
            out = out.squeeze(0)
            weights = None if weights is None else weights.squeeze(0)
        return (out, weights) if need_weights else out

    def _heads(self, x: Tensor, weight: Parameter, bias: Parameter | None) -> Any:
        """All heads' projections as one product: (N, T, d) -> (N, T, h·p) -> (N, h, T, p)."""
        h, p, d = weight.shape
        together = ops.linear(
            x,
            ops.reshape(weight, (h * p, d)),
            None if bias is None else ops.reshape(bias, (h * p,)),
        )
        return ops.split_heads(together, h)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        named = (("query", query, self.d_q), ("key", key, self.d_k), ("value", value, self.d_v))
        for name, x, width in named:
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != width:
                raise ValueError(
                    f"MultiHeadAttention: {name} has shape {x.shape}, expected (N, length, {width})"
                    f" or (length, {width}), with as many dimensions as the query {query.shape}"
                )
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                f"MultiHeadAttention: key has shape {key.shape} and value {value.shape}; there "
                "must be one value per key, in every batch item"
            )
        if query.shape[:-2] != key.shape[:-2]:
            raise ValueError(
                f"MultiHeadAttention: query has shape {query.shape} and key {key.shape}; the batch "
                "sizes (axis 0) differ"
            )

    def _four_dimensional(self, mask: Tensor | None, query: Tensor, key: Tensor) -> Any:
        """Bring a mask to four dimensions that broadcast to (N, h, L, S)."""
        if mask is None:
            return None
        mask = mask if isinstance(mask, Tensor) else Tensor(mask)
        n, length, keys, h = query.shape[0], query.shape[1], key.shape[1], self.num_heads
        four = mask.unsqueeze(1) if mask.ndim == 3 else mask  # (N, L, S) -> (N, 1, L, S)
        try:
            fits = np.broadcast_shapes(four.shape, (n, h, length, keys)) == (n, h, length, keys)
        except ValueError:
            fits = False
        if not fits or mask.ndim not in (2, 3, 4):
            raise ValueError(
                f"MultiHeadAttention: mask has shape {mask.shape}; expected {(length, keys)}, "
                f"{(n, length, keys)}, or four dimensions that broadcast to {(n, h, length, keys)}"
            )
        return four

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.d_q}, h={self.num_heads}, p={self.p_q}/{self.p_v}, out={self.p_o}"


def _xavier(*shape: int) -> Parameter:
    """Uniform within ±√(6 / (fan in + fan out)), of one head's own matrix (Glorot, Bengio 2010)."""
    bound = math.sqrt(6 / (shape[-1] + shape[-2]))
    return Parameter(ops.generator().uniform(-bound, bound, shape).astype(np.float32))


def _pooling(attention: str | Module, p_q: int, p_k: int, dropout: float) -> Module:
    if isinstance(attention, Module):
        return attention
    if attention == "dot":
        return DotProductAttention(dropout)
    if attention == "additive":
        return AdditiveAttention(p_q, p_k, p_q, dropout)
    raise ValueError(
        f"MultiHeadAttention: attention is {attention!r}; it can be 'dot', 'additive' or a module"
    )
