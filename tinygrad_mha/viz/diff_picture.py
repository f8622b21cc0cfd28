"""A diff in Graphviz's language: folded modules as cards, each head as its maps.

Attention is drawn in full, whatever holds none is one card, as far out as possible. Signed
numbers have a sign, and a colour that says the same again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import graphviz

from .data import Trace
from .diff_table import SIGNS, facts, moved
from .match import calls
from .text import label, number, token
from .theme import Theme, viridis

if TYPE_CHECKING:
    from .diff import Change, Diff, Difference, ModuleChange
    from .diff_heads import HeadChange

#: Cards drawn, and heads drawn of a layer; of more, those that moved most.
MOST_CARDS, MOST_HEADS = 120, 8

#: Heads side by side.
ACROSS = 4

_FONT = "Arial"
_FELL, _ROSE = (0, 90, 170), (200, 80, 0)
_FELL_DARK, _ROSE_DARK = (90, 175, 245), (255, 150, 60)


def draw(diff: Diff, theme: Theme) -> str:
    """Write the whole picture."""
    return _Drawing(diff, theme).source()


@dataclass
class _Card:
    """What one card stands for: the changes in it, in order."""

    title: str
    kind: str
    changes: list[Change] = field(default_factory=list)
    layer: str | None = None  # its heads are drawn in it
    path: str | None = None  # of the module call

    @property
    def state(self) -> str:
        """Added or removed if all of it is; changed if anything is."""
        states = {c.state for c in self.changes}
        return states.pop() if len(states) == 1 else "changed"


class _Drawing:
    def __init__(self, diff: Diff, theme: Theme) -> None:
        self.diff, self.theme = diff, theme
        self.graph = graphviz.Digraph("diff")
        paths = {h.layer for h in diff.heads}
        # modules around attention are open; where nothing attends, only the outermost
        self.open = {".".join(p.split(".")[:k]) for p in paths for k in range(p.count(".") + 1)}
        self.open |= {""}
        self.layers = paths
        self.cards: dict[str, _Card] = {}
        self.keys: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self._fold()

    def source(self) -> str:
        t = self.theme
        self.graph.attr(
            bgcolor=t.paper, rankdir="TB", nodesep="0.25", ranksep="0.3", fontname=_FONT,
            labelloc="t", labeljust="l", label=self._heading(), pad="0.25",
        )  # fmt: skip
        self.graph.attr("node", fontname=_FONT, fontsize="11", fontcolor=t.ink, shape="plain")
        self.graph.attr(
            "edge", color=t.line, arrowsize="0.6", fontname=_FONT, fontsize="9", fontcolor=t.faint
        )
        drawn = self._chosen()
        names = {key: f"c{i}" for i, key in enumerate(self.cards)}
        for key in drawn:
            self.graph.node(names[key], self._card(self.cards[key]))
        self._arrows(drawn, names)
        return str(self.graph.source)

    # -- what is a card -------------------------------------------------------------------------

    def _fold(self) -> None:
        old, new = self.diff.before, self.diff.after
        paths = calls(old), calls(new)
        for change in self.diff.changes:
            if change.kind != "op":
                continue
            side = change.after is not None
            data = new if side else old
            number_of = change.after if change.after is not None else change.before
            assert number_of is not None
            key, card = self._place(data, paths[side], number_of, change)
            self.cards.setdefault(key, card).changes.append(change)
            for ids, vertex in zip(self.keys, (change.before, change.after), strict=True):
                if vertex is not None:
                    ids[vertex] = key

    def _place(
        self, data: Trace, paths: list[str], vertex: int, change: Change
    ) -> tuple[str, _Card]:
        """Key and card of an operation: its attention, its outermost closed module, or itself."""
        for attention in data.attentions:
            if vertex in attention.vertices:
                layer = "" if attention.module is None else paths[attention.module]
                return f"layer {layer}", _Card(layer or "attention", "", layer=layer, path=layer)
        chain = []
        module = data.vertices[vertex].module
        while module is not None:
            chain.append(module)
            module = data.modules[module].parent
        for module in reversed(chain):
            path = paths[module]
            if path in self.layers and path:
                return f"layer {path}", _Card(
                    path, data.modules[module].kind, layer=path, path=path
                )
            if path not in self.open:
                return f"module {path}", _Card(path, data.modules[module].kind, path=path)
        return f"vertex {change.before} {change.after}", _Card(data.vertices[vertex].symbol, "")

    def _chosen(self) -> list[str]:
        if len(self.cards) <= MOST_CARDS:
            return list(self.cards)

        def far(key: str) -> float:
            card = self.cards[key]
            if card.state in ("added", "removed", "reshaped"):
                return math.inf
            found = [d.relative for c in card.changes for d in (c.value, c.gradient) if d]
            return max((math.inf if math.isnan(x) else x for x in found), default=0.0)

        kept = set(sorted(self.cards, key=far, reverse=True)[:MOST_CARDS])
        return [key for key in self.cards if key in kept]

    # -- heading ----------------------------------------------------------------------------------

    def _heading(self) -> str:
        t, diff = self.theme, self.diff
        title = f"{label(diff.names[0], 60)} → {label(diff.names[1], 60)}"
        rows = [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="18" COLOR="{t.ink}"><B>{title}</B></FONT></TD>'
            "</TR>"
        ]
        rows += [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10" COLOR="{t.faint}">{label(line, 200)}'
            "</FONT></TD></TR>"
            for line in facts(diff)
        ]
        if len(self.cards) > MOST_CARDS:
            rows.append(
                f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10" COLOR="{t.faint}">the {MOST_CARDS} of '
                f"{len(self.cards)} that changed most; the table has all</FONT></TD></TR>"
            )
        rows.append(f'<TR><TD ALIGN="LEFT">{self._legend()}</TD></TR>')
        return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="3">{"".join(rows)}</TABLE>>'

    def _legend(self) -> str:
        t = self.theme

        def words(text: str) -> str:
            return f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">{text}   </FONT></TD>'

        def scale(colours: list[str]) -> str:
            return "".join(
                f'<TD BGCOLOR="{c}" WIDTH="9" HEIGHT="10" FIXEDSIZE="TRUE"></TD>' for c in colours
            )

        cells = [words("− fell"), scale([self._signed(k / 4) for k in range(-4, 5)])]
        cells += [words("rose +")]
        if self.diff.heads:
            cells += [scale([viridis(k / 7) for k in range(8)]), words("weight, 0 to 1")]
            cells += [scale([t.masked]), words("masked")]
        cells += [words(f"{sign} {state}") for state, sign in SIGNS.items()]
        return (
            f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>{"".join(cells)}</TR></TABLE>'
        )

    def _signed(self, share: float) -> str:
        """Colour of a number from −1 to 1, by way of the paper at 0."""
        dark = self.theme.paper < "#8"
        middle = (62, 72, 84) if dark else (244, 244, 242)
        ends = (_FELL_DARK, _ROSE_DARK) if dark else (_FELL, _ROSE)
        end = ends[share > 0]
        part = min(abs(share), 1.0) ** 0.7  # small changes are to be seen too
        mixed = (round(m + (e - m) * part) for m, e in zip(middle, end, strict=True))
        return "#" + "".join(f"{c:02x}" for c in mixed)

    # -- cards ------------------------------------------------------------------------------------

    def _card(self, card: _Card) -> str:
        t = self.theme
        sign = SIGNS[card.state]
        outline = {"added": t.source, "removed": t.alarm}.get(card.state, t.line)
        style = "ROUNDED,DASHED" if card.state in ("added", "removed") else "ROUNDED"
        border = 2 if card.state in ("added", "removed", "reshaped") else 1
        faint = f'<FONT POINT-SIZE="9" COLOR="{t.faint}">      {label(card.kind)}</FONT>'
        mark = f"{sign} " if card.state != "same" else ""
        words = f"  {card.state}" if card.state in ("added", "removed", "reshaped") else ""
        state = f'<FONT POINT-SIZE="9" COLOR="{outline}">{words}</FONT>' if words else ""
        rows = [
            f"<TR><TD>{mark}<B>{label(card.title, 50) or '?'}</B>{faint if card.kind else ''}"
            f"{state}</TD></TR>"
        ]
        numbers = self._numbers(card) if card.state != "same" else ""
        rows += [f"<TR><TD>{numbers}</TD></TR>"] if numbers else []
        heads = (
            [h for h in self.diff.heads if h.layer == card.layer] if card.layer is not None else []
        )
        rows += self._heads(heads)
        return (
            f'<<TABLE BORDER="{border}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" '
            f'STYLE="{style}" BGCOLOR="{t.op}" COLOR="{outline}">{"".join(rows)}</TABLE>>'
        )

    def _numbers(self, card: _Card) -> str:
        """Norms of what leaves it and of the gradient there: how far each moved, and whether up."""
        t = self.theme
        whole = next((m for m in self.diff.modules if m.path == card.path), None)
        last: Change | ModuleChange = whole or card.changes[-1]
        rows = []
        for name, what in (("output", "value"), ("gradient", "gradient")):
            difference: Difference | None = getattr(last, what)
            if difference is None:
                continue
            words = f"{name} {number(difference.before)} → {number(difference.after)}"
            colour = t.op
            if self.diff.is_same(difference, what):
                words += "   the same"
            else:
                growth = difference.growth
                words += f"   moved {moved(difference)}"
                if growth is not None:
                    colour = self._signed(growth)
                    words += f"   norm {f'{growth:+.0%}'.replace('-', '−')}"
            rows.append(
                f'<TR><TD BGCOLOR="{colour}" WIDTH="9" HEIGHT="9" FIXEDSIZE="TRUE"></TD>'
                f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">{words}</FONT></TD></TR>'
            )
        if not rows:
            return ""
        # of a fixed size, or it would be stretched to the width of the heads below it
        return (
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="0" FIXEDSIZE="TRUE" '
            f'WIDTH="265" HEIGHT="{17 * len(rows) + 3}">{"".join(rows)}</TABLE>'
        )

    # -- heads ------------------------------------------------------------------------------------

    def _heads(self, heads: list[HeadChange]) -> list[str]:
        def far(head: HeadChange) -> float:
            return math.inf if head.moved is None else head.moved

        kept = sorted(heads, key=far, reverse=True)[:MOST_HEADS]
        kept.sort(key=lambda head: head.head)
        rows = []
        for start in range(0, len(kept), ACROSS):
            cells = "".join(f"<TD>{self._head(h)}</TD>" for h in kept[start : start + ACROSS])
            rows.append(
                '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="6" CELLPADDING="0">'
                f"<TR>{cells}</TR></TABLE></TD></TR>"
            )
        if len(heads) > len(kept):
            rows.append(
                f'<TR><TD><FONT POINT-SIZE="9" COLOR="{self.theme.faint}">and '
                f"{len(heads) - len(kept)} more heads, which moved less</FONT></TD></TR>"
            )
        return rows

    def _head(self, head: HeadChange) -> str:
        t = self.theme
        colour = t.heads[head.head % len(t.heads)]
        known = head.after or head.before
        assert known is not None
        state = "− removed" if head.after is None else "+ added" if head.before is None else ""
        far = "" if head.moved is None else f"{head.moved:.1%} of its attention moved"
        rows = [
            f'<TR><TD><FONT POINT-SIZE="12" COLOR="{colour}"><B>head {head.head + 1}</B></FONT>'
            "</TD></TR>",
            self._lines([state or far] if state or far else []),
        ]
        small = [self._map(lane.weights, lane.visible) if lane and lane.weights else ""
                 for lane in (head.before, head.after)]  # fmt: skip
        if any(small):
            pair = "".join(f"<TD>{m or ' '}</TD>" for m in (small[0], "→", small[1]))
            rows.append(
                '<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="0">'
                f"<TR>{pair}</TR></TABLE></TD></TR>"
            )
        if head.delta is not None:
            rows.append(f"<TR><TD>{self._delta(head)}</TD></TR>")
            rows.append(self._lines(_extremes(head)))
        elif head.before is not None and head.after is not None and known.weights:
            a, b = head.before, head.after
            rows.append(
                self._lines([f"maps of {_size(a.weights)} and {_size(b.weights)}: no difference"])
            )
        rows.append(
            self._lines(
                [
                    f"{name} {number(a)} → {number(b)}"
                    for name, a, b in head.measures()
                    if name in ("entropy", "previous", "contribution", "gradient", "loss without")
                ]
            )
        )
        return (
            f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" STYLE="ROUNDED" '
            f'BGCOLOR="{t.paper}" COLOR="{colour}">{"".join(rows)}</TABLE>'
        )

    def _lines(self, lines: list[str]) -> str:
        return "".join(
            f'<TR><TD><FONT POINT-SIZE="9" COLOR="{self.theme.faint}">{line}</FONT></TD></TR>'
            for line in lines
        )

    def _map(self, weights: list[list[float]], seen: list[list[bool]]) -> str:
        side = max(1, min(9, 84 // max(len(weights), len(weights[0]))))
        rows = [
            [viridis(w) if ok else self.theme.masked for w, ok in zip(row, there, strict=True)]
            for row, there in zip(weights, seen, strict=True)
        ]
        return _cells(rows, side, self.theme)

    def _delta(self, head: HeadChange) -> str:
        """Weights after − before; the largest cells with their sign, where one fits."""
        t = self.theme
        lane = head.after or head.before
        assert lane is not None
        assert head.delta is not None
        side = max(2, min(18, 178 // max(len(head.delta), len(head.delta[0]))))
        largest = max(abs(x) for row in head.delta for x in row)
        largest = max(largest, 0.02)  # or rounding would be painted as if it were something
        fills = [
            [
                self._signed(x / largest) if ok else t.masked
                for x, ok in zip(row, there, strict=True)
            ]
            for row, there in zip(head.delta, lane.visible, strict=True)
        ]
        dark = t.paper < "#8"
        signs = [
            [("" if abs(x) < 0.25 * largest else "+" if x > 0 else "−") for x in row]
            for row in head.delta
        ]
        ink = "#000000" if dark else "#ffffff"
        names = (lane.rows, lane.columns) if side >= 9 else ([], [])
        return _cells(fills, side, t, signs if side >= 9 else None, ink, names)

    # -- arrows -----------------------------------------------------------------------------------

    def _arrows(self, drawn: list[str], names: dict[str, str]) -> None:
        found: list[dict[tuple[str, str], None]] = []
        for data, ids in zip((self.diff.before, self.diff.after), self.keys, strict=True):
            pairs = ((ids.get(e.source), ids.get(e.target)) for e in data.edges)
            found.append({(s, t): None for s, t in pairs if s and t and s != t})
        shown = set(drawn)
        for source, target in {**found[1], **found[0]}:
            if source in shown and target in shown:
                state = {}
                if (source, target) not in found[1]:
                    state = {"style": "dashed", "color": self.theme.alarm, "label": " −"}
                elif (source, target) not in found[0]:
                    state = {"penwidth": "1.8", "color": self.theme.source, "label": " +"}
                self.graph.edge(names[source], names[target], **state)


def _cells(
    fills: list[list[str]],
    side: int,
    theme: Theme,
    signs: list[list[str]] | None = None,
    ink: str = "",
    names: tuple[list[str], list[str]] = ([], []),
) -> str:
    """A map as a table, with names at its edges and signs in its cells where they are given."""

    def cell(fill: str, words: str = "", width: int = side) -> str:
        paint = f' BGCOLOR="{fill}"' if fill else ""
        return f'<TD{paint} WIDTH="{width}" HEIGHT="{side}" FIXEDSIZE="TRUE">{words}</TD>'

    def letter(words: str, colour: str) -> str:
        size = max(6, min(9, side - 2))
        return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{words}</FONT>' if words else ""

    rows_named, columns_named = names
    wide = max([side, *(5 * len(token(name)) for name in rows_named)])
    rows = []
    if columns_named:
        heads = "".join(cell("", letter(token(c[:3]), theme.faint)) for c in columns_named)
        rows.append(f"<TR>{cell('', width=wide)}{heads}</TR>")
    for i, line in enumerate(fills):
        name = cell("", letter(token(rows_named[i]), theme.faint), wide) if rows_named else ""
        words = signs[i] if signs else [""] * len(line)
        filled = (cell(f, letter(w, ink)) for f, w in zip(line, words, strict=True))
        rows.append(f"<TR>{name}{''.join(filled)}</TR>")
    gap = 1 if side > 4 else 0
    return (
        f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{gap}" CELLPADDING="0">'
        f"{''.join(rows)}</TABLE>"
    )


def _extremes(head: HeadChange) -> list[str]:
    """The weights that rose and fell most, in words."""
    lane = head.after or head.before
    assert lane is not None
    assert head.delta is not None
    cells = [(x, i, j) for i, row in enumerate(head.delta) for j, x in enumerate(row)]
    found: list[str] = []
    for x, i, j in (max(cells), min(cells)):
        if x and (x > 0) == (not found):
            found.append(
                f"{f'{x:+.2f}'.replace('-', '−')}  {token(lane.rows[i])} → {token(lane.columns[j])}"
            )
    return found


def _size(weights: list[list[float]]) -> str:
    return f"{len(weights)}×{len(weights[0])}"
