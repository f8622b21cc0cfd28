"""Tangents that walk forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.engine import push_forward


class Cube(tm.autograd.Function):
    """x³, with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: tm.Tensor) -> tm.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, dy: tm.Tensor) -> tm.Tensor:
        (x,) = ctx.saved_tensors
        return dy * x * x * 3.0


def leaf(*values: float) -> tm.Tensor:
    return tm.tensor(values, dtype=np.float64, requires_grad=True)


def test_several_inputs_and_several_ways() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    out = x * y + x * x  # x by two ways
    along = [tm.tensor([1.0, 10.0], dtype=np.float64), tm.tensor([2.0, 3.0], dtype=np.float64)]
    tangent = push_forward(out, [x, y], along, create_graph=False)
    np.testing.assert_allclose(tangent.data, [1 * 3 + 2 * 1 + 2 * 1, 10 * 4 + 3 * 2 + 2 * 20])
    assert not tangent.requires_grad


def test_a_function_of_the_users() -> None:
    x = leaf(2.0)
    one = tm.ones(1, dtype=np.float64)
    first = push_forward(Cube.apply(x), [x], [one], create_graph=True)
    assert first.item() == 12.0
    (second,) = tm.autograd.grad(first, x)
    assert second.item() == 12.0


def test_an_output_that_is_an_input_or_does_not_move() -> None:
    x, other = leaf(2.0), leaf(5.0)
    one = tm.ones(1, dtype=np.float64)
    assert push_forward(x, [x], [one], create_graph=False).item() == 1.0
    assert push_forward(other * 2, [x], [one], create_graph=False).item() == 0.0
    assert push_forward(x.detach() * other, [x], [one], create_graph=False).item() == 0.0


def test_freed_values_say_so() -> None:
    x = leaf(2.0)
    y = x * x
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"forward mode: the values that mul .* freed"):
        push_forward(y, [x], [x.detach()], create_graph=False)


def test_long_chains_need_no_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    tangent = push_forward(y, [x], [tm.ones(1, dtype=np.float64)], create_graph=False)
    assert tangent.item() == pytest.approx(1.0001**5000)


def test_what_was_written_to_since_is_refused() -> None:
    x = leaf(1.0, 2.0)
    b = x * 1.0
    y = b * b
    b.mul_(3.0)
    with pytest.raises(RuntimeError, match="forward mode: mul needs a value of shape"):
        push_forward(y, [x], [x.detach()], create_graph=False)
