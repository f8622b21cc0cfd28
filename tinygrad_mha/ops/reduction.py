"""What becomes of the losses of single elements."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .reduce import mean, sum

REDUCTIONS = ("mean", "sum", "none")


def resolve(
    name: str,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    known: tuple[str, ...] = REDUCTIONS,
) -> str:
    """Check `reduction`, or derive it from the two older arguments that PyTorch still takes.

    Raises
    ------
    ValueError
        It is unknown.
    """
    if size_average is not None or reduce is not None:
        average = size_average is None or size_average
        return "none" if reduce is False else "mean" if average else "sum"
    if reduction not in known:
        *some, last = map(repr, known)
        raise ValueError(
            f"{name}: reduction is {reduction!r}; it can be {', '.join(some)} or {last}"
        )
    return reduction


def reduced(losses: Any, reduction: str) -> Any:
    """Mean, sum, or all of them; the mean of no losses is nan."""
    return losses if reduction == "none" else sum(losses) if reduction == "sum" else mean(losses)


def fit(name: str, input: Any, target: Any) -> None:
    """Check that shapes broadcast, and warn where they differ: that is rarely meant.

    Raises
    ------
    ValueError
        They do not broadcast.
    """
    if input.shape == target.shape:
        return  # as nearly always; what is said below takes as long as the loss itself
    shapes = tuple(input.shape), tuple(target.shape)
    text = f"input has shape {shapes[0]} and target has shape {shapes[1]}"
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{name}: {text}; they must be equal, or broadcast") from None
    warnings.warn(
        f"{name}: {text}; they are broadcast, which is rarely what a loss should do. "
        "Reshape one of them",
        UserWarning,
        stacklevel=3,
    )
