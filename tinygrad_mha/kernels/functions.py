"""Functions of a vector, made of its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from .jit import inner
from .simd import (
    STEPS32,
    STEPS64,
    absolute,
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


def _interpolated(function: Callable[[float], float], degree: int, reach: float) -> list[float]:
    """Coefficients of the polynomial that meets a function where Chebyshev's is 0."""
    found = Chebyshev.interpolate(np.vectorize(function), degree, [-reach, reach])
    return [float(c) for c in found.convert(kind=Polynomial).coef]


_growth = polynomial(
    _interpolated(lambda r: math.expm1(r) / r if r else 1.0, 2 if STEPS32 > 1 else 5, _reach),
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
def halves(x):  # type: ignore[no-untyped-def]
    """Return σ(x) and σ(−x), which is 1 − σ(x) with all its digits."""
    e = exp_below(sub(_zero(x), absolute(x)))
    larger = div(_one(x), add(_one(x), e))
    smaller = mul(e, larger)
    below = where_less(x, _zero(x), smaller, larger)
    return below, where_less(x, _zero(x), larger, smaller)


@inner
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Compute 1 / (1 + e⁻ˣ)."""
    return halves(x)[0]


# erf. Near 0 it is x times a polynomial in x²; further out 1 − e^(p − x²), where p is a polynomial
# for ln erfc + x², until nothing is left to subtract. Both polynomials run over −1 … 1.
_near, _far = 0.9, (4.0, 6.0)  # float32 and float64 cannot tell erf of more from 1


def _erf_near(u: float) -> float:
    root = math.sqrt((u + 1) / 2) * _near
    return math.erf(root) / root if root else 2 / math.sqrt(math.pi)


def _log_erfc(far: float) -> Callable[[float], float]:
    def beside_square(u: float) -> float:
        t = (_near + far) / 2 + u * (far - _near) / 2
        return math.log(math.erfc(t)) + t * t

    return beside_square


_inner_erf = polynomial(_interpolated(_erf_near, 5, 1.0), _interpolated(_erf_near, 13, 1.0))
_outer_erf = polynomial(
    _interpolated(_log_erfc(_far[0]), 8, 1.0), _interpolated(_log_erfc(_far[1]), 24, 1.0)
)
_border, _end = number(_near), number(*_far)
_square_scale = number(2 / _near**2)
_scale = number(*(2 / (far - _near) for far in _far))
_shift = number(*(-(far + _near) / (far - _near) for far in _far))


@inner
def erf(x):  # type: ignore[no-untyped-def]
    """Compute 2/√π ∫₀ˣ e^(−t²) dt."""
    size = absolute(x)
    within = where_less(_end(x), size, _end(x), size)
    beside = _outer_erf(fma(within, _scale(x), _shift(x)))
    rest = sub(_one(x), exp_below(sub(beside, mul(within, within))))
    outside = where_less(x, _zero(x), sub(_zero(x), rest), rest)
    inside = mul(x, _inner_erf(fma(mul(x, x), _square_scale(x), sub(_zero(x), _one(x)))))
    return where_less(size, _border(x), inside, outside)
