"""Inputs are called what the module that a person called calls them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm


def inputs(graph: tm.viz.Graph) -> list[str]:
    return [v.name for v in graph.data.vertices if v.kind == "input"]


@pytest.mark.parametrize("batch", [(), (1,), (2,)])
@pytest.mark.parametrize("wants", [False, True])
def test_across(batch: tuple[int, ...], wants: bool) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    q, k, v = (tm.randn(*batch, n, 8, requires_grad=wants) for n in (3, 5, 5))
    assert inputs(tm.viz.trace(mha(q, k, v).sum(), mha)) == ["query", "key", "value"]
    assert inputs(tm.viz.trace(mha, {"value": v, "query": q, "key": k})) == [
        "query",
        "key",
        "value",
    ]
    both = inputs(tm.viz.trace(mha(q, k, k).sum(), mha))
    assert list(dict.fromkeys(both)) == ["query", "key, value"]
    assert inputs(tm.viz.trace(mha(q).sum(), mha)) == ["query"]
    fused = tm.viz.trace(mha(q).sum(), mha).fused
    assert [v.name for v in fused.vertices if v.kind == "input"] == ["query"]


def test_a_translator() -> None:
    model = tm.nn.EncoderDecoder(5, 7, embed_dim=8, num_heads=2, num_layers=1)
    out = model(tm.tensor([[1, 2, 3]]), tm.tensor([[1, 2]]), [3])
    names = inputs(tm.viz.trace(out.sum(), model))
    assert names[0] == "source"
    assert "target" in names
    assert "constant of positions" in names, "which the module made itself"
    assert not {"x", "a", "b", "index"} & set(names)


def test_a_module_of_ones_own_and_what_it_was_not_given() -> None:
    apart = tm.ones(2, 3)

    class Own(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tm.nn.Linear(3, 3)

        def forward(self, first: tm.Tensor, *, second: tm.Tensor, times: float = 2.0) -> Any:
            return self.inner(first) * second + self.inner(apart) * times

    model, first = Own(), tm.ones(2, 3)
    out = model(first, second=tm.ones(2, 3))
    assert inputs(tm.viz.trace(out, model)) == ["first", "second", "x of inner"]
    assert inputs(tm.viz.trace(out)) == ["first", "second", "x of Linear"]


def test_a_buffer_has_its_own_name() -> None:
    class Own(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tm.nn.Parameter(tm.ones(3))
            self.register_buffer("table", tm.arange(3.0))

        def forward(self, x: tm.Tensor) -> Any:
            return x * self.w + self.table

    model = Own()
    assert inputs(tm.viz.trace(model(tm.ones(3)).sum(), model)) == ["x", "table"]


def test_outside_of_modules_an_input_is_what_the_operation_calls_it() -> None:
    w = tm.ones(3, requires_grad=True)
    assert inputs(tm.viz.trace((w * tm.ones(3)).sum())) == ["b"]


def test_a_leaf_that_was_given_is_an_input_with_a_gradient() -> None:
    line = tm.nn.Linear(2, 2)
    x = tm.ones(1, 2, requires_grad=True)
    graph = tm.viz.trace(line(x).sum(), line)
    (vertex,) = [v for v in graph.data.vertices if v.kind == "input"]
    assert vertex.name == "x"
    assert vertex.gradient is not None
    dot = graph.to_dot()
    assert "‖∇‖" in dot.split("<B>x</B>")[1].split("</TABLE>")[0]


def test_a_graph_keeps_nothing_alive_for_a_name() -> None:
    class Counts(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tm.nn.Parameter(tm.ones(3))

        def forward(self, x: tm.Tensor) -> Any:
            return self.w * float(x.data.sum())

    model = Counts()
    x = np.ones(1000)
    kept = weakref.ref(x.view(np.ndarray))
    out = model(tm.Tensor(x))
    array = weakref.ref(x)
    del x, kept
    gc.collect()
    assert array() is None
    # arrays of later calls may come to lie where that one lay; they are not it
    for _ in range(50):
        out = out * tm.Tensor(np.ones(3, np.float32))
    assert set(inputs(tm.viz.trace(out, model))) <= {"b"}


def test_a_forward_of_any_kind_of_arguments() -> None:
    class Every(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tm.nn.Parameter(tm.ones(2))

        def forward(self, *parts: Any, **more: Any) -> Any:
            return self.w * parts[0] + self.w * more["last"] + parts[1][0]

    model = Every()
    out = model(tm.ones(2), [tm.ones(2)], last=tm.ones(2))
    names = inputs(tm.viz.trace(out, model))
    assert names[1] == "last"
    assert len(names) == 3
