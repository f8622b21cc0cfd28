"""Which vertex of one trace is which of another.

Vertices are matched by where they stand: first module calls, by path and count; then the
operations directly in each, in order, as lines are in a textual diff; then parameters by name,
and other leaves by the operation and the input that they are used in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

from .data import Trace, Vertex

Pair = tuple[int | None, int | None]


def match(before: Trace, after: Trace) -> list[Pair]:
    """Pair the vertices of two traces.

    Parameters
    ----------
    before, after : Trace

    Returns
    -------
    list of (int or None, int or None)
        Every vertex of either trace once, in the order of `after`, with those that only
        `before` has next to their neighbours there. None: has no counterpart.
    """
    ours, theirs = _operations(before), _operations(after)
    pairs: dict[int, int] = {}
    for key, mine in ours.items():
        others = theirs.get(key, [])
        for i, j in _aligned(
            [before.vertices[v] for v in mine], [after.vertices[v] for v in others]
        ):
            pairs[mine[i]] = others[j]
    pairs |= _named(before, after)
    _used_alike(before, after, pairs)
    return _in_order(before, after, pairs)


def calls(data: Trace) -> list[str]:
    """Name each module call by its path, and by a count where a module is called repeatedly."""
    seen: Counter[str] = Counter()
    names = []
    for module in data.modules:
        # a repeated call's inner calls are repeated too: counts alone keep them in order
        seen[module.path] += 1
        count = seen[module.path]
        names.append(module.path if count == 1 else f"{module.path} #{count}")
    return names


def _operations(data: Trace) -> dict[str | None, list[int]]:
    """Operations by the module call that they stand directly in, in order."""
    names = calls(data)
    found: dict[str | None, list[int]] = {}
    for v in data.vertices:
        if v.kind == "op":
            found.setdefault(None if v.module is None else names[v.module], []).append(v.id)
    return found


def _aligned(before: Sequence[Vertex], after: Sequence[Vertex]) -> list[tuple[int, int]]:
    """Align two sequences of operations.

    The same operations in the same order are the same, whatever their shapes. Else only those
    of the same shape are: inside a rewritten part, a name alone says little.
    """
    if [v.name for v in before] == [v.name for v in after]:
        return [(i, i) for i in range(len(before))]
    exact = _common([(v.name, v.shape) for v in before], [(v.name, v.shape) for v in after])
    return exact or _common([v.name for v in before], [v.name for v in after])


def _common(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Longest common stretches; what both begin and end with needs no search."""
    short = min(len(before), len(after))
    start = next((i for i in range(short) if before[i] != after[i]), short)
    end = next((i for i in range(short - start) if before[-1 - i] != after[-1 - i]), short - start)
    found = [(i, i) for i in range(start)]
    middle = SequenceMatcher(
        None, before[start : len(before) - end], after[start : len(after) - end], autojunk=False
    )
    for block in middle.get_matching_blocks():
        found += [(start + block.a + k, start + block.b + k) for k in range(block.size)]
    return found + [(len(before) - end + k, len(after) - end + k) for k in range(end)]


def _named(before: Trace, after: Trace) -> dict[int, int]:
    """Parameters whose name occurs once in each."""

    def by_name(data: Trace) -> dict[str, int]:
        leaves = [v for v in data.vertices if v.kind == "parameter"]
        counts = Counter(v.name for v in leaves)
        return {v.name: v.id for v in leaves if counts[v.name] == 1}

    ours, theirs = by_name(before), by_name(after)
    return {number: theirs[name] for name, number in ours.items() if name in theirs}


def _used_alike(before: Trace, after: Trace, pairs: dict[int, int]) -> None:
    """Add the leaves that matched operations take in the same place."""

    def inputs(data: Trace) -> dict[int, list[tuple[str, int]]]:
        found: dict[int, list[tuple[str, int]]] = {}
        for edge in data.edges:
            found.setdefault(edge.target, []).append((edge.slot, edge.source))
        return found

    ours, theirs = inputs(before), inputs(after)
    taken = set(pairs.values())
    for mine, other in sorted(pairs.items()):
        for (slot, i), (same, j) in zip(ours.get(mine, []), theirs.get(other, []), strict=False):
            kinds = before.vertices[i].kind, after.vertices[j].kind
            if slot == same and kinds[0] == kinds[1] != "op" and i not in pairs and j not in taken:
                pairs[i] = j
                taken.add(j)


def _in_order(before: Trace, after: Trace, pairs: dict[int, int]) -> list[Pair]:
    """All vertices, those without a counterpart after the last matched one before them."""
    back = {j: i for i, j in pairs.items()}
    lonely: dict[int, list[int]] = {}  # vertex of `after`, or -1: what only `before` has, there
    last = -1
    for v in before.vertices:
        if v.id in pairs:
            last = pairs[v.id]
        else:
            lonely.setdefault(last, []).append(v.id)
    ordered: list[Pair] = [(i, None) for i in lonely.get(-1, [])]
    for v in after.vertices:
        ordered.append((back.get(v.id), v.id))
        ordered += [(i, None) for i in lonely.get(v.id, [])]
    return ordered
