"""The address says what is shown, and a link leads back to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import tinygrad_mha as tm

from .test_page import TOKENS, WIDE, small_gpt

#: All that a link brings back, as a person would see it.
SEEN = """() => {
  const one = (id) => document.getElementById(id);
  const chosen = [...document.querySelectorAll("#world .chosen")].map((e) => e.dataset.key);
  return {
    chosen,
    drawn: [...document.querySelectorAll("#world [data-key]")].map((e) => e.dataset.key).sort(),
    tab: document.querySelector('#side [role="tab"][aria-selected="true"]').id,
    view: document.querySelector('#computation [role="tab"][aria-selected="true"]').id,
    reading: one("reading").querySelector("b").textContent,
    lines: one("as-lines").getAttribute("aria-pressed"),
    switches: ["lanes", "leaves", "gradients"].map((id) => one(id).checked),
    hidden: [...document.querySelectorAll("#head-table tr.off")].map((e) => e.dataset.row),
    search: one("search").value,
    position: one("position").textContent,
    details: one("view-details").innerText,
  };
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gpt, logits = small_gpt(2, 2)
    loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7]))
    graph = tm.viz.trace(loss, model=gpt, tokens=TOKENS)
    return graph.save(tmp_path_factory.mktemp("pages") / "gpt.html")


@pytest.fixture
def page(visit: Callable[..., Any], path: Path) -> Any:
    return visit(path, **WIDE)


def settled(page: Any) -> str:
    """The address, once the page has written it."""
    page.wait_for_timeout(320)
    return unquote(page.evaluate("location.hash"))


def choose(page: Any, label: str) -> None:
    page.locator(f'#world [data-key][aria-label^="{label}"]').first.focus()
    page.keyboard.press("Enter")


def test_what_is_shown_comes_back_with_the_address(page: Any) -> None:
    assert settled(page) == ""  # nothing was done yet
    stages = [  # each done on what the one before left, and left by a new page in between
        lambda: [
            choose(page, "head 2, attention"),
            page.locator('#world [data-key^="a0h1v"]').nth(6).click(),
            page.check("#gradients"),
            page.check("#leaves"),
        ],
        lambda: [
            page.click("#tab-heads"),
            page.locator(".head").nth(3).click(),
            page.click("#as-lines"),
            page.locator("#head-table input").nth(2).uncheck(),
        ],
        lambda: [page.locator("#search").fill("op:gelu layer:1"), page.click("#next")],
        lambda: [
            page.keyboard.press("."),
            page.locator("#slider").fill("7"),
            page.click("#tab-outline"),
            page.uncheck("#lanes"),
        ],
        lambda: [
            page.locator("#search").fill(""),
            page.click("#tab-graph"),
            page.click("#collapse"),
        ],
    ]
    for stage in stages:
        stage()
        said, seen = settled(page), page.evaluate(SEEN)
        page.reload()
        assert page.evaluate(SEEN) == seen, said
        assert settled(page).split("&look=")[0] == said.split("&look=")[0]


def test_a_moved_view_comes_back_in_any_window(page: Any) -> None:
    page.click("#zoom-in")
    page.locator("#canvas").hover(position={"x": 300, "y": 200})
    page.mouse.down()
    page.mouse.move(380, 420, steps=3)
    page.mouse.up()
    said = settled(page)
    assert re.fullmatch(r"#look=\d+,\d+,[\d.]+", said)
    x, y, scale = map(float, said.removeprefix("#look=").split(","))
    page.set_viewport_size({"width": 1100, "height": 700})
    page.reload()
    middle = page.evaluate(
        """() => {
            const canvas = document.getElementById("canvas");
            const moved = document.getElementById("world").transform.baseVal.consolidate();
            const { a, e, f } = moved.matrix;
            return [(canvas.clientWidth / 2 - e) / a, (canvas.clientHeight / 2 - f) / a, a];
        }"""
    )
    assert middle == pytest.approx([x, y, scale], abs=0.51)


@pytest.mark.parametrize(
    ("said", "tab", "expected"),
    [
        ("node=blocks.1.attention", "details", "MultiHeadAttention"),
        ("node=blocks.1.mlp.0.weight", "details", "Used by"),
        ("node=a1h1", "details", "Show its map"),
        ("head=blocks.1.attention/2", "heads", "blocks.1.attention, head 2"),
        ("head=2/1", "heads", "blocks.1.attention, head 1"),
        ("head=2", "heads", "blocks.0.attention, head 2"),
        ("step=1", "backward", "the beginning of all gradients"),
    ],
)
def test_a_link_may_be_written_by_hand(page: Any, said: str, tab: str, expected: str) -> None:
    page.evaluate("said => { location.hash = said; }", said)
    panel = page.locator(f"#view-{tab}")
    panel.get_by_text(expected).first.wait_for()
    assert panel.is_visible()
    assert page.locator("#announce").inner_text() == ""
    if said.startswith("node"):
        assert page.locator("#world .chosen").count() == 1 or "weight" in said


@pytest.mark.parametrize(
    "said", ["node=nothing", "head=9/9", "step=100000", "step=x", "tab=no", "look=a,b", "view=x"]
)
def test_a_link_to_what_is_not_there_says_so(page: Any, said: str) -> None:
    before = page.evaluate(SEEN)
    page.evaluate("said => { location.hash = said; }", said)
    page.locator("#announce", has_text=f"Not in this page: {said}").wait_for()
    assert page.evaluate(SEEN) == before
    page.locator("#tab-backward").click()  # and the page works
    assert page.locator("#view-backward").is_visible()


def test_hostile_addresses_stay_text(page: Any) -> None:
    words = "</script><img src=x onerror=alert(1)>"
    page.evaluate("words => { location.hash = 'node=' + encodeURIComponent(words); }", words)
    page.locator("#announce", has_text="node=</script><img src=x").wait_for()
    assert page.locator("img[src=x]").count() == 0
