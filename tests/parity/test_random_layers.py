"""Encoder and decoder layers against torch's, on configurations drawn at random from fixed seeds.

Compared are outputs and the gradients of inputs and parameters, under masks of every kind. More:
``python -m tests.parity.test_random_layers 1000 2000`` takes a range of seeds.
"""

import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import to_torch
from tinygrad_mha.nn import masks

SEEDS = 60


class Drawn:
    """A mask over (L, S) in both conventions, and what pads the keys; nobody is blind."""

    def __init__(self, rng: np.random.Generator, n: int, length: int, keys: int) -> None:
        self.length, self.keys = length, keys
        self.seen = rng.random((length, keys)) < 0.7
        self.seen[:, 0] = True
        lengths = rng.integers(1, keys + 1, n).tolist()
        self.padding = masks.padding(lengths, keys)
        self.some, self.padded = (bool(rng.random() < 0.4) for _ in range(2))

    def ours(self) -> Any:
        given = [tm.tensor(self.seen)] * self.some + [self.padding] * self.padded
        return masks.both(*given) if len(given) == 2 else given[0] if given else None

    def attn(self, torch: ModuleType, causal: bool = False) -> Any:
        """Torch's ``attn_mask``: True = ignore."""
        hidden = np.zeros((self.length, self.keys), bool)
        if self.some:
            hidden |= ~self.seen
        if causal:
            hidden |= ~np.tri(self.length, self.keys, dtype=bool)
        return torch.from_numpy(hidden) if self.some or causal else None

    def ignored(self, torch: ModuleType) -> Any:
        return torch.from_numpy(~self.padding.data[:, 0]) if self.padded else None


def compare(torch: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coin = lambda p=0.5: bool(rng.random() < p)  # noqa: E731
    kind = str(rng.choice(["TransformerEncoderLayer", "TransformerDecoderLayer"]))
    h, p, n, length, keys = (int(x) for x in rng.integers(1, 6, 5))
    options: dict[str, Any] = {
        "dim_feedforward": int(rng.integers(1, 9)),
        "dropout": 0.0,
        "norm_first": coin(),
        "activation": str(rng.choice(["relu", "gelu"])),
        "layer_norm_eps": float(rng.choice([1e-5, 1e-2])),
        "bias": coin(0.8),
    }
    theirs = getattr(torch.nn, kind)(h * p, h, batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    ours, gradients = (getattr(tm.nn, kind)(h * p, h, **options).double() for _ in range(2))
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    x, memory = (
        tm.tensor(rng.standard_normal((n, t, h * p)), requires_grad=True) for t in (length, keys)
    )
    y, their_memory = to_torch(x), to_torch(memory)
    own, cross, causal = Drawn(rng, n, length, length), Drawn(rng, n, length, keys), coin(0.3)
    inputs = [(x, y)]
    if kind == "TransformerEncoderLayer":
        out = ours(x, mask=own.ours(), is_causal=causal)
        expected = theirs(
            y, src_mask=own.attn(torch, causal), src_key_padding_mask=own.ignored(torch)
        )
    else:
        inputs.append((memory, their_memory))
        out = ours(x, memory, tgt_mask=own.ours(), tgt_is_causal=causal, memory_mask=cross.ours())
        expected = theirs(
            y,
            their_memory,
            tgt_mask=own.attn(torch, causal),
            tgt_key_padding_mask=own.ignored(torch),
            memory_mask=cross.attn(torch),
            memory_key_padding_mask=cross.ignored(torch),
        )

    def close(a: Any, b: Any, what: str) -> None:
        np.testing.assert_allclose(
            a.data, b.detach().numpy(), rtol=1e-8, atol=1e-9, err_msg=f"seed {seed}: {what}"
        )

    close(out, expected, "output")
    weight = rng.standard_normal(out.shape)
    (out * tm.tensor(weight)).sum().backward()
    (expected * torch.from_numpy(weight)).sum().backward()
    for a, b in inputs:
        close(a.grad, b.grad, "gradient of an input")
    # torch's gradients, read as if they were a checkpoint, are ours
    gradients.load_state_dict({name: q.grad.numpy() for name, q in theirs.named_parameters()})
    for (name, a), b in zip(ours.named_parameters(), gradients.parameters(), strict=True):
        np.testing.assert_allclose(
            a.grad.data, b.data, rtol=1e-8, atol=1e-9, err_msg=f"seed {seed}: {name}"
        )


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_random_layers(first: int, torch: ModuleType) -> None:
    with warnings.catch_warnings():  # torch warns of masks of mixed kinds, which it still takes
        warnings.simplefilter("ignore")
        for seed in range(first, first + 20):
            compare(torch, seed)


if __name__ == "__main__":
    import torch as _torch

    warnings.simplefilter("ignore")
    for number in range(*(int(x) for x in sys.argv[1:])):
        compare(_torch, number)
