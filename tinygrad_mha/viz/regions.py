"""Where the heads are: the nodes between splitting into heads and merging them.

The head axis begins at a ``split_heads``; each operation says what becomes of an axis; it ends
at a ``merge_heads``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..engine import Node
from .measure import norm
from .origins import Origin, appended, offset, origin
from .replay import Replay

#: What turns scores into weights.
WEIGHTS = ("softmax", "masked_softmax")


@dataclass
class Region:
    """The nodes of one multi-head attention.

    Attributes
    ----------
    merge : Node
        Where the heads end.
    combine : Node or None
        The linear map right after it.
    splits : list of Node
        Where they begin.
    projections : list of Node or None
        The linear map right before each.
    origins : list of Origin or None
        The linear map behind each, also where something stands between.
    inside : list of Node
        Between splits and merge, in order.
    weights : Node or None
        The softmax among them.
    heads : int
        How many there are.
    offset : int or None
        Which key stands where the first query does; None: no weights, or those of cross attention.
    appended : int
        How many keys stand behind those that were projected: a learned one, one of zeros.
    """

    merge: Node
    combine: Node | None
    splits: list[Node]
    projections: list[Node | None]
    origins: list[Origin | None]
    inside: list[Node]
    weights: Node | None
    heads: int
    offset: int | None = None
    appended: int = 0

    @cached_property
    def readers(self) -> dict[Node, list[int]]:
        """What reads a value for the heads, projections or splits, and which splits it feeds."""
        found: dict[Node, list[int]] = {}
        for k, (split, source) in enumerate(zip(self.splits, self.origins, strict=True)):
            found.setdefault(split if source is None else source.projection, []).append(k)
        return found

    def between(self, k: int) -> list[Node]:
        """What stands between a split and its projection."""
        source = self.origins[k]
        return source.between if source is not None else []

    def direct(self, projection: Node) -> bool:
        """Whether head i's part of what a projection gives is its i-th block, and split at once."""
        return not any(self.between(k) for k in self.readers[projection])

    def alone(self, projection: Node, replayed: Replay) -> bool:
        """Whether nobody but the region's heads uses what a projection gives."""
        ways = self.readers[projection]
        passed = {projection, *(node for k in ways for node in self.between(k))}
        here = passed | {self.splits[k] for k in ways}
        return not passed & replayed.seeds.keys() and all(
            here.issuperset(replayed.users.get(node, ())) for node in passed
        )

    def columns(self, k: int, head: int) -> np.ndarray:
        """Which columns of a split's projection are a head's."""
        source, p = self.origins[k], self.splits[k].shape[-1]
        block = head if source is None else source.blocks[head]
        return np.arange(block * p, (block + 1) * p)

    @property
    def lengths(self) -> tuple[int, int]:
        """How many queries there are, L, and how many keys, S."""
        found = dict.fromkeys(split.shape[-2] for split in self.splits)
        queries = self.merge.inputs[0].shape[-2]
        return queries, next((length for length in found if length != queries), queries)

    @property
    def output(self) -> Node:
        """The node whose value the lanes add up to."""
        return self.combine or self.merge


def head_axes(replayed: Replay) -> dict[Node, int]:
    """Which axis of each node's value is the heads'."""
    axes: dict[Node, int] = {}
    for node in replayed.nodes:
        if node.op.name == "split_heads":
            axes[node] = len(node.shape) - 3
            continue
        for i, source in enumerate(node.inputs):
            if isinstance(source, Node) and source in axes and node.op.axis is not None:
                there = follow(node, i, axes[source], replayed)
                if there is not None:
                    axes[node] = there
                    break
    return axes


def follow(node: Node, which: int, axis: int, replayed: Replay) -> int | None:
    """What an axis of an input becomes in the output of a node."""
    shapes = [np.shape(replayed.value(source)) for source in node.inputs]
    options = dict(zip(node.op.param_names, node.params, strict=True))
    if node.op.axis is None or node.op.name == "merge_heads":
        return None
    return node.op.axis(axis, which, shapes, node.shape, options)


def by_head(
    node: Node,
    which: int,
    gradient: np.ndarray,
    axes: dict[Node, int],
    blocks: Mapping[tuple[Node, int], tuple[int, int]],
) -> list[float] | None:
    """Norm of each head's part of what flows back to an input, where it has heads.

    `blocks` are those of :func:`parameter_blocks`.
    """
    source = node.inputs[which]
    if isinstance(source, Node) and source in axes:
        parts = np.moveaxis(gradient, axes[source], 0)
    elif node.op.name == "split_heads":
        heads = node.shape[axes[node]]
        # (..., T, h·p) → (..., T, h, p) → (h, ..., T, p)
        p = node.shape[-1]
        parts = np.moveaxis(gradient.reshape(*gradient.shape[:-1], heads, p), -2, 0)
    elif (node, which) in blocks:
        axis, heads = blocks[node, which]
        parts = np.stack(np.split(gradient, heads, axis))
    else:
        return None
    return [norm(part) for part in parts]


def parameter_blocks(
    found: list[Region], axes: dict[Node, int]
) -> dict[tuple[Node, int], tuple[int, int]]:
    """Along which axis, and into how many, an input of a linear map is cut for the heads.

    Of a projection right before a split, weight and bias; of the map that combines the heads,
    what it is given and its weight.
    """
    blocks: dict[tuple[Node, int], tuple[int, int]] = {}
    for region in found:
        for split, projection in zip(region.splits, region.projections, strict=True):
            if projection is not None:
                cut = (0, split.shape[axes[split]])
                blocks |= {(projection, 1): cut, (projection, 2): cut}
        if region.combine is not None:
            blocks |= {
                (region.combine, 0): (-1, region.heads),
                (region.combine, 1): (1, region.heads),
            }
    return blocks


def regions(replayed: Replay, axes: dict[Node, int]) -> list[Region]:
    """Find every multi-head attention of a graph."""
    return [
        _region(merge, axes, replayed.users, replayed)
        for merge in replayed.nodes
        if merge.op.name == "merge_heads" and merge.inputs[0] in axes
    ]


def _region(
    merge: Node, axes: dict[Node, int], users: dict[Node, list[Node]], replayed: Replay
) -> Region:
    inside: set[Node] = set()
    splits: set[Node] = set()
    stack = [merge.inputs[0]]
    while stack:
        node = stack.pop()
        if node.op.name == "split_heads":
            splits.add(node)
        elif node not in inside:
            inside.add(node)
            stack.extend(p for p in node.inputs if isinstance(p, Node) and p in axes)
    ordered = sorted(inside, key=lambda node: node.sequence)
    begins = sorted(splits, key=lambda node: node.sequence)
    projections = [
        s.inputs[0] if isinstance(s.inputs[0], Node) and s.inputs[0].op.name == "linear" else None
        for s in begins
    ]
    after = users.get(merge, [])
    combine = after[0] if len(after) == 1 and after[0].op.name == "linear" else None
    weights = next((node for node in ordered if node.op.name in WEIGHTS), None)
    place, behind = None, 0
    origins = [origin(split, axes[split], replayed) for split in begins]
    if weights is not None:
        scored = _above(weights, begins, axes)
        place = offset(scored, *weights.shape[-2:])
        source = origins[begins.index(scored[1])] if len(scored) == 2 else None
        behind = 0 if source is None else appended(scored[1], source, weights.shape[-1])
    return Region(
        merge,
        combine,
        begins,
        projections,
        origins,
        ordered,
        weights,
        begins[0].shape[axes[begins[0]]],
        place,
        behind,
    )


def _above(weights: Node, splits: list[Node], axes: dict[Node, int]) -> list[Node]:
    """The splits that the weights are made of."""
    seen: set[Node] = set()
    stack = [weights]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if node not in splits:
                stack.extend(p for p in node.inputs if isinstance(p, Node) and p in axes)
    return [split for split in splits if split in seen]
