"""Losses that measure a distance, between numbers or between directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample
from ..engine.op import Value, plain
from .choice import choose
from .elementwise import elementwise, relu, sqrt, where
from .reduce import sum
from .reduction import fit, reduced, resolve
from .shape import expand
from .squared_error import mse_loss as _squared


def _abs(x: Any) -> Any:
    """|x|, with slope 0 at 0."""
    return relu(x) + relu(-x)


def _weighted(losses: Any, weight: Any, reduction: str) -> Any:
    """With weights, the mean divides by their sum."""
    if weight is None:
        return reduced(losses, reduction)
    losses = losses * weight
    return sum(losses) / sum(weight) if reduction == "mean" else reduced(losses, reduction)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Squared difference.

    Parameters
    ----------
    input, target : Tensor
        Of equal shape; where they only broadcast, there is a warning.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.
    weight : Tensor, optional
        Factor of each loss; the mean divides by the sum of the factors.

    Returns
    -------
    Tensor
        0-d, or with "none" of the inputs' shape.

    Raises
    ------
    ValueError
        The shapes do not broadcast, or `reduction` is unknown.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.mse_loss(tm.tensor([1.0, 2.0]), tm.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = resolve("mse_loss", size_average, reduce, reduction)
    fit("mse_loss", input, target)
    if weight is None:
        return _squared(input, target, reduction)
    return _weighted(_squared(input, target, "none"), weight, reduction)


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Absolute difference; see :func:`mse_loss` for the arguments.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.l1_loss(tm.tensor([1.0, 2.0]), tm.tensor([1.0, 4.0]))
    tensor(1.)
    """
    reduction = resolve("l1_loss", size_average, reduce, reduction)
    fit("l1_loss", input, target)
    return _weighted(_abs(input - target), weight, reduction)


@elementwise(
    "y = x²/2 where |x| ≤ δ, else δ · (|x| − δ/2)",
    symbol="huber",
    method=False,
    torch="ours:huber",
    samples=(
        Sample(((2, 3),), {"delta": 1.0}),
        Sample(((),), {"delta": 0.5}),
        Sample(((0, 2),), {"delta": 1.0}),
    ),
)
def huber(x: Value, delta: float) -> Value:
    """Parabola within δ of 0, and straight lines beyond it (Huber 1964).

    Parameters
    ----------
    x : Tensor
        Differences.
    delta : float
        δ.
    """
    size = np.abs(x)
    near = np.minimum(size, delta)
    return near * (size - 0.5 * near)


@huber.gradient("x", "dx = dy · x, with x cut off at ±δ")
def huber_dx(dy: Value, x: Value, delta: float) -> Value:
    return dy * choose(x > delta, delta, choose(x < -delta, -delta, x))


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """d²/2β where |d| < β, else |d| − β/2, with d the difference (Girshick 2015, eq. 3).

    Parameters
    ----------
    input, target : Tensor
        Of equal shape; where they only broadcast, there is a warning.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.
    beta : float, default 1
        Where the parabola becomes a line; 0 is :func:`l1_loss`.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        `beta` is negative, the shapes do not broadcast, or `reduction` is unknown.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.smooth_l1_loss(tm.tensor([0.5, 3.0]), tm.zeros(2), reduction="none")
    tensor([0.125, 2.5  ])
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}, expected 0 or more")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    reduction = resolve("smooth_l1_loss", size_average, reduce, reduction)
    fit("smooth_l1_loss", input, target)
    return reduced(huber(input - target, delta=beta) / beta, reduction)


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """d²/2 where |d| ≤ δ, else δ · (|d| − δ/2), with d the difference (Huber 1964).

    Parameters
    ----------
    input, target : Tensor
        Of equal shape; where they only broadcast, there is a warning.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.
    delta : float, default 1
        Where the parabola becomes a line.
    weight : Tensor, optional
        Factor of each loss; the mean still divides by their number.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        `delta` is not positive, the shapes do not broadcast, or `reduction` is unknown.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.huber_loss(tm.tensor([0.5, 3.0]), tm.zeros(2), "none", delta=2.0)
    tensor([0.125, 4.   ])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected a positive number")
    reduction = resolve("huber_loss", None, None, reduction)
    fit("huber_loss", input, target)
    losses = huber(input - target, delta=delta)
    return reduced(losses if weight is None else losses * weight, reduction)


# -- between directions --------------------------------------------------------------------


def _length(x: Any, dim: int, eps: float) -> Any:
    """Euclidean length along `dim`, not below `eps`; where it is cut off it has no gradient."""
    squares = sum(x * x, dim, True)
    long = plain(squares) > eps * eps
    return where(long, sqrt(where(long, squares, 1.0)), eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Cosine of the angle between vectors, x₁ · x₂ / (max(‖x₁‖, ε) · max(‖x₂‖, ε)).

    Parameters
    ----------
    x1, x2 : Tensor
        Broadcast to one shape.
    dim : int, default 1
        The axis of that shape along which the vectors lie.
    eps : float, default 1e-8
        The least length to divide by.

    Returns
    -------
    Tensor
        Without axis `dim`.

    Raises
    ------
    ValueError
        The shapes do not broadcast.
    IndexError
        `dim` is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([[3.0, 4.0], [4.0, -3.0]])
    >>> tm.nn.functional.cosine_similarity(x, x[:1])
    tensor([1., 0.])
    """
    ndim = max(x1.ndim, x2.ndim, 1)
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"cosine_similarity: dim {dim} is out of range for shapes {tuple(x1.shape)} and "
            f"{tuple(x2.shape)}"
        )
    if x1.dtype.kind != "f" or x2.dtype.kind != "f":
        raise TypeError(
            f"cosine_similarity: x1 is {x1.dtype} and x2 {x2.dtype}; expected floats, for example "
            "with .float()"
        )
    dim -= ndim if dim >= 0 else 0  # counted from the right, where broadcasting aligns
    try:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(
            f"cosine_similarity: x1 has shape {tuple(x1.shape)} and x2 {tuple(x2.shape)}, which "
            "do not broadcast"
        ) from None
    a, b = expand(x1, shape), expand(x2, shape)
    return sum((a / _length(a, dim, eps)) * (b / _length(b, dim, eps)), dim)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 − cos where the target is 1, max(0, cos − margin) where it is −1.

    Parameters
    ----------
    input1, input2 : Tensor
        ``(N, D)``, or ``(D,)``.
    target : Tensor
        ``(N,)``, or 0-d: 1 wants equal directions, −1 different ones.
    margin : float, default 0
        From −1 to 1.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        The shapes do not fit, or `reduction` is unknown.
    """
    reduction = resolve("cosine_embedding_loss", size_average, reduce, reduction)
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise ValueError(
            f"cosine_embedding_loss: input1 has shape {tuple(input1.shape)}, input2 "
            f"{tuple(input2.shape)} and target {tuple(target.shape)}; expected (N, D), (N, D) and "
            "(N,), or (D,), (D,) and ()"
        )
    # as PyTorch has it: ε in the squares, not a least length
    eps = 1e-12
    product = sum(input1 * input2, -1)
    length = sqrt((sum(input1 * input1, -1) + eps) * (sum(input2 * input2, -1) + eps))
    cosine = product / length
    same, other = plain(target) == 1, plain(target) == -1
    losses = where(same, 1.0 - cosine, 0.0) + where(other, relu(cosine - margin), 0.0)
    return reduced(losses, reduction)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The input where the target is 1, max(0, margin − input) where it is −1."""
    reduction = resolve("hinge_embedding_loss", size_average, reduce, reduction)
    same, other = plain(target) != -1, plain(target) != 1
    losses = where(other, relu(margin - input), 0.0) + where(same, input, 0.0)
    return reduced(losses, reduction)
