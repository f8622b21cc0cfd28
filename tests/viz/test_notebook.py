"""What a notebook shows: not clipped, in a frame that neither side can reach out of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tests.support import browser as browsers
from tinygrad_mha.viz import render

#: A cell's output as a notebook has it: inside boxes of its own, with styles of its own.
CELL = """<!doctype html><meta charset="utf-8">
<style>body {{ margin: 0 }} td, button, h1, h2 {{ color: red; font-size: 80px }}</style>
<div id="cell" style="width: {width}px; overflow: hidden">{output}</div>"""


@pytest.fixture(scope="module")
def graph() -> tm.viz.Graph:
    mha = tm.nn.MultiHeadAttention(16, 4)
    tokens = ["the", "</script>", '"cat"', "sat"]
    return tm.viz.trace(mha(tm.randn(1, 4, 16)).sum(), model=mha, tokens=tokens, title='"><b>')


@pytest.fixture(scope="module")
def shown(graph: tm.viz.Graph) -> dict[str, Any]:
    return {"graph": graph, "diff": graph.diff(graph, names=('"><b>', "after"))}


def cell(folder: Path, output: str, width: int) -> Path:
    path = folder / "notebook.html"
    path.write_text(CELL.format(width=width, output=output), "utf-8")
    return path


@pytest.mark.parametrize("name", ["graph", "diff"])
@pytest.mark.parametrize("width", [380, 900])
def test_the_svg_is_not_clipped(
    browser: Any, shown: dict[str, Any], name: str, width: int, tmp_path: Path
) -> None:
    with browsers.opened(browser, cell(tmp_path, shown[name]._repr_svg_(), width)) as page:
        box = page.locator("svg").first.bounding_box()
        assert 0 < box["width"] <= width
        drawing = page.evaluate(
            "(() => { const r = document.querySelector('svg > g').getBoundingClientRect();"
            "return [r.left, r.right] })()"
        )
        assert drawing[0] >= box["x"] - 1
        assert drawing[1] <= box["x"] + box["width"] + 1


@pytest.mark.parametrize("name", ["graph", "diff"])
@pytest.mark.parametrize("width", [380, 900])
def test_the_page_works_in_a_frame(
    browser: Any, shown: dict[str, Any], name: str, width: int, tmp_path: Path
) -> None:
    output = shown[name]._repr_html_()
    with browsers.opened(browser, cell(tmp_path, output, width)) as page:
        frame = page.locator("iframe")
        assert frame.bounding_box()["width"] == width
        assert "allow-same-origin" not in frame.get_attribute("sandbox")
        assert '"><b>' in frame.get_attribute("title")
        inside = page.frame_locator("iframe")
        inside.locator("h1, h2").first.wait_for()
        assert inside.locator("svg").count() > 0
        # its styles are its own
        heading = inside.locator("h1, h2").first
        assert heading.evaluate("e => getComputedStyle(e).fontSize") != "80px"


def test_without_a_renderer_there_is_still_the_page(
    graph: tm.viz.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_pure", lambda: None)
    monkeypatch.setattr(render.shutil, "which", lambda name: None)
    diff = graph.diff(graph)
    assert graph._repr_svg_() is None
    assert diff._repr_svg_() is None
    assert "<iframe" in graph._repr_html_()
    assert "No picture: nothing here can draw svg" in diff.to_html()
