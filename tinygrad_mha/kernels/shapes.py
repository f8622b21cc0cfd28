"""What the shapes of arguments must be, said to the user where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray


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


def check_fit(dtype: np.dtype[Any], shape: tuple[int, ...], **arrays: Array | None) -> None:
    """Raise where an array is not of this dtype and shape.

    Kernels take both on trust: they would read the bits of another dtype as numbers of theirs,
    and what lies behind a shorter array. Where a call would be felt, the caller compares first.
    """
    for name, x in arrays.items():
        if x is None:
            continue
        if x.dtype != dtype:
            raise TypeError(
                f"{name} is {x.dtype}, expected {dtype}; convert it, for example with "
                f".{'double' if dtype == np.float64 else 'float'}()"
            )
        if x.shape != shape:
            raise ValueError(f"{name} has shape {x.shape}, expected {shape}")


def fits(x: Array | None, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether :func:`check_fit` would say nothing, told in less time; False if in doubt."""
    return x is None or (x.dtype is dtype and x.shape == shape)
