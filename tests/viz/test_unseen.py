"""Gradients that a softmax makes zero: which they are, and that nothing calls them an alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F
from tinygrad_mha.viz.flow import UNSEEN


def heads(*, cross: bool = False, **options: Any) -> Callable[[], tuple[Any, Any]]:
    """A multi-head attention and a loss of it."""

    def make() -> tuple[Any, Any]:
        attention = nn.MultiHeadAttention(8, 4, **options).double()
        for parameter in attention.parameters():  # biases begin at zero
            parameter.data[...] = np.random.default_rng(3).normal(size=parameter.shape)
        x, y = (tm.randn(2, n, 8, dtype=np.float64) for n in (5, 3))
        out = attention(x, y, y) if cross else attention(x, is_causal=True)
        return (out * out).mean(), attention

    return make


class Own(nn.Module):
    """Attention as one writes it without this package's parts."""

    def __init__(self, fill: float = -np.inf, moved: bool = False) -> None:
        super().__init__()
        self.W_q, self.W_k = (nn.Parameter(tm.randn(4, 4, dtype=np.float64)) for _ in "qk")
        self.b_k = nn.Parameter(tm.randn(4, dtype=np.float64))
        self.b = nn.Parameter(tm.randn(5, 1, dtype=np.float64))
        self.fill, self.moved = fill, moved

    def forward(self, x: Any) -> Any:
        keys = x @ self.W_k + self.b_k
        if self.moved:
            keys = keys * tm.arange(5, dtype=np.float64).reshape(5, 1)
        scores = -((x @ self.W_q) @ keys.transpose(-2, -1)) / 2.0 + self.b
        later = np.triu(np.ones((5, 5), bool), 1)
        return F.softmax(scores.masked_fill(tm.tensor(later), self.fill), -1) @ x


def own(**options: Any) -> Callable[[], tuple[Any, Any]]:
    def make() -> tuple[Any, Any]:
        model = Own(**options)
        out = model(tm.randn(2, 5, 4, dtype=np.float64))
        return (out * out).sum(), model

    return make


def gpt() -> tuple[Any, Any]:
    model = nn.GPT(7, 6, embed_dim=8, num_heads=2, num_layers=2).double()
    out = model(tm.tensor([[1, 2, 3, 4]]))
    return (out * out).mean(), model


#: What is computed, and the parameters in which a softmax sees no change.
CASES: dict[str, tuple[Callable[[], tuple[Any, Any]], set[str]]] = {
    "dot": (heads(), {"b_k"}),
    "cross": (heads(cross=True), {"b_k"}),
    "formula": (heads(method="formula"), {"b_k"}),
    "shared keys": (heads(num_kv_heads=2), {"b_k"}),
    "no bias": (heads(bias=False), set()),
    "a learned key beside": (heads(add_bias_kv=True), set()),
    "a key of zeros beside": (heads(add_zero_attn=True), set()),
    "additive": (heads(attention="additive"), set()),
    "gaussian": (heads(attention="gaussian"), set()),
    "rotary": (heads(rotary=nn.RotaryPositions(2)), set()),
    "gpt": (gpt, {"blocks.0.attention.b_k", "blocks.1.attention.b_k"}),
    "own": (own(), {"b_k", "b"}),
    "own, masked by a number": (own(fill=-1e9), {"b_k", "b"}),
    "own, not really masked": (own(fill=0.0), set()),
    "own, keys stretched": (own(moved=True), {"b"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_softmax_sees_is_found_and_nothing_else(name: str) -> None:
    make, names = CASES[name]
    loss, model = make()
    graph = tm.viz.trace(loss, model=model)
    for data in (graph.data, graph.fused):
        found = {v.name for v in data.vertices if v.unseen and v.kind == "parameter"}
        assert found == names
        largest = max(v.gradient.norm or 0 for v in data.vertices if v.gradient)
        for v in data.vertices:
            if v.unseen:
                assert v.gradient is not None
                assert (v.gradient.norm or 0) < 1e-12 * largest, v.name
    loss.backward()
    for parameter, value in model.named_parameters():
        if parameter not in names:  # what is not marked has a gradient
            assert np.abs(value.grad.data).max() > 1e-12 * largest, parameter


def test_without_a_gradient_nothing_is_marked() -> None:
    graph = tm.viz.trace(nn.MultiHeadAttention(8, 2), tm.randn(1, 3, 8))
    assert not any(v.unseen for v in graph.data.vertices)


def test_a_value_that_is_an_output_too_is_seen() -> None:
    loss, model = own()()
    graph = tm.viz.trace([loss, (model.b_k * 2.0).sum()], model=model)
    assert {v.name for v in graph.data.vertices if v.unseen} == {"b"}


def layer() -> tm.viz.Graph:
    attention = nn.MultiHeadAttention(8, 2)
    out = attention(tm.randn(1, 4, 8))
    return tm.viz.trace((out * out).mean(), model=attention)


def test_tables_and_pictures_say_why_instead_of_raising_an_alarm() -> None:
    graph = layer()
    table = graph.table(whole=True)
    assert table.count("≈ 0 ") == 2
    assert f"≈ {UNSEEN}." in table
    for direction in ("forward", "backward", "both"):
        dot = graph.to_dot(heads="fused", direction=direction)
        assert "‖∇‖ ≈ 0" in dot
        assert f"≈ {UNSEEN}" in dot
        assert "vanishing" not in dot
    assert UNSEEN not in graph.to_dot()  # b_k has no box there


def test_the_page_says_why_wherever_the_gradient_stands(visit: Any, tmp_path: Path) -> None:
    page = visit(layer().save(tmp_path / "page.html"))
    page.click("#tab-details")
    panel = page.locator("#view-details")
    row = panel.locator(".parameter", has_text="b_k")
    assert row.locator(".flow").inner_text() == "∇ ≈ 0"
    assert not row.locator(".alarm").count()
    assert f"≈ {UNSEEN}." in panel.inner_text()
    row.locator("button").click()
    assert UNSEEN in panel.inner_text()
    page.check("#leaves")
    page.check("#gradients")
    assert page.locator("#legend .sample", has_text="≈ 0").get_attribute("title") == f"≈ {UNSEEN}"
    page.click("#expand")
    assert page.locator("#canvas .edge.shift").count()
    assert not page.locator("#canvas .edge.vanishing, #canvas .norm.vanishing").count()
    page.click("#tab-backward")
    said = []
    for _ in range(int(page.get_attribute("#slider", "max") or 0) + 1):
        page.click("#forth")
        said.append(page.locator("#step").inner_text())
        assert not page.locator("#step .alarm").count()
    assert any(UNSEEN in words for words in said)
