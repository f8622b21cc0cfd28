"""The user's own part in a backward pass: hooks, kept gradients, functions, anomaly mode."""

from __future__ import annotations

import gc
import inspect
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm


def leaf(*numbers: float) -> tm.Tensor:
    return tm.tensor(numbers, dtype=np.float64, requires_grad=True)


# -- hooks ------------------------------------------------------------------------------------


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x, seen = leaf(2.0), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x + 3 * x).sum().backward()  # three paths lead to x
    assert seen == [[7.0]]
    assert x.grad.tolist() == [7.0]


def test_a_hook_may_change_the_gradient_and_be_removed() -> None:
    x = leaf(2.0)
    y = x * x
    first, second = y.register_hook(lambda g: g * 10), x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [41.0]
    first.remove()
    second.remove()
    second.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [4.0]


def test_hooks_run_in_their_order_and_for_autograd_grad_too() -> None:
    x = leaf(1.0)
    y = 2 * x
    y.register_hook(lambda g: g + 1)
    y.register_hook(lambda g: g * 3)
    x.register_hook(lambda g: -g)
    assert tm.autograd.grad(y.sum(), x)[0].tolist() == [-12.0]
    assert tm.autograd.grad((2 * x * 1.0).sum(), x)[0].tolist() == [-2.0]


def test_a_hooked_gradient_can_be_differentiated() -> None:
    x = leaf(2.0)
    x.register_hook(lambda g: g * g)
    (first,) = tm.autograd.grad((x**3).sum(), x, create_graph=True)
    assert first.tolist() == [144.0]
    # d/dx (3x²)² = 36 x³ = 288, and the hook on x squares that too
    assert tm.autograd.grad(first.sum(), x)[0].tolist() == [288.0**2]


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda x: x.register_hook(3), TypeError, "expected a function"),
        (lambda x: x.detach().register_hook(print), RuntimeError, "requires no gradient"),
        (lambda x: x.detach().retain_grad(), RuntimeError, "requires no gradient"),
    ],
)
def test_wrong_hooks(act: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        act(leaf(1.0))


def test_a_hook_cannot_change_the_shape() -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match=r"shape \(\), the gradient has shape \(2,\)"):
        (x * x).sum().backward()


# -- .grad -------------------------------------------------------------------------------------


def test_a_tensor_in_mid_graph_keeps_its_gradient_when_asked() -> None:
    x = leaf(3.0)
    y = x * x
    y.retain_grad()
    z = (2 * y).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [2.0]
    z.backward()
    assert y.grad.tolist() == [4.0]


def test_keeping_a_gradient_keeps_nothing_else_alive() -> None:
    gc.disable()
    try:
        x = leaf(3.0)
        y = x * x
        y.retain_grad()
        z = y.sum()
        watched = weakref.ref(y)
        del y
        assert watched() is None
        z.backward()
        assert x.grad.tolist() == [6.0]
    finally:
        gc.enable()


def test_asking_for_a_gradient_that_is_not_kept_warns() -> None:
    y = leaf(3.0) * 2
    with pytest.warns(UserWarning, match=r"\.retain_grad\(\)"):
        assert y.grad is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ones(2), TypeError),
        ([1.0, 2.0], TypeError),
        (tm.ones(3), RuntimeError),
        (tm.ones(2), RuntimeError),
    ],
)
def test_a_gradient_of_another_kind_is_refused(value: Any, error: type[Exception]) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=r"grad: .*(tm\.tensor|\.reshape\(\) or \.to\(\))"):
        x.grad = value
    x.grad = tm.ones(2, dtype=np.float64)


# -- functions of one's own ----------------------------------------------------------------------


class Exp(tm.autograd.Function):
    """y = eˣ, saving its output."""

    @staticmethod
    def forward(ctx: Any, x: tm.Tensor) -> tm.Tensor:
        y = tm.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: tm.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return grad * y


class Scale(tm.autograd.Function):
    """y = a · x ^ power, with an argument that is no tensor."""

    @staticmethod
    def forward(ctx: Any, a: tm.Tensor, x: tm.Tensor, power: int) -> tm.Tensor:
        ctx.save_for_backward(a, x)
        ctx.power = power
        return a * x**power

    @staticmethod
    def backward(ctx: Any, grad: tm.Tensor) -> Any:
        a, x = ctx.saved_tensors
        da = (grad * x**ctx.power).sum() if ctx.needs_input_grad[0] else None
        return da, grad * a * ctx.power * x ** (ctx.power - 1), None


def test_functions_of_ones_own_to_second_order() -> None:
    x, a = leaf(0.3, 0.7), tm.tensor(1.5, dtype=np.float64, requires_grad=True)
    tm.autograd.gradcheck(Exp.apply, [x])
    tm.autograd.gradgradcheck(Exp.apply, [x])
    tm.autograd.gradcheck(lambda a, x: Scale.apply(a, x, 3), [a, x])
    tm.autograd.gradgradcheck(lambda a, x: Scale.apply(a, x, 3), [a, x])


def test_a_function_is_part_of_the_graph_and_of_the_picture() -> None:
    x = leaf(0.5, 1.0)
    y = Exp.apply(x)
    assert y.grad_fn.name == "Exp"
    assert not Exp.apply(x.detach()).requires_grad
    with tm.no_grad():
        assert not Exp.apply(x).requires_grad
    data = tm.viz.trace((y * y).sum()).data
    assert [v.name for v in data.vertices if v.kind == "op"] == ["Exp", "mul", "sum"]
    assert data.vertices[1].formula == "y = eˣ, saving its output."
    np.testing.assert_allclose(data.vertices[1].elements, np.exp([0.5, 1.0]))


class PolarParts(tm.autograd.Function):
    """(r cos φ, r sin φ, and how many quarters φ has passed), saving outputs."""

    @staticmethod
    def forward(ctx: Any, r: tm.Tensor, phi: tm.Tensor) -> Any:
        x, y = tm.Tensor(r.data * np.cos(phi.data)), tm.Tensor(r.data * np.sin(phi.data))
        ctx.save_for_backward(x, y, r)
        return x, y, tm.tensor((phi.data // (np.pi / 2)).astype(int))

    @staticmethod
    def backward(ctx: Any, dx: tm.Tensor, dy: tm.Tensor, dn: tm.Tensor) -> Any:
        x, y, r = ctx.saved_tensors
        assert not dn.data.any()
        return (dx * x + dy * y) / r, dy * x - dx * y


def test_a_function_may_have_several_outputs() -> None:
    r, phi = leaf(1.0, 2.0, 0.5), leaf(0.3, 2.0, -1.0)
    x, _, quarters = PolarParts.apply(r, phi)
    assert quarters.tolist() == [0, 1, -1]
    assert not quarters.requires_grad
    for mix in (lambda x, y: x * y + y, lambda x, y: x, lambda x, y: y * y):

        def run(r: tm.Tensor, phi: tm.Tensor, mix: Any = mix) -> tm.Tensor:
            return mix(*PolarParts.apply(r, phi)[:2])

        tm.autograd.gradcheck(run, [r, phi])
        tm.autograd.gradgradcheck(run, [r, phi])
    assert "PolarParts" in {v.name for v in tm.viz.trace(x.sum()).data.vertices}


def test_a_function_leaves_no_cycle() -> None:
    gc.disable()
    try:
        y = Exp.apply(leaf(1.0))
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def wrong(result: Any) -> type[tm.autograd.Function]:
    class Wrong(tm.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: tm.Tensor, y: tm.Tensor) -> tm.Tensor:
            return x + y

        @staticmethod
        def backward(ctx: Any, grad: tm.Tensor) -> Any:
            return result

    return Wrong


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (tm.ones(2), "returned 1 gradients, forward took 2"),
        ((tm.ones(2), tm.ones(2), None), "returned 3 gradients, forward took 2"),
        ((tm.ones(3), None), r"shape \(3,\) for argument 0, which has shape \(2,\)"),
        ((1.0, None), "returned float"),
    ],
)
def test_a_function_that_returns_wrong_gradients_is_told(result: Any, words: str) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=words):
        wrong(result).apply(x, x).sum().backward()


# -- anomaly mode --------------------------------------------------------------------------------


def test_the_operation_whose_gradient_is_nan_is_named_with_its_line() -> None:
    x = leaf(0.0, 1.0)
    frame = inspect.currentframe()
    assert frame is not None
    with tm.autograd.detect_anomaly():
        root = tm.sqrt(x)
        line = frame.f_lineno - 1
        with pytest.raises(
            RuntimeError, match="sqrt: the gradient of its input 'x' has a nan"
        ) as e:
            (root * 0.0).sum().backward()
    assert str(e.value).endswith(f"{__file__}:{line}")
    (tm.sqrt(leaf(0.0)) * 0.0).sum().backward()  # outside, nobody looks


def test_a_write_through_a_shared_array_is_found() -> None:
    array = np.ones(3)
    x = tm.Tensor(array, True)
    with tm.autograd.detect_anomaly():
        y = (x * x).sum()
        array[1] = 5.0
        with pytest.raises(RuntimeError, match=r"mul: a value that it saved .* was changed"):
            y.backward()
    assert not np.isnan(array).any()


def test_a_hook_of_the_loss_may_write_into_its_gradient() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    loss.register_hook(lambda gradient: gradient.mul_(2))
    loss.backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_hook_must_return_the_gradients_dtype() -> None:
    x = tm.tensor([1.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda gradient: tm.ones(1, dtype="int32"))
    with pytest.raises(RuntimeError, match="returned int32, the gradient is float32"):
        y.backward()
