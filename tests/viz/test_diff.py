"""Two graphs compared: what is matched with what, what changed, and how it is shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import browser as browsers
from tests.viz.test_pictures import HOSTILE, safe
from tinygrad_mha.viz.diff import Diff
from tinygrad_mha.viz.match import match

WORDS = ["the", "cat", "sat", "on", "the", "mat"]
WHOLE = 10**6  # elements: all of them


@pytest.fixture(scope="module")
def gpt() -> Any:
    tm.manual_seed(0)
    return tm.nn.GPT(9, 8, embed_dim=8, num_heads=2, num_layers=2)


def loss(gpt: Any, **options: Any) -> Any:
    logits = gpt(tm.tensor([[1, 2, 3, 4, 1, 5]]), **options)
    return tm.cross_entropy(logits.reshape(-1, 9), tm.tensor([2, 3, 4, 1, 5, 6]))


def traced(gpt: Any, elements: int = WHOLE, **options: Any) -> tm.viz.Graph:
    return tm.viz.trace(loss(gpt, **options), model=gpt, tokens=WORDS, elements=elements)


@pytest.fixture(scope="module")
def steps(gpt: Any) -> tuple[tm.viz.Graph, tm.viz.Graph, dict[str, Any]]:
    """Graphs before and after some training, and how the parameters moved."""
    before = traced(gpt)
    start = {name: p.data.copy() for name, p in gpt.named_parameters()}
    optimizer = tm.optim.AdamW(gpt.parameters(), 1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        loss(gpt).backward()
        optimizer.step()
    moved = {n: float(np.linalg.norm(p.data - start[n])) for n, p in gpt.named_parameters()}
    return before, traced(gpt), moved


def of(diff: Diff, state: str) -> list[str]:
    return [change.name for change in diff.changes if change.state == state]


def test_a_graph_is_the_same_as_its_repetition(gpt: Any) -> None:
    diff = traced(gpt).diff(traced(gpt))
    assert diff.same
    assert set(of(diff, "same")) >= {"masked_softmax", "linear", "tokens.weight"}
    assert all(head.moved == 0.0 for head in diff.heads)
    assert "changed" not in diff.table()


def test_two_steps_of_a_training(steps: tuple[Any, Any, dict[str, float]]) -> None:
    before, after, moved = steps
    diff = before.diff(after)
    assert not of(diff, "added") + of(diff, "removed") + of(diff, "reshaped")
    found = {c.name: c.value for c in diff.changes if c.kind == "parameter"}
    assert found.keys() == moved.keys()
    for name, difference in found.items():
        assert difference is not None
        assert difference.exact
        assert difference.distance == pytest.approx(moved[name], rel=1e-4)


def test_summaries_alone_give_a_lower_bound(steps: tuple[Any, Any, dict[str, float]]) -> None:
    before, after, _ = steps
    exact = {(c.before, c.after): c for c in before.diff(after).changes}
    for data in (before.data, after.data):
        assert all(v.elements is not None for v in data.vertices)
    rough = []
    for graph in (before, after):
        data = type(graph.data)(**vars(graph.data))
        data.vertices = [type(v)(**{**vars(v), "elements": None}) for v in data.vertices]
        rough.append(tm.viz.Graph(data))
    diff = rough[0].diff(rough[1])
    assert "≥" in diff.table()
    for change in diff.changes:
        true = exact[change.before, change.after].value
        if change.value is not None and true is not None:
            assert not change.value.exact
            assert change.value.distance <= true.distance * (1 + 1e-5) + 1e-6


def test_a_head_switched_off(gpt: Any) -> None:
    gates = np.ones((2, 2))
    gates[1, 0] = 0
    diff = traced(gpt).diff(traced(gpt, head_mask=gates), names=("on", "off"))
    assert not of(diff, "removed")
    assert set(of(diff, "added")) <= {
        "mul",
        "constant of attention",
        "reshape",
    }  # the gates, and nothing else
    first, second = (head for head in diff.heads if head.layer == "blocks.1.attention")
    assert first.after is not None
    assert first.after.contribution == 0.0
    assert second.after is not None
    assert second.after.contribution > 0.0
    outputs = {change.path: change for change in diff.modules}
    assert diff.is_same(outputs["blocks.0"].value, "value")
    assert not diff.is_same(outputs["blocks.1"].value, "value")


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_fused_and_formula_give_the_same_heads(attention: str) -> None:
    tm.manual_seed(1)
    gpt = tm.nn.GPT(9, 8, embed_dim=8, num_heads=2, num_layers=2, attention=attention)
    fused = traced(gpt)
    for block in gpt.blocks:
        block.attention.method = "formula"
    diff = fused.diff(traced(gpt))
    assert of(diff, "added")
    assert all(diff.is_same(m.value, "value") for m in diff.modules)
    assert all(diff.is_same(m.gradient, "gradient") for m in diff.modules)
    assert len(diff.heads) == 4
    assert max(head.moved for head in diff.heads if head.moved is not None) < 1e-4
    assert all(head.delta is not None for head in diff.heads)


def test_heads_move_as_their_weights_do() -> None:
    mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 4, 8)
    _, old = mha(x, need_weights=True)
    before = tm.viz.trace(mha(x).sum(), model=mha)
    mha.W_q.data[1] *= -3
    _, new = mha(x, need_weights=True)
    diff = before.diff(tm.viz.trace(mha(x).sum(), model=mha))
    assert diff.heads[0].moved == 0.0
    change = new.data[0, 1] - old.data[0, 1]
    assert diff.heads[1].moved == pytest.approx(np.abs(change).sum(-1).mean() / 2, abs=1e-4)
    np.testing.assert_allclose(diff.heads[1].delta, change, atol=2e-5)


def test_two_models_with_other_depths_and_lengths(gpt: Any) -> None:
    tm.manual_seed(2)
    deeper = tm.nn.GPT(9, 8, embed_dim=8, num_heads=4, num_layers=3)
    diff = traced(gpt).diff(traced(deeper))
    added = {
        change.module.split(".pooling")[0] for change in diff.changes if change.state == "added"
    }
    assert "blocks.2.attention" in added
    assert [head.before is None for head in diff.heads if head.layer == "blocks.1.attention"] == [
        False, False, True, True,
    ]  # fmt: skip
    longer = tm.viz.trace(gpt(tm.tensor([[1, 2, 3]])).sum(), model=gpt)
    diff = traced(gpt).diff(longer)
    assert of(diff, "reshaped")
    assert all(head.delta is None for head in diff.heads)
    for one in (diff, longer.diff(traced(gpt))):
        safe(one.to_svg())


def test_every_vertex_is_in_it_once_and_order_does_not_matter(gpt: Any) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    other = tm.viz.trace(mha(tm.randn(1, 6, 8), head_mask=[1.0, 0.5]).sum(), model=mha)
    for a, b in ((traced(gpt), other), (other, traced(gpt))):
        pairs = match(a.data, b.data)
        assert sorted(i for i, _ in pairs if i is not None) == list(range(len(a.data.vertices)))
        assert sorted(j for _, j in pairs if j is not None) == list(range(len(b.data.vertices)))
        assert pairs == match(a.data, b.data)


def test_an_operation_put_in_between_is_all_that_is_new() -> None:
    w = tm.tensor([1.0, 2.0], requires_grad=True)
    before = tm.viz.trace((w.exp() * w).sum())
    after = tm.viz.trace((w.exp().tanh() * w).sum())
    diff = before.diff(after)
    assert of(diff, "added") == ["tanh"]
    assert not of(diff, "removed")
    assert of(after.diff(before), "removed") == ["tanh"]
    svg = diff.to_svg()  # all of it is made of a parameter, and drawn all the same
    assert "tanh" in svg
    assert "added" in svg


def test_nan_is_told() -> None:
    w = tm.tensor([1.0, 2.0], requires_grad=True)
    before = tm.viz.trace(w.log().sum())
    w = tm.tensor([1.0, -2.0], requires_grad=True)
    with np.errstate(invalid="ignore"):
        diff = before.diff(tm.viz.trace(w.log().sum()))
    assert "log" in of(diff, "changed")
    assert "NaN" in diff.table()
    safe(diff.to_svg())


def test_what_cannot_be_compared_says_so(gpt: Any) -> None:
    w = tm.tensor([1.0, 2.0], requires_grad=True)
    graph = tm.viz.trace(w.exp().sum(), title="small")
    with pytest.raises(ValueError, match="'GPT' and 'small' have nothing in common"):
        traced(gpt).diff(graph)
    with pytest.raises(TypeError, match="expected a Graph"):
        graph.diff(w)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tolerance"):
        graph.diff(graph, tolerance=-1)
    with pytest.raises(ValueError, match=r"d\.gif"):
        graph.diff(graph).save("d.gif")
    with pytest.raises(ValueError, match="theme"):
        graph.diff(graph).to_svg(theme="pink")


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_saved_in_every_form(steps: tuple[Any, Any, Any], theme: str, tmp_path: Path) -> None:
    diff = steps[0].diff(steps[1], names=("step 0", "step 5"))
    for suffix in ("svg", "png", "dot", "html", "txt", "json"):
        of_pages = suffix == "html" and theme != "print"
        options = {"theme": theme} if suffix in ("svg", "png", "dot") or of_pages else {}
        first = diff.save(tmp_path / f"a.{suffix}", **options).read_bytes()
        assert first
        assert diff.save(tmp_path / f"b.{suffix}", **options).read_bytes() == first
    with pytest.raises(ValueError, match=r"theme means nothing for \.txt"):
        diff.save(tmp_path / "c.txt", theme=theme)
    with pytest.raises(ValueError, match=r"size means nothing for \.html"):
        diff.save(tmp_path / "c.html", size="slide")
    with pytest.raises(ValueError, match="of a page it can be"):
        diff.save(tmp_path / "c.html", theme="print")
    svg = (tmp_path / "a.svg").read_text("utf-8")
    safe(svg)
    for words in ("step 0", "rose +", "− fell", "head 2", "blocks.1.attention", "masked"):
        assert words in svg, words
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert content["version"] == 1
    assert len(content["heads"]) == 4
    page = (tmp_path / "a.html").read_text("utf-8")
    assert page.count("<script") == 1  # for the colours of a notebook around it
    assert page.count("<svg") == 2


def test_large_maps_are_paths_in_svg_and_fewer_cells_elsewhere() -> None:
    mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 50, 8)
    before = tm.viz.trace(mha(x, is_causal=True).sum(), model=mha)
    mha.W_q.data *= 5
    diff = before.diff(tm.viz.trace(mha(x, is_causal=True).sum(), model=mha))
    svg = diff.to_svg()
    safe(svg)
    assert 'fill="#0a0' not in svg  # every map has taken its place
    assert svg.count('shape-rendering="crispEdges"') > 20
    assert len(svg) < 600_000
    dot = diff.to_dot()
    assert "#0a0" not in dot
    assert 6 * 17**2 < dot.count("FIXEDSIZE") < 7 * 25**2


def test_the_page_shows_one_picture_in_any_size_and_colour(
    steps: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    path = steps[0].diff(steps[1]).save(tmp_path / "d.html")
    with browsers.chromium() as browser:
        for scheme, other in (("light", "dark"), ("dark", "light")):
            for width in (400, 1300):
                size = {"width": width, "height": 800}
                with browsers.opened(browser, path, color_scheme=scheme, viewport=size) as page:
                    assert page.locator(f".{scheme} svg").is_visible()
                    assert not page.locator(f".{other} svg").is_visible()
                    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                    assert page.locator("table").first.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_in_the_colours_that_were_asked_for(
    steps: tuple[Any, Any, Any], theme: str, tmp_path: Path
) -> None:
    path = steps[0].diff(steps[1]).save(tmp_path / "d.html", theme=theme)
    with browsers.chromium() as browser:
        for scheme in ("light", "dark"):
            with browsers.opened(browser, path, color_scheme=scheme) as page:
                assert page.locator(f".{theme} svg").is_visible()
                ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (ground == "rgb(255, 255, 255)") == (theme == "light")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_are_only_text(name: str) -> None:
    model = tm.nn.Module()
    setattr(model, name or "empty", tm.nn.MultiHeadAttention(8, 2))
    (inner,) = model.children()
    graphs = [
        tm.viz.trace(
            inner(tm.randn(1, 2, 8), head_mask=gates).sum(), model, [name, name], title=name
        )
        for gates in (None, [0.0, 1.0])
    ]
    diff = graphs[0].diff(graphs[1], names=(name, "b"))
    safe(diff.to_svg())
    assert diff.table().replace("\n", "").isprintable()
    page = diff.to_html()
    assert page.lower().count("<script") == 1  # the page's own, which asks for a notebook's colours
    for svg in page.split("<svg")[1:]:
        ET.fromstring("<svg" + svg[: svg.index("</svg>")] + "</svg>")
