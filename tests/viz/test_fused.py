"""What actually ran, beside the lanes: fused operations as one each, the heads as an axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_mha as tm

from .test_trace import small_model


def layers(count: int) -> tm.viz.Graph:
    tm.manual_seed(0)
    model = tm.nn.GPT(9, 8, embed_dim=16, num_heads=4, num_layers=count)
    return tm.viz.trace((model(tm.tensor([[1, 2, 3]])) ** 2).mean(), model)


def test_both_forms_are_of_one_computation() -> None:
    loss, model = small_model()
    graph = tm.viz.trace(loss, model=model)
    ran, steps = graph.fused, graph.data
    assert "self_attention" in {v.name for v in ran.vertices}
    assert "self_attention" not in {v.name for v in steps.vertices}
    assert ran.attentions == []
    assert ran.fused is None
    ends = [data.vertices[data.outputs[0]].value for data in (ran, steps)]
    assert ends[0].mean == pytest.approx(ends[1].mean)  # type: ignore[union-attr]
    leaves = [
        {v.name: v.gradient.norm for v in data.vertices if v.kind == "parameter" and v.gradient}
        for data in (ran, steps)
    ]
    assert leaves[0] == pytest.approx(leaves[1], rel=1e-4, abs=1e-6)


def test_the_heads_of_a_fused_operation_are_an_axis_of_its_value() -> None:
    for vertex in layers(1).fused.vertices:
        if vertex.name == "self_attention":
            assert vertex.heads == (1, 4)
            assert vertex.shape[1] == 4
    ran = layers(1).fused
    (edge,) = [e for e in ran.edges if ran.vertices[e.source].name == "self_attention"]
    assert edge.head_gradients is not None
    assert np.hypot.reduce(edge.head_gradients) == pytest.approx(edge.gradient, rel=1e-5)


def test_where_nothing_is_fused_there_is_one_form() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    graph = tm.viz.trace((x * x).sum())
    assert graph.data.fused is None
    assert graph.fused is graph.data


@pytest.mark.parametrize("count", [2, 6, 24])
def test_a_large_model_is_neither_one_box_nor_every_operation(count: int) -> None:
    dot = layers(count).to_dot(heads="fused")
    assert "self-attention" in dot
    assert "Σ Wᵢ hᵢ" in dot
    boxes = sum(" [label=" in line for line in dot.splitlines())
    assert 12 < boxes < 45
    assert (f"TransformerBlock × {count - 1}" in dot) == (count > 2)
    assert "<B>W_q</B>" in dot, "without the path, which the frame around it says"


def test_a_part_has_both_forms_too(tmp_path: Path) -> None:
    graph = layers(3)
    part = graph.part("blocks.1")
    assert "self_attention" in {v.name for v in part.fused.vertices}
    again = tm.viz.load(part.save(tmp_path / "part.json"))
    assert again.data == part.data
    assert again.to_dot(heads="fused") == part.to_dot(heads="fused")
    assert again.fused.title == part.data.title


def test_time_is_recorded_of_what_ran() -> None:
    loss, model = small_model()
    graph = tm.viz.trace(loss, model=model, record_time=True)
    assert all((v.seconds or 0) > 0 for v in graph.fused.vertices if v.kind == "op")
