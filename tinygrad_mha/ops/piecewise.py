"""Activations that are straight lines, one after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.op import Value, plain
from .choice import choose, within
from .define import elementwise, one


@elementwise(
    "y = x, not below min_val, not above max_val",
    samples=(*one(), *one(min_val=-0.5, max_val=0.25)),
    torch="nn.functional.hardtanh",
)
def hardtanh(x: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    """Identity between two bounds, elementwise; at a bound its slope is 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    min_val, max_val : float
        The bounds.

    Raises
    ------
    ValueError
        `min_val` is above `max_val`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.hardtanh(tm.tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"min_val is {min_val} and max_val {max_val}; min_val has to be below")
    if x.dtype.kind in "iu":
        return np.minimum(
            np.maximum(x, within(math.ceil(min_val), x)), within(math.floor(max_val), x)
        )
    low, high = x.dtype.type(min_val), x.dtype.type(max_val)
    return np.minimum(np.maximum(x, low), high)


@hardtanh.gradient("x", "dx = dy where min_val < x < max_val else 0")
def hardtanh_dx(dy: Value, x: Value, min_val: float, max_val: float) -> Value:
    return choose((plain(x) <= min_val) | (plain(x) >= max_val), 0.0, dy)


def relu6(input: Any) -> Any:
    """Rectified linear unit that ends at 6; a :func:`hardtanh` from 0 to 6.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.relu6(tm.tensor([-1.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    return hardtanh(input, 0.0, 6.0)


@elementwise(
    "y = 0 where x ≤ −3, 1 where x ≥ 3, else x / 6 + 1 / 2",
    samples=one(-5.0, 5.0),
    floating=True,
    torch="ours:hardsigmoid",
)
def hardsigmoid(x: Value) -> Value:
    """Straight line from 0 at −3 to 1 at 3, elementwise."""
    return np.clip(x + 3, 0, 6) / 6


@hardsigmoid.gradient("x", "dx = dy / 6 where −3 < x < 3 else 0")
def hardsigmoid_dx(dy: Value, x: Value) -> Value:
    return choose((plain(x) > -3) & (plain(x) < 3), dy / 6, 0.0)


@elementwise(
    "y = 0 where x ≤ −3, x where x ≥ 3, else x · (x + 3) / 6",
    samples=one(-5.0, 5.0),
    floating=True,
    torch="nn.functional.hardswish",
)
def hardswish(x: Value) -> Value:
    """Piecewise quadratic swish, elementwise (Howard et al. 2019, sec. 5.2)."""
    return x * np.clip(x + 3, 0, 6) / 6


@hardswish.gradient("x", "dx = 0 where x ≤ −3, dy where x ≥ 3, else dy · (x / 3 + 1 / 2)")
def hardswish_dx(dy: Value, x: Value) -> Value:
    at = plain(x)
    return choose(at <= -3, 0.0, choose(at < 3, dy * (x / 3 + 0.5), dy))


@elementwise(
    "y = x where x > threshold else value",
    samples=(*one(threshold=0.5, value=-1.0),),
    method=False,
    torch="nn.functional.threshold",
)
def threshold(x: Value, threshold: float, value: float) -> Value:
    """Keep what is above a threshold, put a value for the rest, elementwise.

    Parameters
    ----------
    x : Tensor
        Any shape.
    threshold : float
        What is kept is larger.
    value : float
        What is put.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.threshold(tm.tensor([1.0, 2.0]), 1.5, 20.0)
    tensor([20.,  2.])
    """
    return np.where(x <= threshold, np.asarray(value).astype(x.dtype), x)


@threshold.gradient("x", "dx = dy where x > threshold else 0")
def threshold_dx(dy: Value, x: Value, threshold: float) -> Value:
    return choose(plain(x) <= threshold, 0.0, dy)


@elementwise(
    "y = x where |x| > λ else 0",
    samples=(*one(lambd=0.5), *one()),
    method=False,
    torch="nn.functional.hardshrink",
)
def hardshrink(x: Value, lambd: float = 0.5) -> Value:
    """Keep what is further than `lambd` from 0, elementwise; the rest becomes 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    lambd : float, default 0.5
        λ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.hardshrink(tm.tensor([-1.0, 0.25, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    return np.where((x >= -lambd) & (x <= lambd), x.dtype.type(0), x)


@hardshrink.gradient("x", "dx = dy where |x| > λ else 0")
def hardshrink_dx(dy: Value, x: Value, lambd: float) -> Value:
    at = plain(x)
    return choose((at >= -lambd) & (at <= lambd), 0.0, dy)


@elementwise(
    "y = x − λ where x > λ, x + λ where x < −λ, else 0",
    samples=(*one(lambd=0.5), *one()),
    method=False,
    torch="nn.functional.softshrink",
)
def softshrink(x: Value, lambd: float = 0.5) -> Value:
    """Draw everything nearer to 0 by `lambd`, elementwise, and no further than 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    lambd : float, default 0.5
        λ, at least 0.

    Raises
    ------
    ValueError
        `lambd` is negative.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.softshrink(tm.tensor([-1.0, 0.25, 2.0]))
    tensor([-0.5,  0. ,  1.5])
    """
    if not lambd >= 0:
        raise ValueError(f"lambd is {lambd}, expected at least 0")
    return x - np.clip(x, -lambd, lambd)


@softshrink.gradient("x", "dx = dy where |x| > λ else 0")
def softshrink_dx(dy: Value, x: Value, lambd: float) -> Value:
    at = plain(x)
    return choose((at >= -lambd) & (at <= lambd), 0.0, dy)
