"""Backward as steps: the same pass, seen."""

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_mha as tm


def _attention() -> tuple[tm.Tensor, list[tm.Tensor]]:
    model = tm.nn.TransformerBlock(8, 2, attention="additive")
    return (model(tm.randn(2, 3, 8), is_causal=True) ** 2).sum(), list(model.parameters())


def _fan_out() -> tuple[tm.Tensor, list[tm.Tensor]]:
    x = tm.tensor([0.3, -1.2], requires_grad=True)
    return (x.exp() * x + x * x).sum(), [x]


@pytest.mark.parametrize("make", [_attention, _fan_out])
def test_steps_equal_backward_bit_for_bit(
    make: Callable[[], tuple[tm.Tensor, list[tm.Tensor]]],
) -> None:
    tm.manual_seed(1)
    loss, leaves = make()
    loss.backward(retain_graph=True)
    at_once = [leaf.grad.data for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    for _ in tm.autograd.steps(loss):
        pass
    for one, other in zip(at_once, leaves, strict=True):
        np.testing.assert_array_equal(one, other.grad.data, strict=True)


def test_backward_is_repeatable() -> None:
    found = []
    for _ in range(2):
        tm.manual_seed(1)
        loss, leaves = _attention()
        loss.backward()
        found.append([leaf.grad.data.tobytes() for leaf in leaves])
    assert found[0] == found[1]


def test_steps_show_the_sum_at_a_fan_out() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    a = x * 3
    flows = [f for step in tm.autograd.steps(a * a + a) for f in step.flows]
    into_a = [f for f in flows if f.target is a.grad_fn]
    assert [f.accumulated for f in into_a] == [False, True, True]
    assert sum(float(f.gradient) for f in into_a) == 13.0


def test_steps_keep_what_was_sent_when_more_is_added() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    steps = list(tm.autograd.steps((x * x) * (x * 3)))
    sent = [float(f.gradient) for step in steps for f in step.flows if f.target is x]
    assert sent == [12.0, 12.0, 12.0]
    assert x.grad.item() == 36.0
    for step in steps:
        for flow in step.flows:
            assert not np.shares_memory(flow.gradient, x.grad.data)


def test_steps_tell_what_ran() -> None:
    w, x = tm.tensor([1.0, 2.0], requires_grad=True), tm.tensor([3.0, 4.0])
    steps = list(tm.autograd.steps((w * x).sum()))
    assert [s.index for s in steps] == [0, 1]
    assert [s.node.name for s in steps] == ["sum", "mul"]
    (flow,) = steps[1].flows
    assert flow.input == "a"
    assert flow.target is w
    assert flow.rule.text == "da = dy · b"
    np.testing.assert_array_equal(steps[1].incoming, [1.0, 1.0])
    np.testing.assert_array_equal(flow.gradient, [3.0, 4.0])


def test_steps_tell_what_was_freed() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    y = x * x
    assert [s.freed for s in tm.autograd.steps(y, retain_graph=True)] == [False]
    assert [s.freed for s in tm.autograd.steps(y)] == [True]


def test_what_is_not_taken_does_not_run() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    steps = tm.autograd.steps((x * x).exp())
    assert next(steps).node.name == "exp"
    assert x.grad is None
    next(steps)
    assert x.grad is not None


def test_steps_leave_the_switch_alone_between_steps() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    with tm.no_grad():
        for _ in tm.autograd.steps(tm.enable_grad()(lambda: x * x * x)(), create_graph=True):
            assert not tm.is_grad_enabled()


def test_bad_arguments_raise_at_the_call() -> None:
    with pytest.raises(RuntimeError, match="no graph"):
        tm.autograd.steps(tm.tensor(1.0))


def test_a_step_is_printed_as_one_reads_it() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    steps = list(tm.autograd.steps((x.exp() * x).sum()))
    assert str(steps[0]).startswith("0. sum: y = Σ x    dy is float32 ()\n   dx = dy, copied along")
    head, to_exp, to_x = str(steps[1]).splitlines()
    assert head == "1. mul: y = a · b    dy is float32 (2,), then frees what it saved"
    assert "da = dy · b    float32 (2,) -> <exp #" in to_exp
    assert to_x == "   db = dy · a    float32 (2,) -> leaf (2,)"
    assert str(steps[2]).splitlines()[1] == "   dx = dy · y    float32 (2,) +=> leaf (2,)"
