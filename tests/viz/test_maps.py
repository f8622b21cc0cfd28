"""Maps: their names can be read and do not run into each other, whatever the number of cells."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.viz.maps import Map, Stencils, table, weight_fills
from tinygrad_mha.viz.theme import THEMES, viridis

LIGHT = THEMES["light"]


def layer(tokens: list[str], heads: int = 2, **options: object) -> str:
    mha = tm.nn.MultiHeadAttention(4 * heads, heads)
    loss = mha(tm.randn(1, len(tokens), 4 * heads), is_causal=True).sum()
    return tm.viz.trace(loss, model=mha, tokens=tokens).to_svg(**options)


def names_of(svg: str, among: set[str]) -> list[ET.Element]:
    """The labels of the first lane's map, rows and columns."""
    lane = svg[svg.index("<title>a0_0_map") :]
    node = lane[: lane.index("\n</g>")]
    root = ET.fromstring(f'<g xmlns:xlink="x">{node}</g>')
    return [e for e in root.iter("text") if e.text in among]


@pytest.mark.parametrize("count", [1, 3, 16, 17, 40, 64])
@pytest.mark.parametrize("size", [None, "column"])
def test_names_are_legible_and_stand_apart(count: int, size: str | None) -> None:
    tokens = [f"tok{i}" for i in range(count)]
    found = names_of(layer(tokens, size=size), set(tokens))
    rows = [e for e in found if e.get("text-anchor") == "end"]
    columns = [e for e in found if e.get("text-anchor") != "end"]
    assert len(rows) == len(columns) >= min(count, 6)
    assert rows[0].text == columns[0].text == "tok0"
    assert {e.get("font-size") for e in found} == {"9.00"}
    for line, along in ((rows, "y"), (columns, "x")):
        at = [float(e.get(along) or 0) for e in line]
        assert all(b - a >= 9 for a, b in pairwise(at)), "none over another"
    shown = [int((e.text or "")[3:]) for e in rows]
    assert len({b - a for a, b in pairwise(shown)}) <= 1, "every k-th"


def test_short_names_stand_upright_and_long_ones_are_turned() -> None:
    upright = layer(list("abc"))
    assert "rotate(-90" not in upright
    turned = layer(["some", "longer", "words"])
    assert turned.count("rotate(-90") == 6, "three columns in two lanes"


def test_colours_go_from_0_to_the_largest_or_to_a_given_weight() -> None:
    weights = np.array([[0.0, 0.5], [0.25, np.nan]])
    seen = np.array([[True, True], [False, True]])
    assert weight_fills(weights, seen, LIGHT) == [
        [viridis(0), viridis(1)], [LIGHT.masked, LIGHT.alarm],
    ]  # fmt: skip
    assert weight_fills(weights, seen, LIGHT, 1.0)[0][1] == viridis(0.5)


def test_a_map_is_painted_where_its_place_was_kept() -> None:
    stencils = Stencils(LIGHT)
    kept = stencils.place(Map([["#111111", LIGHT.masked]], 20, ["row"], ["a", "b"]))
    mark = re.search(r'BGCOLOR="(#0a\d{4})"', kept)
    assert mark is not None
    box = f'<polygon fill="{mark[1]}" stroke="none" points="100,100 100,60 170,60 170,100"/>'
    drawn = ET.fromstring(f"<g>{stencils.put(box)}</g>")
    assert {e.get("fill") for e in drawn.iter("path")} == {"#111111", "url(#masked)"}
    assert [e.text for e in drawn.iter("text")] == ["row", "a", "b"]
    assert all(100 <= float(e.get("x") or 0) <= 170 for e in drawn.iter("text"))


@pytest.mark.parametrize("side", [20, 9, 6, 4])
def test_names_of_a_table_have_the_room_they_need(side: int) -> None:
    names = [f"tok{i}" for i in range(24)]
    fills = [["#000000"] * 24] * 24
    text = table(Map(fills, side, names, names), "#777777")
    cells = re.findall(r'HEIGHT="(\d+)" FIXEDSIZE="TRUE"><FONT POINT-SIZE="(\d+)"', text)
    assert len(cells) >= 10
    for height, letters in cells:
        assert int(height) >= int(letters) >= 7, "no letter is higher than its cell"
    spans = [int(n) for n in re.findall(r'ROWSPAN="(\d+)"', text)]
    assert sum(spans) == 24
