"""Maps of many cells in a picture that Graphviz lays out.

A map as a table of cells is slow to lay out and large to keep. Where the picture becomes SVG,
one cell stands for it, in a colour that nothing else has, and is replaced by a path for each
colour of the map: vectors, and small. Other formats get the cells, of a map made small.
"""

from __future__ import annotations

import re

import numpy as np

from .head_measures import pool

#: Cells on a side, where they are drawn by Graphviz.
MOST_CELLS = 24

#: Colours no theme has: the number of the map in the last four digits.
_MARK = re.compile(r'<polygon fill="#0a([0-9a-f]{4})"[^>]*points="([^"]*)"/>')


def shrunk(values: list[list[float]], most: int = MOST_CELLS) -> tuple[np.ndarray, int]:
    """Average a map over squares until it has few enough cells; and how many share one."""
    array = np.asarray(values, np.float64)
    size = -(-max(array.shape) // most)
    return pool(array, size), size


class Stencils:
    """The maps of one picture, to be put into its SVG.

    Parameters
    ----------
    masked : str
        Colour of the cells that are hatched, with the pattern that :mod:`.finish` defines.
    """

    def __init__(self, masked: str) -> None:
        self.masked = masked
        self._fills: list[list[list[str]]] = []

    def place(self, fills: list[list[str]], side: float) -> str:
        """Register a map, and write the table that keeps its place.

        Parameters
        ----------
        fills : list of list of str
            The cells' colours.
        side : float
            Of a cell, in points.

        Returns
        -------
        str
            Part of an HTML-like label.
        """
        number = len(self._fills)
        if number > 0xFFFF:
            raise ValueError(f"a picture of more than {0xFFFF} maps; draw a part of it")
        self._fills.append(fills)
        width, height = round(side * len(fills[0])), round(side * len(fills))
        return (
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
            f'<TD BGCOLOR="#0a{number:04x}" WIDTH="{width}" HEIGHT="{height}" FIXEDSIZE="TRUE">'
            "</TD></TR></TABLE>"
        )

    def put(self, svg: str) -> str:
        """Draw the maps into what Graphviz wrote, each in its place."""
        return _MARK.sub(lambda mark: self._paths(int(mark[1], 16), mark[2]), svg)

    def _paths(self, number: int, points: str) -> str:
        corners = [tuple(map(float, pair.split(","))) for pair in points.split()]
        left, top = min(x for x, _ in corners), min(y for _, y in corners)
        wide = max(x for x, _ in corners) - left
        high = max(y for _, y in corners) - top
        fills = self._fills[number]
        down, across = high / len(fills), wide / len(fills[0])
        paths: dict[str, list[str]] = {}
        for r, row in enumerate(fills):
            start = 0
            for c in range(1, len(row) + 1):
                if c == len(row) or row[c] != row[start]:  # a run of one colour
                    x, y, run = left + across * start, top + down * r, across * (c - start)
                    # a little over the next row, or pixels between them would show
                    paths.setdefault(row[start], []).append(
                        f"M{x:.2f} {y:.2f}h{run:.2f}v{down * 1.05:.2f}h{-run:.2f}z"
                    )
                    start = c
        drawn = []
        for fill in sorted(paths):
            paint = "url(#masked)" if fill == self.masked else fill
            drawn.append(
                f'<path fill="{paint}" shape-rendering="crispEdges" d="{"".join(paths[fill])}"/>\n'
            )
        return "".join(drawn)
