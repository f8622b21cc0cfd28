"""Cross-entropy of rows of logits, in one pass; `loss.cross_entropy` is what users call."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..engine import Sample, op
from ..engine.op import Value, plain
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
    extras=("lse",),
    method=False,
    torch="nn.functional.cross_entropy",
    samples=(
        Sample(((3, 5), np.array([0, 4, 2]))),
        Sample(((2, 3), np.array([1, 1])), {"reduction": "sum"}),
        Sample(((2, 3), np.array([1, 0])), {"reduction": "none"}, domain=(-20.0, 20.0)),
    ),
)
def cross_entropy(x: Value, target: Value, reduction: str = "mean") -> Value:
    """Negative log-likelihood of the right class under a softmax.

    Parameters
    ----------
    x : Tensor
        Logits ``(R, C)``.
    target : integer Tensor
        ``(R,)``, each from 0 to C − 1.
    reduction : {"mean", "sum", "none"}
        What becomes of the R losses.

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
    if target.size and not 0 <= target.min() <= target.max() < x.shape[1]:
        worst = target.min() if target.min() < 0 else target.max()
        raise IndexError(f"target {worst} is out of range for {x.shape[1]} classes")
    losses, lse = kernels.cross_entropy(x, target)
    infinite = np.isposinf(lse)
    if infinite.any():  # ∞ − ∞, in whichever class: nan, as log_softmax has it
        losses[infinite] = lse[infinite] = np.nan
    if reduction == "none":
        return losses, lse
    with np.errstate(invalid="ignore"):  # the mean of no losses is nan
        return (losses.sum() if reduction == "sum" else losses.sum() / len(losses)), lse


def _per_row(dy: Value, rows: int, reduction: str) -> Value:
    """Gradient of each row's loss, from that of what became of them."""
    return dy if reduction != "mean" else dy * (1.0 / rows if rows else float("nan"))


@cross_entropy.gradient("x", "dx = dy · (softmax(x) − onehot(target)) / R")
def cross_entropy_dx(dy: Value, x: Value, target: Value, reduction: str) -> Value:
    rows, classes = x.shape
    onehot = (np.arange(classes) == plain(target)[:, None]).astype(x.dtype)
    g = _per_row(dy, rows, reduction)
    return (softmax(x, -1) - onehot) * (g.reshape(rows, 1) if g.ndim else g)


@cross_entropy.fused_gradient
def cross_entropy_backward(
    dy: np.ndarray,
    wanted: list[int],
    x: np.ndarray,
    target: np.ndarray,
    reduction: str,
    lse: np.ndarray,
) -> tuple[np.ndarray, None]:
    rows = np.broadcast_to(np.asarray(_per_row(dy, len(x), reduction), x.dtype), (len(x),))
    return kernels.cross_entropy_backward(rows, x, lse, target), None
