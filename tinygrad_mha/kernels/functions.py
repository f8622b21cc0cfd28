"""Functions of a vector, made of its arithmetic."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from .jit import inner
from .simd import (
    STEPS32,
    STEPS64,
    add,
    div,
    fma,
    mul,
    number,
    polynomial,
    sub,
    two_to_the,
    where_less,
)

# x = n · ln 2 / STEPS + r. −ln 2 in two parts: n · high is exact, so r keeps its digits (Cody
# and Waite 1980)
_steps = number(STEPS32, STEPS64)
_log2e = number(STEPS32 / math.log(2), STEPS64 / math.log(2))
_minus_ln2_high = number(-0.693359375 / STEPS32, -0.6931471803691238 / STEPS64)
_minus_ln2_low = number(2.12194440e-4 / STEPS32, -1.9082149292705877e-10 / STEPS64)
#: 1.5 · 2²³ and 1.5 · 2⁵²: adding it rounds to a whole number, and leaves that in the low bits
_magic = number(1.5 * 2.0**23, 1.5 * 2.0**52)
_low = number(-87.33654, -708.39)  # below it eˣ is no longer a normal number: 0
_high = number(89.0, 709.9)  # above it eˣ is infinite
_one, _two, _zero = number(1.0), number(2.0), number(0.0)

# (eʳ − 1) / r for |r| ≤ ln 2 / (2 · STEPS). In float32 interpolated where Chebyshev's polynomial
# is 0, to 2e-9; in float64 by its Taylor series, whose coefficients are known to the last digit
_reach = math.log(2) / 2 / STEPS32


def _slope(r: np.ndarray) -> np.ndarray:
    return np.where(r == 0, 1.0, np.expm1(r) / np.where(r == 0, 1.0, r))


_interpolated = Chebyshev.interpolate(_slope, 2 if STEPS32 > 1 else 5, [-_reach, _reach])
_growth = polynomial(
    [float(c) for c in _interpolated.convert(kind=Polynomial).coef],
    [1 / math.factorial(k + 1) for k in range(8 if STEPS64 > 1 else 13)],
)


@inner
def _reduced(x):  # type: ignore[no-untyped-def]
    """Split x into n ln 2 / STEPS + r with r as small as can be; return n + magic, and eʳ − 1."""
    shifted = fma(x, _log2e(x), _magic(x))
    n = sub(shifted, _magic(x))
    r = fma(n, _minus_ln2_low(x), fma(n, _minus_ln2_high(x), x))
    return shifted, mul(r, _growth(r))


@inner
def exp_below(x):  # type: ignore[no-untyped-def]
    """Compute eˣ as :func:`exp` does, for x that are not above 0 (but by rounding)."""
    shifted, more = _reduced(x)  # far below, whatever comes out of it is not taken
    scale = two_to_the(shifted)
    return where_less(x, _low(x), _zero(x), fma(scale, more, scale))


@inner
def exp(x):  # type: ignore[no-untyped-def]
    """Compute eˣ as s + s · (eʳ − 1) with s = 2^(n / STEPS) and |r| ≤ ln 2 / (2 · STEPS).

    Relative error below 2 units in the last place. Results below the smallest normal number
    are 0; nan stays nan.
    """
    inside = where_less(x, _low(x), _low(x), where_less(_high(x), x, _high(x), x))
    shifted, more = _reduced(inside)
    # half of s, then twice the result: for the largest x, s alone would be infinite too early
    half = two_to_the(sub(shifted, _steps(x)))
    return where_less(x, _low(x), _zero(x), mul(fma(half, more, half), _two(x)))


@inner
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Compute 1 / (1 + e⁻ˣ)."""
    return div(_one(x), add(_one(x), exp(sub(_zero(x), x))))
