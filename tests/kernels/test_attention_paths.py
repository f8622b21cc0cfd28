"""Scaled dot-product attention in steps, and at once by the fused kernel: the same numbers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm

ops = importlib.import_module("tinygrad_mha.ops.attention")
attend = tm.nn.functional.scaled_dot_product_attention

SOME = np.random.default_rng(3).random((7, 9)) < 0.5
SOME[2] = False
ADDED = np.where(SOME, np.linspace(-1, 1, 9), -np.inf)


def results(stepwise: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[np.ndarray]:
    """Output and gradients, with steps up to so many scores."""
    monkeypatch.setattr(ops, "STEPWISE", stepwise)
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 7, 4), (3, 9, 4), (2, 1, 9, 5))
    q, k, v = (tm.Tensor(rng.standard_normal(shape), True) for shape in shapes)
    out = attend(q, k, v, **options)
    assert (out.grad_fn.op.name == "attention") == (stepwise == 0)
    (out * out).sum().backward()
    return [out.data, *(x.grad.data for x in (q, k, v))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True, "scale": 0.7},
        {"attn_mask": tm.Tensor(SOME)},
        {"attn_mask": tm.Tensor(SOME[:, None, :, None].transpose(1, 3, 0, 2)), "is_causal": True},
        {"attn_mask": tm.Tensor(ADDED)},
        {"attn_mask": tm.Tensor(ADDED[:1].astype(np.float32)), "is_causal": True},
    ],
)
def test_both_ways_agree(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = results(10**6, monkeypatch, **options)
    at_once = results(0, monkeypatch, **options)
    for a, b in zip(steps, at_once, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_mask_that_is_learned_takes_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "STEPWISE", 0)
    bias = tm.zeros(7, 9, requires_grad=True)
    x, y = tm.randn(7, 4), tm.randn(9, 4)
    attend(x, y, y, attn_mask=bias).sum().backward()
    assert bias.grad is not None
    assert bias.grad.shape == (7, 9)
