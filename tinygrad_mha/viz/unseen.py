"""Gradients that are zero by nature: what a softmax does not see.

A softmax is the same when all of a row rises by the same amount. The bias of the keys does just
that: it adds qᵢ · b to every score of query i. So its gradient is zero, and what a computer finds
is rounding. Here the graph is walked from its softmaxes back to whatever can change no row but as
a whole; where that cannot be vouched for, a gradient is taken as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Node, Tensor
from .regions import follow
from .replay import Replay
from .shares import BIAS, X

#: What is the same when all along one axis rises by the same amount.
_SOFTMAXES = ("softmax", "masked_softmax", "log_softmax")

#: Operations that move numbers and leave them as they are.
_MOVES = ("reshape", "permute", "transpose", "getitem", "concatenate", "expand")

#: No finite score below leaves anything behind in a softmax.
_FAR_BELOW = -1e4

#: In place of an axis: of all that could be changed in a value, nothing is seen.
_ALL = -1


def unseen(replayed: Replay) -> set[Any]:
    """Find what a softmax does not see: nodes, and leaves by ``id``.

    Parameters
    ----------
    replayed : Replay
        Fused operations in the steps that they stand for.
    """
    # of each use of a value, along which axis a change that is the same there goes unseen
    uses: dict[Any, list[int | None]] = {}
    found = set()
    for node in reversed(replayed.nodes):  # users come before what they use
        axis = None if node in replayed.seeds else _agreed(uses.get(node, []))
        if axis == _ALL:
            found.add(node)
        for which, source in enumerate(node.inputs):
            if isinstance(source, Node | Tensor):
                uses.setdefault(_key(source), []).append(_back(node, which, axis, replayed))
    leaves = {key for key in uses if not isinstance(key, Node)}
    return found | {leaf for leaf in leaves if _agreed(uses[leaf]) == _ALL}


def carried_over(found: set[Any], nodes: list[Node]) -> set[Any]:
    """What is known of the steps, told of a graph that has the same leaves."""
    found = set(found)
    for node in nodes:
        sources = [_key(s) for s in node.inputs if isinstance(s, Node | Tensor)]
        if sources and found.issuperset(sources):
            found.add(node)
    return found


def _key(source: Node | Tensor) -> Any:
    return source if isinstance(source, Node) else id(source)


def _agreed(uses: list[int | None]) -> int | None:
    """What all uses of a value leave unseen; None: one of them sees every change, or none is."""
    axes = {axis for axis in uses if axis != _ALL}
    if not uses or len(axes) > 1:
        return None
    return axes.pop() if axes else _ALL


def _back(node: Node, which: int, axis: int | None, replayed: Replay) -> int | None:
    """Of an input, what goes unseen if changes alike along `axis` of the output do."""
    name, size = node.op.name, len(node.shape)
    options = dict(zip(node.op.param_names, node.params, strict=True))
    if axis == _ALL:
        return _ALL
    if name in _SOFTMAXES and which == X and size:
        return int(options.get("dim", -1)) % size
    if axis is None:
        return None
    shape = np.shape(replayed.value(node.inputs[which]))
    if name == "masked_fill":  # what is filled in stays where it is
        gone = np.max(replayed.value(node.inputs[2]), initial=-np.inf) < _FAR_BELOW
        return _aligned(shape, node.shape, axis) if gone and which == 0 else None
    if name in ("add", "sub", "neg"):
        return _aligned(shape, node.shape, axis)
    if name == "mul" or (name == "div" and which == 0):
        factor = np.shape(replayed.value(node.inputs[1 - which]))
        alike = _aligned(factor, node.shape, axis) == _ALL
        return _aligned(shape, node.shape, axis) if alike else None
    if name == "linear" and axis != size - 1:  # a bias is added along every other axis alike
        return {X: axis, BIAS: _ALL}.get(which)
    if name == "dot_scores" and (which, axis) == (1, size - 1):
        return len(shape) - 2
    if name == "matmul" and min(len(np.shape(replayed.value(s))) for s in node.inputs) > 1:
        return {(0, size - 2): len(shape) - 2, (1, size - 1): len(shape) - 1}.get((which, axis))
    if name == "split_heads" and axis == size - 2:  # (..., T, h·p) → (..., h, T, p)
        return len(shape) - 2
    if name in _MOVES and not (name == "concatenate" and options["dim"] % size == axis):
        return next(
            (i for i in range(len(shape)) if follow(node, which, i, replayed) == axis), None
        )
    return None


def _aligned(shape: tuple[int, ...], out: tuple[int, ...], axis: int) -> int:
    """An axis of a result among those of an operand; all of one that is stretched is alike."""
    own = axis - len(out) + len(shape)
    return own if own >= 0 and shape[own] == out[axis] > 1 else _ALL
