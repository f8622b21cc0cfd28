"""Sizes: whatever the model, what is drawn for a slide or a column can be read there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_mha as tm
from tinygrad_mha.viz import render as render_module
from tinygrad_mha.viz.picture import SIZES

from .test_pictures import gpt, texts


def layer(heads: int, words: int = 6) -> tm.viz.Graph:
    tm.manual_seed(1)
    mha = tm.nn.MultiHeadAttention(4 * heads, heads)
    out = mha(tm.randn(1, words, 4 * heads), is_causal=True)
    tokens = [f"word{i}" for i in range(words)]
    return tm.viz.trace((out * out).mean(), model=mha, tokens=tokens)


def translator() -> tm.viz.Graph:
    tm.manual_seed(1)
    model = tm.nn.EncoderDecoder(11, 13, embed_dim=16, num_heads=4, num_layers=3)
    out = model(tm.tensor([[1, 2, 3, 4, 5]]), tm.tensor([[1, 2, 3, 4]]))
    return tm.viz.trace(out.sum(), model=model)


def perceptron() -> tm.viz.Graph:
    layers = [tm.nn.Linear(4, 4) for _ in range(20)]
    model = tm.nn.Sequential(*layers)
    return tm.viz.trace(model(tm.ones(1, 4)).sum(), model=model)


MODELS: dict[str, Callable[[], tm.viz.Graph]] = {
    "4 heads": lambda: layer(4),
    "8 heads": lambda: layer(8),
    "16 heads": lambda: layer(16),
    "200 words": lambda: layer(4, 200),
    "4 layers": lambda: gpt(4, 4),
    "12 layers": lambda: gpt(12, 8),
    "encoder-decoder": translator,
    "no attention": perceptron,
}

#: Points that letters have at the least: on paper, and on a slide.
LEAST = {"slide": 7.2, "page": 6.0, "column": 6.0}


def smallest(svg: str) -> float:
    """Points of the smallest letters as they are seen; those set lower or higher are smaller."""
    shown = re.search(r'<svg width="([\d.]+)pt"', svg)
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    assert shown is not None
    assert box is not None
    sizes = {float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)} - {8.0}
    return min(sizes) * float(shown[1]) / float(box[1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", MODELS)
def test_a_picture_can_be_read_at_its_size(model: str, size: str) -> None:
    svg = MODELS[model]().to_svg(size=size)
    assert smallest(svg) >= LEAST[size] - 0.01
    wide, high = re.findall(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)[0]
    inches = float(wide) / 72, float(high) / 72
    assert all(is_ <= most + 0.01 for is_, most in zip(inches, SIZES[size], strict=True))
    words = texts(svg)
    if model != "no attention":
        assert any(re.fullmatch(r"head \d+", word) for word in words), "lanes at every size"
        assert any("attention weight" in word for word in words)


@functools.cache
def changed(heads: int, layers: int = 0) -> tm.viz.Diff:
    """Before and after the attention of a model moved."""
    tm.manual_seed(1)
    model: tm.nn.Module = tm.nn.MultiHeadAttention(4 * heads, heads)
    x = tm.randn(1, 6, 4 * heads)
    if layers:
        model = tm.nn.GPT(9, 6, embed_dim=4 * heads, num_heads=heads, num_layers=layers)
        x = tm.tensor([[1, 2, 3, 4, 5, 6]])
    graphs = []
    for _ in range(2):
        out = model(x)
        graphs.append(tm.viz.trace((out * out).mean(), model=model))
        for parameter in model.parameters():
            parameter.data[...] *= 1.5
    return graphs[0].diff(graphs[1], names=("a rather long name for a state " * 2, "after"))


@functools.cache
def words_of_whole(heads: int, layers: int) -> str:
    return " ".join(texts(changed(heads, layers).to_svg()))


@pytest.mark.parametrize("size", [*SIZES, (6.0, 7.0)])
@pytest.mark.parametrize(("heads", "layers"), [(2, 0), (12, 0), (4, 2), (6, 4)])
def test_a_diff_can_be_read_at_its_size(
    heads: int, layers: int, size: str | tuple[float, float]
) -> None:
    diff = changed(heads, layers)
    svg = diff.to_svg(size=size)
    assert smallest(svg) >= LEAST.get(str(size), 6.0) - 0.01
    wide, high = re.findall(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)[0]
    asked = SIZES[size] if isinstance(size, str) else size
    assert float(wide) / 72 <= asked[0] + 0.01
    assert float(high) / 72 <= asked[1] + 0.01
    words = " ".join(texts(svg))
    drawn = set(re.findall(r"\bhead (\d+)", words))
    assert drawn
    left = re.search(r"and (\d+) more heads, which moved less", words)
    most = max(len(drawn), 1)
    assert left is None or most + int(left[1]) >= heads  # of each layer, what is not drawn is said
    if words.count("moved") < words_of_whole(heads, layers).count("moved"):
        assert left or "attention first, then what changed most" in words


def test_a_diff_has_no_size_too_small_to_be_read() -> None:
    with pytest.raises(
        ValueError, match=r"letters would be smaller than 6 points.*would be enough"
    ):
        changed(2).to_svg(size=(1.0, 1.0))
    with pytest.raises(ValueError, match="size is 'poster'"):
        changed(2).to_svg(size="poster")


def test_a_diff_for_a_slide_shows_the_way_between_what_is_drawn(tmp_path: Path) -> None:
    diff = changed(2, 4)
    dot = diff.to_dot(size="slide")
    assert 'size="13.33,7.5!"' in dot
    assert "style=dotted" in dot
    assert "dotted: by what is not drawn" in dot
    assert diff.save(tmp_path / "d.png", size="slide").read_bytes()[1:4] == b"PNG"
    assert diff.to_dot(size="slide") == dot


def boxes(svg: str, name: str) -> list[tuple[float, float]]:
    """Where a title stands in a picture: from above, then from the left."""
    found = []
    for y, x, inner in re.findall(
        r'<text[^>]* (?=[^>]*y="(-?[\d.]+)")[^>]*x="(-?[\d.]+)"[^>]*>(.*?)</text>', svg, re.S
    ):
        if re.sub(r"<[^>]*>|&#160;|\s", "", inner) == name:
            found.append((float(y), float(x)))
    return sorted(found)


def test_an_encoder_decoder_on_a_slide_shows_both_sequences_and_every_kind_of_attention() -> None:
    svg = translator().to_svg(size="slide")
    words = texts(svg)
    for kind in ("encoder.0.self_attn", "decoder.0.self_attn", "decoder.0.multihead_attn"):
        assert any(kind in word for word in words), kind
    assert any("3 of 9 attentions, one of each kind" in word for word in words)
    assert not any("constant of" in word for word in words)
    upper, lower = boxes(svg, "source")[0][0], boxes(svg, "target")[0][0]
    assert upper < lower
    rows = ("source", "positions", "encoder_norm"), ("target", "positions", "decoder_norm", "head")
    for row, names in zip((upper, lower), rows, strict=True):
        places = [min(x for y, x in boxes(svg, name) if y == row) for name in names]
        assert places == sorted(places), names


def test_a_language_model_has_one_row_of_boxes() -> None:
    svg = gpt(2).to_svg(size="slide")
    rows = {
        y for name in ("positions", "blocks.0", "blocks.1", "head") for y, _ in boxes(svg, name)
    }
    assert len(rows) == 1


@pytest.mark.parametrize("size", ["slide", "column"])
def test_what_was_folded_is_said_and_counted(size: str) -> None:
    words = " ".join(texts(gpt(12).to_svg(size=size)))
    assert "folded to fit this size" in words
    assert "the first of 12 attentions is open below" in words
    assert "TransformerBlock × 12" in words
    assert "blocks.0.attention" in words
    assert "folded to fit" not in " ".join(texts(gpt(12).to_svg()))


def test_a_slide_has_as_many_lanes_as_fit_and_names_the_others() -> None:
    assert sum(w.startswith("head ") for w in texts(layer(4).to_svg(size="slide"))) == 4
    words = texts(layer(16).to_svg(size="slide"))
    drawn = {int(word[5:]) for word in words if re.fullmatch(r"head \d+", word)}
    (rest,) = (word for word in words if "more heads" in word)
    assert len(drawn) >= 6
    assert rest.startswith(f"and {16 - len(drawn)} more heads")
    named = {int(word) for word in words if word.isdigit()}
    assert named >= set(range(1, 17)) - drawn, "each of the rest is named with its share"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"size": (0.4, 0.4)}, r"depth=0 or module= draws less, and size=\(\d"),
        ({"size": "column", "depth": 4}, r"smaller than 6 points.*depth=0 or module="),
        ({"size": (0.4, 0.4), "depth": 0}, r"be; module= draws less|; module= draws less"),
    ],
)
def test_what_nobody_could_read_is_refused(
    options: dict[str, object], remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        gpt(4, 8).save(tmp_path / "g.svg", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    wide, high = map(float, re.findall(r"size=\(([\d.]+), ([\d.]+)\)", str(caught.value))[0])
    gpt(4, 8).to_svg(**{**options, "size": (wide, high)})  # type: ignore[arg-type]


def test_dot_has_the_same_form_as_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = gpt(4, 4)
    assert "is open below" in graph.to_dot(size="slide")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(render_module, "_pure", lambda: None)
    assert "digraph" in graph.to_dot(size="slide"), "as it is, where nothing can lay it out"


def test_a_size_is_found_also_where_the_whole_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = render_module.layout

    def slow(dot: str, kind: str) -> bytes:
        if "cluster_m0" in dot:
            raise render_module.SlowLayoutError("too long")
        return real(dot, kind)

    monkeypatch.setattr(render_module, "layout", slow)
    assert "open below" in " ".join(texts(gpt(4).to_svg(size="slide")))


def test_many_inputs_stand_in_rows_of_two_where_it_is_narrow() -> None:
    class Four(tm.nn.Module):
        """Several things of which one is made."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = tm.nn.Parameter(tm.ones(8))
            self.layers = tm.nn.ModuleList([tm.nn.TransformerEncoderLayer(8, 2) for _ in range(3)])

        def forward(self, words: Any, places: Any, speakers: Any, times: Any) -> Any:
            x = self.scale * words + self.scale * places
            x = x + self.scale * speakers + self.scale * times
            for layer in self.layers:
                x = layer(x)
            return x

    graph = tm.viz.trace(Four(), tuple(tm.randn(1, 4, 8) for _ in range(4)))
    dot = graph.to_dot(size="column", depth=0)
    inputs = re.findall(r"^\t(v\d+) \[label=<<TABLE[^>]*COLOR=\"#009e73\"", dot, re.M)
    assert len(inputs) >= 4
    stacked = set(re.findall(r"^\t(v\d+) -> (v\d+) \[style=invis\]", dot, re.M))
    assert stacked >= {(inputs[0], inputs[2]), (inputs[1], inputs[3])}
