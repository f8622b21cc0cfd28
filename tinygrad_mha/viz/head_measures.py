"""What a head's weights say about it, in five numbers; and maps too large to show, made smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

#: In the order of the fields of a Lane.
NAMES = ("entropy", "peak", "to_self", "to_previous", "to_first")


def measures(weights: np.ndarray) -> dict[str, float]:
    """Measure one head; see :class:`~tinygrad_mha.viz.data.Lane` for what the numbers mean.

    Parameters
    ----------
    weights : ndarray
        ``(N, L, S)``.

    Returns
    -------
    dict of str to float
        Means over batch items and queries.

    Examples
    --------
    >>> import numpy as np
    >>> measures(np.full((1, 4, 4), 0.25))["entropy"]
    2.0
    """
    weights = weights.astype(np.float64)
    diagonal = np.arange(min(weights.shape[-2:]))
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(-1)
    previous = weights[:, diagonal[1:], diagonal[:-1]]
    found = (
        entropy.mean(),
        weights.max(-1).mean(),
        weights[:, diagonal, diagonal].mean(),
        previous.mean() if previous.size else 0.0,
        weights[:, :, 0].mean(),
    )
    return dict(zip(NAMES, map(float, found), strict=True))


def pool(numbers: Any, size: int) -> np.ndarray:
    """Average a map ``(L, S)`` over squares of `size`, smaller ones at the edges."""
    array = np.asarray(numbers, np.float64)
    if size == 1:
        return array
    rows, columns = np.arange(0, array.shape[0], size), np.arange(0, array.shape[1], size)
    sums = np.add.reduceat(np.add.reduceat(array, rows, 0), columns, 1)
    high = np.diff(np.append(rows, array.shape[0]))
    wide = np.diff(np.append(columns, array.shape[1]))
    return np.asarray(sums / (high[:, None] * wide[None, :]))


def labels(tokens: list[str], count: int, size: int) -> list[str]:
    """Labels of `count` positions, or of groups of `size` of them."""
    every = tokens if len(tokens) == count else [str(i) for i in range(count)]
    return every if size == 1 else [f"{every[i]}…" for i in range(0, count, size)]
