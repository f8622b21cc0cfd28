"""torch.nn.MultiheadAttention against ours, on configurations drawn at random from fixed seeds.

Weights come in through a state dict with PyTorch's names, in the layout that PyTorch chose.
Compared are outputs, every head's weights, and the gradients of inputs, masks and parameters. More:
``python -m tests.parity.test_attention_random 3000 5000`` takes a range of seeds.
"""

import sys
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.interop.torch_names import mha_from_torch, mha_to_torch
from tinygrad_mha.nn import masks

#: Relative to the largest number of what is compared, plus one.
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}
SEEDS = 300


@dataclass
class Setting:
    """One configuration, drawn from its seed."""

    seed: int

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng(self.seed)
        coin = lambda p=0.5: bool(rng.random() < p)  # noqa: E731
        self.h = int(rng.integers(1, 6))
        self.e = self.h * int(rng.integers(1, 7))
        self.batched = coin(0.8)
        self.n = int(rng.integers(1, 5)) if self.batched else 1
        self.length, self.keys = (int(x) for x in rng.integers(1, 9, 2))
        self.kdim = int(rng.integers(1, 12)) if coin(0.4) else None
        self.vdim = int(rng.integers(1, 12)) if coin(0.4) else None
        self.bias, self.bias_kv, self.zero = coin(0.7), coin(0.3), coin(0.3)
        self.dtype = np.float64 if coin(0.7) else np.float32
        self.attn = str(rng.choice(["none", "bool", "float", "bool per head", "float per head"]))
        self.pad = str(rng.choice(["none", "none", "bool", "float"]))
        self.causal = coin(0.25)
        self.method = str(rng.choice(["fused", "fused", "formula"]))

    def draw(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.dtype)

    def added(self, *shape: int) -> np.ndarray:
        """Numbers to add, some of them −∞."""
        return np.where(self.rng.random(shape) < 0.3, -np.inf, self.draw(*shape)).astype(self.dtype)

    def attn_mask(self) -> np.ndarray | None:
        """In PyTorch's convention: True = ignore, (L, S) or (N·h, L, S)."""
        if self.attn == "none":
            return None
        lead = (self.n * self.h,) if self.attn.endswith("per head") else ()
        shape = (*lead, self.length, self.keys)
        ignore = self.rng.random(shape) < 0.3
        return ignore if self.attn.startswith("bool") else self.added(*shape)

    def key_padding_mask(self) -> np.ndarray | None:
        if self.pad == "none":
            return None
        shape = (self.n, self.keys) if self.batched else (self.keys,)
        return self.rng.random(shape) < 0.3 if self.pad == "bool" else self.added(*shape)

    def inputs(self) -> list[np.ndarray]:
        lead = (self.n,) if self.batched else ()
        widths = (self.e, self.kdim or self.e, self.vdim or self.e)
        lengths = (self.length, self.keys, self.keys)
        return [self.draw(*lead, t, d) for t, d in zip(lengths, widths, strict=True)]


def _twins(torch: ModuleType, s: Setting) -> tuple[tm.nn.MultiHeadAttention, Any]:
    options = {
        "bias": s.bias, "add_bias_kv": s.bias_kv, "add_zero_attn": s.zero,
        "kdim": s.kdim, "vdim": s.vdim,
    }  # fmt: skip
    theirs = torch.nn.MultiheadAttention(s.e, s.h, batch_first=True, **options)
    theirs = theirs.double() if s.dtype == np.float64 else theirs
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.from_numpy(s.draw(*p.shape) / np.sqrt(p.shape[-1])))
    ours = tm.nn.MultiHeadAttention(s.e, s.h, method=s.method, **options)
    ours = ours.double() if s.dtype == np.float64 else ours
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def _our_mask(s: Setting, attn: np.ndarray | None, pad: np.ndarray | None) -> Any:
    """The same masks through the converters, and tensors whose gradients can be compared."""
    leaves = {
        name: None if m is None else tm.Tensor(m, m.dtype.kind == "f")
        for name, m in (("attn", attn), ("pad", pad))
    }
    a = None if attn is None else masks.from_attn_mask(leaves["attn"], s.h)
    p = None if pad is None else masks.from_key_padding_mask(leaves["pad"])
    if p is not None:  # (N, 1, S) -> (N, 1, 1, S)
        p = p.unsqueeze(1) if p.ndim == 3 else p.unsqueeze(0).unsqueeze(0)
    return masks.both(a, p), leaves


def _blind(s: Setting, attn: np.ndarray | None, pad: np.ndarray | None) -> np.ndarray:
    """Rows (N, h, L) that may see nothing: PyTorch gives nan there, we give zeros."""
    open_ = np.ones((s.n, s.h, s.length, s.keys), bool)
    if attn is not None:
        seen = ~attn if attn.dtype == bool else attn > -np.inf
        open_ &= seen.reshape(-1, s.h, s.length, s.keys) if seen.ndim == 3 else seen
    if pad is not None:
        seen = ~pad if pad.dtype == bool else pad > -np.inf
        open_ &= seen.reshape(s.n, 1, 1, s.keys)
    if s.causal:
        open_ &= np.tri(s.length, s.keys, dtype=bool)
    return ~open_.any(-1) & (not s.bias_kv) & (not s.zero)


def _for_torch(torch: ModuleType, s: Setting, attn: Any, pad: Any) -> tuple[Any, Any]:
    """Masks for PyTorch: causality within attn_mask, both of one kind, as it wants them."""
    if s.causal:
        future = ~np.tri(s.length, s.keys, dtype=bool)
        if attn is None:
            attn = future
        else:
            attn = attn | future if attn.dtype == bool else np.where(future, -np.inf, attn)
    found = []
    for m in (attn, pad):
        if m is None:
            found.append(None)
            continue
        if m.dtype == bool and any(x is not None and x.dtype != bool for x in (attn, pad)):
            m = np.where(m, -np.inf, 0.0)
        m = m if m.dtype == bool else m.astype(s.dtype)
        found.append(torch.from_numpy(m).requires_grad_(m.dtype != bool))
    return found[0], found[1]


def compare(torch: ModuleType, seed: int) -> float:
    """Compare one configuration; the largest relative difference found."""
    s = Setting(seed)
    ours, theirs = _twins(torch, s)
    xs = s.inputs()
    attn, pad = s.attn_mask(), s.key_padding_mask()
    mine = [tm.Tensor(x, True) for x in xs]
    yours = [torch.from_numpy(x.copy()).requires_grad_() for x in xs]
    mask, leaves = _our_mask(s, attn, pad)
    out, weights = ours(*mine, mask=mask, is_causal=s.causal, need_weights=True)
    their_attn, their_pad = _for_torch(torch, s, attn, pad)
    expected, their_weights = theirs(
        *yours, attn_mask=their_attn, key_padding_mask=their_pad, average_attn_weights=False
    )
    blind = _blind(s, attn, pad)
    if not s.batched:
        blind = blind[0]
    anyone = blind.any(-2)  # (N, L): some head of this query is blind, so torch's output is nan
    assert not weights.data[blind].any()
    assert np.isfinite(out.data).all()
    worst = 0.0

    def check(what: str, a: np.ndarray, b: np.ndarray) -> None:
        nonlocal worst
        assert a.shape == b.shape, f"seed {seed}: {what}: {a.shape} and {b.shape}"
        if a.size:
            difference = float(np.abs(a - b).max() / (1 + np.abs(b).max()))
            assert difference <= TOLERANCE[s.dtype], f"seed {seed}: {what}: {difference}, {vars(s)}"
            worst = max(worst, difference)

    check("output", out.data[~anyone], expected.detach().numpy()[~anyone])
    check("weights", weights.data[~blind], their_weights.detach().numpy()[~blind])
    # a loss of the output and of the weights, of what torch can compute
    seeds = [s.draw(*out.shape), s.draw(*weights.shape)]
    seeds[0][anyone], seeds[1][blind] = 0, 0
    ((out * tm.Tensor(seeds[0])).sum() + (weights * tm.Tensor(seeds[1])).sum()).backward()
    assert all(np.isfinite(t.grad.data).all() for t in (*mine, *ours.parameters()))
    if blind.any():  # 0 · nan: torch's backward has no numbers to compare with
        return worst
    torch.autograd.backward((expected, their_weights), [torch.from_numpy(x) for x in seeds])
    for name, a, b in zip(("query", "key", "value"), mine, yours, strict=True):
        check(f"gradient of {name}", a.grad.data, b.grad.numpy())
    their_state = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    state = {name: t.data for name, t in mha_from_torch(their_state, num_heads=s.h).items()}
    assert state.keys() == dict(ours.named_parameters()).keys()
    for name, p in ours.named_parameters():
        check(f"gradient of {name}", p.grad.data, state[name])
    for name, leaf, reference in (("attn", attn, their_attn), ("pad", pad, their_pad)):
        if leaf is not None and leaf.dtype != bool:
            got = leaves[name].grad.data
            allowed = np.isfinite(leaf)
            check(f"gradient of {name} mask", got[allowed], reference.grad.numpy()[allowed])
    # and back to PyTorch's layout, without loss
    for name, value in mha_to_torch(ours).items():
        np.testing.assert_array_equal(value.data, theirs.state_dict()[name].numpy())
    return worst


@pytest.mark.parametrize("first", range(0, SEEDS, 30))
def test_random_configurations(first: int, torch: ModuleType) -> None:
    with warnings.catch_warnings():  # torch warns of masks of mixed kinds, which it still takes
        warnings.simplefilter("ignore")
        for seed in range(first, first + 30):
            compare(torch, seed)


def test_they_are_varied() -> None:
    """What is drawn covers what there is."""
    settings = [Setting(seed) for seed in range(SEEDS)]
    for name in ("attn", "pad", "bias", "bias_kv", "zero", "causal", "batched", "dtype", "method"):
        assert len({getattr(s, name) for s in settings}) > 1, name
    assert sum(_blind(s, s.attn_mask(), s.key_padding_mask()).any() for s in settings) > 10


if __name__ == "__main__":
    import torch as _torch

    warnings.simplefilter("ignore")
    start, end = (int(x) for x in sys.argv[1:])
    largest: dict[Any, float] = {}
    for number in range(start, end):
        kind = Setting(number).dtype.__name__
        largest[kind] = max(largest.get(kind, 0.0), compare(_torch, number))
    print(end - start, largest)
