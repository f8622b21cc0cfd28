"""Lanes: each head of a batched attention, computed again alone, and held against the whole.

The head axis begins at a ``split_heads``; each operation says what becomes of an
axis; it ends at a ``merge_heads``. Between the two, everything is cut at head i, and
what was one batched computation is run again for that head only. The sum of what the
heads contribute must be the real output, and their gradients the real gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Node, Tensor, enable_grad, grad
from .data import Attention, Lane, Proof
from .head_measures import NAMES, in_batch, labels, measures, pool
from .measure import norm
from .origins import Origin, offset, origin
from .replay import Replay, call

#: What turns scores into weights.
WEIGHTS = ("softmax", "masked_softmax")

#: Of a head's map, in cells; larger ones are averaged over squares.
LARGEST_MAP = 64


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
                there = _follow(node, i, axes[source], replayed)
                if there is not None:
                    axes[node] = there
                    break
    return axes


def _follow(node: Node, which: int, axis: int, replayed: Replay) -> int | None:
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
        parts = np.moveaxis(gradient.reshape(*gradient.shape[:-1], heads, -1), -2, 0)
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
    users: dict[Node, list[Node]] = {}
    for node in replayed.nodes:
        for source in node.inputs:
            if isinstance(source, Node):
                users.setdefault(source, []).append(node)
    return [
        _region(merge, axes, users, replayed)
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
    place = None
    if weights is not None:
        place = offset(_above(weights, begins, axes), *weights.shape[-2:])
    return Region(
        merge,
        combine,
        begins,
        projections,
        [origin(split, axes[split], replayed) for split in begins],
        ordered,
        weights,
        begins[0].shape[axes[begins[0]]],
        place,
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


# -- one head alone -------------------------------------------------------------------------


def _leaf(array: Any) -> Any:
    """A copy that wants a gradient, of what carries one."""
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        return Tensor(array, True)
    return array


@dataclass
class _Alone:
    """One head, run by itself on copies."""

    contribution: Tensor
    pooled: Tensor
    sources: list[Tensor]  # per projection, what it projects
    matrices: list[Tensor | None]  # per projection, this head's matrix
    share: Tensor | None  # this head's block of the output projection


def _alone(region: Region, head: int, axes: dict[Node, int], replayed: Replay) -> _Alone:
    values: dict[Node, Tensor] = {}
    sources: list[Tensor] = []
    matrices: list[Tensor | None] = []
    with enable_grad():
        for split, projection in zip(region.splits, region.projections, strict=True):
            if projection is None:
                begin = _leaf(_cut(replayed.values[split].data, axes[split], head))
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
            return _Alone(merged, pooled, sources, matrices, None)
        weight = replayed.value(region.combine.inputs[1])
        width = weight.shape[1] // region.heads
        share = _leaf(weight[:, head * width : (head + 1) * width])
        shared = region.combine.op(merged, share, None)
        return _Alone(shared, pooled, sources, matrices, share)


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
        if size == heads > 1 and _follow(node, which, i, replayed) == axis:
            return _cut(value, i, head)
    return value


def _cut(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    """One slice, with its axis kept."""
    return np.take(array, [index], axis)


# -- lanes and their proof ------------------------------------------------------------------


def attention(
    region: Region,
    axes: dict[Node, int],
    replayed: Replay,
    tokens: list[str],
    batch: int,
    names: dict[int, str],
) -> Attention:
    """Run every head of a region alone, measure it, and hold the sum against the whole."""
    items = 0
    if region.weights is not None:
        shape = region.weights.shape
        items = math.prod(shape[:-2]) // max(shape[axes[region.weights]], 1)
        in_batch(batch, items)
    alone = [_alone(region, i, axes, replayed) for i in range(region.heads)]
    incoming = replayed.incoming.get(region.output)
    at_merge = replayed.incoming.get(region.merge)
    lanes, pooled_by = [], 1
    for i, one in enumerate(alone):
        gradient = None
        if at_merge is not None:
            width = at_merge.shape[-1] // region.heads
            gradient = norm(at_merge[..., i * width : (i + 1) * width])
        lane, pooled_by = _lane(
            i, region, axes, replayed, tokens, batch,
            norm(one.contribution.data), gradient,
        )  # fmt: skip
        lane.blocks = [i if source is None else source.blocks[i] for source in region.origins]
        lane.projected = [_share_of_gradient(node, i, axes, replayed) for node in region.splits]
        lane.staged = [_share_of_gradient(node, i, axes, replayed) for node in region.inside]
        lanes.append(lane)
    proof = _prove(region, alone, incoming, replayed)
    return Attention(
        id=0,
        module=None,
        vertices=[],
        sources=[],
        output=0,
        projections=[_projection_name(o, names, k) for k, o in enumerate(region.origins)],
        stages=[node.op.symbol for node in region.inside],
        weighted=region.inside.index(region.weights) if region.weights else None,
        pooling=_pooling(region),
        combined=_parameter_name(region.combine, names) if region.combine else "",
        lanes=lanes,
        proof=proof,
        pooled=pooled_by,
        item=batch if items else 0,
        items=items,
    )


def _parameter_name(node: Node, names: dict[int, str]) -> str:
    """The model's name of a linear node's weight, looked for through reshapes."""
    source = node.inputs[1]
    while isinstance(source, Node) and source.op.name in ("reshape", "transpose"):
        source = source.inputs[0]
    return names.get(id(source), "W")


def _pooling(region: Region) -> str:
    """Class of the module call in which the weights are made, if it is one of its own."""
    frame = region.weights.frame if region.weights else None
    return "" if frame is None or frame is region.merge.frame else frame.scope.kind


def _share_of_gradient(
    node: Node, head: int, axes: dict[Node, int], replayed: Replay
) -> float | None:
    """Norm of the gradient at one head's slice of a node's value."""
    incoming = replayed.incoming.get(node)
    return None if incoming is None else norm(_cut(incoming, axes[node], head))


def _projection_name(source: Origin | None, names: dict[int, str], k: int) -> str:
    if source is None:
        return f"input {k + 1}"
    name = _parameter_name(source.projection, names)
    parts = name.split(".")
    return parts[-2] if parts[-1] == "weight" and len(parts) > 1 else parts[-1]


def _prove(
    region: Region, alone: list[_Alone], incoming: np.ndarray | None, replayed: Replay
) -> Proof:
    real = replayed.values[region.output].data
    contributions = [one.contribution.data.astype(np.float64) for one in alone]
    if region.combine is None:
        together = np.concatenate(contributions, axis=-1)
    else:
        together = np.sum(contributions, axis=0)
        bias = replayed.value(region.combine.inputs[2])
        together = together if bias is None else together + bias
    tolerance = 2e-4 if real.dtype == np.float32 else 1e-9
    gradient = None if incoming is None else _gradient_difference(region, alone, incoming, replayed)
    return Proof(_difference(together, real), gradient, tolerance)


def _difference(found: np.ndarray, real: np.ndarray) -> float:
    if real.size == 0:
        return 0.0
    scale = float(np.abs(real).max()) or 1.0
    with np.errstate(invalid="ignore"):  # what is not finite differs, and may
        return float(np.abs(found - real).max()) / scale


def _gradient_difference(
    region: Region, alone: list[_Alone], incoming: np.ndarray, replayed: Replay
) -> float | None:
    """Largest difference of the lanes' gradients from those of the real backward pass."""
    flows = {
        (replayed.original[step.node], flow.input): flow.gradient
        for step in replayed.steps
        for flow in step.flows
    }
    per_head = []
    for i, one in enumerate(alone):
        width = incoming.shape[-1] // region.heads
        part = incoming if region.combine else incoming[..., i * width : (i + 1) * width]
        wanted = [*one.sources, *(m for m in one.matrices if m is not None)]
        wanted += [] if one.share is None else [one.share]
        found = iter(grad(one.contribution, wanted, Tensor(part), allow_unused=True))
        sources = [next(found) for _ in one.sources]
        matrices = [None if m is None else next(found) for m in one.matrices]
        per_head.append((sources, matrices, None if one.share is None else next(found)))
    pairs: list[tuple[np.ndarray | None, np.ndarray | None]] = []
    for k, (split, projection) in enumerate(zip(region.splits, region.projections, strict=True)):
        own = [head[0][k] for head in per_head]
        if projection is None:
            pairs.append((_joined(own, -3), replayed.incoming.get(split)))
        else:
            arrays = [g.data for g in own if g is not None]
            together = np.sum(arrays, axis=0) if arrays else None
            pairs.append((together, flows.get((projection, "x"))))
            blocks = _joined([head[1][k] for head in per_head], 0)
            pairs.append((blocks, flows.get((projection, "weight"))))
    if region.combine is not None:
        blocks = _joined([head[2] for head in per_head], 1)
        pairs.append((blocks, flows.get((region.combine, "weight"))))
    worst = [_difference(a, b) for a, b in pairs if a is not None and b is not None]
    return float(np.max(worst)) if worst else None  # nan where one of them is


def _joined(parts: list[Tensor | None], axis: int) -> np.ndarray | None:
    return (
        None
        if any(p is None for p in parts)
        else np.concatenate([p.data for p in parts if p is not None], axis)
    )


def _lane(
    head: int,
    region: Region,
    axes: dict[Node, int],
    replayed: Replay,
    tokens: list[str],
    batch: int,
    contribution: float,
    gradient: float | None,
) -> tuple[Lane, int]:
    """Measure one head's weights, of one batch item."""
    node = region.weights
    if node is None:
        unknown: dict[str, float | None] = dict.fromkeys(NAMES)
        return Lane(
            head, [], [], [], [], **unknown, contribution=contribution, gradient=gradient,
            blocks=[], projected=[], staged=[],
        ), 1  # fmt: skip
    weights = np.take(replayed.values[node].data, head, axes[node])
    # (..., L, S) without the head axis: all batch axes as one
    weights = weights.reshape(-1, *weights.shape[-2:]).astype(np.float64)
    shown = weights[batch]
    visible = _visible(node, head, axes[node], replayed, batch, shown.shape)
    length, keys = shown.shape
    size = -(-max(length, keys) // LARGEST_MAP)
    rows, columns = labels(tokens, (length, keys), region.offset, size)
    return (
        Lane(
            head,
            np.round(pool(shown, size), 5).tolist(),
            rows,
            columns,
            (pool(visible.astype(float), size) > 0).tolist(),
            **measures(weights, region.offset),
            contribution=contribution,
            gradient=gradient,
            blocks=[],
            projected=[],
            staged=[],
        ),
        size,
    )


def _visible(
    node: Node, head: int, axis: int, replayed: Replay, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Where a head was allowed to attend, in one batch item: no mask, and no score of −inf."""
    scores = np.take(np.broadcast_to(replayed.value(node.inputs[0]), node.shape), head, axis)
    allowed = np.asarray(scores.reshape(-1, *shape)[batch] != -np.inf)
    if node.op.name != "masked_softmax":
        return allowed
    mask = np.broadcast_to(replayed.value(node.inputs[1]), node.shape)
    mask = np.take(mask, head, axis)
    mask = mask.reshape(-1, *mask.shape[-2:])
    return allowed & np.asarray(mask[batch], bool)
