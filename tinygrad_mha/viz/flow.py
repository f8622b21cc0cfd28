"""How a gradient is drawn: by its norm, with what is wrong with it said in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .data import Summary, Trace
from .text import number
from .theme import Theme, flow_colour

#: A norm below is called vanishing, one above exploding.
VANISHING, EXPLODING = 1e-7, 1e4

#: Why a gradient can be zero by nature (``Vertex.unseen``): what is found of it is rounding.
UNSEEN = "0 but for rounding: it raises all scores of a query alike, and softmax does not see that"

#: Orders of magnitude below the largest that are told apart by colour.
_ORDERS = 6


def trouble(norm: float | None) -> str:
    """What is wrong with a gradient of this norm; empty where nothing is, or none was computed."""
    if norm is None:
        return ""
    if math.isnan(norm):
        return "NaN"
    if math.isinf(norm):
        return "∞"
    return "vanishing" if norm < VANISHING else "exploding" if norm > EXPLODING else ""


def together(norms: Iterable[float | None]) -> float | None:
    """Norm of several gradients side by side; None: none of them was computed."""
    computed = [norm for norm in norms if norm is not None]
    return math.hypot(*computed) if computed else None


def norm_of(summary: Summary | None) -> float | None:
    """Norm of all elements: not a number, or infinite, where one of them is."""
    if summary is None:
        return None
    if summary.nans or summary.infinities:
        return math.nan if summary.nans else math.inf
    return summary.norm or 0.0


def words(norm: float | None, unseen: bool = False) -> str:
    """A norm for a box: three digits, with what is wrong; a dash where it was not computed."""
    wrong = trouble(norm)
    if unseen and wrong not in ("NaN", "∞"):
        return "≈ 0"
    if wrong in ("NaN", "∞"):
        return wrong
    return f"{number(norm)} {wrong}".rstrip()


class Scale:
    """Colours and widths of the gradients of one trace."""

    def __init__(self, data: Trace, theme: Theme) -> None:
        finite = [e.gradient for e in data.edges if e.gradient and math.isfinite(e.gradient)]
        self.largest = max(finite, default=0.0)
        self.theme = theme

    def share(self, norm: float) -> float:
        """From 0 to 1, by the logarithm."""
        if not (norm > 0 and self.largest > 0):
            return 0.0
        return min(1.0, max(0.0, 1 + math.log10(norm / self.largest) / _ORDERS))

    def style(self, norm: float | None, unseen: bool = False) -> dict[str, str]:
        """Attributes of an arrow along which a gradient flows."""
        quiet = {"color": self.theme.line, "style": "dotted", "penwidth": "0.8"}
        if norm is None:
            return quiet
        if words(norm, unseen) == "≈ 0":
            return {**quiet, "xlabel": " ≈ 0 "}
        if trouble(norm):
            wide = "2.2" if trouble(norm) != "vanishing" else "1.0"
            return {
                "color": self.theme.alarm, "style": "dashed", "penwidth": wide,
                "fontcolor": self.theme.alarm, "xlabel": f" {words(norm)} ",
            }  # fmt: skip
        share = self.share(norm)
        return {
            "color": flow_colour(self.theme, share), "penwidth": f"{0.7 + 1.6 * share:.2f}",
        }  # fmt: skip
