"""Cross-entropy of rows of logits, in one pass; `loss.cross_entropy` is what users call."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value, plain
from .choice import choose
from .normalize import softmax


@op(
    "y = mean over rows of −ln softmax(x)[target]",
    derivation=(
        "The loss of a row is ln Σⱼ eˣʲ − xₜ with t the target. The first term's derivative "
        "with respect to xⱼ is softmax(x)ⱼ, the second's is −1 at the target. So the gradient "
        "is the predicted distribution minus the true one, and is 0 when they agree; the mean "
        "divides it by the number of rows."
    ),
    symbol="cross entropy",
    extras=("lse", "counted"),
    method=False,
    torch="nn.functional.cross_entropy",
    samples=(
        Sample(((3, 5), np.array([0, 4, 2]))),
        Sample(((2, 3), np.array([1, 1])), {"reduction": "sum"}),
        Sample(((2, 3), np.array([1, 0])), {"reduction": "none"}, domain=(-20.0, 20.0)),
        Sample(((3, 3), np.array([1, 0, 1])), {"ignore_index": 0}),
        Sample(((2, 3), np.array([-100, 2])), {"reduction": "none"}),
    ),
)
def cross_entropy(
    x: Value, target: Value, reduction: str = "mean", ignore_index: int = -100
) -> Value:
    """Negative log-likelihood of the right class under a softmax.

    Parameters
    ----------
    x : Tensor
        Logits ``(R, C)``.
    target : integer Tensor
        ``(R,)``, each from 0 to C − 1, or `ignore_index`.
    reduction : {"mean", "sum", "none"}
        What becomes of the R losses; the mean is over those that are not ignored.
    ignore_index : int, default -100
        Rows with this target have no loss and no gradient.

    Returns
    -------
    Tensor
        A 0-d tensor, or ``(R,)`` with "none". In nats: divide by ln 2 for bits.

    Raises
    ------
    ValueError
        The shapes do not fit, or `reduction` is unknown.
    TypeError
        The target is not of integers.
    IndexError
        A target is out of range.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}; it can be 'mean', 'sum' or 'none'")
    if x.ndim != 2 or target.shape != x.shape[:1]:
        raise ValueError(
            f"x has shape {x.shape} and target {target.shape}; expected (R, C) and (R,)"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"target has dtype {target.dtype}, expected integers")
    index = np.ascontiguousarray(target, np.int64)
    losses, lse, counted = kernels.cross_entropy(x, index, ignore_index)
    if reduction == "none":
        return losses, lse, counted
    total = np.add.reduce(losses)
    if reduction == "mean":
        total = total / total.dtype.type(counted)  # that of no losses is nan
    return total, lse, counted


@cross_entropy.gradient("x", "dx = dy · (softmax(x) − onehot(target)) / R")
def cross_entropy_dx(
    dy: Value, x: Value, target: Value, reduction: str, ignore_index: int
) -> Value:
    rows, classes = x.shape
    index = plain(target)
    kept = index != ignore_index
    onehot = (np.arange(classes) == index[:, None]).astype(x.dtype)
    g = dy * (1.0 / int(kept.sum())) if reduction == "mean" and kept.any() else dy
    each = (softmax(x, -1) - onehot) * (g.reshape(rows, 1) if g.ndim else g)
    return choose(kept[:, None], each, 0.0)


@cross_entropy.fused_gradient
def cross_entropy_backward(
    dy: np.ndarray,
    wanted: list[int],
    x: np.ndarray,
    target: np.ndarray,
    reduction: str,
    ignore_index: int,
    lse: np.ndarray,
    counted: int,
) -> tuple[np.ndarray, None]:
    if reduction == "none":
        each = np.ascontiguousarray(dy)
    else:
        each = np.empty(len(x), x.dtype)
        each.fill(dy.item() / (counted or 1) if reduction == "mean" else dy.item())
    index = np.ascontiguousarray(target, np.int64)
    return kernels.cross_entropy_backward(each, x, lse, index, ignore_index), None
