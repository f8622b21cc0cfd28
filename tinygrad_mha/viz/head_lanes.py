"""An attention as lanes side by side, between a bar that feeds them and one that adds them up."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from . import cards
from .data import Attention, Lane
from .flow import together, words
from .picture import MOST_LANES
from .text import label, number, shape

if TYPE_CHECKING:
    from .dot import Drawing

#: Width of a column of the strip, in points.
_STRIP = 92

#: Points that one of them takes in a list.
_ENTRY = 46

#: Points beside the boxes of a lane where the values pass.
_PASSAGE = 20

#: Rows of the strip that stands for the heads without a lane, before it gets another column.
_ROWS = 14

#: Heads that the strip names at most.
_NAMED = 8 * _ROWS


class HeadLanes:
    """One attention's part of a picture."""

    def __init__(self, drawing: Drawing, attention: Attention) -> None:
        self.drawing, self.attention = drawing, attention
        self.picture, self.theme = drawing.picture, drawing.theme
        self.key = f"a{attention.id}"
        self.before, self.after = _around_weights(attention, self.picture.narrow)
        self.width = self._lane_width()
        lanes = attention.lanes
        if self.picture.head is not None:
            self.drawn, self.rest = [lanes[self.picture.head]], []
        else:
            most = self._most_lanes(len(lanes))
            by_share = sorted(lanes, key=lambda lane: (-lane.contribution, lane.head))
            self.drawn = sorted(by_share[:most], key=lambda lane: lane.head)
            self.rest = by_share[most:]

    @property
    def pitch(self) -> int:
        """From one lane to the next, in points."""
        beside = 2 * (5 if self.picture.narrow else 9) + 72 * self.picture.between
        return self.width + math.ceil(beside) + (3 if self.picture.narrow else 5)

    def _most_lanes(self, heads: int) -> int:
        """How many lanes are drawn; beside wide ones there has to be room for a strip."""
        if self.picture.room is None:
            room = MOST_LANES * self.pitch + _STRIP + 34
            if heads <= MOST_LANES and heads * self.pitch <= room:
                return heads
            return max(1, min(MOST_LANES, (room - _STRIP - 34) // self.pitch))
        return min(heads, self.picture.lanes)

    def _lane_width(self) -> int:
        """Room inside a lane, in points: for the names of its parts, and for its map."""
        least = 92 if self.picture.narrow else 340 if self.picture.head is not None else 176
        each = 8 if self.picture.narrow else 16
        names = sum(6 * len(name) + each for name in self.attention.projections)
        return int(max(least, names, self._field + 2 * self._passage))

    @property
    def _field(self) -> int:
        """Width of the widest thing that the values have to pass."""
        words = 5.9 * len(self.before) + 16
        return int(max(words, cards.map_width(self.attention, self.picture)))

    @property
    def _passage(self) -> int:
        return _PASSAGE // 2 if self.picture.narrow else _PASSAGE

    # -- the whole ------------------------------------------------------------------------

    def draw(self, graph: Any) -> None:
        """Draw bars, lanes and the strip, and the arrows between them."""
        graph.node(f"{self.key}_in", self._source_bar())
        graph.node(f"{self.key}_sum", self._sum_bar())
        top = max((lane.contribution for lane in self.attention.lanes), default=0.0) or 1.0
        out = self.drawing.gradient_of(self.attention.output)
        for lane in self.drawn:
            first, last = self._lane(graph, lane)
            colour = self._colour(lane.head)
            self._arrow(
                graph, f"{self.key}_in:l{lane.head}:s", f"{first}:t:n", together(lane.sourced),
                color=colour, penwidth="0.9", weight="50",
            )  # fmt: skip
            wide = 0.6 + 2.6 * lane.contribution / top
            self._arrow(
                graph, f"{last}:l:s", f"{self.key}_sum:l{lane.head}:n", out,
                color=colour, penwidth=f"{wide:.2f}", weight="50",
            )  # fmt: skip
        if self.rest and not self.picture.narrow:
            self._strip(graph)
            sent = together(g for lane in self.rest for g in lane.sourced)
            strip = f"{self.key}_rest"
            # beside the maps, which are as high
            below = {"minlen": str(2 + bool(self.before)), "weight": "60"}
            self._arrow(graph, f"{self.key}_in:rest:s", f"{strip}:n", sent, **below)
            self._arrow(graph, f"{strip}:s", f"{self.key}_sum:rest:n", out, weight="50")

    def _arrow(self, graph: Any, tail: str, head: str, gradient: float | None, **look: str) -> None:
        self.drawing.arrow(graph, tail, head, gradient, False, **look)

    def _colour(self, head: int) -> str:
        return self.theme.heads[head % len(self.theme.heads)]

    # -- bars -----------------------------------------------------------------------------

    def columns(self) -> list[tuple[str, int]]:
        """Ports of the bars, and how far apart they are."""
        columns = [(f"l{lane.head}", self.pitch) for lane in self.drawn]
        strip = bool(self.rest) and not self.picture.narrow
        return columns + [("rest", self._strip_width() + 34)] * strip

    def port_of(self, vertex: int) -> str:
        """Where the arrow from a source ends."""
        sources = list(dict.fromkeys(self.attention.sources))
        return f"{self.key}_in:s{sources.index(vertex)}:n"

    def _source_bar(self) -> str:
        """What each head is given: one value for all, or queries from one and keys from another."""
        named: dict[int, list[str]] = {}
        for source, name in zip(self.attention.sources, self.attention.projections, strict=True):
            named.setdefault(source, []).append(name.partition("_")[2] or name)
        cells = []
        for k, names in enumerate(named.values()):
            says = f"{label(', '.join(names), 24)} of every head"
            faint = f'<FONT POINT-SIZE="9" COLOR="{self.theme.faint}">{says}</FONT>'
            cells.append((f"s{k}", faint))
        return cards.bar(self.theme, cells, self.columns(), above=True)

    def _sum_bar(self) -> str:
        drawing, attention = self.drawing, self.attention
        out = drawing.data.vertices[attention.output]
        details = [shape(out.shape)]
        if self.picture.head is not None:
            details.append(f"and {len(attention.lanes) - 1} other heads")
        if out.gradient is not None:
            details.append(f"‖∇‖ {words(drawing.gradient_of(out.id))}")
        faint = "&#160;&#160; ".join(details)
        sign = "Σ heads" if attention.combined else "[ heads ] side by side"
        small = f'<FONT POINT-SIZE="9" COLOR="{self.theme.faint}">&#160;&#160; {faint}</FONT>'
        says = f"<B>{sign}</B>{small}"
        fill, outline = drawing.paint(out)
        if self.rest and self.picture.narrow:
            says = cards.plain_table(f"<TR><TD>{says}</TD></TR>{self._listed()}")
        return cards.bar(
            self.theme, [("out", says)], self.columns(), above=False, fill=fill, outline=outline
        )

    def _listed(self) -> str:
        """The heads without a lane in rows of the sum's bar, where lanes leave no room beside."""
        faint = f'<FONT POINT-SIZE="9" COLOR="{self.theme.faint}">'
        named = self.rest[:_NAMED]
        width = max(1, self.pitch * len(self.drawn) // _ENTRY)
        rest = f"and {len(self.rest)} more heads" + ", of which the largest are" * (
            self.rest != named
        )
        rows = [f"{rest}, with the norm of each one's share:"]
        entries = [
            f'<FONT COLOR="{self._colour(lane.head)}"><B>{lane.head + 1}</B></FONT>'
            f"&#160;{number(lane.contribution)}"
            for lane in named
        ]
        rows += [
            "&#160;&#160; ".join(entries[i : i + width]) for i in range(0, len(entries), width)
        ]
        return "".join(f"<TR><TD>{faint}{row}</FONT></TD></TR>" for row in rows)

    # -- one lane -------------------------------------------------------------------------

    def _lane(self, graph: Any, lane: Lane) -> tuple[str, str]:
        """Draw it; returns its first and its last box."""
        t, colour, compact = self.theme, self._colour(lane.head), self.picture.narrow
        stencils = self.drawing.stencils
        key = f"{self.key}_{lane.head}"
        names = self.attention.projections
        staged = self.attention.weighted
        weights = lane.staged[staged] if staged is not None and lane.staged else None
        with graph.subgraph(name=f"cluster_{key}") as frame:
            frame.attr(style="rounded,dashed,filled", color=colour, fillcolor=t.paper,
                       penwidth="1.4", margin="5" if compact else "9", label="")  # fmt: skip
            frame.node(
                f"{key}_head", cards.lane_head(t, lane, names, colour, self.picture, self.width)
            )
            chain = [f"{key}_head"]
            line, wide = self._values_line(lane)
            passing = self._field, self._passage, line, wide
            if self.before:
                chip = cards.chip(t, self.before)
                frame.node(f"{key}_scores", cards.passed(chip, *passing))
                chain.append(f"{key}_scores")
            if lane.weights:
                beside = (self._field - cards.map_width(self.attention, self.picture)) // 2
                heatmap = cards.heatmap(lane, colour, self.picture, beside, stencils)
                frame.node(f"{key}_map", cards.passed(heatmap, *passing))
                chain.append(f"{key}_map")
            if self.after:
                frame.node(f"{key}_pool", cards.alone(cards.chip(t, self.after)))
                chain.append(f"{key}_pool")
            frame.node(f"{key}_out", cards.share(t, self.attention, lane, colour, compact))
            chain.append(f"{key}_out")
            # an unseen line keeps the boxes under each other, where no single arrow does
            frame.edge(*chain[:2], style="invis", weight="100")
            self._inner_arrows(frame, key, chain, lane, weights)
        return f"{key}_head", f"{key}_out"

    @property
    def _values(self) -> int | None:
        """Which projection is the values: the last, where they pass by the weights."""
        count = len(self.attention.projections)
        passes = count > 1 and self.attention.weighted is not None and self.after
        return count - 1 if passes else None

    def _values_line(self, lane: Lane) -> tuple[str, float]:
        """Colour and width of the line on which the values pass the weights, where they do."""
        if self._values is None:
            return "", 1
        if self.picture.direction == "forward":
            return self.theme.line, 1
        look = self.drawing.scale.style(lane.projected[self._values])
        return look["color"], float(look["penwidth"])

    def _inner_arrows(
        self, frame: Any, key: str, chain: list[str], lane: Lane, weights: float | None
    ) -> None:
        values = self._values
        ports = {0: ":a:n", 1: ":b:n"} if chain[1].endswith("_scores") else {}
        for k, norm in enumerate(lane.projected):
            if k != values:
                tail = f"{key}_head:p{k}:s"
                self._arrow(frame, tail, chain[1] + ports.get(k, ""), norm, weight="0")
        passed = [box for box in chain if box.endswith(("_scores", "_map"))]
        for above, below in pairwise(chain[1:]):
            tail = f"{above}:m:s" if above in passed else above
            head = f"{below}:m:n" if below in passed else below
            norm = lane.gradient if below == f"{key}_out" else weights
            self._arrow(frame, tail, head, norm, weight="100")
        if values is None:
            return
        way = [f"{key}_head:p{values}:s", *passed, f"{key}_pool:e"]
        for i, (above, below) in enumerate(pairwise(way)):
            tail = f"{above}:v:s" if above in passed else above
            head = f"{below}:v:n" if below in passed else below
            if above in passed and below in passed:  # a piece of the line, in its colour
                line, wide = self._values_line(lane)
                frame.edge(tail, head, dir="none", color=line, penwidth=f"{wide:.2f}", weight="0")
                continue
            ends = {"arrowhead": "none"} if below in passed else {}
            back = {"arrowtail": "none"} if i > 0 else {}
            norm = lane.projected[values]
            self._arrow(frame, tail, head, norm, weight="0", **ends, **back)

    # -- the rest -------------------------------------------------------------------------

    def _strip_width(self) -> int:
        return _STRIP * -(-min(len(self.rest), _NAMED) // _ROWS)

    def _strip(self, graph: Any) -> None:
        """The heads without a lane: each one's number, and a bar as long as its share."""
        t = self.theme
        top = max(lane.contribution for lane in self.attention.lanes) or 1.0
        named = self.rest[:_NAMED]
        columns = [named[i : i + _ROWS] for i in range(0, len(named), _ROWS)]
        tables = []
        for column in columns:
            rows = []
            for lane in column:
                long = max(1, round(36 * lane.contribution / top))
                rows.append(
                    f'<TR><TD ALIGN="RIGHT"><FONT POINT-SIZE="9" COLOR="{t.ink}">{lane.head + 1}'
                    f'</FONT></TD><TD ALIGN="LEFT"><TABLE BORDER="0" CELLSPACING="0"><TR><TD '
                    f'BGCOLOR="{self._colour(lane.head)}" WIDTH="{long}" HEIGHT="8" '
                    f'FIXEDSIZE="TRUE"></TD></TR></TABLE></TD><TD ALIGN="LEFT"><FONT '
                    f'POINT-SIZE="9" COLOR="{t.faint}">{number(lane.contribution)}</FONT></TD></TR>'
                )
            tables.append(
                '<TD VALIGN="TOP"><TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0">'
                f"{''.join(rows)}</TABLE></TD>"
            )
        unnamed = len(self.rest) - len(named)
        title = f"{len(self.rest)} more heads" + (f", {unnamed} unnamed" if unnamed else "")
        with graph.subgraph(name=f"cluster_{self.key}_rest") as frame:
            frame.attr(style="rounded,dashed", color=t.faint, margin="8", label="")
            frame.node(
                f"{self.key}_rest",
                f'<<TABLE BORDER="0" CELLSPACING="0"><TR><TD COLSPAN="{len(tables)}"><FONT '
                f'POINT-SIZE="11" COLOR="{t.ink}"><B>{title}</B></FONT></TD></TR><TR><TD '
                f'COLSPAN="{len(tables)}"><FONT POINT-SIZE="9" COLOR="{t.faint}">norm of each '
                f"one's share</FONT></TD></TR><TR>{''.join(tables)}</TR></TABLE>>",
            )


def _around_weights(attention: Attention, compact: bool) -> tuple[str, str]:
    """What happens up to the weights, and after them, each in a few words."""
    stages = attention.stages
    at = len(stages) if attention.weighted is None else attention.weighted + 1
    # α names the weights, so their product with the values can say what it is
    after = ["α·v" if symbol == "@" else symbol for symbol in stages[at:]]
    return (
        label(stages[at - 1], 20) if compact and at else _in_short(stages[:at], attention.pooling),
        _in_short(after, "") if at < len(stages) else "",
    )


def _in_short(stages: list[str], who: str) -> str:
    if len(stages) <= 3:
        return label(" → ".join(stages), 34)
    if len(stages) <= 5:
        return label(f"… → {' → '.join(stages[-2:])}", 34)
    begin = f"{who}: " if who else ""
    return label(f"{begin}{len(stages) - 1} steps → {stages[-1]}", 40)
