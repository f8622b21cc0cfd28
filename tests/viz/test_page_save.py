"""Pictures saved from the page: files of their own, as they were seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import tinygrad_mha as tm

from .test_page import TOKENS, WIDE, small_gpt

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gpt, logits = small_gpt(1, 2)
    loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7]))
    graph = tm.viz.trace(loss, model=gpt, tokens=TOKENS, title="A <b>small</b> GPT")
    return graph.save(tmp_path_factory.mktemp("pages") / "gpt.html")


def saved(page: Any, what: str, folder: Path) -> Path:
    page.click("#save")
    with page.expect_download() as caught:
        page.click(f'[data-save="{what}"]')
    name = caught.value.suggested_filename
    assert page.locator("#announce").inner_text() == f"{name} saved"
    assert page.locator("#save-menu").is_hidden()
    caught.value.save_as(folder / name)
    return folder / name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_graph_is_what_was_seen(
    visit: Callable[..., Any], path: Path, tmp_path: Path, scheme: str
) -> None:
    page = visit(path, color_scheme=scheme, **WIDE)
    page.check("#gradients")
    for _ in range(5):
        page.click("#zoom-out")  # the notes are not seen from so far, but they are saved
    file = saved(page, "graph.svg", tmp_path)
    assert file.name == "a-b-small-b-gpt-graph.svg"
    text = file.read_text("utf-8")
    root = ElementTree.fromstring(text)
    for banned in ("var(", "light-dark", "color-mix", "oklch", "class=", "onclick", 'href="#'):
        assert banned not in text, banned
    assert root.find(f"{SVG}title").text == "A <b>small</b> GPT"
    words = "\n".join("".join(e.itertext()) for e in root.iter(f"{SVG}text"))
    for title in page.locator("#world .title").all_text_contents():
        assert title in words
    for sample in ("product", "a wider line: a larger tensor", "not computed"):
        assert sample in words
    assert len(root.findall(f".//{SVG}image")) == 2  # the heads' maps
    notes = [e for e in root.iter(f"{SVG}tspan") if e.text == "TransformerBlock"]
    assert [note.get("font-weight") for note in notes] == ["400"]  # beside a bold title
    shown = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert root.find(f"{SVG}rect").get("fill") == shown
    # alone in a window, it is drawn where the page draws it
    alone = visit(file)
    where = (
        "all => all.map((e) => { const { width, height } = e.getBBox(); return [width, height]; })"
    )
    assert alone.locator("image").evaluate_all(where) == [[80, 80]] * 2
    inside = alone.locator("text").evaluate_all(
        """(all) => {
            const whole = document.documentElement.getBoundingClientRect();
            return all.map((e) => e.getBoundingClientRect()).every(
                (b) => b.left >= 0 && b.right <= whole.right + 1 && b.bottom <= whole.bottom + 1);
        }"""
    )
    assert inside


@pytest.mark.parametrize("what", ["graph.png", "attention.png"])
def test_a_picture_of_pixels_is_twice_as_sharp(
    visit: Callable[..., Any], path: Path, tmp_path: Path, what: str
) -> None:
    page = visit(path, **WIDE)
    drawn = ElementTree.parse(saved(page, what.replace("png", "svg"), tmp_path)).getroot()
    png = saved(page, what, tmp_path).read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    size = [int.from_bytes(png[16 + k : 20 + k]) for k in (0, 4)]
    assert size == [2 * int(drawn.get(side)) for side in ("width", "height")]
    # not one colour only
    colours = page.evaluate(
        """async (bytes) => {
            const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
            const { width, height } = bitmap;
            const context = new OffscreenCanvas(width, height).getContext("2d");
            context.drawImage(bitmap, 0, 0);
            const { data } = context.getImageData(0, 0, width, height);
            return new Set(new Uint32Array(data.buffer)).size;
        }""",
        list(png),
    )
    assert colours > 30


def test_attention_is_saved_as_map_or_lines(
    visit: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    page = visit(path, **WIDE)
    page.locator(".head").nth(1).click()
    root = ElementTree.parse(saved(page, "attention.svg", tmp_path)).getroot()
    assert root.find(f"{SVG}title").text == "blocks.0.attention, head 2"
    fills = [e.get("fill") for e in root.iter(f"{SVG}rect") if e.get("fill", "").startswith("url")]
    assert fills == ['url("#hatch")'] * 15
    assert root.find(f".//{SVG}pattern").get("id") == "hatch"
    assert all(re.match(r"rgb|none|url", e.get("fill")) for e in root.iter(f"{SVG}rect"))
    page.click("#as-lines")
    page.check("#all-lines")
    root = ElementTree.parse(saved(page, "attention.svg", tmp_path)).getroot()
    assert root.find(f"{SVG}title").text == "blocks.0.attention, all heads"
    assert len(list(root.iter(f"{SVG}line"))) == page.locator("#large .beam").count()


def test_without_attention_only_the_graph_is_offered(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    page = visit(tm.viz.trace((x * x).sum(), title="⚡").save(tmp_path / "x.html"))
    page.click("#save")
    assert page.locator("#save-menu button").count() == 2
    page.keyboard.press("Escape")
    assert saved(page, "graph.svg", tmp_path).name == "graph.svg"
