"""Hooks of modules: what they see, what they may change, and that they can be taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require


def test_forward_hooks_see_and_change() -> None:
    layer, seen = tm.nn.Linear(2, 3), []
    x = tm.ones(1, 2)
    plain = layer(x)
    first = layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    second = layer.register_forward_hook(lambda module, args, out: seen.append(args) or out + 1)
    changed = layer(x)
    assert seen[0][0].tolist() == [[2.0, 2.0]]
    np.testing.assert_allclose(
        changed.data, (plain.data - layer.bias.data) * 2 + layer.bias.data + 1, rtol=1e-5
    )
    first.remove()
    second.remove()
    assert layer(x).tolist() == plain.tolist()


def _gradients(lib: Any, module: Any, x: Any) -> tuple[list[Any], Any]:
    seen: list[Any] = []

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append([None if g is None else g.tolist() for g in (*grad_input, *grad_output)])
        return tuple(None if g is None else g * 10 for g in grad_input)

    handle = module.register_full_backward_hook(hook)
    (module(x) ** 2).sum().backward()
    handle.remove()
    return seen, x.grad


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")  # torch's
def test_backward_hooks_see_what_torchs_see() -> None:
    torch = require.module("torch")
    ours, theirs = tm.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(ours.weight.data))
        theirs.bias.copy_(torch.from_numpy(ours.bias.data))
    for wants in (True, False):
        a, b = tm.ones(2, 2, requires_grad=wants), torch.ones(2, 2, requires_grad=wants)
        mine, gradient = _gradients(tm, ours, a)
        expected, wanted = _gradients(torch, theirs, b)
        assert len(mine) == len(expected) == 1
        for m, e in zip(mine[0], expected[0], strict=True):
            assert (m is None) == (e is None)
            if m is not None:
                np.testing.assert_allclose(m, e, rtol=1e-5)
        if wants:
            np.testing.assert_allclose(gradient.data, wanted.numpy(), rtol=1e-5)


def test_hooks_of_modules_with_several_inputs_and_outputs() -> None:
    class Pair(tm.nn.Module):
        def forward(self, a: tm.Tensor, b: tm.Tensor, flag: bool = True) -> Any:
            return a * b, a + b

    pair, seen = Pair(), []
    pair.register_full_backward_hook(lambda module, gi, go: seen.append((len(gi), len(go))))
    a, b = tm.ones(3, requires_grad=True), tm.full((3,), 2.0, requires_grad=True)
    x, y = pair(a, b, flag=False)
    (x * y).sum().backward()
    assert seen == [(2, 2)]
    # d(ab(a + b))/da = b(a + b) + ab
    assert a.grad.tolist() == [8.0] * 3
    with tm.no_grad():
        pair(a, b)
    assert len(seen) == 1
