"""Operations that act on each element by itself, with broadcasting."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value
from .axes import broadcast_axis
from .shape import sum_to

#: An operation on elements: a gradient is summed back to the shape that was broadcast.
elementwise = partial(op, reduce=sum_to, axis=broadcast_axis, promote=True, inplace=True)

_one = (Sample(((2, 3),)), Sample(((),)), Sample(((0, 2),)))
_positive = tuple(Sample(s.inputs, domain=(0.3, 3.0)) for s in _one)
_shapes = (((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((), (3,)), ((2, 0), (1,)))
_two = tuple(Sample(s) for s in _shapes)
_two_positive = tuple(Sample(s, domain=(0.3, 3.0)) for s in _shapes)


# -- arithmetic ---------------------------------------------------------------------


@elementwise("y = a + b", symbol="+", ufunc=np.add, samples=_two)
def add(a: Value, b: Value) -> Value:
    """Sum, elementwise with broadcasting.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.add(tm.tensor([1.0, 2.0]), 10.0)
    tensor([11., 12.])
    """
    return np.add(a, b)


@add.gradient("a", "da = dy")
def add_da(dy: Value) -> Value:
    return dy


@add.gradient("b", "db = dy")
def add_db(dy: Value) -> Value:
    return dy


@elementwise("y = a − b", symbol="−", ufunc=np.subtract, samples=_two)
def sub(a: Value, b: Value) -> Value:
    """Difference, elementwise with broadcasting."""
    return np.subtract(a, b)


@sub.gradient("a", "da = dy")
def sub_da(dy: Value) -> Value:
    return dy


@sub.gradient("b", "db = −dy")
def sub_db(dy: Value) -> Value:
    return -dy


@elementwise("y = a · b", symbol="×", ufunc=np.multiply, samples=_two)
def mul(a: Value, b: Value) -> Value:
    """Product, elementwise with broadcasting."""
    return np.multiply(a, b)


@mul.gradient("a", "da = dy · b")
def mul_da(dy: Value, b: Value) -> Value:
    return dy * b


@mul.gradient("b", "db = dy · a")
def mul_db(dy: Value, a: Value) -> Value:
    return dy * a


@elementwise("y = a / b", symbol="÷", ufunc=np.divide, floating=True, samples=_two_positive)
@np.errstate(all="ignore")
def div(a: Value, b: Value) -> Value:
    """Quotient, elementwise with broadcasting; integers divide to floats."""
    return np.divide(a, b)


@div.gradient("a", "da = dy / b")
def div_da(dy: Value, b: Value) -> Value:
    return dy / b


@div.gradient("b", "db = −dy · y / b")
def div_db(dy: Value, b: Value, out: Value) -> Value:
    return -dy * out / b


@elementwise("y = −x", symbol="−", ufunc=np.negative, samples=_one)
def neg(x: Value) -> Value:
    """Negative, elementwise."""
    return np.negative(x)


@neg.gradient("x", "dx = −dy")
def neg_dx(dy: Value) -> Value:
    return -dy


@elementwise("y = aᵇ", symbol="xʸ", ufunc=np.power, samples=_two_positive)
@np.errstate(all="ignore")
def pow(a: Value, b: Value) -> Value:
    """Power, elementwise with broadcasting."""
    return a**b  # which, unlike np.power, knows that x² is a product


@pow.gradient("a", "da = dy · b · aᵇ⁻¹")
def pow_da(dy: Value, a: Value, b: Value) -> Value:
    if isinstance(b, int | float):  # the plain number: x² should not cost a power
        return dy * (2 * a) if b == 2 else dy * (b * a ** (b - 1)) if b != 0 else dy * 0
    return dy * where(b == 0, 0.0, b * a ** where(b == 0, 1.0, b - 1))


@pow.gradient("b", "db = dy · aᵇ · ln a")
def pow_db(dy: Value, a: Value, b: Value, out: Value) -> Value:
    # 0ᵇ is 0 for all b > 0, so its gradient is 0, not 0 · (−∞)
    return dy * out * log(where((a == 0) * (b >= 0), 1.0, a))


# -- choice -------------------------------------------------------------------------


@elementwise(
    "y = a where condition else b",
    samples=(
        Sample((np.array([[True, False, True], [False, False, True]]), (2, 3), (3,))),
        Sample((np.array(True), (), (2,))),
    ),
    method=False,
    promote=(1, 2),
    inplace=False,
)
def where(condition: Value, a: Value, b: Value) -> Value:
    """Take from `a` where `condition` is True, from `b` elsewhere; all three broadcast.

    The branch not taken gets a gradient of exactly 0, but if *computing* that branch
    has an infinite gradient, 0 · ∞ is nan there, as in every framework:
    guard the argument, not the result.
    """
    return np.where(condition, a, b)


@where.gradient("a", "da = dy where condition else 0")
def where_da(dy: Value, condition: Value) -> Value:
    return where(condition, dy, 0.0)


@where.gradient("b", "db = 0 where condition else dy")
def where_db(dy: Value, condition: Value) -> Value:
    return where(condition, 0.0, dy)


@elementwise(
    "y = value where mask else x",
    samples=(Sample(((2, 3), np.array([True, False, True])), {"value": 0.5}),),
    promote=False,
)
def masked_fill(x: Value, mask: Value, value: float) -> Value:
    """Put `value` where `mask` is True.

    Parameters
    ----------
    x : Tensor
        Any shape.
    mask : bool Tensor
        Broadcasts to the shape of `x`.
    value : float
        What is put.
    """
    return np.where(mask, x.dtype.type(value), x)


@masked_fill.gradient("x", "dx = 0 where mask else dy")
def masked_fill_dx(dy: Value, mask: Value) -> Value:
    return where(mask, 0.0, dy)


# -- comparisons: no gradient --------------------------------------------------------

_two_flat = (Sample(_shapes[0]), Sample(_shapes[1]))


@elementwise("y = a = b", symbol="=", ufunc=np.equal, samples=_two_flat)
def eq(a: Value, b: Value) -> Value:
    """Whether a = b, elementwise with broadcasting."""
    return np.equal(a, b)


@elementwise("y = a ≠ b", symbol="≠", ufunc=np.not_equal, samples=_two_flat)
def ne(a: Value, b: Value) -> Value:
    """Whether a ≠ b, elementwise with broadcasting."""
    return np.not_equal(a, b)


@elementwise("y = a < b", symbol="<", ufunc=np.less, samples=_two_flat)
def lt(a: Value, b: Value) -> Value:
    """Whether a < b, elementwise with broadcasting."""
    return np.less(a, b)


@elementwise("y = a ≤ b", symbol="≤", ufunc=np.less_equal, samples=_two_flat)
def le(a: Value, b: Value) -> Value:
    """Whether a ≤ b, elementwise with broadcasting."""
    return np.less_equal(a, b)


@elementwise("y = a > b", symbol=">", ufunc=np.greater, samples=_two_flat)
def gt(a: Value, b: Value) -> Value:
    """Whether a > b, elementwise with broadcasting."""
    return np.greater(a, b)


@elementwise("y = a ≥ b", symbol="≥", ufunc=np.greater_equal, samples=_two_flat)
def ge(a: Value, b: Value) -> Value:
    """Whether a ≥ b, elementwise with broadcasting."""
    return np.greater_equal(a, b)


# -- functions of one variable --------------------------------------------------------


@elementwise("y = eˣ", ufunc=np.exp, floating=True, samples=_one)
def exp(x: Value) -> Value:
    """Exponential, elementwise."""
    return kernels.exp(x)


@exp.gradient("x", "dx = dy · y")
def exp_dx(dy: Value, out: Value) -> Value:
    return dy * out


@elementwise("y = ln x", symbol="ln", ufunc=np.log, floating=True, samples=_positive)
@np.errstate(all="ignore")
def log(x: Value) -> Value:
    """Natural logarithm, elementwise."""
    return np.log(x)


@log.gradient("x", "dx = dy / x")
def log_dx(dy: Value, x: Value) -> Value:
    return dy / x


@elementwise("y = √x", symbol="√", ufunc=np.sqrt, floating=True, samples=_positive)
@np.errstate(all="ignore")
def sqrt(x: Value) -> Value:
    """Square root, elementwise."""
    return np.sqrt(x)


@sqrt.gradient("x", "dx = dy / 2y")
def sqrt_dx(dy: Value, out: Value) -> Value:
    return dy / (2 * out)


@elementwise("y = tanh x", ufunc=np.tanh, floating=True, samples=_one)
def tanh(x: Value) -> Value:
    """Hyperbolic tangent, elementwise."""
    return kernels.tanh(x)


@tanh.gradient("x", "dx = dy · (1 − y²)")
def tanh_dx(dy: Value, out: Value) -> Value:
    return dy * (1 - out * out)


@elementwise("y = 1 / (1 + e⁻ˣ)", symbol="σ", floating=True, samples=_one)
def sigmoid(x: Value) -> Value:
    """Logistic function, elementwise."""
    return kernels.sigmoid(x)


@sigmoid.gradient("x", "dx = dy · y · (1 − y)")
def sigmoid_dx(dy: Value, out: Value) -> Value:
    return dy * (out * (1 - out))


@elementwise("y = max(x, 0)", symbol="relu", samples=_one)
def relu(x: Value) -> Value:
    """Rectified linear unit, elementwise; its slope at 0 is 0."""
    return np.maximum(x, 0)


@relu.gradient("x", "dx = 0 where x ≤ 0 else dy")
def relu_dx(dy: Value, out: Value) -> Value:
    return where(out <= 0, 0.0, dy)  # so where x is nan the gradient passes


@relu.fused_gradient
def relu_backward(dy: np.ndarray, wanted: list[int], out: np.ndarray) -> tuple[np.ndarray]:
    dx = dy.copy()
    np.copyto(dx, 0, where=out <= 0)  # a choice, not a product: 0 · ∞ must stay 0
    return (dx,)


@elementwise(
    "y = x · Φ(x), Φ the normal distribution function",
    floating=True,
    samples=(*_one, *(Sample(s.inputs, {"approximate": "tanh"}) for s in _one)),
    torch="nn.functional.gelu",
)
def gelu(x: Value, approximate: str = "none") -> Value:
    """Gaussian error linear unit, elementwise (Hendrycks and Gimpel 2016, eq. 1).

    Parameters
    ----------
    x : Tensor
        Any shape.
    approximate : {"none", "tanh"}
        The exact function, or 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is {approximate!r}; it can be 'none' or 'tanh'")
    return kernels.gelu(x, approximate == "tanh")


@gelu.gradient("x", "dx = dy · (Φ(x) + x · φ(x))")
def gelu_dx(dy: Value, x: Value, approximate: str) -> Value:
    if approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = tanh(c * (x + 0.044715 * x * x * x))
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    else:
        cdf = 0.5 * (1 + erf(x * math.sqrt(0.5)))
        density = math.sqrt(0.5 / math.pi) * exp(-0.5 * x * x)
        slope = cdf + x * density
    return dy * slope


@gelu.fused_gradient
def gelu_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, approximate: str
) -> tuple[np.ndarray]:
    return (kernels.gelu_backward(dy, x, approximate == "tanh"),)


@elementwise("y = 2/√π ∫₀ˣ e^(−t²) dt", floating=True, samples=_one)
def erf(x: Value) -> Value:
    """Error function, elementwise."""
    return kernels.erf(x)


@erf.gradient("x", "dx = dy · 2/√π · e^(−x²)")
def erf_dx(dy: Value, x: Value) -> Value:
    return dy * (2 / math.sqrt(math.pi)) * exp(-(x * x))
