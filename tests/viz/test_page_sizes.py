"""At every width and zoom nothing is cut, nothing lies over another, everything can be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm

from .test_page import TOKENS, small_gpt

#: Windows, and what 200 % of zoom leaves of 1280 x 800 and of 2048 x 1000.
SIZES = [
    (1920, 1080), (1440, 900), (1280, 800), (1024, 768), (768, 1024), (420, 800), (320, 640),
    (640, 400), (1024, 500),
]  # fmt: skip

#: Controls and words that are cut at the sides, lie under something, or lie over each other.
WRONG = """() => {
  const wrong = new Set();
  const all = [...document.querySelectorAll("button, input, label, summary, #title, #facts, "
    + "#graph-status, #reading p, #step p, #large svg, h2, h3, dt, dd")]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }))
    .filter((e) => e.getBoundingClientRect().width && !e.closest("[popover], dialog"));
  const name = (e) => e.id || e.getAttribute("aria-label") || e.textContent.slice(0, 30);
  const together = (a, b) => a.contains(b) || b.contains(a) || a.closest("label")?.contains(b);
  for (const e of [document.scrollingElement, ...document.querySelectorAll("section")])
    e.scrollTo({ top: 0, left: 0, behavior: "instant" });
  const boxes = all.map((e) => e.getBoundingClientRect());
  all.forEach((e, k) => {
    const a = boxes[k];
    const room = (e.closest("section, header") ?? document.body).getBoundingClientRect();
    if (!e.closest(".scroll") && room.width && (a.left < room.left - 1 || a.right > room.right + 1))
      wrong.add(`${name(e)} stands out`);
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && e.localName !== "input")
      wrong.add(`${name(e)} is wider than its box`);
    if (e.closest(".scroll, #zoom")) return; // these may lie over what they are in
    for (let other = k + 1; other < all.length; other++) {
      const b = boxes[other], deep = 2; // pixels that borders may share
      if (a.left < b.right - deep && b.left < a.right - deep && a.top < b.bottom - deep
        && b.top < a.bottom - deep && !together(e, all[other]) && !together(all[other], e)
        && !all[other].closest(".scroll, #zoom")) wrong.add(`${name(e)} and ${name(all[other])}`);
    }
  });
  for (const e of all) {
    e.scrollIntoView({ block: "center", inline: "center" });
    const box = e.getBoundingClientRect();
    if (box.left < -0.5 || box.right > innerWidth + 0.5) wrong.add(`${name(e)} is cut`);
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const label = e.closest("label") ?? e.labels?.[0];
    if (top && !(together(e, top) || label?.contains(top)))
      wrong.add(`${name(e)} lies under ${top.id || top.className || top.localName}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.add("the page scrolls sideways");
  return [...wrong];
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gpt, logits = small_gpt(2, 4)
    loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7]))
    graph = tm.viz.trace(loss, model=gpt, tokens=TOKENS, title="A GPT with four heads")
    graph.ablate()
    return graph.save(tmp_path_factory.mktemp("pages") / "gpt.html")


def test_nothing_is_cut_and_nothing_overlaps(visit: Callable[..., Any], path: Path) -> None:
    page = visit(path, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page.check("#gradients")
    page.check("#leaves")
    page.keyboard.press(".")
    found: dict[str, list[str]] = {}
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for tab in ("heads", "details", "backward"):
            page.evaluate("tab => document.getElementById('tab-' + tab).click()", tab)
            if wrong := page.evaluate(WRONG):
                found[f"{width} x {height}, {tab}"] = wrong
        assert page.locator("#graph").bounding_box()["height"] >= 150
    assert found == {}


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_bars_and_the_table_of_heads_fit_one_line(
    visit: Callable[..., Any], path: Path, width: int
) -> None:
    page = visit(path, viewport={"width": width, "height": 900})
    for bar in page.locator(".bar").all():
        if bar.is_visible() and (first := bar.bounding_box()):
            assert first["height"] < 40
    over = page.locator("#view-heads .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert over <= 0


def test_on_a_telephone_a_tap_tells_and_the_graph_stays(
    visit: Callable[..., Any], path: Path
) -> None:
    page = visit(
        path,
        viewport={"width": 420, "height": 800},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
        reduced_motion="reduce",
    )
    assert page.locator("#legend").is_hidden()  # there is a word to open it
    page.locator('#world [data-key][aria-label^="norm1, "]').tap()
    heading = page.locator("#view-details h2")
    assert heading.inner_text() == "norm1"
    in_sight = """(e) => { const b = e.getBoundingClientRect();
        return b.top >= 0 && b.bottom <= innerHeight; }"""
    assert heading.evaluate(in_sight)
    assert page.locator("#graph").evaluate(in_sight)
    page.locator("#tab-backward").tap()
    page.locator("#forth").tap()
    assert page.locator("#step h2").inner_text().startswith("cross_entropy")
    assert page.locator("#graph").evaluate(in_sight)  # where the step is seen
    assert page.locator("#world .now").count() == 1
    page.locator("#tab-heads").tap()
    page.locator(".head").nth(5).tap()
    assert "head 2" in page.locator("#reading").inner_text()
    page.locator("#large .cell").nth(7).tap()
    assert "weight" in page.locator("#cell").inner_text()
