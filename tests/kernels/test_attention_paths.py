"""Fused operations and the steps that they stand for: the same numbers, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support.cases import CASES, Case, assert_close
from tinygrad_mha.viz.unfold import unfold

attend = tm.nn.functional.scaled_dot_product_attention
each_fused = pytest.mark.parametrize(
    "case", [case for case in CASES if case.op.steps], ids=lambda case: case.name
)

SOME = np.random.default_rng(3).random((70, 90)) < 0.5
SOME[2] = False
ADDED = np.where(SOME, np.linspace(-1, 1, 90), -np.inf)
LIMITS: list[dict[str, Any]] = [
    {},
    {"is_causal": True, "scale": 0.7},
    {"attn_mask": tm.Tensor(SOME)},
    {"attn_mask": tm.Tensor(np.stack([SOME, ~SOME])[:, None]), "is_causal": True},
    {"attn_mask": tm.Tensor(ADDED)},
    {"attn_mask": tm.Tensor(ADDED[:1].astype(np.float32)), "is_causal": True},
    {"dropout_p": 0.3, "attn_mask": tm.Tensor(SOME)},
]


def gradients(out: tm.Tensor, inputs: list[tm.Tensor]) -> list[np.ndarray]:
    return [g.data for g in tm.autograd.grad((out * out).sum(), inputs)]


@each_fused
def test_an_operation_is_its_steps(case: Case) -> None:
    tensors = case.tensors()
    fused = case.run(*tensors)
    omitted = [None] * (len(case.op.input_names) - len(tensors))
    steps = case.op.steps(*tensors, *omitted, *case.params.values())
    assert fused.grad_fn.op is case.op
    assert steps.grad_fn.op is not case.op
    assert_close(steps.data, fused.data)
    wanted = [tensors[i] for i in case.differentiable]
    for a, b in zip(gradients(steps, wanted), gradients(fused, wanted), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("limits", LIMITS, ids=lambda limits: "-".join(limits) or "none")
def test_long_sequences_too(limits: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 70, 4), (3, 90, 4), (2, 1, 90, 5))
    q, k, v = (tm.Tensor(rng.standard_normal(shape), True) for shape in shapes)
    out = attend(q, k, v, **limits)
    (steps,) = unfold([out])
    assert (out.grad_fn.name, steps.grad_fn.name) == ("attention", "matmul")
    np.testing.assert_allclose(out.data, steps.data, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(out, [q, k, v]), gradients(steps, [q, k, v]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_mask_can_be_learned() -> None:
    bias = tm.zeros(7, 9, requires_grad=True)
    x, y = tm.randn(7, 4), tm.randn(9, 4)
    attend(x, y, y, attn_mask=bias).sum().backward()
    assert bias.grad is not None
    assert bias.grad.shape == (7, 9)


def test_dropout_is_the_seeds() -> None:
    x = tm.randn(2, 40, 8, requires_grad=True)

    def run(seed: int) -> list[np.ndarray]:
        tm.manual_seed(seed)
        out = attend(x, x, x, dropout_p=0.5)
        return [out.data, *gradients(out, [x])]

    first, again, other = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
