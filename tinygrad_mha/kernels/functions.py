"""Functions of a vector, made of its arithmetic."""

from __future__ import annotations

import math

from .jit import inner
from .simd import add, div, fma, mul, number, sub, two_to_the, where_less

_log2e = number(1 / math.log(2))
# ln 2 in two parts: n · high is exact, so x − n · ln 2 keeps its digits (Cody and Waite 1980)
_ln2_high = number(0.693359375, 0.6931471803691238)
_ln2_low = number(-2.12194440e-4, 1.9082149292705877e-10)
#: 1.5 · 2²³ and 1.5 · 2⁵²: adding it rounds to a whole number, and leaves that in the low bits
_magic = number(1.5 * 2.0**23, 1.5 * 2.0**52)
_low = number(-87.33654, -708.39)  # below it eˣ is no longer a normal number: 0
_high = number(89.0, 709.9)  # above it eˣ is infinite
_one, _two, _zero = number(1.0), number(2.0), number(0.0)
# 1/k!, to the power that the number format can still tell; the terms after it are 0 in float32
_taylor = [number(1 / math.factorial(k)) for k in range(8)]
_taylor_double = [number(0.0, 1 / math.factorial(k)) for k in range(8, 14)]
_t2, _t3, _t4, _t5, _t6, _t7 = _taylor[2:]
_t8, _t9, _t10, _t11, _t12, _t13 = _taylor_double


@inner
def exp(x):  # type: ignore[no-untyped-def]
    """Compute eˣ as 2ⁿ · eʳ with x = n ln 2 + r and |r| ≤ ln 2 / 2, eʳ by its Taylor series.

    Relative error below 2 units in the last place. Results below the smallest normal number
    are 0; nan stays nan.
    """
    inside = where_less(x, _low(x), _low(x), where_less(_high(x), x, _high(x), x))
    shifted = fma(inside, _log2e(x), _magic(x))
    n = sub(shifted, _magic(x))
    r = sub(sub(inside, mul(n, _ln2_high(x))), mul(n, _ln2_low(x)))
    p = fma(_t13(x), r, _t12(x))
    p = fma(p, r, _t11(x))
    p = fma(p, r, _t10(x))
    p = fma(p, r, _t9(x))
    p = fma(p, r, _t8(x))
    p = fma(p, r, _t7(x))
    p = fma(p, r, _t6(x))
    p = fma(p, r, _t5(x))
    p = fma(p, r, _t4(x))
    p = fma(p, r, _t3(x))
    p = fma(p, r, _t2(x))
    p = fma(p, r, _one(x))
    p = fma(p, r, _one(x))
    # 2ⁿ as 2 · 2ⁿ⁻¹: for the largest x, 2ⁿ alone would be infinite too early
    half = two_to_the(sub(shifted, _one(x)))
    return where_less(x, _low(x), _zero(x), mul(mul(p, half), _two(x)))


@inner
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Compute 1 / (1 + e⁻ˣ)."""
    return div(_one(x), add(_one(x), exp(sub(_zero(x), x))))
