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
