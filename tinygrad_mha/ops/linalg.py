"""Matrix products. All of them run on the one matmul kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value
from .axes import Shape, batch_axis, matmul_axis
from .reduce import sum
from .shape import reshape, sum_to, unsqueeze


@op(
    "C = A · B",
    derivation=(
        "Cᵢⱼ = Σₖ Aᵢₖ Bₖⱼ, so Aᵢₖ reaches every element of row i of C, and Cᵢⱼ by the factor "
        "Bₖⱼ. By the chain rule dAᵢₖ = Σⱼ dCᵢⱼ Bₖⱼ, which is a row of dC times a column of "
        "Bᵀ: dA = dC · Bᵀ. In the same way Bₖⱼ reaches column j, dBₖⱼ = Σᵢ Aᵢₖ dCᵢⱼ. Where a "
        "batch axis was broadcast, its gradients are summed."
    ),
    ufunc=np.matmul,
    symbol="@",
    axis=matmul_axis,
    samples=(
        Sample(((2, 3), (3, 4))),
        Sample(((3,), (3,))),
        Sample(((3,), (2, 3, 4))),
        Sample(((2, 2, 3), (3,))),
        Sample(((2, 1, 2, 3), (3, 3, 2))),
        Sample(((2, 0), (0, 3))),
    ),
)
def matmul(a: Value, b: Value) -> Value:
    """Matrix product over the last two axes; axes before them broadcast.

    Parameters
    ----------
    a : Tensor
        ``(..., n, k)`` or ``(k,)``.
    b : Tensor
        ``(..., k, m)`` or ``(k,)``.

    Returns
    -------
    Tensor
        ``(..., n, m)``, without the axis that a 1-d operand does not have.

    Raises
    ------
    ValueError
        The inner sizes differ, the batch axes do not broadcast, or an operand is 0-d.
    TypeError
        The dtypes differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> (tm.ones(2, 3) @ tm.ones(3, 4)).shape
    (2, 4)
    """
    return kernels.matmul(a, b)


@matmul.gradient("a", "dA = dC · Bᵀ")
def matmul_da(dy: Value, b: Value, a_shape: Shape) -> Value:
    if b.ndim == 1:  # (..., n, k) · (k,): every row of A met the one b
        da = unsqueeze(dy, dy.ndim) * b
    elif len(a_shape) == 1:  # (k,) · (..., k, m): one row
        da = reshape(matmul(unsqueeze(dy, dy.ndim - 1), b.mT), (*b.shape[:-2], b.shape[-2]))
    else:
        da = matmul(dy, b.mT)
    return da if da.shape == a_shape else sum_to(da, a_shape)


@matmul.gradient("b", "dB = Aᵀ · dC")
def matmul_db(dy: Value, a: Value, b_shape: Shape) -> Value:
    if a.ndim == 1:
        # (k,) · (k,) or (..., k, m): each element of a met a row of B
        db = a * dy if len(b_shape) == 1 else unsqueeze(a, 1) * unsqueeze(dy, dy.ndim - 1)
    elif len(b_shape) == 1:  # (..., n, k) · (k,): one column
        db = matmul(a.mT, unsqueeze(dy, dy.ndim))
        db = reshape(db, db.shape[:-1])
    else:
        db = matmul(a.mT, dy)
    return db if db.shape == b_shape else sum_to(db, b_shape)


@op(
    "y = x · Wᵀ + b",
    derivation=(
        "y = x · Wᵀ is a product of matrices with all leading axes as rows, so dx = dy · W, "
        "and dW = dyᵀ · x, which sums over the rows because every row used the same W. b was "
        "added to each row with a factor of 1: its gradient is the sum of dy over the rows."
    ),
    axis=batch_axis,
    samples=(
        Sample(((2, 3), (4, 3), (4,))),
        Sample(((2, 2, 3), (4, 3), None)),
        Sample(((3,), (4, 3), (4,))),
        Sample(((0, 3), (4, 3), (4,))),
    ),
    inputs=3,
    torch="nn.functional.linear",
    method=False,
)
def linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Affine map of the last axis.

    Parameters
    ----------
    x : Tensor
        ``(..., in_features)``.
    weight : Tensor
        ``(out_features, in_features)``.
    bias : Tensor, optional
        ``(out_features,)``.

    Returns
    -------
    Tensor
        ``(..., out_features)``.

    Raises
    ------
    ValueError
        The sizes do not fit.
    """
    return kernels.linear(x, weight, bias)


@linear.gradient("x", "dx = dy · W")
def linear_dx(dy: Value, weight: Value) -> Value:
    return matmul(dy, weight)


@linear.gradient("weight", "dW = dyᵀ · x, summed over the leading axes")
def linear_dweight(dy: Value, x: Value) -> Value:
    # (..., out)ᵀ · (..., in), all leading axes as rows
    return matmul(_rows(dy).mT, _rows(x))


@linear.gradient("bias", "db = Σ dy over the leading axes")
def linear_dbias(dy: Value) -> Value:
    return sum(_rows(dy), 0)


@linear.fused_gradient
def linear_backward(
    dy: np.ndarray, wanted: list[int], x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Run the three rules in one call: small layers are nothing but calls."""
    return kernels.linear_gradients(dy, x, weight, wanted)


def _rows(x: Any) -> Any:
    # (..., n) -> (rows, n); the count is spelt out because −1 is ambiguous where n is 0
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
