"""What stands in a picture: boxes, matrices, maps, as Graphviz's HTML-like labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .data import Attention, Lane
from .flow import words
from .head_measures import pool
from .maps import Map, Stencils, shrunk, table, weight_fills
from .picture import Picture
from .text import fixed, label, number
from .theme import Theme


def card(
    t: Theme,
    title: str,
    details: Sequence[str],
    fill: str,
    outline: str,
    beside: str = "",
    *,
    flat: bool = False,
) -> str:
    """A box of two lines, or one: what it is, and its numbers."""
    if flat:
        beside, details = "&#160;&#160;&#160;".join([beside] * bool(beside) + [*details]), []
    below = "&#160;&#160;&#160;".join(details)
    second = (
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{t.faint}">&#160;{below}&#160;</FONT></TD></TR>'
        if below
        else ""
    )
    kind = (
        f'<FONT POINT-SIZE="9" COLOR="{t.faint}">&#160;&#160;&#160; {beside}</FONT>'
        if beside
        else ""
    )
    return (
        f'<<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" STYLE="ROUNDED" '
        f'BGCOLOR="{fill}" COLOR="{outline}">'
        f"<TR><TD>&#160;<B>{title}</B>{kind}&#160;</TD></TR>{second}</TABLE>>"
    )


def chip(t: Theme, says: str) -> str:
    """A small box of one line, with two ports on its upper side."""
    ports = "".join(f'<TD PORT="{p}" HEIGHT="1" CELLPADDING="0"></TD>' for p in ("a", "b", "c"))
    return (
        f'<TABLE BORDER="1" CELLBORDER="0" STYLE="ROUNDED" CELLSPACING="0" CELLPADDING="3" '
        f'BGCOLOR="{t.op}" COLOR="{t.line}"><TR>{ports}</TR><TR><TD COLSPAN="3">{says}</TD></TR>'
        "</TABLE>"
    )


def plain_table(rows: str) -> str:
    """A table of which only its contents are seen."""
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{rows}</TABLE>'


def alone(inner: str) -> str:
    """A table as a whole label."""
    return f"<{inner}>"


def passed(inner: str, width: int, room: int, values: str, wide: float = 1) -> str:
    """A table in a field `width` points wide, with `room` on both sides.

    On the right a line of the colour `values`, as wide as `wide` says, leads the values past it,
    at the same place in every such label.
    """
    side = f'<TD WIDTH="{room}" HEIGHT="4" FIXEDSIZE="TRUE"></TD>'
    right = side
    if values:
        line = round(wide)
        right = (
            f'<TD WIDTH="{room - 8}" HEIGHT="4" FIXEDSIZE="TRUE"></TD>'
            f'<TD PORT="v" BGCOLOR="{values}" WIDTH="{line}" CELLPADDING="0"></TD>'
            f'<TD WIDTH="{8 - line}" HEIGHT="4" FIXEDSIZE="TRUE"></TD>'
        )
    row = f'<TR>{side}<TD PORT="m" WIDTH="{width}">{inner}</TD>{right}</TR>'
    return alone(plain_table(row))


def bar(
    t: Theme,
    cells: Sequence[tuple[str, str]],
    lanes: Sequence[tuple[str, int]],
    *,
    above: bool,
    fill: str = "",
    outline: str = "",
) -> str:
    """A wide, flat box from which arrows fan out to the lanes, or in which they meet.

    Parameters
    ----------
    t : Theme
        Colours.
    cells : sequence of (str, str)
        What it says, side by side: port and words.
    lanes : sequence of (str, int)
        Where the arrows to or from the lanes end: port and width.
    above : bool
        Whether it stands above the lanes.
    fill, outline : str
        Of the box.
    """
    each = sum(width for _, width in lanes) // len(cells)
    words = "".join(
        f'<TD PORT="{port}" WIDTH="{each}" CELLPADDING="2">{says}</TD>' for port, says in cells
    )
    ports = "".join(middle(port, width, 2) for port, width in lanes)
    rows = [
        f"<TR><TD>{plain_table(f'<TR>{row}</TR>')}</TD></TR>"
        for row in ((words, ports) if above else (ports, words))
    ]
    return (
        '<<TABLE BORDER="1" CELLBORDER="0" STYLE="ROUNDED" CELLSPACING="0" CELLPADDING="0" '
        f'BGCOLOR="{fill or t.op}" COLOR="{outline or t.line}">{"".join(rows)}</TABLE>>'
    )


def middle(port: str, width: int, height: int) -> str:
    """Cells of a row in whose middle a port is, and beside it those for two arrows."""
    side = f'<TD WIDTH="{(width - 18) // 2}" HEIGHT="{height}" FIXEDSIZE="TRUE"></TD>'
    ports = "".join(
        f'<TD PORT="{port}{which}" WIDTH="6" HEIGHT="{height}" FIXEDSIZE="TRUE"></TD>'
        for which in ("w", "", "e")
    )
    return f"{side}{ports}{side}"


def lane_head(
    t: Theme, lane: Lane, names: Sequence[str], colour: str, picture: Picture, width: int
) -> str:
    """A lane's title, its numbers, and head i's own matrices in a row, each with a port."""
    compact = picture.narrow
    stats = f"entropy {fixed(lane.entropy)}&#160;&#160; peak {fixed(lane.peak)}"
    shares = "&#160; ".join(
        f"{name} {fixed(value)}"
        for name, value in (
            ("self", lane.to_self),
            ("prev", lane.to_previous),
            ("first", lane.to_first),
        )
        if value is not None
    )
    faint = f'<FONT POINT-SIZE="9" COLOR="{t.faint}">'
    rows = [f'<FONT POINT-SIZE="13" COLOR="{colour}"><B>head {lane.head + 1}</B></FONT>']
    if lane.weights:
        rows.append(f"{faint}{stats}</FONT>")
        if not (compact or picture.flat):
            rows.append(f"{faint}{shares}</FONT>")
    cells = "".join(
        f'<TD PORT="p{k}" BORDER="1" STYLE="ROUNDED" BGCOLOR="{t.parameter}" COLOR="{t.line}" '
        f'CELLPADDING="{2 if compact else 4}">{matrix(name, lane.blocks[k])}</TD>'
        for k, name in enumerate(names)
    )
    rows.append(
        f'<TABLE BORDER="0" CELLSPACING="{3 if compact else 5}" CELLPADDING="0"><TR>{cells}</TR>'
        "</TABLE>"
    )
    below = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return (
        f'<<TABLE BORDER="0" CELLSPACING="{1 if compact else 2}" CELLPADDING="0">'
        '<TR><TD><TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
        f"{middle('t', width, 1)}</TR></TABLE></TD></TR>{below}</TABLE>>"
    )


def share(t: Theme, attention: Attention, lane: Lane, colour: str, compact: bool) -> str:
    """W_o's block for this head, and how much comes out of it."""
    name = attention.combined.rsplit(".", 1)[-1]
    if name == "weight":
        name = attention.combined.rsplit(".", 2)[-2]
    own = f"h{low(lane.head + 1)}"
    says = f"{_base(name)}[:, {lane.head + 1}] {own}" if attention.combined else own
    gap = "&#160;" if compact else "&#160;&#160;&#160;"
    rows = [f"‖·‖ {number(lane.contribution)}{gap}‖∇‖ {words(lane.gradient)}"]
    if lane.ablation is not None:
        change = f"{lane.ablation:+.3g}".replace("-", "−")
        rows.append(f"loss {change}" if compact else f"loss without it {change}")
    below = "".join(
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{t.faint}">{row}</FONT></TD></TR>' for row in rows
    )
    ports = (
        '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" '
        f'WIDTH="20" HEIGHT="1"><TR>{middle("l", 20, 1)}</TR></TABLE>'
    )
    return (
        f'<<TABLE BORDER="1" CELLBORDER="0" STYLE="ROUNDED" CELLSPACING="0" CELLPADDING="3" '
        f'BGCOLOR="{t.parameter}" COLOR="{colour}"><TR><TD>{says}</TD></TR>{below}'
        f'<TR><TD CELLPADDING="0">{ports}</TD></TR></TABLE>>'
    )


def map_of(lane: Lane, picture: Picture) -> Map:
    """A lane's weights as a map, queries down and keys across."""
    weights, visible = np.asarray(lane.weights), np.asarray(lane.visible, bool)
    rows, columns = lane.rows, lane.columns
    if picture.cells:
        weights, size = shrunk(lane.weights)
        visible = pool(lane.visible, size) > 0
        rows, columns = rows[::size], columns[::size]
    alone = picture.head is not None
    room = 300 if alone else 150
    if picture.narrow or picture.flat:
        room = 150 if alone else 64 if picture.narrow else 110
    side = min(26 if alone else 21, room / max(weights.shape))
    fills, longest = (
        weight_fills(weights, visible, picture.colours),
        5 if picture.narrow and not alone else 8,
    )
    return Map(fills, max(4.0, side) if picture.cells else side, rows, columns, longest=longest)


def map_width(attention: Attention, picture: Picture) -> int:
    """Width of a region's maps in points."""
    lane = next((lane for lane in attention.lanes if lane.weights), None)
    return 0 if lane is None else map_of(lane, picture).width + (12 if picture.cells else 8)


def heatmap(
    lane: Lane, colour: str, picture: Picture, beside: int, stencils: Stencils | None
) -> str:
    """The weights in a frame, with some points of nothing on both sides."""
    t = picture.colours
    drawn = map_of(lane, picture)
    inner = table(drawn, t.faint) if stencils is None else stencils.place(drawn)
    gap = f'<TD WIDTH="{beside}" HEIGHT="4" FIXEDSIZE="TRUE"></TD>' if beside > 0 else ""
    return plain_table(
        f'<TR>{gap}<TD><TABLE BORDER="1" COLOR="{colour}" CELLBORDER="0" CELLSPACING="3" '
        f'CELLPADDING="0" BGCOLOR="{t.paper}"><TR><TD>{inner}</TD></TR></TABLE></TD>{gap}</TR>'
    )


def map_is_finite(lane: Lane) -> bool:
    """Whether every weight that is seen is a finite number."""
    return all(
        math.isfinite(weight) or not seen
        for row, allowed in zip(lane.weights, lane.visible, strict=True)
        for weight, seen in zip(row, allowed, strict=True)
    )


_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def low(count: int) -> str:
    """Write a number as a subscript."""
    return str(count).translate(_LOW)


def _base(name: str) -> str:
    """W_o as W with a subscript."""
    base, _, below = name.partition("_")
    return f"{label(base)}{_small(label(below), 'SUB')}" if below else label(base)


def matrix(name: str, block: int) -> str:
    """W_q of head i as the formula has it, W with i below and (q) above."""
    base, _, above = name.partition("_")
    if base == "W" and above:
        return f"W{_small(block + 1, 'SUB')}{_small(f'({label(above)})', 'SUP')}"
    return f"{label(name, 14)}{_small(block + 1, 'SUB')}"


def _small(says: object, place: str) -> str:
    return f'<FONT POINT-SIZE="8"><{place}>{says}</{place}></FONT>'
