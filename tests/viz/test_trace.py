"""The trace: what it records, and that it is the same each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.engine import REGISTRY
from tinygrad_mha.viz.data import VERSION, Trace


def small_model() -> tuple[tm.Tensor, tm.nn.Module]:
    tm.manual_seed(1)
    model = tm.nn.GPT(11, 8, embed_dim=8, num_heads=2, num_layers=2)
    tokens = tm.tensor([[1, 2, 3, 4, 5]])
    loss = tm.cross_entropy(model(tokens).reshape(-1, 11), tm.tensor([2, 3, 4, 5, 6]))
    return loss, model


def test_every_use_of_a_value_is_an_edge() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    data = tm.viz.trace((x * x).sum()).data
    assert [(e.source, e.target, e.slot) for e in data.edges] == [
        (0, 1, "a"),
        (0, 1, "b"),
        (1, 2, "x"),
    ]
    assert [v.kind for v in data.vertices] == ["parameter", "op", "op"]


def test_values_and_gradients_are_those_of_the_computation() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    data = tm.viz.trace((x * x).sum()).data
    leaf, square, total = data.vertices
    assert (leaf.elements, leaf.gradient_elements) == ([2, 3], [4, 6])
    assert (square.elements, square.gradient_elements) == ([4, 9], [1, 1])
    assert total.value is not None
    assert total.value.mean == 13
    assert data.edges[0].gradient == pytest.approx(np.hypot(2, 3))
    assert data.edges[0].rule == "da = dy · b"


def test_a_trace_does_not_need_what_backward_has_freed_nor_change_it() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    y = (x * x).sum()
    before = tm.viz.trace(y).data
    assert x.grad is None
    y.backward()
    after = tm.viz.trace(y).data
    assert x.grad.tolist() == [4, 6]
    assert [v.freed for v in before.vertices] == [False, False, False]
    assert [v.freed for v in after.vertices] == [False, True, False]  # sum kept only a shape
    after.vertices[1].freed = False
    assert after == before


def test_steps_of_a_fused_operation_are_freed_when_it_is() -> None:
    x = tm.randn(1, 3, 4, requires_grad=True)
    loss = (tm.nn.functional.scaled_dot_product_attention(x, x, x) * 2.0).sum()
    assert not any(v.freed for v in tm.viz.trace(loss).data.vertices)
    loss.backward()
    freed = {v.name for v in tm.viz.trace(loss).data.vertices if v.freed}
    assert {"softmax", "matmul"} <= freed


def test_memory_is_told_of_values_and_of_what_is_kept_for_backward() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    data = tm.viz.trace((x * x).sum()).data
    leaf, square, total = data.vertices
    assert (leaf.bytes, square.bytes, total.bytes) == (8, 8, 4)
    assert [(s.name, s.shape, s.bytes) for s in square.saved] == [("a", (2,), 8), ("b", (2,), 8)]
    assert leaf.saved == total.saved == []


def test_a_users_function_tells_what_it_keeps() -> None:
    class Cube(tm.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: np.ndarray) -> np.ndarray:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, dy: tm.Tensor) -> tm.Tensor:
            (x,) = ctx.saved_tensors
            return dy * 3 * x * x

    x = tm.tensor([2.0, 3.0, 4.0], requires_grad=True)
    cube = tm.viz.trace(Cube.apply(x).sum()).data.vertices[1]
    assert [(s.name, s.shape, s.bytes) for s in cube.saved] == [("saved_tensors", (3,), 12)]


def test_time_is_recorded_when_asked_for() -> None:
    loss, model = small_model()
    plain, timed = (
        tm.viz.trace(loss, model=model, record_time=record).data for record in (False, True)
    )
    assert {v.seconds for v in plain.vertices} == {s.seconds for s in plain.steps} == {None}
    assert all((v.seconds or 0) > 0 for v in timed.vertices if v.kind == "op")
    assert all((s.seconds or 0) > 0 for s in timed.steps)


def test_several_outputs_are_one_trace() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    square = x * x
    total, least = square.sum(), square.amin()
    data = tm.viz.trace([least, total]).data
    values = [data.vertices[i].elements for i in data.outputs]
    assert values == [[4.0], [13.0]], "in the order in which they were given"
    assert data.vertices[0].gradient_elements == [8, 6], "the gradients of both add up"
    one = tm.viz.trace([least, total], gradient=[None, tm.tensor(10.0)]).data
    assert one.vertices[0].gradient_elements == [44, 60]


def test_a_module_is_called_with_what_follows_it() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    x = tm.randn(1, 3, 8)
    assert tm.viz.trace(mha, x).to_json() == tm.viz.trace(mha(x), mha).to_json()
    causal = tm.viz.trace(mha, {"query": x, "is_causal": True, "need_weights": True})
    assert len(causal.data.outputs) == 2, "the output and the weights"
    assert not causal.heads[0].lanes[0].visible[0][1]
    assert len(tm.viz.trace(mha, (x, x, x)).heads) == 1
    with pytest.raises(TypeError, match=r"trace\(model, x\)"):
        tm.viz.trace(mha)


def test_a_gradient_that_was_not_computed_is_not_zero() -> None:
    x = tm.tensor([2.0, 3.0], requires_grad=True)
    graph = tm.viz.trace(x * x)
    assert graph.data.steps == []
    assert {v.gradient for v in graph.data.vertices} == {None}
    assert "not computed" in graph.to_dot()
    given = tm.viz.trace(x * x, gradient=tm.tensor([1.0, 10.0]))
    assert given.data.vertices[0].gradient_elements == [4, 60]


def test_steps_are_the_engines_own() -> None:
    loss, model = small_model()
    data = tm.viz.trace(loss, model=model).fused
    engine = [step.node.op.name for step in tm.autograd.steps(loss)]
    assert [data.vertices[step.vertex].name for step in data.steps] == engine
    assert any(flow[4] for step in data.steps for flow in step.flows)  # a fan-out meets
    assert any(step.freed for step in data.steps)


def test_modules_and_parameters_have_their_names() -> None:
    loss, model = small_model()
    data = tm.viz.trace(loss, model=model).data
    paths = {m.path for m in data.modules}
    assert {"", "blocks.0", "blocks.1.attention", "blocks.1.mlp.0", "norm"} <= paths
    parents = {m.path: data.modules[m.parent].path for m in data.modules if m.parent is not None}
    assert parents["blocks.1.attention"] == "blocks.1"
    names = {v.name for v in data.vertices if v.kind == "parameter"}
    assert names == {name for name, _ in model.named_parameters()}


def test_lines_are_recorded_when_asked_for() -> None:
    x = tm.tensor([2.0], requires_grad=True)
    with tm.autograd.record_origin():
        y = x * 3
    made = tm.viz.trace(y).data.vertices[-1].made
    assert made is not None
    assert made[0] == __file__


def test_numbers_that_are_no_numbers_are_seen() -> None:
    x = tm.tensor([1.0, np.inf, np.nan, 2.0], requires_grad=True)
    graph = tm.viz.trace(x * 1.0)
    value = graph.data.vertices[-1].value
    assert value is not None
    assert (value.nans, value.infinities, value.high) == (1, 1, 2.0)
    assert json.loads(graph.to_json())["vertices"][-1]["elements"] == [1.0, "inf", "nan", 2.0]


def test_json_holds_everything_and_says_its_version() -> None:
    loss, model = small_model()
    data = json.loads(tm.viz.trace(loss, model=model, tokens=list("abcde")).to_json())
    assert data["version"] == VERSION
    assert set(data) == set(Trace.__dataclass_fields__)
    assert data["attentions"][0]["lanes"][1]["rows"] == list("abcde")


SAME = (
    "from tests.viz.test_trace import small_model\n"
    "import hashlib, tinygrad_mha as tm\n"
    "loss, model = small_model()\n"
    "graph = tm.viz.trace(loss, model=model, tokens=list('abcde'))\n"
    "every = graph.to_json() + graph.to_dot() + graph.to_html() + graph.to_svg()\n"
    "print(hashlib.sha256(every.encode()).hexdigest())\n"
)


def test_the_same_computation_gives_the_same_bytes_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_deep_graphs_need_no_recursion() -> None:
    x = tm.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    data = tm.viz.trace(y).data
    assert len(data.steps) == 20_000
    assert data.vertices[0].gradient_elements == [1.0]


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        (np.ones(3), TypeError, "output is a ndarray, expected a Tensor"),
        ([np.ones(3)], TypeError, r"output\[0\] is a ndarray"),
        ([], TypeError, "output is a list, expected a Tensor"),
        (tm.ones(3), ValueError, "has no graph"),
    ],
)
def test_what_cannot_be_traced(output: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tm.viz.trace(output)  # type: ignore[arg-type]


def test_zero_sizes_and_scalars() -> None:
    x = tm.zeros(0, 3, requires_grad=True)
    graph = tm.viz.trace((x * 2.0).sum())
    assert graph.data.vertices[0].value is not None
    assert graph.data.vertices[0].value.norm is None
    assert "0×3" in graph.table()
    graph.to_svg()


def test_table_and_explain_read_well() -> None:
    loss, model = small_model()
    table = tm.viz.trace(loss, model=model).table()
    assert "cross_entropy" in table.splitlines()[-1] or "cross_entropy" in table
    assert "Σ lanes = output" in table
    words = tm.viz.explain("matmul")
    assert "dA = dC · Bᵀ" in words
    assert "linalg.py:" in words
    with pytest.raises(KeyError, match="did you mean softmax"):
        tm.viz.explain("sofmax")


def test_explain_says_why_and_what_runs() -> None:
    words = tm.viz.explain("softmax")
    assert "quotient rule" in words
    assert "kernels.softmax\n" in words
    assert "reference.softmax, " in words
    assert "backend numba" in words
    assert "normalize.py:" in words
    assert "NumPy on either backend: reference.exp" in tm.viz.explain("exp")
    assert "matrix.column_sums, " in tm.viz.explain("linear"), "by way of a helper"
    gelu = tm.viz.explain("gelu")
    assert "elements.gelu, " in gelu, "behind a table of its versions"
    assert "elements.gelu_tanh, " in gelu
    assert "np.argmax" in tm.viz.explain("argmax")
    assert "It has no gradient." in tm.viz.explain("argmax")
    assert "no gradient of: target" in tm.viz.explain("cross_entropy")


def test_explain_of_every_operation() -> None:
    for name in REGISTRY:
        words = tm.viz.explain(name)
        assert "what runs:" in words
        assert "`" not in words, "no markup in a terminal"


@pytest.mark.parametrize(
    "name",
    [
        "matmul",
        "linear",
        "softmax",
        "log_softmax",
        "cross_entropy",
        "layer_norm",
        "mul",
        "div",
        "exp",
        "log",
        "tanh",
        "sigmoid",
        "relu",
        "gelu",
        "sum",
        "mean",
        "amax",
        "reshape",
        "getitem",
        "embedding",
        "dot_scores",
        "additive_scores",
        "additive_attention",
        "attention",
    ],
)
def test_main_operations_have_a_derivation(name: str) -> None:
    assert len(REGISTRY[name].derivation.split(".")) > 1


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("Softmax", "softmax"), ("log-softmax", "log_softmax"), ("layernorm", "layer_norm")],
)
def test_explain_suggests_what_was_meant(asked: str, meant: str) -> None:
    with pytest.raises(KeyError, match=f"did you mean .*{meant}"):
        tm.viz.explain(asked)


def test_table_cuts_long_names_and_aligns_numbers() -> None:
    class Outermost(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a_name_that_is_really_very_long = tm.nn.Sequential(tm.nn.Sequential(tm.nn.Tanh()))

        def forward(self, x: tm.Tensor) -> tm.Tensor:
            return self.a_name_that_is_really_very_long(x)

    model = Outermost()
    x = tm.randn(2, 3, requires_grad=True)
    parts = [model(x) for _ in range(30)]
    lines = tm.viz.trace(tm.cat(parts).sum(), model=model).table().splitlines()
    assert "…" in lines[1], "the beginning of a path goes"
    assert "long.0.0" in lines[1], "its end stays"
    assert max(map(len, lines)) < 160
    places = {line.index("2×3") for line in lines[1:31]}
    assert len(places) == 1, "columns stand under each other"
    assert lines[1].index("tanh") == lines[0].index("operation")


def test_table_tells_time_and_memory_when_they_were_recorded() -> None:
    x = tm.ones(1000, requires_grad=True)
    loss = (x * x).sum()
    plain, timed = (tm.viz.trace(loss, record_time=record).table() for record in (False, True))
    assert "kept" not in plain
    assert timed.splitlines()[0].split()[-4:] == ["forward", "backward", "kept", "formula"]
    product = timed.splitlines()[1]
    assert re.search(r"\d (ns|µs|ms)  +[\d.]+ (ns|µs|ms)  +8 kB", product), product


def test_table_shows_a_norm_that_is_no_number() -> None:
    x = tm.tensor([1.0, np.nan], requires_grad=True)
    assert "nan" in tm.viz.trace((x * 2.0).sum()).table().splitlines()[1]


def test_table_without_modules_has_no_column_for_them() -> None:
    x = tm.ones(2, requires_grad=True)
    assert "module" not in tm.viz.trace((x * x).sum()).table()


@pytest.mark.parametrize(
    ("name", "begins"),
    [("cat", "concatenate"), ("max", "amax, argmax"), ("clip", "clamp"),
     ("scaled_dot_product_attention", "attention")],
)  # fmt: skip
def test_explain_knows_public_functions(name: str, begins: str) -> None:
    words = tm.viz.explain(name)
    assert words.startswith(f"{name}(")
    assert re.search(r"written in .*\.py:\d+", words)
    assert begins in words.partition("no operation of its own")[2]


def test_explain_of_every_public_function() -> None:
    for room in (tm, tm.nn.functional):
        for name, thing in vars(room).items():
            ours = getattr(thing, "__module__", "").startswith("tinygrad_mha.ops")
            if ours and not name.startswith("_") and not isinstance(thing, type):
                assert "`" not in tm.viz.explain(name)


def test_explain_of_nothing_is_short() -> None:
    with pytest.raises(KeyError) as caught:
        tm.viz.explain("qqqqq")
    assert len(str(caught.value)) < 120


def cross(queries: int, keys: int) -> tuple[tm.Tensor, tm.nn.Module]:
    mha = tm.nn.MultiHeadAttention(8, 2)
    memory = tm.randn(1, keys, 8)
    return mha(tm.randn(1, queries, 8), memory, memory).sum(), mha


@pytest.mark.parametrize("count", [3, 5])
def test_tokens_label_the_side_that_has_as_many(count: int) -> None:
    loss, mha = cross(3, 5)
    tokens = [f"t{i}" for i in range(count)]
    lane = tm.viz.trace(loss, model=mha, tokens=tokens).heads[0].lanes[0]
    assert (lane.rows == tokens) == (count == 3)
    assert (lane.columns == tokens) == (count == 5)
    assert lane.rows == tokens or lane.rows == ["0", "1", "2"]


@pytest.mark.parametrize("count", [1, 4, 6])
def test_tokens_of_another_length_are_refused(count: int) -> None:
    loss, mha = cross(3, 5)
    with pytest.raises(ValueError, match=rf"{count} tokens, .* L = 3, S = 5"):
        tm.viz.trace(loss, model=mha, tokens=["t"] * count)


def test_tokens_may_be_those_of_one_of_several_attentions_or_of_an_input() -> None:
    (one, first), (other, _) = cross(3, 3), cross(4, 7)
    for count in (3, 4, 7):
        tm.viz.trace([one, other], tokens=["t"] * count)
    with pytest.raises(ValueError, match="L = 3, S = 3, L = 4, S = 7"):
        tm.viz.trace([one, other], model=first, tokens=["t"] * 5)
    line = tm.nn.Linear(2, 2)
    tm.viz.trace(line(tm.ones(1, 6, 2)).sum(), model=line, tokens=["t"] * 6)
    with pytest.raises(ValueError, match=r"inputs have .*6"):
        tm.viz.trace(line(tm.ones(1, 6, 2)).sum(), model=line, tokens=["t"] * 5)


def test_more_tokens_than_a_map_has_cells() -> None:
    mha = tm.nn.MultiHeadAttention(4, 1)
    tokens = [str(i) for i in range(150)]
    lane = tm.viz.trace(mha(tm.randn(1, 150, 4)).sum(), model=mha, tokens=tokens).heads[0].lanes[0]
    assert len(lane.rows) < 150
    assert lane.rows[1].endswith("…")


def test_a_model_that_took_no_part_is_refused() -> None:
    loss, mha = cross(3, 3)
    with pytest.raises(ValueError, match="no operation of this graph ran inside model"):
        tm.viz.trace(loss, model=tm.nn.MultiHeadAttention(8, 2))
    tm.viz.trace(loss, model=tm.nn.Sequential(mha))  # around what ran
    tm.viz.trace((mha.W_o * 2.0).sum(), model=mha)  # its parameters alone
