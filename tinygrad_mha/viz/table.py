"""A computation as text for the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata

from .data import Trace, Vertex
from .flow import UNSEEN, norm_of, together, words
from .text import bytes_, fixed, seconds

#: The widest that a column may be, by its title; the formula stands last and may run on.
WIDEST = {"module": 32, "operation": 24, "from": 30, "shape": 22}
COSTS = ("forward", "backward", "kept")
RIGHT = {
    "#",
    "‖value‖",
    "‖gradient‖",
    *COSTS,
    "head",
    "index",
    "output",
    "without",
    "change",
    "moved",
}


def table(data: Trace, *, whole: bool = False) -> str:
    """Write a line for each operation: number, module, operation, inputs, shape, norms, formula.

    Long names are cut: a module's path at its beginning, anything else at its end. A column
    that would be empty is left out, and a terminal's width is kept unless asked for `whole`
    lines. Where time was recorded, there are columns for it and for the memory of what is kept
    for backward. "head" counts from 1, as the formula does; "index" from 0, as code does.
    """
    recorded = any(v.seconds is not None for v in data.vertices)
    backward = {step.vertex: step.seconds for step in data.steps}
    sources: dict[int, list[int]] = {}
    for edge in data.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    rows: list[tuple[str, ...]] = [
        ("#", "module", "operation", "from", "shape", "‖value‖", "‖gradient‖", *COSTS, "formula")
    ]
    for v in data.vertices:
        if v.kind == "op":
            module = "" if v.module is None else data.modules[v.module].path
            rows.append(
                (
                    str(v.id),
                    module,
                    v.name,
                    " ".join(_name(data.vertices[s]) for s in sources.get(v.id, [])),
                    "×".join(map(str, v.shape)) or "()",
                    _norm(norm_of(v.value)),
                    words(norm_of(v.gradient), True) if v.unseen else _norm(norm_of(v.gradient)),
                    *(_costs(v, backward.get(v.id)) if recorded else ("", "", "")),
                    v.formula,
                )
            )
    lines = aligned(rows, whole=whole)
    if any(v.unseen and v.kind == "op" for v in data.vertices):
        lines.append(f"\n≈ {UNSEEN}.")
    for attention in data.attentions:
        where = "" if attention.module is None else data.modules[attention.module].path
        name = _cut(_visible(where), WIDEST["module"], front=True) or "attention"
        lines.append(f"\n{name}: {attention.proof.words()}")
        ablated = any(lane.ablation is not None for lane in attention.lanes)
        sent = any(norm is not None for lane in attention.lanes for norm in lane.sourced)
        lines.append(
            "head  index  entropy  peak  to self  previous  first  ‖contribution‖  ‖gradient‖"
            + "  ‖∇ of input‖" * sent
            + "  loss without" * ablated
        )
        lines += [
            f"{lane.head + 1:>4}  {lane.head:>5}  {fixed(lane.entropy):>7}  {fixed(lane.peak):>4}  "
            f"{fixed(lane.to_self):>7}  {fixed(lane.to_previous):>8}  {fixed(lane.to_first):>5}  "
            f"{lane.contribution:14.3g}  {_norm(lane.gradient):>10}"
            + (f"  {_norm(together(lane.sourced)):>12}" if sent else "")
            + (f"  {_signed(lane.ablation):>12}" if ablated else "")
            for lane in attention.lanes
        ]
    return "\n".join(lines)


def aligned(rows: list[tuple[str, ...]], *, whole: bool = False) -> list[str]:
    """Rows of cells as lines; the first row is the titles."""
    titles = rows[0]
    columns = [
        [_cut(_visible(cell), WIDEST.get(title), front=title == "module") for cell in column]
        for title, column in zip(titles, zip(*rows, strict=True), strict=True)
        if title == "#" or any(column[1:])
    ]
    padded = []
    for column in columns:
        width = max(map(_cells, column))
        spaces = [" " * (width - _cells(cell)) for cell in column]
        right = column[0] in RIGHT
        padded.append([s + c if right else c + s for c, s in zip(column, spaces, strict=True)])
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() and not whole else None
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    return [_cut(line, room) for line in lines]


def _cut(text: str, width: int | None, *, front: bool = False) -> str:
    """Shorten to a width, with an ellipsis where something is missing."""
    if width is None or _cells(text) <= width:
        return text
    kept, room = 0, width - 1
    for character in reversed(text) if front else text:
        room -= _cells(character)
        if room < 0:
            break
        kept += 1
    return "…" + text[len(text) - kept :] if front else text[:kept].rstrip() + "…"


def _visible(text: str) -> str:
    """Show what a terminal would obey, such as a line's end or a change of direction, as a dot."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "·" for c in text)


def _cells(text: str) -> int:
    """How many places a text takes in a terminal: accents none of their own, CJK two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _name(vertex: Vertex) -> str:
    return f"#{vertex.id}" if vertex.kind == "op" else vertex.name


def _costs(vertex: Vertex, backward: float | None) -> tuple[str, str, str]:
    """Time forward, time backward, and memory of what is kept in between."""
    kept = sum(saved.bytes for saved in vertex.saved)
    forward, back = ("–" if time is None else seconds(time) for time in (vertex.seconds, backward))
    return forward, back, bytes_(kept) if kept else "–"


def _norm(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3g}"
