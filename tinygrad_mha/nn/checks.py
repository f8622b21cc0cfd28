"""What modules ask of what they are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Tensor


def expect_array(x: Any, name: str) -> None:
    """Refuse a list, a number or None where a module computes.

    Parameters
    ----------
    x : Tensor or ndarray
        What was given.
    name : str
        Of the layer and its argument: ``"Linear: x"``.

    Raises
    ------
    TypeError
        It is something else.

    Examples
    --------
    >>> expect_array([1.0, 2.0], "Linear: x")
    Traceback (most recent call last):
        ...
    TypeError: Linear: x is a list, expected a Tensor; say tm.tensor(values)
    """
    if type(x) is not Tensor and not isinstance(x, Tensor | np.ndarray):
        raise TypeError(f"{name} is a {type(x).__name__}, expected a Tensor; say tm.tensor(values)")


def expect_size(value: Any, name: str, least: int = 1) -> None:
    """Refuse what is no whole number, or too small.

    Parameters
    ----------
    value : int
        What was given.
    name : str
        Of the layer and its argument: ``"GPT: context"``.
    least : int, default 1
        The smallest that makes sense.

    Raises
    ------
    TypeError
        It is no whole number.
    ValueError
        It is below `least`.

    Examples
    --------
    >>> expect_size(0, "GPT: context")
    Traceback (most recent call last):
        ...
    ValueError: GPT: context is 0, expected at least 1
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r:.60}, expected a whole number")
    if value < least:
        raise ValueError(f"{name} is {value}, expected at least {least}")


def expect_number(value: Any, name: str) -> None:
    """Refuse what is no number, or not a finite one.

    Parameters
    ----------
    value : float
        What was given.
    name : str
        Of the layer and its argument: ``"MultiHeadAttention: scale"``.

    Raises
    ------
    TypeError
        It is no number.
    ValueError
        It is not finite.

    Examples
    --------
    >>> expect_number("a lot", "MultiHeadAttention: scale")
    Traceback (most recent call last):
        ...
    TypeError: MultiHeadAttention: scale is 'a lot', expected a number
    """
    if not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} is {value!r:.60}, expected a number")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")


def expect_caches(cache: Any, name: str, layers: int, kind: type) -> None:
    """Refuse what is not one cache, or one pair of them, for every layer.

    Parameters
    ----------
    cache : list or None
        What was given.
    name : str
        Of the model.
    layers : int
        How many it has.
    kind : type
        What each of the entries has to be.

    Raises
    ------
    TypeError
        It is no list of these.
    ValueError
        There are more or fewer.

    Examples
    --------
    >>> expect_caches([], "GPT", 2, object)
    Traceback (most recent call last):
        ...
    ValueError: GPT: cache has 0 layers, expected 2; make_cache() makes one
    """
    if cache is None:
        return
    if not isinstance(cache, list | tuple) or not all(isinstance(entry, kind) for entry in cache):
        raise TypeError(
            f"{name}: cache is {cache!r:.60}, expected a list with one {kind.__name__} for each of "
            f"the {layers} layers; make_cache() makes it"
        )
    if len(cache) != layers:
        raise ValueError(
            f"{name}: cache has {len(cache)} layers, expected {layers}; make_cache() makes one"
        )
