"""Comparisons, logic and bits: operations without a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, Tensor
from ..engine.op import Value, plain
from .define import elementwise, one, two

_BITS = (
    Sample((np.array([True, False]), np.array([[True], [False]]))),
    Sample((np.array([6, -3]), np.array(5))),
    Sample((np.zeros(0, np.int64), np.array([1]))),
)


# -- order --------------------------------------------------------------------------


@elementwise("y = (a = b)", symbol="=", ufunc=np.equal, samples=two())
def eq(a: Value, b: Value) -> Value:
    """Whether a = b, elementwise with broadcasting."""
    return np.equal(a, b)


@elementwise("y = (a ≠ b)", symbol="≠", ufunc=np.not_equal, samples=two())
def ne(a: Value, b: Value) -> Value:
    """Whether a ≠ b, elementwise with broadcasting."""
    return np.not_equal(a, b)


@elementwise("y = (a < b)", symbol="<", ufunc=np.less, samples=two())
def lt(a: Value, b: Value) -> Value:
    """Whether a < b, elementwise with broadcasting."""
    return np.less(a, b)


@elementwise("y = (a ≤ b)", symbol="≤", ufunc=np.less_equal, samples=two())
def le(a: Value, b: Value) -> Value:
    """Whether a ≤ b, elementwise with broadcasting."""
    return np.less_equal(a, b)


@elementwise("y = (a > b)", symbol=">", ufunc=np.greater, samples=two())
def gt(a: Value, b: Value) -> Value:
    """Whether a > b, elementwise with broadcasting."""
    return np.greater(a, b)


@elementwise("y = (a ≥ b)", symbol="≥", ufunc=np.greater_equal, samples=two())
def ge(a: Value, b: Value) -> Value:
    """Whether a ≥ b, elementwise with broadcasting."""
    return np.greater_equal(a, b)


# -- nearness -----------------------------------------------------------------------


@elementwise(
    "y = (|a − b| ≤ atol + rtol · |b|)",
    symbol="≈",
    promote=False,
    inplace=False,
    samples=(*two(), *two(rtol=0.5, atol=0.1, equal_nan=True)),
)
def isclose(
    a: Value, b: Value, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Value:
    """Whether |a − b| ≤ atol + rtol · |b|, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor
        Of one dtype.
    rtol, atol : float
        The relative and the absolute tolerance.
    equal_nan : bool, default False
        Whether nan is close to nan.

    Raises
    ------
    TypeError
        The dtypes differ.
    ValueError
        A tolerance is negative.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.isclose(tm.tensor([1.0, 2.0]), tm.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    if not rtol >= 0 or not atol >= 0:
        raise ValueError(f"rtol is {rtol} and atol is {atol}; neither can be negative")
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype:
        raise TypeError(f"a is {a.dtype} and b is {b.dtype}; convert one, for example with .to()")
    same = a == b
    if equal_nan:
        same = same | (np.isnan(a) & np.isnan(b))
    if a.dtype == np.bool_:
        return same
    error = np.abs(np.subtract(a, b))
    return same | (np.isfinite(error) & (error <= atol + np.abs(rtol * b)))


def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, in the sense of :func:`isclose`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.allclose(tm.tensor([1.0, 2.0]), tm.tensor([1.0, 2.0 + 1e-6]))
    True
    """
    return bool(np.all(plain(isclose(input, other, rtol, atol, equal_nan))))


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and the same elements.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.equal(tm.ones(2), tm.ones(2)), tm.equal(tm.ones(2), tm.ones(1))
    (True, False)
    """
    return np.array_equal(plain(input), plain(other))


for _function in (allclose, equal):
    setattr(Tensor, _function.__name__, _function)


# -- what kind of number ------------------------------------------------------------


@elementwise("y = whether x is nan", ufunc=np.isnan, inplace=False, samples=one())
def isnan(x: Value) -> Value:
    """Whether it is nan, elementwise."""
    return np.isnan(x)


@elementwise("y = (|x| = ∞)", ufunc=np.isinf, inplace=False, samples=one())
def isinf(x: Value) -> Value:
    """Whether it is ∞ or −∞, elementwise."""
    return np.isinf(x)


@elementwise("y = (|x| < ∞)", ufunc=np.isfinite, inplace=False, samples=one())
def isfinite(x: Value) -> Value:
    """Whether it is neither infinite nor nan, elementwise."""
    return np.isfinite(x)


# -- logic --------------------------------------------------------------------------


@elementwise("y = a ∧ b", symbol="∧", ufunc=np.logical_and, samples=(*two(), *_BITS))
def logical_and(a: Value, b: Value) -> Value:
    """Whether both are not zero, elementwise with broadcasting."""
    return np.logical_and(a, b)


@elementwise("y = a ∨ b", symbol="∨", ufunc=np.logical_or, samples=(*two(), *_BITS))
def logical_or(a: Value, b: Value) -> Value:
    """Whether one or both are not zero, elementwise with broadcasting."""
    return np.logical_or(a, b)


@elementwise("y = a ⊕ b", symbol="⊕", ufunc=np.logical_xor, samples=(*two(), *_BITS))
def logical_xor(a: Value, b: Value) -> Value:
    """Whether exactly one is not zero, elementwise with broadcasting."""
    return np.logical_xor(a, b)


@elementwise("y = ¬x", symbol="¬", ufunc=np.logical_not, samples=one())
def logical_not(x: Value) -> Value:
    """Whether it is zero, elementwise."""
    return np.logical_not(x)


@elementwise("y = a & b, bit by bit", symbol="&", ufunc=np.bitwise_and, samples=_BITS)
def bitwise_and(a: Value, b: Value) -> Value:
    """Bits that both have, elementwise with broadcasting; of booleans whether both are True."""
    return np.bitwise_and(a, b)


@elementwise("y = a | b, bit by bit", symbol="|", ufunc=np.bitwise_or, samples=_BITS)
def bitwise_or(a: Value, b: Value) -> Value:
    """Bits that one has, elementwise with broadcasting; of booleans whether one is True."""
    return np.bitwise_or(a, b)


@elementwise("y = a ⊕ b, bit by bit", symbol="^", ufunc=np.bitwise_xor, samples=_BITS)
def bitwise_xor(a: Value, b: Value) -> Value:
    """Bits that exactly one has, elementwise with broadcasting."""
    return np.bitwise_xor(a, b)


@elementwise(
    "y = ¬x, bit by bit",
    symbol="~",
    ufunc=np.invert,
    samples=(Sample((np.array([True, False]),)), Sample((np.array(5),))),
)
def bitwise_not(x: Value) -> Value:
    """Bits inverted, elementwise; of booleans whether it is False."""
    return np.invert(x)
