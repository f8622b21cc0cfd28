"""The interactive page in a real browser, with the network off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tests.support import require

TOKENS = ["The", " ", "cat", "</script>", "\u202esat", "on"]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = require.module("playwright.sync_api")
    path = require.chromium()
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 8, embed_dim=8, num_heads=2, num_layers=2)
    tokens = tm.tensor([[1, 2, 3, 4, 5, 6]])
    logits = gpt(tokens).reshape(-1, 9)
    loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7]))
    x = tm.tensor([1.0, float("nan")], requires_grad=True)
    graphs = {
        "gpt": tm.viz.trace(loss, model=gpt, tokens=TOKENS, title="<b>title</b>"),
        "forward": tm.viz.trace(logits, model=gpt, tokens=TOKENS),
        "plain": tm.viz.trace((x * x).sum()),
    }
    return {name: graph.save(folder / f"{name}.html") for name, graph in graphs.items()}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open a page offline; whatever it logs or requests is an error at the end."""
    wrong: list[str] = []
    contexts = []

    def open_page(name: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith("file:") else wrong.append(request.url),
        )
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("name", ["gpt", "forward", "plain"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_opens_offline_in_any_size_and_colour(
    opened: Any, name: str, scheme: str, width: int
) -> None:
    page = opened(name, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.locator("#title").inner_text() != ""
    assert page.locator(".row").count() > 0
    # nothing stands out of the page to the right
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_names_are_shown_as_text(opened: Any) -> None:
    page = opened("gpt")
    assert page.locator("#title").inner_text() == "<b>title</b>"
    labels = page.locator("#large svg text").all_text_contents()
    assert "␣" in labels
    assert any("</scrip" in label for label in labels)
    assert any("⟨202e⟩" in label for label in labels)


def test_lanes_are_proved_on_the_page(opened: Any) -> None:
    assert opened("gpt").locator("#proofs li").all_inner_texts() == [
        "blocks.0.attention: ✓ lanes add up",
        "blocks.1.attention: ✓ lanes add up",
    ]


def test_modules_fold_and_unfold(opened: Any) -> None:
    page = opened("gpt")
    page.click("#collapse")
    few = page.locator(".row").count()
    page.click("#expand")
    many = page.locator(".row").count()
    assert many > 2 * few
    row = page.locator('.row[aria-expanded="true"]', has_text="blocks.0").first
    row.click()
    assert page.locator(".row").count() < many


def test_an_operation_tells_its_formula_and_gradient(opened: Any) -> None:
    page = opened("gpt")
    page.click("#expand")
    page.locator(".row", has_text="cross entropy").click()
    panel = page.locator("#view-details")
    assert panel.is_visible()
    words = panel.inner_text()
    for expected in ("softmax(x)[target]", "onehot(target)", "cross_entropy.py:", "mean"):
        assert expected in words, expected
    panel.locator("button.link").first.click()
    assert page.locator("#view-details h2").inner_text() == "reshape"


def test_heads_are_looked_at_one_by_one(opened: Any) -> None:
    page = opened("gpt")
    assert page.locator(".head").count() == 4
    page.locator(".head").nth(3).click()
    assert "blocks.1.attention, head 2" in page.locator("#reading").inner_text()
    assert page.locator('.head[aria-pressed="true"]').count() == 1
    cells = page.locator("#large .cell")
    assert cells.count() == 36
    cells.nth(1).hover()
    assert "masked" in page.locator("#cell").inner_text()
    cells.nth(0).hover()
    assert page.locator("#cell").inner_text().endswith("weight 1.0000")


def test_head_table_sorts_hides_and_solos(opened: Any) -> None:
    page = opened("gpt")
    header = page.locator("#head-table th button", has_text="entropy")
    header.click()
    assert page.locator('th[aria-sort="descending"]').count() == 1
    down = page.locator("#head-table tbody td:nth-child(2)").all_inner_texts()
    assert down == sorted(down, key=float, reverse=True)
    header.click()
    up = page.locator("#head-table tbody td:nth-child(2)").all_inner_texts()
    assert up == sorted(up, key=float)
    page.locator('#head-table input[type="checkbox"]').first.uncheck()
    assert page.locator(".head").count() == 3
    page.locator("#head-table button", has_text="solo").nth(1).click()
    assert page.locator(".head").count() == 1
    page.locator("#head-table button", has_text="solo").nth(1).click()
    assert page.locator(".head").count() == 4


def test_backward_is_walked_with_the_keys(opened: Any) -> None:
    page = opened("gpt")
    page.click("#tab-backward")
    page.keyboard.press("ArrowRight")
    assert page.locator("#step h2").inner_text().startswith("cross_entropy")
    assert "dx = dy · (softmax(x)" in page.locator("#step").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator("#position").inner_text().startswith("6 /")
    assert page.locator(".row.now").count() > 0
    assert page.locator(".row.freed").count() > 0
    page.keyboard.press("ArrowLeft")
    assert page.locator("#position").inner_text().startswith("5 /")
    page.locator("#slider").fill("0")
    assert page.locator("#position").inner_text().startswith("1 /")


def test_without_a_gradient_the_player_says_so(opened: Any) -> None:
    page = opened("forward")
    assert "gradient: not computed" in page.locator("#facts").inner_text()
    page.click("#tab-backward")
    assert "not computed" in page.locator("#step").inner_text()
    assert page.locator("#forth").is_disabled()


def test_a_nan_is_marked(opened: Any) -> None:
    assert "NaN" in opened("plain").locator("#graph").inner_text()


def test_search_finds_operations_layers_and_heads(opened: Any) -> None:
    page = opened("gpt")
    page.keyboard.press("/")
    page.keyboard.type("op:linear layer:1")
    hits = page.locator(".row:not(.miss) .what", has_text="linear")
    assert hits.count() >= 4
    page.locator("#search").fill("layer:1 head:2")
    assert "blocks.1.attention, head 2" in page.locator("#reading").inner_text()


def test_keyboard_alone_reaches_everything(opened: Any) -> None:
    page = opened("gpt")
    page.locator("#graph").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#graph").get_attribute("aria-activedescendant") is not None
    page.locator("#tab-heads").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-details").get_attribute("aria-selected") == "true"
    assert page.locator("#view-details").is_visible()
    for role in ("tree", "treeitem", "tablist", "tab", "tabpanel"):
        assert page.locator(f'[role="{role}"]').count() > 0
