"""Arrays in a few numbers, whatever they hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data import Summary


def norm(array: Any) -> float:
    """Root of the sum of squares, in float64: a large float32 does not overflow."""
    numbers = np.asarray(array, np.float64).reshape(-1)
    with np.errstate(all="ignore"):  # nan and infinity are answers here
        return float(np.sqrt(np.dot(numbers, numbers)))


def summary(array: np.ndarray) -> Summary:
    """An array in a few numbers, over its finite elements."""
    numbers = np.asarray(array, np.float64).reshape(-1)
    finite = numbers[np.isfinite(numbers)]
    nans, infinities = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    if finite.size == 0:
        return Summary(None, None, None, None, None, nans, infinities)
    return Summary(
        float(finite.mean()),
        float(finite.std()),
        float(finite.min()),
        float(finite.max()),
        float(np.sqrt(np.vdot(finite, finite))),
        nans,
        infinities,
    )
