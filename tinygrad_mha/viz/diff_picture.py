"""A diff in Graphviz's language: folded modules as cards, each head as its maps.

Attention is drawn in full, whatever holds none is one card, as far out as possible. Signed
numbers have a sign, and a colour that says the same again.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import graphviz

from .data import Trace
from .diff_cards import ACROSS, MOST_HEADS, HeadCards, signed
from .diff_table import SIGNS, facts, moved
from .maps import WEIGHTS, Stencils
from .match import calls
from .picture import PRINT, Picture
from .scene import made_of_parameters
from .text import label, number
from .theme import viridis

if TYPE_CHECKING:
    from .diff import Change, Diff, Difference, ModuleChange

#: Cards drawn; of more, those that changed most.
MOST_CARDS = 120

_FONT = "Arial"


@dataclass(frozen=True)
class Form:
    """How much of a diff is drawn, and in what shape.

    Attributes
    ----------
    cards : int
        Cards drawn; of more, those that changed most, attention first.
    heads, across : int
        Heads drawn of a layer; of more, those that moved most; and how many stand side by side.
    beside : bool
        Cards stand side by side, not one under the other.
    wide : float
        Points that the heading may be wide.
    """

    cards: int = MOST_CARDS
    heads: int = MOST_HEADS
    across: int = ACROSS
    beside: bool = False
    wide: float = math.inf

    def but(self, **changes: Any) -> Form:
        """Return the same with something else."""
        return replace(self, **changes)


def draw(diff: Diff, picture: Picture, form: Form, stencils: Stencils | None = None) -> str:
    """Write the whole picture; with `stencils`, for an SVG into which they are to be put."""
    return _Drawing(diff, picture, form, stencils).source()


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
    def __init__(self, diff: Diff, picture: Picture, form: Form, stencils: Stencils | None) -> None:
        self.diff, self.picture, self.form = diff, picture, form
        self.theme = picture.colours
        self.heads = HeadCards(self.theme, stencils, form.heads, form.across)
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
            bgcolor=t.paper, rankdir="LR" if self.form.beside else "TB", nodesep="0.25",
            ranksep="0.3", fontname=_FONT, labelloc="t", labeljust="l", label=self._heading(),
            pad="0.25" if self.form.wide > 600 else "0.1",
        )  # fmt: skip
        if self.picture.cells and self.picture.inches is not None:  # else the finishing sets it
            wide, high = self.picture.inches
            self.graph.attr(size=f"{wide},{high}!", dpi=str(PRINT))
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
        weights = _weights(old), _weights(new)
        for change in self.diff.changes:
            side = change.after is not None
            # what is made of parameters alone goes without saying: they are in the table
            if change.kind != "op" or (change.after if side else change.before) in weights[side]:
                continue
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
        if len(self.cards) <= self.form.cards:
            return list(self.cards)

        def far(key: str) -> float:
            card = self.cards[key]
            if card.state in ("added", "removed", "reshaped"):
                return math.inf
            found = [d.relative for c in card.changes for d in (c.value, c.gradient) if d]
            return max((math.inf if math.isnan(x) else x for x in found), default=0.0)

        def rank(key: str) -> tuple[bool, float]:
            layer = self.cards[key].layer
            heads = [h for h in self.diff.heads if h.layer == layer] if layer is not None else []
            moved = max((math.inf if h.moved is None else h.moved for h in heads), default=0.0)
            return bool(heads), moved if heads else far(key)

        kept = set(sorted(self.cards, key=rank, reverse=True)[: self.form.cards])
        return [key for key in self.cards if key in kept]

    # -- heading ----------------------------------------------------------------------------------

    def _heading(self) -> str:
        t, diff = self.theme, self.diff
        longest = min(60, self._letters(18) // 2 - 2)
        title = f"{label(diff.names[0], longest)} → {label(diff.names[1], longest)}"
        rows = [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="18" COLOR="{t.ink}"><B>{title}</B></FONT></TD>'
            "</TR>"
        ]
        rows += [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10" COLOR="{t.faint}">{line}</FONT></TD></TR>'
            for line in self._told()
        ]
        rows += [f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in self._legend()]
        return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="3">{"".join(rows)}</TABLE>>'

    def _letters(self, size: float) -> int:
        """How many letters of a size a line of the heading has room for."""
        return max(12, int(min((self.form.wide - 40) / (0.55 * size), 200)))

    def _told(self) -> list[str]:
        """What is compared, and what of it is drawn, in lines that are not too long."""
        lines = facts(self.diff)
        if len(self.cards) > self.form.cards:
            lines.append(
                f"drawn: {self.form.cards} of {len(self.cards)} parts, attention first, then what "
                "changed most; the table has all"
            )
        pieces = (textwrap.wrap(line, self._letters(10)) for line in lines)
        return [label(piece, 200) for line in pieces for piece in line]

    def _legend(self) -> list[str]:
        """Rows of what means what, no wider than there is room."""
        t, gap = self.theme, "&#160;" * 4

        def words(text: str) -> str:
            return (
                f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">{text}{gap}</FONT></TD>'
            )

        def scale(colours: list[str]) -> str:
            cells = "".join(
                f'<TD BGCOLOR="{c}" WIDTH="9" HEIGHT="10" FIXEDSIZE="TRUE"></TD>' for c in colours
            )
            # of a fixed size, or it would be stretched where the row is
            return (
                '<TD><TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0" FIXEDSIZE="TRUE" '
                f'WIDTH="{11 * len(colours) + 2}" HEIGHT="14"><TR>{cells}</TR></TABLE></TD>'
            )

        def wide(text: str, colours: int = 0) -> float:
            return 5.2 * (len(text) + 4) + 11 * colours

        both = f"{WEIGHTS}, of both"
        change = words("− fell") + scale([signed(t, k / 4) for k in range(-4, 5)]) + words("rose +")
        entries = [(change, wide("− fell    rose +", 9))]
        if self.diff.heads:
            entries += [
                (scale([viridis(k / 7) for k in range(8)]) + words(both), wide(both, 8)),
                (scale([t.masked]) + words("masked"), wide("masked", 1)),
            ]
        states = (f"{sign} {state}" for state, sign in SIGNS.items())
        entries += [(words(state), wide(state)) for state in states]
        if len(self.cards) > self.form.cards:
            apart = "dotted: by what is not drawn"
            entries.append((words(apart), wide(apart)))
        rows: list[tuple[str, float]] = [("", 0.0)]
        for cells, width in entries:
            row, taken = rows[-1]
            if row and taken + width > self.form.wide - 40:
                rows.append((cells, width))
            else:
                rows[-1] = row + cells, taken + width
        return [
            f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>{row}</TR></TABLE>'
            for row, _ in rows
        ]

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
        rows += self.heads.rows(heads)
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
                    colour = signed(t, growth)
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
            f'WIDTH="285" HEIGHT="{17 * len(rows) + 3}">{"".join(rows)}</TABLE>'
        )

    # -- arrows -----------------------------------------------------------------------------------

    def _arrows(self, drawn: list[str], names: dict[str, str]) -> None:
        found: list[dict[tuple[str, str], None]] = []
        for data, ids in zip((self.diff.before, self.diff.after), self.keys, strict=True):
            pairs = ((ids.get(e.source), ids.get(e.target)) for e in data.edges)
            found.append({(s, t): None for s, t in pairs if s and t and s != t})
        shown = set(drawn)
        every = {**found[1], **found[0]}
        for source, target in every:
            if source in shown and target in shown:
                state = {}
                if (source, target) not in found[1]:
                    state = {"style": "dashed", "color": self.theme.alarm, "label": " −"}
                elif (source, target) not in found[0]:
                    state = {"penwidth": "1.8", "color": self.theme.source, "label": " +"}
                self.graph.edge(names[source], names[target], **state)
        if len(drawn) < len(self.cards):
            for source, target in _by_others(list(every), drawn):
                self.graph.edge(names[source], names[target], style="dotted")


def _by_others(edges: list[tuple[str, str]], drawn: list[str]) -> list[tuple[str, str]]:
    """Ways between things that are drawn which lead by others; none that is two of them."""
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    shown = set(drawn)
    reached: dict[str, set[str]] = {}  # from each, everything drawn that comes after
    found = []
    for source in reversed(drawn):  # what comes after it is known already
        near: dict[str, None] = {}
        waiting, seen = list(after.get(source, [])), set()
        while waiting:
            key = waiting.pop()
            if key in shown:
                near[key] = None
            elif key not in seen:
                seen.add(key)
                waiting.extend(after.get(key, []))
        later = set().union(*(reached.get(key, set()) for key in near))
        reached[source] = later | set(near)
        found += [
            (source, key)
            for key in drawn
            if key in near and key not in later and key not in after.get(source, [])
        ]
    return found


def _weights(data: Trace) -> set[int]:
    """What is made of parameters alone; nothing where that is everything."""
    found = made_of_parameters(data)
    return set() if found.issuperset(data.outputs) else found
