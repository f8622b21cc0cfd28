"""Arithmetic of two numbers: sums, products, quotients, remainders, powers."""

from __future__ import annotations

import numpy as np

from ..engine import Sample
from ..engine.op import Value
from .choice import choose, nothing
from .define import elementwise, two
from .functions import exp, log

# -- sums, products -----------------------------------------------------------------


@elementwise("y = a + b", symbol="+", ufunc=np.add, samples=(*two(), *two(alpha=-2.5)))
def add(a: Value, b: Value, alpha: float = 1) -> Value:
    """Sum a + alpha · b, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        Shapes that broadcast.
    alpha : number, default 1
        Factor of `b`.

    Raises
    ------
    TypeError
        `alpha` is not an integer, but both `a` and `b` are.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.add(tm.tensor([1.0, 2.0]), 10.0)
    tensor([11., 12.])
    >>> tm.add(tm.tensor([1.0, 2.0]), 10.0, alpha=0.5)
    tensor([6., 7.])
    """
    return np.add(a, b) if alpha == 1 else np.add(a, _scaled(a, b, alpha))


def _scaled(a: Value, b: Value, alpha: float) -> Value:
    if isinstance(alpha, float) and not any(_is_float(x) for x in (a, b)):
        raise TypeError(f"alpha is {alpha}, expected an integer for integers")
    return b * alpha


def _is_float(x: Value) -> bool:
    return x.dtype.kind == "f" if hasattr(x, "dtype") else isinstance(x, float)


@add.gradient("a", "da = dy")
def add_da(dy: Value) -> Value:
    return dy


@add.gradient("b", "db = alpha · dy")
def add_db(dy: Value, alpha: float) -> Value:
    return dy if alpha == 1 else dy * alpha


@elementwise("y = a − b", symbol="−", ufunc=np.subtract, samples=(*two(), *two(alpha=-2.5)))
def sub(a: Value, b: Value, alpha: float = 1) -> Value:
    """Difference a − alpha · b, elementwise with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        Shapes that broadcast.
    alpha : number, default 1
        Factor of `b`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.sub(tm.tensor([1.0, 2.0]), 10.0, alpha=2)
    tensor([-19., -18.])
    """
    return np.subtract(a, b if alpha == 1 else _scaled(a, b, alpha))


@sub.gradient("a", "da = dy")
def sub_da(dy: Value) -> Value:
    return dy


@sub.gradient("b", "db = −alpha · dy")
def sub_db(dy: Value, alpha: float) -> Value:
    return -dy if alpha == 1 else dy * -alpha


@elementwise(
    "y = a · b",
    derivation=(
        "y = a · b is linear in each factor: ∂y/∂a = b and ∂y/∂b = a. Where a factor was "
        "broadcast it met several elements, and their gradients are summed."
    ),
    symbol="×",
    ufunc=np.multiply,
    samples=two(),
)
def mul(a: Value, b: Value) -> Value:
    """Product, elementwise with broadcasting."""
    return np.multiply(a, b)


@mul.gradient("a", "da = dy · b")
def mul_da(dy: Value, b: Value) -> Value:
    return dy * b


@mul.gradient("b", "db = dy · a")
def mul_db(dy: Value, a: Value) -> Value:
    return dy * a


@elementwise(
    "y = start + weight · (end − start)",
    samples=(
        Sample(((2, 3), (2, 3), 0.25)),
        Sample(((2, 1), (3,), (2, 3))),
        Sample(((), (), ())),
        Sample(((0, 2), (2,), 0.75)),
    ),
)
def lerp(start: Value, end: Value, weight: Value) -> Value:
    """Interpolate linearly, elementwise with broadcasting.

    Parameters
    ----------
    start, end : Tensor
        What is returned for the weights 0 and 1.
    weight : float or Tensor
        Where between them.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.lerp(tm.tensor([0.0, 10.0]), tm.tensor([10.0, 20.0]), 0.5)
    tensor([ 5., 15.])
    """
    way = np.subtract(end, start)
    # from the nearer end, so that weight 1 gives `end` exactly
    return np.where(np.less(weight, 0.5), start + weight * way, end - way * (1 - weight))


@lerp.gradient("start", "dstart = dy · (1 − weight)")
def lerp_dstart(dy: Value, weight: Value) -> Value:
    return dy * (1 - weight)


@lerp.gradient("end", "dend = dy · weight")
def lerp_dend(dy: Value, weight: Value) -> Value:
    return dy * weight


@lerp.gradient("weight", "dweight = dy · (end − start)")
def lerp_dweight(dy: Value, start: Value, end: Value) -> Value:
    return dy * (end - start)


# -- quotients, remainders ----------------------------------------------------------


def _not_by_zero(name: str, a: Value, b: Value) -> None:
    """Integers have no infinity to answer with."""
    if not (_is_float(a) or _is_float(b)) and not np.all(b) and np.size(a):
        raise RuntimeError(
            f"{name}: integer division by zero in b; guard it, or divide floats, which give inf"
        )


@elementwise(
    "y = a / b",
    derivation=(
        "y = a · b⁻¹: ∂y/∂a = 1/b. By the power rule ∂y/∂b = −a/b², which is −y/b; written "
        "so, it needs no square."
    ),
    symbol="÷",
    ufunc=np.divide,
    samples=(
        *two(0.3, 3.0),
        *two(0.3, 3.0, rounding_mode="floor"),
        *two(0.3, 3.0, rounding_mode="trunc"),
    ),
)
def div(a: Value, b: Value, rounding_mode: str | None = None) -> Value:
    """Quotient, elementwise with broadcasting; integers divide to floats unless rounded.

    Parameters
    ----------
    a, b : Tensor or number
        Shapes that broadcast.
    rounding_mode : {None, "trunc", "floor"}
        Leave the quotient, round it toward zero, or down. A rounded one has gradient 0.

    Raises
    ------
    ValueError
        Another rounding mode.
    RuntimeError
        Integers are divided by zero, with rounding.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.div(tm.tensor([-7, 7]), 2)
    tensor([-3.5,  3.5])
    >>> tm.div(tm.tensor([-7, 7]), 2, rounding_mode="floor")
    tensor([-4,  3])
    """
    if rounding_mode is None:
        if _is_float(a) or _is_float(b):
            return np.divide(a, b)
        return np.divide(a, b, dtype=np.float32, casting="unsafe")
    if rounding_mode not in ("trunc", "floor"):
        raise ValueError(f"rounding_mode is {rounding_mode!r}; it can be None, 'trunc' or 'floor'")
    _not_by_zero("div", a, b)
    if rounding_mode == "floor":
        return np.floor_divide(a, b)
    if _is_float(a) or _is_float(b):
        return np.trunc(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    return quotient + ((quotient < 0) & (quotient * b != a))


@div.gradient("a", "da = dy / b, or 0 where rounded")
def div_da(dy: Value, b: Value, rounding_mode: str | None) -> Value:
    return dy / b if rounding_mode is None else nothing(dy)


@div.gradient("b", "db = −dy · y / b, or 0 where rounded")
def div_db(dy: Value, b: Value, out: Value, rounding_mode: str | None) -> Value:
    return -dy * out / b if rounding_mode is None else nothing(dy)


@elementwise(
    "y = ⌊a / b⌋", symbol="//", ufunc=np.floor_divide, samples=two(0.3, 3.0), torch="ours:floor"
)
def floor_divide(a: Value, b: Value) -> Value:
    """Quotient rounded down, elementwise with broadcasting; its gradient is 0.

    Raises
    ------
    RuntimeError
        Integers are divided by zero.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([-7, 7]) // 2
    tensor([-4,  3])
    """
    _not_by_zero("floor_divide", a, b)
    return np.floor_divide(a, b)


@floor_divide.gradient("a", "da = 0")
def floor_divide_da(dy: Value) -> Value:
    return nothing(dy)


@floor_divide.gradient("b", "db = 0")
def floor_divide_db(dy: Value) -> Value:
    return nothing(dy)


@elementwise("y = a − b · ⌊a / b⌋", symbol="%", ufunc=np.remainder, samples=two(0.3, 3.0))
def remainder(a: Value, b: Value) -> Value:
    """Remainder with the sign of `b`, as Python's ``%``, elementwise with broadcasting.

    Raises
    ------
    RuntimeError
        Integers are divided by zero.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([-7.0, 7.0]) % 3
    tensor([2., 1.])
    """
    _not_by_zero("remainder", a, b)
    return np.remainder(a, b)


@remainder.gradient("a", "da = dy")
def remainder_da(dy: Value) -> Value:
    return dy


@remainder.gradient("b", "db = −dy · ⌊a / b⌋")
def remainder_db(dy: Value, a: Value, b: Value) -> Value:
    return -dy * div(a, b, "floor")


@elementwise("y = a − b · trunc(a / b)", ufunc=np.fmod, samples=two(0.3, 3.0))
def fmod(a: Value, b: Value) -> Value:
    """Remainder with the sign of `a`, as C's ``fmod``, elementwise with broadcasting.

    Raises
    ------
    RuntimeError
        Integers are divided by zero.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.fmod(tm.tensor([-7.0, 7.0]), 3)
    tensor([-1.,  1.])
    """
    _not_by_zero("fmod", a, b)
    return np.fmod(a, b)


@fmod.gradient("a", "da = dy")
def fmod_da(dy: Value) -> Value:
    return dy


@fmod.gradient("b", "db = −dy · trunc(a / b)")
def fmod_db(dy: Value, a: Value, b: Value) -> Value:
    return -dy * div(a, b, "trunc")


# -- powers, and functions of two ---------------------------------------------------


@elementwise(
    "y = aᵇ",
    symbol="xʸ",
    ufunc=np.power,
    samples=(*two(0.3, 3.0), Sample(((2, 3), 2)), Sample(((2,), -0.5), {}, (0.3, 3.0))),
)
def pow(a: Value, b: Value) -> Value:
    """Power, elementwise with broadcasting.

    Raises
    ------
    ValueError
        Integers are raised to a negative number that is an integer; make one of them float.
    TypeError
        Both are boolean.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([1.0, 2.0, 3.0]) ** 2
    tensor([1., 4., 9.])
    """
    if isinstance(b, float) and b == -0.5:
        return 1 / np.sqrt(a)
    if getattr(b, "dtype", None) is not None and b.dtype.kind == "i" and (b < 0).any():
        return _whole_power(a, b)
    y = a**b  # which, unlike np.power, knows that x² is a product
    if getattr(y, "dtype", None) == np.int8 and np.result_type(a, b) == np.bool_:
        raise TypeError("booleans have no powers; convert one of them, for example with .long()")
    return y


def _whole_power(a: Value, b: Value) -> Value:
    """Powers of integers, as integers: what lies between −1 and 1 is 0, as in PyTorch."""
    unit = np.abs(a) == 1
    return np.where((b >= 0) | unit, a ** np.abs(b), 0)


@pow.gradient("a", "da = dy · b · aᵇ⁻¹")
def pow_da(dy: Value, a: Value, b: Value) -> Value:
    if isinstance(b, int | float):  # the plain number: x² should not cost a power
        if b == 0:
            return nothing(dy)
        return dy * (2 * a) if b == 2 else dy * (b * pow(a, b - 1))
    return dy * choose(b == 0, 0.0, b * a ** choose(b == 0, 1.0, b - 1))


@pow.gradient("b", "db = dy · aᵇ · ln a")
def pow_db(dy: Value, a: Value, b: Value, out: Value) -> Value:
    # 0ᵇ is 0 for all b > 0, so its gradient is 0, not 0 · (−∞)
    return dy * out * log(choose((a == 0) & (b >= 0), 1.0, a))


@elementwise("y = the angle of (b, a)", ufunc=np.arctan2, floating=True, samples=two(0.3, 3.0))
def atan2(a: Value, b: Value) -> Value:
    """Angle of the point with abscissa `b` and ordinate `a`, from −π to π.

    At (0, 0) its gradient is 0.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.atan2(tm.tensor([0.0, 1.0]), tm.tensor([1.0, 0.0]))
    tensor([0.       , 1.5707964])
    """
    return np.arctan2(a, b)


def _squared_radius(a: Value, b: Value) -> Value:
    square = a * a + b * b
    return choose(square == 0, 1.0, square)


@atan2.gradient("a", "da = dy · b / (a² + b²)")
def atan2_da(dy: Value, a: Value, b: Value) -> Value:
    return dy * (b / _squared_radius(a, b))


@atan2.gradient("b", "db = −dy · a / (a² + b²)")
def atan2_db(dy: Value, a: Value, b: Value) -> Value:
    return -dy * (a / _squared_radius(a, b))


@elementwise("y = √(a² + b²)", ufunc=np.hypot, floating=True, samples=two(0.3, 3.0))
def hypot(a: Value, b: Value) -> Value:
    """Length of the hypotenuse over two legs, without overflow on the way.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.hypot(tm.tensor([3.0]), tm.tensor([4.0]))
    tensor([5.])
    """
    return np.hypot(a, b)


@hypot.gradient("a", "da = dy · a / y")
def hypot_da(dy: Value, a: Value, out: Value) -> Value:
    return dy * (a / out)


@hypot.gradient("b", "db = dy · b / y")
def hypot_db(dy: Value, b: Value, out: Value) -> Value:
    return dy * (b / out)


@elementwise("y = ln(eᵃ + eᵇ)", ufunc=np.logaddexp, floating=True, samples=two())
def logaddexp(a: Value, b: Value) -> Value:
    """Logarithm of the sum of two exponentials, without overflow on the way.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.logaddexp(tm.tensor([1000.0]), tm.tensor([0.0]))
    tensor([1000.])
    """
    return np.logaddexp(a, b)


@logaddexp.gradient("a", "da = dy / (1 + eᵇ⁻ᵃ)")
def logaddexp_da(dy: Value, a: Value, b: Value) -> Value:
    return dy / (1 + exp(b - a))


@logaddexp.gradient("b", "db = dy / (1 + eᵃ⁻ᵇ)")
def logaddexp_db(dy: Value, a: Value, b: Value) -> Value:
    return dy / (1 + exp(a - b))
