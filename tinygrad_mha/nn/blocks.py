"""The layers of an encoder and a decoder, with PyTorch's names, options and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..engine import Tensor
from . import torch_keywords
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
        activation: str | Callable[[Tensor], Tensor],
        norm_first: bool,
        bias: bool,
        attention: str | Module,
    ) -> None:
        super().__init__()
        if not callable(activation) and activation not in ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation is {activation!r}, expected a function or one "
                f"of {sorted(ACTIVATIONS)}"
            )
        self.activation, self.norm_first = activation, norm_first
        self.self_attn = _attention(d_model, nhead, attention, dropout, bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.dropout = Dropout(dropout)

    def _feed_forward(self, x: Tensor) -> Tensor:
        """Map each position by itself: (N, T, d) -> (N, T, dim_feedforward) -> (N, T, d)."""
        act = self.activation if callable(self.activation) else ACTIVATIONS[self.activation]
        y: Tensor = self.linear2(self.dropout(act(self.linear1(x))))
        return y

    def _add(self, x: Tensor, norm: LayerNorm, part: Any) -> Tensor:
        """x + part(norm(x)), or norm(x + part(x))."""
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        y: Tensor = norm(x + self.dropout(part(x)))
        return y


def _attention(
    d_model: int, nhead: int, attention: str | Module, dropout: float, bias: bool
) -> MultiHeadAttention:
    """Make one of the layer's attentions; a pooling of the user's own has its own dropout."""
    of_weights = 0.0 if isinstance(attention, Module) else dropout
    return MultiHeadAttention(d_model, nhead, attention=attention, dropout=of_weights, bias=bias)


def _attend(part: MultiHeadAttention, kept: list[Tensor] | None, *args: Any, **how: Any) -> Any:
    """Call an attention, and keep its weights where there is a list for them."""
    if kept is None:
        return part(*args, **how)
    out, weights = part(*args, need_weights=True, **how)
    kept.append(weights)
    return out


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
        On the weights, between the linear maps, and on what each part adds; a pooling of your own
        has its own for weights.
    activation : {"relu", "gelu"} or callable
        Between the linear maps.
    layer_norm_eps : float, default 1e-5
        Added to the variance.
    norm_first : bool, default False
        Normalise what each part reads (pre-norm), rather than what it leaves (post-norm).
    bias : bool, default True
        Whether linear maps, projections and norms have biases.
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
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
        attention: str | Module = "dot",
        **unknown: Any,
    ) -> None:
        torch_keywords.refuse(type(self).__name__, unknown)
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, norm_first, bias, attention
        )
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)

    def forward(
        self,
        src: Tensor,
        *more: Any,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
        **unknown: Any,
    ) -> Any:
        """Map ``(N, S, d_model)`` to the same shape; `mask` as :class:`MultiHeadAttention`'s.

        With `need_weights`, return the weights ``(N, h, S, S)`` too.

        Raises
        ------
        ValueError
            A width or the mask does not fit.
        TypeError
            An argument is PyTorch's: the message says what it is called here.
        """
        torch_keywords.refuse("TransformerEncoderLayer", unknown, more)
        kept: list[Tensor] | None = [] if need_weights else None

        def attend(x: Tensor) -> Any:
            return _attend(self.self_attn, kept, x, mask=mask, is_causal=is_causal)

        x = self._add(src, self.norm1, attend)
        y = self._add(x, self.norm2, self._feed_forward)
        return y if kept is None else (y, kept[0])


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, then a map of each position.

    As torch.nn.TransformerDecoderLayer with ``batch_first=True``: the same arguments and names,
    so that its checkpoints load. Masks are this package's: True = may attend.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, \
        attention
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
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
        attention: str | Module = "dot",
        **unknown: Any,
    ) -> None:
        torch_keywords.refuse(type(self).__name__, unknown)
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, norm_first, bias, attention
        )
        self.multihead_attn = _attention(d_model, nhead, attention, dropout, bias)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        *more: Any,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        cache: KeyValueCache | None = None,
        memory_cache: KeyValueCache | None = None,
        need_weights: bool = False,
        **unknown: Any,
    ) -> Any:
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
        need_weights : bool, default False
            Return ``(y, weights, memory_weights)``: those of the self-attention, ``(N, h, T, T)``,
            and those on the memory, ``(N, h, T, S)``.

        Raises
        ------
        ValueError
            A width or a mask does not fit.
        TypeError
            An argument is PyTorch's: the message says what it is called here.
        """
        torch_keywords.refuse("TransformerDecoderLayer", unknown, more)
        kept: list[Tensor] | None = [] if need_weights else None

        def attend(x: Tensor) -> Any:
            return _attend(
                self.self_attn, kept, x, mask=tgt_mask, is_causal=tgt_is_causal, cache=cache
            )

        def look(x: Tensor) -> Any:
            return _attend(
                self.multihead_attn, kept, x, memory, mask=memory_mask, cache=memory_cache
            )

        x = self._add(tgt, self.norm1, attend)
        x = self._add(x, self.norm2, look)
        y = self._add(x, self.norm3, self._feed_forward)
        return y if kept is None else (y, *kept)
