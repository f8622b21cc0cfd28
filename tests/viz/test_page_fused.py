"""The page shows what ran beside the lanes, and goes from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tests.support import browser as browsers


@pytest.fixture(scope="module")
def graph() -> tm.viz.Graph:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 8, embed_dim=8, num_heads=2, num_layers=2)
    loss = tm.cross_entropy(gpt(tm.tensor([[1, 2, 3]]))[0], tm.tensor([2, 3, 4]))
    return tm.viz.trace(loss, gpt, title="</script>")


def symbols(page: Any) -> str:
    page.click("#tab-outline")
    found: str = page.locator("#outline").inner_text()
    page.click("#tab-graph")
    return found


def test_there_and_back(graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]) -> None:
    page = visit(graph.save(tmp_path / "g.html"))
    assert "head 1" in symbols(page)
    assert not page.is_checked("#fused")
    page.evaluate("setTimeout(() => document.getElementById('theme').click())")
    page.wait_for_timeout(50)
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.check("#fused")
    assert page.locator("#title").inner_text() == "</script>"
    assert "self-attention" in symbols(page)
    assert "head 1" not in symbols(page)
    assert page.is_checked("#fused")
    assert page.is_disabled("#lanes")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.keyboard.press("Shift+?")
    page.click("#help-close")
    page.click("#tab-backward")
    page.click("#forth")
    assert page.locator("#position").inner_text().startswith("1 ")
    page.uncheck("#fused")
    assert "head 1" in symbols(page)
    assert page.is_enabled("#lanes")
    assert page.locator("#head-table tbody tr").count() == 4


def test_it_opens_as_it_was_saved(
    graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    page = visit(graph.save(tmp_path / "g.html", heads="fused"))
    assert page.is_checked("#fused")
    assert "self-attention" in symbols(page)
    loaded = tm.viz.load(graph.save(tmp_path / "g.json"))
    assert loaded.to_html() == graph.to_html()
    with pytest.raises(ValueError, match="'lanes' or 'fused'"):
        graph.to_html(heads="both")


def test_where_nothing_was_fused_there_is_no_switch(tmp_path: Path) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    path = tm.viz.trace((x * x).sum()).save(tmp_path / "g.html", heads="fused")
    with browsers.chromium() as browser, browsers.opened(browser, path) as page:
        assert page.locator("#fused").is_hidden()
        assert page.locator("#world .edge").count() > 0


def test_in_the_frame_of_a_notebook(
    graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><title>n</title>{graph._repr_html_()}", "utf-8")
    page = visit(file)
    frame = page.frame_locator("iframe")
    frame.locator("#fused").check()
    frame.locator("#tab-outline").click()
    assert "self-attention" in frame.locator("#outline").inner_text()
    frame.locator("#fused").uncheck()
    frame.locator("#tab-outline").click()
    assert "head 1" in frame.locator("#outline").inner_text()


def test_what_is_shown_stays_where_the_other_graph_has_it(
    graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    page = visit(graph.save(tmp_path / "g.html"))

    def open_modules() -> list[str]:
        found = page.locator("#outline [aria-expanded='true'] > .what").all_inner_texts()
        return [name.strip() for name in found if "head" not in name]

    page.click("#tab-outline")
    page.click("#collapse")
    for name in ("GPT", "blocks.1", "mlp"):
        row = page.locator("#outline .row", has_text=name).first
        if row.get_attribute("aria-expanded") == "false":
            row.click()
    shown = open_modules()
    assert "blocks.1" in shown
    assert "blocks.0" not in shown
    page.uncheck("#head-table [data-lane='0:1']")
    page.locator("#head-table tr", has_text="blocks.1").last.locator("th button").click()
    large = page.locator("#large b").first.inner_text()
    page.check("#gradients")
    page.fill("#search", "op:gelu")
    page.press("#search", "Enter")
    count = page.locator("#found").inner_text()
    page.click("#tab-details")
    page.locator("#view-details button", has_text="linear").first.click()
    chosen = page.locator("#view-details").inner_text()
    assert "linear" in chosen.splitlines()[0]
    assert "blocks.0.mlp" in chosen
    for there in (True, False):
        page.set_checked("#fused", there)
        assert page.locator("#outline").is_visible()
        assert page.input_value("#search") == "op:gelu"
        assert count.split("/")[-1].strip() in page.locator("#found").inner_text()
        assert page.is_checked("#gradients")
        assert page.get_attribute("#tab-details", "aria-selected") == "true"
        assert (
            page.locator("#view-details").inner_text().splitlines()[:2] == chosen.splitlines()[:2]
        )
        assert "blocks.0.mlp" in page.locator("#view-details").inner_text()
        assert set(shown) <= set(open_modules())
    assert not page.is_checked("#head-table [data-lane='0:1']")  # what the other has not comes back
    page.click("#tab-heads")
    assert page.locator("#large b").first.inner_text() == large
    page.click("#tab-backward")
    page.click("#first")
    at = page.locator("#step h2").inner_text()
    page.check("#fused")
    assert page.locator("#step h2").inner_text() == at
    assert page.locator("#position").inner_text().startswith("1 ")


def test_what_is_in_one_graph_only_is_let_go(
    graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    page = visit(graph.save(tmp_path / "g.html"))
    page.fill("#search", "op:dot_scores")
    page.press("#search", "Enter")
    page.click("#tab-details")
    assert "dot_scores" in page.locator("#view-details h2").inner_text()
    page.check("#fused")
    assert page.input_value("#search") == "op:dot_scores"
    assert "The whole computation" in page.locator("#view-details").inner_text()
    page.uncheck("#fused")
    assert page.locator("#found").inner_text().startswith("4")


def test_attention_as_a_whole_stays_chosen(
    graph: tm.viz.Graph, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    page = visit(graph.save(tmp_path / "g.html"))
    page.evaluate("location.hash = '#node=blocks.1.attention'")
    page.wait_for_function("document.querySelector('#view-details h2')?.innerText == 'attention'")
    for there in (True, False, True):
        page.set_checked("#fused", there)
        assert page.locator("#view-details h2").inner_text() == "attention"
        assert "blocks.1.attention" in page.locator("#view-details").inner_text()
