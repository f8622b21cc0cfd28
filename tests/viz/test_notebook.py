"""What a notebook shows: not clipped, in a frame that neither side can reach out of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tests.support import browser as browsers
from tinygrad_mha.viz import notebook, render

#: A cell's output as a notebook has it: inside boxes of its own, with styles of its own.
CELL = """<!doctype html><meta charset="utf-8">
<style>body {{ margin: 0; color: #222 }}
td, button, h1, h2 {{ color: red; font-size: 80px }}</style>
<div id="cell" style="width: {width}px; overflow: hidden">{output}</div>"""


@pytest.fixture(scope="module")
def graph() -> tm.viz.Graph:
    mha = tm.nn.MultiHeadAttention(16, 4)
    tokens = ["the", "</script>", '"cat"', "sat"]
    return tm.viz.trace(mha(tm.randn(1, 4, 16)).sum(), model=mha, tokens=tokens, title='"><b>')


@pytest.fixture(scope="module")
def shown(graph: tm.viz.Graph) -> dict[str, Any]:
    mha, x = tm.nn.MultiHeadAttention(16, 4), tm.randn(1, 4, 16)
    film = tm.viz.Film(mha, x, tokens=list("abcd"), title='"><b>')
    film(1.5)
    return {"graph": graph, "diff": graph.diff(graph, names=('"><b>', "after")), "film": film}


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


@pytest.mark.parametrize("name", ["graph", "diff", "film"])
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
        assert inside.locator("svg, canvas").count() > 0
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


GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("name", ["graph", "diff", "film"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_has_the_colours_of_the_notebook(
    browser: Any, shown: dict[str, Any], name: str, scheme: str, tmp_path: Path
) -> None:
    """Those of the system may be others: editors and notebooks have themes of their own."""
    path = cell(tmp_path, shown[name]._repr_html_(), 900)
    with browsers.opened(browser, path, color_scheme=scheme) as page:
        for letters, around, ground in (
            ("#222222", "light", "rgb(255, 255, 255)"),
            ("rgba(255, 255, 255, 0.87)", "dark", "rgb(18, 24, 31)"),
            ("color(srgb 0.1 0.1 0.1)", "light", "rgb(255, 255, 255)"),
        ):
            page.evaluate("letters => { document.body.style.color = letters }", letters)
            inside = page.frame_locator("iframe")
            inside.locator(f':root[data-around="{around}"]').wait_for()
            assert inside.locator("body").evaluate(f"() => {GROUND}") == ground


def test_what_the_reader_chose_is_kept(browser: Any, graph: tm.viz.Graph, tmp_path: Path) -> None:
    with browsers.opened(browser, cell(tmp_path, graph._repr_html_(), 900)) as page:
        inside = page.frame_locator("iframe")
        inside.locator(':root[data-around="light"]').wait_for()
        inside.locator("#theme").click()  # light
        inside.locator("#theme").click()  # dark
        assert inside.locator("body").evaluate(f"() => {GROUND}") == "rgb(18, 24, 31)"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures_are_saved_from_the_frame(
    browser: Any, graph: tm.viz.Graph, kind: str, tmp_path: Path
) -> None:
    with browsers.opened(browser, cell(tmp_path, graph._repr_html_(), 900)) as page:
        inside = page.frame_locator("iframe")
        inside.locator("#save").click()
        with page.expect_download() as caught:
            inside.locator(f'[data-save="graph.{kind}"]').click()
        assert Path(caught.value.path()).stat().st_size > 1000


def test_nobody_else_tells_the_colours(browser: Any, graph: tm.viz.Graph, tmp_path: Path) -> None:
    with browsers.opened(browser, graph.save(tmp_path / "page.html")) as page:
        page.evaluate("postMessage({ around: 'dark' }, '*')")
        page.evaluate("new Promise(done => setTimeout(done, 50))")
        assert page.locator(":root[data-around]").count() == 0


def test_the_wheel_scrolls_the_notebook_until_one_clicks_into_the_page(
    browser: Any, graph: tm.viz.Graph, tmp_path: Path
) -> None:
    output = graph._repr_html_() + '<div style="height: 3000px"></div>'
    with browsers.opened(browser, cell(tmp_path, output, 900)) as page:
        inside = page.frame_locator("iframe")
        inside.locator(':root[data-around="light"]').wait_for()  # it has come, and is drawn

        def turned() -> tuple[bool, bool]:
            """Turn the wheel over the graph until something moves: the notebook? the graph?"""
            page.evaluate("scrollTo(0, 0)")
            box = inside.locator("#canvas").bounding_box()
            before = inside.locator("#world").get_attribute("transform")
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
            moved = (False, False)
            for _ in range(50):
                page.mouse.wheel(0, 40)
                page.evaluate("new Promise(requestAnimationFrame)")
                zoomed = inside.locator("#world").get_attribute("transform") != before
                moved = (page.evaluate("scrollY > 0"), zoomed)
                if any(moved):
                    break
            return moved

        page.evaluate("scrollTo(0, 2500)")
        for _ in range(100):  # the browser may send a click where the frame was before it scrolled
            page.mouse.click(5, 300)
            if page.evaluate("document.activeElement === document.body"):
                break
            page.evaluate("new Promise(requestAnimationFrame)")
        else:
            pytest.fail("the notebook does not get the focus")
        assert turned() == (True, False)
        inside.locator("h1").click()
        assert turned() == (False, True)


@pytest.mark.parametrize("name", ["graph", "diff", "film"])
def test_where_frames_are_taken_away_words_and_a_picture_stay(
    browser: Any, shown: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """Sanitizers drop an unknown element and keep what is in it."""
    _, _, rest = shown[name]._repr_html_().partition("<iframe")
    inside = rest[rest.index(">") + 1 : rest.rindex("</iframe>")]
    with browsers.opened(browser, cell(tmp_path, inside, 500)) as page:
        assert '"><b>' in page.locator("#cell").inner_text()
        assert "trusted" in page.locator("#cell").inner_text()
        elements = page.evaluate("[...cell.querySelectorAll('*')].map(e => e.localName)")
        assert set(elements) <= {"p", "b", "br", "img"}
        if name != "film":
            page.wait_for_function("cell.querySelector('img').naturalWidth > 0")
            assert page.locator("img").bounding_box()["width"] > 300


def test_a_picture_too_large_to_carry_twice_is_left_out(graph: tm.viz.Graph) -> None:
    for length, there in ((notebook.MOST, True), (notebook.MOST + 1, False)):
        framed = notebook.framed("<p>page</p>", "title", ["words"], " " * length)
        assert ("<img" in framed) == there
