"""Losses of a predicted distribution: how likely it made what is true."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Sample
from ..engine.messages import describe
from ..engine.op import Value, plain
from .choice import choose
from .cross_entropy import cross_entropy as _of_rows
from .elementwise import elementwise, exp, log, relu, sigmoid, where
from .index import getitem
from .normalize import log_softmax
from .reduce import sum
from .reduction import REDUCTIONS, reduced, resolve
from .shape import permute, reshape

# -- one class out of many -----------------------------------------------------------------


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Negative log-likelihood of the target under the softmax of logits.

    Parameters
    ----------
    input : Tensor
        Logits: ``(C,)``, ``(N, C)`` or ``(N, C, d₁, …)``.
    target : Tensor
        Class indices, of the shape of `input` without its axis C; or probabilities of the
        classes, floating and of the shape of `input`.
    weight : Tensor, optional
        ``(C,)``, how much each class counts. The mean divides by the weights of the targets.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    ignore_index : int, default −100
        Targets with this index count for nothing; where all do, the mean is nan.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.
    label_smoothing : float, default 0
        From 0 to 1: how much of the target to spread over all classes evenly (Szegedy et al.
        2016, section 7).

    Returns
    -------
    Tensor
        0-d, or with "none" one loss per target. In nats: divide by ln 2 for bits.

    Raises
    ------
    ValueError
        Shapes do not fit, `reduction` is unknown, or `label_smoothing` is not within 0 … 1.
    TypeError
        The target is of neither integers nor floats.
    IndexError
        A target is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> loss = tm.nn.functional.cross_entropy(tm.zeros(3, 4), tm.tensor([0, 1, 3]))
    >>> round(loss.item(), 4)  # ln 4
    1.3863
    """
    name = "cross_entropy"
    reduction = resolve(name, size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing is {label_smoothing}, expected from 0 to 1")
    of_classes = target.dtype.kind in "iu"
    shape = _classes_checked(name, input, target, weight, probabilities=not of_classes)
    logits = _class_last(input)
    if not of_classes:
        if target.dtype.kind != "f":
            raise TypeError(
                f"{name}: target is {target.dtype}; expected class indices (integers) or "
                "probabilities (floats)"
            )
        if ignore_index >= 0:
            raise ValueError(f"{name}: ignore_index does not go with a target of probabilities")
        log_p, wanted = log_softmax(logits, -1), _class_last(target)
        if label_smoothing:
            wanted = wanted * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
        terms = log_p * wanted if weight is None else log_p * wanted * plain(weight)
        losses = reshape(-sum(terms, -1), shape)
        # with weights too, the mean is over places, not over weights: PyTorch's definition
        return reduced(losses, reduction)
    index = plain(target).reshape(-1)
    if weight is None and not label_smoothing:
        losses = _of_rows(logits, index, reduction, ignore_index)
        return reshape(losses, shape) if reduction == "none" else losses
    index = index.astype(np.int64)
    log_p = log_softmax(logits, -1)
    losses, counts = _picked(name, log_p, index, weight, ignore_index)
    if label_smoothing:
        spread = log_p if weight is None else log_p * plain(weight)
        spread = where(index != ignore_index, -sum(spread, -1), 0.0)
        losses = losses * (1 - label_smoothing) + spread * (label_smoothing / log_p.shape[-1])
    return _averaged(losses, counts, reduction, shape)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of the target, from logarithms of probabilities.

    Parameters
    ----------
    input : Tensor
        Logarithms of probabilities: ``(C,)``, ``(N, C)`` or ``(N, C, d₁, …)``.
    target : integer Tensor
        Of the shape of `input` without its axis C.
    weight : Tensor, optional
        ``(C,)``, how much each class counts.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    ignore_index : int, default −100
        Targets with this index count for nothing; where all do, the mean is nan.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.

    Returns
    -------
    Tensor
        0-d, or with "none" one loss per target.

    Raises
    ------
    ValueError
        Shapes do not fit, or `reduction` is unknown.
    TypeError
        The target is not of integers.
    IndexError
        A target is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> log_p = tm.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    >>> tm.nn.functional.nll_loss(log_p, tm.tensor([0, 1]))
    tensor(2.5)
    """
    reduction = resolve("nll_loss", size_average, reduce, reduction)
    if target.dtype.kind not in "iu":
        raise TypeError(f"nll_loss: target is {target.dtype}, expected integers")
    shape = _classes_checked("nll_loss", input, target, weight, probabilities=False)
    index = plain(target).reshape(-1).astype(np.int64)
    losses, counts = _picked("nll_loss", _class_last(input), index, weight, ignore_index)
    return _averaged(losses, counts, reduction, shape)


def _classes_checked(
    name: str, input: Any, target: Any, weight: Any, *, probabilities: bool
) -> tuple[int, ...]:
    """Check shapes; return that of the losses: `input`'s without its axis of classes."""
    shape = tuple(input.shape)
    if not shape:
        raise ValueError(f"{name}: input is 0-d; expected (C,), (N, C) or (N, C, d₁, …)")
    losses = shape[:1] + shape[2:] if len(shape) > 1 else ()
    expected = shape if probabilities else losses
    given = tuple(target.shape)
    if given != expected and not (len(shape) == 1 and given == (1,) and not probabilities):
        raise ValueError(
            f"{name}: input has shape {shape} and target {given}; expected target {expected}: "
            + ("probabilities, one per logit" if probabilities else "class indices, no axis C")
        )
    classes = shape[min(len(shape) - 1, 1)]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ValueError(
            f"{name}: weight has shape {tuple(weight.shape)}, expected one per class, ({classes},)"
        )
    return given if len(shape) == 1 and not probabilities else losses


def _class_last(x: Any) -> Any:
    """(C,), (N, C) or (N, C, d₁, …) as (rows, C)."""
    if x.ndim > 2:
        x = permute(x, (0, *range(2, x.ndim), 1))
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _picked(
    name: str, log_p: Any, index: np.ndarray, weight: Any, ignore_index: int
) -> tuple[Any, np.ndarray]:
    """Weighted −log p of each target, 0 where it is ignored; and how much each counts."""
    rows, classes = log_p.shape
    keep = index != ignore_index
    kept = index[keep]
    if kept.size and not 0 <= kept.min() <= kept.max() < classes:
        worst = kept.min() if kept.min() < 0 else kept.max()
        raise IndexError(f"{name}: target {worst} is out of range for {classes} classes")
    if not classes:  # everything is ignored
        return sum(log_p, -1), np.zeros(rows, log_p.dtype)
    safe = np.where(keep, index, 0)
    counts = (np.ones(classes) if weight is None else np.asarray(plain(weight)))[safe] * keep
    counts = counts.astype(log_p.dtype)
    picked = getitem(log_p, (np.arange(rows), safe))
    # a choice beside the product: 0 · ∞ must stay 0
    return where(keep, -picked * counts, 0.0), counts


def _averaged(losses: Any, counts: np.ndarray, reduction: str, shape: tuple[int, ...]) -> Any:
    if reduction == "none":
        return reshape(losses, shape)
    return sum(losses) / counts.sum() if reduction == "mean" else sum(losses)


# -- yes or no -----------------------------------------------------------------------------

_LOWEST = -100.0  # where PyTorch cuts the logarithm of 0 off


def _log(x: Value) -> Value:
    """ln x, but not below −100."""
    y = log(x)
    return where(y < _LOWEST, _LOWEST, y)


@elementwise(
    "y = −t ln x − (1 − t) ln(1 − x), logarithms cut off at −100",
    symbol="−ln p",
    method=False,
    torch="ours:bernoulli_nll",
    samples=(
        Sample(((2, 3), (2, 3)), domain=(0.1, 0.9)),
        Sample(((), ()), domain=(0.1, 0.9)),
        Sample(((0, 2), (0, 2)), domain=(0.1, 0.9)),
    ),
)
def bernoulli_nll(x: Value, target: Value) -> Value:
    """Negative log-likelihood of a yes (1) or no (0) of which `x` is the probability.

    Parameters
    ----------
    x : Tensor
        Probabilities.
    target : Tensor
        From 0 to 1.
    """
    cut = x.dtype.type(_LOWEST)
    yes, no = np.maximum(np.log(x), cut), np.maximum(np.log1p(-x), cut)
    return (target - 1) * no - target * yes


@bernoulli_nll.gradient("x", "dx = dy · (x − t) / (x · (1 − x))")
def bernoulli_nll_dx(dy: Value, x: Value, target: Value) -> Value:
    spread = x * (1 - x)
    return dy * (x - target) / choose(spread < 1e-12, 1e-12, spread)


@bernoulli_nll.gradient("target", "dt = dy · (ln(1 − x) − ln x)")
def bernoulli_nll_dtarget(dy: Value, x: Value) -> Value:
    return dy * (log(1 - x) - log(x))


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of yes or no, from probabilities.

    Parameters
    ----------
    input : Tensor
        Probabilities, any shape.
    target : Tensor
        From 0 to 1, of the same shape.
    weight : Tensor, optional
        Factor of each loss; broadcasts.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.

    Returns
    -------
    Tensor
        0-d, or with "none" of the shape of `input`. A probability of exactly 0 for what is
        true costs 100, not infinitely much.

    Raises
    ------
    ValueError
        The shapes differ, or `reduction` is unknown.
    RuntimeError
        `input` is not between 0 and 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> p = tm.tensor([0.5, 0.5])
    >>> loss = tm.nn.functional.binary_cross_entropy(p, tm.tensor([1.0, 0.0]))
    >>> round(loss.item(), 4)  # ln 2
    0.6931
    """
    name = "binary_cross_entropy"
    reduction = resolve(name, size_average, reduce, reduction)
    _equal_shapes(name, input, target)
    values = plain(input)
    outside = ~((values >= 0) & (values <= 1))  # nan too
    if outside.any():
        raise RuntimeError(
            f"{name}: input has {values[outside].flat[0]}, which is no probability; for logits "
            "take binary_cross_entropy_with_logits"
        )
    losses = bernoulli_nll(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


@elementwise(
    "y = ln(1 + e⁻ˣ)",
    symbol="ln(1+e⁻ˣ)",
    method=False,
    torch="ours:logistic_nll",
    samples=(
        Sample(((2, 3),)),
        Sample(((),), domain=(-30.0, 30.0)),
        Sample(((0, 2),)),
    ),
)
def logistic_nll(x: Value) -> Value:
    """Negative logarithm of the sigmoid, exact where the sigmoid itself would round to 0 or 1."""
    return np.logaddexp(0, -x)


@logistic_nll.gradient("x", "dx = −dy · σ(−x)")
def logistic_nll_dx(dy: Value, x: Value) -> Value:
    return -dy * sigmoid(-x)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """Negative log-likelihood of yes or no, from logits: exact where a probability would round.

    Parameters
    ----------
    input : Tensor
        Logits, any shape.
    target : Tensor
        From 0 to 1, of the same shape.
    weight : Tensor, optional
        Factor of each loss; broadcasts.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.
    pos_weight : Tensor, optional
        How much a yes counts beside a no; broadcasts.

    Returns
    -------
    Tensor
        0-d, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        The shapes differ, or `reduction` is unknown.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([200.0, -200.0])
    >>> tm.nn.functional.binary_cross_entropy_with_logits(x, tm.tensor([1.0, 1.0]))
    tensor(100.)
    """
    name = "binary_cross_entropy_with_logits"
    reduction = resolve(name, size_average, reduce, reduction)
    _equal_shapes(name, input, target)
    surprise = logistic_nll(input)
    if pos_weight is not None:
        surprise = surprise * ((pos_weight - 1) * target + 1)
    losses = (1 - target) * input + surprise
    return reduced(losses if weight is None else losses * weight, reduction)


def _equal_shapes(name: str, input: Any, target: Any) -> None:
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: input and target must have the same shape"
            f"\n  input: {describe(input)}\n  target: {describe(target)}"
        )


# -- between distributions -----------------------------------------------------------------


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """Kullback-Leibler divergence, target · (ln target − input), elementwise.

    Parameters
    ----------
    input : Tensor
        Logarithms of the predicted probabilities.
    target : Tensor
        True probabilities, or their logarithms with `log_target`. Where one is 0 its
        logarithm does not matter, nor (other than in PyTorch) is its gradient nan.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    reduction : {"mean", "batchmean", "sum", "none"}
        What becomes of the terms. The divergence as mathematics defines it is "batchmean":
        their sum divided by the size of the first axis.
    log_target : bool, default False
        Whether `target` is in logarithms.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        The shapes do not broadcast, or `reduction` is unknown.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> p = tm.tensor([[0.5, 0.5]])
    >>> tm.nn.functional.kl_div(p.log(), p, reduction="batchmean").item()
    0.0
    """
    known = ("mean", "batchmean", "sum", "none")
    reduction = resolve("kl_div", size_average, reduce, reduction, known)
    if log_target:
        terms = exp(target) * (target - input)
    else:
        nothing = plain(target) == 0
        terms = where(nothing, 0.0, target * log(where(nothing, 1.0, target))) - target * input
    if reduction != "batchmean":
        return reduced(terms, reduction)
    return sum(terms) / input.shape[0] if input.ndim else sum(terms)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of counts under a Poisson distribution.

    Parameters
    ----------
    input : Tensor
        The expectation, or with `log_input` its logarithm.
    target : Tensor
        The counts.
    log_input : bool, default True
        What `input` is.
    full : bool, default False
        Add Stirling's approximation of ln target!, where target > 1.
    size_average, reduce : bool, optional
        Older ways to say `reduction`.
    eps : float, default 1e-8
        Keeps the logarithm away from 0.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.

    Returns
    -------
    Tensor
    """
    reduction = resolve("poisson_nll_loss", size_average, reduce, reduction)
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        many = plain(target) > 1
        n = where(many, target, 2.0)
        losses = losses + where(many, n * log(n) - n + 0.5 * log(2 * math.pi * n), 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood under a normal distribution, ½ (ln var + (input − target)² / var).

    Parameters
    ----------
    input, target : Tensor
        Expectation, and what was observed.
    var : Tensor or float
        Variance; broadcasts.
    full : bool, default False
        Add the constant ½ ln 2π.
    eps : float, default 1e-6
        The least variance to compute with; the gradient passes as if it had not been raised.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        A variance is negative, or `reduction` is unknown.
    """
    reduction = resolve("gaussian_nll_loss", None, None, reduction, REDUCTIONS)
    values = np.asarray(plain(var))
    if (values < 0).any():
        raise ValueError("gaussian_nll_loss: var has a negative entry; a variance is at least 0")
    if values.ndim == input.ndim - 1 and values.ndim and values.shape == input.shape[:-1]:
        var = reshape(var, (*values.shape, 1))
    small = np.asarray(plain(var)) < eps
    if not small.any():
        raised = var
    else:
        raised = var + np.where(small, eps - np.asarray(plain(var)), 0.0).astype(input.dtype)
    if isinstance(raised, int | float):
        raised = np.asarray(raised, input.dtype)
    difference = input - target
    losses = 0.5 * (log(raised) + difference * difference / raised)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """ln(1 + exp(−target · input)), for targets of 1 and −1."""
    reduction = resolve("soft_margin_loss", size_average, reduce, reduction)
    return reduced(logistic_nll(target * input), reduction)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, −target · (input1 − input2) + margin): a target of 1 wants input1 to be larger."""
    reduction = resolve("margin_ranking_loss", size_average, reduce, reduction)
    return reduced(relu(-target * (input1 - input2) + margin), reduction)
