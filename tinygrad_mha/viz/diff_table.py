"""A diff as text for the terminal, and as a page of its own with the picture in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from .data import Trace
from .html import THEMES
from .table import aligned
from .template import asset, fill
from .text import label, number, visible
from .text import shape as sizes

if TYPE_CHECKING:
    from .diff import Change, Diff, Difference
    from .diff_heads import HeadChange

Rows = list[tuple[str, ...]]

#: A state, as a sign and a word: never by colour alone.
SIGNS = {"same": "=", "changed": "~", "reshaped": "↔", "added": "+", "removed": "−"}


def text(diff: Diff) -> str:
    """Write what changed, a line each, and a table of the heads."""
    lines = facts(diff)
    for title, rows in sections(diff):
        lines += ["", visible(title, 60), *aligned(rows)]
    return "\n".join(lines)


def sections(diff: Diff) -> list[tuple[str, Rows]]:
    """Tables and their titles: of modules, of each layer's heads, of everything that changed."""
    found = [("What leaves each module", module_rows(diff))] if diff.modules else []
    for layer in dict.fromkeys(head.layer for head in diff.heads):
        of_layer = [head for head in diff.heads if head.layer == layer]
        found.append((f"Heads of {layer or 'the attention'}", head_rows(of_layer)))
    changes = change_rows(diff)
    return [*found, ("Operations and parameters that changed", changes)] if changes[1:] else found


def facts(diff: Diff) -> list[str]:
    """What is compared, and how much of it is the same."""
    kinds = ("same", "changed", "reshaped", "added", "removed")
    counted = [f"{diff.count(kind)} {kind}" for kind in kinds if diff.count(kind)]
    bounds = any(
        d is not None and not d.exact
        for change in diff.changes
        for d in (change.value, change.gradient)
    )
    found = [
        f"{_called(diff.names[0], diff.before)} → {_called(diff.names[1], diff.after)}",
        f"operations and leaves: {', '.join(counted)} (to a relative {diff.tolerance:g})",
    ]
    for name, data in zip(diff.names, (diff.before, diff.after), strict=True):
        if not data.steps:
            found.append(f"gradient of {visible(name)}: not computed")
    if bounds:
        found.append(
            "≥: at least so far apart, as the summaries say; trace(…, elements=10**7) for all of it"
        )
    return found


def _called(name: str, data: Trace) -> str:
    output = data.vertices[data.outputs[0]]
    single = output.value is not None and output.shape == ()
    result = f" = {number(output.value.mean)}" if output.value is not None and single else ""
    return f"{visible(name)} ({visible(data.title)}{result})"


def module_rows(diff: Diff) -> Rows:
    """Titles, and a row for every module call that both have."""
    rows: Rows = [("module", "‖output‖", "moved", "‖gradient‖", "∇ moved")]
    for change in diff.modules:
        cells = []
        for what in ("value", "gradient"):
            difference: Difference | None = getattr(change, what)
            if difference is None:
                cells += ["", ""]
            else:
                same = diff.is_same(difference, what)
                cells.append(f"{number(difference.before)} → {number(difference.after)}")
                cells.append("the same" if same else moved(difference))
        rows.append((visible(change.path, 60) or "(the model)", *cells))
    return rows


def change_rows(diff: Diff) -> Rows:
    """Titles, and a row for everything that is not the same."""
    rows: Rows = [
        ("", "state", "module", "operation", "shape", "‖value‖", "moved", "‖gradient‖", "∇ moved")
    ]
    for change in diff.changes:
        if change.state != "same":
            rows.append(
                (
                    SIGNS[change.state],
                    change.state,
                    visible(change.module, 60),
                    visible(change.name),
                    _shapes(change, diff),
                    *_before_after(change, diff, "value"),
                    *_before_after(change, diff, "gradient"),
                )
            )
    return rows


def _shapes(change: Change, diff: Diff) -> str:
    old = None if change.before is None else sizes(diff.before.vertices[change.before].shape)
    new = None if change.after is None else sizes(diff.after.vertices[change.after].shape)
    return f"{old} → {new}" if old and new and old != new else str(new or old)


def _before_after(change: Change, diff: Diff, what: str) -> tuple[str, str]:
    difference: Difference | None = getattr(change, what)
    if difference is not None:
        norms = f"{number(difference.before)} → {number(difference.after)}"
        return norms, moved(difference)
    sides = []
    for where, data in ((change.before, diff.before), (change.after, diff.after)):
        summary = None if where is None else getattr(data.vertices[where], what)
        sides.append(None if summary is None else summary.norm)
    if sides == [None, None]:
        return "", ""
    return f"{number(sides[0])} → {number(sides[1])}", ""


def moved(difference: Difference) -> str:
    """A relative distance in per cent, and whether it is only a bound."""
    share = difference.relative
    if math.isnan(share):
        return "NaN or ∞"
    sign = "" if difference.exact or share == 0 else "≥ "
    return f"{sign}{share:.2%}" if math.isfinite(share) else "from 0"


def head_rows(heads: list[HeadChange]) -> Rows:
    """Titles, and a row a head: how far its attention moved, and its measures before and after."""
    names = list(dict.fromkeys(name for head in heads for name, _, _ in head.measures()))
    rows: Rows = [("head", "", "attention moved", *names)]
    for head in heads:
        sign = "−" if head.after is None else "+" if head.before is None else ""
        measured = {name: f"{number(a)} → {number(b)}" for name, a, b in head.measures()}
        rows.append(
            (
                str(head.head + 1),
                sign,
                "–" if head.moved is None else f"{head.moved:.1%}",
                *(measured.get(name, "") for name in names),
            )
        )
    return rows


# -- the page ---------------------------------------------------------------------------------


def page(diff: Diff, theme: str = "system") -> str:
    """Build one file: the picture, light and dark, and the tables."""
    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}; of a page it can be 'system', 'light' or 'dark'")

    def picture(theme: str) -> str:
        svg = diff.to_svg(theme=theme)
        # two pictures in one page must not share their ids, and need no XML declaration
        return (
            svg[svg.index("<svg") :]
            .replace('id="', f'id="{theme}-')
            .replace("url(#", f"url(#{theme}-")
        )

    tables = [f"<h2>{label(title, 200)}</h2>{_table(rows)}" for title, rows in sections(diff)]
    return fill(
        asset("diff.html"),
        {
            "theme": "" if theme == "system" else f'data-around="{theme}"',
            "title": label(f"{diff.names[0]} → {diff.names[1]}", 200),
            "facts": "".join(f"<li>{escape(line)}</li>" for line in facts(diff)),
            "light": _attempted(lambda: picture("light")),
            "dark": _attempted(lambda: picture("dark")),
            "tables": "".join(tables),
            "around": asset("around.js"),
        },
    )


def _attempted(draw: Callable[[], str]) -> str:
    """A picture, or why there is none: the tables are worth having without it."""
    try:
        return draw()
    except RuntimeError as error:
        return f"<p>No picture: {escape(str(error))}</p>"


def _table(rows: Rows) -> str:
    head, *body = rows
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(lines)}</table></div>'
