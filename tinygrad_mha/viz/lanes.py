"""Lanes: each head of a batched attention, measured, and held against the whole.

Between splitting into heads and merging them everything is cut at head i, and what was one
batched computation is run again for that head only (:mod:`.alone`). The sum of what the heads
contribute must be the real output, and their gradients the real gradients (:mod:`.proof`).
"""

from __future__ import annotations

import math

import numpy as np

from ..engine import Node
from .alone import alone, cut
from .data import Attention, Lane
from .head_measures import NAMES, in_batch, labels, measures, pool
from .measure import norm
from .origins import Origin
from .proof import prove
from .regions import Region
from .replay import Replay
from .shares import Shares

#: Of a head's map, in cells; larger ones are averaged over squares.
LARGEST_MAP = 64


def attention(
    region: Region,
    axes: dict[Node, int],
    replayed: Replay,
    tokens: list[str],
    batch: int,
    names: dict[int, str],
    shares: Shares,
) -> Attention:
    """Run every head of a region alone, measure it, and hold the sum against the whole."""
    items = 0
    if region.weights is not None:
        shape = region.weights.shape
        items = math.prod(shape[:-2]) // max(shape[axes[region.weights]], 1)
        if items:
            in_batch(batch, items)
    heads = [alone(region, i, axes, replayed) for i in range(region.heads)]
    at_merge = replayed.incoming.get(region.merge)
    lanes, pooled_by = [], 1
    for i, one in enumerate(heads):
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
        lane.sourced = shares.sourced[i]
        lanes.append(lane)
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
        proof=prove(region, heads, shares, axes, replayed),
        pooled=pooled_by,
        item=batch if items else 0,
        items=items,
    )


def _parameter_name(node: Node, names: dict[int, str]) -> str:
    """The model's name of a linear node's weight, looked for through reshapes."""
    source = node.inputs[1]
    while isinstance(source, Node) and source.op.name in ("reshape", "transpose", "getitem"):
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
    return None if incoming is None else norm(cut(incoming, axes[node], head))


def _projection_name(source: Origin | None, names: dict[int, str], k: int) -> str:
    if source is None:
        return f"input {k + 1}"
    name = _parameter_name(source.projection, names)
    parts = name.split(".")
    return parts[-2] if parts[-1] == "weight" and len(parts) > 1 else parts[-1]


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
    if node is None or 0 in node.shape:  # nothing to show
        unknown: dict[str, float | None] = dict.fromkeys(NAMES)
        return Lane(
            head, [], [], [], [], **unknown, contribution=contribution, gradient=gradient,
            blocks=[], projected=[], staged=[], sourced=[], vertices=[],
        ), 1  # fmt: skip
    weights = np.take(replayed.values[node].data, head, axes[node])
    # (..., L, S) without the head axis: all batch axes as one
    weights = weights.reshape(-1, *weights.shape[-2:]).astype(np.float64)
    shown = weights[batch]
    visible = _visible(node, head, axes[node], replayed, batch, shown.shape)
    length, keys = shown.shape
    size = -(-max(length, keys) // LARGEST_MAP)
    rows, columns = labels(tokens, (length, keys), region.offset, size, region.appended)
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
            sourced=[],
            vertices=[],
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
