"""Which block of which projection each head begins with, and which key is a query's own.

Between a projection and the splitting into heads a module may share keys among heads,
append keys, or cut queries, keys and values out of one product. All of that only moves
numbers about, so it need not be understood: where head i's numbers are found unchanged in
a block of the projection's columns, that block is the head's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Node
from .replay import Replay

#: Operations that move numbers and leave them as they are.
_MOVES = frozenset(("reshape", "expand", "concatenate", "getitem", "transpose", "permute"))


@dataclass
class Origin:
    """Where the heads of one ``split_heads`` come from.

    Attributes
    ----------
    projection : Node
        The linear map.
    blocks : list of int
        For each head, which block of the projection's columns is its own.
    between : list of Node
        What only moves numbers on the way to the split.
    """

    projection: Node
    blocks: list[int]
    between: list[Node] = field(default_factory=list)

    @property
    def direct(self) -> bool:
        """Whether nothing is between the two: then head i's block is the i-th."""
        return not self.between


def origin(split: Node, axis: int, replayed: Replay) -> Origin | None:
    """Look for the projection behind a ``split_heads``; None where it cannot be vouched for."""
    between: list[Node] = []
    waiting = [split.inputs[0]]
    projections: list[Node] = []
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Node):
            continue  # an appended key is no projection's
        if node.op.name == "linear":
            projections.append(node)
        elif node.op.name in _MOVES and node not in between:
            between.append(node)
            waiting.extend(node.inputs)
    # a cache that keeps its graph holds what the same weight made of earlier tokens
    if len({id(_unshaped(projection.inputs[1])) for projection in projections}) != 1:
        return None
    newest = max(projections, key=lambda node: node.sequence)
    rows = {0} | {start for read, start in _starts(split) if read is newest.inputs[0]}
    blocks = _blocks(replayed.values[split].data, axis, replayed.values[newest].data, rows)
    return None if blocks is None else Origin(newest, blocks, between)


def _unshaped(source: Any) -> Any:
    """A parameter, looked for through what only gives it another shape."""
    while isinstance(source, Node) and source.op.name in ("reshape", "transpose"):
        source = source.inputs[0]
    return source


def appended(keys: Node, source: Origin, count: int) -> int:
    """How many of `count` keys a module appended behind those that it projected."""
    read = source.projection.inputs[0]
    ends = [start + read.shape[-2] for one, start in _starts(keys) if one is read]
    return max(count - max(ends), 0) if ends else 0


def offset(splits: list[Node], length: int, keys: int) -> int | None:
    """Which key stands where the first query does.

    Parameters
    ----------
    splits : list of Node
        Of those that the weights are made of, in order: the queries' first.
    length, keys : int
        How many queries and keys there are.

    Returns
    -------
    int or None
        0 where nothing stands before the keys of the queries' own sequence; None where it is not
        among the keys, as in cross attention.
    """
    if not splits or length > keys:
        return None
    if len(splits) == 1:
        return 0 if length == keys else None
    own = {id(source) for source, start in _starts(splits[0]) if start == 0}
    for split in splits[1:]:
        found = [start for source, start in _starts(split) if id(source) in own]
        if found:
            # keys that are joined behind the split are seen only by their number
            return max(found) if split.shape[-2] == keys else keys - length
    return None


def _starts(split: Node) -> list[tuple[Any, int]]:
    """What is projected behind a split, and in which row of the split's value that begins."""
    found: list[tuple[Any, int]] = []
    waiting: list[tuple[Any, int]] = [(split, 0)]
    seen = set()
    while waiting:
        source, start = waiting.pop()
        if not isinstance(source, Node):
            found.append((source, start))
        elif source.op.name == "linear":
            found.append((source.inputs[0], start))
        elif source not in seen:
            seen.add(source)
            options = dict(zip(source.op.param_names, source.params, strict=True))
            rows = len(source.shape) - 2
            joins = source.op.name == "concatenate" and options["dim"] % len(source.shape) == rows
            for part in source.inputs:
                if hasattr(part, "shape"):
                    waiting.append((part, start))
                    start += part.shape[-2] if joins else 0
    return found


def _blocks(
    split: np.ndarray, axis: int, projected: np.ndarray, rows: set[int]
) -> list[int] | None:
    """Find each head's numbers among the columns of what was projected; it may begin at `rows`."""
    heads, (*_, p) = split.shape[axis], split.shape
    each = np.moveaxis(split, axis, 0)  # (h, ..., S, p)
    length = projected.shape[-2]
    count = projected.shape[-1] // p if p else 0

    def same(head: int, block: int) -> bool:
        columns = projected[..., block * p : (block + 1) * p]
        # appended keys stand behind, those of a cache before
        found = (each[head][..., start : start + length, :] for start in sorted(rows))
        return any(np.array_equal(part, columns, equal_nan=True) for part in found)

    for start in range(count):
        for groups in range(min(heads, count - start), 0, -1):
            if heads % groups == 0:
                blocks = [start + i * groups // heads for i in range(heads)]
                if all(same(i, block) for i, block in enumerate(blocks)):
                    return blocks
    return None
