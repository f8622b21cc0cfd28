"""Pictures: that they can be drawn anywhere, and show names as text, whatever the names are."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.viz import graph as graph_module
from tinygrad_mha.viz import render as render_module
from tinygrad_mha.viz.text import token

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


def without_typst(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "typst" else real(name, *rest),
    )


def gpt(layers: int = 2, heads: int = 2) -> tm.viz.Graph:
    tm.manual_seed(2)
    model = tm.nn.GPT(11, 8, embed_dim=4 * heads, num_heads=heads, num_layers=layers)
    loss = tm.cross_entropy(model(tm.tensor([[1, 2, 3]])).reshape(-1, 11), tm.tensor([2, 3, 4]))
    return tm.viz.trace(loss, model=model)


def texts(svg: str) -> list[str]:
    """What a reader of the picture reads."""
    pieces = (e for e in ET.fromstring(svg).iter() if e.tag.endswith(("}text", "}tspan")))
    return [(e.text or "").strip() for e in pieces]


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
        # the data's, what ran, the colours of a notebook around it, and the program's own
        assert page.count("</script>") == 4
        for suffix in ("svg", "dot", "json", "html", "png"):
            graph.save(tmp_path / f"g.{suffix}")
        assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
        read_back = render_module.layout((tmp_path / "g.dot").read_text(), "svg").decode()
        safe(read_back)  # whoever draws the DOT elsewhere is safe too


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_in_every_kind_of_picture(name: str) -> None:
    graph = hostile_model(name or "empty")
    path = graph.data.modules[0].path
    for options in (
        {"module": path, "direction": "both"},
        {"depth": 0},
        {"heads": "fused", "direction": "backward"},
        {"head": 1, "size": "column"},
        {"size": "slide", "theme": "dark"},
        {"size": "column", "direction": "backward"},
    ):
        safe(graph.to_svg(**options))


def test_text_that_looks_like_what_finishing_looks_for_stays_text() -> None:
    for name in (
        '<text y="1" baseline-shift="sub"',
        '<polygon fill="#e9ecef"',
        "<title>a0_0_map</title><polygon",
        "</g>\n</svg>",
        'width="1pt"',
    ):
        svg = attention([name[:7], "b"], title=name).to_svg()
        safe(svg)
        shown = " ".join(texts(svg)).replace("\xa0", " ")
        assert name.replace("\n", "⟨a⟩")[:20] in shown


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
    shares = sorted(graph.heads[0].lanes, key=lambda lane: -lane.contribution)
    drawn = {int(n) for n in re.findall(r">head (\d+)<", svg)}
    assert drawn == {lane.head + 1 for lane in shares[:8]}
    assert "4 more heads" in svg
    for lane in shares[8:]:
        assert f">{lane.contribution:.3g}<" in svg, "each of the rest is named with its share"


def test_without_attention_every_operation_is_drawn_while_that_can_be_read() -> None:
    mlp = tm.nn.Sequential(tm.nn.Linear(2, 3), tm.nn.Tanh(), tm.nn.Linear(3, 1))
    dot = tm.viz.trace(mlp(tm.ones(1, 2)).sum(), model=mlp).to_dot()
    assert "tanh" in dot
    assert "<B>weight</B>" in dot, "its frame says of what"
    x = tm.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(30):
        y = y * 1.5
    assert tm.viz.trace(y).to_svg().count('<g id="node') >= 30


def test_png_is_drawn_without_a_graphviz_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    without_typst(monkeypatch)
    png = attention(list("ab")).save(tmp_path / "g.png", size=(4, 3)).read_bytes()
    assert png.startswith(b"\x89PNG")
    wide, high = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
    assert max(wide / (4 * 300), high / (3 * 300)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", [None, "column", (4.0, 3.0)])
def test_png_and_pdf_from_typst_have_the_size_that_was_asked_for(
    size: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require.module("typst")
    monkeypatch.setenv("PATH", "")
    graph = attention(list("ab"))
    pdf = graph.save(tmp_path / "g.pdf", size=size).read_bytes()
    box = re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert pdf.startswith(b"%PDF")
    assert box is not None
    png = graph.save(tmp_path / "g.png", size=size).read_bytes()
    wide, high = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
    dots = 300 if size else 192
    assert wide == pytest.approx(float(box[1]) * dots / 72, abs=2)
    assert high == pytest.approx(float(box[2]) * dots / 72, abs=2)
    if size is not None:
        most = (3.35, 9.0) if size == "column" else size
        fills = float(box[1]) / 72 / most[0], float(box[2]) / 72 / most[1]
        assert max(fills) == pytest.approx(1, abs=0.01), "as large as fits, and no larger"


def test_the_fonts_of_a_pdf_are_in_it(tmp_path: Path) -> None:
    require.module("typst")
    pdf = attention(["∇", "sat"]).save(tmp_path / "g.pdf", size="column").read_bytes()
    fonts = set(re.findall(rb"/BaseFont ?/([\w+-]+)", pdf))
    assert fonts
    assert all(re.match(rb"[A-Z]{6}\+", font) for font in fonts), "each is a subset of its own"
    assert len(re.findall(rb"/FontFile[23]?\b", pdf)) >= len(fonts)


def test_pdf_without_graphviz_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    without_typst(monkeypatch)
    with pytest.raises(
        RuntimeError, match=r"pip install 'tinygrad-mha\[pdf\]'.*install Graphviz.*\.svg"
    ):
        attention(list("ab")).save(tmp_path / "g.pdf")
    assert list(tmp_path.iterdir()) == []


def test_pdf_with_the_systems_graphviz(
    system_dot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_typst(monkeypatch)
    assert attention(list("ab")).save(tmp_path / "g.pdf").read_bytes().startswith(b"%PDF")


def test_with_nothing_that_draws_the_error_names_both_ways(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(render_module, "_pure", lambda: None)
    without_typst(monkeypatch)
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
        ("g.svg", {"theme": "pink"}, "'light', 'dark' or 'print'"),
        ("g.html", {"theme": "print"}, "'system', 'light' or 'dark'"),
        ("g.json", {"theme": "dark"}, r"theme means nothing for .json; .*\.svg, .*\.html"),
        ("g.html", {"head": 0}, r"head means nothing for .html; it is for \.svg, \.png"),
        ("g.txt", {"depth": 1}, "depth means nothing for .txt"),
        ("g.svg", {"direction": "up"}, "'forward', 'backward' or 'both'"),
        ("g.svg", {"depth": -1}, "depth is -1"),
        ("g.dot", {"module": "attention"}, "no module of that name ran"),
        ("g.svg", {"head": 2}, "head is 2; there are 2, counted from 0"),
        ("g.dot", {"head": 99}, "head is 99; there are 2, counted from 0"),
        ("g.svg", {"head": 99, "depth": 0}, "head is 99; there are 2, counted from 0"),
        ("g.dot", {"head": -1}, "head is -1; there are 2, counted from 0"),
        ("g.svg", {"head": 0, "heads": "fused"}, "draws none"),
        ("g.svg", {"size": "poster"}, "one of .'slide', 'page', 'column'"),
        ("g.svg", {"size": (0, 3)}, r"expected \(width, height\) in inches"),
    ],
)
def test_wrong_options(path: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        attention(list("ab")).save(tmp_path / path, **options)


@pytest.mark.parametrize("path", ["g.svg", "g.html", "g.json"])
def test_an_option_that_there_is_not_suggests_the_nearest(path: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^save: there is no option 'them'; did you mean theme"):
        attention(list("ab")).save(tmp_path / path, them="dark")  # type: ignore[call-arg]


@pytest.mark.parametrize("suffix", ["svg", "html", "txt"])
def test_a_folder_that_is_not_there_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "nodir" / f"a.{suffix}"
    with pytest.raises(FileNotFoundError, match="nodir' does not exist") as caught:
        attention(list("ab")).save(path)
    assert caught.value.filename == str(path)


def test_a_head_of_a_graph_without_any_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 0"):
        tm.viz.trace(tm.ones(2, requires_grad=True).sum()).to_svg(head=0)


def test_a_lone_layer_says_that_there_are_no_modules() -> None:
    layer = tm.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"no names in it$"):
        tm.viz.trace(layer(tm.ones(1, 2)).sum(), model=layer).to_svg(module="blok")


def test_the_table_is_saved_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    graph = attention(list("ab"))
    text = graph.save(tmp_path / "g.txt").read_text("utf-8")
    assert "softmax" in text
    assert max(map(len, graph.table().splitlines()[:5])) <= 30
    assert max(map(len, text.splitlines()[:5])) > 60
    assert "head  index" in text


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


def test_masked_cells_are_hatched_and_a_large_map_is_vectors() -> None:
    svg = attention([str(i) for i in range(40)]).to_svg()
    assert '<pattern id="masked"' in svg
    assert 'fill="#0a0' not in svg, "every map has been painted"
    assert svg.count('<path fill="url(#masked)"') == 2, "one for each head"
    assert len(re.findall(r'<path fill="#[0-9a-f]{6}" shape-rendering', svg)) > 10
    assert 'BGCOLOR="#0a' not in attention(["a"] * 40).to_dot(), "a table, coarse if need be"
    assert 'fill="url(#masked)"' in attention(list("abc")).to_svg()


def test_a_pooled_map_says_so() -> None:
    assert "mean of 16×16 weights" in " ".join(
        texts(attention([str(i) for i in range(1000)]).to_svg())
    )


def test_depth_folds_modules() -> None:
    graph = gpt(2)
    whole, blocks, one = (texts(graph.to_svg(depth=d)) for d in (None, 1, 0))
    assert "head 1" in whole
    assert "head 1" not in blocks
    assert {"blocks.0", "blocks.1"} <= set(blocks)
    assert "GPT" in one
    assert "TransformerBlock" not in " ".join(one)


def test_like_layers_are_drawn_once_and_counted() -> None:
    words = texts(gpt(12).to_svg())
    assert any("× 11" in word for word in words)
    assert "blocks.1 … blocks.11" in words
    assert sum(word == "head 1" for word in words) == 1
    closed = " ".join(texts(gpt(12).to_svg(depth=1)))
    assert "× 12" in closed


def test_one_module_and_one_head() -> None:
    graph = gpt(3)
    part = graph.part("blocks.1")
    assert len(part.heads) == 1
    assert part.heads[0].proof == graph.heads[1].proof
    tm.viz.Graph.from_json(part.to_json())  # a good trace of its own
    words = texts(graph.to_svg(module="blocks.1", head=1))
    assert "head 2" in words
    assert "head 1" not in words
    assert any("1 other heads" in word for word in words)
    made = {edge.target for edge in part.data.edges}
    given = {v.kind for v in part.data.vertices if v.id not in made}
    assert given == {"input", "parameter"}


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("heads", ["lanes", "fused"])
def test_directions(direction: str, heads: str) -> None:
    dot = attention(list("ab")).to_dot(direction=direction, heads=heads)
    edges = [line for line in dot.splitlines() if " -> " in line]
    arrows = [line for line in edges if "style=invis" not in line and "dir=none" not in line]
    back = sum("dir=back" in line for line in arrows)
    assert back == {"forward": 0, "backward": len(arrows), "both": len(arrows) // 2}[direction]
    assert ("arrow back" in dot) == (direction != "forward")


def test_gradients_that_are_wrong_are_marked_and_missing_ones_are_not_zero() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    cases = {
        "NaN": (x * np.nan).sum(),
        "∞": ((x * 1e30) * 1e30).sum(),
        "vanishing": ((x * 1e-5) * 1e-5).sum(),
        "exploding": ((x * 1e3) * 1e3).sum(),
    }
    for word, loss in cases.items():
        dot = tm.viz.trace(loss).to_dot(direction="backward")
        assert re.search(f"dashed: [^<]*{word}", dot), word
    silent = tm.viz.trace(x * 2.0).to_dot(direction="backward")
    assert "gradient not computed" in silent
    assert "style=dotted" in silent
    assert "‖∇‖" not in silent.replace("arrow back: ‖∇‖", "")


def test_values_that_are_no_numbers_are_seen_in_the_box() -> None:
    x = tm.tensor([1.0, np.inf, np.nan], requires_grad=True)
    assert "1 NaN, 1 ∞" in tm.viz.trace((x * 1.0).sum()).to_dot()


def test_a_tampered_lane_is_reported_in_the_picture() -> None:
    data = json.loads(attention(list("ab")).to_json())
    data["attentions"][0]["proof"]["output"] = 0.5
    graph = tm.viz.Graph.from_json(json.dumps(data))
    for theme, alarm in (("light", "#b00020"), ("dark", "#ff6b6b")):
        svg = graph.to_svg(theme=theme)
        (line,) = (line for line in svg.splitlines() if "DO NOT ADD UP" in line)
        assert f'fill="{alarm}"' in line


def test_cross_attention_shows_what_comes_from_where() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    x, memory = tm.randn(1, 3, 8), tm.randn(1, 4, 8)
    words = texts(tm.viz.trace(mha, (x, memory, memory)).to_svg())
    assert {"q of every head", "k, v of every head"} <= set(words)


def test_many_operations_without_modules_are_drawn_in_stretches() -> None:
    x = tm.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 1.5 + 0.1
    svg = tm.viz.trace(y).to_svg()
    assert svg.count('class="node"') < 100
    assert "150 operations" in " ".join(texts(svg))


def test_a_layout_that_takes_too_long_shows_the_collapsed_picture_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = render_module.layout

    def slow(dot: str, kind: str) -> bytes:
        if "cluster_a0_0" in dot:
            raise render_module.SlowLayoutError("too long")
        return real(dot, kind)

    monkeypatch.setattr(render_module, "layout", slow)
    words = " ".join(texts(gpt(2).to_svg()))
    assert "collapsed: the whole picture's layout took more than" in words
    assert "TransformerBlock" in words


def test_modules_deep_inside_each_other_are_folded() -> None:
    class Deep(tm.nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.inner = Deep(depth - 1) if depth else tm.nn.Linear(2, 2)

        def forward(self, x: tm.Tensor) -> tm.Tensor:
            return self.inner(x)

    model = Deep(60)
    svg = tm.viz.trace(model, tm.ones(1, 2)).to_svg()
    assert svg.count('class="cluster"') == 20


def test_the_loss_without_a_head_stands_in_its_lane() -> None:
    graph = gpt(1)
    assert "loss without" not in graph.to_svg()
    graph.ablate()
    words = texts(graph.to_svg())
    for lane in graph.heads[0].lanes:
        assert lane.ablation is not None
        assert f"loss without it {lane.ablation:+.3g}".replace("-", "−") in words


def test_long_tokens_are_cut_in_their_middle() -> None:
    names = [token(f"extraordinarily_long_{i}") for i in range(20)]
    assert len(set(names)) == 20
    assert {len(name) for name in names} == {8}
    assert token("extraordinary") == "extr…ary"
    assert token("short") == "short"
    assert token("<>&<>&<>&<>&", 5) == "&lt;&gt;…&gt;&amp;"
