"""A computation as text for the terminal."""

from __future__ import annotations

from .data import Trace, Vertex


def table(data: Trace) -> str:
    """Write a line for each operation: number, module, operation, inputs, shape, norms, formula."""
    sources: dict[int, list[int]] = {}
    for edge in data.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    rows = [("#", "module", "operation", "from", "shape", "‖value‖", "‖gradient‖", "formula")]
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
                    _norm(v.value.norm if v.value else None),
                    _norm(v.gradient.norm if v.gradient else None),
                    v.formula,
                )
            )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for attention in data.attentions:
        where = "" if attention.module is None else data.modules[attention.module].path
        lines.append(f"\n{where or 'attention'}: {attention.proof.words()}")
        lines.append("head  entropy  peak  to self  previous  first  ‖contribution‖  ‖gradient‖")
        lines += [
            f"{lane.head + 1:>4}  {lane.entropy:7.2f}  {lane.peak:4.2f}  {lane.to_self:7.2f}  "
            f"{lane.to_previous:8.2f}  {lane.to_first:5.2f}  {lane.contribution:14.3g}  "
            f"{_norm(lane.gradient):>10}"
            for lane in attention.lanes
        ]
    return "\n".join(lines)


def _name(vertex: Vertex) -> str:
    return f"#{vertex.id}" if vertex.kind == "op" else vertex.name


def _norm(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
