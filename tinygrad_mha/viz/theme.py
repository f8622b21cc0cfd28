"""Colours. Heads have the Okabe-Ito palette, which the colour-blind can tell apart, and numbers."""

from __future__ import annotations

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


_HEADS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8a5cb8", "#666666")

THEMES = {
    "light": Theme(
        "#ffffff", "#1b2733", "#65717e", "#8a96a3",
        ("#f6f8fb", "#edf2f7", "#e3ebf3", "#d9e3ee"),
        "#ffffff", "#d9f2e8", "#eef1f5", "#fbe4d5", "#009e73", "#d55e00", "#e9ecef", _HEADS,
        "#b00020",
    ),
    "dark": Theme(
        "#12181f", "#e6edf3", "#9aa7b4", "#5d6b79",
        ("#182029", "#1e2833", "#25313e", "#2c3a49"),
        "#1b242e", "#12382d", "#2a3440", "#45291a", "#2fc79b", "#ff8c42", "#242d37",
        ("#4ba3e3", "#ff8c42", "#2fc79b", "#e59ac5", "#e0b13c", "#8fd0ff", "#b794e0", "#a0a8b0"),
        "#ff6b6b",
    ),
    "print": Theme(
        "#ffffff", "#000000", "#444444", "#555555",
        ("#ffffff", "#ffffff", "#ffffff", "#ffffff"),
        "#ffffff", "#ffffff", "#ffffff", "#ffffff", "#000000", "#000000", "#eeeeee", _HEADS,
        "#000000",
    ),
}  # fmt: skip

# Viridis, at eleven points; between them colours are mixed
_VIRIDIS = (
    (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140),
    (34, 168, 132), (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37),
)  # fmt: skip


def viridis(share: float) -> str:
    """Colour of a number from 0 to 1."""
    if not 0.0 <= share <= 1.0:
        share = 0.0 if not share > 1.0 else 1.0
    at = share * (len(_VIRIDIS) - 1)
    low = min(int(at), len(_VIRIDIS) - 2)
    mixed = (
        round(a + (b - a) * (at - low))
        for a, b in zip(_VIRIDIS[low], _VIRIDIS[low + 1], strict=True)
    )
    return "#" + "".join(f"{c:02x}" for c in mixed)
