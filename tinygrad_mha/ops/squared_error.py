"""The mean of squared differences, in one pass; `distance.mse_loss` is what users call."""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value
from .reduction import reduced
from .shape import sum_to


@op(
    "y = mean of (x − t)²",
    derivation=(
        "The square of a difference d = x − t has the slope 2d: a unit of x adds twice the "
        "difference that is there. The mean over n differences divides it by n, the sum does "
        "not. t enters with the opposite sign, so its gradient is that of x, negated."
    ),
    symbol="squared error",
    reduce=sum_to,
    promote=True,
    extras=("slope",),
    method=False,
    torch="ours:mse_loss",
    samples=(
        Sample(((2, 3), (2, 3))),
        Sample(((2, 1, 3), (4, 1)), {"reduction": "sum"}),
        Sample(((2, 3), (2, 1)), {"reduction": "none"}),
        Sample(((), ())),
        Sample(((0, 2), (0, 2)), {"reduction": "sum"}),
    ),
)
def mse_loss(x: Value, target: Value, reduction: str = "mean") -> Value:
    """Squared difference.

    Parameters
    ----------
    x, target : Tensor
        Of shapes that broadcast.
    reduction : {"mean", "sum", "none"}
        What becomes of the squares.

    Returns
    -------
    Tensor
        A 0-d tensor, or the squares with "none".

    Raises
    ------
    TypeError
        The inputs are not floating.
    """
    if x.dtype.kind != "f":
        raise TypeError(f"x is {x.dtype}; only floats have a squared error: convert with .float()")
    if x.shape != target.shape:
        x, target = np.broadcast_arrays(x, target)
    if reduction == "none":
        apart = x - target
        return apart * apart, apart * 2
    mean, n = reduction == "mean", x.size or math.nan  # the mean of no squares is nan
    total, slope = kernels.squared_error(x, target, 2 / n if mean else 2.0)
    return np.array(total / n if mean else total, x.dtype), slope


@mse_loss.gradient("x", "dx = dy · 2 (x − t) / n")
def mse_loss_dx(dy: Value, x: Value, target: Value, reduction: str) -> Value:
    apart = x - target
    return dy * (2 / (math.prod(apart.shape) or 1) if reduction == "mean" else 2.0) * apart


@mse_loss.gradient("target", "dt = −dy · 2 (x − t) / n")
def mse_loss_dtarget(dy: Value, x: Value, target: Value, reduction: str) -> Value:
    return -mse_loss_dx(dy, x, target, reduction)


@mse_loss.fused_gradient
def mse_loss_backward(
    dy: np.ndarray, wanted: list[int], slope: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    dx = slope * dy
    return dx if 0 in wanted else None, -dx if 1 in wanted else None


@mse_loss.as_steps
def mse_loss_steps(x: Value, target: Value, reduction: str = "mean") -> Value:
    apart = x - target
    return reduced(apart * apart, reduction)
