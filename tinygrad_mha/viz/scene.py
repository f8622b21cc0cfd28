"""What is drawn: modules folded up until a person can read the picture.

Attention is drawn in full; modules without any become one box each, as far out as
possible. Of several like layers in a row the first is drawn and the others are one box,
"× 11". A graph without attention is drawn operation by operation while it is small, and
in stretches of many operations when it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .data import CONSTANT, LEAF, Attention, Trace, Vertex

#: Operations up to which a graph without attention is drawn whole.
READABLE = 150

#: Boxes that a longer one is drawn as.
STRETCHES = 40

#: Frames inside each other.
DEEPEST = 20

#: Like modules in a row from which on they are one box.
ALIKE = 3


@dataclass
class Scene:
    """What of a trace is drawn, and as what.

    Attributes
    ----------
    shown : dict of int to str
        For each vertex, the key of the thing that stands for it; hidden vertices are missing.
    boxes : dict of str to set of int
        Keys of folded modules, with the numbers of the calls in them.
    singles : dict of str to int
        Keys of vertices drawn by themselves, with the vertex's number.
    stretches : dict of str to list of int
        Keys of many operations drawn as one, with their numbers.
    attentions : list of Attention
        Those drawn as lanes.
    parents : dict of str to int or None
        For each key the open module around it.
    open : set of int
        Modules drawn as frames.
    """

    shown: dict[int, str] = field(default_factory=dict)
    boxes: dict[str, set[int]] = field(default_factory=dict)
    singles: dict[str, int] = field(default_factory=dict)
    stretches: dict[str, list[int]] = field(default_factory=dict)
    attentions: list[Attention] = field(default_factory=list)
    parents: dict[str, int | None] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)


def arrange(data: Trace, lanes: bool, depth: int | None = None) -> Scene:
    """Decide what is drawn; `depth` says how many modules inside each other are open."""
    scene = Scene()
    first = _first_of_alike(data)
    chains = _chains(data)
    scene.open = (
        {m for m in _open_modules(data, chains, first) if len(chains[m]) <= DEEPEST}
        if depth is None
        else {m.id for m in data.modules if len(chains[m.id]) <= depth}
    )
    if lanes:
        scene.attentions = [
            a
            for a in data.attentions
            if a.module is None or scene.open.issuperset(chains[a.module])
        ]
    folds = _folds(data, chains, scene.open, first)
    inside = {v: a for a in scene.attentions for v in a.vertices}
    projected = {v for a in scene.attentions for v in a.sources}
    weights = made_of_parameters(data)
    users: dict[int, list[int]] = {}
    for edge in data.edges:
        users.setdefault(edge.source, []).append(edge.target)
    for vertex in reversed(data.vertices):  # users first: what nobody shows is not shown
        if vertex.id in inside:
            key = f"a{inside[vertex.id].id}"
            scene.parents[key] = inside[vertex.id].module
        elif vertex.kind == "op":
            if vertex.id in weights and _swallowed(vertex, users, scene, inside):
                continue
            key = _place(vertex, data, scene, folds)
        elif vertex.kind == "constant" or (
            vertex.id not in projected and _swallowed(vertex, users, scene, inside)
        ):
            continue
        else:
            key = f"v{vertex.id}"
            scene.singles[key] = vertex.id
            user = data.vertices[users[vertex.id][0]] if vertex.id in users else vertex
            outside = vertex.kind == "input" or vertex.name == LEAF or user.module is None
            inner = [] if outside else [m for m in chains[user.module or 0] if m in scene.open]
            scene.parents[key] = inner[-1] if inner else None
        scene.shown[vertex.id] = key
    _fold_stretches(data, scene)
    return scene


def overview(data: Trace, opened: Sequence[int], depth: int) -> Scene:
    """Arrange boxes that stand for all of it, and some attentions as lanes under them."""
    scene = arrange(data, lanes=False, depth=depth)
    for key, v in list(scene.singles.items()):
        if data.vertices[v].kind == "input" and data.vertices[v].name.startswith(CONSTANT):
            del scene.singles[key], scene.parents[key], scene.shown[v]  # its box says enough
    scene.attentions = [data.attentions[i] for i in opened]
    scene.open, scene.parents = set(), dict.fromkeys(scene.parents)
    return scene


def streams(edges: Iterable[tuple[str, str]], order: Sequence[str]) -> dict[str, int]:
    """Which sequence each thing belongs to: one begins wherever something is made of inputs only.

    What several run into belongs to that which began last: an encoder is one, a decoder that
    looks at it another.

    Parameters
    ----------
    edges : iterable of (str, str)
        Between things that are computed.
    order : sequence of str
        These, each after what it is made of.

    Examples
    --------
    >>> edges = [("a", "b"), ("c", "d"), ("b", "d"), ("d", "e")]
    >>> streams(edges, "abcde")
    {'a': 0, 'b': 0, 'c': 1, 'd': 1, 'e': 1}
    """
    before: dict[str, list[str]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
    found: dict[str, int] = {}
    count = 0
    for key in order:
        known = [found[source] for source in before.get(key, []) if source in found]
        found[key] = max(known, default=count)
        count += not known
    return found


def _chains(data: Trace) -> list[list[int]]:
    """For each module, itself and those around it, from the outside in."""
    chains: list[list[int]] = []
    for module in data.modules:
        around = [] if module.parent is None else chains[module.parent]
        chains.append([*around, module.id])
    return chains


def _first_of_alike(data: Trace) -> dict[int, int]:
    """For each module in a row of like ones, at least `ALIKE` long, the first of the row."""
    inner: list[list[object]] = [[] for _ in data.modules]
    for v in data.vertices:
        if v.module is not None:
            inner[v.module].append((v.name, v.shape, v.dtype))
    for module in reversed(data.modules):  # inner calls first
        if module.parent is not None:
            inner[module.parent].append((module.kind, hash(tuple(inner[module.id]))))
    rows: list[list[int]] = []
    last: dict[int | None, int] = {}  # under each parent, the row that may go on
    for module in data.modules:
        at = last.get(module.parent)
        if at is not None:
            before = data.modules[rows[at][-1]]
            if before.kind == module.kind and inner[before.id] == inner[module.id]:
                rows[at].append(module.id)
                continue
        last[module.parent] = len(rows)
        rows.append([module.id])
    return {m: row[0] for row in rows if len(row) >= ALIKE for m in row}


def _open_modules(data: Trace, chains: list[list[int]], first: dict[int, int]) -> set[int]:
    """Modules drawn as frames: those around attention, or all of a small graph."""
    operations = sum(v.kind == "op" for v in data.vertices)
    around = [a.module for a in data.attentions]
    around = around or list(dict.fromkeys(v.module for v in data.vertices if v.heads))
    if not around:
        return set(range(len(data.modules))) if operations <= READABLE else set()
    found: set[int] = set()
    for module in around:
        chain = [] if module is None else chains[module]
        if all(first.get(m, m) == m for m in chain):
            found.update(chain)
    return found


def _folds(
    data: Trace, chains: list[list[int]], opened: set[int], first: dict[int, int]
) -> list[tuple[int, int] | None]:
    """For each module the outermost closed one around it, and which box that is part of."""
    boxes: dict[int, int] = {}  # for each row of like modules, its first closed one
    for module in data.modules:
        if module.id not in opened:
            boxes.setdefault(first.get(module.id, module.id), module.id)
    found: list[tuple[int, int] | None] = []
    for chain in chains:
        outer = next((m for m in chain if m not in opened), None)
        found.append(None if outer is None else (outer, boxes[first.get(outer, outer)]))
    return found


def _place(vertex: Vertex, data: Trace, scene: Scene, folds: list[tuple[int, int] | None]) -> str:
    """Key of an operation: its outermost folded module, or itself."""
    fold = None if vertex.module is None else folds[vertex.module]
    if fold is None:
        key = f"v{vertex.id}"
        scene.singles[key] = vertex.id
        scene.parents[key] = vertex.module
        return key
    outer, box = fold
    key = f"m{box}"
    scene.boxes.setdefault(key, set()).add(outer)
    scene.parents[key] = data.modules[outer].parent
    return key


def made_of_parameters(data: Trace) -> set[int]:
    """Parameters, and what is computed from nothing else."""
    sources: dict[int, list[int]] = {}
    for edge in data.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    found: set[int] = set()
    for v in data.vertices:
        if v.kind == "parameter" or (v.kind == "op" and found.issuperset(sources.get(v.id, [-1]))):
            found.add(v.id)
    return found


def _swallowed(
    vertex: Vertex, users: dict[int, list[int]], scene: Scene, inside: dict[int, Attention]
) -> bool:
    """Whether every user is drawn as part of something larger, so that this goes without saying."""
    if vertex.id not in users:
        return False
    keys = [scene.shown.get(user) for user in users[vertex.id]]
    if vertex.kind == "input" and vertex.dtype != "bool":  # data is shown, but for masks
        return all(user in inside for user in users[vertex.id])
    return all(key is None or key in scene.boxes or key.startswith("a") for key in keys)


def _fold_stretches(data: Trace, scene: Scene) -> None:
    """Draw operations in stretches, where there are more than anybody could read."""
    if len(scene.singles) <= 2 * READABLE:
        return
    operations = sorted(
        v for key, v in scene.singles.items()
        if data.vertices[v].kind == "op" and v not in data.outputs
    )  # fmt: skip
    longest = -(-len(operations) // STRETCHES)
    stretch: list[int] = []
    for v in operations:
        parent = scene.parents.pop(f"v{v}")
        del scene.singles[f"v{v}"]
        if not stretch or len(stretch) == longest or scene.parents[f"r{stretch[0]}"] != parent:
            stretch = scene.stretches.setdefault(f"r{v}", [])
        stretch.append(v)
        key = f"r{stretch[0]}"
        scene.parents[key] = parent
        scene.shown[v] = key
    for key, v in list(scene.singles.items()):  # their leaves go without saying
        if data.vertices[v].kind == "parameter":
            del scene.singles[key], scene.parents[key], scene.shown[v]
