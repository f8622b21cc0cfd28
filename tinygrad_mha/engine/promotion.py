"""The dtype of a result, as PyTorch has it.

There are three kinds of numbers, bool below integer below floating, and three kinds of
operands: arrays with dimensions, 0-d arrays, Python's own numbers. The dtype comes from the
arrays with dimensions; a 0-d array, and after it a plain number, has a say only if it is of
a higher kind. So ``x * 2.5`` and ``x * tensor(2.5, dtype=float64)`` leave a float32 `x` what
it is, and an integer tensor beside a floating one does not widen it, as NumPy would.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .messages import not_a_tensor

DEFAULT = np.dtype(np.float32)
_KIND = {"b": 0, "u": 1, "i": 1, "f": 2}
_PLAIN = {bool: np.dtype(np.bool_), int: np.dtype(np.int64), float: DEFAULT}


def _joined(a: np.dtype[Any] | None, b: np.dtype[Any] | None) -> np.dtype[Any] | None:
    """Return the dtype that holds both; a floating one is not widened for an integer."""
    if a is None or b is None:
        return b if a is None else a
    rank_a, rank_b = _KIND[a.kind], _KIND[b.kind]
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    return np.promote_types(a, b)


@lru_cache(maxsize=4096)
def _result(operands: tuple[tuple[np.dtype[Any], int], ...]) -> np.dtype[Any]:
    groups: list[np.dtype[Any] | None] = [None, None, None]
    for own, group in operands:
        groups[group] = _joined(groups[group], own)
    found: np.dtype[Any] | None = None
    for dtype in groups:
        if dtype is not None and (found is None or _KIND[dtype.kind] > _KIND[found.kind]):
            found = dtype
    assert found is not None
    return found


def result_dtype(*values: Any) -> np.dtype[Any]:
    """Return the dtype in which an operation on these arrays, tensors or numbers computes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.engine.promotion import result_dtype
    >>> result_dtype(np.ones(2, np.float32), np.float64(3), 2.5)
    dtype('float32')
    >>> result_dtype(np.ones(2, np.int64), 2.5)
    dtype('float32')
    """
    operands = []
    for value in values:
        dtype = getattr(value, "dtype", None)
        if dtype is None:
            if type(value) not in _PLAIN:
                raise TypeError(not_a_tensor("an argument", value))
            operands.append((_PLAIN[type(value)], 2))
        else:
            operands.append((dtype, 0 if value.ndim else 1))
    return _result(tuple(operands))


def promote(arrays: list[Any], positions: tuple[int, ...], floating: bool) -> None:
    """Bring operands to one dtype, in the list itself.

    Parameters
    ----------
    arrays : list
        Arrays and plain numbers.
    positions : tuple of int
        Which of them take part.
    floating : bool
        Integers become floats first, as under a root or a logarithm.
    """
    taking = [arrays[i] for i in positions if i < len(arrays) and arrays[i] is not None]
    for value in taking:
        if isinstance(value, list | tuple):  # of which NumPy would make an array of its own dtype
            raise TypeError(not_a_tensor("an argument", value))
    if not taking or any(
        getattr(v, "dtype", None) is None and type(v) not in _PLAIN for v in taking
    ):
        return  # not numbers: the operation says what it thinks of them
    if not all(getattr(v, "dtype", DEFAULT).kind in _KIND for v in taking):
        return
    dtype = result_dtype(*taking)
    if floating and dtype.kind != "f":
        dtype = DEFAULT
    for i in positions:
        value = arrays[i] if i < len(arrays) else None
        if value is None:
            continue
        have = getattr(value, "dtype", None)
        if have is None:
            # NumPy lets a plain number follow the array's dtype, but only within its kind
            if floating or _KIND[_PLAIN[type(value)].kind] > _KIND[dtype.kind]:
                arrays[i] = dtype.type(value)
        elif have != dtype:
            arrays[i] = value.astype(dtype)
