"""A picture for a size: the fullest one whose letters can be read there.

What is drawn is laid out in one form after the other, each lower, narrower or more folded than
the one before, until it is legible; and what has been folded is said in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from .data import Trace
from .picture import LETTERS, MOST_LANES, Picture

#: How wide a lane is at the least, about, and a picture in which boxes stand in a row, in points.
_LANE, _ROW = 115, 600


class SlowLayoutError(RuntimeError):
    """The layout took too long."""


def fit(
    data: Trace, picture: Picture, measure: Callable[[Picture], tuple[float, float]]
) -> Picture:
    """Find the fullest form of a picture that can be read in its size.

    Parameters
    ----------
    data : Trace
        What is drawn.
    picture : Picture
        With a size.
    measure : callable
        Lays a picture out; returns its width and height in points.

    Returns
    -------
    Picture
        The same with its form decided.

    Raises
    ------
    ValueError
        Nothing that may be drawn is legible in it; the message says what size is needed.
    SlowLayoutError
        Every form of it takes too long to lay out.
    """
    room = picture.room
    if room is None:
        return picture
    need: tuple[float, float] | None = None
    for form in _forms(data, picture):
        attempt, before = form, math.inf
        while True:
            try:
                size = measure(attempt)
            except SlowLayoutError:
                break
            wide, high = (of / there for of, there in zip(size, room, strict=True))
            if max(wide, high) <= 1.0:
                return attempt
            if need is None or max(wide, high) < max(need[0] / room[0], need[1] / room[1]):
                need = size
            if high > 1.0 or not form.narrow or attempt.lanes == 1 or wide >= before:
                break  # fewer lanes would not help
            before = wide
            attempt = attempt.but(lanes=attempt.lanes - 1)
    if need is None:
        raise SlowLayoutError("every form of this picture takes too long to lay out; draw a part")
    less = "module= draws less" if picture.depth == 0 else "depth=0 or module= draws less"
    raise too_small(picture, need, less)


def too_small(picture: Picture, need: tuple[float, float], instead: str) -> ValueError:
    """Say that nothing is legible in a size, and which would be enough.

    Parameters
    ----------
    picture : Picture
        With the size that was asked for.
    need : (float, float)
        Points of the smallest form of it.
    instead : str
        What draws less.
    """
    least = picture.least_scale * LETTERS
    enough = picture.but(size=_inches(need, picture.least_scale))
    if enough.least_scale > picture.least_scale:  # so large that it is a slide
        enough = picture.but(size=_inches(need, enough.least_scale))
    return ValueError(
        f"size is {picture.size!r}: letters would be smaller than {least:.3g} points, and nobody "
        f"could read them; {instead}, and size={enough.size} would be enough"
    )


def _inches(points: tuple[float, float], scale: float) -> tuple[float, float]:
    wide, high = (round(length * scale / 72 + 0.1, 1) for length in points)
    return wide, high


def _forms(data: Trace, picture: Picture) -> Iterator[Picture]:
    """Forms of a picture, the fullest first."""
    assert picture.room is not None
    lanes = picture.heads == "lanes" and bool(data.attentions)
    heads = max((len(a.lanes) for a in data.attentions), default=0)
    low, wide = [picture.but(flat=flat) for flat in (False, True)], picture.room[0]
    most = min(heads, MOST_LANES, max(1, int(wide / _LANE)))
    narrow = [form.but(narrow=True, lanes=most) for form in low if lanes]
    yield from [*low, *narrow]
    free = picture.depth is None and picture.head is None and lanes and bool(data.modules)
    row = wide > _ROW
    kinds = _kinds(data) if free else ()
    for depth in (1, 0) * free:
        # boxes in rows over the lanes, or in a column where there is no room for a row
        for opened in (kinds, kinds[:1])[len(kinds) == 1 or not row :]:
            for form in (low[1], narrow[1]):
                yield form.but(opened=opened, depth=depth, rows=int(row))
    for depth in (1, 0) if picture.depth is None else (picture.depth,):
        form = picture.but(depth=depth, folded=picture.depth is None)
        yield from [form, form.but(flat=True), form.but(flat=True, narrow=True)]
        yield from (form.but(rows=rows) for rows in (1, 2, 3, 4, 6, 8) * row)


def _kinds(data: Trace) -> tuple[int, ...]:
    """The first attention of each kind, self or cross, which stands for those that are like it."""
    first: dict[tuple[str, ...], int] = {}
    for i in sorted(range(len(data.attentions)), key=lambda i: data.attentions[i].vertices):
        module = data.attentions[i].module
        path = "" if module is None else data.modules[module].path
        first.setdefault(tuple(part for part in path.split(".") if not part.isdigit()), i)
    return tuple(first.values())
