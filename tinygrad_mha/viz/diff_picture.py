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
from .diff_cards import HeadCards, signed
from .diff_table import SIGNS, facts, moved
from .maps import WEIGHTS, Stencils
from .match import calls
from .scene import made_of_parameters
from .text import label, number
from .theme import Theme, viridis

if TYPE_CHECKING:
    from .diff import Change, Diff, Difference, ModuleChange

#: Cards drawn; of more, those that changed most.
MOST_CARDS = 120

_FONT = "Arial"


def draw(diff: Diff, theme: Theme, stencils: Stencils | None = None) -> str:
    """Write the whole picture; with `stencils`, for an SVG into which they are to be put."""
    return _Drawing(diff, theme, stencils).source()


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
    def __init__(self, diff: Diff, theme: Theme, stencils: Stencils | None) -> None:
        self.diff, self.theme = diff, theme
        self.heads = HeadCards(theme, stencils)
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
        t, gap = self.theme, "&#160;" * 4

        def words(text: str) -> str:
            return (
                f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">{text}{gap}</FONT></TD>'
            )

        def scale(colours: list[str]) -> str:
            return "".join(
                f'<TD BGCOLOR="{c}" WIDTH="9" HEIGHT="10" FIXEDSIZE="TRUE"></TD>' for c in colours
            )

        cells = [words("− fell"), scale([signed(t, k / 4) for k in range(-4, 5)])]
        cells += [words("rose +")]
        if self.diff.heads:
            cells += [scale([viridis(k / 7) for k in range(8)]), words(f"{WEIGHTS}, of both")]
            cells += [scale([t.masked]), words("masked")]
        cells += [words(f"{sign} {state}") for state, sign in SIGNS.items()]
        return (
            f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>{"".join(cells)}</TR></TABLE>'
        )

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
            f'WIDTH="265" HEIGHT="{17 * len(rows) + 3}">{"".join(rows)}</TABLE>'
        )

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


def _weights(data: Trace) -> set[int]:
    """What is made of parameters alone; nothing where that is everything."""
    found = made_of_parameters(data)
    return set() if found.issuperset(data.outputs) else found
