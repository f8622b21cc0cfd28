"""What the page says of the lanes' proof, of the batch, and of numbers that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tinygrad_mha.viz.data import Proof

NAN = float("nan")


def traced(*values: float, batch: int = 1, layers: int = 1) -> tm.viz.Graph:
    """Attention layers over each other; `values` replace the first numbers of their input."""
    tm.manual_seed(0)
    model = tm.nn.Sequential(*(tm.nn.MultiHeadAttention(4, 2) for _ in range(layers)))
    x = tm.randn(batch, 3, 4).numpy().copy()
    x.ravel()[: len(values)] = values
    return tm.viz.trace((model(tm.tensor(x)) ** 2).sum(), model=model)


@pytest.fixture
def opened(visit: Callable[..., Any], tmp_path: Path) -> Callable[[tm.viz.Graph], Any]:
    return lambda graph: visit(graph.save(tmp_path / "page.html"))


@pytest.mark.parametrize(
    ("output", "gradient", "sign", "words"),
    [
        (1e-7, 2e-7, "✓", "Σ lanes = output (largest difference 1e−7, of the gradients 2e−7)"),
        (1e-7, None, "✓", "of the gradients not computed"),
        (0.5, 0.0, "✗", "THE LANES DO NOT ADD UP (largest difference 0.5"),
        (0.0, 0.5, "✗", "THE LANES DO NOT ADD UP"),
        (NAN, 0.5, "✗", "THE LANES DO NOT ADD UP"),
        (NAN, None, "?", "cannot be checked: not finite"),
        (0.0, NAN, "?", "cannot be checked: not finite"),
        (float("inf"), 0.0, "?", "cannot be checked: not finite"),
    ],
)
def test_a_proof_is_told_as_it_is(
    opened: Any, output: float, gradient: float | None, sign: str, words: str
) -> None:
    graph = traced()
    graph.heads[0].proof = proof = Proof(output, gradient, 1e-5)
    page = opened(graph)
    brief, whole = page.locator("#proof"), page.locator("#lanes-proof")
    assert brief.inner_text().startswith(sign)
    assert words in whole.inner_text()
    assert proof.words().split(" (")[0] in whole.inner_text()  # as everywhere else
    assert ("broken" in (brief.get_attribute("class") or "")) == (not proof.holds)
    assert ("alarm" in whole.get_attribute("class")) == (not proof.holds)


def test_the_worst_of_several_proofs_stands_first(opened: Any) -> None:
    graph = traced(layers=3)
    for attention, output in zip(graph.heads, (0.0, NAN, 1.0), strict=True):
        attention.proof = Proof(output, 0.0, 1e-5)
    page = opened(graph)
    assert page.locator("#proof").inner_text() == "✗ THE LANES DO NOT ADD UP (1 of 3)"
    page.click("#proof")
    signs = [text[0] for text in page.locator("#proofs li").all_inner_texts()]
    assert signs == ["✓", "?", "✗"]


def test_a_batch_says_which_item_is_drawn(opened: Any) -> None:
    words = opened(traced(batch=3)).locator("#items").inner_text()
    assert words.startswith("Weights of item 0 of the batch of 3")
    assert opened(traced()).locator("#items").count() == 0


def test_weights_that_are_no_numbers_have_the_colour_of_alarm(opened: Any) -> None:
    page = opened(traced(NAN))
    assert page.locator("#proof").inner_text() == "? lanes cannot be checked"
    assert page.locator('#large .cell[fill="var(--alarm)"]').count() == 9
    page.locator("#large .cell").first.hover()
    assert page.locator("#cell").inner_text().endswith("weight nan")
    assert "not finite" in page.locator("#reading").inner_text()
    page.click("#as-lines")
    assert page.locator("#large .beam").count() == 0
    assert "there is nothing to draw" in page.locator("#reading").inner_text()
