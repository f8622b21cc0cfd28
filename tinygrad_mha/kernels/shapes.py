"""What the shapes of arguments must be, said to the user where they are not."""

from __future__ import annotations

import numpy as np


def check_product(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Raise where matrices, or stacks of them, of these shapes cannot be multiplied."""
    if a[-1] != b[-2]:
        raise ValueError(
            f"shapes {a} and {b} do not fit: the last axis of a, {a[-1]}, must equal the second to "
            f"last of b, {b[-2]}"
        )
    try:
        np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ValueError(
            f"shapes {a} and {b} do not fit: their axes before the last two, {a[:-2]} and "
            f"{b[:-2]}, do not broadcast"
        ) from None
