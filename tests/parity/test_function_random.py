"""F.scaled_dot_product_attention against torch's, on calls drawn at random from fixed seeds.

Drawn are batch axes that broadcast or are missing, how the numbers lie in memory, masks of every
shape that broadcasts, shared heads, widths and lengths of nothing, both dtypes. More:
``python -m tests.parity.test_function_random 1000 4000`` takes a range of seeds.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F

SEEDS = 400
TOLERANCE = {np.float64: 1e-11, np.float32: 3e-5}


class Drawn:
    """One call, drawn from its seed."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.dtype = np.float64 if self.coin() else np.float32
        batch = [int(n) for n in rng.integers(1, 4, rng.integers(0, 4))]
        most = 140 if self.coin(0.1) else 12
        length, keys = (int(n) for n in rng.integers(0 if self.coin(0.1) else 1, most, 2))
        wide, deep = (0 if self.coin(0.03) else int(rng.integers(1, 40)) for _ in range(2))
        batches = [list(batch) for _ in range(3)]
        self.shared = bool(batch) and self.coin(0.25)
        if self.shared:
            heads = int(rng.integers(1, 4))
            batches[0][-1] = heads * int(rng.integers(1, 4))
            batches[1][-1] = batches[2][-1] = heads
        else:
            batches = [[1 if self.coin(0.1) else n for n in b] for b in batches]
            batches[1:] = [b[1:] if self.coin(0.1) else b for b in batches[1:]]
        tails = (length, wide), (keys, wide), (keys, deep)
        size = 10.0 if self.coin(0.1) else 1.0
        self.inputs = [
            self.laid_out((size * rng.standard_normal((*b, *tail))).astype(self.dtype))
            for b, tail in zip(batches, tails, strict=True)
        ]
        self.kind = str(rng.choice(["none", "causal", "bool", "float"]))
        every = [tuple(b) for b in batches[: 1 if self.shared else 3]]
        self.scores = (*np.broadcast_shapes(*every), length, keys)
        self.mask = self.draw_mask() if self.kind in ("bool", "float") else None
        self.scale = None if self.coin() else float(rng.choice([0.3, 1.0, -0.5, 0.0]))

    def coin(self, p: float = 0.5) -> bool:
        return bool(self.rng.random() < p)

    def draw_mask(self) -> np.ndarray:
        shape = self.scores[int(self.rng.integers(0, len(self.scores) - 1)) :]
        shape = tuple(1 if self.coin(0.2) else n for n in shape)
        seen = self.rng.random(shape) < self.rng.choice([0.1, 0.5, 0.9])
        added = np.where(seen, self.rng.standard_normal(shape), -np.inf).astype(self.dtype)
        return self.laid_out(seen if self.kind == "bool" else added)

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """The same numbers, some other way in memory: transposed, with gaps, backwards."""
        ways = [lambda x: x, self.transposed(-1, -2), self.gaps, self.backwards]
        if x.ndim > 2:
            ways.append(self.transposed(-2, -3))
        return np.asarray(ways[int(self.rng.integers(len(ways)))](x))

    @staticmethod
    def transposed(a: int, b: int) -> Any:
        return lambda x: np.ascontiguousarray(x.swapaxes(a, b)).swapaxes(a, b)

    @staticmethod
    def gaps(x: np.ndarray) -> np.ndarray:
        return np.repeat(x, 2, -1)[..., ::2]

    @staticmethod
    def backwards(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :]


def compare(torch: ModuleType, seed: int) -> bool:
    """Compare one call; whether torch could make it."""
    s = Drawn(seed)
    options = {"is_causal": s.kind == "causal", "scale": s.scale, "enable_gqa": s.shared}
    floating = s.kind == "float"
    ours = [tm.Tensor(x, True) for x in s.inputs]
    mask = None if s.mask is None else tm.Tensor(s.mask, floating)
    theirs = [torch.from_numpy(x.copy()).requires_grad_() for x in s.inputs]
    their_mask = None if s.mask is None else torch.from_numpy(s.mask.copy())
    if floating:
        their_mask.requires_grad_()
    out = F.scaled_dot_product_attention(*ours, attn_mask=mask, **options)
    assert out.shape == (*s.scores[:-1], s.inputs[2].shape[-1])
    try:
        expected = torch.nn.functional.scaled_dot_product_attention(
            *theirs, attn_mask=their_mask, **options
        )
    except (RuntimeError, IndexError):  # of some broadcasts torch writes into too small a result
        return False
    if tuple(expected.shape) != out.shape:  # of nothing, torch does not broadcast
        assert not out.data.any()
        return False

    def check(what: str, a: np.ndarray, b: np.ndarray) -> None:
        assert a.shape == b.shape, f"seed {seed}: {what}: {a.shape} and {b.shape}"
        assert a.dtype == s.dtype, f"seed {seed}: {what}: {a.dtype}"
        assert np.isfinite(a).all(), f"seed {seed}: {what} is not finite"
        there = np.isfinite(b)  # torch has nan where a query sees nothing and there are no widths
        a, b = a[there], b[there]
        if a.size:
            apart = float(np.abs(a - b).max() / (1 + np.abs(b).max()))
            large = max(1.0, *(float(np.abs(x).max(initial=0)) for x in s.inputs[:2]))
            assert apart <= TOLERANCE[s.dtype] * large, f"seed {seed}: {what}: {apart}"

    check("output", out.data, expected.detach().numpy())
    dy = s.rng.standard_normal(out.shape).astype(s.dtype)
    out.backward(tm.Tensor(dy))
    expected.backward(torch.from_numpy(dy))
    for name, a, b in zip(("query", "key", "value"), ours, theirs, strict=True):
        check(f"gradient of {name}", a.grad.data, b.grad.numpy())
    if floating and their_mask.grad is not None:
        assert mask is not None
        assert s.mask is not None
        allowed = np.isfinite(s.mask)
        check("gradient of mask", mask.grad.data[allowed], their_mask.grad.numpy()[allowed])
    return True


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_random_calls(first: int, torch: ModuleType) -> None:
    assert sum(compare(torch, seed) for seed in range(first, first + 50)) > 40


if __name__ == "__main__":
    import torch as _torch

    start, end = (int(x) for x in sys.argv[1:])
    made = sum(compare(_torch, number) for number in range(start, end))
    print(f"{end - start} calls, of which torch could make {made}")
