"""A transformer for text, assembled from the layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from .attention import MultiHeadAttention
from .cache import KeyValueCache
from .checks import expect_array, expect_caches, expect_size
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear
from .module import Module, ModuleList, Sequential
from .positions import LearnedPositions, RotaryPositions, SinusoidalPositions


class TransformerBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (pre-norm; Radford et al. 2019).

    With ``norm_first=False`` the other order: norm(x + attention(x)), norm(x + mlp(x)) (post-norm;
    Vaswani et al. 2017).

    Parameters
    ----------
    embed_dim, num_heads : int
        Width and number of heads.
    attention : {"dot", "additive", "gaussian"} or Module
        The pooling.
    dropout : float, default 0
        On the weights and on what each half adds; a pooling of your own has its own for weights.
    norm_first : bool, default True
        Normalise what each half reads, rather than what it leaves.
    num_kv_heads : int, optional
        Number of key/value heads, a divisor of num_heads.
    rotary : RotaryPositions, optional
        Rotates queries and keys.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.TransformerBlock(16, 2)(tm.randn(1, 5, 16), is_causal=True).shape
    (1, 5, 16)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        attention: str | Module = "dot",
        dropout: float = 0.0,
        norm_first: bool = True,
        num_kv_heads: int | None = None,
        rotary: Module | None = None,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm1 = LayerNorm(embed_dim)
        self.attention = MultiHeadAttention(
            embed_dim,
            num_heads,
            attention=attention,
            dropout=0.0 if isinstance(attention, Module) else dropout,
            num_kv_heads=num_kv_heads,
            rotary=rotary,
        )
        self.norm2 = LayerNorm(embed_dim)
        self.mlp = Sequential(
            Linear(embed_dim, 4 * embed_dim), GELU("tanh"), Linear(4 * embed_dim, embed_dim)
        )
        self.drop = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
        head_mask: Any = None,
    ) -> Any:
        """Map ``(N, T, d)`` to ``(N, T, d)``; the arguments are :class:`MultiHeadAttention`'s.

        With `need_weights`, return the weights ``(N, h, T, T)`` too.
        """
        read = self.norm1(x) if self.norm_first else x
        found = self.attention(
            read,
            mask=mask,
            is_causal=is_causal,
            cache=cache,
            need_weights=need_weights,
            head_mask=head_mask,
        )
        attended, weights = found if need_weights else (found, None)
        if self.norm_first:
            x = x + self.drop(attended)
            y = x + self.drop(self.mlp(self.norm2(x)))
        else:
            x = self.norm1(x + self.drop(attended))
            y = self.norm2(x + self.drop(self.mlp(x)))
        return (y, weights) if need_weights else y


class GPT(Module):
    """A causal model of sequences of tokens (Radford et al. 2019).

    Parameters
    ----------
    vocab_size : int
        Number of different tokens.
    context : int
        Longest sequence it can read.
    embed_dim, num_heads, num_layers : int
        Width, heads per layer, layers.
    attention : {"dot", "additive", "gaussian"}
        The pooling.
    dropout : float, default 0
        In the blocks and after the embedding.
    positions : {"learned", "sinusoidal", "rotary"}
        How it knows where a token stands.
    num_kv_heads : int, optional
        Number of key/value heads, a divisor of num_heads.

    Raises
    ------
    ValueError
        Sizes or options do not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> gpt = tm.nn.GPT(65, 16, embed_dim=32, num_heads=4, num_layers=1)
    >>> gpt(tm.zeros(2, 16, dtype="int64")).shape
    (2, 16, 65)
    """

    def __init__(
        self,
        vocab_size: int,
        context: int,
        *,
        embed_dim: int,
        num_heads: int,
        num_layers: int,
        attention: str = "dot",
        dropout: float = 0.0,
        positions: str = "learned",
        num_kv_heads: int | None = None,
    ) -> None:
        super().__init__()
        expect_size(vocab_size, "GPT: vocab_size")
        expect_size(context, "GPT: context")
        expect_size(num_layers, "GPT: num_layers", 0)
        self.vocab_size, self.context, self.num_heads = vocab_size, context, num_heads
        self.tokens = Embedding(vocab_size, embed_dim)
        self.positions = _positions(positions, context, embed_dim)
        rotary = RotaryPositions(embed_dim // num_heads) if positions == "rotary" else None
        self.drop = Dropout(dropout)
        self.blocks = ModuleList(
            TransformerBlock(
                embed_dim,
                num_heads,
                attention=attention,
                dropout=dropout,
                num_kv_heads=num_kv_heads,
                rotary=rotary,
            )
            for _ in range(num_layers)
        )
        self.norm = LayerNorm(embed_dim)
        self.head = Linear(embed_dim, vocab_size, bias=False)
        # small first values keep the first loss near ln(vocab_size)
        # (Radford et al. 2019, section 2.3)
        for table in (self.tokens, self.positions, self.head):
            if isinstance(table, Embedding | LearnedPositions | Linear):
                table.weight.data = (0.02 * ops.randn(*table.weight.shape)).data

    def make_cache(self) -> list[KeyValueCache]:
        """Return an empty cache for every layer, for :meth:`forward` to fill.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> gpt = tm.nn.GPT(65, 16, embed_dim=32, num_heads=4, num_layers=2)
        >>> cache = gpt.make_cache()
        >>> gpt(tm.zeros(1, 5, dtype="int64"), cache=cache).shape
        (1, 5, 65)
        >>> gpt(tm.zeros(1, 1, dtype="int64"), cache=cache).shape
        (1, 1, 65)
        >>> len(cache[0])
        6
        """
        return [KeyValueCache() for _ in self.blocks]

    def forward(
        self,
        tokens: Tensor,
        *,
        cache: list[KeyValueCache] | None = None,
        need_weights: bool = False,
        head_mask: Any = None,
    ) -> Any:
        """Logits of the next token at every position.

        Parameters
        ----------
        tokens : integer Tensor
            ``(N, T)``.
        cache : list of KeyValueCache, optional
            From :meth:`make_cache`: the tokens of earlier calls come before these.
        need_weights : bool, default False
            Return every layer's weights too.
        head_mask : Tensor or array_like, optional
            ``(num_layers, h)``: gates of every layer's heads; see :class:`MultiHeadAttention`.

        Returns
        -------
        logits : Tensor
            ``(N, T, vocab_size)``.
        weights : list of Tensor
            ``(N, h, T, S)`` per layer; only if `need_weights`.

        Raises
        ------
        ValueError
            With those in the cache there are more tokens than `context`; or `cache` or `head_mask`
            does not fit the layers.
        TypeError
            `cache` is not from :meth:`make_cache`.
        IndexError
            A token is not one of `vocab_size`.
        """
        expect_array(tokens, "GPT: tokens")
        expect_caches(cache, "GPT", len(self.blocks), KeyValueCache)
        past = len(cache[0]) if cache else 0
        if tokens.ndim != 2 or past + tokens.shape[1] > self.context:
            raise ValueError(
                f"GPT: tokens has shape {tokens.shape}, expected (N, T) with T up to context="
                f"{self.context}" + (f", less the {past} in the cache" if past else "")
            )
        x = self.tokens(tokens)
        if self.positions is not None:
            x = self.positions(x, past)
        x = self.drop(x)
        gates = self._gates(head_mask)
        weights = []
        for i, block in enumerate(self.blocks):
            x, alpha = self._run(
                block, x, None if cache is None else cache[i], gates[i], need_weights
            )
            weights.append(alpha)
        logits = self.head(self.norm(x))
        return (logits, weights) if need_weights else logits

    def _run(
        self, block: Module, x: Any, cache: KeyValueCache | None, gates: Any, need_weights: bool
    ) -> tuple[Any, Any]:
        found = block(x, is_causal=True, cache=cache, need_weights=need_weights, head_mask=gates)
        return found if need_weights else (found, None)

    def _gates(self, head_mask: Any) -> Any:
        """Gates by layer, or as many times None."""
        layers, h = len(self.blocks), self.num_heads
        if head_mask is None:
            return [None] * layers
        gates = head_mask if isinstance(head_mask, Tensor) else Tensor(np.asarray(head_mask))
        if gates.shape != (layers, h):
            raise ValueError(
                f"GPT: head_mask has shape {gates.shape}, expected {(layers, h)}: one gate per "
                "layer and head"
            )
        return gates

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"vocab_size={self.vocab_size}, context={self.context}"


def _positions(kind: str, context: int, embed_dim: int) -> Module | None:
    if kind == "learned":
        return LearnedPositions(context, embed_dim)
    if kind == "sinusoidal":
        return SinusoidalPositions(embed_dim)
    if kind == "rotary":
        return None  # they rotate queries and keys, in the blocks
    raise ValueError(f"GPT: positions is {kind!r}; it can be 'learned', 'sinusoidal' or 'rotary'")
