"""What Graphviz cannot say, added to its SVG: hatching, small letters in their place, size.

Only what Graphviz itself wrote is matched: it escapes every ``<`` and ``"`` in a text,
so no name can look like the beginning of an element.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .cards import largest_weight
from .data import Lane, Trace
from .picture import Picture
from .theme import viridis

#: Fonts as wide as the one the layout was measured with; the last is the usual one of a Linux
#: without it, whose ordinary width would run over the boxes.
FONTS = "Arial, Helvetica, 'Liberation Sans', Arimo, 'DejaVu Sans Condensed', sans-serif"

#: How many steps of colour a large map is drawn in.
_STEPS = 24

#: In place of a step: attention was forbidden; the weight is no finite number.
_MASKED, _BROKEN = -1, -2

_SMALL = re.compile(r'(<text [^>]*?y=")(-?[\d.]+)("[^>]*?) baseline-shift="(sub|super)"')
_SIZE = re.compile(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"')
_MAP = re.compile(
    r'(<title>(a\d+)_(\d+)_map</title>.*?)<polygon fill="#0a0b0c"[^>]*points="([^"]*)"/>', re.S
)
_FRAME = re.compile(r'<g id="clust\d+" class="cluster">.*?</g>\n', re.S)


def finish(svg: str, data: Trace, picture: Picture, words: str = "Graph of a computation") -> str:
    """Turn Graphviz's SVG into the one that is shown; `words` say what of."""
    t = picture.colours
    svg = svg.replace('font-family="Arial"', f'font-family="{FONTS}"')
    # not every reader knows baseline-shift; moving the letters, every one does
    svg = _SMALL.sub(
        lambda m: f"{m[1]}{float(m[2]) + (2.2 if m[4] == 'sub' else -3.2):.2f}{m[3]}", svg
    )
    svg = svg.replace(f'<polygon fill="{t.masked}"', '<polygon fill="url(#masked)"')
    svg = _MAP.sub(lambda m: m[1] + _map(data, m[2], int(m[3]), m[4], t.alarm), svg)
    svg = _titles_over_arrows(svg)
    return _sized(svg, data, picture, words)


def _sized(svg: str, data: Trace, picture: Picture, words: str) -> str:
    """Let it shrink with what it stands in, which notebooks would clip; or have the size asked."""
    t = picture.colours
    size = _SIZE.search(svg)
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


def _map(data: Trace, attention: str, head: int, points: str, alarm: str) -> str:
    """A large map as one path for each step of colour: vectors, and small."""
    found = data.attentions[int(attention[1:])]
    lane = next(lane for lane in found.lanes if lane.head == head)
    corners = [tuple(map(float, pair.split(","))) for pair in points.split()]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    wide = max(x for x, _ in corners) - left
    high = max(y for _, y in corners) - top
    rows, columns = len(lane.weights), len(lane.weights[0])
    paths: dict[int, list[str]] = {}
    for r, steps in enumerate(_steps(lane)):
        y = top + high * r / rows
        start = 0
        for c in range(1, columns + 1):
            if c == columns or steps[c] != steps[start]:  # a run of one colour
                x, run = left + wide * start / columns, wide * (c - start) / columns
                paths.setdefault(steps[start], []).append(
                    f"M{x:.2f} {y:.2f}h{run:.2f}v{high / rows:.2f}h{-run:.2f}z"
                )
                start = c
    return "".join(
        f'<path fill="{_paint(step, alarm)}" '
        f'shape-rendering="crispEdges" d="{"".join(paths[step])}"/>\n'
        for step in sorted(paths)
    )


def _paint(step: int, alarm: str) -> str:
    """Colour of a step."""
    if step == _BROKEN:
        return alarm
    return "url(#masked)" if step == _MASKED else viridis(step / _STEPS)


def _steps(lane: Lane) -> list[list[int]]:
    """Each cell's step of colour, or that attention was forbidden, or is no finite number."""
    largest = largest_weight(lane)

    def step(weight: float, seen: bool) -> int:
        if not seen:
            return _MASKED
        if not math.isfinite(weight):
            return _BROKEN
        return round(min(1.0, weight / largest) * _STEPS)

    return [
        [step(w, seen) for w, seen in zip(row, allowed, strict=True)]
        for row, allowed in zip(lane.weights, lane.visible, strict=True)
    ]


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
