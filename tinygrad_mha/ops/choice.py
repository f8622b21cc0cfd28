"""Operations that choose between elements: where, clamp, the larger, the smaller."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..engine import Sample, Tensor
from ..engine.op import Value, plain
from .define import elementwise, one, two

# -- where --------------------------------------------------------------------------


def _choose(condition: Value, a: Value, b: Value) -> Value:
    """Take from `a` where `condition` is True, from `b` elsewhere; see :func:`where`."""
    if getattr(condition, "dtype", np.dtype("bool")) != np.bool_:
        raise TypeError(f"condition is {condition.dtype}, expected bool; write condition != 0")
    y: Any = np.where(condition, a, b)
    if y.dtype == np.float64 and not any(hasattr(x, "dtype") for x in (a, b)):
        return y.astype(np.float32)  # two Python numbers
    return y


_choose.__name__ = "where"  # as users call it, so that messages and pictures say so

#: The operation behind :func:`where`, which also has a form of one argument.
choose = elementwise(
    "y = a where condition else b",
    samples=(
        Sample((np.array([[True, False, True], [False, False, True]]), (2, 3), (3,))),
        Sample((np.array(True), (), (2,))),
        Sample((np.zeros((2, 0), bool), (1,), ())),
    ),
    method=False,
    promote=(1, 2),
)(_choose)


@choose.gradient("a", "da = dy where condition else 0")
def where_da(dy: Value, condition: Value) -> Value:
    return choose(condition, dy, 0.0)


@choose.gradient("b", "db = 0 where condition else dy")
def where_db(dy: Value, condition: Value) -> Value:
    return choose(condition, 0.0, dy)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """Take from `input` where `condition` is True, from `other` elsewhere; all three broadcast.

    The branch not taken gets a gradient of exactly 0, but if *computing* that branch
    has an infinite gradient, 0 · ∞ is nan there, as in every framework:
    guard the argument, not the result.

    Parameters
    ----------
    condition : bool Tensor
        What to choose by.
    input, other : Tensor or number, optional
        What to choose from. Without them the result is the positions where
        `condition` is not zero, one integer tensor per dimension.

    Returns
    -------
    Tensor, or tuple of Tensor
        Of the shape that the three broadcast to.

    Raises
    ------
    TypeError
        `condition` is not bool, or one of `input` and `other` is missing.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([-1.0, 2.0])
    >>> tm.where(x > 0, x, 0.0)
    tensor([0., 2.])
    >>> tm.where(x > 0)
    (tensor([1]),)
    """
    if input is None and other is None:
        return tuple(Tensor(found) for found in np.nonzero(np.atleast_1d(plain(condition))))
    if input is None or other is None:
        raise TypeError("where: give both, input and other, or neither")
    return choose(condition, input, other)


def _where_method(self: Tensor, condition: Any, other: Any) -> Any:
    """Keep the elements where `condition` is True, take those of `other` elsewhere."""
    return choose(condition, self, other)


setattr(Tensor, "where", _where_method)  # noqa: B010  (an assignment would not type-check)


def nothing(dy: Value) -> Value:
    """Zeros like `dy`, and tied to it: the gradient of a step."""
    return choose(np.False_, dy, 0.0)


@elementwise(
    "y = value where mask else x",
    promote=False,
    samples=(
        Sample(((2, 3), np.array([True, False, True]), 0.5)),
        Sample(((2, 3), np.array([[True], [False]]), ())),
        Sample(((3,), np.array([[True, False, True], [False] * 3]), ())),
        Sample(((), np.array(True), ())),
        Sample(((0, 2), np.array([True, False]), ())),
    ),
)
def masked_fill(x: Value, mask: Value, value: Value) -> Value:
    """Put `value` where `mask` is True.

    Parameters
    ----------
    x : Tensor
        Any shape.
    mask : bool Tensor
        Broadcasts with `x`.
    value : float or 0-d Tensor
        What is put.

    Raises
    ------
    TypeError
        `mask` is not bool, or `value` does not fit the dtype of `x`.
    ValueError
        `value` is a tensor with dimensions.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.ones(3).masked_fill(tm.tensor([True, False, False]), 7.0)
    tensor([7., 1., 1.])
    """
    if getattr(mask, "dtype", np.dtype("bool")) != np.bool_:
        raise TypeError(f"mask is {mask.dtype}, expected bool; write mask != 0")
    if np.ndim(value):
        raise ValueError(f"value has shape {np.shape(value)}, expected a number or a 0-d tensor")
    if not isinstance(x, np.ndarray | np.generic):
        return np.where(mask, value, x)
    try:
        value = x.dtype.type(value)
    except (OverflowError, ValueError):
        raise TypeError(f"value {value} does not fit {x.dtype}, the dtype of x") from None
    return np.where(mask, value, x)


@masked_fill.gradient("x", "dx = 0 where mask else dy")
def masked_fill_dx(dy: Value, mask: Value) -> Value:
    return choose(mask, 0.0, dy)


@masked_fill.gradient("value", "dvalue = Σ dy where mask")
def masked_fill_dvalue(dy: Value, mask: Value) -> Value:
    return choose(mask, dy, 0.0)


# -- bounds -------------------------------------------------------------------------


@elementwise(
    "y = x, not below min, not above max",
    torch="ours:clamp",
    samples=(
        Sample(((2, 3), -0.5, 1.0)),
        Sample(((2, 3), None, 0.5)),
        Sample(((), -0.5, None)),
        Sample(((2, 3), (3,), (2, 1))),
        Sample(((2, 3), (), None)),
        Sample(((0, 2), None, (2,))),
    ),
)
def clamp(x: Value, min: Value | None = None, max: Value | None = None) -> Value:
    """Bring what is below `min` up to it and what is above `max` down to it.

    At a bound the gradient goes to `x`. Where `min` is above `max` the result is `max`. A whole
    number that the dtype of an integer `x` cannot hold, as −1 for uint8, bounds nothing.

    Parameters
    ----------
    x : Tensor
        Any shape.
    min, max : float or Tensor, optional
        The bounds; at least one. They broadcast with `x`, and may carry gradients.

    Raises
    ------
    ValueError
        Neither bound is given.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([-3.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    if min is None and max is None:
        raise ValueError("neither min nor max is given; give at least one")
    y = x if min is None else np.maximum(x, within(min, x))
    return y if max is None else np.minimum(y, within(max, x))


def within(bound: Any, x: Value) -> Any:
    """Bring a whole number into the range of the dtype of integers, beside which it would stand."""
    if type(bound) is not int or getattr(x, "dtype", None) is None or x.dtype.kind not in "iu":
        return bound
    limits = np.iinfo(x.dtype)
    return builtins.min(builtins.max(bound, int(limits.min)), int(limits.max))


@clamp.gradient("x", "dx = dy where min ≤ x ≤ max else 0")
def clamp_dx(dy: Value, x: Value, min: Value | None, max: Value | None) -> Value:
    x, min, max = plain(x), plain(min), plain(max)
    inside = ~np.isnan(x) if min is None else x >= min
    return choose(inside if max is None else inside & (x <= max), dy, 0.0)


@clamp.gradient("min", "dmin = dy where x < min < max else 0")
def clamp_dmin(dy: Value, x: Value, min: Value, max: Value | None) -> Value:
    x, min, max = plain(x), plain(min), plain(max)
    return choose(x < min if max is None else (x < min) & (min < max), dy, 0.0)


@clamp.gradient("max", "dmax = dy where x > max or max < min else 0")
def clamp_dmax(dy: Value, x: Value, min: Value | None, max: Value) -> Value:
    x, min, max = plain(x), plain(min), plain(max)
    return choose(x > max if min is None else (x > max) | (max < min), dy, 0.0)


def clip(input: Any, min: Any = None, max: Any = None) -> Any:
    """Bring what is below `min` up to it and what is above `max` down to it; as :func:`clamp`."""
    return clamp(input, min, max)


def clamp_min(input: Any, min: Any) -> Any:
    """Bring what is below `min` up to it; a :func:`clamp` on one side."""
    return clamp(input, min, None)


def clamp_max(input: Any, max: Any) -> Any:
    """Bring what is above `max` down to it; a :func:`clamp` on one side."""
    return clamp(input, None, max)


def _clip_(self: Tensor, min: Any = None, max: Any = None) -> Any:
    """In-place version of :meth:`clip`; returns the tensor itself."""
    return self.clamp_(min, max)


def _clamp_min_(self: Tensor, min: Any) -> Any:
    """In-place version of :meth:`clamp_min`; returns the tensor itself."""
    return self.clamp_(min, None)


def _clamp_max_(self: Tensor, max: Any) -> Any:
    """In-place version of :meth:`clamp_max`; returns the tensor itself."""
    return self.clamp_(None, max)


for _function in (clip, clamp_min, clamp_max, _clip_, _clamp_min_, _clamp_max_):
    setattr(Tensor, _function.__name__.lstrip("_"), _function)


# -- the larger, the smaller --------------------------------------------------------


@elementwise("y = max(a, b)", symbol="max", ufunc=np.maximum, samples=two())
def maximum(a: Value, b: Value) -> Value:
    """Larger of two, elementwise with broadcasting; nan wins, equals share the gradient.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.maximum(tm.tensor([1.0, 4.0]), tm.tensor([3.0, 2.0]))
    tensor([3., 4.])
    """
    return np.maximum(a, b)


@maximum.gradient("a", "da = 0 where a < b, dy / 2 where a = b, else dy")
def maximum_da(dy: Value, a: Value, b: Value) -> Value:
    return _share(dy, plain(a), plain(b))


@maximum.gradient("b", "db = 0 where b < a, dy / 2 where a = b, else dy")
def maximum_db(dy: Value, a: Value, b: Value) -> Value:
    return _share(dy, plain(b), plain(a))


def _share(dy: Value, winner: Any, loser: Any) -> Value:
    """All to the larger one, half to each of two that are equal."""
    return choose(winner < loser, 0.0, choose(winner == loser, dy / 2, dy))


@elementwise("y = min(a, b)", symbol="min", ufunc=np.minimum, samples=two())
def minimum(a: Value, b: Value) -> Value:
    """Smaller of two, elementwise with broadcasting; nan wins, equals share the gradient."""
    return np.minimum(a, b)


@minimum.gradient("a", "da = 0 where a > b, dy / 2 where a = b, else dy")
def minimum_da(dy: Value, a: Value, b: Value) -> Value:
    return _share(dy, -plain(a), -plain(b))


@minimum.gradient("b", "db = 0 where b > a, dy / 2 where a = b, else dy")
def minimum_db(dy: Value, a: Value, b: Value) -> Value:
    return _share(dy, -plain(b), -plain(a))


@elementwise("y = max(a, b), a nan being no number", symbol="max", ufunc=np.fmax, samples=two())
def fmax(a: Value, b: Value) -> Value:
    """Larger of two, or the one that is not nan; of equals `a` takes the gradient."""
    return np.fmax(a, b)


@fmax.gradient("a", "da = dy where a ≥ b else 0")
def fmax_da(dy: Value, a: Value, b: Value) -> Value:
    return choose(_first(plain(a) >= plain(b), b), dy, 0.0)


@fmax.gradient("b", "db = 0 where a ≥ b else dy")
def fmax_db(dy: Value, a: Value, b: Value) -> Value:
    return choose(_first(plain(a) >= plain(b), b), 0.0, dy)


@elementwise("y = min(a, b), a nan being no number", symbol="min", ufunc=np.fmin, samples=two())
def fmin(a: Value, b: Value) -> Value:
    """Smaller of two, or the one that is not nan; of equals `a` takes the gradient."""
    return np.fmin(a, b)


@fmin.gradient("a", "da = dy where a ≤ b else 0")
def fmin_da(dy: Value, a: Value, b: Value) -> Value:
    return choose(_first(plain(a) <= plain(b), b), dy, 0.0)


@fmin.gradient("b", "db = 0 where a ≤ b else dy")
def fmin_db(dy: Value, a: Value, b: Value) -> Value:
    return choose(_first(plain(a) <= plain(b), b), 0.0, dy)


def _first(wins: Any, b: Value) -> Any:
    """Whether the first of two was taken: it won, or the second is no number."""
    return wins | np.isnan(plain(b))


# -- what is no number --------------------------------------------------------------


@elementwise(
    "y = x, but nan, ∞ and −∞ replaced",
    samples=(*one(), *one(nan=1.0, posinf=2.0, neginf=-2.0)),
)
def nan_to_num(
    x: Value,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Value:
    """Replace nan and the infinities by numbers, elementwise.

    Parameters
    ----------
    x : Tensor
        Any shape.
    nan : float, optional
        For nan; default 0.
    posinf, neginf : float, optional
        For ∞ and −∞; default the largest and smallest number of the dtype.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([float("nan"), 1.0, float("inf")]).nan_to_num(posinf=9.0)
    tensor([0., 1., 9.])
    """
    return np.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@nan_to_num.gradient("x", "dx = dy where x is finite else 0")
def nan_to_num_dx(dy: Value, x: Value) -> Value:
    return choose(np.isfinite(plain(x)), dy, 0.0)
