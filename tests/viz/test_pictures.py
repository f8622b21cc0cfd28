"""Pictures: that they can be drawn anywhere, and show names as text, whatever the names are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import tinygrad_mha as tm
from tinygrad_mha.viz import graph as graph_module
from tinygrad_mha.viz import render as render_module

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"]; x [URL="javascript:alert(1)"',
    "<B>&amp;\"'`",
    "\x00\x01\x1b[31m",
    "\u202etxet",
    "\ud800",
    "]]>--><!--",
    "x" * 10_000,
    "",
    "\\N\\G\\E \\l",
]


def attention(tokens: list[str], title: str = "") -> tm.viz.Graph:
    mha = tm.nn.MultiHeadAttention(8, 2)
    loss = mha(tm.randn(1, len(tokens), 8), is_causal=True).sum()
    return tm.viz.trace(loss, model=mha, tokens=tokens, title=title)


def hostile_model(name: str) -> tm.viz.Graph:
    """Names come in through modules and parameters too: attributes can have any name."""
    model = tm.nn.Module()
    setattr(model, name or "empty", tm.nn.MultiHeadAttention(8, 2))
    (inner,) = model.children()
    return tm.viz.trace(inner(tm.randn(1, 2, 8)).sum(), model=model, tokens=[name, name])


def safe(svg: str) -> None:
    root = ET.fromstring(svg)
    for element in root.iter():
        assert not element.tag.endswith(("script", "foreignObject")), element.tag
        for key, value in element.attrib.items():
            assert "href" not in key, (key, value)
            assert not key.startswith("on")
            assert "javascript" not in value or key.endswith("title")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_are_only_text(name: str, tmp_path: Path) -> None:
    for graph in (attention([name, name, "b"], title=name), hostile_model(name)):
        safe(graph.to_svg())
        graph.to_json().encode("ascii")
        table = graph.table()
        assert max(map(len, table.splitlines())) < 400  # a long name is cut
        assert table.replace("\n", "").isprintable()  # and none steers the terminal
        page = graph.to_html()
        assert page.count("</script>") == 2  # the data's and the program's own
        for suffix in ("svg", "dot", "json", "html"):
            graph.save(tmp_path / f"g.{suffix}")


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize("heads", ["lanes", "fused"])
def test_every_theme_is_drawn(heads: str, theme: str) -> None:
    graph = attention(list("abc"))
    svg = graph.to_svg(heads=heads, theme=theme)
    safe(svg)
    assert ("head 2" in svg) == (heads == "lanes")
    assert 'width="100%"' in svg
    assert "viewBox" in svg


def test_a_picture_has_the_names_the_numbers_and_a_legend() -> None:
    svg = attention(["the", "cat", "sat"]).to_svg()
    for words in ("MultiHeadAttention", "cat", "head 1", "entropy", "attention weight", "masked"):
        assert words in svg, words
    assert "Σ lanes = output" in svg


def test_of_many_heads_the_largest_are_drawn_and_the_rest_is_told() -> None:
    mha = tm.nn.MultiHeadAttention(24, 12)
    graph = tm.viz.trace(mha(tm.randn(1, 3, 24)).sum(), model=mha)
    svg = graph.to_svg()
    assert svg.count(">head ") == 8
    assert "and 4 more heads" in svg
    assert len(graph.heads[0].lanes) == 12


def test_without_attention_every_operation_is_drawn_while_that_can_be_read() -> None:
    mlp = tm.nn.Sequential(tm.nn.Linear(2, 3), tm.nn.Tanh(), tm.nn.Linear(3, 1))
    dot = tm.viz.trace(mlp(tm.ones(1, 2)).sum(), model=mlp).to_dot()
    assert "tanh" in dot
    assert "0.weight" in dot
    x = tm.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(30):
        y = y * 1.5
    assert tm.viz.trace(y).to_svg().count('<g id="node') >= 30


def test_png_is_drawn_without_a_graphviz_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    png = attention(list("ab")).save(tmp_path / "g.png").read_bytes()
    assert png.startswith(b"\x89PNG")


def test_pdf_without_graphviz_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"apt install graphviz.*\.svg"):
        attention(list("ab")).save(tmp_path / "g.pdf")
    assert list(tmp_path.iterdir()) == []


def test_pdf_with_the_systems_graphviz(system_dot: str, tmp_path: Path) -> None:
    assert attention(list("ab")).save(tmp_path / "g.pdf").read_bytes().startswith(b"%PDF")


def test_with_nothing_that_draws_the_error_names_both_ways(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(render_module, "_pure", lambda: None)
    graph = attention(list("ab"))
    with pytest.raises(RuntimeError, match=r"pip install graphviz-pure.*install Graphviz"):
        graph.to_svg()
    for suffix in ("dot", "json", "html"):
        assert graph.save(tmp_path / f"g.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("g.gif", {}, r"ends in none of \.svg"),
        ("g", {}, r"ends in none of \.svg"),
        ("g.svg", {"heads": "all"}, "'lanes' or 'fused'"),
        ("g.svg", {"theme": "pink"}, "one of"),
    ],
)
def test_wrong_options(path: str, options: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        attention(list("ab")).save(tmp_path / path, **options)


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.json"
    path.write_text("old")
    monkeypatch.setattr(graph_module.os, "replace", lambda a, b: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):  # noqa: PT011
        attention(list("ab")).save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_notebooks_get_a_picture() -> None:
    graph = attention(list("ab"))
    assert graph._repr_svg_().lstrip().startswith("<?xml")
    assert "<iframe" in graph._repr_html_()


def test_what_ran_is_drawn_beside_the_lanes() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    out = mha(tm.randn(1, 3, 8, requires_grad=True))
    graph = tm.viz.trace((out * out).sum(), model=mha)
    fused = graph.to_dot(heads="fused")
    for symbol in ("self-attention", "Σ Wᵢ hᵢ", "W_q", "×"):
        assert symbol in fused
    assert "head 1" not in fused
    assert "head 1" in graph.to_dot()
