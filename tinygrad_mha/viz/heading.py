"""What stands over a picture: what it is, whether the lanes are true, and what means what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cards import map_is_finite
from .data import Trace
from .flow import trouble
from .maps import WEIGHTS
from .scene import Scene
from .text import bytes_, label, number, seconds
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
    title = f'<FONT POINT-SIZE="18" COLOR="{t.ink}"><B>{label(data.title, 60)}</B></FONT>'
    rows = [title]
    if not picture.compact:
        rows.append(_faint(t.faint, ",&#160; ".join(facts), 11))
    if picture.note:
        rows.append(_faint(t.alarm, label(picture.note, 200), 10))
    rows += [_faint(t.faint if good else t.alarm, says, 10) for says, good in _proofs(data, scene)]
    rows += _legend(drawing)
    cells = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="3">{cells}</TABLE>>'


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
    """One entry of the legend: cells, and how many letters they take."""

    cells: str
    letters: int


def _legend(drawing: Drawing) -> list[str]:
    """Explain what occurs in this picture, and nothing else, in rows that are not too wide."""
    data, scene, picture, scale = drawing.data, drawing.scene, drawing.picture, drawing.scale
    t = picture.colours

    def words(says: str, cells: str = "") -> _Entry:
        text = _faint(t.faint, f"{says}&#160;&#160;", 9)
        return _Entry(f'{cells}<TD ALIGN="LEFT">{text}</TD>', len(says) + 6)

    def swatch(fill: str, outline: str, says: str) -> _Entry:
        return words(
            says,
            f'<TD BGCOLOR="{fill}" BORDER="1" COLOR="{outline}" WIDTH="14" HEIGHT="10" '
            'FIXEDSIZE="TRUE"></TD>',
        )

    def ramp(colours: list[str], says: str) -> _Entry:
        cells = "".join(
            f'<TD BGCOLOR="{c}" WIDTH="8" HEIGHT="10" FIXEDSIZE="TRUE"></TD>' for c in colours
        )
        return words(says, cells)

    kinds = {data.vertices[v].kind for v in scene.singles.values()}
    entries = []
    if "input" in kinds:
        entries.append(swatch(t.data, t.source, "input"))
    if "parameter" in kinds or scene.attentions:
        entries.append(swatch(t.parameter, t.line, "parameter"))
    if "op" in kinds:
        entries.append(swatch(t.op, t.line, "operation"))
    if scene.boxes:
        entries.append(swatch(t.depth[1], t.line, "module, folded"))
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
    if picture.direction != "forward":
        entries += [words(says) for says in _flows(drawing)]
        if scale.largest:
            span = f"arrow back: ‖∇‖, {number(scale.largest * 1e-6)} to {number(scale.largest)}"
            entries.append(ramp([flow_colour(t, k / 7) for k in range(8)], span))
    widths = [sum(w for _, w in lanes.columns()) for lanes in drawing.lanes.values()]
    room = int(max(300, *widths, 0) / 4.6)  # letters of that size
    rows, spare = [""], [room]
    for entry in entries:
        if entry.letters > spare[-1] and rows[-1]:
            rows.append("")
            spare.append(room)
        rows[-1] += entry.cells
        spare[-1] = max(0, spare[-1] - entry.letters)
    # a short row would be stretched to the width of the others: the last cell takes that
    filled = [
        f'{row}<TD WIDTH="{round(left * 4)}"></TD>' for row, left in zip(rows, spare, strict=True)
    ]
    return [
        f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0"><TR>{row}</TR></TABLE>'
        for row in filled
    ]


def _flows(drawing: Drawing) -> list[str]:
    """What has to be said of gradients that are not there, or not sound."""
    if not drawing.data.steps:
        return ["dotted: gradient not computed"]
    found = sorted({trouble(norm) for norm in drawing.flows} - {""})
    missing = None in drawing.flows
    return [f"dashed: {', '.join(found)}"] * bool(found) + ["dotted: none flows"] * missing
