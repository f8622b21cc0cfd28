"""What a picture is asked to show."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from .theme import THEMES, Theme

#: Widths and heights in inches that a picture is fitted into.
SIZES = {"slide": (13.33, 7.5), "page": (6.7, 9.0), "column": (3.35, 9.0)}

#: Dots per inch of a PNG at a size that was asked for.
PRINT = 300

#: Lanes drawn side by side; of more heads those that contribute most are drawn.
MOST_LANES = 8

#: Size of the smallest letters of a drawing, in points.
LETTERS = 9

#: Points that they have at the least when the drawing has been fitted into a size: on paper, and
#: on a slide, which is looked at from further away (9.6 of 1280 pixels).
_ON_PAPER, _ON_SLIDE = 6.0, 7.2

#: Inches from which on a picture is a slide.
_SLIDE = 10


#: What can be asked for as a size.
Size = str | tuple[float, float] | None


class Options(TypedDict, total=False):
    """The keyword arguments of every method that draws; see ``Graph.to_dot``."""

    heads: str
    theme: str
    direction: str
    depth: int | None
    module: str | None
    head: int | None
    size: Size


#: Kinds of files that are pictures, and take all options; a page takes a theme.
PICTURES = ("svg", "png", "pdf", "dot")


def check_options(caller: str, options: Mapping[str, Any], kind: str = "svg") -> None:
    """Refuse options that there are not, or that mean nothing for a kind of file.

    Raises
    ------
    TypeError
        There is no such option; the message names `caller`, and the nearest there is.
    ValueError
        It is an option of other kinds of files.
    """
    known = list(Options.__annotations__)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{caller}: there is no option {name!r}; {hint}")
        takers = (*PICTURES, "html") if name in ("theme", "heads") else PICTURES
        if kind not in takers:
            raise ValueError(
                f"{caller}: {name} means nothing for .{kind}; it is for "
                + ", ".join("." + taker for taker in takers)
            )


@dataclass(frozen=True)
class Picture:
    """Checked options.

    Attributes
    ----------
    heads, theme, direction, depth, module, head, size
        See ``Graph.to_dot``.
    cells : bool
        Draw every map as a table of cells: for a reader that gets no finishing.
    note : str
        What the heading adds.
    narrow, flat : bool
        Lanes as narrow, boxes as low as can be read.
    lanes : int
        Lanes side by side at the most; of more heads those that contribute most are drawn.
    rows : int
        Rows in which boxes stand, in the order in which they run; 0: wherever arrows lead.
    folded : bool
        Modules are boxes for want of room, which the heading says.
    opened : tuple of int
        Numbers of the attentions that are drawn as lanes under boxes that stand for all of it.
    """

    heads: str = "lanes"
    theme: str = "light"
    direction: str = "forward"
    depth: int | None = None
    module: str | None = None
    head: int | None = None
    size: Size = None
    cells: bool = False
    note: str = ""
    narrow: bool = False
    flat: bool = False
    lanes: int = MOST_LANES
    rows: int = 0
    folded: bool = False
    opened: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known = {
            "heads": ("lanes", "fused"),
            "theme": tuple(THEMES),
            "direction": ("forward", "backward", "both"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                listed = ", ".join(map(repr, values[:-1])) + f" or {values[-1]!r}"
                raise ValueError(f"{name} is {getattr(self, name)!r}; it can be {listed}")
        if self.depth is not None and self.depth < 0:
            raise ValueError(f"depth is {self.depth}; it counts open modules from 0")
        if self.head is not None and self.heads == "fused":
            raise ValueError("head picks a lane, and heads='fused' draws none")
        if isinstance(self.size, str) and self.size not in SIZES:
            raise ValueError(
                f"size is {self.size!r}; it can be one of {tuple(SIZES)}, or (width, height) in "
                "inches"
            )
        if self.inches is not None and not (len(self.inches) == 2 and min(self.inches) > 0):
            raise ValueError(f"size is {self.size!r}, expected (width, height) in inches")

    @property
    def colours(self) -> Theme:
        """The theme itself."""
        return THEMES[self.theme]

    @property
    def inches(self) -> tuple[float, float] | None:
        """Width and height to fit into."""
        return SIZES[self.size] if isinstance(self.size, str) else self.size

    @property
    def least_scale(self) -> float:
        """How far the drawing may be shrunk, with its letters still legible."""
        wide = 0.0 if self.inches is None else self.inches[0]
        return (_ON_SLIDE if wide >= _SLIDE else _ON_PAPER) / LETTERS

    @property
    def between(self) -> float:
        """Inches between what stands side by side; in a row arrows need some."""
        return 0.2 if self.rows else 0.11 if self.narrow else 0.16

    @property
    def room(self) -> tuple[float, float] | None:
        """Points that a drawing may be wide and high for its letters to be legible."""
        if self.inches is None:
            return None
        wide, high = self.inches
        return wide * 72 / self.least_scale, high * 72 / self.least_scale

    def but(self, **changes: Any) -> Picture:
        """Return the same with something else."""
        return replace(self, **changes)
