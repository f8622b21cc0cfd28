"""Masks, all of one polarity: True = may attend."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor


def causal(length: int, keys: int | None = None, offset: int = 0) -> Tensor:
    """Query i may attend to keys 0 … i + offset.

    Parameters
    ----------
    length : int
        Number of queries, L.
    keys : int, optional
        Number of keys, S; by default L.
    offset : int, default 0
        How many keys come before the first query's own: S − L aligns the last query
        with the last key, as decoding with a cache needs it.

    Returns
    -------
    Tensor
        Boolean ``(L, S)``.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.causal(2, 3, offset=1)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    return Tensor(np.tri(length, length if keys is None else keys, offset, dtype=bool))


def padding(lengths: Any, keys: int) -> Tensor:
    """Only the first `lengths` keys may be attended to.

    Parameters
    ----------
    lengths : array_like of int
        ``(N,)``, one per batch item; or ``(N, L)``, one per query.
    keys : int
        Number of keys, S.

    Returns
    -------
    Tensor
        Boolean ``(N, 1, S)`` or ``(N, L, S)``.

    Raises
    ------
    ValueError
        `lengths` has another number of axes, or a length is not within 0 … S.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.padding([1, 3], 3)
    tensor([[[ True, False, False]],
    <BLANKLINE>
            [[ True,  True,  True]]])
    """
    counts = np.asarray(lengths)
    if counts.ndim not in (1, 2):
        raise ValueError(f"padding: lengths has shape {counts.shape}, expected (N,) or (N, L)")
    if counts.size and not 0 <= counts.min() <= counts.max() <= keys:
        raise ValueError(f"padding: lengths must be from 0 to keys={keys}, got {counts.tolist()}")
    if counts.ndim == 1:
        counts = counts[:, None]
    return Tensor(np.arange(keys) < counts[..., None])


def from_ignored(mask: Any) -> Tensor:
    """Convert a mask of the other polarity, True = ignore, as torch's module takes it.

    Parameters
    ----------
    mask : Tensor or array_like of bool
        True where attention is forbidden. A key padding mask ``(N, S)`` becomes ``(N, 1, S)``
        when told so with ``[:, None]``.

    Returns
    -------
    Tensor
        Boolean, of the same shape, True = may attend.

    Raises
    ------
    TypeError
        The mask is not boolean.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.from_ignored([False, True])
    tensor([ True, False])
    """
    values = np.asarray(mask)
    if values.dtype != np.bool_:
        raise TypeError(f"from_ignored: mask has dtype {values.dtype}, expected bool")
    return Tensor(~values)
