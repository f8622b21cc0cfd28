"""Checkpointing: the same numbers, less memory, and everything that wants a gradient gets it."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.autograd import checkpoint


def leaf(*shape: int, seed: int = 0) -> tm.Tensor:
    return tm.Tensor(np.random.default_rng(seed).uniform(0.2, 1.0, shape), True)


def test_arguments_parameters_and_inner_tensors_get_their_gradients_once() -> None:
    w, x = leaf(3, 3), leaf(2, 3, seed=1)

    def gradients(call: object) -> list[np.ndarray]:
        w.grad = x.grad = None
        before = (x @ w).tanh()  # made outside, found inside, from a parameter used inside too

        def part(x: tm.Tensor) -> tm.Tensor:
            return (before * (x @ w)).exp() + before

        out = call(part, x) if callable(call) else None
        (out * out).sum().backward()
        return [w.grad.data, x.grad.data]

    for a, b in zip(gradients(lambda f, x: f(x)), gradients(checkpoint), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_first_and_second_order() -> None:
    w = leaf(3)

    def run(x: tm.Tensor) -> tm.Tensor:
        return checkpoint(lambda y: (y * w).exp() * y, x * 2.0)

    assert tm.autograd.gradcheck(run, [leaf(3, seed=2)])
    assert tm.autograd.gradgradcheck(run, [leaf(3, seed=2)])


def test_several_outputs_and_autograd_grad() -> None:
    x = leaf(4)
    a, b = checkpoint(lambda x: (x.exp(), x * x), x)
    (both,) = tm.autograd.grad((a * b).sum(), x)
    np.testing.assert_allclose(both.data, np.exp(x.data) * (x.data**2 + 2 * x.data))


def test_dropout_drops_the_same_twice() -> None:
    x = leaf(50)
    out = checkpoint(lambda x: tm.dropout(x, 0.5) * x, x)
    kept = out.data != 0
    after = tm.rand(3).tolist()
    out.sum().backward()
    assert ((x.grad.data != 0) == kept).all()
    assert tm.rand(3).tolist() != after  # and the stream of numbers goes on as if nothing had been


def test_memory_between_forward_and_backward_is_that_of_the_ends() -> None:
    x = leaf(200, 1000)

    def deep(x: tm.Tensor) -> tm.Tensor:
        for _ in range(10):
            x = x.tanh()
        return x

    def held(call: object) -> int:
        gc.collect()
        tracemalloc.start()
        out = call() if callable(call) else None
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert out is not None
        return size

    assert held(lambda: checkpoint(deep, x)) < held(lambda: deep(x)) / 5


def test_no_cycle_and_nothing_recorded_without_need() -> None:
    gc.disable()
    try:
        out = checkpoint(lambda x: x.exp(), leaf(3))
        node = weakref.ref(out.grad_fn)
        del out
        assert node() is None
    finally:
        gc.enable()
    assert not checkpoint(lambda x: x.exp(), leaf(3).detach()).requires_grad
    with tm.no_grad():
        assert not checkpoint(lambda x: x.exp(), leaf(3)).requires_grad


def test_it_can_be_drawn() -> None:
    out = checkpoint(lambda x: x.exp(), leaf(3)).sum()
    graph = tm.viz.trace(out)
    inside, ran = (
        [v.name for v in data.vertices if v.kind == "op"] for data in (graph.data, graph.fused)
    )
    assert inside == ["exp", "sum"]
    assert ran == ["Checkpoint", "sum"]


def test_a_function_must_return_tensors() -> None:
    with pytest.raises(TypeError, match="checkpoint: the function returned a float"):
        checkpoint(lambda x: 1.0, leaf(3))


@pytest.mark.parametrize("kept", [True, False])
def test_hooks_of_arguments_see_the_whole_gradient_once(kept: bool) -> None:
    """What flows back from the second run is a part of it; a hook would change it twice."""
    seen: list[Any] = []

    def run(wrap: Any) -> list[Any]:
        x, w = (tm.tensor([1.0, 2.0], dtype="float64", requires_grad=True) for _ in range(2))
        h = x.sqrt()
        if kept:
            h.retain_grad()
        seen.clear()
        w.register_hook(lambda g: seen.append(("w", g.tolist())))
        h.register_hook(lambda g: seen.append(("h", g.tolist())))
        w.register_hook(lambda g: g * 3)
        h.register_hook(lambda g: g * 2)
        y = wrap(lambda a, b: (a * b).sin() * a, h, w)
        ((y * y).sum() + (h.sum() * w).sum()).backward()
        return [x.grad.tolist(), w.grad.tolist(), h.grad.tolist() if kept else None, dict(seen)]

    plain = run(lambda f, *args: f(*args))
    again = run(tm.autograd.checkpoint)
    assert len(seen) == 2
    for a, b in zip(plain[:3], again[:3], strict=True):
        assert a is b is None or a == pytest.approx(b, rel=1e-12)
    for name, gradient in plain[3].items():
        assert gradient == pytest.approx(again[3][name], rel=1e-12)


def _change_argument(x: tm.Tensor, w: tm.Tensor) -> None:
    x.data *= 1  # NumPy's writes are not seen, nor do they matter here
    x.mul_(2)


def _step(x: tm.Tensor, w: tm.Tensor) -> None:
    w.grad = tm.ones(3, dtype="float64")
    tm.optim.SGD([w], lr=0.1).step()


@pytest.mark.parametrize("change", [_change_argument, _step])
def test_what_was_changed_in_between_is_found(change: Any) -> None:
    x, w = tm.ones(3, dtype="float64"), leaf(3)
    y = checkpoint(lambda a: (a["x"] * w).exp(), {"x": x})
    change(x, w)
    with pytest.raises(RuntimeError, match=r"checkpoint: a value of shape \(3,\) that"):
        y.sum().backward()


def test_what_the_function_itself_changes_does_not_count() -> None:
    seen, w = tm.zeros(3, dtype="float64"), leaf(3)

    def count(a: tm.Tensor, seen: tm.Tensor) -> Any:
        with tm.no_grad():
            seen.add_(1)
        return (a * a).exp()

    checkpoint(count, w, seen).sum().backward()
    np.testing.assert_allclose(w.grad.data, 2 * w.data * np.exp(w.data**2))
