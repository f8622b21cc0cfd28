"""Heads computed one after the other: the same lanes as those of one batched computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F

#: Options of the attention, and of its call.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "causal": ({}, {"is_causal": True}),
    "no bias": ({"bias": False}, {}),
    "additive": ({"attention": "additive"}, {"is_causal": True}),
    "gaussian": ({"attention": "gaussian"}, {}),
    "shared keys": ({"num_kv_heads": 2}, {}),
    "rotary": ({"rotary": nn.RotaryPositions(4)}, {}),
    "learned key": ({"add_bias_kv": True}, {}),
    "gates": ({}, {"head_mask": [1.0, 0.5, 0.0, 2.0]}),
    "a mask for each head": ({}, {"mask": np.arange(4 * 9).reshape(4, 3, 3) % 4 != 3}),
}


def traced(
    method: str, options: dict[str, Any], given: dict[str, Any], cross: bool = False
) -> tm.viz.Graph:
    tm.manual_seed(2)
    attention = nn.MultiHeadAttention(16, 4, method=method, **options).double()
    x, y = (tm.randn(2, 3, 16, dtype=np.float64, requires_grad=True) for _ in "xy")
    if "mask" in given:
        given = {**given, "mask": tm.tensor(np.broadcast_to(given["mask"], (2, 4, 3, 3)))}
    out = attention(x, y, y, **given) if cross else attention(x, **given)
    return tm.viz.trace((out * out).mean(), model=attention, tokens=list("abc"), batch=1)


def alike(one: Any, other: Any) -> bool:
    return bool(np.allclose(np.array(one, float), np.array(other, float), 1e-9, 1e-12, True))


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_they_are_the_lanes_of_the_batched_computation(name: str, cross: bool) -> None:
    options, call = CASES[name]
    (batched,), (single,) = (
        traced(method, options, call, cross).heads for method in ("fused", "formula")
    )
    assert single.proof.holds
    assert single.proof.gradient is not None
    for field in ("projections", "stages", "weighted", "combined", "item", "items"):
        assert getattr(single, field) == getattr(batched, field), field
    assert len(single.lanes) == len(batched.lanes) == 4
    for one, other in zip(single.lanes, batched.lanes, strict=True):
        assert (one.head, one.blocks, one.rows, one.columns, one.visible) == (
            (other.head, other.blocks, other.rows, other.columns, other.visible)
        )
        for field in ("weights", "entropy", "peak", "to_self", "to_first", "contribution"):
            assert alike(getattr(one, field), getattr(other, field)), field
        for field in ("gradient", "projected", "staged", "sourced"):
            assert alike(getattr(one, field), getattr(other, field)), field
        assert one.vertices
        assert not other.vertices


@given(
    heads=st.integers(2, 5),
    p=st.integers(1, 3),
    length=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_any_shape_adds_up(heads: int, p: int, length: int, seed: int) -> None:
    tm.manual_seed(seed)
    attention = nn.MultiHeadAttention(heads * p, heads, method="formula").double()
    x = tm.randn(length, heads * p, dtype=np.float64)
    (found,) = tm.viz.trace(attention(x).sum(), model=attention).heads
    assert found.proof.holds
    assert [lane.head for lane in found.lanes] == list(range(heads))


def test_ablating_a_head_is_the_same_rerun() -> None:
    losses = [
        [row.without for row in traced(method, {}, {"is_causal": True}).ablate()]
        for method in ("fused", "formula")
    ]
    assert alike(*losses)
    assert len(losses[0]) == 4


def test_parts_json_and_layers_keep_the_lanes(tmp_path: Path) -> None:
    gpt = nn.GPT(7, 4, embed_dim=8, num_heads=2, num_layers=3)
    for block in gpt.blocks:
        block.attention.method = "formula"
    loss = (gpt(tm.tensor([[1, 2, 3]])) ** 2).mean()
    graph = tm.viz.trace(loss, model=gpt)
    assert [len(a.lanes) for a in graph.heads] == [2, 2, 2]
    assert len(graph.ablate()) == 6
    (part,) = graph.part("blocks.1").heads
    inside = {v for lane in part.lanes for v in lane.vertices}
    assert inside < set(part.vertices)
    assert len(tm.viz.load(graph.save(tmp_path / "g.json")).heads) == 3
    for size in ("slide", "column", None):
        assert "head 2" in graph.to_svg(size=size)


def test_heads_that_are_not_added_up_stay_apart() -> None:
    class Apart(nn.Module):
        """Two heads, each of which is scaled before they meet."""

        def __init__(self) -> None:
            super().__init__()
            self.W = nn.Parameter(tm.randn(2, 4, 4))

        def forward(self, x: Any) -> Any:
            found = []
            for i in range(2):
                q = F.split_heads(F.linear(x, self.W[i]), 1)
                h = F.softmax(q @ q.transpose(-2, -1), -1) @ q
                found.append(F.linear(F.merge_heads(h), self.W[i]) * float(i + 1))
            return found[0] + found[1]

    model = Apart()
    graph = tm.viz.trace((model(tm.randn(1, 3, 4)) ** 2).sum(), model=model)
    assert [len(a.lanes) for a in graph.heads] == [1, 1]
    assert all(a.proof.holds for a in graph.heads)


def test_the_page_opens_a_lane_with_the_operations_of_that_head(visit: Any, tmp_path: Path) -> None:
    page = visit(traced("formula", {}, {"is_causal": True}).save(tmp_path / "page.html"))
    assert page.locator("#canvas .box.lane").count() == 4
    page.click("#expand")
    page.check("#gradients")
    assert page.locator("#canvas [data-key^='a0h2v']").count() == 11
    assert not page.locator("#canvas .edge.together").count()
    page.fill("#search", "op:softmax head:3")
    page.press("#search", "Enter")
    page.click("#tab-details")
    assert "softmax" in page.locator("#view-details h2").inner_text()
    assert "alone; the numbers here" not in page.locator("#view-details").inner_text()
    page.fill("#search", "")
    page.click("#tab-heads")
    assert "not known per head" not in page.locator("#legend").inner_text()
    page.uncheck("#head-table [data-lane='0:1']")
    assert not page.locator("#canvas [data-key^='a0h1v']").count()
    page.uncheck("#lanes")
    assert not page.locator("#canvas .box.lane").count()
