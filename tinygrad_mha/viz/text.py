"""Names from outside, made fit to be shown: as text, whatever they hold."""

from __future__ import annotations

import html
import unicodedata

_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def visible(text: str, longest: int = 40) -> str:
    """Replace what cannot be seen, or would change how the rest is seen, by its code point."""
    kept = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(
        f"⟨{ord(c):x}⟩" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c
        for c in kept
    )


def label(text: str, longest: int = 40) -> str:
    """Make text fit for an HTML-like label."""
    return html.escape(visible(text, longest), quote=True)


def token(text: str) -> str:
    """Make a token fit for the edge of a map: short, and never empty."""
    return label("".join(_SHOWN.get(c, c) for c in text) or "∅", 8)


def number(value: float | None) -> str:
    """Three digits, or a dash for what was not computed."""
    return "–" if value is None else f"{value:.3g}"


def shape(sizes: tuple[int, ...]) -> str:
    """Write (2, 3) as 2×3."""
    return "×".join(map(str, sizes)) if sizes else "scalar"
