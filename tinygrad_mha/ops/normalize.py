"""Operations that bring an axis to a common scale: softmax and layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..engine import Op, Sample, Tensor, op
from ..engine.modes import thread
from ..engine.op import Value
from .axes import batch_axis, masked_axis, same_axis
from .elementwise import exp, sqrt
from .reduce import mean, sum
from .shape import sum_to

_samples = (
    Sample(((3, 4),), {"dim": -1}),
    Sample(((2, 3, 4),), {"dim": 1}),
    Sample(((2, 5),), {"dim": 0}, domain=(-30.0, 30.0)),
    Sample(((1,),), {"dim": 0}),
    Sample(((),), {"dim": 0}),
    Sample(((2, 0),), {"dim": 1}),
    Sample(((0, 3),), {"dim": -1}),
)


def _floating(x: Value, dtype: Any) -> Value:
    """Convert first, where a dtype is asked for; integers have no exponential of their own."""
    if dtype is not None:
        x = x.astype(dtype, copy=False)
    if x.dtype.kind != "f":
        raise TypeError(
            f"x is {x.dtype}, expected floats; convert it with .float(), or say dtype='float32'"
        )
    return x


class _Softmax(Op[Any]):
    """Called with a small matrix, it goes to the kernel without the steps that recording needs.

    Of the softmax of a 64 × 64 matrix, those would be half of the time.
    """

    def __call__(self, x: Any = None, dim: int = -1, dtype: Any = None, **named: Any) -> Any:
        if x is None or named:
            return super().__call__(*([] if x is None else [x]), dim=dim, dtype=dtype, **named)
        if type(x) is Tensor:
            if x._view is not None:
                x.refresh()
            if not (x._requires_grad and thread.modes.grad_enabled):
                y = kernels.small_softmax(x.data, dim, dtype)
                if y is not None:
                    return Tensor(y)
        return super().__call__(x, dim, dtype)


@op(
    "yᵢ = eˣⁱ / Σⱼ eˣʲ",
    kind=_Softmax,
    derivation=(
        "With s = Σⱼ eˣʲ, yᵢ = eˣⁱ / s. The quotient rule gives ∂yᵢ/∂xⱼ = yᵢ · ([i = j] − "
        "yⱼ): raising xᵢ raises yᵢ, and through the sum lowers all, in proportion to what "
        "they have. Then dxⱼ = Σᵢ dyᵢ ∂yᵢ/∂xⱼ = yⱼ · (dyⱼ − Σᵢ dyᵢ yᵢ). The second term is "
        "one number per row, so no matrix of derivatives is ever made. The gradients of a row "
        "sum to 0: a constant added to all x changes nothing."
    ),
    axis=same_axis,
    samples=_samples,
)
def softmax(x: Value, dim: int = -1, dtype: Any = None) -> Value:
    """Positive numbers with sum 1 along an axis, in the proportions of exp(x).

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, default -1
        The axis.
    dtype : dtype, optional
        Convert `x` to it first.

    Raises
    ------
    IndexError
        `dim` is out of range.
    TypeError
        `x` is not floating, nor is it to be converted.

    Notes
    -----
    Where all of `x` is −∞ the result is nan, as in PyTorch; for attention, where a row
    without a visible key has weights 0, see :func:`masked_softmax`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.softmax(tm.zeros(4))
    tensor([0.25, 0.25, 0.25, 0.25])
    """
    return kernels.softmax(_floating(x, dtype), dim)


@softmax.gradient("x", "dxᵢ = yᵢ · (dyᵢ − Σⱼ dyⱼ yⱼ)")
def softmax_dx(dy: Value, out: Value, dim: int) -> Value:
    return out * (dy - sum(dy * out, dim, True))


@softmax.fused_gradient
def softmax_backward(
    dy: np.ndarray, wanted: list[int], out: np.ndarray, dim: int
) -> tuple[np.ndarray]:
    return (kernels.softmax_backward(dy, out, dim),)


@op(
    "yᵢ = eˣⁱ / Σⱼ eˣʲ over the visible j, else 0",
    symbol="mask, softmax",
    axis=masked_axis,
    samples=(
        Sample(((3, 4), np.tril(np.ones((3, 4), bool)))),
        Sample(((2, 2, 3, 3), np.array([[True, False, True], [False] * 3, [True] * 3]))),
        Sample(((2, 3), np.ones((2, 1), bool))),
    ),
    torch="ours:masked_softmax",
    method=False,
)
def masked_softmax(x: Value, mask: Value) -> Value:
    """Softmax over the last axis, among the keys that may be seen.

    Parameters
    ----------
    x : Tensor
        Scores ``(..., L, S)``.
    mask : bool Tensor
        Broadcasts to the scores' shape; True = may attend.

    Returns
    -------
    Tensor
        Weights ``(..., L, S)``; each row sums to 1, or is exactly 0 where nothing may be seen.

    Raises
    ------
    TypeError
        The mask is not boolean.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.masked_softmax(tm.zeros(2, 2), tm.tensor([[True, False], [False, False]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    if mask.dtype != np.bool_:
        raise TypeError(f"mask has dtype {mask.dtype}, expected bool with True = may attend")
    return kernels.softmax(x, -1, mask=mask)


@masked_softmax.gradient("x", "dxᵢ = yᵢ · (dyᵢ − Σⱼ dyⱼ yⱼ)")
def masked_softmax_dx(dy: Value, out: Value) -> Value:
    return softmax_dx(dy, out, -1)


@masked_softmax.fused_gradient
def masked_softmax_backward(
    dy: np.ndarray, wanted: list[int], out: np.ndarray
) -> tuple[np.ndarray, None]:
    return kernels.softmax_backward(dy, out, -1), None


@op(
    "yᵢ = xᵢ − ln Σⱼ eˣʲ",
    derivation=(
        "yᵢ = xᵢ − ln Σⱼ eˣʲ. The derivative of the logarithm of the sum with respect to xⱼ "
        "is eˣʲ / Σ eˣ = eʸʲ, so ∂yᵢ/∂xⱼ = [i = j] − eʸʲ, and dxⱼ = dyⱼ − eʸʲ · Σᵢ dyᵢ."
    ),
    axis=same_axis,
    samples=_samples,
)
def log_softmax(x: Value, dim: int = -1, dtype: Any = None) -> Value:
    """Logarithm of :func:`softmax`, exact where the softmax itself would round to 0.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, default -1
        The axis.
    dtype : dtype, optional
        Convert `x` to it first.

    Raises
    ------
    IndexError
        `dim` is out of range.
    TypeError
        `x` is not floating, nor is it to be converted.
    """
    return kernels.log_softmax(_floating(x, dtype), dim)


@log_softmax.gradient("x", "dxᵢ = dyᵢ − eʸⁱ · Σⱼ dyⱼ")
def log_softmax_dx(dy: Value, out: Value, dim: int) -> Value:
    return dy - exp(out) * sum(dy, dim, True)


@log_softmax.fused_gradient
def log_softmax_backward(
    dy: np.ndarray, wanted: list[int], out: np.ndarray, dim: int
) -> tuple[np.ndarray]:
    return (kernels.log_softmax_backward(dy, out, dim),)


def softmin(x: Any, dim: int = -1, dtype: Any = None) -> Any:
    """Softmax of −x: the smallest gets the most.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int, default -1
        The axis.
    dtype : dtype, optional
        Convert `x` to it first.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.softmin(tm.zeros(4))
    tensor([0.25, 0.25, 0.25, 0.25])
    """
    return softmax(-x, dim, dtype)


@op(
    "y = (x − μ) / √(σ² + ε) · w + b",
    derivation=(
        "Let x̂ = (x − μ)/σ and g = dy · w, the gradient at x̂. Beside its own x̂ᵢ, xᵢ moves "
        "the mean, which shifts all x̂ by −1/(nσ), and the deviation, which scales all of "
        "them: ∂σ/∂xᵢ = x̂ᵢ/n. Adding the three ways up, dx = (g − mean(g) − x̂ · mean(g · "
        "x̂)) / σ. In other words, the parts of g that would only shift or only stretch the "
        "row are taken out, since the norm removes them. w and b act on every row alike, so "
        "their gradients are sums over the rows."
    ),
    symbol="layer norm",
    axis=batch_axis,
    inputs=3,
    extras=("mu", "rstd"),
    samples=(
        Sample(((2, 3, 4), (4,), (4,))),
        Sample(((3, 5), None, None)),
        Sample(((3, 5), (5,), None), {"eps": 0.1}),
        Sample(((0, 5), (5,), (5,))),
    ),
    torch="ours:layer_norm",
    method=False,
)
def layer_norm(
    x: Value, weight: Value | None = None, bias: Value | None = None, eps: float = 1e-5
) -> Value:
    """Bring the last axis to mean 0 and variance 1, then scale and shift (Ba et al. 2016, eq. 4).

    Parameters
    ----------
    x : Tensor
        ``(..., d)``.
    weight, bias : Tensor, optional
        ``(d,)``.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        ``(..., d)``.

    Raises
    ------
    ValueError
        `weight` or `bias` is not of shape ``(d,)``.
    TypeError
        They are not of the dtype of `x`.
    """
    return kernels.layer_norm(x, weight, bias, eps)


def _normalised(x: Value, eps: float) -> tuple[Value, Value]:
    """Return (x − μ) / σ, and 1 / σ."""
    centred = x - mean(x, -1, True)
    rstd = 1.0 / sqrt(mean(centred * centred, -1, True) + eps)
    return centred * rstd, rstd


@layer_norm.gradient("x", "dx = (g − mean(g) − x̂ · mean(g · x̂)) / σ with g = dy · w")
def layer_norm_dx(dy: Value, x: Value, weight: Value | None, eps: float) -> Value:
    hat, rstd = _normalised(x, eps)
    g = dy if weight is None else dy * weight
    return (g - mean(g, -1, True) - hat * mean(g * hat, -1, True)) * rstd


@layer_norm.gradient("weight", "dw = Σ dy · x̂ over all but the last axis")
def layer_norm_dweight(dy: Value, x: Value, eps: float) -> Value:
    return sum_to(dy * _normalised(x, eps)[0], x.shape[-1:])


@layer_norm.gradient("bias", "db = Σ dy over all but the last axis")
def layer_norm_dbias(dy: Value) -> Value:
    return sum_to(dy, dy.shape[-1:])


@layer_norm.fused_gradient
def layer_norm_backward(
    dy: np.ndarray,
    wanted: list[int],
    x: np.ndarray,
    weight: np.ndarray | None,
    mu: np.ndarray,
    rstd: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    dx, dweight, dbias = kernels.layer_norm_backward(dy, x, weight, mu, rstd)
    return dx, dweight, dbias
