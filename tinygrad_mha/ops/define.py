"""How an operation on elements is defined, and what the generic checks try it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine import Op, Sample, op
from .axes import broadcast_axis
from .shape import sum_to


def elementwise(
    formula: str, *, floating: bool = False, **options: Any
) -> Callable[[Callable[..., Any]], Op[Any]]:
    """Define an operation on elements: a gradient is summed back to the shape that was broadcast.

    Parameters
    ----------
    formula : str
        What it computes, as mathematics.
    floating : bool, default False
        Whether integers have to become floats first, as for eˣ.
    **options
        Those of :func:`tinygrad_mha.engine.op.op`.
    """
    options = {"promote": True, "inplace": options.get("method", True), **options}
    return op(formula, reduce=sum_to, axis=broadcast_axis, floating=floating, **options)


_SHAPES = (((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((), (3,)), ((2, 0), (1,)))


def one(low: float = -2.0, high: float = 2.0, **params: Any) -> tuple[Sample, ...]:
    """Samples of one input: a matrix, a number, nothing."""
    shapes: list[tuple[int, ...]] = [(2, 3), (), (0, 2)]
    return tuple(Sample((shape,), params, (low, high)) for shape in shapes)


def two(low: float = -2.0, high: float = 2.0, **params: Any) -> tuple[Sample, ...]:
    """Samples of two inputs: alike, both stretched, a number, nothing."""
    return tuple(Sample(shapes, params, (low, high)) for shapes in _SHAPES)
