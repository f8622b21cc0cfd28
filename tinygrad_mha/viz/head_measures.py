"""What a head's weights say about it, in five numbers; and maps too large to show, made smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

#: In the order of the fields of a Lane.
NAMES = ("entropy", "peak", "to_self", "to_previous", "to_first")


def measures(weights: np.ndarray, offset: int | None = 0) -> dict[str, float | None]:
    """Measure one head; see :class:`~tinygrad_mha.viz.data.Lane` for what the numbers mean.

    Parameters
    ----------
    weights : ndarray
        ``(N, L, S)``.
    offset : int or None, default 0
        Which key stands where the first query does: with a cache, the one after those it
        remembers. None: the keys are another sequence's, and no query has a place among them.

    Returns
    -------
    dict of str to float or None
        Means over batch items and queries; None where there is nothing to take one of.

    Examples
    --------
    >>> import numpy as np
    >>> measures(np.full((1, 4, 4), 0.25))["entropy"]
    2.0
    >>> print(measures(np.full((1, 4, 4), 0.25), None)["to_self"])
    None
    """
    weights = weights.astype(np.float64)
    queries = np.arange(weights.shape[-2])

    def apart(keys: np.ndarray) -> np.ndarray:
        there = (keys >= 0) & (keys < weights.shape[-1])
        return np.asarray(weights[:, queries[there], keys[there]])

    nothing = np.empty(0)
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(-1)
    found = (
        entropy,
        weights.max(-1, initial=0.0),
        nothing if offset is None else apart(queries + offset),
        nothing if offset is None else apart(queries + offset - 1),
        weights[:, :, :1],
    )
    return {
        name: float(numbers.mean()) if numbers.size else None
        for name, numbers in zip(NAMES, found, strict=True)
    }


def in_batch(item: int, items: int, who: str = "trace") -> None:
    """Raise where there is no such batch item."""
    if not 0 <= item < items:
        raise ValueError(f"{who}: batch is {item}; there are {items} items, counted from 0")


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


def labels(
    tokens: list[str], shape: tuple[int, int], offset: int | None, size: int, appended: int = 0
) -> tuple[list[str], list[str]]:
    """Labels of a map's queries and keys, or of groups of `size` of them.

    Parameters
    ----------
    tokens : list of str
        Of the whole sequence; or, with a cache, only of what is new.
    shape : (int, int)
        L and S.
    offset : int or None
        As for :func:`measures`.
    size : int
        How many positions share a label.
    appended : int, default 0
        How many of the keys are no token's, and stand behind all that are.

    Examples
    --------
    >>> labels(["a", "b", "c"], (1, 3), 2, 1)
    (['c'], ['a', 'b', 'c'])
    >>> labels(["a", "b", "c"], (2, 3), None, 1)
    (['0', '1'], ['a', 'b', 'c'])
    >>> labels(["a", "b"], (2, 4), 0, 1, appended=2)
    (['a', 'b'], ['a', 'b', '+1', '+2'])
    """
    length, keys = shape
    start = offset or 0
    queries = [str(start + i) for i in range(length)]
    of_tokens = keys - appended
    named = tokens if len(tokens) == of_tokens else [str(i) for i in range(of_tokens)]
    named = [*named, *(f"+{i}" for i in range(1, appended + 1))]
    if len(tokens) in (length, start + length):
        queries = tokens[-length:]
    return _grouped(queries, size), _grouped(named, size)


def _grouped(every: list[str], size: int) -> list[str]:
    return every if size == 1 else [f"{every[i]}…" for i in range(0, len(every), size)]
