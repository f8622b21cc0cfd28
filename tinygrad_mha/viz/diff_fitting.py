"""A diff for a size: as many cards and heads as can be read there, those that changed most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .diff_cards import ACROSS, MOST_HEADS
from .diff_picture import Form, draw
from .fitting import SlowLayoutError, too_small
from .maps import Stencils
from .render import can_lay_out, measured

if TYPE_CHECKING:
    from .diff import Diff
    from .picture import Picture


def fitted(diff: Diff, picture: Picture) -> Form:
    """Decide on the form of a diff's picture; the whole, where it has no size.

    Raises
    ------
    ValueError
        Not one head, or not one card, could be read in the size.
    SlowLayoutError
        Every form of it takes too long to lay out.
    """
    room = picture.room
    if room is None or not can_lay_out():
        return Form()
    need: tuple[float, float] | None = None
    for form in _forms(diff, room):
        try:
            drawn = draw(diff, picture.but(cells=False), form, Stencils(picture.colours))
            size = measured(drawn)
        except SlowLayoutError:
            continue
        over = max(of / there for of, there in zip(size, room, strict=True))
        if over <= 1.0:
            return form
        if need is None or over < max(need[0] / room[0], need[1] / room[1]):
            need = size
    if need is None:
        raise SlowLayoutError("every form of this picture takes too long to lay out")
    raise too_small(picture, need, "the page and the table have all of it")


def _forms(diff: Diff, room: tuple[float, float]) -> Iterator[Form]:
    """Forms of the picture, the fullest first: all heads of few layers before few of all."""
    layers = [sum(h.layer == layer for h in diff.heads) for layer in {h.layer for h in diff.heads}]
    most = min(max(layers, default=0), MOST_HEADS)
    ways = [Form(wide=room[0])]
    if room[0] > room[1]:
        ways.append(Form(wide=room[0], beside=True))
    yield from ways
    if most > ACROSS:
        yield from (form.but(across=most) for form in ways)
    for heads in sorted({most, *(n for n in (6, 4, 3, 2, 1) if n < most)}, reverse=True):
        for cards in (8, 6, 5, 4, 3, 2, 1):
            for rows in range(1, heads + 1) if heads else (1,):
                across = max(1, math.ceil(heads / rows))
                if rows > 1 and across == math.ceil(heads / (rows - 1)):
                    continue  # no other than before
                yield from (form.but(cards=cards, heads=heads, across=across) for form in ways)
