"""Arrays in a few numbers, whatever they hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .data import Summary


def norm(array: Any) -> float:
    """Root of the sum of squares, in float64: a large float32 does not overflow."""
    numbers = np.asarray(array, np.float64).reshape(-1)
    with np.errstate(all="ignore"):  # nan and infinity are answers here
        return math.sqrt(np.dot(numbers, numbers))


def summary(array: np.ndarray) -> Summary:
    """An array in a few numbers, over its finite elements."""
    numbers = np.asarray(array, np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        squares = float(np.dot(numbers, numbers))
    if numbers.size and math.isfinite(squares):  # then every element is, and none is looked at
        return _of_finite(numbers, squares, 0, 0)
    finite = numbers[np.isfinite(numbers)]
    nans, infinities = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    if finite.size == 0:
        return Summary(None, None, None, None, None, nans, infinities)
    return _of_finite(finite, float(np.dot(finite, finite)), nans, infinities)


def _of_finite(numbers: np.ndarray, squares: float, nans: int, infinities: int) -> Summary:
    mean = float(np.add.reduce(numbers)) / numbers.size
    apart = numbers - mean
    return Summary(
        mean,
        math.sqrt(float(np.dot(apart, apart)) / numbers.size),
        float(np.minimum.reduce(numbers)),
        float(np.maximum.reduce(numbers)),
        math.sqrt(squares),
        nans,
        infinities,
    )
