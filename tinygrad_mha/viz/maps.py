"""Maps of attention: cells in colours, with names at their edges, hatched where it is forbidden.

A map as a table of cells is slow to lay out, large to keep, and cannot turn its names. Where the
picture becomes SVG, one cell stands for it, in a colour that nothing else has, and is replaced by
a path for each colour of the map: vectors, and small. Other formats get the table.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from .head_measures import pool
from .text import breadth, token
from .theme import Theme, viridis

#: Cells on a side, where they are drawn by Graphviz.
MOST_CELLS = 24

#: Size of the names' letters in points, and the least room from one to the next.
LETTERS, _NEXT = 9, 10

#: What the colours of weights mean, in every legend.
WEIGHTS = "attention weight, 0 to the map's largest"

#: How many steps of colour there are.
_STEPS = 32

#: From this side on a cell stands apart from the next one.
_APART = 5

#: Colours no theme has: the number of the map in the last four digits.
_MARK = re.compile(r'<polygon fill="#0a([0-9a-f]{4})"[^>]*points="([^"]*)"/>')


@dataclass(frozen=True)
class Map:
    """A map as it is to be drawn.

    Attributes
    ----------
    fills : list of list of str
        The cells' colours.
    side : float
        From one cell to the next, in points.
    rows, columns : list of str
        Names of all queries and keys, or nothing; where they are too close, each k-th is shown.
    signs : list of list of str
        What stands in each cell, or nothing.
    ink : str
        Colour of the signs.
    longest : int
        Letters of a name; of a longer one the middle is left out.
    """

    fills: list[list[str]]
    side: float
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    signs: list[list[str]] = field(default_factory=list)
    ink: str = ""
    longest: int = 8

    def name(self, text: str) -> str:
        """A name as it is shown."""
        return token(text, self.longest)

    @property
    def each(self) -> int:
        """Of how many names one is shown."""
        return math.ceil(_NEXT / self.side)

    @property
    def upright(self) -> bool:
        """Whether the columns' names fit over them as they are; else they are turned."""
        room = self.side * self.each
        return all(breadth(self.name(name), LETTERS) < room for name in self.columns)

    @property
    def left(self) -> float:
        """Room for the rows' names."""
        return _room(list(map(self.name, self.rows[:: self.each])))

    @property
    def top(self) -> float:
        """Room for the columns' names."""
        if not self.columns:
            return 0.0
        return (
            LETTERS + 3.0
            if self.upright
            else _room(list(map(self.name, self.columns[:: self.each])))
        )

    @property
    def width(self) -> int:
        """Of all of it, in points."""
        return math.ceil(self.left + self.side * len(self.fills[0]))

    @property
    def height(self) -> int:
        """Of all of it, in points."""
        return math.ceil(self.top + self.side * len(self.fills))


def _room(names: list[str]) -> float:
    return max((breadth(name, LETTERS) for name in names), default=-4.0) + 4.0


def weight_fills(
    weights: np.ndarray, visible: np.ndarray, theme: Theme, largest: float | None = None
) -> list[list[str]]:
    """Colours of weights, from 0 to `largest`, by default the map's own."""
    top = largest_weight(weights) if largest is None else largest

    def fill(weight: float, seen: bool) -> str:
        if not seen:
            return theme.masked
        if not math.isfinite(weight):
            return theme.alarm
        return viridis(round(min(1.0, weight / top) * _STEPS) / _STEPS)

    return [
        [fill(w, seen) for w, seen in zip(row, there, strict=True)]
        for row, there in zip(weights.tolist(), visible.tolist(), strict=True)
    ]


def largest_weight(weights: np.ndarray) -> float:
    """Of the finite ones; 1 where there is none above 0."""
    return float(weights[np.isfinite(weights)].max(initial=0.0)) or 1.0


def shrunk(values: list[list[float]], most: int = MOST_CELLS) -> tuple[np.ndarray, int]:
    """Average a map over squares until it has few enough cells; and how many share one."""
    array = np.asarray(values, np.float64)
    size = -(-max(array.shape) // most)
    return pool(array, size), size


def table(drawn: Map, faint: str) -> str:
    """Write a map as an HTML-like table, for a reader that gets no finishing."""
    gap = int(drawn.side > _APART)
    side = max(1, round(drawn.side) - gap)
    letters = min(LETTERS, max(7, side))
    wide = max((round(breadth(drawn.name(name), letters)) for name in drawn.rows), default=0) + 2

    def cell(
        words: str, fill: str = "", width: int = side, height: int = side, more: str = ""
    ) -> str:
        paint = f' BGCOLOR="{fill}"' if fill else ""
        return f'<TD{paint}{more} WIDTH="{width}" HEIGHT="{height}" FIXEDSIZE="TRUE">{words}</TD>'

    def letter(words: str, colour: str = faint) -> str:
        return f'<FONT POINT-SIZE="{letters}" COLOR="{colour}">{words}</FONT>' if words else ""

    def names(every: list[str], least: int) -> list[tuple[str, int, int]]:
        """Each name that is shown, of how many cells it has the room, and how many points."""
        each = math.ceil(least / (side + gap))
        counts = [(i, min(each, len(every) - i)) for i in range(0, len(every), each)]
        return [(every[i], n, n * (side + gap) - gap) for i, n in counts]

    rows = []
    corner = cell("", width=wide, height=letters + 2) if drawn.rows else ""
    if drawn.columns:
        heads = "".join(
            cell(
                letter(token(name, max(1, int(room / (letters * 0.6))))) if room >= letters else "",
                width=room, height=letters + 2, more=f' COLSPAN="{n}"',
            )
            for name, n, room in names(drawn.columns, 3 * letters if side < 12 else side)
        )  # fmt: skip
        rows.append(f"<TR>{corner}{heads}</TR>")
    beside: dict[int, str] = {}
    at = 0
    for name, n, room in names(drawn.rows, letters):
        words = letter(drawn.name(name)) if room >= letters else ""
        beside[at] = cell(words, width=wide, height=room, more=f' ROWSPAN="{n}"')
        at += n
    for i, line in enumerate(drawn.fills):
        signs = drawn.signs[i] if drawn.signs else [""] * len(line)
        cells = "".join(cell(letter(s, drawn.ink), f) for f, s in zip(line, signs, strict=True))
        rows.append(f"<TR>{beside.get(i, '')}{cells}</TR>")
    return (
        f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{gap}" CELLPADDING="0">'
        f"{''.join(rows)}</TABLE>"
    )


class Stencils:
    """The maps of one picture, to be put into its SVG.

    Parameters
    ----------
    theme : Theme
        Has the colour of the names, and that of the cells that are hatched, with the pattern
        that :mod:`.finish` defines.
    """

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self._maps: list[Map] = []

    def place(self, drawn: Map) -> str:
        """Register a map, and write the table that keeps its place.

        Returns
        -------
        str
            Part of an HTML-like label.
        """
        number = len(self._maps)
        if number > 0xFFFF:
            raise ValueError(f"a picture of more than {0xFFFF} maps; draw a part of it")
        self._maps.append(drawn)
        return (
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
            f'<TD BGCOLOR="#0a{number:04x}" WIDTH="{drawn.width}" HEIGHT="{drawn.height}" '
            'FIXEDSIZE="TRUE"></TD></TR></TABLE>'
        )

    def put(self, svg: str) -> str:
        """Draw the maps into what Graphviz wrote, each in its place."""
        return _MARK.sub(lambda mark: self._drawn(self._maps[int(mark[1], 16)], mark[2]), svg)

    def _drawn(self, drawn: Map, points: str) -> str:
        corners = [tuple(map(float, pair.split(","))) for pair in points.split()]
        left = min(x for x, _ in corners) + drawn.left
        top = min(y for _, y in corners) + drawn.top
        return self._paths(drawn, left, top) + self._names(drawn, left, top)

    def _paths(self, drawn: Map, left: float, top: float) -> str:
        fills, side = drawn.fills, drawn.side
        gap = side > _APART
        paths: dict[str, list[str]] = {}
        for r, row in enumerate(fills):
            start = 0
            for c in range(1, len(row) + 1):
                if gap or c == len(row) or row[c] != row[start]:  # a run of one colour
                    x, y, run = left + side * start, top + side * r, side * (c - start) - gap
                    # a little over the next row, or pixels between them would show
                    high = side - 1 if gap else side * 1.05
                    paths.setdefault(row[start], []).append(
                        f"M{x:.2f} {y:.2f}h{run:.2f}v{high:.2f}h{-run:.2f}z"
                    )
                    start = c
        crisp = "" if gap else 'shape-rendering="crispEdges" '
        return "".join(
            f'<path fill="{"url(#masked)" if fill == self.theme.masked else fill}" '
            f'{crisp}d="{"".join(paths[fill])}"/>\n'
            for fill in sorted(paths)
        )

    def _names(self, drawn: Map, left: float, top: float) -> str:
        """Names of rows and columns, each k-th; and the signs in the cells."""
        side, each = drawn.side, drawn.each
        low = 0.34 * LETTERS  # from the middle of the letters down to their line
        middles = [(i, side * i + (side - (side > _APART)) / 2) for i in range(0, 10**5, each)]

        def text(x: float, y: float, words: str, more: str) -> str:
            return f'<text x="{x:.2f}" y="{y:.2f}" font-family="Arial" {more}>{words}</text>\n'

        size = f'font-size="{LETTERS}.00" fill="{self.theme.faint}"'
        found = [
            text(left - 3, top + at + low, drawn.name(drawn.rows[i]), f'text-anchor="end" {size}')
            for i, at in middles
            if i < len(drawn.rows)
        ]
        for i, at in middles[: len(drawn.columns)]:
            if i >= len(drawn.columns):
                break
            x, y, turned = left + at, top - 3, ""
            if drawn.upright:
                anchor = "middle"
            else:
                x, anchor, turned = (
                    x + low,
                    "start",
                    f' transform="rotate(-90 {x + low:.2f} {y:.2f})"',
                )
            found.append(
                text(x, y, drawn.name(drawn.columns[i]), f'text-anchor="{anchor}" {size}{turned}')
            )
        for i, signs in enumerate(drawn.signs):
            for j, sign in enumerate(signs):
                if sign:
                    x, y = left + side * (j + 0.5), top + side * (i + 0.5) + low
                    look = f'text-anchor="middle" font-size="{LETTERS}.00" fill="{drawn.ink}"'
                    found.append(text(x, y, sign, look))
        return "".join(found)
