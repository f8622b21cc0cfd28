"""Half an hour with the page, in short: with the keys alone, and views that follow each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm

from .test_page import TOKENS, WIDE, box, small_gpt


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    target = tm.tensor([2, 3, 4, 5, 6, 7])
    gpt, logits = small_gpt(2, 3)
    many, many_logits = small_gpt(3, 12)
    graph = tm.viz.trace(tm.cross_entropy(logits, target), model=gpt, tokens=TOKENS)
    graph.ablate()
    graphs = {"gpt": graph, "many": tm.viz.trace(tm.cross_entropy(many_logits, target), model=many)}
    return {name: graph.save(folder / f"{name}.html") for name, graph in graphs.items()}


@pytest.fixture
def opened(visit: Callable[..., Any], pages: dict[str, Path]) -> Callable[..., Any]:
    return lambda name, **options: visit(pages[name], **{**WIDE, **options})


def test_all_of_it_without_a_mouse(opened: Any) -> None:
    """Search, open, read, step, play, look at heads, sort, hide, fold, save, change colours."""
    page = opened("gpt")
    press, focus = page.keyboard.press, "document.activeElement."

    def reach(selector: str) -> None:
        for _ in range(120):
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
            press("Tab")
        raise AssertionError(f"the tab key does not lead to {selector}")

    press("/")
    page.keyboard.type("op:gelu layer:1")
    press("Enter")
    assert page.locator("#found").inner_text() == "1 / 1"
    press("Escape")
    press("2")
    assert page.locator("#view-details h2").inner_text() == "gelu"
    reach("#view-details button.plain")
    press("Enter")
    assert page.locator("#view-details h2").inner_text() == "linear"
    press("g")  # the module that it is in
    assert page.evaluate(focus + "ariaExpanded") == "false"
    press("Enter")
    assert page.evaluate(focus + "ariaExpanded") == "true"
    assert page.locator("#world .box.chosen").get_attribute("aria-label").startswith("linear")
    press(".")
    press(".")
    assert page.locator("#position").inner_text().startswith("2 /")
    press("p")
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    press("p")
    press("c")
    assert page.locator("#gradients").is_checked()
    press("1")
    reach("#as-lines")
    press("Enter")
    assert page.locator("#large svg.lines").count() == 1
    reach("#large .token")
    press("ArrowDown")
    assert page.locator("#cell").inner_text().startswith("query ␣ looks at")
    reach("#head-table thead button")
    press("Tab")
    press("Enter")
    assert page.locator("th[aria-sort]").inner_text().startswith("entropy")
    reach("#head-table tbody input")
    press("Space")
    assert page.locator("#head-table tr.off").count() == 1
    press("s")
    assert page.locator("#save-menu").is_visible()
    reach("#save-menu button")
    press("Escape")
    assert page.locator("#save-menu").is_hidden()
    reach("#collapse")
    press("Enter")
    assert box(page, "blocks.0, module").get_attribute("aria-expanded") == "false"
    press("t")
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_the_graph_and_the_heads_follow_each_other(opened: Any) -> None:
    page = opened("gpt")
    looked = lambda: page.locator("#world .looked").get_attribute("data-key")  # noqa: E731
    assert looked() == "a0h0"
    page.locator('.head[data-lane="0:2"]').click()
    assert looked() == "a0h2"
    box(page, "head 2, attention").click()
    assert looked() == "a0h1"
    page.get_by_text("Show its map").click()
    assert "blocks.0.attention, head 2" in page.locator("#reading").inner_text()
    assert page.locator('.head[data-lane="0:1"]').get_attribute("aria-pressed") == "true"


def test_many_heads_stand_in_a_row_for_each_layer(opened: Any) -> None:
    page = opened("many")
    assert page.locator("#small").is_checked()
    tops = page.locator(".head").evaluate_all("all => all.map((e) => e.offsetTop)")
    assert [tops.count(top) for top in sorted(set(tops))] == [12, 12, 12]
    page.locator('.head[data-lane="2:11"]').click()
    assert "blocks.2.attention, head 12" in page.locator("#reading").inner_text()
    small = page.locator(".head").first.bounding_box()["width"]
    page.uncheck("#small")
    assert page.locator(".head").first.bounding_box()["width"] > 2 * small
    assert not opened("gpt").locator("#small").is_checked()


def test_the_table_is_sorted_by_every_measure(opened: Any) -> None:
    page = opened("gpt")
    titles = page.locator("#head-table thead th:has(button)")
    names = [text.replace("\xad", "").strip() for text in titles.all_inner_texts()]
    assert [" ".join(name.split()) for name in names] == [
        "head", "entropy", "peak", "on itself", "on the previous", "on the first",
        "contribution", "gradient", "to its input", "Δ loss if ablated",
    ]  # fmt: skip
    assert page.locator("#head-table tbody tr").count() == 6
    value = lambda text: float(text.replace("−", "-").removesuffix(" %"))  # noqa: E731
    for at in range(1, titles.count()):
        column = page.locator(f"#head-table tbody td:nth-child({at + 3})")
        titles.nth(at).locator("button").click()
        down = [value(text) for text in column.all_inner_texts()]
        assert down == sorted(down, reverse=True)
        assert titles.nth(at).get_attribute("aria-sort") == "descending"
        titles.nth(at).locator("button").click()
        assert [value(text) for text in column.all_inner_texts()] == sorted(down)
    titles.first.locator("button").click()
    first = page.locator("#head-table tbody tr").first
    assert first.get_attribute("data-row") == "0:0"


def test_the_frame_of_the_small_picture_is_dragged(opened: Any) -> None:
    page = opened("gpt")
    page.click("#expand")
    small = page.locator("#minimap").bounding_box()
    middle = small["x"] + small["width"] / 2
    where = lambda: page.evaluate(  # noqa: E731
        "document.getElementById('world').transform.baseVal.consolidate().matrix.f"
    )
    seen = []
    page.mouse.move(middle, small["y"] + 20)
    page.mouse.down()
    for down in (30, 50, 70):
        page.mouse.move(middle, small["y"] + down)
        seen.append(where())
    page.mouse.up()
    assert seen == sorted(
        seen, reverse=True
    )  # the further down the frame, the further up the graph
    assert len(set(seen)) == 3
    page.mouse.move(middle, small["y"] + 20)
    assert where() == seen[-1]  # let go


def test_the_speed_is_the_one_that_was_set(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-backward")
    page.clock.install()
    went = {}
    for pace in (0, 2, 4):
        page.click("#first")
        page.locator("#pace").fill(str(pace))
        page.click("#play")
        page.clock.run_for(4100)
        page.click("#play")
        went[pace] = int(re.match(r"(\d+)", page.locator("#position").inner_text())[1]) - 1
    assert went == {0: 2, 2: 5, 4: 34}
    page.click("#play")  # to the end, and there it stops by itself
    page.clock.run_for(60_000)
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    last, steps = page.locator("#position").inner_text().split(" / ")
    assert last == steps


def test_saved_values_light_up_and_are_gone(opened: Any) -> None:
    page = opened("gpt")
    page.click("#expand")
    dot = box(page, "cross entropy").locator(".saved")
    colour = "e => { const s = getComputedStyle(e); return [s.fill, s.r]; }"
    held = dot.evaluate(colour)
    page.keyboard.press(".")
    used = dot.evaluate(colour)
    assert page.locator("#step .tag.lit").count() > 0
    page.keyboard.press(".")
    gone = dot.evaluate(colour)
    assert gone[0] == "none"
    assert len({held[0], used[0], gone[0]}) == 3
    assert used[1] == "5px"
