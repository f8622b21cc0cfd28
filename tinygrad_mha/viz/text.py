"""Names from outside, made fit to be shown: as text, whatever they hold."""

from __future__ import annotations

import html
import unicodedata

_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def visible(text: str, longest: int = 40) -> str:
    """Replace what cannot be seen, or would change how the rest is seen, by its code point."""
    return _seen(text if len(text) <= longest else text[: longest - 1] + "…")


def _seen(text: str) -> str:
    return "".join(
        f"⟨{ord(c):x}⟩" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c
        for c in text
    )


def label(text: str, longest: int = 40) -> str:
    """Make text fit for an HTML-like label."""
    return html.escape(visible(text, longest), quote=True)


def token(text: str, longest: int = 8) -> str:
    """Make a token fit for the edge of a map: short, and never empty.

    It is cut in its middle: tokens that begin alike, or end alike, stay apart.
    """
    shown = "".join(_SHOWN.get(c, c) for c in text) or "∅"
    if len(shown) > longest:
        end = (longest - 1) // 2
        shown = f"{shown[: longest - 1 - end]}…{shown[len(shown) - end :]}"
    return html.escape(_seen(shown), quote=True)


def breadth(text: str, size: float) -> float:
    """About how wide text is in letters of a size: no narrower than it is drawn."""
    plain = html.unescape(text)
    wide = sum(unicodedata.east_asian_width(c) in "FW" or c in "⏎⇥␣…mwMW" for c in plain)
    return size * (0.58 * (len(plain) - wide) + 0.95 * wide)


def number(value: float | None) -> str:
    """Three digits, or a dash for what was not computed."""
    return "–" if value is None else f"{value:.3g}"


def fixed(value: float | None, places: int = 2) -> str:
    """So many digits behind the point, or a dash for what is not known."""
    return "–" if value is None else f"{value:.{places}f}"


def shape(sizes: tuple[int, ...]) -> str:
    """Write (2, 3) as 2×3."""
    return "×".join(map(str, sizes)) if sizes else "scalar"


def bytes_(count: int) -> str:
    """Write 12,582,912 as 12.6 MB."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"


def seconds(time: float) -> str:
    """Write 0.00012 as 120 µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if time >= size:
            return f"{time / size:.3g} {unit}"
    return f"{time / 1e-9:.0f} ns"
