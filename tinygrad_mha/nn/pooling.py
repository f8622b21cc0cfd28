"""Attention pooling: scores → weights → weighted sum, with scores of three kinds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from ..engine.op import plain
from ..ops.attention import check_keys
from ..ops.fused_attention import new_seed, pooled
from . import torch_keywords
from .checks import expect_number, expect_size
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
    Attention by the largest difference of any feature:

    >>> import tinygrad_mha as tm
    >>> class ChebyshevAttention(tm.nn.AttentionPooling):
    ...     def scores(self, query, key):
    ...         apart = query.unsqueeze(-2) - key.unsqueeze(-3)  # (..., L, S, p)
    ...         return -(apart * apart).amax(-1)
    >>> x = tm.randn(2, 5, 4)
    >>> ChebyshevAttention()(x, x, x).shape
    (2, 5, 4)
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        if not (isinstance(dropout, int | float | np.number) and 0.0 <= dropout <= 1.0):
            raise ValueError(
                f"{type(self).__name__}: dropout is {dropout!r}, expected a probability from 0 to 1"
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
        *more: Any,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
        **unknown: Any,
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
            The mask is of integers, or an argument is PyTorch's.
        """
        name = type(self).__name__
        torch_keywords.refuse(name, unknown, more)
        check_keys(name, query, key, value)
        scores = self.scores(query, key)
        if scores.shape[-2:] != (query.shape[-2], key.shape[-2]):
            raise ValueError(
                f"{name}.scores returned a tensor of shape {scores.shape} for query {query.shape} "
                f"and key {key.shape}; expected (..., L, S), one row per query and one column per "
                f"key: (..., {query.shape[-2]}, {key.shape[-2]})"
            )
        weights = ops.attention_weights(scores, mask, is_causal)
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
        if scale is not None:
            expect_number(scale, f"{type(self).__name__}: scale")
        self.scale = scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *more: Any,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
        **unknown: Any,
    ) -> Any:
        """Pool the values; see :meth:`AttentionPooling.forward`.

        In one operation, without a matrix of weights in memory; with `need_weights`, they are
        another one's result.
        """
        if unknown or more:
            torch_keywords.refuse(type(self).__name__, unknown, more)
        if type(self).scores is not DotProductAttention.scores:  # a subclass scores otherwise
            return super().forward(
                query, key, value, mask=mask, is_causal=is_causal, need_weights=need_weights
            )
        out = ops.scaled_dot_product_attention(
            query, key, value, mask, self.dropout if self.training else 0.0, is_causal, self.scale
        )
        if not need_weights:
            return out
        return out, ops.dot_weights(query, key, mask, self.scale, is_causal)

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
        sizes = {"query_dim": query_dim, "key_dim": key_dim, "num_hiddens": num_hiddens}
        for name, size in sizes.items():
            expect_size(size, f"AdditiveAttention: {name}")
        self.W_q = Linear(query_dim, num_hiddens, bias=False)
        self.W_k = Linear(key_dim, num_hiddens, bias=False)
        bound = 1 / math.sqrt(num_hiddens)
        self.w_v = Parameter(ops.generator().uniform(-bound, bound, num_hiddens).astype(np.float32))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *more: Any,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
        **unknown: Any,
    ) -> Any:
        """Pool the values; see :meth:`AttentionPooling.forward`.

        In one operation, in memory that grows with the length and not with its square; with
        `need_weights` in steps, since the weights have to be there.
        """
        name = type(self).__name__
        if unknown or more:
            torch_keywords.refuse(name, unknown, more)
        if type(self).scores is not AdditiveAttention.scores:  # a subclass scores otherwise
            return super().forward(
                query, key, value, mask=mask, is_causal=is_causal, need_weights=need_weights
            )
        check_keys(name, query, key, value)
        dropout = self.dropout if self.training else 0.0
        seed = new_seed(dropout)
        if not need_weights:
            q, k = self.W_q(query), self.W_k(key)
            return ops.additive_attention(q, k, self.w_v, value, mask, is_causal, dropout, seed)
        weights = ops.attention_weights(self.scores(query, key), mask, is_causal)
        return pooled(weights, value, dropout, seed), weights

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score ``(..., L, p_q)`` against ``(..., S, p_k)``: ``(..., L, S)``."""
        scores: Tensor = ops.additive_scores(self.W_q(query), self.W_k(key), self.w_v)
        return scores


class GaussianAttention(AttentionPooling):
    """Kernel regression: score(q, k) = −|q − k|² w² / 2 (Nadaraya 1964, Watson 1964).

    The weights are a Gaussian of width 1/w around the query, brought to the sum 1, so a
    prediction is the average of the values whose keys lie near.

    Parameters
    ----------
    dropout : float, default 0
        Probability with which a weight is dropped, in training.
    width : float, default 1
        Standard deviation 1/w of the Gaussian.
    learn_width : bool, default False
        Whether w is learned.

    Attributes
    ----------
    w : Parameter or Tensor
        ``()``: one over the width, so that a step towards 0 flattens the weights. Its sign
        does not matter.

    Raises
    ------
    ValueError
        The width is not positive.

    Examples
    --------
    A query at 0.9 between keys at 0 and 1 takes its value from the nearer one:

    >>> import tinygrad_mha as tm
    >>> q, k = tm.tensor([[0.9]]), tm.tensor([[0.0], [1.0]])
    >>> tm.nn.GaussianAttention(width=0.25)(q, k, tm.tensor([[10.0], [20.0]])).item() > 19.9
    True
    """

    def __init__(
        self, dropout: float = 0.0, *, width: float = 1.0, learn_width: bool = False
    ) -> None:
        super().__init__(dropout)
        expect_number(width, "GaussianAttention: width")
        if not width > 0:
            raise ValueError(f"GaussianAttention: width is {width}, expected a positive number")
        self.w: Tensor | float = Parameter(np.float32(1 / width)) if learn_width else 1 / width

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score −|q − k|² w² / 2: ``(..., L, p)``, ``(..., S, p)`` to ``(..., L, S)``."""
        _equal_widths(self, query, key)
        # −|q − k|²/2 = q · k − |q|²/2 − |k|²/2: one product of matrices, and nothing of
        # shape (..., L, S, p). Far from 0 these would be large numbers that cancel; distances do
        # not change when everything moves, so the keys' middle is moved to 0 first.
        middle = Tensor(_middle(plain(key)))
        q, k = (query - middle) * self.w, (key - middle) * self.w
        of_queries = (q * q).sum(-1, keepdim=True) * 0.5  # (..., L, 1)
        of_keys = ((k * k).sum(-1, keepdim=True) * 0.5).mT  # (..., S, 1) -> (..., 1, S)
        scores: Tensor = ops.dot_scores(q, k, scale=1.0) - of_queries - of_keys
        return scores

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        learned = isinstance(self.w, Parameter)
        w = abs(float(self.w))
        return f"width={1 / w if w else math.inf:.4g}" + (", learned" if learned else "")


def _middle(key: np.ndarray) -> np.ndarray:
    """Mean of the keys, (..., S, p) -> (..., 1, p); 0 where there are none."""
    count = max(key.shape[-2], 1)
    return np.asarray(key.sum(-2, keepdims=True) / key.dtype.type(count))


def _equal_widths(pooling: Module, query: Tensor, key: Tensor) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"{type(pooling).__name__}: query has shape {query.shape} and key {key.shape}; a "
            "distance needs equal widths (the last axis); additive attention does not"
        )
