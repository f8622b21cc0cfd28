"""The layers of an encoder and a decoder, with PyTorch's names, options and checkpoints."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..engine import Tensor
from .attention import MultiHeadAttention
from .cache import KeyValueCache
from .layers import Dropout, LayerNorm, Linear
from .module import Module

ACTIVATIONS: dict[str, Any] = {"relu": ops.relu, "gelu": ops.gelu}


class _Layer(Module):
    """What both kinds of layer share: the two linear maps, and where the norms stand."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: str,
        norm_first: bool,
        attention: str | Module,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation is {activation!r}, expected one of "
                f"{sorted(ACTIVATIONS)}"
            )
        self.activation, self.norm_first = activation, norm_first
        self.self_attn = MultiHeadAttention(d_model, nhead, attention=attention, dropout=dropout)
        self.linear1 = Linear(d_model, dim_feedforward)
        self.linear2 = Linear(dim_feedforward, d_model)
        self.dropout = Dropout(dropout)

    def _feed_forward(self, x: Tensor) -> Tensor:
        """Map each position by itself: (N, T, d) -> (N, T, dim_feedforward) -> (N, T, d)."""
        inner = ACTIVATIONS[self.activation](self.linear1(x))
        y: Tensor = self.linear2(self.dropout(inner))
        return y

    def _add(self, x: Tensor, norm: LayerNorm, part: Any) -> Tensor:
        """x + part(norm(x)), or norm(x + part(x))."""
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        y: Tensor = norm(x + self.dropout(part(x)))
        return y


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a map of each position (Vaswani et al. 2017, section 3.1).

    As torch.nn.TransformerEncoderLayer with ``batch_first=True``: the same arguments and names,
    so that its checkpoints load. Masks are this package's: True = may attend.

    Parameters
    ----------
    d_model, nhead : int
        Width and number of heads.
    dim_feedforward : int, default 2048
        Width between the two linear maps.
    dropout : float, default 0.1
        On the weights, between the linear maps, and on what each part adds.
    activation : {"relu", "gelu"}
        Between the linear maps.
    layer_norm_eps : float, default 1e-5
        Added to the variance.
    norm_first : bool, default False
        Normalise what each part reads (pre-norm), rather than what it leaves (post-norm).
    attention : {"dot", "additive", "gaussian"} or Module
        The pooling.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> layer = tm.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16)
    >>> layer(tm.randn(2, 5, 8), mask=tm.nn.masks.padding([3, 5], 5)).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        attention: str | Module = "dot",
    ) -> None:
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, norm_first, attention
        )
        self.norm1 = LayerNorm(d_model, layer_norm_eps)
        self.norm2 = LayerNorm(d_model, layer_norm_eps)

    def forward(
        self, src: Tensor, *, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Map ``(N, S, d_model)`` to the same shape; `mask` as :class:`MultiHeadAttention`'s."""
        x = self._add(src, self.norm1, lambda x: self.self_attn(x, mask=mask, is_causal=is_causal))
        return self._add(x, self.norm2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, then a map of each position.

    As torch.nn.TransformerDecoderLayer with ``batch_first=True``: the same arguments and names,
    so that its checkpoints load. Masks are this package's: True = may attend.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, attention
        As :class:`TransformerEncoderLayer`'s.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> layer = tm.nn.TransformerDecoderLayer(8, 2, dim_feedforward=16)
    >>> layer(tm.randn(2, 3, 8), tm.randn(2, 5, 8), tgt_is_causal=True).shape
    (2, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        attention: str | Module = "dot",
    ) -> None:
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, norm_first, attention
        )
        self.multihead_attn = MultiHeadAttention(
            d_model, nhead, attention=attention, dropout=dropout
        )
        self.norm1 = LayerNorm(d_model, layer_norm_eps)
        self.norm2 = LayerNorm(d_model, layer_norm_eps)
        self.norm3 = LayerNorm(d_model, layer_norm_eps)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        *,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        cache: KeyValueCache | None = None,
        memory_cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map ``(N, T, d_model)`` to the same shape.

        Parameters
        ----------
        tgt : Tensor
            ``(N, T, d_model)``.
        memory : Tensor
            ``(N, S, d_model)``: the encoder's output.
        tgt_mask, memory_mask : Tensor, optional
            For ``(T, T)`` and ``(T, S)``; see :class:`MultiHeadAttention`.
        tgt_is_causal : bool, default False
            Position i sees positions 0 … i of the target.
        cache : KeyValueCache, optional
            Of the self-attention.
        memory_cache : KeyValueCache, optional
            Of the attention to the memory: ``KeyValueCache(fixed=True)``.
        """

        def attend(x: Tensor) -> Any:
            return self.self_attn(x, mask=tgt_mask, is_causal=tgt_is_causal, cache=cache)

        def look(x: Tensor) -> Any:
            return self.multihead_attn(x, memory, mask=memory_mask, cache=memory_cache)

        x = self._add(tgt, self.norm1, attend)
        x = self._add(x, self.norm2, look)
        return self._add(x, self.norm3, self._feed_forward)
