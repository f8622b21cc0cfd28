"""Functions of a vector, made of its arithmetic."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from .jit import inner
from .simd import add, div, fma, mul, number, polynomial, sub, two_to_the, where_less

_log2e = number(1 / math.log(2))
# −ln 2 in two parts: n · high is exact, so x − n · ln 2 keeps its digits (Cody and Waite 1980)
_minus_ln2_high = number(-0.693359375, -0.6931471803691238)
_minus_ln2_low = number(2.12194440e-4, -1.9082149292705877e-10)
#: 1.5 · 2²³ and 1.5 · 2⁵²: adding it rounds to a whole number, and leaves that in the low bits
_magic = number(1.5 * 2.0**23, 1.5 * 2.0**52)
_low = number(-87.33654, -708.39)  # below it eˣ is no longer a normal number: 0
_high = number(89.0, 709.9)  # above it eˣ is infinite
_one, _two, _zero = number(1.0), number(2.0), number(0.0)


# eʳ for |r| ≤ ln 2 / 2. In float32 interpolated where Chebyshev's polynomial is 0, to 2e-9; in
# float64 by its Taylor series, whose coefficients are known to the last digit
_half = math.log(2) / 2
_interpolated = Chebyshev.interpolate(np.exp, 6, [-_half, _half]).convert(kind=Polynomial)
_power = polynomial(
    [float(c) for c in _interpolated.coef], [1 / math.factorial(k) for k in range(14)]
)


@inner
def _reduced(x):  # type: ignore[no-untyped-def]
    """Split x into n ln 2 + r with |r| ≤ ln 2 / 2; return n + magic, and eʳ."""
    shifted = fma(x, _log2e(x), _magic(x))
    n = sub(shifted, _magic(x))
    r = fma(n, _minus_ln2_low(x), fma(n, _minus_ln2_high(x), x))
    return shifted, _power(r)


@inner
def exp_below(x):  # type: ignore[no-untyped-def]
    """Compute eˣ as :func:`exp` does, for x that are not above 0 (but by rounding)."""
    shifted, power = _reduced(where_less(x, _low(x), _low(x), x))
    return where_less(x, _low(x), _zero(x), mul(power, two_to_the(shifted)))


@inner
def exp(x):  # type: ignore[no-untyped-def]
    """Compute eˣ as 2ⁿ · eʳ with x = n ln 2 + r and |r| ≤ ln 2 / 2.

    Relative error below 2 units in the last place. Results below the smallest normal number
    are 0; nan stays nan.
    """
    inside = where_less(x, _low(x), _low(x), where_less(_high(x), x, _high(x), x))
    shifted, power = _reduced(inside)
    # 2ⁿ as 2 · 2ⁿ⁻¹: for the largest x, 2ⁿ alone would be infinite too early
    half = two_to_the(sub(shifted, _one(x)))
    return where_less(x, _low(x), _zero(x), mul(mul(power, half), _two(x)))


@inner
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Compute 1 / (1 + e⁻ˣ)."""
    return div(_one(x), add(_one(x), exp(sub(_zero(x), x))))
