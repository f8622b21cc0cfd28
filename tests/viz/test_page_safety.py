"""What the page is made of: strict scripts that leave nothing behind, and names that stay text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import tinygrad_mha as tm
from tinygrad_mha.viz import html
from tinygrad_mha.viz.packing import packed
from tinygrad_mha.viz.text import label

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "markup": "<img src=x onerror=alert(1)>",
    "quotes": '"\'`&quot; onload=alert(1) x="',
    "dot": '"]; x [URL="javascript:alert(1)',
    "comment": "<!--<script>",
    "nul": "a\x00b",
    "turned": "\u202eabc",
    "half": "\ud800x\udfff",
    "long": "x" * 10_000,
    "template": "${alert(1)}{{data}}{{script}}$& $1 \\1",
}


# -- scripts --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", html.SCRIPTS)
def test_scripts_make_no_markup_and_no_requests(name: str) -> None:
    source = html.source(name)
    for banned in (
        r"\.innerHTML", r"\.outerHTML", r"insertAdjacentHTML", r"document\.write", r"\beval\b",
        r"\bFunction\(", r"\bfetch\(", r"XMLHttpRequest", r"\bimport\(", r"\bvar\s", r"[^=!]==[^=]",
        r"console\.", r"\balert\(", r"https?://(?!www\.w3\.org/2000/svg)",
    ):  # fmt: skip
        assert not re.search(banned, source), banned
    assert len(source.splitlines()) < 500
    assert source.startswith("// ")  # says what it is for
    assert not re.search(r"[ \t]$", source, re.MULTILINE)


def test_every_script_is_strict_and_none_leaves_a_name_behind(
    browser: Any, visit: Callable[..., Any], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>x</title>")
    page = visit(empty)
    for name in html.SCRIPTS:  # parses by itself, under strict rules
        page.evaluate("text => { new Function('\"use strict\";' + text); }", html.source(name))
    before = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    x = tm.tensor([1.0], requires_grad=True)
    page = visit(tm.viz.trace(x * x).save(tmp_path / "x.html"))
    ids = set(page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)"))
    assert set(page.evaluate("Object.getOwnPropertyNames(window)")) - before - ids == set()


def close(found: Any, expected: Any) -> bool:
    """Equal, up to the digits that packing keeps."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-5, abs=2e-5)
    return type(found) is type(expected) and found == expected


def test_packing_loses_nothing(visit: Callable[..., Any], tmp_path: Path) -> None:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 10, embed_dim=8, num_heads=2, num_layers=2)
    with tm.autograd.record_origin():
        logits = gpt(tm.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 0, 1]])).reshape(-1, 9)
        loss = tm.cross_entropy(logits, tm.tensor([2, 3, 4, 5, 6, 7, 8, 0, 1, 2]))
    x = tm.tensor([1.0, float("nan"), float("inf")], requires_grad=True)
    graphs = [
        tm.viz.trace(loss, model=gpt, tokens=list(HOSTILE), record_time=True),
        tm.viz.trace(logits, model=gpt),
        tm.viz.trace(x * x * 2),
    ]
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>x</title>")
    page = visit(empty)
    unpack = f"text => {{ {html.source('unpack.js')}; return unpackRecord(JSON.parse(text))[0]; }}"
    for graph in graphs:
        text = packed(graph.data)
        assert len(text) < len(graph.to_json())
        assert close(page.evaluate(unpack, text), json.loads(graph.to_json()))


def test_the_layout_library_comes_with_its_licence() -> None:
    assert "Permission is hereby granted, free of charge" in html.script()
    assert "Chris Pettitt" in html.script()


# -- names ----------------------------------------------------------------------------------


class Hostile(tm.nn.Module):
    """Modules and parameters of every name, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        for name in HOSTILE.values():
            setattr(self, name.replace(".", "_"), tm.nn.MultiHeadAttention(4, 2))

    def forward(self, x: tm.Tensor) -> tm.Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def test_hostile_names_stay_text(visit: Callable[..., Any], tmp_path: Path) -> None:
    tm.manual_seed(0)
    names = list(HOSTILE.values())
    model = Hostile()
    model.__class__ = type(HOSTILE["dot"], (Hostile,), {})
    graph = tm.viz.trace(
        model(tm.randn(1, len(names), 4)).sum(), model=model, tokens=names, title="\n".join(names)
    )
    page = visit(graph.save(tmp_path / "hostile.html"))
    assert (
        page.evaluate("document.querySelectorAll('script').length") == 2
    )  # for frames, and its own
    assert page.evaluate("document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert (
        page.locator("#title").inner_text().startswith("</script><script>alert(1)</script>⟨a⟩<img")
    )
    page.check("#leaves")
    page.click("#expand")
    drawn = "\n".join(page.locator("#world .title").all_text_contents())
    for part in ("</script>", "<img src=x", "onload", "<!--", "a⟨0⟩b", "⟨202e⟩abc", "⟨d800⟩x⟨dfff⟩",
                 "${alert(1)}", "xxxxxxxxxx…"):  # fmt: skip
        assert part in drawn, part
    page.click("#tab-outline")
    for name in names:
        if name.isprintable():
            page.locator("#search").fill(name[:50])
            assert page.locator("#found").inner_text().endswith(" found"), name
    page.locator("#search").press("Enter")
    page.locator("#large .cell").first.hover()
    page.click("#as-lines")
    for what in ("graph", "attention"):
        page.click("#save")
        with page.expect_download() as caught:
            page.click(f'[data-save="{what}.svg"]')
        assert re.fullmatch(r"[a-z0-9-]+\.svg", caught.value.suggested_filename)
        picture = ElementTree.parse(caught.value.path())
        assert not [e for e in picture.iter() if e.tag.endswith("script") or e.tag.endswith("}a")]
    page.click("#tab-graph")
    address = page.evaluate("location.href")
    assert not re.search(r"[<>\"\x00]", address)


@pytest.mark.parametrize("kind", HOSTILE)
def test_titles_are_escaped_for_the_tab(kind: str) -> None:
    x = tm.tensor([1.0], requires_grad=True)
    text = tm.viz.trace(x * x, title=HOSTILE[kind]).to_html()
    assert f"<title>{label(HOSTILE[kind], 200)}</title>" in text
    text.encode()  # lone surrogates do not get through


# -- frames ---------------------------------------------------------------------------------


def test_the_page_works_in_a_sandbox(visit: Callable[..., Any], tmp_path: Path) -> None:
    tm.manual_seed(0)
    mha = tm.nn.MultiHeadAttention(4, 2)
    text = tm.viz.trace(mha(tm.randn(1, 3, 4)).sum(), model=mha).to_html()
    notebook = tmp_path / "notebook.html"
    notebook.write_text(
        '<!doctype html><title>n</title><iframe style="width:900px;height:600px"'
        f' sandbox="allow-scripts" srcdoc="{escape(text)}"></iframe>'
    )
    frame = visit(notebook).frame_locator("iframe")
    frame.locator("#theme").click()  # there is no storage in a sandbox, and none is needed
    frame.locator("#tab-backward").click()
    frame.locator("#forth").click()
    assert frame.locator("#position").inner_text().startswith("1 /")
