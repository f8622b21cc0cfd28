"""The heads of a diff as cards: the map before and after, what changed, and the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .head_measures import pool
from .maps import Map, Stencils, largest_weight, shrunk, table, weight_fills
from .text import number, token
from .theme import Theme

if TYPE_CHECKING:
    from .data import Lane
    from .diff_heads import HeadChange

#: Heads drawn of a layer, and how many stand side by side, where there is room.
MOST_HEADS, ACROSS = 8, 4

#: Measures with a line of their own.
SHOWN = ("entropy", "previous", "contribution", "gradient", "loss without")

#: Sides of the maps in points: of a weight's, of a difference's.
_SMALL, _LARGE = 84, 178

#: Cells that have room for a sign, and the least change that is given one, of the largest.
_ROOM, _NOTABLE = 9, 0.25

_STEPS = 32  # of colour, on either side of 0

_FELL, _ROSE = (0, 90, 170), (200, 80, 0)
_FELL_DARK, _ROSE_DARK = (90, 175, 245), (255, 150, 60)


def is_dark(theme: Theme) -> bool:
    """Whether the paper is."""
    return theme.paper < "#8"


def signed(theme: Theme, share: float) -> str:
    """Colour of a number from −1 to 1, blue below and orange above the paper's grey at 0."""
    middle = (62, 72, 84) if is_dark(theme) else (244, 244, 242)
    ends = (_FELL_DARK, _ROSE_DARK) if is_dark(theme) else (_FELL, _ROSE)
    part = min(abs(share), 1.0) ** 0.7  # small changes are to be seen too
    part = round(part * _STEPS) / _STEPS
    mixed = (round(m + (e - m) * part) for m, e in zip(middle, ends[share > 0], strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


class HeadCards:
    """Cards of one picture.

    Parameters
    ----------
    theme : Theme
    stencils : Stencils or None
        Where large maps are registered; without, they are drawn in fewer cells.
    most, across : int
        Heads drawn of a layer: of more, those that moved most; and how many stand side by side.
    """

    def __init__(
        self,
        theme: Theme,
        stencils: Stencils | None,
        most: int = MOST_HEADS,
        across: int = ACROSS,
    ) -> None:
        self.theme, self.stencils = theme, stencils
        self.most, self.across = most, across

    def rows(self, heads: list[HeadChange]) -> list[str]:
        """Rows of a table, with some cards each."""

        def far(head: HeadChange) -> float:
            return math.inf if head.moved is None else head.moved

        kept = sorted(heads, key=far, reverse=True)[: self.most]
        kept.sort(key=lambda head: head.head)
        rows = []
        for start in range(0, len(kept), self.across):
            cells = "".join(f"<TD>{self._card(h)}</TD>" for h in kept[start : start + self.across])
            rows.append(
                '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="0">'
                f"<TR>{cells}</TR></TABLE></TD></TR>"
            )
        if len(heads) > len(kept):
            rows.append(self._line(f"and {len(heads) - len(kept)} more heads, which moved less"))
        return rows

    def _card(self, head: HeadChange) -> str:
        t = self.theme
        colour = t.heads[head.head % len(t.heads)]
        state = "− removed" if head.after is None else "+ added" if head.before is None else ""
        far = "" if head.moved is None else f"{head.moved:.1%} of its attention moved"
        rows = [
            f'<TR><TD><FONT POINT-SIZE="12" COLOR="{colour}"><B>head {head.head + 1}</B></FONT>'
            "</TD></TR>"
        ]
        rows += [self._line(state or far)] if state or far else []
        maps = self._weights(head)
        if any(maps):
            pair = "".join(f"<TD>{m or ' '}</TD>" for m in (maps[0], "→", maps[1]))
            rows.append(
                '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="0">'
                f"<TR>{pair}</TR></TABLE></TD></TR>"
            )
        if head.delta is not None:
            rows.append(f"<TR><TD>{self._change(head)}</TD></TR>")
            rows += [self._line(words) for words in _extremes(head)]
        elif all(maps):
            sizes = [
                f"{len(lane.weights)}×{len(lane.weights[0])}"
                for lane in (head.before, head.after)
                if lane is not None
            ]
            rows.append(self._line(f"maps of {' and '.join(sizes)}: no difference"))
        rows += [
            self._line(f"{name} {number(a)} → {number(b)}")
            for name, a, b in head.measures()
            if name in SHOWN
        ]
        return (
            f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" STYLE="ROUNDED" '
            f'BGCOLOR="{t.paper}" COLOR="{colour}">{"".join(rows)}</TABLE>'
        )

    def _line(self, words: str) -> str:
        return f'<TR><TD><FONT POINT-SIZE="9" COLOR="{self.theme.faint}">{words}</FONT></TD></TR>'

    # -- maps -------------------------------------------------------------------------------------

    def _weights(self, head: HeadChange) -> list[str]:
        """Both maps, in the same colours: from 0 to the largest weight of either."""
        lanes = (head.before, head.after)
        top = max(
            (largest_weight(np.array(lane.weights)) for lane in lanes if lane and lane.weights),
            default=1.0,
        )
        return [self._map(lane, top) for lane in lanes]

    def _map(self, lane: Lane | None, top: float) -> str:
        if lane is None or not lane.weights:
            return ""
        weights, visible = np.array(lane.weights), np.array(lane.visible)
        if self.stencils is None:
            weights, size = shrunk(lane.weights)
            visible = pool(lane.visible, size) > 0
        side = min(12.0, _SMALL / max(weights.shape))
        return self._placed(Map(weight_fills(weights, visible, self.theme, top), side))

    def _placed(self, drawn: Map) -> str:
        if self.stencils is None:
            return table(drawn, self.theme.faint)
        return self.stencils.place(drawn)

    def _change(self, head: HeadChange) -> str:
        """Weights after − before, with their names, and signs where they fit."""
        lane = head.after or head.before
        assert lane is not None
        assert head.delta is not None
        delta, seen, size = np.array(head.delta), np.array(lane.visible), 1
        if self.stencils is None:
            delta, size = shrunk(head.delta)
            seen = pool(lane.visible, size) > 0
        side = min(19.0, _LARGE / max(delta.shape))
        signs = _signs(delta) if side >= _ROOM else []
        ink = "#000000" if is_dark(self.theme) else "#ffffff"
        fills = self._signed(delta, seen)
        return self._placed(Map(fills, side, lane.rows[::size], lane.columns[::size], signs, ink))

    def _signed(self, delta: np.ndarray, seen: np.ndarray) -> list[list[str]]:
        largest = _largest(delta)
        return [
            [
                self.theme.masked
                if not s
                else signed(self.theme, x / largest)
                if math.isfinite(x)
                else self.theme.alarm
                for x, s in zip(row, there, strict=True)
            ]
            for row, there in zip(delta.tolist(), seen.tolist(), strict=True)
        ]


def _largest(delta: np.ndarray) -> float:
    """Of the finite changes, whatever their signs; or rounding would be painted as something."""
    return max(float(np.abs(delta[np.isfinite(delta)]).max(initial=0.0)), 0.02)


def _signs(delta: np.ndarray) -> list[list[str]]:
    largest = _largest(delta)
    return [
        ["" if not _NOTABLE * largest <= abs(x) < math.inf else "+" if x > 0 else "−" for x in row]
        for row in delta.tolist()
    ]


def _extremes(head: HeadChange) -> list[str]:
    """The weights that rose and fell most, in words."""
    lane = head.after or head.before
    assert lane is not None
    assert head.delta is not None
    cells = [(x, i, j) for i, row in enumerate(head.delta) for j, x in enumerate(row)]
    cells = [cell for cell in cells if math.isfinite(cell[0])] or [(0.0, 0, 0)]
    found: list[str] = []
    for x, i, j in (max(cells), min(cells)):
        if x and (x > 0) == (not found):
            change = f"{x:+.2f}".replace("-", "−")
            found.append(f"{change}  {token(lane.rows[i])} → {token(lane.columns[j])}")
    return found
