"""What modules ask of what they are given."""

from __future__ import annotations

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
