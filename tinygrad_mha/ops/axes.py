"""What an operation does to one axis, so that the head axis can be followed.

Each function has the form of :data:`tinygrad_mha.engine.op.AxisRule`.
"""

from __future__ import annotations

from typing import Any

Shape = tuple[int, ...]


def broadcast_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Broadcasting aligns shapes at the right; a stretched axis is no longer the same one."""
    there = axis - len(shapes[which]) + len(out)
    return there if there >= 0 and out[there] == shapes[which][axis] else None


def matmul_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Batch axes broadcast; rows of A and columns of B stay; the contracted axis ends."""
    from_right = axis - len(shapes[which])
    contracted = -1 if which == 0 or len(shapes[which]) == 1 else -2
    if from_right == contracted:
        return None
    # beside a vector the output has one axis less, and all but the last column move up
    shorter = len(shapes[1 - which]) == 1 and from_right != -1
    there = len(out) + from_right + shorter
    return there if out[there] == shapes[which][axis] else None


def same_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Every axis stays where it is, but the one along which the operation works ends."""
    if which > 0:
        return None
    dim = params.get("dim", -1)
    return None if axis == dim % len(out) else axis


def batch_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """All axes but the last stay; the last is the operation's own."""
    return axis if which == 0 and axis < len(shapes[0]) - 1 else None


def masked_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Scores keep their axes and the mask broadcasts to them; the last is the operation's own."""
    there = broadcast_axis(axis, which, shapes, out, params)
    return None if there == len(out) - 1 else there
