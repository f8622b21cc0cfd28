"""Functions of one variable, element by element."""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..engine.op import Value, plain
from .choice import choose, nothing
from .define import elementwise, one

_LN2, _LN10 = math.log(2), math.log(10)
_erfc = np.frompyfunc(math.erfc, 1, 1)


# -- exponentials, logarithms, roots -------------------------------------------------


@elementwise(
    "y = eˣ",
    derivation=(
        "eˣ is the function that is its own derivative, so the output is all that has to be kept."
    ),
    ufunc=np.exp,
    floating=True,
    samples=one(),
)
def exp(x: Value) -> Value:
    """Exponential, elementwise."""
    return kernels.exp(x)


@exp.gradient("x", "dx = dy · y")
def exp_dx(dy: Value, out: Value) -> Value:
    return dy * out


@elementwise("y = 2ˣ", ufunc=np.exp2, floating=True, samples=one())
def exp2(x: Value) -> Value:
    """Power of 2, elementwise."""
    return np.exp2(x)


@exp2.gradient("x", "dx = dy · y · ln 2")
def exp2_dx(dy: Value, out: Value) -> Value:
    return dy * (out * _LN2)


@elementwise("y = eˣ − 1", ufunc=np.expm1, floating=True, samples=one())
def expm1(x: Value) -> Value:
    """Exponential less 1, exact for small `x`, elementwise."""
    return np.expm1(x)


@expm1.gradient("x", "dx = dy · (y + 1)")
def expm1_dx(dy: Value, out: Value) -> Value:
    return dy * (out + 1)


@elementwise(
    "y = ln x",
    derivation=(
        "From e^(ln x) = x, differentiated on both sides: x · (ln x)′ = 1, so (ln x)′ = 1/x."
    ),
    symbol="ln",
    ufunc=np.log,
    floating=True,
    samples=one(0.3, 3.0),
)
def log(x: Value) -> Value:
    """Natural logarithm, elementwise."""
    return np.log(x)


@log.gradient("x", "dx = dy / x")
def log_dx(dy: Value, x: Value) -> Value:
    return dy / x


@elementwise("y = log₂ x", symbol="log₂", ufunc=np.log2, floating=True, samples=one(0.3, 3.0))
def log2(x: Value) -> Value:
    """Logarithm to base 2, elementwise."""
    return np.log2(x)


@log2.gradient("x", "dx = dy / (x · ln 2)")
def log2_dx(dy: Value, x: Value) -> Value:
    return dy / (x * _LN2)


@elementwise("y = log₁₀ x", symbol="log₁₀", ufunc=np.log10, floating=True, samples=one(0.3, 3.0))
def log10(x: Value) -> Value:
    """Logarithm to base 10, elementwise."""
    return np.log10(x)


@log10.gradient("x", "dx = dy / (x · ln 10)")
def log10_dx(dy: Value, x: Value) -> Value:
    return dy / (x * _LN10)


@elementwise("y = ln(1 + x)", ufunc=np.log1p, floating=True, samples=one(-0.7, 2.0))
def log1p(x: Value) -> Value:
    """Logarithm of 1 + `x`, exact for small `x`, elementwise."""
    return np.log1p(x)


@log1p.gradient("x", "dx = dy / (1 + x)")
def log1p_dx(dy: Value, x: Value) -> Value:
    return dy / (x + 1)


@elementwise("y = √x", symbol="√", ufunc=np.sqrt, floating=True, samples=one(0.3, 3.0))
def sqrt(x: Value) -> Value:
    """Square root, elementwise."""
    return np.sqrt(x)


@sqrt.gradient("x", "dx = dy / (2y)")
def sqrt_dx(dy: Value, out: Value) -> Value:
    return dy / (2 * out)


@elementwise("y = 1 / √x", floating=True, samples=one(0.3, 3.0))
def rsqrt(x: Value) -> Value:
    """Reciprocal of the square root, elementwise."""
    return 1 / np.sqrt(x)


@rsqrt.gradient("x", "dx = −dy · y³ / 2")
def rsqrt_dx(dy: Value, out: Value) -> Value:
    return dy * (-0.5 * (out * out * out))


@elementwise("y = x²", ufunc=np.square, samples=one())
def square(x: Value) -> Value:
    """Square, elementwise."""
    return np.square(x, dtype=np.int64 if getattr(x, "dtype", None) == np.bool_ else None)


@square.gradient("x", "dx = dy · 2x")
def square_dx(dy: Value, x: Value) -> Value:
    return dy * (2 * x)


@elementwise("y = 1 / x", floating=True, samples=one(0.3, 3.0))
def reciprocal(x: Value) -> Value:
    """Reciprocal, elementwise; integers become floats."""
    return 1 / x


@reciprocal.gradient("x", "dx = −dy · y²")
def reciprocal_dx(dy: Value, out: Value) -> Value:
    return -dy * (out * out)


# -- trigonometric and hyperbolic functions ------------------------------------------


@elementwise("y = sin x", ufunc=np.sin, floating=True, samples=one())
def sin(x: Value) -> Value:
    """Sine, elementwise."""
    return np.sin(x)


@sin.gradient("x", "dx = dy · cos x")
def sin_dx(dy: Value, x: Value) -> Value:
    return dy * cos(x)


@elementwise("y = cos x", ufunc=np.cos, floating=True, samples=one())
def cos(x: Value) -> Value:
    """Cosine, elementwise."""
    return np.cos(x)


@cos.gradient("x", "dx = −dy · sin x")
def cos_dx(dy: Value, x: Value) -> Value:
    return -dy * sin(x)


@elementwise("y = tan x", ufunc=np.tan, floating=True, samples=one(-1.0, 1.0))
def tan(x: Value) -> Value:
    """Tangent, elementwise."""
    return np.tan(x)


@tan.gradient("x", "dx = dy · (1 + y²)")
def tan_dx(dy: Value, out: Value) -> Value:
    return dy * (1 + out * out)


@elementwise("y = arcsin x", ufunc=np.arcsin, floating=True, samples=one(-0.8, 0.8))
def asin(x: Value) -> Value:
    """Arcsine, from −π/2 to π/2, elementwise."""
    return np.arcsin(x)


@asin.gradient("x", "dx = dy / √(1 − x²)")
def asin_dx(dy: Value, x: Value) -> Value:
    return dy * rsqrt(1 - x * x)


@elementwise("y = arccos x", ufunc=np.arccos, floating=True, samples=one(-0.8, 0.8))
def acos(x: Value) -> Value:
    """Arccosine, from 0 to π, elementwise."""
    return np.arccos(x)


@acos.gradient("x", "dx = −dy / √(1 − x²)")
def acos_dx(dy: Value, x: Value) -> Value:
    return -dy * rsqrt(1 - x * x)


@elementwise("y = arctan x", ufunc=np.arctan, floating=True, samples=one())
def atan(x: Value) -> Value:
    """Arctangent, from −π/2 to π/2, elementwise."""
    return np.arctan(x)


@atan.gradient("x", "dx = dy / (1 + x²)")
def atan_dx(dy: Value, x: Value) -> Value:
    return dy / (x * x + 1)


@elementwise("y = sinh x", ufunc=np.sinh, floating=True, samples=one())
def sinh(x: Value) -> Value:
    """Hyperbolic sine, elementwise."""
    return np.sinh(x)


@sinh.gradient("x", "dx = dy · cosh x")
def sinh_dx(dy: Value, x: Value) -> Value:
    return dy * cosh(x)


@elementwise("y = cosh x", ufunc=np.cosh, floating=True, samples=one())
def cosh(x: Value) -> Value:
    """Hyperbolic cosine, elementwise."""
    return np.cosh(x)


@cosh.gradient("x", "dx = dy · sinh x")
def cosh_dx(dy: Value, x: Value) -> Value:
    return dy * sinh(x)


@elementwise(
    "y = tanh x",
    derivation=(
        "tanh = sinh/cosh, with sinh′ = cosh and cosh′ = sinh. The quotient rule gives (cosh² "
        "− sinh²)/cosh² = 1 − tanh², which needs only the output."
    ),
    ufunc=np.tanh,
    floating=True,
    samples=one(),
)
def tanh(x: Value) -> Value:
    """Hyperbolic tangent, elementwise."""
    return kernels.tanh(x)


@tanh.gradient("x", "dx = dy · (1 − y²)")
def tanh_dx(dy: Value, out: Value) -> Value:
    return dy * (1 - out * out)


@elementwise("y = arsinh x", ufunc=np.arcsinh, floating=True, samples=one())
def asinh(x: Value) -> Value:
    """Inverse hyperbolic sine, elementwise."""
    return np.arcsinh(x)


@asinh.gradient("x", "dx = dy / √(x² + 1)")
def asinh_dx(dy: Value, x: Value) -> Value:
    return dy * rsqrt(x * x + 1)


@elementwise("y = arcosh x", ufunc=np.arccosh, floating=True, samples=one(1.3, 3.0))
def acosh(x: Value) -> Value:
    """Inverse hyperbolic cosine, elementwise; nan below 1."""
    return np.arccosh(x)


@acosh.gradient("x", "dx = dy / √(x² − 1)")
def acosh_dx(dy: Value, x: Value) -> Value:
    return dy * rsqrt(x * x - 1)


@elementwise("y = artanh x", ufunc=np.arctanh, floating=True, samples=one(-0.8, 0.8))
def atanh(x: Value) -> Value:
    """Inverse hyperbolic tangent, elementwise."""
    return np.arctanh(x)


@atanh.gradient("x", "dx = dy / (1 − x²)")
def atanh_dx(dy: Value, x: Value) -> Value:
    return dy / (1 - x * x)


# -- error function, logistic function -----------------------------------------------


@elementwise("y = 2/√π ∫₀ˣ e^(−t²) dt", floating=True, samples=one())
def erf(x: Value) -> Value:
    """Error function, elementwise."""
    return kernels.erf(x)


@erf.gradient("x", "dx = dy · 2/√π · e^(−x²)")
def erf_dx(dy: Value, x: Value) -> Value:
    return dy * (2 / math.sqrt(math.pi)) * exp(-(x * x))


@elementwise("y = 1 − erf x", floating=True, samples=one(), torch="special.erfc")
def erfc(x: Value) -> Value:
    """Complementary error function, exact also where erf is near 1, elementwise."""
    return np.asarray(_erfc(x), getattr(x, "dtype", None)) if np.size(x) else x


@erfc.gradient("x", "dx = −dy · 2/√π · e^(−x²)")
def erfc_dx(dy: Value, x: Value) -> Value:
    return dy * (-2 / math.sqrt(math.pi)) * exp(-(x * x))


@elementwise(
    "y = 1 / (1 + e⁻ˣ)",
    derivation=(
        "y = (1 + e⁻ˣ)⁻¹, so y′ = e⁻ˣ · y². Since e⁻ˣ · y = 1 − y, that is y · (1 − y), which "
        "needs only the output; it is largest, ¼, at x = 0."
    ),
    symbol="σ",
    floating=True,
    samples=one(),
)
def sigmoid(x: Value) -> Value:
    """Logistic function, elementwise."""
    return kernels.sigmoid(x)


@sigmoid.gradient("x", "dx = dy · y · (1 − y)")
def sigmoid_dx(dy: Value, out: Value) -> Value:
    return dy * (out * (1 - out))


# -- sign, rounding ------------------------------------------------------------------


@elementwise("y = −x", symbol="−", ufunc=np.negative, samples=one())
def neg(x: Value) -> Value:
    """Negative, elementwise."""
    return np.negative(x)


@neg.gradient("x", "dx = −dy")
def neg_dx(dy: Value) -> Value:
    return -dy


@elementwise("y = |x|", symbol="| |", ufunc=np.absolute, samples=one())
def abs(x: Value) -> Value:
    """Absolute value, elementwise; its slope at 0 is 0."""
    return np.absolute(x)


@abs.gradient("x", "dx = dy · sign x")
def abs_dx(dy: Value, x: Value) -> Value:
    return dy * sign(plain(x))


@elementwise("y = sign x", ufunc=np.sign, samples=one())
def sign(x: Value) -> Value:
    """Sign, −1, 0 or 1, elementwise; of nan it is 0."""
    if getattr(x, "dtype", None) == np.bool_:
        return np.array(x)
    return np.nan_to_num(np.sign(x))


@sign.gradient("x", "dx = 0")
def sign_dx(dy: Value) -> Value:
    return nothing(dy)


@elementwise("y = ⌊x⌋", symbol="⌊ ⌋", ufunc=np.floor, samples=one())
def floor(x: Value) -> Value:
    """Largest integer not above `x`, elementwise."""
    return np.floor(x)


@floor.gradient("x", "dx = 0")
def floor_dx(dy: Value) -> Value:
    return nothing(dy)


@elementwise("y = ⌈x⌉", symbol="⌈ ⌉", ufunc=np.ceil, samples=one())
def ceil(x: Value) -> Value:
    """Smallest integer not below `x`, elementwise."""
    return np.ceil(x)


@ceil.gradient("x", "dx = 0")
def ceil_dx(dy: Value) -> Value:
    return nothing(dy)


@elementwise("y = x without its fraction", ufunc=np.trunc, samples=one())
def trunc(x: Value) -> Value:
    """Integer part, rounded toward zero, elementwise."""
    return np.trunc(x)


@trunc.gradient("x", "dx = 0")
def trunc_dx(dy: Value) -> Value:
    return nothing(dy)


@elementwise("y = x − trunc x", samples=one())
def frac(x: Value) -> Value:
    """Fraction, with the sign of `x`, elementwise."""
    return x - np.trunc(x)


@frac.gradient("x", "dx = dy")
def frac_dx(dy: Value) -> Value:
    return dy


@elementwise("y = x, rounded", symbol="round", samples=(*one(), *one(decimals=1)))
def round(x: Value, decimals: int = 0) -> Value:
    """Nearest integer, of two equally near the even one, elementwise.

    Parameters
    ----------
    x : Tensor
        Any shape.
    decimals : int, default 0
        Digits after the point that stay; before it, where negative.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([0.5, 1.5, 2.25]).round()
    tensor([0., 2., 2.])
    >>> tm.tensor([2.25, 3.14]).round(decimals=1)
    tensor([2.2, 3.1])
    """
    return np.array(x) if x.dtype == np.bool_ else np.round(x, decimals)


@round.gradient("x", "dx = 0")
def round_dx(dy: Value) -> Value:
    return nothing(dy)


@elementwise(
    "y = ln(x / (1 − x))",
    floating=True,
    samples=(*one(0.1, 0.9), *one(-0.5, 1.5, eps=0.1)),
)
def logit(x: Value, eps: float | None = None) -> Value:
    """Logarithm of the odds, the inverse of the logistic function, elementwise.

    Parameters
    ----------
    x : Tensor
        Probabilities.
    eps : float, optional
        Bring `x` into [eps, 1 − eps] first; without it, what is not in [0, 1] gives nan.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.logit(tm.tensor([0.0, 0.5]), eps=0.5)
    tensor([0., 0.])
    """
    if eps is not None:
        x = np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


@logit.gradient("x", "dx = dy / (x · (1 − x))")
def logit_dx(dy: Value, x: Value, eps: float | None) -> Value:
    low, high, beyond = (0.0, 1.0, math.nan) if eps is None else (eps, 1 - eps, 0.0)
    out_of_bounds = (plain(x) < low) | (plain(x) > high)
    inside = choose(out_of_bounds, 0.5, x)  # 0 · ∞ would be nan
    spread = inside * (1 - inside) + 0.0  # which makes 0 of −0
    return choose(out_of_bounds, beyond, dy / spread)
