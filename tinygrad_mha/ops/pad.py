"""Padding: more elements at the ends of axes, or fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Sample, op
from ..engine.op import Value
from .axes import Shape
from .index import index_select


@op(
    "y = x, with value around it",
    method=False,
    torch="ours:pad",
    samples=(
        Sample(((2, 3),), {"pad": (1, 2), "value": 0.5}),
        Sample(((2, 3, 2),), {"pad": (0, 1, -1, 1)}),
        Sample(((0, 2),), {"pad": (1, 0, 2, 0)}),
        Sample(((),), {"pad": ()}),
    ),
)
def constant_pad(x: Value, pad: Shape, value: float = 0.0) -> Value:
    """Put a value around `x`; see :func:`pad`."""
    pairs = _pairs(pad, x.ndim)
    y = np.full([n + sum(p) for n, p in zip(x.shape, pairs, strict=True)], value, x.dtype)
    inner = tuple(slice(max(a, 0), n - max(b, 0)) for n, (a, b) in zip(y.shape, pairs, strict=True))
    kept = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True)
    )
    y[inner] = x[kept]
    return y


@constant_pad.gradient("x", "dx = dy without what was put around")
def constant_pad_dx(dy: Value, pad: Shape) -> Value:
    return constant_pad(dy, tuple(-n for n in pad))


def _pairs(pad: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """What goes before and after each axis, the first axis first."""
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise ValueError(
            f"pad {tuple(pad)}: two numbers for each axis, from the last one on, at most {2 * ndim}"
        )
    given = list(zip(pad[::2], pad[1::2], strict=True))
    return [(0, 0)] * (ndim - len(given)) + given[::-1]


def _source(mode: str, n: int, before: int, after: int, dim: int) -> np.ndarray:
    """Where along an axis of size n each element of the padded axis comes from."""
    at = np.arange(-before, n + after)
    widest = max(before, after)
    if mode == "reflect":
        if widest >= n:
            raise ValueError(f"pad: reflect pads by less than the size, which is {n} at dim {dim}")
        return n - 1 - abs(n - 1 - abs(at))
    if mode == "replicate":
        if n == 0:
            raise ValueError(f"pad: there is nothing to replicate along dim {dim}")
        return np.clip(at, 0, n - 1)
    if widest > n:
        raise ValueError(f"pad: circular pads by at most the size, which is {n} at dim {dim}")
    return at % max(n, 1)


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Put elements before and after axes, or take them away.

    Parameters
    ----------
    x : Tensor
        Any shape.
    pad : sequence of int
        How many before and after the last axis, then before and after the one before it, …;
        negative numbers take away.
    mode : {"constant", "reflect", "replicate", "circular"}
        What is put there: one value; the elements mirrored at the border, without the border
        itself; the border; the elements of the other end.
    value : float, optional
        The value of mode ``"constant"``; 0 by default.

    Raises
    ------
    ValueError
        `pad` fits not the axes, or the mode has not as many elements to put there.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.pad(tm.tensor([1, 2, 3]), (1, 2))
    tensor([0, 1, 2, 3, 0, 0])
    >>> tm.pad(tm.tensor([1, 2, 3]), (2, 0), mode="reflect")
    tensor([3, 2, 1, 2, 3])
    """
    if mode == "constant":
        return constant_pad(x, tuple(pad), 0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(
            f"pad: mode is {mode!r}; it can be 'constant', 'reflect', 'replicate' or 'circular'"
        )
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value")
    if mode == "circular":  # what is taken away is gone before the rest goes round
        x, pad = constant_pad(x, tuple(min(n, 0) for n in pad)), tuple(max(n, 0) for n in pad)
    for dim, (before, after) in enumerate(_pairs(pad, x.ndim)):
        if before or after:
            x = index_select(x, dim, _source(mode, x.shape[dim], before, after, dim))
    return x
