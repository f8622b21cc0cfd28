"""The page's views of heads and of backward, its keys, colours and roles, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm

from .test_page import TOKENS, WIDE, small_gpt


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    gpt, logits = small_gpt(2, 2)
    loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7]))
    tm.manual_seed(1)
    mha = tm.nn.MultiHeadAttention(4, 2)
    ablated = tm.viz.trace((mha(tm.randn(1, 3, 4)) ** 2).sum(), model=mha)
    ablated.ablate()
    lost = tm.viz.trace(mha(tm.randn(1, 3, 4)).sum(), model=mha)
    first, second = lost.heads[0].lanes
    first.weights, first.entropy, first.peak = [], None, None
    for lane in (first, second):
        lane.to_self = lane.to_previous = lane.to_first = None
    words = ["extraordinary1", "extraordinary2", "mat"]
    graphs = {
        "lost": lost,
        "alike": tm.viz.trace(mha(tm.randn(1, 3, 4)).sum(), model=mha, tokens=words),
        "gpt": tm.viz.trace(loss, model=gpt, tokens=TOKENS),
        "ablated": ablated,
        "long": tm.viz.trace(mha(tm.randn(1, 100, 4)).sum(), model=mha),
    }
    return {name: graph.save(folder / f"{name}.html") for name, graph in graphs.items()}


@pytest.fixture
def opened(visit: Callable[..., Any], pages: dict[str, Path]) -> Callable[..., Any]:
    return lambda name, **options: visit(pages[name], **{**WIDE, **options})


# -- heads ----------------------------------------------------------------------------------


def test_heads_are_looked_at_one_by_one(opened: Any) -> None:
    page = opened("gpt")
    assert page.locator(".head").count() == 4
    page.locator(".head").nth(3).click()
    assert "blocks.1.attention, head 2" in page.locator("#reading").inner_text()
    assert page.locator('.head[aria-pressed="true"]').count() == 1
    cells = page.locator("#large .cell")
    assert cells.count() == 36
    assert page.locator('#large .cell[fill="url(#hatch)"]').count() == 15
    cells.nth(1).hover()
    assert "masked" in page.locator("#cell").inner_text()
    cells.nth(0).hover()
    assert page.locator("#cell").inner_text().endswith("weight 1.0000")


def test_a_map_is_walked_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    page.locator("#large svg").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.locator("#cell").inner_text().startswith("query ␣ (1) → key The (0)")
    assert page.locator("#large svg").get_attribute("aria-activedescendant") == "cell-1-0"


def test_attention_as_lines(opened: Any) -> None:
    page = opened("gpt")
    page.click("#as-lines")
    one = page.locator("#large .beam").count()
    assert 6 <= one <= 21  # nothing is drawn where attention is masked
    page.check("#all-lines")
    assert page.locator("#large .beam").count() > one
    page.locator("#large .token").nth(2).hover()
    assert page.locator("#large .beam:not(.dim)").count() <= 6
    assert page.locator("#cell").inner_text().startswith("query cat looks at")
    page.click("#as-map")
    assert page.locator("#large .cell").count() == 36


def test_heads_are_gone_through_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    heading = page.locator("#reading b")
    page.keyboard.press("2")
    heads = [f"blocks.{layer}.attention, head {head}" for layer in (0, 1) for head in (1, 2)]
    for expected in (*heads[1:], heads[0]):
        page.keyboard.press("j")
        assert heading.inner_text() == expected
        assert page.locator("#announce").inner_text() == expected
    page.locator("#head-table input").nth(3).uncheck()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("k")
    assert heading.inner_text() == heads[2]  # the last one is hidden


def test_lines_are_walked_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    page.click("#as-lines")
    tokens = page.locator("#large .token")
    tokens.first.focus()
    focus = lambda: page.evaluate("document.activeElement.getAttribute('aria-label')")  # noqa: E731
    seen = [focus()]
    for arrow in ("Down", "Right", "Up", "Up", "Left"):
        page.keyboard.press("Arrow" + arrow)
        seen.append(focus())
    assert seen == ["query The", "query ␣", "key ␣", "key The", "key The", "query The"]
    assert page.locator("#cell").inner_text().startswith("query The looks at")
    assert page.locator('#large .token[tabindex="0"]').count() == 1


def test_pooled_maps_say_so(opened: Any) -> None:
    page = opened("long")
    assert page.locator("#large .cell").count() == 50 * 50
    assert "mean of 2×2" in page.locator("#pooled").inner_text()


def test_head_table_sorts_hides_and_solos(opened: Any) -> None:
    page = opened("gpt")
    header = page.locator("#head-table th button", has_text="entropy")
    column = page.locator("#head-table tbody td:nth-child(4)")
    header.click()
    assert page.locator('th[aria-sort="descending"]').count() == 1
    down = column.all_inner_texts()
    assert down == sorted(down, key=float, reverse=True)
    header.click()
    up = column.all_inner_texts()
    assert up == sorted(up, key=float)
    assert page.evaluate("document.activeElement.innerText").startswith("entropy")
    page.locator("#head-table thead button").first.click()
    page.locator('#head-table input[type="checkbox"]').first.uncheck()
    assert page.locator(".head").count() == 3
    assert page.locator('#world .box.lane[data-key="a0h0"]').count() == 0
    assert page.locator('#world .strip[aria-label^="1 hidden head,"]').count() == 1
    page.click("#show-all")
    assert page.locator(".head").count() == 4
    solo = page.locator("#head-table button", has_text="solo")
    solo.nth(1).click()
    assert page.locator(".head").count() == 1
    solo.nth(1).click()
    assert page.locator(".head").count() == 4


def test_ablated_heads_tell_the_change_of_the_loss(opened: Any) -> None:
    name = "Δ loss if ablated"
    assert opened("gpt").locator("#head-table th", has_text=name).count() == 0
    page = opened("ablated")
    page.locator("#head-table th button", has_text=name).click()
    changes = page.locator("#head-table tbody td:last-child").all_inner_texts()
    values = [float(text.replace("−", "-")) for text in changes]
    assert len(values) == 2
    assert values == sorted(values, reverse=True)


def test_a_number_that_a_head_cannot_have_says_why(opened: Any) -> None:
    page = opened("lost")
    rows = page.locator("#head-table tbody tr")
    assert rows.nth(0).locator('td [title="no softmax here"]').all_inner_texts() == ["–"] * 5
    assert rows.nth(1).locator('td [title="not self-attention"]').all_inner_texts() == ["–"] * 3
    assert "no softmax" in page.locator("#large").inner_text()
    assert page.locator(".head", has_text="no softmax here").count() == 1


def test_long_tokens_keep_both_ends(opened: Any) -> None:
    page = opened("alike")
    labels = page.locator("#large svg text:has(title)")
    assert labels.count() == 4
    assert labels.first.evaluate("e => e.firstChild.data") == "extr…ary1"
    assert labels.first.locator("title").text_content() == "extraordinary1"
    page.locator("#large .cell").nth(1).hover()
    assert "key extraordinary2 (1)" in page.locator("#cell").inner_text()


def test_long_sequences_have_lines_that_are_told_apart(opened: Any) -> None:
    page = opened("long")  # tokens of two digits
    page.click("#as-lines")
    assert 50 <= page.locator("#large .beam").count() <= 600
    assert "the strongest line: " in page.locator("#reading").inner_text()
    boxes = page.locator('#large .token[text-anchor="end"]').evaluate_all(
        "all => all.map((e) => [e.getBBox().y, e.getBBox().height])"
    )
    letters = page.locator("#large .token").first.evaluate(
        "e => parseFloat(getComputedStyle(e).fontSize)"
    )
    pitches = [b[0] - a[0] for a, b in pairwise(boxes)]
    assert min(pitches) > letters  # labels of neighbours do not touch
    outside = page.locator("#large svg").evaluate(
        "svg => [...svg.querySelectorAll('.axis')].map((t) => t.getBBox())"
        ".filter((b) => b.x < 0 || b.x + b.width > svg.viewBox.baseVal.width).length"
    )
    assert outside == 0


def test_hiding_redoes_one_attention_only(opened: Any) -> None:
    page = opened("gpt")
    page.evaluate("window.kept = document.querySelector('[data-lane=\"1:0\"].head')")
    names = "all => all.map((e) => e.dataset.key)"
    lanes = page.locator("#world [data-key]")
    before = lanes.evaluate_all(names)
    box = page.locator("#head-table input").first
    box.uncheck()
    assert page.evaluate("window.kept.isConnected")
    assert "a0more" in lanes.evaluate_all(names)
    assert page.locator("#head-table tr.off").count() == 1
    box.check()
    assert lanes.evaluate_all(names) == before


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_the_table_of_heads_is_seen_whole(opened: Any, width: int) -> None:
    page = opened("gpt", viewport={"width": width, "height": 900})
    over = page.locator("#view-heads .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert over <= 0


# -- backward -------------------------------------------------------------------------------


def test_backward_is_walked_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-backward")
    page.keyboard.press("ArrowLeft")  # on the tabs, arrows change tabs
    assert page.locator("#view-details").is_visible()
    page.keyboard.press("3")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    assert page.locator("#step h2").inner_text().startswith("cross_entropy")
    assert "the beginning of all gradients" in page.locator("#step").inner_text()
    assert "dx = dy · (softmax(x)" in page.locator("#step").inner_text()
    for _ in range(5):
        page.keyboard.press(".")
    assert page.locator("#position").inner_text().startswith("6 /")
    assert page.locator("#world .now").count() > 0
    assert page.locator("#world .freed").count() > 0
    page.keyboard.press("ArrowLeft")
    assert page.locator("#position").inner_text().startswith("5 /")
    page.locator("#slider").fill("0")
    assert page.locator("#position").inner_text().startswith("1 /")


def test_the_graph_follows_where_the_reader_wants_it(opened: Any) -> None:
    page = opened("gpt", viewport={"width": 1500, "height": 420})
    page.click("#expand")
    where = lambda: page.locator("#world").get_attribute("transform")  # noqa: E731
    seen = where()
    page.keyboard.press(".")
    assert where() != seen  # the loss is at the bottom
    page.uncheck("#follow")
    seen = where()
    page.locator("#slider").fill("40")
    assert where() == seen


def test_a_fan_out_adds_up_and_saved_values_are_used(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-backward")
    words = page.evaluate(
        """() => {
            const slider = document.getElementById("slider");
            return Array.from({ length: Number(slider.max) + 1 }, (_, step) => {
                slider.value = step;
                slider.dispatchEvent(new Event("input"));
                return document.getElementById("step").innerText;
            });
        }"""
    )
    assert any("2 gradients, added up" in text and "+=" in text for text in words)
    assert any("dA = dC · Bᵀ" in text for text in words)
    assert any("used now, then freed" in text for text in words)
    held = [text.splitlines()[-1] for text in words]
    assert len(set(held)) > 10  # goes down from step to step
    page.locator("#slider").fill("0")
    assert page.locator("#world .link.flowing").count() == 1


def test_playing_goes_on_by_itself_and_pauses(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-backward")
    page.locator("#pace").fill("4")
    page.click("#play")
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    page.locator("#position", has_text=re.compile(r"^\s*[4-9] /")).wait_for()
    page.click("#play")
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    stopped = page.locator("#position").inner_text()
    page.wait_for_timeout(300)
    assert page.locator("#position").inner_text() == stopped


# -- keys, colours, roles -------------------------------------------------------------------


def test_the_tab_key_reaches_every_control(opened: Any) -> None:
    page = opened("gpt")
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, input, [tabindex=\"0\"]')].filter((e) =>"
        " e.checkVisibility() && !e.disabled && e.tabIndex >= 0).length"
    )
    seen = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "(window.__n ??= new Map(), window.__n.get(document.activeElement) ??"
                " (window.__n.set(document.activeElement, window.__n.size),"
                " window.__n.size - 1))"
            )
        )
        if page.evaluate("document.activeElement !== document.body"):
            ring = page.evaluate(
                "(e => getComputedStyle(e).outlineStyle + (e.closest('#world') ? 'graph' : ''))"
                "(document.activeElement)"
            )
            assert ring != "none"
    assert len(seen) >= wanted


def test_the_graph_is_walked_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    page.keyboard.press("g")
    focus = lambda: page.evaluate("document.activeElement.dataset.key")  # noqa: E731
    visited = [focus()]
    for _ in range(6):
        page.keyboard.press("ArrowDown")
        visited.append(focus())
    assert len(set(visited)) == 7
    page.keyboard.press("ArrowUp")
    assert focus() == visited[5]
    before = page.locator("#world").get_attribute("transform")
    page.keyboard.press("+")
    assert page.locator("#world").get_attribute("transform") != before


def test_help_opens_and_closes(opened: Any) -> None:
    page = opened("gpt")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("c")  # nothing happens behind it
    page.keyboard.press("3")
    assert not page.locator("#gradients").is_checked()
    assert page.locator("#view-heads").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.click("#help-button")
    page.click("#help-close")
    assert page.locator("#help").is_hidden()


def test_colours_follow_the_system_and_the_reader(opened: Any) -> None:
    page = opened("gpt", color_scheme="dark")
    paper = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    dark = paper()
    page.click("#theme")
    light = paper()
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    page.reload()
    assert paper() == light  # remembered
    page.keyboard.press("t")
    assert paper() == dark
    page.emulate_media(media="print")
    assert paper() == light


@pytest.mark.parametrize("width", [420, 1100, 1280, 1440, 1920])
def test_theme_and_help_stay_at_the_end_of_the_first_line(opened: Any, width: int) -> None:
    page = opened("gpt", viewport={"width": width, "height": 900})
    title = page.locator("#title").bounding_box()
    for name in ("#theme", "#help-button"):
        button = page.locator(name).bounding_box()
        assert button["x"] > width - 110
        assert button["y"] < title["y"] + title["height"]


def test_on_paper_all_of_it_is_light(opened: Any) -> None:
    page = opened("gpt", color_scheme="dark", viewport={"width": 900, "height": 500})
    pixels = page.locator(".head img").first
    pixels.scroll_into_view_if_needed()
    page.locator(".head img[src]").first.wait_for(state="attached")
    where = page.locator("#world").get_attribute("transform")
    dark = pixels.get_attribute("src")
    page.emulate_media(media="print", color_scheme="dark")
    page.locator("html[data-screen]").wait_for()
    assert pixels.get_attribute("src") != dark
    assert page.locator(".head img:not([src])").count() == 0
    seen = page.locator("#canvas").bounding_box()
    for figure in page.locator("#world [data-key]").all():
        box = figure.bounding_box()
        assert box["y"] + box["height"] <= seen["y"] + seen["height"] + 1
        assert box["x"] >= seen["x"] - 1
    page.emulate_media(media="screen", color_scheme="dark")
    page.locator("html:not([data-screen])").wait_for()
    assert page.locator("#world").get_attribute("transform") == where


def test_motion_is_reduced_where_the_reader_wants_it(opened: Any) -> None:
    moving = {}
    for motion in ("reduce", "no-preference"):
        page = opened("gpt", reduced_motion=motion)
        page.keyboard.press(".")
        page.keyboard.press(".")
        moving[motion] = page.locator("#world .flowing .edge").first.evaluate(
            "e => getComputedStyle(e).animationName"
        )
    assert moving == {"reduce": "none", "no-preference": "back"}


def test_screen_readers_find_roles_and_names(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-outline")
    for role in ("tree", "treeitem", "tablist", "tab", "tabpanel", "grid", "gridcell", "slider",
                 "search", "table"):  # fmt: skip
        assert page.get_by_role(role, include_hidden=True).count() > 0, role
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, [role=button], [role=treeitem], img')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.alt ||"
        " e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []


def test_a_page_opens_in_the_theme_it_was_saved_with(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    graph = tm.viz.trace(tm.ones(2, requires_grad=True).sum())
    page = visit(graph.save(tmp_path / "dark.html", theme="dark"), color_scheme="light")
    colours = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(colours) == "dark"
    page.locator("#theme").click()
    assert page.evaluate(colours) != "dark"
