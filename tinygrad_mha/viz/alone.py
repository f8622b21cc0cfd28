"""One head of a batched attention, computed again by itself, on copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Node, Tensor, enable_grad
from .regions import Region, follow
from .replay import Replay, call


def _leaf(array: Any) -> Any:
    """A copy that wants a gradient, of what carries one."""
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        return Tensor(array, True)
    return array


@dataclass
class Alone:
    """One head, run by itself on copies."""

    contribution: Tensor
    pooled: Tensor
    sources: list[Tensor]  # per projection, what it projects
    matrices: list[Tensor | None]  # per projection, this head's matrix
    share: Tensor | None  # this head's block of the output projection
    merged: Tensor
    values: dict[Node, Tensor]  # of the splits and of all that is inside


def alone(region: Region, head: int, axes: dict[Node, int], replayed: Replay) -> Alone:
    """Run one head, from its own blocks of the projections to its share of the output."""
    values: dict[Node, Tensor] = {}
    sources: list[Tensor] = []
    matrices: list[Tensor | None] = []
    with enable_grad():
        for split, projection in zip(region.splits, region.projections, strict=True):
            if projection is None:
                begin = _leaf(cut(replayed.values[split].data, axes[split], head))
                sources.append(begin)
                matrices.append(None)
                values[split] = begin
                continue
            x, weight, bias = (replayed.value(source) for source in projection.inputs)
            width = weight.shape[0] // region.heads
            block = slice(head * width, (head + 1) * width)
            source, matrix = _leaf(x), _leaf(weight[block])
            sources.append(source)
            matrices.append(matrix)
            projected = projection.op(source, matrix, None if bias is None else bias[block])
            values[split] = split.op(projected, 1)  # a single head
        for node in region.inside:
            inputs = [
                values[source]
                if isinstance(source, Node) and source in values
                else _share(node, i, source, head, axes[node], region.heads, replayed)
                for i, source in enumerate(node.inputs)
            ]
            values[node] = call(node, inputs, _for_one_head(node, axes[node]))
        pooled = values[region.merge.inputs[0]]
        merged = region.merge.op(pooled)
        if region.combine is None:
            return Alone(merged, pooled, sources, matrices, None, merged, values)
        weight = replayed.value(region.combine.inputs[1])
        width = weight.shape[1] // region.heads
        share = _leaf(weight[:, head * width : (head + 1) * width])
        shared = region.combine.op(merged, share, None)
        return Alone(shared, pooled, sources, matrices, share, merged, values)


def _for_one_head(node: Node, axis: int) -> tuple[Any, ...]:
    """A node's other arguments; where they name a shape, with one head in it."""

    def change(name: str, value: Any) -> Any:
        if name != "shape":
            return value
        sizes = (value,) if isinstance(value, int) else tuple(value)
        return (*sizes[:axis], 1, *sizes[axis + 1 :])

    return tuple(map(change, node.op.param_names, node.params))


def _share(
    node: Node, which: int, source: Any, head: int, axis: int, heads: int, replayed: Replay
) -> Any:
    """A value that came from outside the lanes: cut at the head, where it has one part for each."""
    value = replayed.value(source)
    for i, size in enumerate(np.shape(value)):
        if size == heads > 1 and follow(node, which, i, replayed) == axis:
            return cut(value, i, head)
    return value


def cut(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    """One slice, with its axis kept."""
    return np.take(array, [index], axis)
