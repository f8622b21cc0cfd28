"""Heads that are computed one after the other, as the formula reads: regions of one head, added up.

Each region is measured and proved by itself (:mod:`.lanes`). Here those whose outputs one module
call adds up become one attention with a lane for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine import Node
from .data import Attention, Edge, Lane, Proof
from .proof import difference
from .regions import Region
from .replay import Replay


@dataclass
class Group:
    """The regions of one attention.

    Attributes
    ----------
    regions : list of Region
        One with all heads, or one for each head.
    sums : list of Node
        What adds them up, in order; the bias of the output is a term too.
    """

    regions: list[Region]
    sums: list[Node]

    @property
    def output(self) -> Node:
        """The node whose value the lanes add up to."""
        return self.sums[-1] if self.sums else self.regions[0].output

    def merge(self, head: int) -> tuple[Node, int]:
        """Where a head is merged, and at which place of the axis of heads."""
        if self.sums:
            return self.regions[head].merge, 0
        return self.regions[0].merge, head


def grouped(found: list[Region], replayed: Replay) -> list[Group]:
    """Put regions of one head together, where a module call adds up what they give."""
    groups: list[Group] = []
    last: dict[Any, list[Region]] = {}
    for region in found:
        alone = region.heads == 1 and region.combine is not None
        if alone and region.merge.frame is not None:
            last.setdefault(id(region.merge.frame), []).append(region)
        else:
            groups.append(Group([region], []))
    for regions in last.values():
        sums = _sums(regions, replayed)
        groups += [Group(regions, sums)] if sums else [Group([one], []) for one in regions]
    return sorted(groups, key=lambda group: group.output.sequence)


def _sums(regions: list[Region], replayed: Replay) -> list[Node]:
    """The additions by which all regions, and at last a bias, become one; none: they do not."""
    if len(regions) < 2:
        return []
    (first, *others), frame = [region.output for region in regions], regions[0].merge.frame
    found, total = [], first
    while True:
        users = replayed.users.get(total, [])
        if len(users) != 1 or users[0].op.name != "add" or users[0].frame is not frame:
            break
        rest = [source for source in users[0].inputs if source is not total]
        if others and rest == [others[0]]:
            others.pop(0)
        elif others or not rest or isinstance(rest[0], Node):
            break  # something else than the next head, or than a bias
        total = users[0]
        found.append(total)
    return [] if others else found


def joined(group: Group, parts: list[Attention], replayed: Replay) -> Attention:
    """One attention of all its heads; `parts` are the regions', each with its vertices."""
    lanes = [
        _lane(i, region, part)
        for i, (region, part) in enumerate(zip(group.regions, parts, strict=True))
    ]
    return replace(parts[0], lanes=lanes, proof=_proof(group, parts, replayed))


def _lane(head: int, region: Region, part: Attention) -> Lane:
    blocks = [
        head if origin is None else _index(origin.projection.inputs[1], head)
        for origin in region.origins
    ]
    return replace(part.lanes[0], head=head, blocks=blocks, vertices=part.vertices)


def _index(weight: Any, head: int) -> int:
    """Which block of a weight a head was given: j of ``W_k[j]``."""
    if isinstance(weight, Node) and weight.op.name == "getitem":
        index = dict(zip(weight.op.param_names, weight.params, strict=True))["index"]
        if isinstance(index, int):
            return index
    return head


def _proof(group: Group, parts: list[Attention], replayed: Replay) -> Proof:
    """Every head is what it is alone, and all of them and the bias are what really came out."""
    total = np.sum([replayed.values[region.output].data for region in group.regions], axis=0)
    for node in group.sums:
        for source in node.inputs:
            if not isinstance(source, Node):
                total = total + replayed.value(source)
    worst = difference(total, replayed.values[group.output].data)
    proofs = [part.proof for part in parts]
    gradients = [proof.gradient for proof in proofs if proof.gradient is not None]
    return Proof(
        float(np.max([worst, *(proof.output for proof in proofs)])),  # nan where one of them is
        float(np.max(gradients)) if gradients else None,
        proofs[0].tolerance,
    )


def share_out(edges: list[Edge], attention: Attention) -> None:
    """What flows back in a head's own computation is that head's alone."""
    owners: dict[int, list[int]] = {}
    for lane in attention.lanes:
        for vertex in lane.vertices:
            owners.setdefault(vertex, []).append(lane.head)
    for edge in edges:
        heads = owners.get(edge.target) or owners.get(edge.source, [])
        if len(heads) == 1 and edge.gradient is not None:
            edge.head_gradients = [0.0] * len(attention.lanes)
            edge.head_gradients[heads[0]] = edge.gradient
        elif heads:
            edge.head_gradients = None
