"""The graph itself: its size, its memory, its order."""

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import tinygrad_mha as tm

LENGTH = 200_000


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free memory."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_long_chain_runs_and_is_freed_without_recursion() -> None:
    x = tm.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(LENGTH):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y  # Python's own deallocation must not run out of stack either


def test_long_chain_with_saved_values() -> None:
    x = tm.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(LENGTH):
        y = y * 1.00001
    (dx,) = tm.autograd.grad(y, x)
    np.testing.assert_allclose(dx.item(), 1.00001**LENGTH, rtol=1e-9)


def test_long_chain_with_a_graph_of_its_gradient() -> None:
    x = tm.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(LENGTH // 10):
        y = y * 1.0001
    (dx,) = tm.autograd.grad(y, x, create_graph=True)
    assert dx.item() == pytest.approx(1.0001 ** (LENGTH // 10))
    del y, dx


def test_diamond_of_two_to_the_thirty_paths() -> None:
    x = tm.tensor(1.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**30


def test_nested_diamonds_visit_each_node_once() -> None:
    x = tm.tensor(1.0, dtype="float64", requires_grad=True)
    y, nodes = x, 0
    for _ in range(30):
        y = y * 0.5 + y * 0.5
        nodes += 3
    taken = list(tm.autograd.steps(y))
    assert len(taken) == nodes
    assert len({step.node for step in taken}) == nodes
    assert x.grad.item() == 1.0


def test_wide_fan_out() -> None:
    x = tm.tensor(2.0, requires_grad=True)
    total = tm.tensor(0.0)
    for _ in range(1000):
        total = total + x * x
    total.backward()
    assert x.grad.item() == 4000.0


class Remembers(tm.nn.Module):
    """Keeps its own output as an attribute, as a curious user's module does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tm.nn.MultiHeadAttention(8, 2)
        self.last = None

    def forward(self, x: tm.Tensor) -> tm.Tensor:
        self.last, self.weights = self.inner(x, need_weights=True)
        return self.last


def test_training_leaves_nothing_behind(no_collector: None) -> None:
    model = Remembers()
    optimizer = tm.optim.AdamW(model.parameters())
    x = tm.randn(2, 3, 8)

    def step() -> weakref.ref:
        loss = (model(x) * model.last).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return weakref.ref(loss.grad_fn)

    step()  # kernels are compiled, and compilers leave cycles behind
    gc.collect()
    nodes = [step() for _ in range(1000)]
    assert not any(node() for node in nodes)
    assert gc.collect() == 0, "nothing was in a cycle"


def test_graph_dies_with_its_last_tensor(no_collector: None) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    inner, outer = weakref.ref(y.grad_fn.inputs[0]), weakref.ref(y.grad_fn)
    assert inner()
    del y
    assert not inner()
    assert not outer()


def test_graph_of_a_gradient_dies_with_it(no_collector: None) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x * x).sum()
    (dx,) = tm.autograd.grad(y, x, create_graph=True)
    node = weakref.ref(dx.grad_fn)
    del y, dx
    assert not node()


def test_backward_frees_saved_arrays(no_collector: None) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    inner = x.exp()
    array = weakref.ref(inner.data)
    y = inner.sum()
    del inner
    assert array() is not None, "exp saved its output"
    y.backward()
    assert array() is None


def test_a_node_never_holds_its_own_tensor() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    tensor = weakref.ref(y)
    node = y.grad_fn
    del y
    assert not tensor()
    assert node.op.name == "exp"


def test_nothing_is_recorded_where_nothing_wants_a_gradient() -> None:
    x = tm.randn(3)
    assert (x * x).grad_fn is None
    with tm.no_grad():
        assert (tm.tensor([1.0], requires_grad=True) * 2).grad_fn is None


def test_origin_is_the_line_of_the_caller() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    assert (x * 2).grad_fn.origin is None
    with tm.autograd.record_origin():
        y = tm.nn.functional.softmax(x * 2)
    file, line = y.grad_fn.origin
    assert file == __file__
    with open(file, encoding="utf-8") as lines:
        assert "softmax(x * 2)" in lines.readlines()[line - 1]


def test_origin_inside_a_layer_is_where_the_user_called_it() -> None:
    layer = tm.nn.Linear(2, 2)
    with tm.autograd.record_origin():
        y = layer(tm.ones(1, 2))
    assert y.grad_fn.origin[0] == __file__


def test_nodes_know_the_modules_around_them() -> None:
    block = tm.nn.TransformerBlock(8, 2)
    out = block(tm.randn(1, 3, 8))
    kinds, frame = [], out.grad_fn.inputs[1].frame
    while frame:
        kinds.append(frame.scope.kind)
        frame = frame.outer
    assert kinds == ["Linear", "Sequential", "TransformerBlock"]
