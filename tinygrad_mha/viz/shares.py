"""What each head sends back to the values that it reads.

The gradient of what the projections read is a sum over the heads::

    dx = Σᵢ dqᵢ · Wᵢ^(q) + dkᵢ · Wᵢ^(k) + dvᵢ · Wᵢ^(v)

dqᵢ is head i's slice of the recorded gradient where the queries are split, so each term is
known once the backward pass has run. Where heads share keys and values, or a key is appended,
the slice first goes back through what stands between projection and split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine import Node, Tensor, enable_grad, steps
from .measure import norm
from .replay import Replay, call

if TYPE_CHECKING:
    from .regions import Region

#: Positions of a linear map's inputs; a split has but the first.
X, WEIGHT, BIAS = range(3)


class _Part(NamedTuple):
    """A head's part of the gradient of what a projection gives."""

    columns: Any  # a slice, or the numbers of the columns
    gradient: np.ndarray  # (..., T, columns)


@dataclass
class Shares:
    """The heads' parts of the gradients around a region's projections.

    Attributes
    ----------
    edges : dict of (Node, int) to list of float
        For an input of a node, the norm of each head's part of what flows back to it.
    sourced : list of list of float or None
        For each head, the norm of its part of the gradient of each source; None: not computed.
    own : dict of Node to list of ndarray
        For each projection, or split without one, every head's part of the gradient of its input.
    pairs : list of (ndarray, ndarray)
        The sum of the heads' parts, and what really flowed: the two must be equal.
    """

    edges: dict[tuple[Node, int], list[float]] = field(default_factory=dict)
    sourced: list[list[float | None]] = field(default_factory=list)
    own: dict[Node, list[np.ndarray]] = field(default_factory=dict)
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


def shares(region: Region, axes: dict[Node, int], replayed: Replay) -> Shares:
    """Share out the gradients that one region sends back.

    Parameters
    ----------
    region : Region
        Where the heads are.
    axes : dict of Node to int
        Which axis of each node's value is the heads'.
    replayed : Replay
        With the gradients that were recorded.
    """
    found = Shares()
    slices = {
        split: [np.take(replayed.incoming[split], i, axes[split]) for i in range(region.heads)]
        for split in region.splits
        if split in replayed.incoming
    }
    for reader, ways in region.readers.items():
        behind = [region.splits[k] for k in ways if region.splits[k] in slices]
        if not behind:
            continue
        if reader in slices:  # split as it is: each head has columns of its own
            if (reader, X) in replayed.flows:
                found.own[reader] = _placed(slices[reader], reader.inputs[0].shape)
                found.edges[reader, X] = [norm(part) for part in slices[reader]]
            continue
        if region.direct(reader):
            parts = [_beside(i, [slices[s][i] for s in behind]) for i in range(region.heads)]
        else:
            parts = _between(region, reader, slices, axes, replayed, found)
            _parameters(region, reader, parts, found, replayed)
        _read(region, reader, parts, found, replayed)
    _sources(region, found)
    return found


# -- from the split back to the projection --------------------------------------------------


def _beside(head: int, slices: list[np.ndarray]) -> _Part:
    """Split at once after it is projected: the i-th head's is the i-th block."""
    p = slices[0].shape[-1]
    return _Part(slice(head * p, (head + 1) * p), _sum(slices))


def _between(
    region: Region,
    projection: Node,
    slices: dict[Node, list[np.ndarray]],
    axes: dict[Node, int],
    replayed: Replay,
    found: Shares,
) -> list[_Part]:
    """Send each head's slice back through what only moves numbers."""
    ways = region.readers[projection]
    behind = [region.splits[k] for k in ways if region.splits[k] in slices]
    moves = {node for k in ways for node in region.between(k)} | set(behind)
    values: dict[Any, Tensor] = {projection: _again(projection, {}, replayed)}
    original: dict[Node, Node] = {}
    with enable_grad():
        for node in sorted(moves, key=lambda node: node.sequence):
            values[node] = call(node, [_again(one, values, replayed) for one in node.inputs])
            made = values[node].grad_fn
            assert made is not None
            original[made] = node
    parts: list[_Part] = []
    for head in range(region.heads):
        back: list[np.ndarray] = []
        seeds = [_alone(slices[split], head, axes[split]) for split in behind]
        for step in steps([values[s] for s in behind], seeds, retain_graph=True):
            node = original[step.node]
            for which, flow in zip(step.node.wanted, step.flows, strict=True):
                if node.inputs[which] is projection:
                    back.append(flow.gradient)
                if (node, which) in replayed.flows:
                    found.edges.setdefault((node, which), []).append(norm(flow.gradient))
        columns = np.unique(np.concatenate([region.columns(k, head) for k in ways]))
        parts.append(_Part(columns, _sum(back)[..., columns]))
    return parts


def _again(source: Any, values: dict[Any, Tensor], replayed: Replay) -> Any:
    """An input of a node that is run again: what was made here, or a copy of what it was."""
    if isinstance(source, Node) and source in values:
        return values[source]
    if isinstance(source, Node | Tensor):
        return Tensor(replayed.value(source), requires_grad=True)
    return source


def _alone(slices: list[np.ndarray], head: int, axis: int) -> Tensor:
    """One head's slice, and zeros for the others: (..., h, T, p)."""
    return Tensor(
        np.stack([s if i == head else np.zeros_like(s) for i, s in enumerate(slices)], axis)
    )


def _placed(slices: list[np.ndarray], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Every head's columns where they belong, zeros elsewhere: (..., T, h·p)."""
    found = []
    for i, part in enumerate(slices):
        whole, p = np.zeros(shape, part.dtype), part.shape[-1]
        whole[..., i * p : (i + 1) * p] = part
        found.append(whole)
    return found


# -- through the projection -----------------------------------------------------------------


def _read(
    region: Region, projection: Node, parts: list[_Part], found: Shares, replayed: Replay
) -> None:
    """Every head's part of the gradient of what is projected: dqᵢ · Wᵢ^(q)."""
    real = replayed.flows.get((projection, X))
    if real is None:
        return
    weight = replayed.value(projection.inputs[WEIGHT])
    own = found.own[projection] = [part.gradient @ weight[part.columns] for part in parts]
    if region.alone(projection, replayed):
        found.edges[projection, X] = [norm(one) for one in own]
        found.pairs.append((_sum(own), real))


def _parameters(
    region: Region, projection: Node, parts: list[_Part], found: Shares, replayed: Replay
) -> None:
    """Every head's part of the gradients of a weight and a bias whose blocks are dealt out anew."""
    x = replayed.value(projection.inputs[X])
    rows = x.reshape(-1, x.shape[-1])  # (..., T, d) -> (N·T, d)
    sums, reals = [], []
    for which in (WEIGHT, BIAS):
        real = replayed.flows.get((projection, which))
        if real is None or not region.alone(projection, replayed):
            continue
        whole, norms = np.zeros_like(real), []
        for columns, gradient in parts:
            d = gradient.reshape(-1, gradient.shape[-1])  # (..., T, c) -> (N·T, c)
            mine = d.T @ rows if which == WEIGHT else d.sum(0)
            norms.append(norm(mine))
            whole[columns] += mine
        found.edges[projection, which] = norms
        sums.append(whole.reshape(len(whole), -1))
        reals.append(real.reshape(len(whole), -1))
    if reals:  # as one: a bias of keys has no gradient but what rounding leaves
        found.pairs.append((np.hstack(sums), np.hstack(reals)))


def _sources(region: Region, found: Shares) -> None:
    """Add up what each head sends to a value, by all projections that read it."""
    readers: dict[Any, list[Node]] = {}
    for reader in region.readers:
        source = reader.inputs[0]
        readers.setdefault(source if isinstance(source, Node) else id(source), []).append(reader)
    every = [[found.own[r] for r in rs if r in found.own] for rs in readers.values()]
    for head in range(region.heads):
        found.sourced.append(
            [norm(_sum([own[head] for own in ways])) if ways else None for ways in every]
        )


def _sum(arrays: list[np.ndarray]) -> np.ndarray:
    total = np.array(arrays[0])
    for array in arrays[1:]:
        total += array
    return total


# -- in front of the projection -------------------------------------------------------------


def through_reshapes(
    nodes: list[Node],
    users: dict[Node, list[Node]],
    parts: dict[tuple[Node, int], list[float] | None],
) -> None:
    """Tell of what only gives a value another shape: the heads' parts stay as large as they are.

    Parameters
    ----------
    nodes : list of Node
        Inputs first.
    users : dict of Node to list of Node
        Once for each input that it is.
    parts : dict of (Node, int) to list of float or None
        For an input of a node, the heads' parts; more of them are added.
    """
    for node in reversed(nodes):
        if node.op.name == "reshape" and len(users.get(node, ())) == 1:
            user = users[node][0]
            which = next(i for i, source in enumerate(user.inputs) if source is node)
            if parts.get((node, X)) is None and (found := parts.get((user, which))):
                parts[node, X] = found
