"""The picture in Graphviz's language: modules as frames, each head as a lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import graphviz

from .cards import card
from .data import Edge, Trace, Vertex
from .flow import Scale, norm_of, together, words
from .head_lanes import HeadLanes
from .heading import heading
from .maps import Stencils
from .part import part
from .picture import PRINT, Picture
from .scene import arrange, overview, streams
from .text import label, number, seconds, shape, visible

_FONT = "Arial"  # graphviz-pure brings metrics for it; browsers everywhere have a like one

#: Arrows up to which a backward picture writes the rule beside each.
_RULES = 40

#: Letters of a class's name for which there is room in a row over lanes.
_KIND = 10


def draw(data: Trace, picture: Picture, stencils: Stencils | None = None) -> str:
    """Write the whole picture; with `stencils`, for an SVG into which they are to be put."""
    return Drawing(data, picture, stencils).source()


def part_of(data: Trace, picture: Picture) -> Trace:
    """The trace that a picture draws: all of it, or one module's."""
    shown = data if picture.module is None else part(data, picture.module)
    if picture.head is not None:
        fewest = min((len(a.lanes) for a in shown.attentions), default=0)
        if not 0 <= picture.head < fewest:
            raise ValueError(f"head is {picture.head}; there are {fewest}, counted from 0")
    return shown


class Drawing:
    """One picture in the making."""

    def __init__(self, data: Trace, picture: Picture, stencils: Stencils | None = None) -> None:
        self.stencils = stencils
        self.data, self.picture, self.theme = data, picture, picture.colours
        self.scene = (
            arrange(data, picture.heads == "lanes", picture.depth)
            if not picture.opened
            else overview(data, picture.opened, picture.depth or 0)
        )
        if picture.rows:
            self.scene.open, self.scene.parents = set(), dict.fromkeys(self.scene.parents)
        self.scale = Scale(data, self.theme)
        self.flows: list[float | None] = []
        self.neighbours: dict[tuple[str, str], None] = {}
        self.graph = graphviz.Digraph("trace")
        self.lanes = {f"a{a.id}": HeadLanes(self, a) for a in self.scene.attentions}
        self.inside: dict[int | None, list[str]] = {}
        for key, parent in self.scene.parents.items():
            self.inside.setdefault(parent, []).append(key)
        self.into: dict[int, list[Edge]] = {}
        for edge in data.edges:
            self.into.setdefault(edge.target, []).append(edge)
        self.members: dict[str, list[int]] = {}
        for vertex in sorted(self.scene.shown):
            self.members.setdefault(self.scene.shown[vertex], []).append(vertex)

    def source(self) -> str:
        """Write it."""
        t, picture = self.theme, self.picture
        self.graph.attr(
            bgcolor=t.paper, rankdir="TB", nodesep=f"{picture.between}",
            ranksep="0.16" if picture.flat else "0.24" if picture.narrow else "0.3",
            fontname=_FONT, labelloc="t", labeljust="l", newrank="true", pad="0.2",
        )  # fmt: skip
        if self.picture.cells and self.picture.inches is not None:  # else the finishing sets it
            wide, high = self.picture.inches
            self.graph.attr(size=f"{wide},{high}!", dpi=str(PRINT))
        self.graph.attr("node", fontname=_FONT, fontsize="11", fontcolor=t.ink, shape="plain")
        self.graph.attr(
            "edge", color=t.line, arrowsize="0.6", penwidth="1.0",
            fontname=_FONT, fontsize="9", fontcolor=t.faint,
        )  # fmt: skip
        self._frame(self.graph, None, 0)
        self._edges()
        if self.picture.narrow and not self.picture.rows:
            self._stacked()
        last = self._in_rows() if picture.rows else list(self.members)[-1:]
        for opened in picture.opened:
            self._open_below(opened, last)
        self.graph.attr(label=heading(self))  # which explains what has been drawn
        return str(self.graph.source)

    # -- what others ask ------------------------------------------------------------------

    def gradient_of(self, vertex: int) -> float | None:
        """Norm of the gradient at a vertex's value."""
        return norm_of(self.data.vertices[vertex].gradient)

    def paint(self, vertex: Vertex) -> tuple[str, str]:
        """Fill and outline of a vertex's box."""
        t = self.theme
        fill, outline = t.op, t.line
        if vertex.kind == "parameter":
            fill = t.parameter
        elif vertex.kind == "input":
            fill, outline = t.data, t.source
        if vertex.id in self.data.outputs:
            fill, outline = t.output, t.result
        broken = vertex.value is not None and (vertex.value.nans or vertex.value.infinities)
        return fill, t.alarm if broken else outline

    def arrow(
        self,
        graph: Any,
        tail: str,
        head: str,
        gradient: float | None,
        unseen: bool = False,
        **look: str,
    ) -> None:
        """Draw a value's way, its gradient's way back, or both."""
        if self.picture.direction != "backward":
            graph.edge(self._beside(tail, "w"), self._beside(head, "w"), **look)
        if self.picture.direction != "forward":
            if not unseen:
                self.flows.append(gradient)
            kept = {
                k: v for k, v in look.items() if k in ("weight", "xlabel", "arrowtail", "minlen")
            }
            look = {**kept, **self.scale.style(gradient, unseen)}
            if "xlabel" in look and not self.lanes:  # room is made for a label; lanes want none
                look["label"] = look.pop("xlabel")
            graph.edge(self._beside(tail, "e"), self._beside(head, "e"), dir="back", **look)

    def _beside(self, end: str, side: str) -> str:
        """Move an arrow's end a little to one side, where a port has room for both directions."""
        node, *rest = end.split(":")
        roomy = len(rest) == 2 and (rest[0] in ("t", "rest") or rest[0][0] == "l")
        if not roomy or self.picture.direction != "both":
            return end
        return f"{node}:{rest[0]}{side}:{rest[1]}"

    # -- frames and what is in them -------------------------------------------------------

    def _frame(self, graph: Any, module: int | None, depth: int) -> None:
        """Draw what stands directly in a module, and the frames inside it."""
        scene, data = self.scene, self.data
        for key in sorted(self.inside.get(module, []), key=lambda k: self.members[k][0]):
            if key in scene.singles:
                self._single(graph, key, data.vertices[scene.singles[key]])
            elif key in scene.boxes:
                self._box(graph, key)
            elif key in scene.stretches:
                self._stretch(graph, key)
            else:
                self.lanes[key].draw(graph)
        for inner in data.modules:
            if inner.parent == module and inner.id in scene.open:
                with graph.subgraph(name=f"cluster_m{inner.id}") as frame:
                    frame.attr(
                        label=self._frame_label(inner.path, inner.kind),
                        labeljust="l", style="rounded,filled",
                        margin="7" if self.picture.flat or self.picture.narrow else "12",
                        fillcolor=self.theme.depth[min(depth, len(self.theme.depth) - 1)],
                        color=self.theme.line, penwidth="0.6",
                    )  # fmt: skip
                    self._frame(frame, inner.id, depth + 1)

    def _in_rows(self) -> list[str]:
        """Put boxes in rows, in the order in which they run; returns the last row.

        Over lanes, each sequence has a row of its own.
        """
        begin = {key: members[0] for key, members in self.members.items()}
        given = begin.keys() - {head for _, head in self.neighbours}
        place = {key: (at, 1) for key, at in begin.items() if key not in given}
        for tail, head in self.neighbours:
            if tail in given:  # stands before what it goes into
                place.setdefault(tail, (begin[head], 0))
        keys = sorted(begin, key=lambda key: (place.get(key, (begin[key], 1)), begin[key]))
        each = -(-len(keys) // self.picture.rows)
        rows = [keys[i : i + each] for i in range(0, len(keys), each)]
        if self.picture.opened:
            rows = self._by_stream()
        for row in rows:
            with self.graph.subgraph() as line:
                line.attr(rank="same")
                for key in row:
                    line.node(key)
            for left, right in pairwise(row):
                if (left, right) not in self.neighbours:
                    self.graph.edge(left, right, style="invis", weight="100")
        for upper, lower in pairwise(rows):
            self.graph.edge(upper[0], lower[0], style="invis", weight="10")
        return rows[-1]

    def _by_stream(self) -> list[list[str]]:
        """Boxes of each sequence, one after the other; inputs stand before what they go into."""
        stream, rows = self._streams(), dict[int, list[str]]()
        for key in self._made():
            row = rows.setdefault(stream[key], [])
            given = (tail for tail, head in self.neighbours if head == key and tail not in stream)
            row += [
                *(tail for tail in given if all(tail not in other for other in rows.values())),
                key,
            ]
        return [rows[number] for number in sorted(rows)]

    def _streams(self) -> dict[str, int]:
        """Which sequence each box that is no input belongs to."""
        made = self._made()
        return streams([edge for edge in self.neighbours if edge[0] in set(made)], made)

    def _made(self) -> list[str]:
        """Boxes that are no input, each behind what it is made of."""
        vertices, singles = self.data.vertices, self.scene.singles
        left = [
            key
            for key in sorted(self.members, key=lambda key: self.members[key][0])
            if key not in self.lanes
            and not (key in singles and vertices[singles[key]].kind != "op")
        ]
        order: list[str] = []
        while left:
            waiting = {head for tail, head in self.neighbours if tail in left and tail != head}
            key = next((key for key in left if key not in waiting), left[0])  # or in a circle
            left.remove(key)
            order.append(key)
        return order

    def _open_below(self, number: int, above: list[str]) -> None:
        """Draw the lanes of an attention that is open, and what box they are in."""
        lanes = self.lanes[f"a{self.data.attentions[number].id}"]
        module = self.data.attentions[number].module
        path, kind = "", ""
        if module is not None:
            path, kind = self.data.modules[module].path, self.data.modules[module].kind
        with self.graph.subgraph(name=f"cluster_{lanes.key}_open") as frame:
            frame.attr(
                label=self._frame_label(path, kind), labeljust="l", style="rounded,filled",
                margin="8", fillcolor=self.theme.depth[0], color=self.theme.line, penwidth="0.6",
            )  # fmt: skip
            lanes.draw(frame)
        box = self.scene.shown[lanes.attention.output]
        for last in above:
            self.graph.edge(last, f"{lanes.key}_in", style="invis", weight="1")
        # in a column the line would run over what is between, and of several over others
        if self.picture.rows and len(self.picture.opened) == 1:
            look = {"style": "dashed", "arrowhead": "none", "weight": "2"}
            self.graph.edge(box, f"{lanes.key}_in", **look)

    def _frame_label(self, path: str, kind: str) -> str:
        longest = 36 if self.picture.narrow else 60
        name, beside = (kind, "") if path in ("", kind) else (path, kind)
        kind = "&#160;" * 4 + label(beside)
        faint = f'<FONT POINT-SIZE="10" COLOR="{self.theme.faint}">{kind}</FONT>'
        return (
            f'<<FONT POINT-SIZE="11" COLOR="{self.theme.ink}"><B>{label(name, longest)}</B></FONT>'
            f"{faint if beside else ''}>"
        )

    def _single(self, graph: Any, key: str, vertex: Vertex) -> None:
        constants = [
            self.data.vertices[e.source].name
            for e in self.into.get(vertex.id, [])
            if self.data.vertices[e.source].kind == "constant"
        ]
        details = [shape(vertex.shape)]
        value = vertex.value
        if value is not None and vertex.shape == () and value.mean is not None:
            details = [number(value.mean)]
        if value is not None and (value.nans or value.infinities):
            details.append(f"{value.nans} NaN, {value.infinities} ∞")
        details += [label(f"with {', '.join(constants)}")] if constants else []
        if vertex.gradient is not None and not self._terse:
            details.append(f"‖∇‖ {words(norm_of(vertex.gradient), vertex.unseen)}")
        if vertex.seconds is not None:
            details.append(seconds(vertex.seconds))
        name = vertex.symbol if vertex.kind == "op" else vertex.name
        around = self.scene.parents[key]
        if vertex.kind == "parameter" and around is not None:  # its frame says the rest
            name = name.removeprefix(f"{self.data.modules[around].path}.")
        title = label(name, 24 if self.picture.narrow else 40)
        graph.node(key, card(self.theme, title, details, *self.paint(vertex), flat=self._flat))

    def _box(self, graph: Any, key: str) -> None:
        data, calls = self.data, sorted(self.scene.boxes[key])
        call = data.modules[calls[0]]
        parts = call.path.split(".")
        last = ".".join(
            parts[-2:] if parts[-1].isdigit() else parts[-1:]
        )  # a mere "0" says nothing
        name = (call.path if len(calls) > 1 else last) or call.kind
        beside = "" if name == call.kind else label(call.kind)
        if len(calls) > 1:
            name = f"{name} … {data.modules[calls[-1]].path}"
            beside += f" × {len(calls)}"
        title, fill = label(name, 24 if self.picture.narrow else 40), self.theme.depth[1]
        details = self._of_many(self.members[key])
        over = len(self.picture.opened) * bool(self.picture.rows)
        if len(call.kind) > _KIND and (over > 1 or (over and len(calls) == 1)):
            beside = f"× {len(calls)}" if len(calls) > 1 else ""  # the name is shorter, and says it
        if self._terse:
            beside, details = "", [*([beside] if beside else []), details[0]]
        output = set(self.members[key]) & set(data.outputs)
        outline = self.theme.result if output else self.theme.line
        graph.node(key, card(self.theme, title, details, fill, outline, beside, flat=self._flat))

    def _stretch(self, graph: Any, key: str) -> None:
        members = self.scene.stretches[key]
        symbols = Counter(self.data.vertices[v].symbol for v in members)
        title = f"{len(members)} operations"
        beside = label(", ".join(symbol for symbol, _ in symbols.most_common(3)))
        details = self._of_many(members)
        paint = self.theme.op, self.theme.line
        graph.node(key, card(self.theme, title, details, *paint, beside, flat=self._flat))

    @property
    def _flat(self) -> bool:
        """Whether boxes have one line; in a row they are better high than wide."""
        return self.picture.flat and not self.picture.rows

    @property
    def _terse(self) -> bool:
        """Whether boxes are too narrow for the gradient's norm."""
        return bool(self.picture.rows) or (self.picture.flat and self.picture.narrow)

    def _of_many(self, members: list[int]) -> list[str]:
        """What is told of several operations: of the last one's value, and their time together."""
        vertices = [self.data.vertices[v] for v in members]
        last = vertices[-1]
        details = [shape(last.shape)]
        if last.gradient is not None:
            details.append(f"‖∇‖ {words(norm_of(last.gradient))}")
        times = [v.seconds for v in vertices if v.seconds is not None]
        return details + ([seconds(sum(times))] if times else [])

    # -- arrows ---------------------------------------------------------------------------

    def _edges(self) -> None:
        scene, data = self.scene, self.data
        shown = scene.shown
        drawn: dict[tuple[str, str], list[Edge]] = {}
        for edge in data.edges:
            source, target = scene.shown.get(edge.source), scene.shown.get(edge.target)
            if source is None or target is None or source == target:
                continue
            tail = f"{source}_sum:out:s" if source in self.lanes else source
            head, slot = target, ""
            if target in self.lanes:
                known = edge.source in self.lanes[target].attention.sources
                head = self.lanes[target].port_of(edge.source) if known else f"{target}_in"
                slot = "" if known else "beside"
            elif target in scene.singles:
                slot = edge.slot
            drawn.setdefault((tail, f"{head}|{slot}"), []).append(edge)
        rank = self._ranks({key: edges[0] for key, edges in drawn.items()}.values())
        leaves = self.members.keys() - {scene.shown[edges[0].target] for edges in drawn.values()}
        pairs = ((shown[e.source], shown[e.target]) for e, *_ in drawn.values())
        self.neighbours = dict.fromkeys(pairs)  # in order: the same trace gives the same picture
        stream = self._streams() if self.picture.opened else {}
        for (tail, head), edges in drawn.items():
            end, _, slot = head.partition("|")
            source, target = scene.shown[edges[0].source], scene.shown[edges[0].target]
            # what follows at once stands below; what skips something runs past it
            follows = rank[target] == rank[source] + 1
            look = {"weight": ("1" if source in leaves else "8") if follows else "0"}
            apart = source in stream and stream[source] != stream.get(target)
            if self.picture.rows and self.picture.opened:
                # a weight keeps what follows in its row behind, and would push another row aside
                look["weight"] = "0" if apart else max(look["weight"], "1")
            if slot == "beside":
                look["style"] = "dashed"
            rule = edges[0].rule
            told = self.picture.direction == "backward" and look["weight"] != "0"
            if told and rule and len(drawn) <= _RULES:
                look["xlabel"] = graphviz.escape(f"  {visible(rule)}      ")
            unseen = all(data.vertices[e.source].unseen for e in edges)
            self.arrow(self.graph, tail, end, together(e.gradient for e in edges), unseen, **look)

    def _stacked(self) -> None:
        """Put what goes into one thing in rows of two, where there is no room for one row."""
        into: dict[str, list[str]] = {}
        given = {tail for tail, _ in self.neighbours} - {head for _, head in self.neighbours}
        for tail, head in sorted(self.neighbours, key=lambda pair: self.members[pair[0]][0]):
            if tail in given:
                given.discard(tail)
                into.setdefault(head, []).append(tail)
        for tails in into.values():
            for upper, lower in zip(tails, tails[2:], strict=False):
                self.graph.edge(upper, lower, style="invis")

    def _ranks(self, edges: Iterable[Edge]) -> dict[str, int]:
        """How many things at most stand before each, along the arrows."""
        shown = self.scene.shown
        rank = dict.fromkeys(self.members, 0)
        for edge in sorted(edges, key=lambda edge: edge.target):
            source, target = shown[edge.source], shown[edge.target]
            rank[target] = max(rank[target], rank[source] + 1)
        users: dict[str, list[int]] = {}
        for edge in edges:
            users.setdefault(shown[edge.source], []).append(rank[shown[edge.target]])
        for key, found in users.items():
            if rank[key] == 0:  # what nothing stands before stands where it is needed
                rank[key] = min(found) - 1
        return rank
