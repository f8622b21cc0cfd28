"""What stands over a picture: what it is, whether the lanes are true, and what means what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cards import map_is_finite
from .data import Trace
from .flow import UNSEEN, trouble
from .maps import WEIGHTS
from .scene import Scene
from .text import breadth, bytes_, label, number, seconds
from .theme import flow_colour, viridis

if TYPE_CHECKING:
    from .dot import Drawing

#: Attentions up to which each one's proof is written out.
_PROOFS = 3


def heading(drawing: Drawing) -> str:
    """Write all of it as one label."""
    data, scene, picture = drawing.data, drawing.scene, drawing.picture
    t = picture.colours
    operations = [v for v in data.vertices if v.kind == "op"]
    numbers = sum(v.bytes for v in data.vertices if v.kind == "parameter")
    facts = [
        f"{len(operations)} operations",
        f"{bytes_(numbers)} of parameters",
        f"gradient: {'computed' if data.steps else 'not computed'}",
    ]
    if any(v.seconds is not None for v in operations):
        facts.insert(2, f"forward {seconds(sum(v.seconds or 0.0 for v in operations))}")
    size, longest = (15, 32) if picture.narrow else (18, 60)
    title = f'<FONT POINT-SIZE="{size}" COLOR="{t.ink}"><B>{label(data.title, longest)}</B></FONT>'
    rows = [title]
    told = _faint(t.faint, ",&#160; ".join(facts), 11)
    if picture.flat and not picture.narrow:
        rows = [f"{title}{'&#160;' * 4}{told}"]
    elif not picture.narrow:
        rows.append(told)
    if picture.note:
        rows.append(_faint(t.alarm, label(picture.note, 200), 10))
    for says, good in _proofs(data, scene):
        lines = [says]
        if picture.narrow:  # no wider than two lanes
            first, _, rest = says.partition(" (")
            lines = [first, f"({rest}"] if rest else lines
        rows += [_faint(t.faint if good else t.alarm, line, 10) for line in lines]
    rows += [_faint(t.faint, line, 10) for line in _folded(drawing)]
    rows += _legend(drawing, max(map(_width, rows)))
    cells = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    pad = 1 if picture.flat else 3
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="{pad}">{cells}</TABLE>>'


def _folded(drawing: Drawing) -> list[str]:
    """What a size left no room for."""
    data, picture = drawing.data, drawing.picture
    if picture.opened:
        count, shown = len(data.attentions), len(picture.opened)
        which = "its attention is" if count == 1 else f"the first of {count} attentions is"
        if shown > 1:
            which = f"{shown} of {count} attentions, one of each kind, are"
        lines = ["folded to fit this size: modules are boxes;", f"{which} open below"]
        return lines if picture.narrow else [" ".join(lines)]
    if picture.folded:
        return ["folded to fit this size: modules are boxes"]
    return []


def _faint(colour: str, says: str, size: int) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{says}</FONT>'


def _proofs(data: Trace, scene: Scene) -> list[tuple[str, bool]]:
    """A line for each attention, or one for all where they are many; what fails has its own."""
    every = data.attentions if scene.attentions else []
    found = []
    if len(every) > _PROOFS and (good := [a.proof for a in every if a.proof.holds]):
        worst = max(proof.output for proof in good)
        lanes = sum(len(a.lanes) for a in every if a.proof.holds)
        says = f"Σ lanes = output in {len(good)} attentions, {lanes} heads (largest difference "
        found.append((f"{says}{number(worst)})", True))
        every = [a for a in every if not a.proof.holds]
    for attention in every:
        where = "" if attention.module is None else data.modules[attention.module].path
        words = label(attention.proof.words(), 200)
        found.append(
            (f"{label(where, 60)}&#160; {words}" if where else words, attention.proof.holds)
        )
    return found


@dataclass
class _Entry:
    """One entry of the legend: cells, and how many points they take."""

    cells: str
    width: float


def _width(row: str) -> float:
    """About how many points a row of text is wide."""
    found = re.findall(r'POINT-SIZE="(\d+)"[^>]*>(?:<B>)?([^<]*)', row)
    return sum(0.85 * breadth(text, int(size)) for size, text in found)


def _legend(drawing: Drawing, above: float) -> list[str]:
    """Explain what occurs in this picture, and nothing else, in rows that are not too wide.

    What stands above is `above` points wide.
    """
    data, scene, picture, scale = drawing.data, drawing.scene, drawing.picture, drawing.scale
    t = picture.colours

    def words(says: str, cells: str = "", extra: float = 0) -> _Entry:
        text = _faint(t.faint, f"{says}&#160;&#160;", 9)
        return _Entry(f'{cells}<TD ALIGN="LEFT">{text}</TD>', 4.4 * (len(says) + 2) + 2 + extra)

    def swatch(fill: str, outline: str, says: str) -> _Entry:
        return words(
            says,
            f'<TD BGCOLOR="{fill}" BORDER="1" COLOR="{outline}" WIDTH="14" HEIGHT="10" '
            'FIXEDSIZE="TRUE"></TD>',
            18,
        )

    def ramp(colours: list[str], says: str) -> _Entry:
        cells = "".join(
            f'<TD BGCOLOR="{c}" WIDTH="8" HEIGHT="10" FIXEDSIZE="TRUE"></TD>' for c in colours
        )
        return words(says, cells, 10 * len(colours))

    kinds = {data.vertices[v].kind for v in scene.singles.values()}
    entries = []
    if "input" in kinds:
        entries.append(swatch(t.data, t.source, "input"))
    if "parameter" in kinds or scene.attentions:
        entries.append(swatch(t.parameter, t.line, "parameter"))
    if "op" in kinds:
        entries.append(swatch(t.op, t.line, "operation"))
    if scene.boxes:
        entries.append(swatch(t.depth[1], t.line, "module"))
    entries.append(swatch(t.output, t.result, "output"))
    lanes = [lane for a in scene.attentions for lane in a.lanes]
    if any(lane.weights for lane in lanes):
        entries.append(ramp([viridis(k / 7) for k in range(8)], WEIGHTS))
    if any(not all(map(all, lane.visible)) for lane in lanes):
        entries.append(swatch(t.masked, t.masked, "masked"))
    if any(not map_is_finite(lane) for lane in lanes):
        entries.append(swatch(t.alarm, t.alarm, "not finite"))
    batches = sorted({(a.item, a.items) for a in scene.attentions if a.items > 1})
    entries += [words(f"maps: item {i} of {n}; numbers: mean of {n}") for i, n in batches]
    pooled = {a.pooled for a in scene.attentions if a.pooled > 1}
    if pooled:
        entries.append(words(f"a cell is the mean of {max(pooled)}×{max(pooled)} weights"))
    if lanes and picture.direction != "backward":
        entries.append(words("width of an arrow into Σ: norm of the head's share"))
    if any(data.vertices[v].unseen for v in scene.singles.values()):
        entries.append(words("≈ 0: softmax does not see it" if picture.narrow else f"≈ {UNSEEN}"))
    if picture.direction != "forward":
        entries += [words(says) for says in _flows(drawing)]
        if scale.largest:
            span = f"arrow back: ‖∇‖, {number(scale.largest * 1e-6)} to {number(scale.largest)}"
            entries.append(ramp([flow_colour(t, k / 7) for k in range(8)], span))
    widths = [sum(w for _, w in lanes.columns()) for lanes in drawing.lanes.values()]
    wide = picture.room[0] * 0.93 - 24 if picture.room and (picture.rows or picture.narrow) else 0
    room = max(300, *widths, wide)
    rows: list[list[_Entry]] = [[]]
    for entry in entries:
        if rows[-1] and sum(e.width for e in rows[-1]) + entry.width > room:
            rows.append([])
        rows[-1].append(entry)
    # a short row would be stretched to the width of the others: the last cell takes that
    longest = max([above, *(sum(e.width for e in row) for row in rows)])
    return [
        '<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>'
        f'{"".join(e.cells for e in row)}<TD WIDTH="{round(longest - sum(e.width for e in row))}">'
        "</TD></TR></TABLE>"
        for row in rows
    ]


def _flows(drawing: Drawing) -> list[str]:
    """What has to be said of gradients that are not there, or not sound."""
    if not drawing.data.steps:
        return ["dotted: gradient not computed"]
    found = sorted({trouble(norm) for norm in drawing.flows} - {""})
    missing = None in drawing.flows
    return [f"dashed: {', '.join(found)}"] * bool(found) + ["dotted: none flows"] * missing
