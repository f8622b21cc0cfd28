"""Activations: the functions between the layers."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value, plain
from .axes import Shape
from .choice import choose
from .define import elementwise, one
from .functions import erf, exp, sigmoid, tanh
from .shape import from_left, reshape, sum_to

#: Of the self-normalising unit (Klambauer et al. 2017, eq. 14).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


# -- rectifiers ---------------------------------------------------------------------


@elementwise(
    "y = max(x, 0)",
    derivation=(
        "Above 0 the function is x, with slope 1; below 0 it is constant, with slope 0. At 0 "
        "itself there is no derivative, and 0 is taken, as everywhere. The choice is made, "
        "not multiplied: 0 · ∞ would be nan."
    ),
    symbol="relu",
    samples=one(),
)
def relu(x: Value) -> Value:
    """Rectified linear unit, elementwise; its slope at 0 is 0."""
    return np.maximum(x, _zero(x.dtype))


@cache
def _zero(dtype: np.dtype[Any]) -> np.ndarray:
    """Return 0 as an array, which a ufunc takes in half the time that a Python number needs."""
    return np.zeros((), dtype)


@relu.gradient("x", "dx = 0 where x ≤ 0 else dy")
def relu_dx(dy: Value, out: Value) -> Value:
    return choose(plain(out) <= 0, 0.0, dy)  # so where x is nan the gradient passes


@relu.fused_gradient
def relu_backward(dy: np.ndarray, wanted: list[int], out: np.ndarray) -> tuple[np.ndarray]:
    return (kernels.relu_backward(dy, out),)


@elementwise(
    "y = x where x > 0 else negative_slope · x",
    samples=(*one(), *one(negative_slope=0.3)),
    floating=True,
    torch="nn.functional.leaky_relu",
)
def leaky_relu(x: Value, negative_slope: float = 0.01) -> Value:
    """Rectified linear unit with a slope on the negative side too (Maas et al. 2013).

    Parameters
    ----------
    x : Tensor
        Any shape.
    negative_slope : float, default 0.01
        The slope for x ≤ 0.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.leaky_relu(tm.tensor([-1.0, 1.0]), 0.5)
    tensor([-0.5,  1. ])
    """
    return np.where(x > 0, x, x * negative_slope)


@leaky_relu.gradient("x", "dx = dy where x > 0 else negative_slope · dy")
def leaky_relu_dx(dy: Value, x: Value, negative_slope: float) -> Value:
    return choose(plain(x) > 0, dy, dy * negative_slope)


def _slope(weight: Any, ndim: int) -> Any:
    """Lay the weights along dim 1, where the channels are."""
    return reshape(weight, () if math.prod(weight.shape) == 1 else (-1, *[1] * (ndim - 2)))


def _axis_of_x(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    return axis if which == 0 else None


@op(
    "y = x where x > 0 else weight · x",
    axis=_axis_of_x,
    samples=(
        Sample(((2, 3), (1,))),
        Sample(((2, 3), (3,))),
        Sample(((2, 3, 4), (3,))),
        Sample(((), ())),
        Sample(((0, 2), (2,))),
    ),
)
def prelu(x: Value, weight: Value) -> Value:
    """Rectified linear unit with a learnt slope on the negative side (He et al. 2015, eq. 1).

    Parameters
    ----------
    x : Tensor
        ``(N, C, …)``, or any shape with one weight.
    weight : Tensor
        ``(C,)``, or one number.

    Raises
    ------
    ValueError
        There is neither one weight, nor one per channel.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.prelu(tm.tensor([-1.0, 1.0]), tm.tensor([0.25]))
    tensor([-0.25,  1.  ])
    """
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise ValueError(
            f"weight has shape {weight.shape}, expected (1,) or ({channels},), one per channel"
        )
    return np.where(x > 0, x, x * _slope(weight, x.ndim))


@prelu.gradient("x", "dx = dy where x > 0 else weight · dy")
def prelu_dx(dy: Value, x: Value, weight: Value) -> Value:
    return choose(plain(x) > 0, dy, dy * _slope(weight, x.ndim))


@prelu.gradient("weight", "dweight = Σ x · dy where x ≤ 0")
def prelu_dweight(dy: Value, x: Value, weight: Value) -> Value:
    shape = _slope(plain(weight), x.ndim).shape
    return reshape(sum_to(choose(plain(x) > 0, 0.0, x) * dy, shape), plain(weight).shape)


# -- with an exponential on the negative side ---------------------------------------


def _negative(x: Value) -> Value:
    """Cut what is above 0, where an exponential that nobody takes would overflow."""
    return choose(plain(x) <= 0, x, 0.0)


@elementwise(
    "y = x where x > 0 else alpha · (eˣ − 1)",
    samples=(*one(), *one(alpha=0.5)),
    floating=True,
    torch="nn.functional.elu",
)
def elu(x: Value, alpha: float = 1.0) -> Value:
    """Exponential linear unit, elementwise (Clevert et al. 2015, eq. 15).

    Parameters
    ----------
    x : Tensor
        Any shape.
    alpha : float, default 1
        −alpha is the limit for x → −∞.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.elu(tm.tensor([float("-inf"), 1.0]), alpha=0.5)
    tensor([-0.5,  1. ])
    """
    return np.where(x <= 0, alpha * np.expm1(x), x)


@elu.gradient("x", "dx = alpha · eˣ · dy where x ≤ 0 else dy")
def elu_dx(dy: Value, x: Value, alpha: float) -> Value:
    return choose(plain(x) <= 0, dy * (alpha * exp(_negative(x))), dy)


@elementwise(
    "y = s · x where x > 0 else s · α · (eˣ − 1)",
    samples=one(),
    floating=True,
)
def selu(x: Value) -> Value:
    """Self-normalising exponential linear unit, elementwise (Klambauer et al. 2017, eq. 2)."""
    return np.where(x <= 0, _SELU_SCALE * _SELU_ALPHA * np.expm1(x), _SELU_SCALE * x)


@selu.gradient("x", "dx = s · α · eˣ · dy where x ≤ 0 else s · dy")
def selu_dx(dy: Value, x: Value) -> Value:
    below = dy * (_SELU_SCALE * _SELU_ALPHA * exp(_negative(x)))
    return choose(plain(x) <= 0, below, dy * _SELU_SCALE)


@elementwise(
    "y = x where x > 0 else alpha · (e^(x/alpha) − 1)",
    samples=(*one(), *one(alpha=0.5)),
    floating=True,
)
def celu(x: Value, alpha: float = 1.0) -> Value:
    """Exponential linear unit with a continuous slope, elementwise (Barron 2017, eq. 2).

    Parameters
    ----------
    x : Tensor
        Any shape.
    alpha : float, default 1
        −alpha is the limit for x → −∞; not 0.

    Raises
    ------
    ValueError
        `alpha` is 0.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.celu(tm.tensor([float("-inf"), 1.0]), alpha=0.5)
    tensor([-0.5,  1. ])
    """
    if alpha == 0:
        raise ValueError("alpha is 0, by which x is divided; give another")
    return np.where(x <= 0, alpha * np.expm1(x / alpha), x)


@celu.gradient("x", "dx = e^(x/alpha) · dy where x ≤ 0 else dy")
def celu_dx(dy: Value, x: Value, alpha: float) -> Value:
    return choose(plain(x) <= 0, dy * exp(_negative(x) / alpha), dy)


# -- gates --------------------------------------------------------------------------


@elementwise("y = x · σ(x)", samples=one(), floating=True, torch="nn.functional.silu")
def silu(x: Value) -> Value:
    """Sigmoid linear unit, or swish, elementwise (Hendrycks and Gimpel 2016)."""
    return kernels.silu(x)


@silu.gradient("x", "dx = dy · σ(x) · (1 + x · (1 − σ(x)))")
def silu_dx(dy: Value, x: Value) -> Value:
    s = sigmoid(x)
    return dy * (s * (1 + x * (1 - s)))


@silu.fused_gradient
def silu_backward(dy: np.ndarray, wanted: list[int], x: np.ndarray) -> tuple[np.ndarray]:
    return (kernels.silu_backward(dy, x),)


@elementwise("y = x · tanh(ln(1 + eˣ))", samples=one(), floating=True, torch="nn.functional.mish")
def mish(x: Value) -> Value:
    """Smooth activation with a dip below 0, elementwise (Misra 2019, eq. 1)."""
    return x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


@mish.gradient("x", "dx = dy · (t + x · σ(x) · (1 − t²)), t = tanh(ln(1 + eˣ))")
def mish_dx(dy: Value, x: Value) -> Value:
    t = tanh(softplus(x))
    return dy * (t + x * sigmoid(x) * (1 - t * t))


@elementwise(
    "y = x · Φ(x), Φ the normal distribution function",
    derivation=(
        "The product rule on x · Φ(x): Φ(x) · 1 + x · Φ′(x), and the derivative of the "
        "distribution function Φ is the density φ(x) = e^(−x²/2)/√(2π)."
    ),
    samples=(*one(), *one(approximate="tanh")),
    floating=True,
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

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.gelu(tm.tensor([-10.0, 0.0, 10.0]).double()).round(decimals=3)
    tensor([-0.,  0., 10.], dtype=float64)
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


def glu(input: Any, dim: int = -1) -> Any:
    """Gate one half of the channels by the other: a · σ(b) (Dauphin et al. 2017, eq. 1).

    Parameters
    ----------
    input : Tensor
        The halves a and b, along `dim`.
    dim : int, default -1
        Which axis to halve.

    Raises
    ------
    ValueError
        The size along `dim` is odd, or `input` is 0-d.
    IndexError
        `dim` is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.glu(tm.tensor([4.0, 0.0]))
    tensor([2.])
    """
    if input.ndim == 0:
        raise ValueError("glu: a 0-d tensor has no axis to halve")
    dim = from_left(dim, input.ndim)
    half, odd = divmod(input.shape[dim], 2)
    if odd:
        raise ValueError(f"glu: the size along dim {dim} of shape {input.shape} is odd; halve it")
    before = (slice(None),) * dim
    return input[(*before, slice(half))] * sigmoid(input[(*before, slice(half, None))])


# -- smooth steps -------------------------------------------------------------------


@elementwise(
    "y = ln(1 + e^(beta · x)) / beta",
    samples=(*one(), *one(beta=2.0, threshold=1.0), *one(beta=-0.5)),
    floating=True,
    torch="nn.functional.softplus",
)
def softplus(x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """Smooth rectifier, elementwise.

    Parameters
    ----------
    x : Tensor
        Any shape.
    beta : float, default 1
        How sharp the bend is.
    threshold : float, default 20
        Where beta · x is above it, the result is `x`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.softplus(tm.tensor([-200.0, 200.0]))
    tensor([  0., 200.])
    """
    z = x * beta
    return np.where(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)


@softplus.gradient("x", "dx = dy · σ(beta · x)")
def softplus_dx(dy: Value, x: Value, beta: float, threshold: float) -> Value:
    return choose(plain(x) * beta > threshold, dy, dy * sigmoid(x * beta))


@elementwise("y = ln σ(x)", samples=one(), floating=True, torch="nn.functional.logsigmoid")
def logsigmoid(x: Value) -> Value:
    """Logarithm of the logistic function, without underflow, elementwise."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@logsigmoid.gradient("x", "dx = dy · σ(−x)")
def logsigmoid_dx(dy: Value, x: Value) -> Value:
    return dy * sigmoid(-x)


@elementwise("y = x / (1 + |x|)", samples=one(), floating=True, torch="nn.functional.softsign")
def softsign(x: Value) -> Value:
    """Step from −1 to 1 with slow tails, elementwise."""
    return x / (1 + np.abs(x))


@softsign.gradient("x", "dx = dy / (1 + |x|)²")
def softsign_dx(dy: Value, x: Value) -> Value:
    size = 1 + abs(x)
    return dy / (size * size)


@elementwise("y = x − tanh x", samples=one(), floating=True, torch="nn.functional.tanhshrink")
def tanhshrink(x: Value) -> Value:
    """Identity less its hyperbolic tangent, elementwise."""
    return x - np.tanh(x)


@tanhshrink.gradient("x", "dx = dy · tanh² x")
def tanhshrink_dx(dy: Value, x: Value) -> Value:
    t = tanh(x)
    return dy * (t * t)
