"""Colours. Heads have the Okabe-Ito palette, which the colour-blind can tell apart, and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """What a picture is painted with.

    Attributes
    ----------
    paper, ink, faint, line : str
        Background, text, secondary text, arrows.
    depth : tuple of str
        Fills of nested modules, from the outside in.
    op, data, parameter, output : str
        Fills of operations, inputs, parameters and the output.
    source, result : str
        Outlines of inputs and of the output.
    masked : str
        Cells of a map where attention is forbidden.
    heads : tuple of str
        One colour for each head, again from the start after the last.
    alarm : str
        What went wrong.
    hatch : str
        Strokes over `masked`.
    flow : tuple of str
        Gradients, from the smallest to the largest.
    """

    paper: str
    ink: str
    faint: str
    line: str
    depth: tuple[str, ...]
    op: str
    data: str
    parameter: str
    output: str
    source: str
    result: str
    masked: str
    heads: tuple[str, ...]
    alarm: str
    hatch: str
    flow: tuple[str, ...]


_HEADS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8a5cb8", "#666666")

THEMES = {
    "light": Theme(
        "#ffffff", "#1b2733", "#65717e", "#8a96a3",
        ("#f6f8fb", "#edf2f7", "#e3ebf3", "#d9e3ee"),
        "#ffffff", "#d9f2e8", "#eef1f5", "#fbe4d5", "#009e73", "#d55e00", "#e9ecef", _HEADS,
        "#b00020", "#c3cad1", ("#c9d3de", "#f0b04a", "#d9480f", "#a3123a"),
    ),
    "dark": Theme(
        "#12181f", "#e6edf3", "#9aa7b4", "#5d6b79",
        ("#182029", "#1e2833", "#25313e", "#2c3a49"),
        "#1b242e", "#12382d", "#2a3440", "#45291a", "#2fc79b", "#ff8c42", "#242d37",
        ("#4ba3e3", "#ff8c42", "#2fc79b", "#e59ac5", "#e0b13c", "#8fd0ff", "#b794e0", "#a0a8b0"),
        "#ff6b6b", "#3a4754", ("#3d4a58", "#8a6420", "#f08c2e", "#ffd166"),
    ),
    "print": Theme(
        "#ffffff", "#000000", "#444444", "#555555",
        ("#ffffff", "#ffffff", "#ffffff", "#ffffff"),
        "#ffffff", "#ffffff", "#f0f0f0", "#dcdcdc", "#000000", "#000000", "#eeeeee", _HEADS,
        "#000000", "#bbbbbb", ("#c4c4c4", "#8c8c8c", "#4d4d4d", "#000000"),
    ),
}  # fmt: skip

#: Viridis, at eleven points; between them colours are mixed.
VIRIDIS = (
    (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140),
    (34, 168, 132), (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37),
)  # fmt: skip


def viridis(share: float) -> str:
    """Colour of a number from 0 to 1."""
    return _mixed(VIRIDIS, share)


def flow_colour(theme: Theme, share: float) -> str:
    """Colour of a gradient, from 0, the smallest that is told apart, to 1, the largest there is."""
    return _mixed([_rgb(colour) for colour in theme.flow], share)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _mixed(points: Sequence[tuple[int, ...]], share: float) -> str:
    """Colour at a share of the way along some; nan is the first."""
    share = min(1.0, share) if share > 0.0 else 0.0
    at = share * (len(points) - 1)
    low = min(int(at), len(points) - 2)
    mixed = (
        round(a + (b - a) * (at - low)) for a, b in zip(points[low], points[low + 1], strict=True)
    )
    return "#" + "".join(f"{c:02x}" for c in mixed)
