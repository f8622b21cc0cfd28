"""P4 – P6: attention layers, and whole training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import tinygrad_mha as tm

from .rows import Row, arrays, backward, both
from .timing import Work


def layers(quick: bool, threads: int) -> Iterator[Row]:
    """P4: MultiHeadAttention, forward and backward."""
    sizes = [(2, 16, 32, 4, 3.0), (4, 64, 64, 8, 1.5)]
    if not quick:
        sizes += [(1, 512, 256, 8, 1.5), (1, 2048, 256, 8, 1.2)]
    for batch, length, width, heads, aim in sizes:
        (a,) = arrays((batch, length, width))
        x, u = both(a, True)
        mine = tm.nn.MultiHeadAttention(width, heads)
        other = torch.nn.MultiheadAttention(width, heads, batch_first=True)
        for weights in (False, True):
            yield Row(
                "P4",
                f"MultiHeadAttention {batch} × {length} × {width}, {heads} heads"
                + (", weights too" if weights else ""),
                partial(backward, partial(mine, x, need_weights=weights), [x, *mine.parameters()]),
                partial(
                    backward,
                    partial(other, u, u, u, need_weights=weights, average_attn_weights=False),
                    [u, *other.parameters()],
                ),
                aim=aim,
                grad=True,
            )


def _mlp(lib: Any, sizes: tuple[int, ...]) -> Any:
    inner: list[Any] = []
    for a, b in pairwise(sizes):
        inner += [lib.nn.Linear(a, b), lib.nn.ReLU()]
    return lib.nn.Sequential(*inner[:-1])


class TorchGPT(torch.nn.Module):
    """The same decoder-only transformer as ``tm.nn.GPT``, from PyTorch's own layers."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.positions = torch.nn.Embedding(length, width)
        layer = torch.nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, torch.nn.functional.gelu, batch_first=True,
            norm_first=True,
        )  # fmt: skip
        norm = torch.nn.LayerNorm(width)
        self.blocks = torch.nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
        self.head = torch.nn.Linear(width, vocabulary)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


def _step(lib: Any, model: Any, loss: Callable[[], Any]) -> Work:
    optimizer = lib.optim.AdamW(list(model.parameters()), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def mlp_step(lib: Any, sizes: tuple[int, ...], batch: int) -> Work:
    """A step of a perceptron: squared error of one output, else cross-entropy."""
    model, x = _mlp(lib, sizes), lib.randn(batch, sizes[0])
    if sizes[-1] == 1:
        y = lib.randn(batch, 1)
        return _step(lib, model, lambda: lib.nn.functional.mse_loss(model(x), y))
    y = lib.tensor(np.random.default_rng(0).integers(0, sizes[-1], batch))
    return _step(lib, model, lambda: lib.nn.functional.cross_entropy(model(x), y))


def gpt_step(lib: Any, width: int, heads: int, depth: int, length: int, batch: int) -> Work:
    """A step of a small language model on 65 characters."""
    text = np.random.default_rng(0).integers(0, 65, (batch, length + 1))
    tokens, targets = lib.tensor(text[:, :-1]), lib.tensor(text[:, 1:].reshape(-1))
    model: Any
    if lib is tm:
        model = tm.nn.GPT(65, length, embed_dim=width, num_heads=heads, num_layers=depth)
    else:
        model = TorchGPT(65, length, width, heads, depth)
    return _step(
        lib, model, lambda: lib.nn.functional.cross_entropy(model(tokens).reshape(-1, 65), targets)
    )


def training(quick: bool, threads: int) -> Iterator[Row]:
    """P5, P6: one training step, eager: forward, backward, AdamW."""
    for sizes, batch, aim in (((2, 16, 16, 1), 32, 6.0), ((64, 128, 64, 10), 64, 3.0)):
        works = [mlp_step(lib, sizes, batch) for lib in (tm, torch)]
        name = f"MLP {'-'.join(map(str, sizes))}, batch {batch}"
        yield Row("P5", f"training step: {name}", *works, aim=aim, grad=True)
    models = [(32, 4, 1, 16, 8, 3.0)] + ([] if quick else [(128, 4, 4, 64, 12, 1.3)])
    for width, heads, depth, length, batch, aim in models:
        works = [gpt_step(lib, width, heads, depth, length, batch) for lib in (tm, torch)]
        name = f"GPT width {width}, {heads} heads, {depth} layers, {batch} × {length} tokens"
        yield Row("P6", f"training step: {name}", *works, aim=aim, grad=True)
