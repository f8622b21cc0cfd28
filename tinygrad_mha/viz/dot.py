"""The picture in Graphviz's language: modules as frames, each head as a lane."""

from __future__ import annotations

from typing import Any

import graphviz

from .data import Attention, Lane, Trace
from .text import label, number, shape, token
from .theme import Theme, viridis
from .view import View, arrange

#: Lanes drawn side by side; of more heads those that contribute most are drawn.
MOST_LANES = 8

_FONT = "Arial"  # graphviz-pure brings metrics for it; browsers everywhere have a like one


def draw(data: Trace, lanes: bool, theme: Theme) -> str:
    """Write the whole picture."""
    return _Drawing(data, arrange(data, lanes), theme).source()


class _Drawing:
    """One picture in the making."""

    def __init__(self, data: Trace, view: View, theme: Theme) -> None:
        self.data, self.view, self.theme = data, view, theme
        self.graph = graphviz.Digraph("trace")

    def source(self) -> str:
        t = self.theme
        self.graph.attr(
            bgcolor=t.paper, rankdir="TB", nodesep="0.25", ranksep="0.32", fontname=_FONT,
            labelloc="t", labeljust="l", label=self._heading(), newrank="true", pad="0.25",
        )  # fmt: skip
        self.graph.attr("node", fontname=_FONT, fontsize="11", fontcolor=t.ink, shape="plain")
        self.graph.attr(
            "edge", color=t.line, arrowsize="0.6", penwidth="1.0",
            fontname=_FONT, fontsize="9", fontcolor=t.faint,
        )  # fmt: skip
        self._frame(self.graph, None, 0)
        self._edges()
        return str(self.graph.source)

    # -- heading and legend ---------------------------------------------------------------

    def _heading(self) -> str:
        t, data = self.theme, self.data
        operations = sum(v.kind == "op" for v in data.vertices)
        numbers = sum(_product(v.shape) for v in data.vertices if v.kind == "parameter")
        rows = [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="18" COLOR="{t.ink}"><B>'
            f"{label(data.title, 80)}</B></FONT>"
            f'<FONT POINT-SIZE="11" COLOR="{t.faint}">    {operations} operations, '
            f"{numbers:,} parameters, gradient: "
            f"{'computed' if data.steps else 'not computed'}</FONT></TD></TR>"
        ]
        for attention in self.view.attentions:
            colour = t.faint if attention.proof.holds else t.alarm
            where = "" if attention.module is None else data.modules[attention.module].path
            rows.append(
                f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10" COLOR="{colour}">'
                f"{label(where, 60)}  {label(attention.proof.words(), 200)}</FONT></TD></TR>"
            )
        rows.append(f'<TR><TD ALIGN="LEFT">{self._legend()}</TD></TR>')
        return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="3">{"".join(rows)}</TABLE>>'

    def _legend(self) -> str:
        t = self.theme

        def swatch(fill: str, outline: str, words: str) -> str:
            return (
                f'<TD BGCOLOR="{fill}" BORDER="1" COLOR="{outline}" WIDTH="14" HEIGHT="10" '
                f'FIXEDSIZE="TRUE"></TD><TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">'
                f"{words}   </FONT></TD>"
            )

        cells = [
            swatch(t.data, t.source, "input"),
            swatch(t.parameter, t.line, "parameter"),
            swatch(t.op, t.line, "operation"),
            swatch(t.depth[1], t.line, "module, folded"),
            swatch(t.output, t.result, "output"),
        ]
        if self.view.attentions:
            scale = "".join(
                f'<TD BGCOLOR="{viridis(k / 7)}" WIDTH="8" HEIGHT="10" FIXEDSIZE="TRUE"></TD>'
                for k in range(8)
            )
            cells.append(
                f'{scale}<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">'
                "attention weight, 0 to the map's largest   </FONT></TD>"
            )
            cells.append(swatch(t.masked, t.masked, "masked"))
            cells.append(
                f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{t.faint}">'
                "width of an arrow into Σ: the head's share</FONT></TD>"
            )
        return (
            f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>{"".join(cells)}</TR></TABLE>'
        )

    # -- frames and what is in them ---------------------------------------------------------

    def _frame(self, graph: Any, module: int | None, depth: int) -> None:
        """Draw what stands directly in a module, and the frames inside it."""
        view, data = self.view, self.data
        for key, vertex in sorted(view.singles.items(), key=lambda item: item[1]):
            if view.parents[key] == module:
                self._single(graph, key, vertex)
        for key, folded in sorted(view.boxes.items(), key=lambda item: item[1]):
            if view.parents[key] == module:
                self._box(graph, key, folded)
        for attention in view.attentions:
            if attention.module == module:
                self._lanes(graph, attention)
        for inner in data.modules:
            if inner.parent == module and inner.id in view.open:
                with graph.subgraph(name=f"cluster_m{inner.id}") as frame:
                    frame.attr(
                        label=self._frame_label(inner.path, inner.kind),
                        labeljust="l", style="rounded,filled", margin="14",
                        fillcolor=self.theme.depth[min(depth, 3)], color=self.theme.line,
                        penwidth="0.6",
                    )  # fmt: skip
                    self._frame(frame, inner.id, depth + 1)

    def _frame_label(self, path: str, kind: str) -> str:
        name, beside = (kind, "") if path in ("", kind) else (path, kind)
        faint = f'<FONT POINT-SIZE="10" COLOR="{self.theme.faint}">     {label(beside)}</FONT>'
        return (
            f'<<FONT POINT-SIZE="11" COLOR="{self.theme.ink}"><B>{label(name, 60)}</B></FONT>'
            f"{faint if beside else ''}>"
        )

    def _single(self, graph: Any, key: str, number_of: int) -> None:
        t, vertex = self.theme, self.data.vertices[number_of]
        fill, outline = t.op, t.line
        if vertex.kind == "parameter":
            fill = t.parameter
        elif vertex.kind == "input":
            fill, outline = t.data, t.source
        if vertex.id in self.data.outputs:
            fill, outline = t.output, t.result
        name = vertex.symbol if vertex.kind == "op" else vertex.name
        constants = [
            self.data.vertices[e.source].name
            for e in self.data.edges
            if e.target == vertex.id and self.data.vertices[e.source].kind == "constant"
        ]
        details = [shape(vertex.shape)]
        if vertex.value is not None and vertex.shape == () and vertex.value.mean is not None:
            details = [number(vertex.value.mean)]
        details += [label(f"with {', '.join(constants)}")] if constants else []
        if vertex.gradient is not None and vertex.kind != "input":
            details.append(f"‖∇‖ {number(vertex.gradient.norm)}")
        graph.node(key, self._card(label(name), details, fill, outline))

    def _box(self, graph: Any, key: str, module: int) -> None:
        data = self.data
        members = [v for v in data.vertices if self.view.shown.get(v.id) == key]
        last = max(members, key=lambda v: v.id)
        call = data.modules[module]
        name = call.path.rsplit(".", 1)[-1] or call.kind
        title = label(name) if name == call.kind else f"{label(name)} "
        kind = (
            ""
            if name == call.kind
            else f'<FONT POINT-SIZE="9" COLOR="{self.theme.faint}">{label(call.kind)}</FONT>'
        )
        details = [shape(last.shape)]
        if last.gradient is not None:
            details.append(f"‖∇‖ {number(last.gradient.norm)}")
        fill = self.theme.depth[1]
        graph.node(key, self._card(title, details, fill, self.theme.line, kind))

    def _card(
        self, title: str, details: list[str], fill: str, outline: str, beside: str = ""
    ) -> str:
        """A box of two lines: what it is, and its numbers."""
        below = "   ".join(details)
        return (
            f'<<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" STYLE="ROUNDED" '
            f'BGCOLOR="{fill}" COLOR="{outline}"><TR><TD><B>{title}</B>{beside}</TD></TR>'
            f'<TR><TD><FONT POINT-SIZE="9" COLOR="{self.theme.faint}">{below}</FONT></TD></TR>'
            "</TABLE>>"
        )

    # -- lanes --------------------------------------------------------------------------------

    def _lanes(self, graph: Any, attention: Attention) -> None:
        lanes = attention.lanes
        if len(lanes) > MOST_LANES:
            largest = sorted(lanes, key=lambda lane: -lane.contribution)[:MOST_LANES]
            lanes = sorted(largest, key=lambda lane: lane.head)
        for lane in lanes:
            self._lane(graph, attention, lane)
        key = f"a{attention.id}"
        top = max((lane.contribution for lane in attention.lanes), default=0.0) or 1.0
        graph.node(f"{key}_sum", self._sum_label(attention, len(lanes)))
        for lane in lanes:
            graph.edge(
                f"{key}_{lane.head}_out:s",
                f"{key}_sum:n",
                color=self._colour(lane.head),
                penwidth=f"{0.6 + 2.6 * lane.contribution / top:.2f}",
            )

    def _sum_label(self, attention: Attention, drawn: int) -> str:
        out = self.data.vertices[attention.output]
        rest = len(attention.lanes) - drawn
        details = [shape(out.shape)]
        if rest:
            hidden = sorted(lane.contribution for lane in attention.lanes)[:rest]
            details.append(f"and {rest} more heads, each below {number(hidden[-1])}")
        if out.gradient is not None:
            details.append(f"‖∇‖ {number(out.gradient.norm)}")
        sign = "Σ heads" if attention.combined else "[ heads ]"
        final = out.id in self.data.outputs
        fill = self.theme.output if final else self.theme.op
        return self._card(sign, details, fill, self.theme.result if final else self.theme.line)

    def _colour(self, head: int) -> str:
        return self.theme.heads[head % len(self.theme.heads)]

    def _lane(self, graph: Any, attention: Attention, lane: Lane) -> None:
        t, colour = self.theme, self._colour(lane.head)
        key = f"a{attention.id}_{lane.head}"
        with graph.subgraph(name=f"cluster_{key}") as frame:
            frame.attr(style="rounded,dashed,filled", color=colour, fillcolor=t.paper,
                       penwidth="1.4", margin="10", label="")  # fmt: skip
            frame.node(f"{key}_in", self._lane_title(lane, colour))
            frame.node(f"{key}_qkv", self._projections(attention, lane.head))
            frame.edge(f"{key}_in", f"{key}_qkv", color=colour, arrowsize="0.5")
            last = f"{key}_qkv"
            before, after = _around_weights(attention.stages)
            if before:
                words = " → ".join(label(s) for s in before)
                frame.node(f"{key}_scores", self._chip(words))
                frame.edge(last, f"{key}_scores")
                last = f"{key}_scores"
            if lane.weights:
                frame.node(f"{key}_map", self._map(lane, colour))
                frame.edge(last, f"{key}_map")
                last = f"{key}_map"
            frame.node(f"{key}_pool", self._chip(" → ".join(label(s) for s in after) or "h"))
            frame.edge(last, f"{key}_pool")
            frame.edge(f"{key}_qkv:last:s", f"{key}_pool:e", weight="0", style="dotted")
            frame.node(f"{key}_out", self._share(attention, lane, colour))
            frame.edge(f"{key}_pool", f"{key}_out", label=f" h{lane.head + 1}")

    def _lane_title(self, lane: Lane, colour: str) -> str:
        stats = (
            f"entropy {lane.entropy:.2f}   peak {lane.peak:.2f}   previous {lane.to_previous:.2f}"
        )
        return (
            '<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1"><TR><TD>'
            f'<FONT POINT-SIZE="13" COLOR="{colour}"><B>head {lane.head + 1}</B></FONT></TD></TR>'
            f'<TR><TD><FONT POINT-SIZE="9" COLOR="{self.theme.faint}">'
            f"{stats if lane.weights else ''}</FONT></TD></TR></TABLE>>"
        )

    def _projections(self, attention: Attention, head: int) -> str:
        """Head i's own matrices, in one row."""
        t = self.theme
        cells = []
        for k, name in enumerate(attention.projections):
            port = ' PORT="last"' if k == len(attention.projections) - 1 else ""
            cells.append(
                f'<TD{port} BORDER="1" STYLE="ROUNDED" BGCOLOR="{t.parameter}" COLOR="{t.line}" '
                f'CELLPADDING="4">{_matrix(name, head)}</TD>'
            )
        return (
            f'<<TABLE BORDER="0" CELLSPACING="6" CELLPADDING="0"><TR>{"".join(cells)}</TR></TABLE>>'
        )

    def _chip(self, words: str) -> str:
        t = self.theme
        return (
            f'<<TABLE BORDER="1" CELLBORDER="0" STYLE="ROUNDED" CELLSPACING="0" CELLPADDING="4" '
            f'BGCOLOR="{t.op}" COLOR="{t.line}"><TR><TD>{words}</TD></TR></TABLE>>'
        )

    def _share(self, attention: Attention, lane: Lane, colour: str) -> str:
        """W_o's block for this head, and how much comes out of it."""
        t = self.theme
        name = attention.combined.rsplit(".", 1)[-1]
        if name == "weight":
            name = attention.combined.rsplit(".", 2)[-2]
        own = f"h{_sub(lane.head + 1)}"
        words = f"{_base(name)}[:, {lane.head + 1}] {own}" if attention.combined else own
        numbers = f"‖·‖ {number(lane.contribution)}    ‖∇‖ {number(lane.gradient)}"
        return (
            f'<<TABLE BORDER="1" CELLBORDER="0" STYLE="ROUNDED" CELLSPACING="0" CELLPADDING="3" '
            f'BGCOLOR="{t.parameter}" COLOR="{colour}"><TR><TD>{words}</TD></TR>'
            f'<TR><TD><FONT POINT-SIZE="9" COLOR="{t.faint}">{numbers}</FONT></TD></TR></TABLE>>'
        )

    def _map(self, lane: Lane, colour: str) -> str:
        """The weights as a table of small cells, queries down and keys across."""
        t = self.theme
        longest = max(len(lane.rows), len(lane.columns))
        side = max(4, min(18, 170 // longest))
        letters = min(9, side - 1)
        named = letters >= 5
        largest = max((max(row) for row in lane.weights), default=0.0) or 1.0

        def cell(content: str, fill: str = "", width: int = side) -> str:
            paint = f' BGCOLOR="{fill}"' if fill else ""
            return f'<TD{paint} WIDTH="{width}" HEIGHT="{side}" FIXEDSIZE="TRUE">{content}</TD>'

        def name(text: str) -> str:
            return f'<FONT POINT-SIZE="{letters}" COLOR="{t.faint}">{token(text)}</FONT>'

        wide = side if not named else max(side, 5 * max(len(token(r)) for r in lane.rows))
        rows = []
        if named:
            heads = "".join(cell(name(c)) for c in lane.columns)
            rows.append(f"<TR>{cell('', width=wide)}{heads}</TR>")
        for weights, seen, row in zip(lane.weights, lane.visible, lane.rows, strict=True):
            cells = "".join(
                cell("", viridis(w / largest) if ok else t.masked)
                for w, ok in zip(weights, seen, strict=True)
            )
            rows.append(f"<TR>{cell(name(row), width=wide) if named else ''}{cells}</TR>")
        # room on both sides: the values' arrow passes here, inside the lane
        room = '<TD WIDTH="22" FIXEDSIZE="TRUE" HEIGHT="4"></TD>'
        return (
            f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{room}<TD>'
            f'<TABLE BORDER="1" STYLE="ROUNDED" COLOR="{colour}" CELLBORDER="0" CELLSPACING="1" '
            f'CELLPADDING="0" BGCOLOR="{t.paper}">{"".join(rows)}</TABLE></TD>{room}</TR></TABLE>>'
        )

    # -- arrows ---------------------------------------------------------------------------------

    def _edges(self) -> None:
        view, data = self.view, self.data
        drawn: set[tuple[str, str, str]] = set()
        for edge in data.edges:
            source, target = view.shown.get(edge.source), view.shown.get(edge.target)
            if source is None or target is None or source == target:
                continue
            slot = edge.slot if target in view.singles else ""
            if (source, target, slot) in drawn:
                continue
            drawn.add((source, target, slot))
            tail = f"{source}_sum:s" if source.startswith("a") else source
            if not target.startswith("a"):
                self.graph.edge(tail, target)
                continue
            if edge.source not in next(a for a in view.attentions if f"a{a.id}" == target).sources:
                self.graph.edge(tail, f"{target}_sum", style="dashed")
                continue
            for lane in self._drawn_lanes(target):
                self.graph.edge(
                    tail, f"{target}_{lane}_in:n", color=self._colour(lane), penwidth="0.8"
                )

    def _drawn_lanes(self, key: str) -> list[int]:
        lanes = next(a for a in self.view.attentions if f"a{a.id}" == key).lanes
        if len(lanes) > MOST_LANES:
            lanes = sorted(lanes, key=lambda lane: -lane.contribution)[:MOST_LANES]
        return sorted(lane.head for lane in lanes)


def _around_weights(stages: list[str]) -> tuple[list[str], list[str]]:
    """Symbols of what happens up to the weights, and after them."""
    for i, symbol in enumerate(stages):
        if "softmax" in symbol:
            # α names the weights, so their product with the values can say what it is
            after = ["α·v" if s == "@" else s for s in stages[i + 1 :]]
            return stages[: i + 1], after
    return stages, []


def _base(name: str) -> str:
    """W_o as W with a subscript."""
    base, _, below = name.partition("_")
    return f"{label(base)}{_sub(label(below))}" if below else label(base)


def _matrix(name: str, head: int) -> str:
    """W_q of head i as the formula has it, W with i below and (q) above."""
    base, _, above = name.partition("_")
    if base == "W" and above:
        return f"W{_sub(head + 1)}{_small(f'({label(above)})', 'SUP')}"
    return f"{label(name)}{_sub(head + 1)}"


def _small(words: object, place: str) -> str:
    return f'<FONT POINT-SIZE="8"><{place}>{words}</{place}></FONT>'


def _sub(words: object) -> str:
    return _small(words, "SUB")


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
