"""Ablation by running the graph again is ablation by gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mha as tm
from tests.support import browser as browsers
from tinygrad_mha.nn import analysis


@pytest.mark.parametrize("attention", ["dot", "additive", "gaussian"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_stack_without_a_head_is_one_whose_gate_is_0(attention: str, kv_heads: int) -> None:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(
        9, 8, embed_dim=16, num_heads=4, num_layers=3, attention=attention, num_kv_heads=kv_heads
    )
    x, y = tm.tensor([[1, 2, 3, 4, 5], [2, 0, 8, 4, 1]]), tm.tensor([2, 3, 4, 5, 6, 0, 8, 4, 1, 7])

    def loss(gates: Any) -> Any:
        return tm.cross_entropy(gpt(x, head_mask=gates).reshape(-1, 9), y)

    graph = tm.viz.trace(loss(None), model=gpt)
    rows = graph.ablate()
    found = np.array([row.change for row in rows]).reshape(3, 4)
    expected = analysis.ablation_importance(loss, (3, 4))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(expected).max() > 1e-5  # some head matters, or nothing would be tested
    assert [lane.ablation for a in graph.heads for lane in a.lanes] == [r.change for r in rows]


@given(
    heads=st.integers(1, 4), width=st.integers(1, 3), length=st.integers(2, 4),
    batch=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_the_whole_output_is_that_of_gates(
    heads: int, width: int, length: int, batch: int, seed: int
) -> None:
    tm.manual_seed(seed)
    mha = tm.nn.MultiHeadAttention(heads * width, heads).double()
    x = tm.tensor(np.random.default_rng(seed).normal(size=(batch, length, heads * width)))
    rows = tm.viz.trace(mha(x), model=mha).ablate()
    assert len(rows) == heads
    for row in rows:
        gates = np.ones(heads)
        gates[row.head] = 0
        np.testing.assert_allclose(row.output, mha(x, head_mask=gates).data, atol=1e-12)
        assert row.change is None


def test_dropout_drops_the_same_again() -> None:
    tm.manual_seed(0)
    mha = tm.nn.MultiHeadAttention(8, 2, dropout=0.5)
    x = tm.randn(1, 6, 8)
    loss = (mha(x) ** 2).sum()
    graph = tm.viz.trace(loss, model=mha)
    first, again = graph.ablate(), graph.ablate()
    assert first[0].whole == pytest.approx(loss.item())  # not another sample
    assert [row.change for row in first] == [row.change for row in again]


def test_a_module_of_ones_own_needs_no_gates() -> None:
    class Own(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = tm.nn.Linear(6, 6)

        def forward(self, x: Any) -> Any:
            heads = tm.nn.functional.split_heads(self.mix(x), 3)
            weights = (heads @ heads.transpose(-1, -2)).softmax(-1)
            return tm.nn.functional.merge_heads(weights @ heads)

    own = Own()
    x = tm.randn(2, 4, 6)
    (row,) = tm.viz.trace(own(x).sum(), model=own).ablate(0, 1)
    kept = own(x).data.copy()
    kept[..., 2:4] = 0
    assert row.without == pytest.approx(float(kept.sum()), abs=1e-5)
    assert row.layer == ""


def test_of_several_outputs_the_first_number_is_the_loss() -> None:
    mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 3, 8)
    out = mha(x)
    rows = tm.viz.trace([out, out.sum(), (out * 2).sum()], model=mha).ablate(0, 0)
    gated = mha(x, head_mask=[0.0, 1.0]).data
    np.testing.assert_allclose(rows[0].output, gated, atol=1e-6)
    assert rows[0].without == pytest.approx(float(gated.sum()), abs=1e-5)
    assert len(rows[0].outputs) == 3


def test_layers_are_named_by_number_or_path() -> None:
    gpt = tm.nn.GPT(5, 4, embed_dim=4, num_heads=2, num_layers=2)
    graph = tm.viz.trace(gpt(tm.tensor([[1, 2, 3]])).sum(), model=gpt)
    by_path = graph.ablate("blocks.1.attention")
    assert [(row.layer, row.head) for row in by_path] == [
        ("blocks.1.attention", 0),
        ("blocks.1.attention", 1),
    ]
    assert graph.ablate(-1, -1)[0].without == by_path[1].without
    for wrong in (("blocks.7", None), (2, None), (0, 2), (0, -3)):
        with pytest.raises((ValueError, IndexError), match=r"ablate: (layer|head)"):
            graph.ablate(*wrong)


def test_a_model_trained_on_is_not_mixed_up_with_the_traced_one() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace((mha(tm.randn(1, 3, 8)) ** 2).sum(), model=mha)
    mha.W_o.data *= 2
    with pytest.raises(ValueError, match="trace it again"):
        graph.ablate()


def test_what_cannot_be_run_or_has_no_heads_says_so() -> None:
    w = tm.tensor([1.0, 2.0], requires_grad=True)
    graph = tm.viz.trace((w * w).sum())
    with pytest.raises(ValueError, match="no heads"):
        graph.ablate()
    with pytest.raises(ValueError, match="data alone"):
        tm.viz.Graph(graph.data).ablate()


def test_as_a_table() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace((mha(tm.randn(1, 3, 8)) ** 2).sum(), model=mha)
    assert "loss without" not in graph.table()
    rows = graph.ablate()
    assert len(str(rows).splitlines()) == 3
    assert rows.html().count("<tr>") == 3
    assert f"{rows[1].change:+.3g}" in graph.table()
    assert rows.most_needed().change == max(row.change for row in rows)


def test_pictures_and_the_page_show_it(tmp_path: Path) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace((mha(tm.randn(1, 3, 8)) ** 2).mean(), model=mha)
    assert "loss without it" not in graph.to_svg()
    rows = graph.ablate()
    svg = graph.to_svg()
    said = [f"{row.change:+.3g}" for row in rows]
    for change in said:
        assert f"loss without it {change.replace('-', '−')}" in svg
    path = graph.save(tmp_path / "g.html")
    with browsers.chromium() as browser, browsers.opened(browser, path) as page:
        cells = page.locator("#head-table tr").all_inner_texts()
    assert "loss if ablated" in cells[0]
    for row, line in zip(rows, cells[1:], strict=True):
        assert any(_number(cell) == pytest.approx(row.change, rel=5e-3) for cell in line.split())


def _number(text: str) -> float:
    try:
        return float(text.replace("−", "-"))
    except ValueError:
        return float("nan")


def test_heads_are_told_as_labelled_and_as_counted() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace(mha(tm.randn(1, 3, 8)).sum(), model=mha)
    assert "head 2 (index 1)" in str(graph.ablate(0, 1)[0])
    titles, _, last = graph.ablate().text().splitlines()
    assert titles.split()[1:3] == ["head", "index"]
    assert last.split()[1:3] == ["2", "1"]


def test_a_layer_that_has_no_path_says_so() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace(mha(tm.randn(1, 3, 8)).sum(), model=mha)
    with pytest.raises(ValueError, match="layer is 'foo'; the heads here have no path; a number"):
        graph.ablate("foo", 0)


@pytest.mark.parametrize("path", ["blocks.1", "blocks.1.attention", "blocks"])
def test_a_part_is_ablated_in_the_whole(path: str) -> None:
    gpt = tm.nn.GPT(5, 4, embed_dim=4, num_heads=2, num_layers=3)
    graph = tm.viz.trace((gpt(tm.tensor([[1, 2, 3]])) ** 2).mean(), model=gpt)
    if path == "blocks":
        with pytest.raises(ValueError, match="no module of that name ran"):
            graph.part(path)
        return
    part = graph.part(path)
    rows = part.ablate()
    expected = graph.ablate("blocks.1.attention")
    assert [row.change for row in rows] == [row.change for row in expected]
    assert [(row.attention, row.layer, row.head) for row in rows] == [
        (0, "blocks.1.attention", 0),
        (0, "blocks.1.attention", 1),
    ]
    assert [lane.ablation for lane in part.heads[0].lanes] == [row.change for row in rows]
    assert part.ablate("blocks.1.attention", 1)[0].without == rows[1].without
    inner = part.part("blocks.1.attention").ablate(0, 0)
    assert inner[0].change == rows[0].change
    assert "loss without" in part.table()


def test_a_part_of_what_was_loaded_says_what_to_do() -> None:
    gpt = tm.nn.GPT(5, 4, embed_dim=4, num_heads=2, num_layers=2)
    graph = tm.viz.trace(gpt(tm.tensor([[1, 2, 3]])).sum(), model=gpt)
    loaded = tm.viz.Graph.from_json(graph.to_json())
    for one in (loaded, loaded.part("blocks.1")):
        with pytest.raises(ValueError, match=r"data alone, .*call it, and trace what it returns"):
            one.ablate()


def test_a_part_without_heads_has_nothing_to_ablate() -> None:
    gpt = tm.nn.GPT(5, 4, embed_dim=4, num_heads=2, num_layers=2)
    graph = tm.viz.trace(gpt(tm.tensor([[1, 2, 3]])).sum(), model=gpt)
    with pytest.raises(ValueError, match="no heads"):
        graph.part("blocks.1.mlp").ablate()
