"""A transformer for text, assembled from the layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from .attention import MultiHeadAttention
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear
from .module import Module, ModuleList, Sequential


class TransformerBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (pre-norm; Radford et al. 2019).

    Parameters
    ----------
    embed_dim, num_heads : int
        Width and number of heads.
    attention : {"dot", "additive"} or Module
        The pooling.
    dropout : float, default 0
        On the weights and on what each half adds.

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
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(embed_dim)
        self.attention = MultiHeadAttention(
            embed_dim, num_heads, attention=attention, dropout=dropout
        )
        self.norm2 = LayerNorm(embed_dim)
        self.mlp = Sequential(
            Linear(embed_dim, 4 * embed_dim), GELU("tanh"), Linear(4 * embed_dim, embed_dim)
        )
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Map ``(N, T, d)`` to ``(N, T, d)``."""
        x = x + self.drop(self.attention(self.norm1(x), mask=mask, is_causal=is_causal))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


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
    attention : {"dot", "additive"}
        The pooling.
    dropout : float, default 0
        In the blocks and after the embedding.

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
    ) -> None:
        super().__init__()
        self.vocab_size, self.context = vocab_size, context
        self.tokens = Embedding(vocab_size, embed_dim)
        self.positions = Embedding(context, embed_dim)
        self.drop = Dropout(dropout)
        self.blocks = ModuleList(
            TransformerBlock(embed_dim, num_heads, attention=attention, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = LayerNorm(embed_dim)
        self.head = Linear(embed_dim, vocab_size, bias=False)
        # small first values keep the first loss near ln(vocab_size)
        # (Radford et al. 2019, section 2.3)
        for table in (self.tokens, self.positions, self.head):
            table.weight.data = (0.02 * ops.randn(*table.weight.shape)).data

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position: ``(N, T)`` to ``(N, T, vocab_size)``."""
        if tokens.ndim != 2 or tokens.shape[1] > self.context:
            raise ValueError(
                f"GPT: tokens has shape {tokens.shape}, expected (N, T) with T up to context="
                f"{self.context}"
            )
        x = self.tokens(tokens) + self.positions(ops.arange(tokens.shape[1]))
        x = self.drop(x)
        for block in self.blocks:
            x = block(x, is_causal=True)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"vocab_size={self.vocab_size}, context={self.context}"


def generate(
    model: GPT, tokens: Any, count: int, *, temperature: float = 1.0, top_k: int | None = None
) -> np.ndarray:
    """Let a model continue a sequence, one sampled token after the other.

    Parameters
    ----------
    model : GPT
        In evaluation mode.
    tokens : array_like of int
        ``(T,)``, at least one.
    count : int
        How many to add.
    temperature : float, default 1
        Below 1 more predictable, above 1 less; 0 takes the likeliest.
    top_k : int, optional
        Sample among the k likeliest only.

    Returns
    -------
    ndarray
        ``(T + count,)``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> gpt = tm.nn.GPT(65, 16, embed_dim=32, num_heads=4, num_layers=1)
    >>> len(tm.nn.generate(gpt, [0], 5))
    6
    """
    from ..engine import no_grad

    sequence = [int(t) for t in tokens]
    with no_grad():
        for _ in range(count):
            window = Tensor(np.array([sequence[-model.context :]]))
            logits = model(window).data[0, -1].astype(np.float64)
            if top_k is not None and top_k < logits.size:
                logits[logits < np.partition(logits, -top_k)[-top_k]] = -np.inf
            if temperature == 0:
                sequence.append(int(logits.argmax()))
                continue
            p = np.exp((logits - logits.max()) / temperature)
            sequence.append(int(ops.generator().choice(p.size, p=p / p.sum())))
    return np.array(sequence)
