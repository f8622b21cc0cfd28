"""A transformer that reads one sequence and writes another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Tensor, no_grad
from . import masks
from .blocks import TransformerDecoderLayer, TransformerEncoderLayer
from .cache import KeyValueCache
from .checks import expect_array, expect_caches, expect_size
from .generation import evaluating, sample, token_list
from .layers import Dropout, Embedding, LayerNorm, Linear
from .module import Module, ModuleList
from .positions import SinusoidalPositions


class EncoderDecoder(Module):
    """The transformer of Vaswani et al. 2017 (figure 1), by default with norms first.

    Parameters
    ----------
    source_vocab, target_vocab : int
        Numbers of different tokens read and written.
    embed_dim, num_heads, num_layers : int
        Width, heads per attention, layers on either side.
    dim_feedforward : int, optional
        By default 4 · embed_dim.
    dropout : float, default 0
        In the layers and after the embeddings.
    norm_first : bool, default True
        False is the paper's order.
    attention : {"dot", "additive", "gaussian"}
        The pooling.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> model = tm.nn.EncoderDecoder(11, 13, embed_dim=8, num_heads=2, num_layers=1)
    >>> source, target = tm.randint(0, 11, (2, 5)), tm.randint(0, 13, (2, 4))
    >>> model(source, target, source_lengths=[3, 5]).shape
    (2, 4, 13)
    >>> len(model.generate([1, 2, 3], begin=0, count=6))
    7
    """

    def __init__(
        self,
        source_vocab: int,
        target_vocab: int,
        *,
        embed_dim: int,
        num_heads: int,
        num_layers: int,
        dim_feedforward: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        attention: str = "dot",
    ) -> None:
        super().__init__()
        expect_size(source_vocab, "EncoderDecoder: source_vocab")
        expect_size(target_vocab, "EncoderDecoder: target_vocab")
        expect_size(num_layers, "EncoderDecoder: num_layers", 0)
        if dim_feedforward is not None:
            expect_size(dim_feedforward, "EncoderDecoder: dim_feedforward")
        self.embed_dim = embed_dim
        options: dict[str, Any] = {
            "dim_feedforward": dim_feedforward or 4 * embed_dim,
            "dropout": dropout,
            "norm_first": norm_first,
            "attention": attention,
        }
        self.source = Embedding(source_vocab, embed_dim)
        self.target = Embedding(target_vocab, embed_dim)
        for table in (self.source, self.target):  # of variance 1 after the scaling below
            table.weight.data = table.weight.data / np.float32(math.sqrt(embed_dim))
        self.positions = SinusoidalPositions(embed_dim)
        self.drop = Dropout(dropout)
        self.encoder = ModuleList(
            TransformerEncoderLayer(embed_dim, num_heads, **options) for _ in range(num_layers)
        )
        self.encoder_norm = LayerNorm(embed_dim)
        self.decoder = ModuleList(
            TransformerDecoderLayer(embed_dim, num_heads, **options) for _ in range(num_layers)
        )
        self.decoder_norm = LayerNorm(embed_dim)
        self.head = Linear(embed_dim, target_vocab)

    def encode(
        self, source: Tensor, source_lengths: Any = None, *, need_weights: bool = False
    ) -> Any:
        """Read.

        Parameters
        ----------
        source : integer Tensor
            ``(N, S)``.
        source_lengths : array_like of int, optional
            ``(N,)``: how many tokens of each item count; the rest is padding.
        need_weights : bool, default False
            Return every layer's weights too.

        Returns
        -------
        memory : Tensor
            ``(N, S, embed_dim)``.
        weights : list of Tensor
            ``(N, h, S, S)`` per layer; only if `need_weights`.
        """
        mask = self._memory_mask(source, source_lengths)
        x = self._embed(self.source, source, 0)
        kept = []
        for layer in self.encoder:
            x = layer(x, mask=mask, need_weights=need_weights)
            if need_weights:
                x, weights = x
                kept.append(weights)
        memory: Tensor = self.encoder_norm(x)
        return (memory, kept) if need_weights else memory

    def decode(
        self,
        target: Tensor,
        memory: Tensor,
        *,
        memory_mask: Tensor | None = None,
        cache: list[tuple[KeyValueCache, KeyValueCache]] | None = None,
        need_weights: bool = False,
    ) -> Any:
        """Logits of the next token at every position.

        Parameters
        ----------
        target : integer Tensor
            ``(N, T)``.
        memory : Tensor
            ``(N, S, embed_dim)``, from :meth:`encode`.
        memory_mask : Tensor, optional
            ``(N, 1, S)``, True = may attend.
        cache : list of (KeyValueCache, KeyValueCache), optional
            From :meth:`make_cache`: the tokens of earlier calls come before these.
        need_weights : bool, default False
            Return every layer's weights too.

        Returns
        -------
        logits : Tensor
            ``(N, T, target_vocab)``.
        weights, memory_weights : list of Tensor
            ``(N, h, T, T)`` and ``(N, h, T, S)`` per layer; only if `need_weights`.

        Raises
        ------
        ValueError
            `target` has another shape, or `cache` does not fit the layers.
        TypeError
            `cache` is not from :meth:`make_cache`.
        """
        expect_array(target, "EncoderDecoder: target")
        expect_caches(cache, "EncoderDecoder", len(self.decoder), tuple)
        if target.ndim != 2 or target.shape[0] != memory.shape[0]:
            raise ValueError(
                f"EncoderDecoder: target has shape {target.shape}, expected (N, T) with N = "
                f"{memory.shape[0]}, as many items as were read: {memory.shape}"
            )
        kept: tuple[list[Tensor], list[Tensor]] = [], []
        x = self._embed(self.target, target, len(cache[0][0]) if cache else 0)
        for i, layer in enumerate(self.decoder):
            own, of_memory = (None, None) if cache is None else cache[i]
            x = layer(
                x,
                memory,
                memory_mask=memory_mask,
                tgt_is_causal=True,
                cache=own,
                memory_cache=of_memory,
                need_weights=need_weights,
            )
            if need_weights:
                x, weights, of_the_memory = x
                kept[0].append(weights)
                kept[1].append(of_the_memory)
        logits: Tensor = self.head(self.decoder_norm(x))
        return (logits, *kept) if need_weights else logits

    def make_cache(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Return, for every layer of the decoder, empty caches of the target and of the memory."""
        return [(KeyValueCache(), KeyValueCache(fixed=True)) for _ in self.decoder]

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        source_lengths: Any = None,
        *,
        need_weights: bool = False,
    ) -> Any:
        """Logits ``(N, T, target_vocab)`` of what follows each token of `target` ``(N, T)``.

        With `need_weights`, return a dict of lists too, with every layer's weights: "encoder"
        ``(N, h, S, S)``, "decoder" ``(N, h, T, T)`` and "memory" ``(N, h, T, S)``.
        """
        mask = self._memory_mask(source, source_lengths)
        read = self.encode(source, source_lengths, need_weights=need_weights)
        if not need_weights:
            return self.decode(target, read, memory_mask=mask)
        memory, encoder = read
        logits, decoder, of_memory = self.decode(
            target, memory, memory_mask=mask, need_weights=True
        )
        return logits, {"encoder": encoder, "decoder": decoder, "memory": of_memory}

    def generate(
        self,
        source: Any,
        *,
        begin: int,
        count: int,
        end: int | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Write what follows from one sequence; nothing is dropped meanwhile.

        Parameters
        ----------
        source : array_like of int
            ``(S,)``.
        begin : int
            The target's first token.
        count : int
            How many to add at most.
        end : int, optional
            The token after which to stop.
        temperature, top_k, top_p, seed
            See :func:`generate`; by default the likeliest token each time.

        Returns
        -------
        ndarray
            Up to ``(1 + count,)``, with `begin`, and with `end` where it came.

        Raises
        ------
        TypeError
            `source` is not one sequence of whole numbers.
        ValueError
            It is empty, or an option is out of range.
        """
        read = token_list(source, "generate: source")
        expect_size(begin, "generate: begin", 0)
        expect_size(count, "generate: count", 0)
        rng = None if seed is None else np.random.default_rng(seed)
        cache = self.make_cache()
        written = [begin]
        with no_grad(), evaluating(self):
            memory = self.encode(Tensor(np.array([read], np.int64)))
            while len(written) <= count and (len(written) == 1 or written[-1] != end):
                logits = self.decode(Tensor(np.array([written[-1:]])), memory, cache=cache)
                written.append(
                    sample(
                        logits.data[0, -1],
                        temperature=temperature,
                        top_k=top_k,
                        top_p=top_p,
                        rng=rng,
                    )
                )
        return np.array(written)

    def _embed(self, table: Embedding, tokens: Tensor, offset: int) -> Any:
        """Embed, scaled by √d so that the positions do not drown it (section 3.4)."""
        x = table(tokens) * math.sqrt(self.embed_dim)
        return self.drop(self.positions(x, offset))

    def _memory_mask(self, source: Tensor, lengths: Any) -> Tensor | None:
        expect_array(source, "EncoderDecoder: source")
        if source.ndim != 2:
            raise ValueError(f"EncoderDecoder: source has shape {source.shape}, expected (N, S)")
        if lengths is None:
            return None
        if np.shape(lengths) != source.shape[:1]:
            raise ValueError(
                f"EncoderDecoder: source_lengths has shape {np.shape(lengths)}, expected "
                f"{source.shape[:1]}, one per item of source {source.shape}"
            )
        return masks.padding(lengths, source.shape[1])
