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

#: Letters are not shrunk below this share of their size in order to fit.
_LEAST_SCALE = 0.6


class Options(TypedDict, total=False):
    """The keyword arguments of every method that draws; see ``Graph.to_dot``."""

    heads: str
    theme: str
    direction: str
    depth: int | None
    module: str | None
    head: int | None
    size: str | tuple[float, float] | None


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
        takers = (*PICTURES, "html") if name == "theme" else PICTURES
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
    """

    heads: str = "lanes"
    theme: str = "light"
    direction: str = "forward"
    depth: int | None = None
    module: str | None = None
    head: int | None = None
    size: str | tuple[float, float] | None = None
    cells: bool = False
    note: str = ""

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
    def compact(self) -> bool:
        """Whether lanes have to be narrow."""
        return self.inches is not None and self.inches[0] < 5

    def most_lanes(self, heads: int, pitch: int, strip: int) -> int:
        """How many lanes can be read in the picture's width, and beside them a strip of the rest.

        `pitch` and `strip` are the widths of either in points.
        """
        room = MOST_LANES * pitch + strip
        if self.inches is not None:
            room = min(room, int(self.inches[0] * 72 / _LEAST_SCALE))
        if heads <= MOST_LANES and heads * pitch <= room:
            return heads
        return max(1, min(MOST_LANES, (room - strip) // pitch))

    def but(self, **changes: Any) -> Picture:
        """Return the same with something else."""
        return replace(self, **changes)
