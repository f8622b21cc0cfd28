"""What Graphviz cannot say, added to its SVG: hatching, small letters in their place, size.

Only what Graphviz itself wrote is matched: it escapes every ``<`` and ``"`` in a text,
so no name can look like the beginning of an element.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .data import Trace
from .maps import Stencils
from .picture import Picture
from .text import breadth

#: Fonts as wide as the one the layout was measured with; the last is the usual one of a Linux
#: without it, whose ordinary width would run over the boxes.
FONTS = "Arial, Helvetica, 'Liberation Sans', Arimo, 'DejaVu Sans Condensed', sans-serif"

_SMALL = re.compile(r'(<text [^>]*?y=")(-?[\d.]+)("[^>]*?) baseline-shift="(sub|super)"')
#: Of what Graphviz wrote: width and height in points.
SIZE = re.compile(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"')
_NODE = re.compile(r'<g id="node\d+" class="node">.*?</g>\n', re.S)
_BOX = re.compile(r'<path [^>]*stroke="[^"]*"[^>]* d="([^"]*)"/>')
_TEXT = re.compile(
    r'<text (?:xml:space="preserve" )?text-anchor="start" x="(-?[\d.]+)" y="(-?[\d.]+)"([^>]*)>'
    r"([^<]*)</text>\n"
)
_FRAME = re.compile(r'<g id="clust\d+" class="cluster">.*?</g>\n', re.S)


def finish(
    svg: str,
    data: Trace,
    picture: Picture,
    stencils: Stencils,
    words: str = "Graph of a computation",
) -> str:
    """Turn Graphviz's SVG into the one that is shown; `words` say what of."""
    t = picture.colours
    svg = stencils.put(svg)
    svg = svg.replace('font-family="Arial"', f'font-family="{FONTS}"')
    # not every reader knows baseline-shift; moving the letters, every one does
    svg = _SMALL.sub(
        lambda m: f"{m[1]}{float(m[2]) + (2.2 if m[4] == 'sub' else -3.2):.2f}{m[3]}", svg
    )
    svg = svg.replace(f'<polygon fill="{t.masked}"', '<polygon fill="url(#masked)"')
    svg = _NODE.sub(lambda m: _centred(m[0]), svg)
    svg = _titles_over_arrows(svg)
    return _sized(svg, data, picture, words)


def _sized(svg: str, data: Trace, picture: Picture, words: str) -> str:
    """Let it shrink with what it stands in, which notebooks would clip; or have the size asked."""
    t = picture.colours
    size = SIZE.search(svg)
    if size is None:
        return svg
    width, height = float(size[1]), float(size[2])
    if picture.inches is None:
        style = f'width="100%" style="max-width:{width * 4 / 3:.0f}px;height:auto"'
    else:
        scale = min(picture.inches[0] * 72 / width, picture.inches[1] * 72 / height)
        style = f'width="{width * scale:.1f}pt" height="{height * scale:.1f}pt"'
    hatch = (
        '<defs><pattern id="masked" width="4" height="4" patternUnits="userSpaceOnUse">'
        f'<rect width="4" height="4" fill="{t.masked}"/>'
        f'<path d="M-1 1L1 -1M0 4L4 0M3 5L5 3" stroke="{t.hatch}" stroke-width="0.7"/>'
        "</pattern></defs>\n"
    )
    heads = sum(len(a.lanes) for a in data.attentions)
    words = f"{words}: {len(data.vertices)} values, {heads} heads"
    begin = svg.index(size[0])
    open_end = svg.index(">", begin) + 1
    opening = svg[begin:open_end].replace(size[0], f'<svg {style} role="img" aria-label="{words}"')
    return svg[:begin] + opening + "\n" + hatch + svg[open_end:].lstrip("\n")


def _centred(node: str) -> str:
    """Centre each line in its box, however wide the reader's letters are."""
    boxes = []
    for path in _BOX.findall(node):
        corners = [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]
        across, down = zip(*corners, strict=True)
        boxes.append((min(across), max(across), min(down), max(down)))
    lines: dict[tuple[Any, str], list[re.Match[str]]] = {}
    for text in _TEXT.finditer(node):
        x, y = float(text[1]), float(text[2])
        found = [box for box in boxes if box[0] <= x <= box[1] and box[2] <= y <= box[3]]
        if found:
            box = min(found, key=lambda box: box[1] - box[0])
            lines.setdefault((box, text[2]), []).append(text)
    for (box, line), pieces in lines.items():
        near = sum(of == box and abs(float(at) - float(line)) < 6 for of, at in lines)
        ends = [float(p[1]) + breadth(p[4], float(_letters(p))) + 24 for p in pieces]
        apart = any(float(b[1]) > end for end, b in zip(ends, pieces[1:], strict=False))
        if near > 1 or apart:  # small letters in between, or cells side by side
            continue
        middle = f'text-anchor="middle" x="{(box[0] + box[1]) / 2:.2f}" y="{line}"'
        if len(pieces) == 1:
            whole = f"<text {middle}{pieces[0][3]}>{pieces[0][4]}</text>\n"
        else:
            spans = "".join(f"<tspan{p[3]}>{p[4]}</tspan>" for p in pieces)
            whole = f'<text xml:space="preserve" {middle}>{spans}</text>\n'
        node = node.replace(pieces[0][0], whole)
        for piece in pieces[1:]:
            node = node.replace(piece[0], "")
    return node


def _letters(text: re.Match[str]) -> str:
    size = re.search(r'font-size="([\d.]+)"', text[3])
    return size[1] if size else "11"


def _titles_over_arrows(svg: str) -> str:
    """Write frames' titles last, with a rim of the frame's colour: no arrow strikes them out."""
    titles: list[str] = []

    def lift(frame: re.Match[str]) -> str:
        fill = re.search(r'<path fill="([^"]*)"', frame[0])
        texts: Sequence[str] = re.findall(r"<text .*?</text>\n", frame[0], re.S)
        if fill is None or not texts:
            return frame[0]
        rim = (
            f'<g paint-order="stroke" stroke="{fill[1]}" stroke-width="4" stroke-linejoin="round">'
        )
        titles.append(rim + "".join(texts) + "</g>\n")
        return re.sub(r"<text .*?</text>\n", "", frame[0], flags=re.S)

    svg = _FRAME.sub(lift, svg)
    return svg.replace("</g>\n</svg>", "".join(titles) + "</g>\n</svg>")
