"""Heads of two graphs: how far the attention of each moved, and what became of its measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .data import Attention, Lane, Trace
from .head_measures import measures
from .match import calls
from .regions import WEIGHTS

#: Of a head, in the order in which they are shown: field of a Lane, and what it is called.
MEASURES = (
    ("entropy", "entropy"),
    ("peak", "peak"),
    ("to_self", "self"),
    ("to_previous", "previous"),
    ("to_first", "first"),
    ("contribution", "contribution"),
    ("gradient", "gradient"),
    ("ablation", "loss without"),
)


@dataclass(frozen=True)
class HeadChange:
    """One head, in both traces or in one.

    Attributes
    ----------
    layer : str
        Path of the module.
    head : int
        Counts from 0.
    before, after : Lane or None
    delta : list of list of float or None
        Weights after − weights before, ``(L, S)``; None where there is nothing to subtract.
    moved : float or None
        Share of the attention that moved to another key: ½ Σ |Δ|, averaged over the queries.
    """

    layer: str
    head: int
    before: Lane | None
    after: Lane | None
    delta: list[list[float]] | None
    moved: float | None

    def measures(self) -> list[tuple[str, float | None, float | None]]:
        """Name, value before and value after of each measure that either has."""
        rows = []
        for field, name in MEASURES:
            old, new = _known(self.before, field), _known(self.after, field)
            if old is not None or new is not None:
                rows.append((name, old, new))
        return rows


def _known(lane: Lane | None, field: str) -> float | None:
    value = None if lane is None else getattr(lane, field)
    return None if value is None or math.isnan(value) else value


def heads(before: Trace, after: Trace) -> list[HeadChange]:
    """Compare every head of either trace, layer by layer, first those that `after` has."""
    ours, theirs = layers(before), layers(after)
    found = []
    for name in [*theirs, *(n for n in ours if n not in theirs)]:
        old, new = ours.get(name), theirs.get(name)
        lanes = [a.lanes if a is not None else None for a in (old, new)]
        if lanes[0] is None and lanes[1] is not None and new is not None:
            lanes[0] = _one_by_one(before, name[0], lanes[1], new.item)
        elif lanes[1] is None and lanes[0] is not None and old is not None:
            lanes[1] = _one_by_one(after, name[0], lanes[0], old.item)
        size = max(a.pooled for a in (old, new) if a is not None)
        for i in range(max(len(some or []) for some in lanes)):
            a, b = (some[i] if some and i < len(some) else None for some in lanes)
            found.append(_head(name[0], i, a, b, size))
    return found


def layers(data: Trace) -> dict[tuple[str, int], Attention]:
    """Attentions by the path of their module call, and a count within it."""
    names = calls(data)
    found: dict[tuple[str, int], Attention] = {}
    for attention in data.attentions:
        path = "" if attention.module is None else names[attention.module]
        found[path, sum(p == path for p, _ in found)] = attention
    return found


def _one_by_one(data: Trace, path: str, like: list[Lane], item: int) -> list[Lane] | None:
    """Lanes of a module call that has a softmax of its own for each head, in order."""
    names = calls(data)
    inside = {m.id for m in data.modules if names[m.id] == path}
    for m in data.modules:  # a call's number is above that of the call around it
        if m.parent in inside:
            inside.add(m.id)
    softmaxes = [v for v in data.vertices if v.module in inside and v.name in WEIGHTS]
    if len(softmaxes) != len(like):
        return None
    lanes = []
    for v, other in zip(softmaxes, like, strict=True):
        shape = v.shape[-2:]
        if v.elements is None or shape != (len(other.rows), len(other.columns)):
            return None
        weights = np.array(v.elements).reshape(-1, *shape)  # (N, L, S)
        if item >= len(weights):
            return None
        shown = np.round(weights[item], 5).tolist()
        # which of unlike many keys is a query's own is not known from the weights
        own = 0 if other.to_self is not None and shape[0] == shape[1] else None
        nan = math.nan
        lanes.append(
            Lane(
                other.head,
                shown,
                other.rows,
                other.columns,
                other.visible,
                **measures(weights, own),
                contribution=nan,
                gradient=None,
                blocks=[],
                projected=[],
                staged=[],
                sourced=[],
                vertices=[],
            )
        )
    return lanes


def _head(path: str, head: int, old: Lane | None, new: Lane | None, size: int) -> HeadChange:
    delta = moved = None
    if old is not None and new is not None and old.weights and new.weights:
        a, b = np.array(old.weights), np.array(new.weights)  # (L, S)
        if a.shape == b.shape:
            delta = np.round(b - a, 5).tolist()
            # where neighbours share a cell, it holds their mean: a row's sum is 1/size
            moved = float(np.abs(b - a).sum(-1).mean() / 2 * size)
    return HeadChange(path, head, old, new, delta, moved)
